/* k_split_sum.c: the sum of equal parts of the channels, weighted by a softmax over the parts: split attention. A pixel's
 * parts lie one after the other, and so do their weights, which each item computes for itself.
 */
#include "cpu.h"

enum { ITEM_ELEMENTS = 65536 }; /* of x, so that the weights are a small part of the work */
enum { X, LOGITS };

typedef struct split_job {
    const strata_frame *frame;
    const cpu_simd     *simd;
    int64_t             pixels, channels, splits; /* of the result; of an image */
    int64_t             rows, items;              /* pixels of an item; items in an image */
    size_t              slot_bytes;
} split_job;

static split_job plan(const strata_node *n)
{
    const strata_split_sum_attrs *a = n->attrs;
    const int64_t *y = n->desc.dim;
    split_job job = { .pixels = y[2] * y[3], .channels = y[1], .splits = a->splits };
    job.rows = cpu_units_per_item(job.pixels, job.channels * job.splits, ITEM_ELEMENTS);
    job.items = cpu_ceil_div(job.pixels, job.rows);
    job.slot_bytes = n->in[LOGITS] != NULL ? cpu_round64((size_t)(job.channels * job.splits) * sizeof(float)) : 0;
    return job;
}

static void weigh(float *restrict y, const float *restrict x, const float *restrict weight, int64_t channels, int64_t splits)
{
    for (int64_t c = 0; c < channels; c++)
        y[c] = weight[c] * x[c];
    for (int64_t r = 1; r < splits; r++)
        for (int64_t c = 0; c < channels; c++)
            y[c] += weight[r * channels + c] * x[r * channels + c];
}

static void sum(float *restrict y, const float *restrict x, int64_t channels, int64_t splits)
{
    for (int64_t c = 0; c < channels; c++)
        y[c] = x[c];
    for (int64_t r = 1; r < splits; r++)
        for (int64_t c = 0; c < channels; c++)
            y[c] += x[r * channels + c];
}

static void item(void *arg, int at, int slot)
{
    const split_job *job = arg;
    int64_t image = at / job->items, first = at % job->items * job->rows, end = cpu_min(first + job->rows, job->pixels);
    int64_t across = job->channels * job->splits;
    const float *x = job->frame->in[X].data + image * job->pixels * across;
    float *y = job->frame->out.data + image * job->pixels * job->channels;
    float *weight = NULL;
    if (job->slot_bytes > 0) {
        weight = cpu_scratch(job->frame, slot, job->slot_bytes);
        job->simd->softmax_columns(weight, job->frame->in[LOGITS].data + image * across, job->splits, job->channels,
                                   job->channels);
    }
    for (int64_t p = first; p < end; p++)
        if (weight != NULL)
            weigh(y + p * job->channels, x + p * across, weight, job->channels, job->splits);
        else
            sum(y + p * job->channels, x + p * across, job->channels, job->splits);
}

static bool accepts(const strata_node *n)
{
    return !strata_node_is_constant(n->in[X]) && (n->in[LOGITS] == NULL || !strata_node_is_constant(n->in[LOGITS]));
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    (void)err;
    s->workspace = (size_t)s->device->threads * plan(s->node).slot_bytes;
    return STRATA_OK;
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    split_job job = plan(s->node);
    job.frame = f;
    job.simd = s->device->simd;
    cpu_parallel(s, f->out.desc->dim[0] * job.items, item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_split_sum = {
    .name = "split_sum.rows", .op = &strata_op_split_sum, .layouts = CPU_NHWC, .accepts = accepts, .prepare = prepare,
    .emit = emit };
