/* loops.h: loop nests over values of any shape, layout, broadcasting or order of dimensions.
 *
 * A nest has a dimension per loop and a step, in floats, for each operand; operand 0 is the result.
 * Dimensions of one element are dropped and neighbours that are one contiguous run for every operand are
 * merged, so that most nests end as one or two loops. A nest is then cut into items for the thread pool:
 * ranges of one row dimension and of the innermost one.
 */
#ifndef STRATA_CPU_LOOPS_H
#define STRATA_CPU_LOOPS_H

#include "cpu.h"

enum { CPU_LOOP_OPERANDS = 3 };

typedef struct cpu_loops {
    int     operands, rank; /* rank >= 2: rows, then the innermost dimension */
    int64_t dim[STRATA_MAX_RANK];                           /* outermost first */
    int64_t step[CPU_LOOP_OPERANDS][STRATA_MAX_RANK];
    int     row;                                            /* the dimension that items take ranges of */
    int64_t rows_per_item, row_items, n_per_item, n_items, items;
} cpu_loops;

/* One item: where each operand begins, and how far to go. */
typedef struct cpu_piece {
    int64_t offset[CPU_LOOP_OPERANDS];
    int64_t rows, n; /* along loops->row and along the innermost dimension */
} cpu_piece;

/* Floats between neighbours along each logical dimension. */
void cpu_steps(const strata_tensor_desc *d, int64_t step[STRATA_MAX_RANK]);
/* The same for a value broadcast to `shape`: 0 where it has one element and the shape more. */
void cpu_broadcast_steps(const strata_tensor_desc *d, const strata_tensor_desc *shape,
                         int64_t step[STRATA_MAX_RANK]);
/* Orders the dimensions by the result's steps, largest first; drops, merges, and cuts into items of a few
 * thousand elements. Empty values are not allowed. */
void cpu_loops_init(cpu_loops *l, int rank, const int64_t *dim, int operands,
                    const int64_t (*step)[STRATA_MAX_RANK]);
cpu_piece cpu_loops_piece(const cpu_loops *l, int64_t item);

/* Copies a nest of two operands on the device's pool: runs are copied, transposed planes in small blocks. */
void cpu_copy_nest(const strata_step *s, int rank, const int64_t *dim, float *dst,
                   const int64_t dst_step[STRATA_MAX_RANK], const float *src,
                   const int64_t src_step[STRATA_MAX_RANK]);

#endif
