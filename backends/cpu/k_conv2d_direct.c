/* k_conv2d_direct.c: convolutions and dense layers by our own tiles, where the processor has fused
 * multiply-add.
 *
 *     Y[p][o] = act(bias[o] + sum over taps t, channels k of X[p + t][k] W[t][k][o] + residual[p][o])
 *
 * The weights are packed once in panels of as many columns as a tile has. A tile reads x where it lies: for
 * each of its six pixels and each tap it has a pointer to the tap's channels, or to zeros outside the map, so
 * nothing is copied and a 1x1, a strided and a dilated convolution are the same loop.
 *
 * Where taps have few channels, as in the first layer of a network, a whole row of taps is taken as one: its
 * channels are neighbours in memory. Only rows that hang over the left or right edge of the map are gathered
 * first.
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
    FEW_CHANNELS = 16,            /* below: rows of taps instead of taps */
};

/* What the items of a node have in common. A tap is what a tile takes for one: taps * channels = conv.k. */
typedef struct direct_plan {
    cpu_conv conv;
    cpu_cut  cut;
    bool     row_taps;                   /* a tap is a whole row of them */
    int      block, panels;              /* columns of a panel; panels of a group */
    int      taps, channels;
    int      chunk_taps, chunk_channels; /* of weights at a time: some taps whole, or a part of one */
    size_t pointer_bytes, slot_bytes; /* in the workspace of a thread: pointers, then gathered rows of taps */
} direct_plan;

/* The state: [group][panel][k][block] of weights, [group][panel][block] of bias, then zeros for taps outside
 * the map. */
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
    p.row_taps = c->cg < FEW_CHANNELS && c->kw > 1 && c->groups == 1 && c->dilation[1] == 1;
    p.taps = p.row_taps ? c->kh : c->taps;
    p.channels = c->k / p.taps;
    p.panels = (int)cpu_ceil_div(c->og, block);

    int64_t line = (int64_t)block * (int64_t)sizeof(float);
    if (p.channels * line > CHUNK_BYTES) {
        p.chunk_taps = 1;
        p.chunk_channels = (int)cpu_ceil_div(p.channels, cpu_ceil_div(p.channels * line, CHUNK_BYTES));
    } else {
        p.chunk_taps = (int)cpu_min(p.taps, CHUNK_BYTES / (p.channels * line));
        p.chunk_channels = p.channels;
    }

    int64_t x_floats = (int64_t)c->cg * c->stride[0] * c->stride[1];
    int64_t most = BAND_BYTES / (int64_t)sizeof(float) / (x_floats + c->og);
    p.cut = cpu_cut_conv(c, cpu_max(BAND_LEAST, most), block);

    size_t pointers = (size_t)cpu_tile_count(p.cut.band) * CPU_TILE_ROWS * (size_t)p.taps;
    p.pointer_bytes = cpu_round64(pointers * sizeof(float *));
    p.slot_bytes = p.pointer_bytes;
    if (p.row_taps)
        p.slot_bytes += cpu_round64((size_t)p.cut.band * (size_t)c->k * sizeof(float));
    return p;
}

static bool accepts(const strata_node *n)
{
    return cpu_simd_select()->fused && cpu_conv_fits(n);
}

typedef struct pack_job {
    const direct_plan *plan;
    float             *packed;
    const cpu_simd    *simd;
} pack_job;

/* Rows [o][ci][tap] of the weight into their columns of the panels. Whole panels are turned in squares. */
static void pack_rows(void *arg, const float *rows, int64_t first, int64_t count)
{
    const pack_job *job = arg;
    const direct_plan *p = job->plan;
    const cpu_conv *c = &p->conv;
    for (int64_t o = first; o < first + count;) {
        int64_t panel = o / c->og * p->panels + o % c->og / p->block, column = o % c->og % p->block;
        int64_t here = cpu_min(first + count - o, cpu_min(p->block - column, c->og - o % c->og));
        float *dst = job->packed + panel * c->k * p->block + column;
        if (c->taps == 1) {
            job->simd->transpose(dst, p->block, rows, c->k, here, c->k);
        } else {
            for (int ci = 0; ci < c->cg; ci++)
                for (int t = 0; t < c->taps; t++)
                    for (int64_t i = 0; i < here; i++)
                        dst[(int64_t)(t * c->cg + ci) * p->block + i] = rows[i * c->k + ci * c->taps + t];
        }
        rows += here * c->k;
        o += here;
    }
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    direct_plan p = plan_direct(s->node, s->device->simd->block);
    const cpu_conv *c = &p.conv;
    int64_t floats = weight_floats(&p) + bias_floats(&p) + p.channels;
    STRATA_TRY(cpu_alloc_state(s, (size_t)floats * sizeof(float), err));
    pack_job job = { &p, s->state, s->device->simd };
    float *packed_bias = job.packed + weight_floats(&p);
    memset(packed_bias, 0, (size_t)(floats - weight_floats(&p)) * sizeof(float));
    if (c->og % p.block != 0) /* columns without a channel */
        memset(s->state, 0, (size_t)weight_floats(&p) * sizeof(float));

    const strata_node *bias = s->node->in[CONV_BIAS];
    if (bias != NULL) {
        STRATA_TRY(strata_tensor_compute(bias->data, err));
        const float *b = strata_tensor_data(bias->data);
        for (int o = 0; o < c->o; o++)
            packed_bias[(o / c->og * p.panels + o % c->og / p.block) * p.block + o % c->og % p.block] = b[o];
    }
    STRATA_TRY(cpu_each_rows(s, CONV_WEIGHT, p.block, pack_rows, &job, err));
    s->workspace = (size_t)s->device->threads * p.slot_bytes;
    s->consumed = 1u << CONV_WEIGHT | (bias != NULL ? 1u << CONV_BIAS : 0);
    return STRATA_OK;
}

/* ---- Pointers to the taps -------------------------------------------------------------------------- */

/* tap[t * CPU_TILE_ROWS] for every tap of the pixel whose first tap is at (y, column). */
static void point_at_taps(const direct_job *job, const float *x, int y, int column, const float **tap)
{
    const cpu_conv *c = &job->plan.conv;
    for (int ty = 0; ty < c->kh; ty++, y += c->dilation[0])
        for (int tx = 0, at = column; tx < c->kw; tx++, at += c->dilation[1], tap += CPU_TILE_ROWS) {
            bool inside = y >= 0 && y < c->h && at >= 0 && at < c->w;
            *tap = inside ? x + ((int64_t)y * c->w + at) * c->c : job->zeros;
        }
}

/* The same for rows of taps. `gathered` has room for the rows that need it: kw * c floats each. */
static void point_at_tap_rows(const direct_job *job, const float *x, int y, int column, const float **tap,
                              float *gathered)
{
    const cpu_conv *c = &job->plan.conv;
    bool whole = column >= 0 && column + c->kw <= c->w;
    for (int ty = 0; ty < c->kh;
         ty++, y += c->dilation[0], tap += CPU_TILE_ROWS, gathered += job->plan.channels) {
        const float *row = x + (int64_t)y * c->w * c->c;
        if (y < 0 || y >= c->h) {
            *tap = job->zeros;
        } else if (whole) {
            *tap = row + (int64_t)column * c->c;
        } else {
            cpu_gather_row(c, row, column, gathered);
            *tap = gathered;
        }
    }
}

/* All taps of `count` neighbours in a row of the result, none outside the map to the left or right. */
static void point_at_run(const direct_job *job, const float *x, int y, int column, int count, const float **tap)
{
    const cpu_conv *c = &job->plan.conv;
    int across = job->plan.row_taps ? 1 : c->kw;
    for (int ty = 0; ty < c->kh; ty++, y += c->dilation[0]) {
        bool inside = y >= 0 && y < c->h;
        const float *at = inside ? x + ((ptrdiff_t)y * c->w + column) * c->c : job->zeros;
        ptrdiff_t step = inside ? (ptrdiff_t)c->stride[1] * c->c : 0;
        ptrdiff_t tap_step = inside ? (ptrdiff_t)c->dilation[1] * c->c : 0;
        for (int tx = 0; tx < across; tx++, tap += CPU_TILE_ROWS, at += tap_step)
            for (int i = 0; i < count; i++)
                tap[i] = at + i * step;
    }
}

/* pointers[tile][tap][CPU_TILE_ROWS] for the pixels of an item; gathered[pixel][k] is used where needed. With few
 * channels this is much of the work: hence tiles within a row and the map go at once. */
static void point_at_band(const direct_job *job, const cpu_cut_item *at, const float *x,
                          const float **pointers, float *gathered)
{
    const direct_plan *p = &job->plan;
    const cpu_conv *c = &p->conv;
    int tiles = cpu_tile_count(at->pixels), pixels = at->pixels, pixel = 0;
    int oy = at->pixel / c->ow, ox = at->pixel % c->ow, reach = (c->kw - 1) * c->dilation[1];
    for (int tile = 0; tile < tiles; tile++, pointers += p->taps * CPU_TILE_ROWS) {
        int next = cpu_tile_first(tile + 1, tiles, pixels), count = next - pixel;
        int left = ox * c->stride[1] - c->left, right = left + (count - 1) * c->stride[1] + reach;
        if (ox + count <= c->ow && left >= 0 && right < c->w) {
            point_at_run(job, x, oy * c->stride[0] - c->top, left, count, pointers);
            ox += count;
            pixel = next;
        }
        for (int i = 0; pixel < next; i++, pixel++, ox++) {
            if (ox == c->ow) {
                ox = 0;
                oy++;
            }
            int y = oy * c->stride[0] - c->top, column = ox * c->stride[1] - c->left;
            if (p->row_taps)
                point_at_tap_rows(job, x, y, column, pointers + i, gathered + (int64_t)pixel * c->k);
            else
                point_at_taps(job, x, y, column, pointers + i);
        }
        if (ox == c->ow) {
            ox = 0;
            oy++;
        }
    }
}

/* ---- Products -------------------------------------------------------------------------------------- */

/* The panel's weights chunk by chunk, each over all tiles of the band. Panels follow each other in memory, so
 * what follows a chunk is what will be wanted next. */
static void apply_panel(const direct_job *job, cpu_tiles *t, const float *const *pointers,
                        const float *weight, const float *bias, const float *residual)
{
    const direct_plan *p = &job->plan;
    for (int tap = 0; tap < p->taps; tap += p->chunk_taps)
        for (int k = 0; k < p->channels; k += p->chunk_channels) {
            t->taps = (int)cpu_min(p->chunk_taps, p->taps - tap);
            t->channels = (int)cpu_min(p->chunk_channels, p->channels - k);
            bool last = tap + t->taps == p->taps && k + t->channels == p->channels;
            t->x = pointers + (int64_t)tap * CPU_TILE_ROWS;
            t->x_offset = k;
            t->weight = weight + ((int64_t)tap * p->channels + k) * p->block;
            t->ahead = t->weight + (int64_t)t->taps * t->channels * p->block;
            t->bias = tap == 0 && k == 0 ? bias : NULL;
            t->residual = last ? residual : NULL;
            t->act = last ? p->conv.act : STRATA_ACT_NONE;
            job->step->device->simd->tiles(t);
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
    const float *residual = job->frame->in[CONV_RESIDUAL].data;

    char *scratch = (char *)cpu_scratch(job->frame, slot, p->slot_bytes);
    const float **pointers = (const float **)(void *)scratch;
    point_at_band(job, &at, x, pointers, (float *)(void *)(scratch + p->pointer_bytes));

    cpu_tiles t = { .x_tile = (ptrdiff_t)p->taps * CPU_TILE_ROWS, .rows = at.pixels, .y_step = c->o,
                    .residual_step = c->o };
    for (int o = at.channel; o < at.channel + at.channels; o += p->block) {
        int64_t panel = (int64_t)at.group * p->panels + o / p->block;
        t.columns = (int)cpu_min(p->block, c->og - o);
        t.y = job->frame->out.data + first + o;
        apply_panel(job, &t, pointers, (const float *)job->step->state + panel * c->k * p->block,
                    job->bias + panel * p->block, residual != NULL ? residual + first + o : NULL);
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
    .name = "conv2d.direct", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .by_rows = true, .accepts = accepts,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };

const strata_kernel_def cpu_kernel_dense_direct = {
    .name = "dense.direct", .op = &strata_op_dense, .layouts = CPU_NHWC, .by_rows = true, .accepts = accepts,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };
