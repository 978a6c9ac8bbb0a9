/* gemm.c: the one file that calls OpenBLAS. */
#include "gemm.h"

#include <cblas.h>

void cpu_gemm_init(void)
{
    openblas_set_num_threads(1);
}

void cpu_gemm(int rows, int columns, int k, const float *x, ptrdiff_t x_step, const float *w,
              ptrdiff_t w_step, int transposed, float *y, ptrdiff_t y_step)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasTrans : CblasNoTrans, rows, columns, k, 1.0f,
                x, (int)x_step, w, (int)w_step, 0.0f, y, (int)y_step);
}
