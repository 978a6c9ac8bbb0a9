/* k_groups.c: convolutions in groups of one channel (depthwise), or of four or eight (ResNeXt).
 *
 *     y[p][o] = act(bias[o] + sum over taps t and i < group of w[o][i][t] x[p + t][first + i])
 *
 * where first is the first channel of o's group.
 *
 * Items are a block of channels in a band of rows: going down the rows of one block keeps its taps in
 * the first cache. Its pixels are far apart, which the processor does not see coming: where the map is larger than the
 * second cache, each row of results asks for what the next will want.
 */
#include "conv.h"

#include <string.h>

enum { ITEM_RESULTS = 1 << 15, CACHED_BYTES = 1 << 18 };

/* The state: [block of channels][tap][group][block], then [block of channels][block] of bias. */
typedef struct groups_job {
    const strata_step  *step;
    const strata_frame *frame;
    cpu_conv            conv;
    int64_t             blocks, rows, bands; /* blocks of channels; rows in a band, bands in an image */
    bool                fetch;               /* rows ahead of their use */
} groups_job;

static bool in_groups_of(const strata_node *n, int a, int b)
{
    if (!cpu_conv_fits(n) || n->in[CONV_RESIDUAL] != NULL)
        return false;
    cpu_conv c = cpu_conv_of(n);
    return c.groups > 1 && c.cg == c.og && (c.cg == a || c.cg == b);
}

static bool depthwise_accepts(const strata_node *n)
{
    return in_groups_of(n, 1, 1);
}

static bool grouped_accepts(const strata_node *n)
{
    return in_groups_of(n, 4, 8);
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    cpu_conv c = cpu_conv_of(s->node);
    int block = s->device->simd->block;
    int64_t padded = cpu_ceil_div(c.c, block) * block;
    size_t bytes = (size_t)padded * (size_t)(c.k + 1) * sizeof(float);
    STRATA_TRY(cpu_alloc_state(s, bytes, err));
    memset(s->state, 0, bytes);
    const strata_node *bias = s->node->in[CONV_BIAS];
    const float *w = strata_tensor_data(s->node->in[CONV_WEIGHT]->data);
    float *packed = s->state;
    for (int o = 0; o < c.c; o++)
        for (int i = 0; i < c.cg; i++)
            for (int t = 0; t < c.taps; t++)
                packed[((int64_t)(o / block) * c.k + t * c.cg + i) * block + o % block] = *w++;
    if (bias != NULL)
        memcpy(packed + padded * c.k, strata_tensor_data(bias->data), (size_t)c.c * sizeof(float));
    s->consumed = 1u << CONV_WEIGHT | (bias != NULL ? 1u << CONV_BIAS : 0);
    return STRATA_OK;
}

static void groups_item(void *arg, int item, int slot)
{
    (void)slot;
    const groups_job *job = arg;
    const cpu_conv *c = &job->conv;
    const cpu_simd *simd = job->step->device->simd;
    int64_t block = item % job->blocks, first = item / job->blocks % job->bands * job->rows;
    int64_t image = item / job->blocks / job->bands, channel = block * simd->block;
    const float *packed = job->step->state;
    const float *weight = packed + block * c->k * simd->block;
    const float *x = job->frame->in[CONV_X].data + image * cpu_conv_x_image(c) + channel;
    float *y = job->frame->out.data + image * cpu_conv_y_image(c) + channel;

    cpu_group_row d = { .x_row = (ptrdiff_t)c->dilation[0] * c->w * c->c, .x_pixel = c->c, .width = c->w,
                        .bias = packed + job->blocks * c->k * simd->block + channel, .y_pixel = c->c,
                        .pixels = c->ow, .channels = (int)cpu_min(simd->block, c->c - channel),
                        .group = c->cg, .kw = c->kw, .stride = c->stride[1], .dilation = c->dilation[1],
                        .left = c->left, .act = c->act };
    void (*row)(const cpu_group_row *) = c->cg == 1 ? simd->depthwise_row : simd->group_row;
    for (int64_t oy = first; oy < cpu_min(first + job->rows, c->oh); oy++) {
        int64_t top = oy * c->stride[0] - c->top; /* the first tap row; only those in 0..h-1 count */
        int64_t from = top < 0 ? cpu_min(c->kh, cpu_ceil_div(-top, c->dilation[0])) : 0;
        int64_t to = cpu_max(from, cpu_min(c->kh, cpu_ceil_div(c->h - top, c->dilation[0])));
        d.tap_rows = (int)(to - from);
        d.x = x + (d.tap_rows > 0 ? (top + from * c->dilation[0]) * c->w * c->c : 0);
        d.weight = weight + from * c->kw * c->cg * simd->block;
        d.y = y + oy * c->ow * c->c;
        int64_t wanted = top + (int64_t)(c->kh - 1) * c->dilation[0] + 1; /* the first row that was not needed yet */
        d.ahead_rows = job->fetch ? (int)cpu_max(0, cpu_min(c->stride[0], c->h - wanted)) : 0;
        d.ahead = d.ahead_rows > 0 ? x + wanted * c->w * c->c : NULL;
        row(&d);
    }
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    groups_job job = { .step = s, .frame = f, .conv = cpu_conv_of(s->node) };
    int block = s->device->simd->block;
    job.blocks = cpu_ceil_div(job.conv.c, block);
    job.rows = cpu_units_per_item(job.conv.oh, (int64_t)job.conv.ow * block * job.conv.cg, ITEM_RESULTS);
    job.bands = cpu_ceil_div(job.conv.oh, job.rows);
    job.fetch = cpu_conv_x_image(&job.conv) * (int64_t)sizeof(float) > CACHED_BYTES;
    cpu_parallel(s, job.conv.images * job.bands * job.blocks, groups_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_conv2d_depthwise = {
    .name = "conv2d.depthwise", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .accepts = depthwise_accepts,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };

const strata_kernel_def cpu_kernel_conv2d_grouped = {
    .name = "conv2d.grouped", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .accepts = grouped_accepts,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };
