/* A matrix product in place of OpenBLAS's, for a processor whose library is not at hand. */
#include "../../backends/cpu/gemm.h"

void cpu_gemm_init(void)
{
}

void cpu_gemm(int rows, int columns, int k, const float *x, ptrdiff_t x_step, const float *w, ptrdiff_t w_step,
              int transposed, float *y, ptrdiff_t y_step)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            double sum = 0;
            for (int i = 0; i < k; i++)
                sum += (double)x[r * x_step + i] * (double)(transposed ? w[c * w_step + i] : w[i * w_step + c]);
            y[r * y_step + c] = (float)sum;
        }
}
