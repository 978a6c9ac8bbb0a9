/* k_conv2d_winograd.c: 3x3 convolutions with fewer multiplications, at the price of some bits.
 *
 *     Y = A' [ U * (B' d B) ] A,   U = G g G'
 *
 * (Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional
 * Neural Networks", 2016): a tile d of 6x6 pixels becomes 36 points, each point of all tiles is multiplied
 * with a matrix of its own, and 36 points become 4x4 results: 36 products where the definition has 144. With
 * 5x5 pixels it is 25 for 81, with 4x4 16 for 36, with fewer weights and smaller errors. G is applied in double,
 * once.
 *
 * With stride 2, in one dimension, every second pixel meets the outer taps only and those between them the middle
 * one: a convolution of stride 1 with two taps, and one with a single tap (Yepez and Ko, "Stride 2 1-D, 2-D, and 3-D
 * Winograd for Convolutional Neural Networks", 2020). So nine pixels become five points and stay four, for four
 * results: 81 products in two dimensions where the definition has 144. All points of the single tap have the same
 * matrix.
 *
 * A band of tiles, of all images as if they were one, is transformed; then, range by range of output channels, it is
 * multiplied, point after point, and the sums are transformed back, with bias, residual and activation. Bands are as
 * small as the second cache and as large as the weights need that are read for each. Where one fits that cache, it is
 * a thread's alone; else all threads transform it together and then share its ranges.
 *
 * Every result is computed from its own tile alone, in an order that depends on the channels only. So the bits
 * are the same however tiles are divided into bands.
 */
#include "conv.h"

#include <string.h>

enum {
    BAND_BYTES = 240 << 10, /* of transformed tiles, within the second cache */
    SUM_BYTES = 240 << 10,  /* the same of sums: while they are added, transformed tiles pass only */
    BAND_LEAST = 16,        /* tiles in a band: weights are read for each */
    BAND_SHARED = 32,       /* where a band is in no cache of a single thread anyway */
    BANDS_LEAST = 4,        /* of an image and its groups, for a few threads to share: else bands are shared */
    RANGES_LEAST = 8,       /* the same of a shared band's ranges */
    HEAVY = 2 << 20,        /* weights of a group, that is 8 MB */
    LINE = 16,              /* floats in a line of the cache */
    LEAST_RESULTS = 2,      /* across a tile */
    MOST_RESULTS = 4,
    MATRICES = 6            /* the most of a form, in one dimension */
};

/* An algorithm of one dimension, to be nested with itself: F(results, 3) for stride 1, F(results, 2) beside `results`
 * single products for stride 2. Every product needs a matrix, the single ones the same: the last. */
typedef struct winograd_form {
    int results, stride;
    int edge;     /* pixels, and as many points */
    int points;   /* those of Toom and Cook's: 0, 1, -1, 2, -2 in this order, and at the end infinity */
    int matrices;
} winograd_form;

static winograd_form form_of(int stride, int results)
{
    int points = results + (stride == 1 ? 2 : 1);
    return (winograd_form){ results, stride, stride * (results - 1) + 3, points, points + stride - 1 };
}

/* G: a row of taps per matrix. */
static void kernel_transform(const winograd_form *f, double g[MATRICES][3])
{
    static const double at[] = { 0, 1, -1, 2, -2 };
    /* By points: 1 over the product of a point's distances from the others, with the signs that B' has not taken. */
    static const double scale[][5] = {
        [3] = { 1, 1 },
        [4] = { 1, 1. / 2, 1. / 2 },
        [5] = { 1. / 2, 1. / 2, -1. / 6, 1. / 6 },
        [6] = { 1. / 4, -1. / 6, -1. / 6, 1. / 24, 1. / 24 },
    };
    memset(g, 0, MATRICES * sizeof *g);
    for (int i = 0; i < f->points - 1; i++) {
        double power = scale[f->points][i];
        for (int tap = 0; tap < 3; tap += f->stride, power *= at[i])
            g[i][tap] = power;
    }
    g[f->points - 1][2] = 1;
    if (f->stride == 2)
        g[f->points][1] = 1;
}

/* What the items of a node have in common. */
typedef struct winograd_plan {
    cpu_conv conv;
    winograd_form form;
    int      points, matrices, across, down; /* of a tile; tiles of an image */
    int      block, panels;              /* columns of a panel; panels of a group */
    int      pitch;                      /* floats from tile to tile of a point */
    int64_t  tiles;                      /* in all images */
    int      band;                       /* tiles that are transformed together */
    int      range, ranges;              /* panels that are multiplied before any is transformed back */
    int64_t  bands;
    bool     shared;                     /* a band is transformed by all threads, which then share its ranges */
    ptrdiff_t v_step, m_step;            /* floats from point to point: transformed tiles, sums */
    size_t   v_bytes, m_bytes, pointer_bytes, slot_bytes;
} winograd_plan;

/* The state: [group][range][matrix][panel][cg][block] of weights, [group][panel][block] of bias, then zeros: pixels
 * outside the map, and what sums begin with. */
typedef struct winograd_job {
    const strata_step  *step;
    const strata_frame *frame;
    winograd_plan       plan;
    const float        *bias, *zeros;
    int64_t             first; /* of the band that is shared */
    int                 group;
} winograd_job;

static int64_t panel_floats(const winograd_plan *p)
{
    return (int64_t)p->conv.cg * p->block;
}

static int64_t weight_floats(const winograd_plan *p)
{
    return (int64_t)p->conv.groups * p->panels * p->matrices * panel_floats(p);
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

static winograd_plan plan_winograd(const strata_node *n, int results, int block)
{
    winograd_plan p = { .conv = cpu_conv_of(n), .block = block };
    p.form = form_of(p.conv.stride[0], results);
    const winograd_form *f = &p.form;
    p.points = f->edge * f->edge;
    p.matrices = f->matrices * f->matrices;
    const cpu_conv *c = &p.conv;
    p.across = (int)cpu_ceil_div(c->ow, f->results);
    p.down = (int)cpu_ceil_div(c->oh, f->results);
    p.panels = (int)cpu_ceil_div(c->og, block);
    p.pitch = (int)cpu_ceil_div(c->cg, block) * block;
    p.tiles = c->images * p.down * p.across;

    int64_t tile_bytes = (int64_t)p.points * p.pitch * (int64_t)sizeof(float);
    int64_t most = BAND_BYTES / tile_bytes, image = (int64_t)p.down * p.across;
    p.shared = most < BAND_LEAST || cpu_ceil_div(image, most) * c->groups < BANDS_LEAST;
    if (p.shared)
        most = BAND_SHARED;
    p.bands = cpu_ceil_div(p.tiles, most);
    if (!p.shared)
        p.bands = cpu_even_count(p.bands);
    p.band = (int)cpu_ceil_div(p.tiles, p.bands);
    p.bands = cpu_ceil_div(p.tiles, p.band);

    int64_t panel_bytes = (int64_t)p.points * p.band * block * (int64_t)sizeof(float);
    int64_t ranges = cpu_ceil_div(p.panels, cpu_max(1, SUM_BYTES / panel_bytes));
    if (p.shared)
        ranges = cpu_min(p.panels, cpu_max(RANGES_LEAST, ranges));
    p.range = (int)cpu_ceil_div(p.panels, ranges);
    p.ranges = (int)cpu_ceil_div(p.panels, p.range);

    p.v_step = odd_lines((int64_t)p.band * p.pitch);
    p.m_step = odd_lines((int64_t)p.band * p.range * block);
    p.v_bytes = cpu_round64((size_t)p.points * (size_t)p.v_step * sizeof(float));
    p.m_bytes = cpu_round64((size_t)p.points * (size_t)p.m_step * sizeof(float));
    p.pointer_bytes = cpu_round64((size_t)cpu_tile_count(p.band) * CPU_TILE_ROWS * sizeof(float *));
    p.slot_bytes = p.m_bytes + p.pointer_bytes + (p.shared ? 0 : p.v_bytes);
    return p;
}

/* ---- Choice ---------------------------------------------------------------------------------------- */

bool cpu_winograd_fits(const strata_node *n)
{
    if (n->op != &strata_op_conv2d || !cpu_conv_fits(n))
        return false;
    cpu_conv c = cpu_conv_of(n);
    return c.kh == 3 && c.kw == 3 && c.stride[0] == c.stride[1] && c.stride[0] <= 2 && c.dilation[0] == 1 &&
           c.dilation[1] == 1;
}

/* The time of one image per input and output channel, in multiply-adds at full speed: by a form, or by the definition,
 * NULL. */
static double cost(const cpu_conv *c, const winograd_form *f)
{
    const double into = 20, out_of = 14; /* of a tile per point and channel: measured on Zen 3 */
    /* Of a weight: within a network it comes from memory, for the most part in time. A group with very many is charged for
     * the memory as well: else a few layers at 7 would take a tenth of a network's for a hundredth of its time. */
    int matrices = f == NULL ? 9 : f->matrices * f->matrices;
    const double fetch = (double)matrices * c->cg * c->og > HEAVY ? 30 : 9;
    if (f == NULL)
        return matrices * ((double)c->oh * c->ow + fetch);
    double tiles = (double)cpu_ceil_div(c->oh, f->results) * (double)cpu_ceil_div(c->ow, f->results);
    return f->edge * f->edge * tiles * (1 + into / c->og + out_of / c->cg) + matrices * fetch;
}

static bool accepts(const strata_node *n, int results)
{
    if (!cpu_winograd_fits(n))
        return false;
    cpu_conv c = cpu_conv_of(n);
    winograd_form own = form_of(c.stride[0], results);
    for (int other = LEAST_RESULTS; other <= MOST_RESULTS; other++) {
        winograd_form f = form_of(c.stride[0], other);
        if (other != results && cost(&c, &f) < cost(&c, &own))
            return false;
    }
    return cost(&c, &own) < cost(&c, NULL);
}

/* ---- Weights --------------------------------------------------------------------------------------- */

typedef struct packing {
    const winograd_plan *plan;
    float               *packed;
} packing;

/* Where the first matrix of a panel of a group is; floats from there to the next. */
static int64_t panel_at(const winograd_plan *p, int group, int panel, int64_t *step)
{
    int range = panel / p->range * p->range;
    *step = cpu_min(p->range, p->panels - range) * panel_floats(p);
    return (((int64_t)group * p->panels + range) * p->matrices + panel - range) * panel_floats(p);
}

/* Rows weight[o][ci][3][3] to the state's order. */
static void pack_rows(void *arg, const float *rows, int64_t first, int64_t count)
{
    const packing *a = arg;
    const winograd_plan *p = a->plan;
    const winograd_form *f = &p->form;
    const cpu_conv *c = &p->conv;
    double g[MATRICES][3];
    kernel_transform(f, g);
    for (int ci = 0; ci < c->cg; ci++)
        for (int64_t o = first; o < first + count; o++) {
            int64_t step;
            float *to = a->packed + panel_at(p, (int)(o / c->og), (int)(o % c->og / p->block), &step) +
                        (int64_t)ci * p->block + o % c->og % p->block;
            const float *w = rows + (o - first) * c->k + (ptrdiff_t)ci * 9;
            double half[MATRICES][3]; /* G g */
            for (int i = 0; i < f->matrices; i++)
                for (int x = 0; x < 3; x++)
                    half[i][x] = g[i][0] * (double)w[x] + g[i][1] * (double)w[3 + x] + g[i][2] * (double)w[6 + x];
            for (int i = 0; i < f->matrices; i++)
                for (int j = 0; j < f->matrices; j++, to += step)
                    *to = (float)(half[i][0] * g[j][0] + half[i][1] * g[j][1] + half[i][2] * g[j][2]);
        }
}

static strata_status prepare(strata_step *s, int results, strata_error *err)
{
    winograd_plan p = plan_winograd(s->node, results, s->device->simd->block);
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
    s->workspace = (size_t)s->device->threads * p.slot_bytes + (p.shared ? p.v_bytes : 0);
    s->consumed = 1u << CONV_WEIGHT | (bias != NULL ? 1u << CONV_BIAS : 0);
    return STRATA_OK;
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
    return (tile_place){ tile / in_image, at / p->across * p->form.results, at % p->across * p->form.results };
}

/* Tiles first.. of the group into v. */
static void transform_band(const winograd_job *job, int64_t first, int count, int group, float *v)
{
    const winograd_plan *p = &job->plan;
    const cpu_conv *c = &p->conv;
    const float *pixel[CPU_WINOGRAD_MOST * CPU_WINOGRAD_MOST];
    cpu_winograd_tile t = { .x = pixel, .edge = p->form.edge, .results = p->form.results, .channels = c->cg,
                            .v_step = p->v_step };
    for (int i = 0; i < count; i++) {
        tile_place at = place_of(p, first + i);
        const float *x = job->frame->in[CONV_X].data + at.image * cpu_conv_x_image(c) + group * c->cg;
        const float **next = pixel;
        int y = at.y * c->stride[0] - c->top, left = at.x * c->stride[1] - c->left;
        for (int row = y; row < y + p->form.edge; row++)
            for (int column = left; column < left + p->form.edge; column++) {
                bool inside = row >= 0 && row < c->h && column >= 0 && column < c->w;
                *next++ = inside ? x + ((int64_t)row * c->w + column) * c->c : job->zeros;
            }
        t.v = v + (ptrdiff_t)i * p->pitch;
        job->step->device->simd->winograd_tile(&t);
    }
}

/* Sums in m, of channels that begin at o in the result, into y. */
static void give_results(const winograd_job *job, int64_t first, int count, int o, int channels, const float *bias,
                         const float *m)
{
    const winograd_plan *p = &job->plan;
    const cpu_conv *c = &p->conv;
    const float *residual = job->frame->in[CONV_RESIDUAL].data;
    cpu_winograd_result r = { .m = m, .m_step = p->m_step, .edge = p->form.edge, .results = p->form.results,
                              .bias = bias, .y_row = (ptrdiff_t)c->ow * c->o, .y_pixel = c->o,
                              .channels = channels, .act = c->act };
    for (int i = 0; i < count; i++, r.m += p->range * p->block) {
        tile_place at = place_of(p, first + i);
        int64_t offset = at.image * cpu_conv_y_image(c) + ((int64_t)at.y * c->ow + at.x) * c->o + o;
        r.y = job->frame->out.data + offset;
        r.residual = residual != NULL ? residual + offset : NULL;
        r.rows = (int)cpu_min(p->form.results, c->oh - at.y);
        r.columns = (int)cpu_min(p->form.results, c->ow - at.x);
        job->step->device->simd->winograd_result(&r);
    }
}

/* Range `range` of the group's panels, of tiles first.. in v. */
static void multiply_range(const winograd_job *job, const float *v, int64_t first, int count, int group, int range,
                           void *scratch)
{
    const winograd_plan *p = &job->plan;
    const winograd_form *f = &p->form;
    const cpu_conv *c = &p->conv;
    float *m = scratch;
    const float **rows = (const float **)(void *)((char *)scratch + p->m_bytes);
    int tiles = cpu_tile_count(count);
    for (int t = 0; t < tiles; t++)
        for (int i = cpu_tile_first(t, tiles, count); i < cpu_tile_first(t + 1, tiles, count); i++)
            rows[t * CPU_TILE_ROWS + i - cpu_tile_first(t, tiles, count)] = v + (ptrdiff_t)i * p->pitch;

    int begin = range * p->range, panels = (int)cpu_min(p->range, p->panels - begin);
    cpu_tiles t = { .x = rows, .x_tile = CPU_TILE_ROWS, .rows = count, .taps = 1, .channels = c->cg,
                    .columns = p->block, .bias = job->zeros, .y_step = p->range * p->block };
    int64_t step;
    t.weight = (const float *)job->step->state + panel_at(p, group, begin, &step);
    for (int i = 0; i < f->matrices; i++)
        for (int j = 0; j < f->matrices; j++)
            for (int panel = 0; panel < panels; panel++, t.weight = t.ahead) {
                t.ahead = t.weight + panel_floats(p);
                for (int row = i; row < (i + 1 < f->matrices ? i + 1 : f->edge); row++)
                    for (int column = j; column < (j + 1 < f->matrices ? j + 1 : f->edge); column++) {
                        int point = row * f->edge + column;
                        t.x_offset = point * p->v_step;
                        t.y = m + point * p->m_step + panel * p->block;
                        job->step->device->simd->tiles(&t);
                    }
            }
    int o = begin * p->block;
    give_results(job, first, count, group * c->og + o, (int)cpu_min(panels * p->block, c->og - o),
                 job->bias + ((int64_t)group * p->panels + begin) * p->block, m);
}

static char *slot_at(const winograd_job *job, int slot)
{
    return (char *)job->frame->workspace.data + (job->plan.shared ? job->plan.v_bytes : 0) +
           (size_t)slot * job->plan.slot_bytes;
}

/* A band of a group, alone. */
static void band_item(void *arg, int item, int slot)
{
    const winograd_job *job = arg;
    const winograd_plan *p = &job->plan;
    int group = item % p->conv.groups;
    int64_t first = (int64_t)(item / p->conv.groups) * p->band;
    int count = (int)cpu_min(p->band, p->tiles - first);
    char *scratch = slot_at(job, slot);
    float *v = (float *)(void *)(scratch + p->m_bytes + p->pointer_bytes);
    transform_band(job, first, count, group, v);
    for (int range = 0; range < p->ranges; range++)
        multiply_range(job, v, first, count, group, range, scratch);
}

static int band_count(const winograd_job *job)
{
    return (int)cpu_min(job->plan.band, job->plan.tiles - job->first);
}

static void transform_item(void *arg, int item, int slot)
{
    (void)slot;
    const winograd_job *job = arg;
    transform_band(job, job->first + item, 1, job->group,
                   (float *)job->frame->workspace.data + (ptrdiff_t)item * job->plan.pitch);
}

static void range_item(void *arg, int item, int slot)
{
    const winograd_job *job = arg;
    multiply_range(job, job->frame->workspace.data, job->first, band_count(job), job->group, item, slot_at(job, slot));
}

static strata_status emit(const strata_step *s, const strata_frame *f, int results)
{
    winograd_job job = { .step = s, .frame = f, .plan = plan_winograd(s->node, results, s->device->simd->block) };
    const winograd_plan *p = &job.plan;
    job.bias = (const float *)s->state + weight_floats(p);
    job.zeros = job.bias + bias_floats(p);
    if (!p->shared) {
        cpu_parallel(s, p->bands * p->conv.groups, band_item, &job);
        return STRATA_OK;
    }
    for (job.group = 0; job.group < p->conv.groups; job.group++)
        for (job.first = 0; job.first < p->tiles; job.first += p->band) {
            cpu_parallel(s, band_count(&job), transform_item, &job);
            cpu_parallel(s, p->ranges, range_item, &job);
        }
    return STRATA_OK;
}

/* ---- A kernel per number of results across a tile -------------------------------------------------- */

#define WINOGRAD(RESULTS)                                                                                      \
    static bool accepts##RESULTS(const strata_node *n)                                                         \
    {                                                                                                          \
        return accepts(n, RESULTS);                                                                            \
    }                                                                                                          \
    static strata_status prepare##RESULTS(strata_step *s, strata_error *err)                                   \
    {                                                                                                          \
        return prepare(s, RESULTS, err);                                                                       \
    }                                                                                                          \
    static strata_status emit##RESULTS(const strata_step *s, const strata_frame *f, strata_error *err)         \
    {                                                                                                          \
        (void)err;                                                                                             \
        return emit(s, f, RESULTS);                                                                            \
    }                                                                                                          \
    const strata_kernel_def cpu_kernel_conv2d_winograd##RESULTS = {                                            \
        .name = "conv2d.winograd" #RESULTS, .op = &strata_op_conv2d, .layouts = CPU_NHWC, .by_rows = true,     \
        .in_place = 1u << CONV_RESIDUAL, .approximate = true, .accepts = accepts##RESULTS,                     \
        .prepare = prepare##RESULTS, .release = cpu_release_state, .emit = emit##RESULTS }

WINOGRAD(2);
WINOGRAD(3);
WINOGRAD(4);
