/* picture.c: a mosaic of an image and its feature maps, to look at.
 *
 * A map [1,C,H,W] becomes a heat map: the mean over its channels, spread from its own minimum to its own
 * maximum over a palette from dark violet to yellow whose lightness only grows, so that it also reads without
 * colour. Elements are drawn as the blocks of the image that they stand for: small maps show how coarse they
 * are. NaN and infinities do not count for the mean; where nothing else is left, the block is red. Each cell
 * has a label: name, and below it shape and range. */
#include "font.h"
#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_SIDE = 256, LEAST_WIDTH = 168, GAP = 10, NAME_SCALE = 2, LABEL = 36 };
enum { MAX_LABEL = 256, MAX_MAPS = 4096 };

static const uint8_t paper[3] = { 22, 24, 30 }, bright[3] = { 236, 238, 242 }, faint[3] = { 150, 156, 170 };
static const uint8_t broken[3] = { 214, 40, 57 };

/* Spaced evenly; linear in between. */
static const uint8_t palette[][3] = {
    { 62, 6, 82 },    { 68, 44, 116 },  { 61, 78, 137 },   { 48, 108, 142 },  { 37, 134, 141 },
    { 36, 160, 135 }, { 72, 187, 117 }, { 134, 210, 84 },  { 202, 224, 42 },  { 252, 231, 50 },
};

static void color_of(double t, uint8_t rgb[3])
{
    const int last = (int)(sizeof palette / sizeof *palette) - 1;
    double at = t * last;
    int i = at < 0 ? 0 : at >= last ? last - 1 : (int)at;
    double f = at - i;
    for (int c = 0; c < 3; c++)
        rgb[c] = (uint8_t)lround(palette[i][c] + f * (palette[i + 1][c] - palette[i][c]));
}

/* ---- One map ----------------------------------------------------------------------------------- */

typedef struct heat {
    int     height, width;
    double  lo, hi;  /* of the finite values */
    double *value;   /* mean over the channels; NaN where no channel is finite */
} heat;

static strata_status check_map(const strata_tensor *t, const char *name, strata_error *err)
{
    const strata_tensor_desc *d = strata_tensor_get_desc(t);
    char shape[128];
    if (d->dtype != STRATA_F32 || d->rank != 4 || d->dim[0] < 1 || d->dim[1] < 1 || d->dim[2] < 1
        || d->dim[3] < 1 || d->dim[2] > STRATA_IMAGE_MAX_SIDE || d->dim[3] > STRATA_IMAGE_MAX_SIDE)
        return strata_fail(err, STRATA_SHAPE,
                           "picture: '%s' is %s %s; only maps, f32 [1,C,H,W], can be drawn", name,
                           strata_dtype_name(d->dtype), strata_shape_text(d, shape, sizeof shape));
    return STRATA_OK;
}

/* Of one channel, or of all: the mean. */
static strata_status heat_make(const strata_tensor *t, int channel, heat *out, strata_error *err)
{
    const strata_tensor_desc *d = strata_tensor_get_desc(t);
    const float *x = strata_tensor_data(t);
    size_t plane = (size_t)(d->dim[2] * d->dim[3]), channels = channel < 0 ? (size_t)d->dim[1] : 1;
    x += channel < 0 ? 0 : (size_t)channel * plane;
    double *value = malloc(sizeof *value * plane);
    if (value == NULL)
        return strata_fail(err, STRATA_NOMEM, "picture: out of memory");

    *out = (heat){
        .height = (int)d->dim[2], .width = (int)d->dim[3], .lo = INFINITY, .hi = -INFINITY, .value = value
    };
    for (size_t i = 0; i < plane; i++) {
        double sum = 0;
        size_t finite = 0;
        for (size_t c = 0; c < channels; c++) {
            float v = x[c * plane + i];
            if (isfinite(v)) {
                sum += (double)v;
                finite++;
            }
        }
        value[i] = finite > 0 ? sum / (double)finite : NAN;
        out->lo = fmin(out->lo, value[i]); /* fmin and fmax pass over NaN */
        out->hi = fmax(out->hi, value[i]);
    }
    return STRATA_OK;
}

static void heat_draw(const heat *h, strata_image *canvas, int left, int top, int width, int height)
{
    for (int y = 0; y < height; y++) {
        const double *row = h->value + (size_t)((int64_t)y * h->height / height) * (size_t)h->width;
        uint8_t *to = canvas->pixels + ((size_t)(top + y) * (size_t)canvas->width + (size_t)left) * 3;
        for (int x = 0; x < width; x++, to += 3) {
            double v = row[(int64_t)x * h->width / width];
            if (isnan(v))
                memcpy(to, broken, 3);
            else
                color_of(h->hi > h->lo ? (v - h->lo) / (h->hi - h->lo) : 0, to);
        }
    }
}

/* ---- The mosaic -------------------------------------------------------------------------------- */

typedef struct grid {
    int columns, rows;
    int width, height;         /* of the picture in a cell, */
    int cell_width, inset; /* of the cell, which may be wider, for the label; then the picture is centred */
} grid;

static grid plan(const strata_image *img, int cells)
{
    grid g = { .columns = 1 };
    while (g.columns * g.columns < cells)
        g.columns++;
    g.rows = (cells + g.columns - 1) / g.columns;
    double scale = (double)LONG_SIDE / (img->width > img->height ? img->width : img->height);
    g.width = (int)lround(img->width * scale);
    g.height = (int)lround(img->height * scale);
    g.width = g.width < 1 ? 1 : g.width;
    g.height = g.height < 1 ? 1 : g.height;
    g.cell_width = g.width < LEAST_WIDTH ? LEAST_WIDTH : g.width;
    g.inset = (g.cell_width - g.width) / 2;
    return g;
}

static void place(const grid *g, int cell, int *left, int *top)
{
    *left = GAP + cell % g->columns * (g->cell_width + GAP);
    *top = GAP + cell / g->columns * (g->height + LABEL + GAP);
}

static void draw_label(const grid *g, strata_image *canvas, int cell, const char *name, const char *facts)
{
    int left, top;
    place(g, cell, &left, &top);
    top += g->height + 6;
    size_t length = strlen(name), room = (size_t)g->cell_width / STRATA_GLYPH_WIDTH;
    int scale = length * NAME_SCALE <= room ? NAME_SCALE : 1;
    if (length > room)
        name += length - room; /* the end of a path tells more than its start */
    strata_draw_text(canvas, left, top, scale, bright, name);
    strata_draw_text(canvas, left, top + 8 * NAME_SCALE + 2, 1, faint, facts);
}

static strata_status draw_image(const grid *g, const strata_image *img, strata_image *canvas,
                                strata_error *err)
{
    int left, top;
    place(g, 0, &left, &top);
    strata_resize r = { .src = img, .how = STRATA_BICUBIC, .full = { g->width, g->height },
                        .size = { g->width, g->height }, .stride = (size_t)canvas->width * 3 };
    r.dst = canvas->pixels + (size_t)top * r.stride + (size_t)(left + g->inset) * 3;
    STRATA_TRY(strata_resize_pillow(&r, err));
    char facts[MAX_LABEL];
    snprintf(facts, sizeof facts, "%d x %d pixels", img->width, img->height);
    draw_label(g, canvas, 0, "image", facts);
    return STRATA_OK;
}

static strata_status draw_map(const grid *g, int cell, const strata_tensor *map, const char *name,
                              strata_image *canvas, strata_error *err)
{
    heat h = { 0 };
    STRATA_TRY(heat_make(map, -1, &h, err));
    int left, top;
    place(g, cell, &left, &top);
    heat_draw(&h, canvas, left + g->inset, top, g->width, g->height);
    char facts[MAX_LABEL];
    int at = snprintf(facts, sizeof facts, "%lldx%dx%d", (long long)strata_tensor_get_desc(map)->dim[1],
                      h.height, h.width);
    if (h.lo <= h.hi)
        snprintf(facts + at, sizeof facts - (size_t)at, "  %.3g .. %.3g", h.lo, h.hi);
    else
        snprintf(facts + at, sizeof facts - (size_t)at, "  no finite value");
    draw_label(g, canvas, cell, name, facts);
    free(h.value);
    return STRATA_OK;
}

strata_status strata_picture(const strata_image *img, int maps, strata_tensor *const *map,
                             const char *const *name, strata_image **out, strata_error *err)
{
    *out = NULL;
    if (maps < 0 || maps > MAX_MAPS)
        return strata_fail(err, STRATA_INVALID, "picture: 0 to %d maps can be drawn, not %d", MAX_MAPS, maps);
    for (int i = 0; i < maps; i++)
        STRATA_TRY(check_map(map[i], name[i], err));

    grid g = plan(img, maps + 1);
    strata_image *canvas;
    STRATA_TRY(strata_image_alloc((uint64_t)(GAP + g.columns * (g.cell_width + GAP)),
                                  (uint64_t)(GAP + g.rows * (g.height + LABEL + GAP)), &canvas, err));
    for (size_t i = 0; i < (size_t)canvas->width * (size_t)canvas->height; i++)
        memcpy(canvas->pixels + 3 * i, paper, 3);
    strata_status status = draw_image(&g, img, canvas, err);
    for (int i = 0; status == STRATA_OK && i < maps; i++)
        status = draw_map(&g, i + 1, map[i], name[i], canvas, err);
    if (status != STRATA_OK) {
        strata_image_destroy(canvas);
        return status;
    }
    *out = canvas;
    return STRATA_OK;
}

strata_status strata_heat_map(const strata_tensor *map, int channel, strata_image **out, strata_error *err)
{
    heat h = { 0 };
    *out = NULL;
    STRATA_TRY(check_map(map, "map", err));
    const strata_tensor_desc *d = strata_tensor_get_desc(map);
    if (channel < -1 || channel >= d->dim[1])
        return strata_fail(err, STRATA_INVALID, "heat map: there is no channel %d; the map has %lld", channel,
                           (long long)d->dim[1]);
    STRATA_TRY(heat_make(map, channel, &h, err));
    strata_status status = strata_image_alloc((uint64_t)h.width, (uint64_t)h.height, out, err);
    if (status == STRATA_OK)
        heat_draw(&h, *out, 0, 0, h.width, h.height);
    free(h.value);
    return status;
}
