/* k_conv2d_winograd.c: 3x3 convolutions of stride 1 with fewer multiplications, at the price of some bits.
 *
 *     Y = A' [ U * (B' d B) ] A,   U = G g G'
 *
 * (Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional
 * Neural Networks", 2016): a tile d of 6x6 pixels becomes 36 points, each point of all tiles is multiplied
 * with a matrix of its own, and 36 points become 4x4 results: 36 products where the definition has 144. With
 * 4x4 pixels it is 16 for 36, with fewer weights and smaller errors. G is applied in double, once.
 *
 * An item takes a block of tiles, of all images as if they were one, as small as the second cache and as
 * large as the weights need that are read for each block. It transforms all channels of the block; then, panel
 * by panel, multiplies point after point and transforms the sums back, with bias, residual and activation.
 *
 * Every result is computed from its own tile alone, in an order that depends on the channels only. So the bits
 * are the same however tiles are divided into blocks.
 */
#include "conv.h"

#include <string.h>

enum {
    TILE_BYTES = 240 << 10, /* of a block of transformed tiles, within the second cache */
    TILES_LEAST = 16,       /* in a block: weights are read for each */
    RANGE_LEAST = 128,      /* channels in an item: the tiles are transformed for each */
    ITEMS_WANTED = 8,       /* in an image */
    LINE = 16               /* floats in a line of the cache */
};

/* What the items of a node have in common. */
typedef struct winograd_plan {
    cpu_conv conv;
    int      edge, points, across, down; /* of a tile; tiles of an image */
    int      block, panels;              /* columns of a panel; panels of a group */
    int      pitch;                      /* floats from tile to tile of a point */
    int64_t  tiles;                      /* in all images */
    int      band, range;                /* tiles of an item, and channels */
    int64_t  bands, ranges, items;
    ptrdiff_t v_step, m_step;            /* floats from point to point: transformed tiles, sums */
    size_t   v_bytes, m_bytes, pointer_bytes, slot_bytes;
} winograd_plan;

/* The state: [group][panel][point][cg][block] of weights, [group][panel][block] of bias, then zeros: pixels
 * outside the map, and what sums begin with. */
typedef struct winograd_job {
    const strata_step  *step;
    const strata_frame *frame;
    winograd_plan       plan;
    const float        *bias, *zeros;
} winograd_job;

static int64_t weight_floats(const winograd_plan *p)
{
    return (int64_t)p->conv.groups * p->panels * p->points * p->conv.cg * p->block;
}

static int64_t bias_floats(const winograd_plan *p)
{
    return (int64_t)p->conv.groups * p->panels * p->block;
}

static int64_t zero_floats(const winograd_plan *p)
{
    return cpu_max(p->conv.cg, p->block);
}

/* An odd number of lines, so that the points of a tile are in different sets of the cache. */
static ptrdiff_t odd_lines(int64_t floats)
{
    return (ptrdiff_t)(cpu_ceil_div(floats, LINE) | 1) * LINE;
}

static winograd_plan plan_winograd(const strata_node *n, int edge, int block)
{
    winograd_plan p = { .conv = cpu_conv_of(n), .edge = edge, .points = edge * edge, .block = block };
    const cpu_conv *c = &p.conv;
    p.across = (int)cpu_ceil_div(c->ow, edge - 2);
    p.down = (int)cpu_ceil_div(c->oh, edge - 2);
    p.panels = (int)cpu_ceil_div(c->og, block);
    p.pitch = (int)cpu_ceil_div(c->cg, block) * block;
    p.tiles = c->images * p.down * p.across;

    int64_t tile_bytes = (int64_t)p.points * p.pitch * (int64_t)sizeof(float);
    int64_t most = cpu_max(TILES_LEAST, TILE_BYTES / tile_bytes);
    p.bands = cpu_even_count(cpu_ceil_div(p.tiles, most));
    p.band = (int)cpu_ceil_div(p.tiles, p.bands);
    p.bands = cpu_ceil_div(p.tiles, p.band);
    int64_t image_bands = cpu_ceil_div((int64_t)p.down * p.across, p.band);
    int64_t most_ranges = cpu_max(1, c->og / RANGE_LEAST);
    int64_t ranges = cpu_min(most_ranges, cpu_ceil_div(ITEMS_WANTED, image_bands * c->groups));
    p.range = (int)cpu_min(c->og, cpu_ceil_div(p.panels, ranges) * block);
    p.ranges = cpu_ceil_div(c->og, p.range);
    p.items = p.bands * c->groups * p.ranges;

    p.v_step = odd_lines((int64_t)p.band * p.pitch);
    p.m_step = odd_lines((int64_t)p.band * block);
    p.v_bytes = cpu_round64((size_t)p.points * (size_t)p.v_step * sizeof(float));
    p.m_bytes = cpu_round64((size_t)p.points * (size_t)p.m_step * sizeof(float));
    p.pointer_bytes = cpu_round64((size_t)cpu_tile_count(p.band) * CPU_TILE_ROWS * sizeof(float *));
    p.slot_bytes = p.v_bytes + p.m_bytes + p.pointer_bytes;
    return p;
}

/* ---- Choice ---------------------------------------------------------------------------------------- */

bool cpu_winograd_fits(const strata_node *n)
{
    if (n->op != &strata_op_conv2d || !cpu_conv_fits(n))
        return false;
    cpu_conv c = cpu_conv_of(n);
    return c.kh == 3 && c.kw == 3 && c.stride[0] == 1 && c.stride[1] == 1 && c.dilation[0] == 1 &&
           c.dilation[1] == 1;
}

/* The time of one image per input and output channel, in multiply-adds at full speed. `edge` 3 stands for
 * the definition: a tile is a pixel with nine products. */
static double cost(const cpu_conv *c, int edge)
{
    const double into = 20, out_of = 14; /* of a tile per point and channel: measured on Zen 3 */
    const double fetch = 25;             /* of a weight from memory: within a network it is never in a cache */
    int results = edge == 3 ? 1 : edge - 2, products = edge * edge;
    double tiles = (double)cpu_ceil_div(c->oh, results) * (double)cpu_ceil_div(c->ow, results);
    double transforms = edge == 3 ? 0 : into / c->og + out_of / c->cg;
    return products * (tiles * (1 + transforms) + fetch);
}

static bool accepts(const strata_node *n, int edge, int other)
{
    if (!cpu_winograd_fits(n))
        return false;
    cpu_conv c = cpu_conv_of(n);
    double own = cost(&c, edge);
    return own < cost(&c, 3) && own < cost(&c, other);
}

static bool accepts4(const strata_node *n)
{
    return accepts(n, 6, 4);
}

static bool accepts2(const strata_node *n)
{
    return accepts(n, 4, 6);
}

/* ---- Weights --------------------------------------------------------------------------------------- */

typedef struct packing {
    const winograd_plan *plan;
    float               *packed;
} packing;

static const double points2[4][3] = { { 1, 0, 0 }, { 0.5, 0.5, 0.5 }, { 0.5, -0.5, 0.5 }, { 0, 0, 1 } };
static const double points4[6][3] = {
    { 1.0 / 4, 0, 0 },
    { -1.0 / 6, -1.0 / 6, -1.0 / 6 },
    { -1.0 / 6, 1.0 / 6, -1.0 / 6 },
    { 1.0 / 24, 1.0 / 12, 1.0 / 6 },
    { 1.0 / 24, -1.0 / 12, 1.0 / 6 },
    { 0, 0, 1 },
};

/* Rows weight[o][ci][3][3] to [group][panel][point][ci][block]. */
static void pack_rows(void *arg, const float *rows, int64_t first, int64_t count)
{
    const packing *a = arg;
    const winograd_plan *p = a->plan;
    const cpu_conv *c = &p->conv;
    const double(*g)[3] = p->edge == 4 ? points2 : points4;
    for (int ci = 0; ci < c->cg; ci++)
        for (int64_t o = first; o < first + count; o++) {
            int64_t panel = o / c->og * p->panels + o % c->og / p->block, column = o % c->og % p->block;
            float *to = a->packed + (panel * p->points * c->cg + ci) * p->block + column;
            const float *w = rows + (o - first) * c->k + (ptrdiff_t)ci * 9;
            double half[CPU_WINOGRAD_MOST][3]; /* G g */
            for (int i = 0; i < p->edge; i++)
                for (int x = 0; x < 3; x++)
                    half[i][x] = g[i][0] * (double)w[x] + g[i][1] * (double)w[3 + x] + g[i][2] * (double)w[6 + x];
            for (int i = 0; i < p->edge; i++)
                for (int j = 0; j < p->edge; j++)
                    to[(int64_t)(i * p->edge + j) * c->cg * p->block] =
                        (float)(half[i][0] * g[j][0] + half[i][1] * g[j][1] + half[i][2] * g[j][2]);
        }
}

static strata_status prepare(strata_step *s, int edge, strata_error *err)
{
    winograd_plan p = plan_winograd(s->node, edge, s->device->simd->block);
    int64_t floats = weight_floats(&p) + bias_floats(&p) + zero_floats(&p);
    STRATA_TRY(cpu_alloc_state(s, (size_t)floats * sizeof(float), err));
    float *packed = s->state, *packed_bias = packed + weight_floats(&p);
    bool spare = p.conv.og % p.block != 0; /* columns without a channel */
    memset(spare ? packed : packed_bias, 0, (size_t)(spare ? floats : floats - weight_floats(&p)) * sizeof(float));
    STRATA_TRY(cpu_each_rows(s, s->node->in[CONV_WEIGHT], p.block, pack_rows, &(packing){ &p, packed }, err));

    const strata_node *bias = s->node->in[CONV_BIAS];
    if (bias != NULL)
        STRATA_TRY(strata_tensor_compute(bias->data, err));
    const float *b = bias != NULL ? strata_tensor_data(bias->data) : NULL;
    for (int group = 0; b != NULL && group < p.conv.groups; group++, b += p.conv.og)
        memcpy(packed_bias + (int64_t)group * p.panels * p.block, b, (size_t)p.conv.og * sizeof(float));
    s->workspace = (size_t)s->device->threads * p.slot_bytes;
    s->consumed = 1u << CONV_WEIGHT | (bias != NULL ? 1u << CONV_BIAS : 0);
    return STRATA_OK;
}

static strata_status prepare4(strata_step *s, strata_error *err)
{
    return prepare(s, 6, err);
}

static strata_status prepare2(strata_step *s, strata_error *err)
{
    return prepare(s, 4, err);
}

/* ---- Tiles ----------------------------------------------------------------------------------------- */

typedef struct tile_place {
    int64_t image;
    int     y, x; /* of the first result */
} tile_place;

static tile_place place_of(const winograd_plan *p, int64_t tile)
{
    int64_t in_image = (int64_t)p->down * p->across;
    int at = (int)(tile % in_image);
    return (tile_place){ tile / in_image, at / p->across * (p->edge - 2), at % p->across * (p->edge - 2) };
}

/* Tiles first.. of the group into v. */
static void transform_band(const winograd_job *job, int64_t first, int count, int group, float *v)
{
    const winograd_plan *p = &job->plan;
    const cpu_conv *c = &p->conv;
    const float *pixel[CPU_WINOGRAD_MOST * CPU_WINOGRAD_MOST];
    cpu_winograd_tile t = { .x = pixel, .edge = p->edge, .channels = c->cg, .v_step = p->v_step };
    for (int i = 0; i < count; i++) {
        tile_place at = place_of(p, first + i);
        const float *x = job->frame->in[CONV_X].data + at.image * cpu_conv_x_image(c) + group * c->cg;
        const float **next = pixel;
        for (int row = at.y - c->top; row < at.y - c->top + p->edge; row++)
            for (int column = at.x - c->left; column < at.x - c->left + p->edge; column++) {
                bool inside = row >= 0 && row < c->h && column >= 0 && column < c->w;
                *next++ = inside ? x + ((int64_t)row * c->w + column) * c->c : job->zeros;
            }
        t.v = v + (ptrdiff_t)i * p->pitch;
        job->step->device->simd->winograd_tile(&t);
    }
}

/* Sums in m, of the panel that begins at channel o of the result, into y. */
static void give_results(const winograd_job *job, int64_t first, int count, int o, int channels, const float *bias,
                         const float *m)
{
    const winograd_plan *p = &job->plan;
    const cpu_conv *c = &p->conv;
    const float *residual = job->frame->in[CONV_RESIDUAL].data;
    cpu_winograd_result r = { .m = m, .m_step = p->m_step, .edge = p->edge, .bias = bias,
                              .y_row = (ptrdiff_t)c->ow * c->o, .y_pixel = c->o, .channels = channels,
                              .act = c->act };
    for (int i = 0; i < count; i++, r.m += p->block) {
        tile_place at = place_of(p, first + i);
        int64_t offset = at.image * cpu_conv_y_image(c) + ((int64_t)at.y * c->ow + at.x) * c->o + o;
        r.y = job->frame->out.data + offset;
        r.residual = residual != NULL ? residual + offset : NULL;
        r.rows = (int)cpu_min(p->edge - 2, c->oh - at.y);
        r.columns = (int)cpu_min(p->edge - 2, c->ow - at.x);
        job->step->device->simd->winograd_result(&r);
    }
}

static void winograd_item(void *arg, int item, int slot)
{
    const winograd_job *job = arg;
    const winograd_plan *p = &job->plan;
    const cpu_conv *c = &p->conv;
    int range = (int)(item % p->ranges), group = (int)(item / p->ranges % c->groups);
    int64_t first = item / p->ranges / c->groups * p->band;
    int count = (int)cpu_min(p->band, p->tiles - first);

    char *scratch = (char *)cpu_scratch(job->frame, slot, p->slot_bytes);
    float *v = (float *)(void *)scratch, *m = (float *)(void *)(scratch + p->v_bytes);
    const float **rows = (const float **)(void *)(scratch + p->v_bytes + p->m_bytes);
    transform_band(job, first, count, group, v);

    int tiles = cpu_tile_count(count);
    for (int t = 0; t < tiles; t++)
        for (int i = cpu_tile_first(t, tiles, count); i < cpu_tile_first(t + 1, tiles, count); i++)
            rows[t * CPU_TILE_ROWS + i - cpu_tile_first(t, tiles, count)] = v + (ptrdiff_t)i * p->pitch;

    cpu_tiles t = { .x = rows, .x_tile = CPU_TILE_ROWS, .rows = count, .taps = 1, .channels = c->cg,
                    .columns = p->block, .bias = job->zeros, .y_step = p->block };
    int end = (int)cpu_min(c->og, (range + 1) * p->range);
    for (int o = range * p->range; o < end; o += p->block) {
        int64_t panel = (int64_t)group * p->panels + o / p->block;
        t.weight = (const float *)job->step->state + panel * p->points * c->cg * p->block;
        for (int point = 0; point < p->points; point++) {
            t.x_offset = point * p->v_step;
            t.y = m + point * p->m_step;
            t.ahead = t.weight + (ptrdiff_t)c->cg * p->block;
            job->step->device->simd->tiles(&t);
            t.weight = t.ahead;
        }
        give_results(job, first, count, group * c->og + o, (int)cpu_min(p->block, c->og - o),
                     job->bias + panel * p->block, m);
    }
}

static strata_status emit(const strata_step *s, const strata_frame *f, int edge)
{
    winograd_job job = { .step = s, .frame = f, .plan = plan_winograd(s->node, edge, s->device->simd->block) };
    job.bias = (const float *)s->state + weight_floats(&job.plan);
    job.zeros = job.bias + bias_floats(&job.plan);
    cpu_parallel(s, job.plan.items, winograd_item, &job);
    return STRATA_OK;
}

static strata_status emit4(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return emit(s, f, 6);
}

static strata_status emit2(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return emit(s, f, 4);
}

const strata_kernel_def cpu_kernel_conv2d_winograd4 = {
    .name = "conv2d.winograd4", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .by_rows = true, .approximate = true,
    .in_place = 1u << CONV_RESIDUAL, .accepts = accepts4, .prepare = prepare4, .release = cpu_release_state, .emit = emit4 };

const strata_kernel_def cpu_kernel_conv2d_winograd2 = {
    .name = "conv2d.winograd2", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .by_rows = true, .approximate = true,
    .in_place = 1u << CONV_RESIDUAL, .accepts = accepts2, .prepare = prepare2, .release = cpu_release_state, .emit = emit2 };
