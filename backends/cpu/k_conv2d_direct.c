/* k_conv2d_direct.c: convolutions and dense layers by our own tiles, where the processor has fused multiply-add.
 *
 *     Y[p][o] = act(bias[o] + sum over taps t, channels k of X[p + t][k] W[t][k][o] + residual[p][o])
 *
 * The weights are packed once in panels of as many columns as a tile has. A tile reads x where it lies: for each of
 * its six pixels and each tap it has a pointer to the tap's channels, or to zeros outside the map, so nothing is copied
 * and a 1x1, a strided and a dilated convolution are the same loop. Only where a tap has few channels, as in the
 * first layer of a network, the pixels of a band are gathered first and make one long tap.
 *
 * A band of pixels is short enough to stay in the second cache while the panels go by. A panel is applied in
 * chunks that stay in the first cache while the band's tiles go by; between chunks a tile's sums rest in y.
 */
#include "conv.h"

#include <string.h>

enum {
    CHUNK_BYTES = 24 << 10,       /* of weights, within the first cache */
    BAND_BYTES = 192 << 10,       /* of x and y of a band, within the second cache */
    BAND_LEAST = 48,              /* pixels */
    GATHER_BELOW = 16,            /* channels of a tap */
};

/* What the tiles of a node have in common. `taps` x `channels` is what they see: all in one tap when gathered. */
typedef struct direct_plan {
    cpu_conv conv;
    cpu_cut  cut;
    bool     gather;
    int      block, panels;              /* columns of a panel; panels of a group */
    int      taps, channels;
    int      chunk_taps, chunk_channels; /* of weights at a time: some taps whole, or a part of one */
    size_t   pointer_bytes, slot_bytes;  /* in the workspace of a thread: pointers, then the gathered band */
} direct_plan;

/* The state: [group][panel][k][block] of weights, [group][panel][block] of bias, then zeros for taps outside the map. */
typedef struct direct_job {
    const strata_step  *step;
    const strata_frame *frame;
    direct_plan         plan;
    const float        *bias, *zeros;
} direct_job;

static int64_t weight_floats(const direct_plan *p)
{
    return (int64_t)p->conv.groups * p->panels * p->conv.k * p->block;
}

static int64_t bias_floats(const direct_plan *p)
{
    return (int64_t)p->conv.groups * p->panels * p->block;
}

static direct_plan plan_direct(const strata_node *n, int block)
{
    direct_plan p = { .conv = cpu_conv_of(n), .block = block };
    const cpu_conv *c = &p.conv;
    p.gather = c->cg < GATHER_BELOW && c->taps > 1;
    p.taps = p.gather ? 1 : c->taps;
    p.channels = p.gather ? c->k : c->cg;
    p.panels = (int)cpu_ceil_div(c->og, block);

    int64_t line = (int64_t)block * (int64_t)sizeof(float);
    if (p.channels * line > CHUNK_BYTES) {
        p.chunk_taps = 1;
        p.chunk_channels = (int)cpu_ceil_div(p.channels, cpu_ceil_div(p.channels * line, CHUNK_BYTES));
    } else {
        p.chunk_taps = (int)cpu_min(p.taps, CHUNK_BYTES / (p.channels * line));
        p.chunk_channels = p.channels;
    }

    int64_t x_floats = p.gather ? c->k : (int64_t)c->cg * c->stride[0] * c->stride[1];
    int64_t most = BAND_BYTES / (int64_t)sizeof(float) / (x_floats + c->og);
    p.cut = cpu_cut_conv(c, cpu_max(BAND_LEAST, most), block);

    size_t tiles = (size_t)cpu_ceil_div(p.cut.band, CPU_TILE_ROWS);
    p.pointer_bytes = cpu_round64(tiles * (size_t)p.taps * CPU_TILE_ROWS * sizeof(float *));
    p.slot_bytes = p.pointer_bytes;
    if (p.gather)
        p.slot_bytes += cpu_round64((size_t)p.cut.band * (size_t)c->k * sizeof(float));
    return p;
}

static bool accepts(const strata_node *n)
{
    return cpu_simd_select()->fused && cpu_conv_fits(n);
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    direct_plan p = plan_direct(s->node, s->device->simd->block);
    const cpu_conv *c = &p.conv;
    int64_t floats = weight_floats(&p) + bias_floats(&p) + c->cg;
    STRATA_TRY(cpu_alloc_state(s, (size_t)floats * sizeof(float), err));
    memset(s->state, 0, (size_t)floats * sizeof(float));

    const strata_node *bias = s->node->in[CONV_BIAS];
    const float *w = strata_tensor_data(s->node->in[CONV_WEIGHT]->data);
    const float *b = bias != NULL ? strata_tensor_data(bias->data) : NULL;
    float *packed = s->state, *packed_bias = packed + weight_floats(&p);
    for (int o = 0; o < c->o; o++) {
        int64_t panel = (int64_t)(o / c->og) * p.panels + o % c->og / p.block, column = o % c->og % p.block;
        for (int ci = 0; ci < c->cg; ci++)
            for (int t = 0; t < c->taps; t++)
                packed[(panel * c->k + t * c->cg + ci) * p.block + column] = *w++;
        if (b != NULL)
            packed_bias[panel * p.block + column] = b[o];
    }
    s->workspace = (size_t)s->device->threads * p.slot_bytes;
    s->consumed = 1u << CONV_WEIGHT | (bias != NULL ? 1u << CONV_BIAS : 0);
    return STRATA_OK;
}

/* Tile t of a band has the pixels from first_of(t) to first_of(t + 1): five or six, however many there are. */
static int first_of(int tile, int tiles, int pixels)
{
    return (int)((int64_t)pixels * tile / tiles);
}

/* pointers[tile][tap][CPU_TILE_ROWS] into the image, for the pixels of the band. */
static void point_at_taps(const direct_job *job, const cpu_cut_item *at, const float *x, int tiles,
                          const float **pointers)
{
    const cpu_conv *c = &job->plan.conv;
    for (int tile = 0; tile < tiles; tile++, pointers += c->taps * CPU_TILE_ROWS) {
        int from = first_of(tile, tiles, at->pixels), to = first_of(tile + 1, tiles, at->pixels);
        for (int p = from; p < to; p++) {
            const float **tap = pointers + (p - from);
            int top = (at->pixel + p) / c->ow * c->stride[0] - c->top;
            int left = (at->pixel + p) % c->ow * c->stride[1] - c->left;
            for (int ty = 0, y = top; ty < c->kh; ty++, y += c->dilation[0])
                for (int tx = 0, column = left; tx < c->kw; tx++, column += c->dilation[1], tap += CPU_TILE_ROWS) {
                    bool inside = y >= 0 && y < c->h && column >= 0 && column < c->w;
                    *tap = inside ? x + ((int64_t)y * c->w + column) * c->c : job->zeros;
                }
        }
    }
}

static void point_at_rows(const direct_plan *plan, int pixels, const float *band, int tiles, const float **pointers)
{
    for (int tile = 0; tile < tiles; tile++, pointers += CPU_TILE_ROWS) {
        int from = first_of(tile, tiles, pixels), to = first_of(tile + 1, tiles, pixels);
        for (int p = from; p < to; p++)
            pointers[p - from] = band + (int64_t)p * plan->conv.k;
    }
}

/* One panel: every chunk of its weights, and for each all tiles of the band. */
static void apply_panel(const direct_job *job, cpu_tile *t, int tiles, int pixels, const float *const *pointers,
                        const float *weight, const float *bias, const float *residual, float *y)
{
    const direct_plan *p = &job->plan;
    const cpu_simd *simd = job->step->device->simd;
    for (int tap = 0; tap < p->taps; tap += p->chunk_taps)
        for (int k = 0; k < p->channels; k += p->chunk_channels) {
            t->taps = (int)cpu_min(p->chunk_taps, p->taps - tap);
            t->channels = (int)cpu_min(p->chunk_channels, p->channels - k);
            bool last = tap + t->taps == p->taps && k + t->channels == p->channels;
            t->x_offset = k;
            t->weight = weight + ((int64_t)tap * p->channels + k) * p->block;
            t->bias = tap == 0 && k == 0 ? bias : NULL;
            t->act = last ? p->conv.act : STRATA_ACT_NONE;
            for (int tile = 0; tile < tiles; tile++) {
                int from = first_of(tile, tiles, pixels);
                t->rows = first_of(tile + 1, tiles, pixels) - from;
                t->x = pointers + ((int64_t)tile * p->taps + tap) * CPU_TILE_ROWS;
                t->y = y + (int64_t)from * t->y_step;
                t->residual = last && residual != NULL ? residual + (int64_t)from * t->y_step : NULL;
                simd->tile(t);
            }
        }
}

static void direct_item(void *arg, int item, int slot)
{
    const direct_job *job = arg;
    const direct_plan *p = &job->plan;
    const cpu_conv *c = &p->conv;
    cpu_cut_item at = cpu_cut_at(c, &p->cut, item);
    const float *x = job->frame->in[CONV_X].data + at.image * cpu_conv_x_image(c) + at.group * c->cg;
    int64_t first = at.image * cpu_conv_y_image(c) + (int64_t)at.pixel * c->o + at.group * c->og;
    float *y = job->frame->out.data + first;
    const float *residual = job->frame->in[CONV_RESIDUAL].data;

    char *scratch = (char *)cpu_scratch(job->frame, slot, p->slot_bytes);
    const float **pointers = (const float **)(void *)scratch;
    int tiles = (int)cpu_ceil_div(at.pixels, CPU_TILE_ROWS);
    if (p->gather) {
        float *band = (float *)(void *)(scratch + p->pointer_bytes);
        cpu_im2col(c, x, at.pixel, at.pixels, band);
        point_at_rows(p, at.pixels, band, tiles, pointers);
    } else {
        point_at_taps(job, &at, x, tiles, pointers);
    }

    cpu_tile t = { .x_step = CPU_TILE_ROWS, .y_step = c->o, .residual_step = c->o };
    for (int o = at.channel; o < at.channel + at.channels; o += p->block) {
        int64_t panel = (int64_t)at.group * p->panels + o / p->block;
        const float *weight = (const float *)job->step->state + panel * c->k * p->block;
        t.columns = (int)cpu_min(p->block, c->og - o);
        apply_panel(job, &t, tiles, at.pixels, pointers, weight, job->bias + panel * p->block,
                    residual != NULL ? residual + first + o : NULL, y + o);
    }
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    direct_job job = { .step = s, .frame = f, .plan = plan_direct(s->node, s->device->simd->block) };
    job.bias = (const float *)s->state + weight_floats(&job.plan);
    job.zeros = job.bias + bias_floats(&job.plan);
    cpu_parallel(s, job.plan.cut.items, direct_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_conv2d_direct = {
    .name = "conv2d.direct", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .accepts = accepts, .prepare = prepare,
    .release = cpu_release_state, .emit = emit };

const strata_kernel_def cpu_kernel_dense_direct = {
    .name = "dense.direct", .op = &strata_op_dense, .layouts = CPU_NHWC, .accepts = accepts, .prepare = prepare,
    .release = cpu_release_state, .emit = emit };
