/* resize_pillow.c: Pillow's antialiased resize of 8-bit images, BILINEAR and BICUBIC, bit for bit.
 *
 * A separable convolution whose kernel stretches with the reduction, so that every source pixel counts. With
 * scale = source size / result size and stretch = max(scale, 1), result position d is centred at
 *
 *     centre = (d + 0.5) * scale,
 *
 * reads the pixels i whose distance from it is below support * stretch (ends rounded to nearest), and weighs
 * them with
 *
 *     w_i = k((i + 0.5 - centre) / stretch) / (sum of all)
 *
 *     bilinear   k(x) = 1 - |x|, support 1
 *     bicubic    Keys' kernel with a = -0.5, support 2
 *
 * Weights are rounded to 22 fractional bits, halves away from zero. The horizontal pass comes first and
 * rounds to 8 bits, the vertical pass rounds again.
 *
 * The horizontal pass over a large photo is where the time goes. It runs on planes of 16-bit samples against
 * weights split into two 16-bit halves, w = high * 2^11 + low, both exact: such dot products are what every
 * vector unit does best (16 x 16 -> 32 bits, adding neighbours).
 */
#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHT_BITS = 22, SPLIT_BITS = 11 };

typedef struct filter {
    int      lo, hi; /* all taps lie in lo .. hi - 1 of the source */
    int     *first;  /* per result position: its first tap, */
    int     *count;  /* how many, */
    size_t  *at;     /* and where its weights start */
    int32_t *weight;
    int16_t *high, *low; /* weight = high * 2^SPLIT_BITS + low */
} filter;

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static void filter_free(filter *f)
{
    free(f->first);
    free(f->count);
    free(f->at);
    free(f->weight);
    free(f->high);
    free(f->low);
}

/* The filter of result positions start .. start + n - 1 of `full`. False when out of memory. */
static bool filter_make(filter *f, int64_t start, int n, int64_t full, int size, strata_interpolation how)
{
    double (*kernel)(double) = how == STRATA_BICUBIC ? bicubic : bilinear;
    double scale = (double)size / (double)full, stretch = scale < 1.0 ? 1.0 : scale;
    double support = (how == STRATA_BICUBIC ? 2.0 : 1.0) * stretch;
    double most = ceil(support) * 2 + 1;
    size_t taps = most < size ? (size_t)most : (size_t)size, total = taps * (size_t)n;

    *f = (filter){ .lo = size };
    f->first = malloc(sizeof *f->first * (size_t)n);
    f->count = malloc(sizeof *f->count * (size_t)n);
    f->at = malloc(sizeof *f->at * (size_t)n);
    f->weight = malloc(sizeof *f->weight * total);
    f->high = malloc(sizeof *f->high * total);
    f->low = malloc(sizeof *f->low * total);
    double *exact = malloc(sizeof *exact * taps);
    bool ok = f->first != NULL && f->count != NULL && f->at != NULL && f->weight != NULL && f->high != NULL
              && f->low != NULL && exact != NULL;
    for (int i = 0; ok && i < n; i++) {
        double centre = ((double)(start + i) + 0.5) * scale;
        double from = centre - support + 0.5, to = centre + support + 0.5;
        int lo = from < 0 ? 0 : (int)from, hi = to > size ? size : (int)to;
        double sum = 0;
        for (int k = lo; k < hi; k++)
            sum += exact[k - lo] = kernel((k - centre + 0.5) * (1.0 / stretch));
        f->first[i] = lo;
        f->count[i] = hi - lo;
        f->at[i] = (size_t)i * taps;
        for (int k = 0; k < hi - lo; k++) {
            double w = (sum != 0 ? exact[k] / sum : exact[k]) * (1 << WEIGHT_BITS);
            int32_t fixed = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
            f->weight[f->at[i] + (size_t)k] = fixed;
            f->high[f->at[i] + (size_t)k] = (int16_t)(fixed >> SPLIT_BITS);
            f->low[f->at[i] + (size_t)k] = (int16_t)(fixed & ((1 << SPLIT_BITS) - 1));
        }
        f->lo = lo < f->lo ? lo : f->lo;
        f->hi = hi > f->hi ? hi : f->hi;
    }
    free(exact);
    return ok;
}

static uint8_t to_byte(int32_t sum)
{
    int v = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static int32_t dot(const int16_t *restrict a, const int16_t *restrict b, int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += (int32_t)a[i] * (int32_t)b[i];
    return sum;
}

/* One row of RGB through the horizontal filter. `plane` has room for three planes of hi - lo samples. */
static void filter_row(const filter *f, const uint8_t *src, int n, int16_t *restrict plane, uint8_t *dst)
{
    int width = f->hi - f->lo;
    int16_t *restrict red = plane, *restrict green = red + width, *restrict blue = green + width;
    src += (size_t)f->lo * 3;
    for (int x = 0; x < width; x++) {
        red[x] = src[3 * x];
        green[x] = src[3 * x + 1];
        blue[x] = src[3 * x + 2];
    }
    for (int i = 0; i < n; i++) {
        const int16_t *high = f->high + f->at[i], *low = f->low + f->at[i];
        int first = f->first[i] - f->lo, count = f->count[i];
        for (int c = 0; c < 3; c++) {
            const int16_t *p = plane + (size_t)c * (size_t)width + first;
            *dst++ = to_byte(dot(p, high, count) * (1 << SPLIT_BITS) + dot(p, low, count));
        }
    }
}

/* Result row i: rows `first` .. of the intermediate image, weighted. `sum` has room for a row. */
static void combine_rows(const filter *f, int i, const uint8_t *rows, int n, int32_t *restrict sum,
                         uint8_t *restrict dst)
{
    memset(sum, 0, sizeof *sum * (size_t)n);
    for (int k = 0; k < f->count[i]; k++) {
        const uint8_t *restrict row = rows + (size_t)(f->first[i] - f->lo + k) * (size_t)n;
        int32_t w = f->weight[f->at[i] + (size_t)k];
        for (int x = 0; x < n; x++)
            sum[x] += row[x] * w;
    }
    for (int x = 0; x < n; x++)
        dst[x] = to_byte(sum[x]);
}

strata_status strata_resize_pillow(const strata_resize *r, strata_error *err)
{
    const strata_image *src = r->src;
    int w = r->size[0], h = r->size[1], n = w * 3;
    int16_t *plane = NULL;
    int32_t *sum = NULL;
    uint8_t *middle = NULL; /* as narrow as the result, as tall as the part of the source that it needs */
    filter fx = { 0 }, fy = { 0 };
    bool ok = filter_make(&fx, r->at[0], w, r->full[0], src->width, r->how)
              && filter_make(&fy, r->at[1], h, r->full[1], src->height, r->how);
    int rows = fy.hi - fy.lo;
    if (ok) {
        plane = malloc(sizeof *plane * 3 * (size_t)(fx.hi - fx.lo));
        sum = malloc(sizeof *sum * (size_t)n);
        middle = malloc((size_t)n * (size_t)rows);
        ok = plane != NULL && sum != NULL && middle != NULL;
    }
    if (ok) {
        for (int y = 0; y < rows; y++)
            filter_row(&fx, src->pixels + (size_t)(fy.lo + y) * (size_t)src->width * 3, w, plane,
                       middle + (size_t)y * (size_t)n);
        for (int y = 0; y < h; y++)
            combine_rows(&fy, y, middle, n, sum, r->dst + (size_t)y * r->stride);
    }
    filter_free(&fx);
    filter_free(&fy);
    free(plane);
    free(sum);
    free(middle);
    return ok ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "resize to %d x %d: out of memory", w, h);
}
