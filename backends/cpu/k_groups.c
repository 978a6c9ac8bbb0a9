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
#include "groups.h"

#include <string.h>

enum { ITEM_RESULTS = 1 << 15, CACHED_BYTES = 1 << 18 };

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

void cpu_group_rows_run(const cpu_group_rows *r, int64_t first, int64_t end)
{
    const cpu_conv *c = r->conv;
    int block = r->simd->block;
    int64_t channel = r->block * block;
    const float *weight = r->packed + r->block * c->k * block;
    cpu_group_row d = { .x_row = c->dilation[0] * r->x_line, .x_pixel = r->x_pixel, .width = c->w,
                        .bias = r->packed + blocks_of(c, block) * c->k * block + channel, .y_pixel = c->c,
                        .pixels = c->ow, .channels = (int)cpu_min(block, c->c - channel),
                        .group = c->cg, .kw = c->kw, .stride = c->stride[1], .dilation = c->dilation[1],
                        .left = c->left, .act = c->act };
    void (*row)(const cpu_group_row *) = c->cg == 1 ? r->simd->depthwise_row : r->simd->group_row;
    for (int64_t oy = first; oy < end; oy++) {
        int64_t top = oy * c->stride[0] - c->top; /* the first tap row; only those in 0..h-1 count */
        int64_t from = top < 0 ? cpu_min(c->kh, cpu_ceil_div(-top, c->dilation[0])) : 0;
        int64_t to = cpu_max(from, cpu_min(c->kh, cpu_ceil_div(c->h - top, c->dilation[0])));
        d.tap_rows = (int)(to - from);
        d.x = r->x + (d.tap_rows > 0 ? (top + from * c->dilation[0] - r->x_first) * r->x_line : 0);
        d.weight = weight + from * c->kw * c->cg * block;
        d.y = r->y + oy * c->ow * c->c;
        int64_t wanted = top + (int64_t)(c->kh - 1) * c->dilation[0] + 1; /* the first row that was not needed yet */
        d.ahead_rows = r->fetch ? (int)cpu_max(0, cpu_min(c->stride[0], c->h - wanted)) : 0;
        d.ahead = d.ahead_rows > 0 ? r->x + (wanted - r->x_first) * r->x_line : NULL;
        row(&d);
    }
}

/* ---- The kernels ----------------------------------------------------------------------------------- */

typedef struct groups_job {
    const strata_step  *step;
    const strata_frame *frame;
    cpu_conv            conv;
    int64_t             blocks, rows, bands; /* blocks of channels; rows in a band, bands in an image */
    bool                fetch;
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
    int64_t block = item % job->blocks, first = item / job->blocks % job->bands * job->rows;
    int64_t image = item / job->blocks / job->bands, channel = block * job->step->device->simd->block;
    cpu_group_rows r = { .conv = c, .simd = job->step->device->simd, .packed = job->step->state,
                         .x = job->frame->in[CONV_X].data + image * cpu_conv_x_image(c) + channel,
                         .x_line = (ptrdiff_t)c->w * c->c, .x_pixel = c->c,
                         .y = job->frame->out.data + image * cpu_conv_y_image(c) + channel, .block = block,
                         .fetch = job->fetch };
    cpu_group_rows_run(&r, first, cpu_min(first + job->rows, c->oh));
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    groups_job job = { .step = s, .frame = f, .conv = cpu_conv_of(s->node) };
    int block = s->device->simd->block;
    job.blocks = blocks_of(&job.conv, block);
    job.rows = cpu_units_per_item(job.conv.oh, (int64_t)job.conv.ow * block * job.conv.cg, ITEM_RESULTS);
    job.bands = cpu_ceil_div(job.conv.oh, job.rows);
    job.fetch = cpu_conv_x_image(&job.conv) * (int64_t)sizeof(float) > CACHED_BYTES;
    cpu_parallel(s, job.conv.images * job.bands * job.blocks, groups_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_conv2d_depthwise = {
    .name = "conv2d.depthwise", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .accepts = cpu_depthwise_fits,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };

const strata_kernel_def cpu_kernel_conv2d_grouped = {
    .name = "conv2d.grouped", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .accepts = grouped_accepts,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };
