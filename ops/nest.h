/* A loop nest over up to three arrays that walk the same box in strides of their own.
 *
 * Set rank, dims and strides (in elements; 0 repeats, as broadcasting does), then
 *
 *     strata_nest_start(&nest);
 *     do
 *         work on nest.row elements from nest.at[k] on, nest.step[k] apart
 *     while (strata_nest_next(&nest));
 *
 * start drops dims of size 1 and joins neighbours that every array crosses in one stride, so that the row is
 * as long as can be and the cost of the nest is nothing beside the rows'. */
#ifndef STRATA_OPS_NEST_H
#define STRATA_OPS_NEST_H

#include <strata/extend.h>

enum { NEST_ARRAYS = 3 };

typedef struct strata_nest {
    int     rank;
    int64_t dim[STRATA_MAX_RANK];
    int64_t stride[NEST_ARRAYS][STRATA_MAX_RANK];
    int64_t at[NEST_ARRAYS]; /* where the row begins; the caller may set the first */
    int64_t row, step[NEST_ARRAYS];
    int64_t index[STRATA_MAX_RANK];
} strata_nest;

/* The strides of a row-major array. */
void strata_row_major(int rank, const int64_t *dim, int64_t *stride);
void strata_nest_start(strata_nest *nest);
bool strata_nest_next(strata_nest *nest);

#endif
