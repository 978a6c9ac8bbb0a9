/* k_resize.c: maps sampled at another size.
 *
 * nearest copies the channels of pixel floor(i * H / H'). bilinear mixes four pixels,
 *     y = (1-v)(1-u) a + (1-v) u b + v (1-u) c + v u d,
 * at place (i + 1/2) H / H' - 1/2, or i (H-1) / (H'-1) with align_corners, clamped to the map.
 */
#include "cpu.h"

#include <string.h>

enum { ITEM_ELEMENTS = 16384 };

typedef struct resize_job {
    const strata_step   *step;
    const strata_frame  *frame;
    strata_resize_attrs  attrs;
    int64_t              channels, in[2], out[2];
    int64_t              rows, bands; /* rows of the result in an item, items in an image */
} resize_job;

/* The two elements beside place i along one dimension, and the weight of the second. */
typedef struct taps {
    int64_t low, high;
    double  weight;
} taps;

static taps taps_of(const resize_job *job, int axis, int64_t i)
{
    int64_t in = job->in[axis], out = job->out[axis];
    double place;
    if (job->attrs.align_corners)
        place = out > 1 ? (double)i * ((double)(in - 1) / (double)(out - 1)) : 0;
    else
        place = ((double)i + 0.5) * ((double)in / (double)out) - 0.5;
    if (place < 0)
        place = 0;
    taps t = { .low = cpu_min((int64_t)place, in - 1) };
    t.high = cpu_min(t.low + 1, in - 1);
    t.weight = place - (double)t.low;
    return t;
}

static void nearest_row(const resize_job *job, const float *x, int64_t oy, float *y)
{
    const float *row = x + oy * job->in[0] / job->out[0] * job->in[1] * job->channels;
    for (int64_t ox = 0; ox < job->out[1]; ox++, y += job->channels)
        memcpy(y, row + ox * job->in[1] / job->out[1] * job->channels, (size_t)job->channels * sizeof *y);
}

static void bilinear_row(const resize_job *job, const float *x, int64_t oy, float *y)
{
    taps v = taps_of(job, 0, oy);
    const float *low = x + v.low * job->in[1] * job->channels,
                *high = x + v.high * job->in[1] * job->channels;
    for (int64_t ox = 0; ox < job->out[1]; ox++, y += job->channels) {
        taps u = taps_of(job, 1, ox);
        int64_t left = u.low * job->channels, right = u.high * job->channels;
        const float *corner[4] = { low + left, low + right, high + left, high + right };
        float weight[4] = { (float)((1 - v.weight) * (1 - u.weight)), (float)((1 - v.weight) * u.weight),
                            (float)(v.weight * (1 - u.weight)), (float)(v.weight * u.weight) };
        job->step->device->simd->blend4(y, corner, weight, job->channels);
    }
}

static void resize_item(void *arg, int item, int slot)
{
    (void)slot;
    const resize_job *job = arg;
    int64_t image = item / job->bands, first = item % job->bands * job->rows;
    const float *x = job->frame->in[0].data + image * job->in[0] * job->in[1] * job->channels;
    float *y = job->frame->out.data + image * job->out[0] * job->out[1] * job->channels;
    for (int64_t oy = first; oy < cpu_min(first + job->rows, job->out[0]); oy++) {
        float *row = y + oy * job->out[1] * job->channels;
        if (job->attrs.mode == STRATA_RESIZE_NEAREST)
            nearest_row(job, x, oy, row);
        else
            bilinear_row(job, x, oy, row);
    }
}

static bool accepts(const strata_node *n)
{
    return n->desc.rank == 4 && !strata_node_is_constant(n->in[0]);
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    const int64_t *x = f->in[0].desc->dim, *y = f->out.desc->dim;
    resize_job job = { .step = s, .frame = f, .attrs = *(const strata_resize_attrs *)s->node->attrs,
                       .channels = x[1], .in = { x[2], x[3] }, .out = { y[2], y[3] } };
    job.rows = cpu_units_per_item(y[2], y[3] * y[1], ITEM_ELEMENTS);
    job.bands = cpu_ceil_div(y[2], job.rows);
    cpu_parallel(s, y[0] * job.bands, resize_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_resize = {
    .name = "resize.rows", .op = &strata_op_resize, .layouts = CPU_NHWC, .accepts = accepts, .emit = emit };
