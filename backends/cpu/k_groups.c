/* k_groups.c: convolutions in groups of one channel (depthwise), or of four or eight (ResNeXt).
 *
 *     y[p][o] = act(bias[o] + sum over taps t and i < group of w[o][i][t] x[p + t][first + i])
 *
 * where first is the first channel of o's group.
 *
 * Items are some channels in a band of rows: a block where groups have several channels, so that its weights stay in the
 * first cache while it goes down the rows. Of depthwise convolutions more, RANGE: the channels of a pixel lie side by side, and
 * the longer the pieces that are read, the sooner the processor sees them coming.
 */
#include "groups.h"

#include <string.h>

enum { ITEM_RESULTS = 1 << 16, RANGE = 96 };

static bool in_groups_of(const strata_node *n, int a, int b)
{
    if (!cpu_conv_fits(n) || n->in[CONV_RESIDUAL] != NULL)
        return false;
    cpu_conv c = cpu_conv_of(n);
    return c.groups > 1 && c.cg == c.og && (c.cg == a || c.cg == b);
}

bool cpu_depthwise_fits(const strata_node *n)
{
    return in_groups_of(n, 1, 1);
}

static bool grouped_accepts(const strata_node *n)
{
    return in_groups_of(n, 4, 8);
}

/* ---- Packing --------------------------------------------------------------------------------------- */

static int64_t blocks_of(const cpu_conv *c, int block) { return cpu_ceil_div(c->c, block); }

size_t cpu_groups_packed_bytes(const cpu_conv *c, int block)
{
    return (size_t)(blocks_of(c, block) * block * (c->k + 1)) * sizeof(float);
}

strata_status cpu_groups_pack(const strata_node *n, int block, float *packed, strata_error *err)
{
    cpu_conv c = cpu_conv_of(n);
    const strata_node *bias = n->in[CONV_BIAS];
    STRATA_TRY(strata_tensor_compute(n->in[CONV_WEIGHT]->data, err));
    if (bias != NULL)
        STRATA_TRY(strata_tensor_compute(bias->data, err));
    memset(packed, 0, cpu_groups_packed_bytes(&c, block));
    const float *w = strata_tensor_data(n->in[CONV_WEIGHT]->data);
    for (int o = 0; o < c.c; o++)
        for (int i = 0; i < c.cg; i++)
            for (int t = 0; t < c.taps; t++)
                packed[((int64_t)(o / block) * c.k + t * c.cg + i) * block + o % block] = *w++;
    if (bias != NULL)
        memcpy(packed + blocks_of(&c, block) * block * c.k, strata_tensor_data(bias->data), (size_t)c.c * sizeof(float));
    return STRATA_OK;
}

/* ---- Rows ------------------------------------------------------------------------------------------ */

void cpu_group_rows_under(const cpu_conv *c, int64_t first, int64_t end, int64_t *from, int64_t *to)
{
    int64_t bottom = (end - 1) * c->stride[0] - c->top + (int64_t)(c->kh - 1) * c->dilation[0] + 1;
    *from = cpu_min(c->h, cpu_max(0, first * c->stride[0] - c->top));
    *to = cpu_max(*from, cpu_min(c->h, bottom));
}

void cpu_group_part_run(const cpu_group_part *p, int64_t first, int64_t end)
{
    const cpu_conv *c = p->conv;
    int block = p->simd->block;
    ptrdiff_t y_line = (ptrdiff_t)c->ow * c->c;
    cpu_group_rows d = { .x = p->x, .x_line = p->x_line, .x_pixel = p->x_pixel, .x_first = (int)p->x_first, .height = c->h,
                         .width = c->w, .weight = p->packed + p->channel * c->k,
                         .weight_row = (ptrdiff_t)c->kw * c->cg * block, .weight_block = (ptrdiff_t)c->k * block,
                         .bias = p->packed + blocks_of(c, block) * c->k * block + p->channel, .y = p->y + first * y_line,
                         .y_line = y_line, .y_pixel = c->c, .rows = (int)(end - first), .pixels = c->ow,
                         .channels = (int)p->channels, .group = c->cg, .kh = c->kh, .kw = c->kw,
                         .stride = { c->stride[0], c->stride[1] }, .dilation = { c->dilation[0], c->dilation[1] },
                         .top = c->top - (int)first * c->stride[0], .left = c->left, .act = c->act };
    (c->cg == 1 ? p->simd->depthwise_rows : p->simd->group_rows)(&d);
}

/* ---- The kernels ----------------------------------------------------------------------------------- */

typedef struct groups_job {
    const strata_step  *step;
    const strata_frame *frame;
    cpu_conv            conv;
    int64_t             range, ranges, rows, bands; /* channels in a range; rows in a band, bands in an image */
} groups_job;

static strata_status prepare(strata_step *s, strata_error *err)
{
    cpu_conv c = cpu_conv_of(s->node);
    int block = s->device->simd->block;
    STRATA_TRY(cpu_alloc_state(s, cpu_groups_packed_bytes(&c, block), err));
    STRATA_TRY(cpu_groups_pack(s->node, block, s->state, err));
    s->consumed = 1u << CONV_WEIGHT | (s->node->in[CONV_BIAS] != NULL ? 1u << CONV_BIAS : 0);
    return STRATA_OK;
}

static void groups_item(void *arg, int item, int slot)
{
    (void)slot;
    const groups_job *job = arg;
    const cpu_conv *c = &job->conv;
    int64_t channel = item % job->ranges * job->range, first = item / job->ranges % job->bands * job->rows;
    int64_t image = item / job->ranges / job->bands;
    cpu_group_part p = { .conv = c, .simd = job->step->device->simd, .packed = job->step->state,
                         .x = job->frame->in[CONV_X].data + image * cpu_conv_x_image(c) + channel,
                         .x_line = (ptrdiff_t)c->w * c->c, .x_pixel = c->c,
                         .y = job->frame->out.data + image * cpu_conv_y_image(c) + channel, .channel = channel,
                         .channels = cpu_min(job->range, c->c - channel) };
    cpu_group_part_run(&p, first, cpu_min(first + job->rows, c->oh));
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    groups_job job = { .step = s, .frame = f, .conv = cpu_conv_of(s->node) };
    const cpu_conv *c = &job.conv;
    int block = s->device->simd->block;
    job.ranges = cpu_ceil_div(c->c, c->cg == 1 ? RANGE : block);
    job.range = cpu_ceil_div(cpu_ceil_div(c->c, job.ranges), block) * block;
    job.ranges = cpu_ceil_div(c->c, job.range);
    job.rows = cpu_units_per_item(c->oh, (int64_t)c->ow * job.range * c->cg, ITEM_RESULTS);
    job.bands = cpu_ceil_div(c->oh, job.rows);
    cpu_parallel(s, c->images * job.bands * job.ranges, groups_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_conv2d_depthwise = {
    .name = "conv2d.depthwise", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .accepts = cpu_depthwise_fits,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };

const strata_kernel_def cpu_kernel_conv2d_grouped = {
    .name = "conv2d.grouped", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .accepts = grouped_accepts,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };
