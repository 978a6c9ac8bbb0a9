/* gemm.h: matrix products of the library (OpenBLAS), single-threaded: the threads are ours. */
#ifndef STRATA_CPU_GEMM_H
#define STRATA_CPU_GEMM_H

#include <stddef.h>

/* Tells the library to use the calling thread only. Harmless to call again. */
void cpu_gemm_init(void);

/* y[rows][columns] = x[rows][k] * w, where w is [k][columns], or [columns][k] when transposed. A step is the
 * distance in floats between rows of a matrix. */
void cpu_gemm(int rows, int columns, int k, const float *x, ptrdiff_t x_step, const float *w,
              ptrdiff_t w_step, int transposed, float *y, ptrdiff_t y_step);

#endif
