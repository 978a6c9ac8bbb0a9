/* k_expand_depthwise.c: a convolution and the depthwise one that reads it, as in inverted residuals (Sandler et al.,
 * "MobileNetV2", 2018, section 5 for the idea) and in the stems of such networks, without the map between them.
 *
 *     E = act_e(expand(X)),  Y[p][c] = act(bias[c] + sum over taps t of w[c][t] E[p + t][c])
 *
 * Channel c of Y needs channel c of E alone. So an item takes a band of rows of Y and some panels of channels, and for each
 * panel computes the rows of E that the band sees into scratch memory, where a pixel is the two registers of the panel,
 * then the rows of Y. E is written and read in a cache, and its pixels lie side by side, however many channels there are.
 * Bands share the rows of E at their edges, which are computed for both: bands are as long as the cache allows.
 */
#include "direct.h"
#include "groups.h"

#include <string.h>

enum {
    CACHE_BYTES = 320 << 10, /* of X and E of a band and a panel, within the second cache */
    ITEMS_WANTED = 8,        /* in an image: for a few threads to share */
    STRIP_TILES = 16         /* of E at a time, so that its activation finds them in the first cache */
};

typedef struct expand_job {
    const strata_frame *frame;
    cpu_direct          expand;
    cpu_conv            depthwise;
    const float        *packed;              /* of the depthwise convolution */
    int64_t             rows, bands;         /* of Y: in a band, and bands in an image */
    int64_t             range, ranges;       /* panels in an item, and such items in a band */
    int                 strip, most_rows;    /* pixels of E at a time; rows of E under a band */
    size_t              strip_bytes;         /* of pointers */
    size_t              pointer_bytes, gather_bytes, slot_bytes;
} expand_job;

static int64_t rows_under(const cpu_conv *c, int64_t rows)
{
    return cpu_min(c->h, (rows - 1) * c->stride[0] + (int64_t)(c->kh - 1) * c->dilation[0] + 1);
}

static expand_job plan(const strata_node *n, const cpu_simd *simd, const float *packed)
{
    expand_job job = { .expand = cpu_direct_of(n->in[CONV_X], simd, packed), .depthwise = cpu_conv_of(n) };
    const cpu_direct *e = &job.expand;
    const cpu_conv *c = &job.depthwise;
    if (packed != NULL)
        job.packed = packed + cpu_round64(cpu_direct_packed_bytes(e)) / sizeof(float);

    int64_t row_bytes = (int64_t)e->conv.w * e->conv.c * e->conv.stride[0] + (int64_t)c->w * e->block;
    int64_t fit = CACHE_BYTES / (row_bytes * (int64_t)sizeof(float)); /* rows of E */
    int64_t most = cpu_max(1, (fit - (int64_t)(c->kh - 1) * c->dilation[0]) / c->stride[0]);
    job.bands = cpu_ceil_div(c->oh, most);
    job.rows = cpu_ceil_div(c->oh, job.bands);
    job.bands = cpu_ceil_div(c->oh, job.rows);
    job.ranges = cpu_min(e->panels, cpu_ceil_div(ITEMS_WANTED, job.bands));
    job.range = cpu_ceil_div(e->panels, job.ranges);
    job.ranges = cpu_ceil_div(e->panels, job.range);

    job.strip = STRIP_TILES * CPU_TILE_ROWS;
    job.most_rows = (int)rows_under(c, job.rows);
    int64_t pixels = (int64_t)job.most_rows * c->w, strips = cpu_ceil_div(pixels, job.strip);
    job.strip_bytes = cpu_direct_pointer_bytes(e, job.strip);
    job.pointer_bytes = (size_t)strips * job.strip_bytes;
    job.gather_bytes = cpu_direct_gather_bytes(e, (int)pixels);
    job.slot_bytes = job.pointer_bytes + job.gather_bytes + cpu_round64((size_t)(pixels * e->block) * sizeof(float));
    return job;
}

static bool accepts(const strata_node *n)
{
    const strata_node *e = n->in[CONV_X];
    if (e->op != &strata_op_conv2d || !cpu_simd_select()->fused || !cpu_conv_fits(e) || !cpu_depthwise_fits(n))
        return false;
    return e->in[CONV_RESIDUAL] == NULL && cpu_conv_of(e).groups == 1;
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    const cpu_simd *simd = s->device->simd;
    expand_job job = plan(s->node, simd, NULL);
    size_t expand_bytes = cpu_round64(cpu_direct_packed_bytes(&job.expand));
    STRATA_TRY(cpu_alloc_state(s, expand_bytes + cpu_groups_packed_bytes(&job.depthwise, simd->block), err));
    float *packed = s->state;
    STRATA_TRY(cpu_direct_pack(&job.expand, s, s->node->in[CONV_X], packed, err));
    STRATA_TRY(cpu_groups_pack(s->node, simd->block, packed + expand_bytes / sizeof(float), err));
    s->workspace = (size_t)s->device->threads * job.slot_bytes;
    s->consumed = 1u << CONV_WEIGHT | (s->node->in[CONV_BIAS] != NULL ? 1u << CONV_BIAS : 0);
    return STRATA_OK;
}

/* Strip by strip, pointers to the taps of `pixels` pixels of E from `first` on. */
static void point(const expand_job *job, const float *x, int first, int pixels, char *pointers, float *gathered)
{
    for (int at = 0; at < pixels; at += job->strip, pointers += job->strip_bytes)
        cpu_direct_point(&job->expand, x, first + at, (int)cpu_min(job->strip, pixels - at), (const float **)(void *)pointers,
                         gathered != NULL ? gathered + (int64_t)at * job->expand.conv.k : NULL);
}

static void expand_panel(const expand_job *job, int64_t panel, const char *pointers, int pixels, float *y)
{
    const cpu_direct *e = &job->expand;
    cpu_tiles t = { .columns = (int)cpu_min(e->block, e->conv.o - panel * e->block), .y_step = e->block };
    for (int at = 0; at < pixels; at += job->strip, pointers += job->strip_bytes) {
        t.rows = (int)cpu_min(job->strip, pixels - at);
        t.y = y + (int64_t)at * e->block;
        cpu_direct_apply(e, &t, (const float *const *)(const void *)pointers, panel, NULL, 0, e->chunks);
    }
}

static void expand_item(void *arg, int item, int slot)
{
    const expand_job *job = arg;
    const cpu_direct *e = &job->expand;
    const cpu_conv *c = &job->depthwise;
    int64_t range = item % job->ranges, first = item / job->ranges % job->bands * job->rows;
    int64_t image = item / job->ranges / job->bands, end = cpu_min(first + job->rows, c->oh);
    int64_t from, to;
    cpu_group_rows_under(c, first, end, &from, &to);

    char *pointers = (char *)cpu_scratch(job->frame, slot, job->slot_bytes);
    float *gathered = (float *)(void *)(pointers + job->pointer_bytes);
    float *map = (float *)(void *)(pointers + job->pointer_bytes + job->gather_bytes);
    int pixels = (int)(to - from) * c->w;
    point(job, job->frame->in[CONV_X].data + image * cpu_conv_x_image(&e->conv), (int)from * c->w, pixels, pointers, gathered);

    cpu_group_part p = { .conv = c, .simd = e->simd, .packed = job->packed, .x = map, .x_first = from,
                         .x_line = (ptrdiff_t)c->w * e->block, .x_pixel = e->block };
    for (int64_t panel = range * job->range; panel < cpu_min(e->panels, (range + 1) * job->range); panel++) {
        p.channel = panel * e->block;
        p.channels = cpu_min(e->block, c->c - p.channel);
        p.y = job->frame->out.data + image * cpu_conv_y_image(c) + p.channel;
        expand_panel(job, panel, pointers, pixels, map);
        cpu_group_part_run(&p, first, end);
    }
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    expand_job job = plan(s->node, s->device->simd, s->state);
    job.frame = f;
    cpu_parallel(s, job.depthwise.images * job.bands * job.ranges, expand_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_conv2d_expand_depthwise = {
    .name = "conv2d.expand_depthwise", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .by_rows = true, .absorbs = true,
    .accepts = accepts, .prepare = prepare, .release = cpu_release_state, .emit = emit };
