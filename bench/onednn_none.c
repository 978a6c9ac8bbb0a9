/* onednn_none.c: a build without oneDNN. See onednn.h. */
#include "onednn.h"

onednn *onednn_create(const strata_node *first, const strata_node *n, int threads)
{
    (void)first, (void)n, (void)threads;
    return NULL;
}

void onednn_destroy(onednn *o)
{
    (void)o;
}

double onednn_run(onednn *o, const float *x, const float *residual, float *y)
{
    (void)o, (void)x, (void)residual, (void)y;
    return -1;
}

const char *onednn_choice(const onednn *o)
{
    (void)o;
    return "";
}
