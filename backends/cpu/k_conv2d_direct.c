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
 * chunks that stay in the first cache while the band's tiles go by; between chunks a tile's sums rest in y. Where even a
 * short band has too many channels, the panels go by once for each part of these.
 */
#include "direct.h"

#include <string.h>

enum {
    CHUNK_BYTES = 32 << 10,       /* of weights: about the first cache, which they share with a tile's x */
    BAND_FLOATS = 72 << 10,       /* of a band's x, which stays in the second cache while y and weights pass */
    BAND_LEAST = 48,              /* pixels */
    BAND_MOST = 512,              /* where longer bands save no more weights than they take workspace */
    FEW_CHANNELS = 16,            /* below: rows of taps instead of taps */
};

static int64_t weight_floats(const cpu_direct *d)
{
    return (int64_t)d->conv.groups * d->panels * d->conv.k * d->block;
}

static int64_t bias_floats(const cpu_direct *d)
{
    return (int64_t)d->conv.groups * d->panels * d->block;
}

size_t cpu_direct_packed_bytes(const cpu_direct *d)
{
    return (size_t)(weight_floats(d) + bias_floats(d) + d->channels) * sizeof(float);
}

cpu_direct cpu_direct_of(const strata_node *n, const cpu_simd *simd, const float *packed)
{
    cpu_direct d = { .conv = cpu_conv_of(n), .simd = simd, .block = simd->block };
    const cpu_conv *c = &d.conv;
    d.row_taps = c->cg < FEW_CHANNELS && c->kw > 1 && c->groups == 1 && c->dilation[1] == 1;
    d.taps = d.row_taps ? c->kh : c->taps;
    d.channels = c->k / d.taps;
    d.panels = (int)cpu_ceil_div(c->og, d.block);

    int64_t line = (int64_t)d.block * (int64_t)sizeof(float);
    if (d.channels * line > CHUNK_BYTES) {
        d.chunk_taps = 1;
        d.chunk_channels = (int)cpu_ceil_div(d.channels, cpu_ceil_div(d.channels * line, CHUNK_BYTES));
    } else {
        d.chunk_taps = (int)cpu_min(d.taps, CHUNK_BYTES / (d.channels * line));
        d.chunk_channels = d.channels;
    }
    d.chunks = (int)(cpu_ceil_div(d.taps, d.chunk_taps) * cpu_ceil_div(d.channels, d.chunk_channels));
    if (packed != NULL) {
        d.weight = packed;
        d.bias = d.weight + weight_floats(&d);
        d.zeros = d.bias + bias_floats(&d);
    }
    return d;
}

/* ---- Packing --------------------------------------------------------------------------------------- */

typedef struct pack_job {
    const cpu_direct *direct;
    float            *packed;
} pack_job;

/* Rows [o][ci][tap] of the weight into their columns of the panels. Whole panels are turned in squares. */
static void pack_rows(void *arg, const float *rows, int64_t first, int64_t count)
{
    const pack_job *job = arg;
    const cpu_direct *d = job->direct;
    const cpu_conv *c = &d->conv;
    for (int64_t o = first; o < first + count;) {
        int64_t panel = o / c->og * d->panels + o % c->og / d->block, column = o % c->og % d->block;
        int64_t here = cpu_min(first + count - o, cpu_min(d->block - column, c->og - o % c->og));
        float *dst = job->packed + panel * c->k * d->block + column;
        if (c->taps == 1) {
            d->simd->transpose(dst, d->block, rows, c->k, here, c->k, false);
        } else {
            for (int ci = 0; ci < c->cg; ci++)
                for (int t = 0; t < c->taps; t++)
                    for (int64_t i = 0; i < here; i++)
                        dst[(int64_t)(t * c->cg + ci) * d->block + i] = rows[i * c->k + ci * c->taps + t];
        }
        rows += here * c->k;
        o += here;
    }
}

strata_status cpu_direct_pack(const cpu_direct *d, const strata_step *s, const strata_node *n, float *packed,
                              strata_error *err)
{
    const cpu_conv *c = &d->conv;
    float *packed_bias = packed + weight_floats(d);
    memset(packed_bias, 0, (size_t)(bias_floats(d) + d->channels) * sizeof(float));
    if (c->og % d->block != 0) /* columns without a channel */
        memset(packed, 0, (size_t)weight_floats(d) * sizeof(float));

    const strata_node *bias = n->in[CONV_BIAS];
    if (bias != NULL) {
        STRATA_TRY(strata_tensor_compute(bias->data, err));
        const float *b = strata_tensor_data(bias->data);
        for (int o = 0; o < c->o; o++)
            packed_bias[(o / c->og * d->panels + o % c->og / d->block) * d->block + o % c->og % d->block] = b[o];
    }
    pack_job job = { d, packed };
    return cpu_each_rows(s, n->in[CONV_WEIGHT], d->block, pack_rows, &job, err);
}

strata_status cpu_direct_prepare(const cpu_direct *d, strata_step *s, strata_error *err)
{
    STRATA_TRY(cpu_alloc_state(s, cpu_direct_packed_bytes(d), err));
    STRATA_TRY(cpu_direct_pack(d, s, s->node, s->state, err));
    s->consumed = 1u << CONV_WEIGHT | (s->node->in[CONV_BIAS] != NULL ? 1u << CONV_BIAS : 0);
    return STRATA_OK;
}

/* ---- Pointers to the taps -------------------------------------------------------------------------- */

/* tap[t * CPU_TILE_ROWS] for every tap of the pixel whose first tap is at (y, column). */
static void point_at_taps(const cpu_direct *d, const float *x, int y, int column, const float **tap)
{
    const cpu_conv *c = &d->conv;
    for (int ty = 0; ty < c->kh; ty++, y += c->dilation[0])
        for (int tx = 0, at = column; tx < c->kw; tx++, at += c->dilation[1], tap += CPU_TILE_ROWS) {
            bool inside = y >= 0 && y < c->h && at >= 0 && at < c->w;
            *tap = inside ? x + ((int64_t)y * c->w + at) * c->c : d->zeros;
        }
}

/* The same for rows of taps. `gathered` has room for the rows that need it: kw * c floats each. */
static void point_at_tap_rows(const cpu_direct *d, const float *x, int y, int column, const float **tap,
                              float *gathered)
{
    const cpu_conv *c = &d->conv;
    bool whole = column >= 0 && column + c->kw <= c->w;
    for (int ty = 0; ty < c->kh;
         ty++, y += c->dilation[0], tap += CPU_TILE_ROWS, gathered += d->channels) {
        const float *row = x + (int64_t)y * c->w * c->c;
        if (y < 0 || y >= c->h) {
            *tap = d->zeros;
        } else if (whole) {
            *tap = row + (int64_t)column * c->c;
        } else {
            cpu_gather_row(c, row, column, gathered);
            *tap = gathered;
        }
    }
}

/* All taps of neighbours in a row of the result, none outside the map to the left or right: of a whole tile, for that is
 * quickest, though the tile may have fewer and never looks at the others. */
static void point_at_run(const cpu_direct *d, const float *x, int y, int column, const float **tap)
{
    const cpu_conv *c = &d->conv;
    int across = d->row_taps ? 1 : c->kw;
    for (int ty = 0; ty < c->kh; ty++, y += c->dilation[0]) {
        bool inside = y >= 0 && y < c->h;
        const float *at = inside ? x + ((ptrdiff_t)y * c->w + column) * c->c : d->zeros;
        ptrdiff_t step = inside ? (ptrdiff_t)c->stride[1] * c->c : 0;
        ptrdiff_t tap_step = inside ? (ptrdiff_t)c->dilation[1] * c->c : 0;
        for (int tx = 0; tx < across; tx++, tap += CPU_TILE_ROWS, at += tap_step)
            for (int i = 0; i < CPU_TILE_ROWS; i++)
                tap[i] = at + i * step;
    }
}

size_t cpu_direct_pointer_bytes(const cpu_direct *d, int pixels)
{
    return cpu_round64((size_t)cpu_tile_count(pixels) * CPU_TILE_ROWS * (size_t)d->taps * sizeof(float *));
}

size_t cpu_direct_gather_bytes(const cpu_direct *d, int pixels)
{
    return d->row_taps ? cpu_round64((size_t)pixels * (size_t)d->conv.k * sizeof(float)) : 0;
}

/* gathered[pixel][k] is used where needed. With few channels this is much of the work: hence tiles within a row and the
 * map go at once. */
void cpu_direct_point(const cpu_direct *d, const float *x, int first, int pixels, const float **pointers, float *gathered)
{
    const cpu_conv *c = &d->conv;
    int tiles = cpu_tile_count(pixels), pixel = 0;
    int oy = first / c->ow, ox = first % c->ow, reach = (c->kw - 1) * c->dilation[1];
    for (int tile = 0; tile < tiles; tile++, pointers += d->taps * CPU_TILE_ROWS) {
        int next = cpu_tile_first(tile + 1, tiles, pixels), count = next - pixel;
        int left = ox * c->stride[1] - c->left, right = left + (count - 1) * c->stride[1] + reach;
        if (ox + count <= c->ow && left >= 0 && right < c->w) {
            point_at_run(d, x, oy * c->stride[0] - c->top, left, pointers);
            ox += count;
            pixel = next;
        }
        for (int i = 0; pixel < next; i++, pixel++, ox++) {
            if (ox == c->ow) {
                ox = 0;
                oy++;
            }
            int y = oy * c->stride[0] - c->top, column = ox * c->stride[1] - c->left;
            if (d->row_taps)
                point_at_tap_rows(d, x, y, column, pointers + i, gathered + (int64_t)pixel * c->k);
            else
                point_at_taps(d, x, y, column, pointers + i);
        }
        if (ox == c->ow) {
            ox = 0;
            oy++;
        }
    }
}

/* ---- Products -------------------------------------------------------------------------------------- */

/* The panel's weights chunk by chunk, each over all tiles of the band. Panels follow each other in memory, so
 * what follows a chunk is what will be wanted next. y may be where the residual lies: the first chunk adds it. */
void cpu_direct_apply(const cpu_direct *d, cpu_tiles *t, const float *const *pointers, int64_t panel,
                      const float *residual, int first, int end)
{
    const float *weight = d->weight + panel * d->conv.k * d->block, *bias = d->bias + panel * d->block;
    int parts = (int)cpu_ceil_div(d->channels, d->chunk_channels); /* of a tap */
    t->x_tile = (ptrdiff_t)d->taps * CPU_TILE_ROWS;
    for (int chunk = first; chunk < end; chunk++) {
        int tap = chunk / parts * d->chunk_taps, k = chunk % parts * d->chunk_channels;
        t->taps = (int)cpu_min(d->chunk_taps, d->taps - tap);
        t->channels = (int)cpu_min(d->chunk_channels, d->channels - k);
        t->x = pointers + (int64_t)tap * CPU_TILE_ROWS;
        t->x_offset = k;
        t->weight = weight + ((int64_t)tap * d->channels + k) * d->block;
        t->ahead = t->weight + (int64_t)t->taps * t->channels * d->block;
        t->bias = chunk == 0 ? bias : NULL;
        t->residual = chunk == 0 ? residual : NULL;
        t->act = chunk + 1 == d->chunks ? d->conv.act : STRATA_ACT_NONE;
        d->simd->tiles(t);
    }
}

void cpu_direct_apply_item(const cpu_direct *d, const strata_frame *f, const cpu_cut_item *at,
                           const float *const *pointers, int first, int end)
{
    const cpu_conv *c = &d->conv;
    int64_t y = at->image * cpu_conv_y_image(c) + (int64_t)at->pixel * c->o + at->group * c->og;
    const float *residual = f->in[CONV_RESIDUAL].data;
    cpu_tiles t = { .rows = at->pixels, .y_step = c->o, .residual_step = c->o };
    for (int o = at->channel; o < at->channel + at->channels; o += d->block) {
        t.columns = (int)cpu_min(d->block, c->og - o);
        t.y = f->out.data + y + o;
        cpu_direct_apply(d, &t, pointers, (int64_t)at->group * d->panels + o / d->block,
                         residual != NULL ? residual + y + o : NULL, first, end);
    }
}

/* ---- The kernel ------------------------------------------------------------------------------------ */

typedef struct direct_job {
    const strata_frame *frame;
    cpu_direct          direct;
    cpu_cut             cut;
    int                 part; /* chunks of all panels after which the next are begun */
} direct_job;

/* Floats of x that a pixel adds to a band. */
static int64_t x_floats(const cpu_conv *c)
{
    return c->cg * cpu_min(c->stride[0], c->kh) * cpu_min(c->stride[1], c->kw);
}

static void cut_direct(direct_job *job)
{
    const cpu_direct *d = &job->direct;
    int64_t fit = BAND_FLOATS / x_floats(&d->conv);
    job->cut = cpu_cut_conv(&d->conv, cpu_max(BAND_LEAST, cpu_min(BAND_MOST, fit)), d->block);
    int64_t parts = cpu_ceil_div(job->cut.band * x_floats(&d->conv), BAND_FLOATS);
    job->part = (int)cpu_ceil_div(d->chunks, cpu_min(d->chunks, parts));
}

/* In the workspace of a thread. */
static size_t slot_bytes(const direct_job *job)
{
    return cpu_direct_pointer_bytes(&job->direct, job->cut.band) + cpu_direct_gather_bytes(&job->direct, job->cut.band);
}

static bool accepts(const strata_node *n)
{
    return cpu_simd_select()->fused && cpu_conv_fits(n);
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    direct_job job = { .direct = cpu_direct_of(s->node, s->device->simd, NULL) };
    cut_direct(&job);
    s->workspace = (size_t)s->device->threads * slot_bytes(&job);
    return cpu_direct_prepare(&job.direct, s, err);
}

static void direct_item(void *arg, int item, int slot)
{
    const direct_job *job = arg;
    const cpu_direct *d = &job->direct;
    const cpu_conv *c = &d->conv;
    cpu_cut_item at = cpu_cut_at(c, &job->cut, item);
    const float *x = job->frame->in[CONV_X].data + at.image * cpu_conv_x_image(c) + at.group * c->cg;

    char *scratch = (char *)cpu_scratch(job->frame, slot, slot_bytes(job));
    const float **pointers = (const float **)(void *)scratch;
    cpu_direct_point(d, x, at.pixel, at.pixels, pointers,
                     (float *)(void *)(scratch + cpu_direct_pointer_bytes(d, job->cut.band)));

    for (int chunk = 0; chunk < d->chunks; chunk += job->part)
        cpu_direct_apply_item(d, job->frame, &at, pointers, chunk, (int)cpu_min(chunk + job->part, d->chunks));
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    direct_job job = { .frame = f, .direct = cpu_direct_of(s->node, s->device->simd, s->state) };
    cut_direct(&job);
    cpu_parallel(s, job.cut.items, direct_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_conv2d_direct = {
    .name = "conv2d.direct", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .by_rows = true,
    .in_place = 1u << CONV_RESIDUAL, .accepts = accepts, .prepare = prepare, .release = cpu_release_state, .emit = emit };

const strata_kernel_def cpu_kernel_dense_direct = {
    .name = "dense.direct", .op = &strata_op_dense, .layouts = CPU_NHWC, .by_rows = true, .accepts = accepts,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };
