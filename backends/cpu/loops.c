/* loops.c: the loop nests of loops.h. */
#include "loops.h"

#include <string.h>

enum {
    ITEM_ELEMENTS = 16384, /* 64 KB: above the cost of a claim by far, within the second cache */
    PLANE_ROW = 256,       /* the most of a row in an item of a transposed plane, which so has 64 columns or more */
    LINE_ELEMENTS = 16,    /* in a cache line */
    PAST_CACHES = 1 << 18  /* results of so many elements, 1 MB, are gone from the second cache before they are read */
};

void cpu_steps(const strata_tensor_desc *d, int64_t step[STRATA_MAX_RANK])
{
    int order[STRATA_MAX_RANK];
    for (int i = 0; i < d->rank; i++)
        order[i] = i;
    if (d->rank == 4 && d->layout == STRATA_NHWC) {
        order[1] = 2;
        order[2] = 3;
        order[3] = 1;
    }
    int64_t run = 1;
    for (int i = d->rank - 1; i >= 0; i--) {
        step[order[i]] = run;
        run *= d->dim[order[i]];
    }
}

void cpu_broadcast_steps(const strata_tensor_desc *d, const strata_tensor_desc *shape,
                         int64_t step[STRATA_MAX_RANK])
{
    cpu_steps(d, step);
    for (int i = 0; i < d->rank; i++)
        if (d->dim[i] == 1 && shape->dim[i] != 1)
            step[i] = 0;
}

static void append(cpu_loops *l, int64_t dim, const int64_t (*step)[STRATA_MAX_RANK], int d)
{
    int last = l->rank - 1;
    bool merge = l->rank > 0;
    for (int k = 0; merge && k < l->operands; k++)
        merge = l->step[k][last] == step[k][d] * dim;
    if (!merge) {
        last = l->rank++;
        l->dim[last] = 1;
    }
    l->dim[last] *= dim;
    for (int k = 0; k < l->operands; k++)
        l->step[k][last] = step[k][d];
}

static void cut(cpu_loops *l, int row, int64_t longest)
{
    l->row = row;
    l->n_per_item = cpu_min(l->dim[l->rank - 1], longest);
    l->n_items = cpu_ceil_div(l->dim[l->rank - 1], l->n_per_item);
    l->rows_per_item = cpu_units_per_item(l->dim[row], l->n_per_item, ITEM_ELEMENTS);
    if (l->rows_per_item > LINE_ELEMENTS && l->rows_per_item < l->dim[row])
        l->rows_per_item -= l->rows_per_item % LINE_ELEMENTS; /* of a transposed plane whole lines of the source */
    l->row_items = cpu_ceil_div(l->dim[row], l->rows_per_item);
    l->items = l->row_items * l->n_items;
    for (int i = 0; i < l->rank - 1; i++)
        if (i != row)
            l->items *= l->dim[i];
}

void cpu_loops_init(cpu_loops *l, int rank, const int64_t *dim, int operands,
                    const int64_t (*step)[STRATA_MAX_RANK])
{
    *l = (cpu_loops){ .operands = operands };
    int order[STRATA_MAX_RANK], count = 0;
    for (int i = 0; i < rank; i++) {
        if (dim[i] == 1)
            continue;
        int at = count++;
        for (; at > 0 && step[0][order[at - 1]] < step[0][i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (int i = 0; i < count; i++)
        append(l, dim[order[i]], step, order[i]);
    for (; l->rank < 2; l->rank++) { /* one run, or one element: a single row of it */
        for (int i = l->rank; i > 0; i--) {
            l->dim[i] = l->dim[i - 1];
            for (int k = 0; k < operands; k++)
                l->step[k][i] = l->step[k][i - 1];
        }
        l->dim[0] = 1;
        for (int k = 0; k < operands; k++)
            l->step[k][0] = 1;
    }
    cut(l, l->rank - 2, ITEM_ELEMENTS);
}

cpu_piece cpu_loops_piece(const cpu_loops *l, int64_t item)
{
    int last = l->rank - 1;
    int64_t column = item % l->n_items * l->n_per_item;
    item /= l->n_items;
    int64_t row = item % l->row_items * l->rows_per_item;
    item /= l->row_items;
    cpu_piece p = { .n = cpu_min(l->n_per_item, l->dim[last] - column),
                    .rows = cpu_min(l->rows_per_item, l->dim[l->row] - row) };
    for (int k = 0; k < l->operands; k++)
        p.offset[k] = row * l->step[k][l->row] + column * l->step[k][last];
    for (int i = last - 1; i >= 0; i--) {
        if (i == l->row)
            continue;
        for (int k = 0; k < l->operands; k++)
            p.offset[k] += item % l->dim[i] * l->step[k][i];
        item /= l->dim[i];
    }
    return p;
}

typedef struct copy_job {
    cpu_loops       loops;
    const cpu_simd *simd;
    float          *dst;
    const float    *src;
    bool            past_caches;
} copy_job;

static void copy_piece(void *arg, int item, int slot)
{
    (void)slot;
    const copy_job *job = arg;
    const cpu_loops *l = &job->loops;
    int last = l->rank - 1;
    cpu_piece p = cpu_loops_piece(l, item);
    float *dst = job->dst + p.offset[0];
    const float *src = job->src + p.offset[1];
    int64_t dst_row = l->step[0][l->row], dst_step = l->step[0][last];
    int64_t src_row = l->step[1][l->row], src_step = l->step[1][last];
    if (dst_step == 1 && src_step == 1) {
        for (int64_t r = 0; r < p.rows; r++)
            memcpy(dst + r * dst_row, src + r * src_row, (size_t)p.n * sizeof *dst);
    } else if (dst_step == 1 && src_row == 1) {
        job->simd->transpose(dst, dst_row, src, src_step, p.n, p.rows, job->past_caches);
    } else {
        for (int64_t r = 0; r < p.rows; r++)
            for (int64_t i = 0; i < p.n; i++)
                dst[r * dst_row + i * dst_step] = src[r * src_row + i * src_step];
    }
}

void cpu_copy_nest(const strata_step *s, int rank, const int64_t *dim, float *dst,
                   const int64_t dst_step[STRATA_MAX_RANK], const float *src,
                   const int64_t src_step[STRATA_MAX_RANK])
{
    int64_t step[2][STRATA_MAX_RANK] = { { 0 } };
    memcpy(step[0], dst_step, (size_t)rank * sizeof *dst_step);
    memcpy(step[1], src_step, (size_t)rank * sizeof *src_step);
    int64_t elements = 1;
    for (int i = 0; i < rank; i++)
        elements *= dim[i];
    copy_job job = { .simd = s->device->simd, .dst = dst, .src = src, .past_caches = elements >= PAST_CACHES };
    cpu_loops_init(&job.loops, rank, dim, 2, (const int64_t(*)[STRATA_MAX_RANK])step);
    int last = job.loops.rank - 1;
    for (int i = 0; i < last; i++) /* a plane that the source holds the other way round is transposed whole */
        if (job.loops.step[1][i] == 1 && job.loops.step[1][last] != 1)
            cut(&job.loops, i, PLANE_ROW);
    cpu_parallel(s, job.loops.items, copy_piece, &job);
}
