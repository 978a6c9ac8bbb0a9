/* k_softmax.c: softmax over one dimension: e^(x - max) / sum of e^(x - max).
 *
 * A value is seen as [outer][axis][inner] in the order it lies. With inner > 1 neighbouring columns go
 * through the registers side by side; with inner = 1 each row is a vector of its own. Rank-4 values are taken
 * in NCHW: softmax is found between reshapes and transposes (split attention), which speak of that order.
 */
#include "loops.h"

enum { ITEM_ELEMENTS = 8192, LINE = 16 /* columns at a time, at least: a cache line */ };

typedef struct softmax_job {
    const cpu_simd *simd;
    float          *dst;
    const float    *x;
    int64_t         outer, axis, inner;   /* elements */
    int64_t         outer_per_item;       /* when inner is 1 */
    int64_t         inner_per_item, inner_items;
} softmax_job;

static bool accepts(const strata_node *n)
{
    return !strata_node_is_constant(n->in[0]);
}

static void row_item(void *arg, int item, int slot)
{
    (void)slot;
    const softmax_job *job = arg;
    int64_t first = item * job->outer_per_item, end = cpu_min(first + job->outer_per_item, job->outer);
    for (int64_t i = first; i < end; i++)
        job->simd->softmax_row(job->dst + i * job->axis, job->x + i * job->axis, job->axis);
}

static void column_item(void *arg, int item, int slot)
{
    (void)slot;
    const softmax_job *job = arg;
    int64_t outer = item / job->inner_items, first = item % job->inner_items * job->inner_per_item;
    int64_t at = outer * job->axis * job->inner + first;
    job->simd->softmax_columns(job->dst + at, job->x + at, job->axis, job->inner,
                               cpu_min(job->inner_per_item, job->inner - first));
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    const strata_softmax_attrs *a = s->node->attrs;
    const strata_tensor_desc *d = f->out.desc;
    int64_t step[STRATA_MAX_RANK];
    cpu_steps(d, step);
    softmax_job job = { .simd = s->device->simd, .dst = f->out.data, .x = f->in[0].data,
                        .axis = d->dim[a->axis], .inner = step[a->axis] };
    job.outer = strata_count(d) / (job.axis * job.inner);
    if (job.inner == 1) {
        job.outer_per_item = cpu_units_per_item(job.outer, job.axis, ITEM_ELEMENTS);
        cpu_parallel(s, cpu_ceil_div(job.outer, job.outer_per_item), row_item, &job);
    } else {
        job.inner_per_item = cpu_min(job.inner, cpu_ceil_div(ITEM_ELEMENTS / LINE, job.axis) * LINE);
        job.inner_items = cpu_ceil_div(job.inner, job.inner_per_item);
        cpu_parallel(s, job.outer * job.inner_items, column_item, &job);
    }
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_softmax = {
    .name = "softmax.columns", .op = &strata_op_softmax, .layouts = 1 << STRATA_NCHW, .in_place = 1u << 0,
    .accepts = accepts, .emit = emit };
