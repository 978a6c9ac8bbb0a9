/* onednn.h: convolutions and dense layers of oneDNN on the CPU, a peer of our kernels. A build without the library has
 * none. */
#ifndef STRATA_BENCH_ONEDNN_H
#define STRATA_BENCH_ONEDNN_H

#include <strata/extend.h>

typedef struct onednn onednn; /* one layer, or two one after the other, ready to run */

/* The conv2d or dense node n with its bias, residual and activation, on `threads` threads; before it `first` where that is
 * not n, whose value n reads. oneDNN chooses algorithms and layouts. Parameters without data are noise. NULL when oneDNN has
 * no such layer, or there is no oneDNN. */
onednn *onednn_create(const strata_node *first, const strata_node *n, int threads);
void    onednn_destroy(onednn *o); /* NULL is fine */

/* y, from x and what is added to it (NULL where n has no residual), all row-major: seconds that the layers themselves took,
 * without the ways from and to that order. Negative when it failed. */
double onednn_run(onednn *o, const float *x, const float *residual, float *y);

/* What oneDNN calls the code that it chose: "jit_dw:avx2"; for the last of two. */
const char *onednn_choice(const onednn *o);

#endif
