/* A loop nest over up to three arrays; see nest.h. */
#include "nest.h"

#include <string.h>

void strata_row_major(int rank, const int64_t *dim, int64_t *stride)
{
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= dim[i];
    }
}

/* Whether every array steps from one row of dim `inner` to the next as if the row went on. */
static bool joins(const strata_nest *nest, int outer, int inner)
{
    for (int k = 0; k < NEST_ARRAYS; k++)
        if (nest->stride[k][outer] != nest->stride[k][inner] * nest->dim[inner])
            return false;
    return true;
}

static void move_dim(strata_nest *nest, int to, int from)
{
    nest->dim[to] = nest->dim[from];
    for (int k = 0; k < NEST_ARRAYS; k++)
        nest->stride[k][to] = nest->stride[k][from];
}

void strata_nest_start(strata_nest *nest)
{
    int kept = 0;
    for (int i = 0; i < nest->rank; i++) {
        if (nest->dim[i] == 1)
            continue;
        if (kept > 0 && joins(nest, kept - 1, i)) {
            int64_t joined = nest->dim[kept - 1] * nest->dim[i];
            move_dim(nest, kept - 1, i);
            nest->dim[kept - 1] = joined;
        } else {
            move_dim(nest, kept++, i);
        }
    }
    /* The last dim becomes the row; a single element is a row of one. */
    nest->rank = kept > 0 ? kept - 1 : 0;
    nest->row  = kept > 0 ? nest->dim[kept - 1] : 1;
    for (int k = 0; k < NEST_ARRAYS; k++)
        nest->step[k] = kept > 0 ? nest->stride[k][kept - 1] : 1;
    memset(nest->index, 0, sizeof nest->index);
}

bool strata_nest_next(strata_nest *nest)
{
    for (int i = nest->rank - 1; i >= 0; i--) {
        for (int k = 0; k < NEST_ARRAYS; k++)
            nest->at[k] += nest->stride[k][i];
        if (++nest->index[i] < nest->dim[i])
            return true;
        for (int k = 0; k < NEST_ARRAYS; k++)
            nest->at[k] -= nest->stride[k][i] * nest->dim[i];
        nest->index[i] = 0;
    }
    return false;
}
