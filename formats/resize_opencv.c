/* resize_opencv.c: OpenCV 4's resize of 8-bit images, INTER_LINEAR and INTER_CUBIC, bit for bit.
 *
 * No antialias: each result pixel reads 2x2 or 4x4 source pixels, however much the image shrinks. Result
 * position d maps to source position
 *
 *     s(d) = (d + 0.5) * scale - 0.5,   scale = 1 / (result size / source size) in double, s rounded to float
 *
 * with tap floor(s) and fraction f = s - floor(s). Weights are rounded to 11 fractional bits:
 *
 *     linear   1 - f, f
 *     cubic    Keys' kernel with a = -0.75 (R. Keys, "Cubic convolution interpolation", 1981)
 *
 * Taps outside the image repeat its border. Rows are filtered horizontally, exactly, in integers of 11
 * fractional bits, then combined vertically. What makes the result OpenCV's and nobody else's is the rounding
 * of that second step, observed on OpenCV 4.6 (x86-64) and tested against it:
 *
 *     linear   (((b0 * (S0 >> 4)) >> 16) + ((b1 * (S1 >> 4)) >> 16) + 2) >> 2
 *     cubic    S0*b0 + (S1*b1 + (S2*b2 + S3*b3)) in float, to nearest even, in the elements that fill whole
 *              vectors of eight; in the rest of the row in integers, halves up
 *     linear, exactly half the size both ways: the mean of 2x2 pixels, halves up
 */
#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TAPS = 4, UNIT_BITS = 11, UNIT = 1 << UNIT_BITS, VECTOR = 8 };

/* Where one result position reads, and how much of each. Linear uses the first two taps. */
typedef struct sample {
    int32_t at[TAPS];     /* element offset of the source pixel (x axis) or row (y axis) */
    int16_t weight[TAPS]; /* in units of 1 / UNIT */
} sample;

static int clamp(int64_t i, int size)
{
    return i < 0 ? 0 : i >= size ? size - 1 : (int)i;
}

static uint8_t to_byte(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* The order of the float operations matters: another one gives other last bits. */
static void cubic_weights(float f, float w[TAPS])
{
    const float a = -0.75f;
    float g = f + 1, h = 1 - f;
    w[0] = ((a * g - 5 * a) * g + 8 * a) * g - 4 * a;
    w[1] = ((a + 2) * f - (a + 3)) * f * f + 1;
    w[2] = ((a + 2) * h - (a + 3)) * h * h + 1;
    w[3] = 1.0f - w[0] - w[1] - w[2];
}

/* Samples of the result positions first .. first + count - 1. `snap`: at the borders linear weights become
 * (1, 0) instead of splitting one pixel's weight in two; OpenCV does so in x only, and 11-bit weights cannot
 * tell. `step` is the distance of neighbours in elements. */
static void make_samples(sample *s, int64_t first, int count, int64_t full, int size,
                         strata_interpolation how, bool snap, int step)
{
    double scale = 1.0 / ((double)full / size);
    for (int i = 0; i < count; i++, s++) {
        float f = (float)(((double)(first + i) + 0.5) * scale - 0.5);
        int64_t at = (int64_t)floorf(f);
        f -= (float)at;
        float w[TAPS] = { 0 };
        if (how == STRATA_BICUBIC) {
            cubic_weights(f, w);
            at--;
        } else {
            if (snap && (at < 0 || at >= size - 1)) {
                at = clamp(at, size);
                f = 0;
            }
            w[0] = 1.0f - f;
            w[1] = f;
        }
        for (int k = 0; k < TAPS; k++) {
            s->at[k] = clamp(at + k, size) * step;
            s->weight[k] = (int16_t)lrintf(w[k] * UNIT);
        }
    }
}

static void filter_row(const uint8_t *src, const sample *s, int count, strata_interpolation how, int32_t *dst)
{
    for (int i = 0; i < count; i++, s++) {
        const int16_t *w = s->weight;
        for (int c = 0; c < 3; c++) {
            int v = src[s->at[0] + c] * w[0] + src[s->at[1] + c] * w[1];
            if (how == STRATA_BICUBIC)
                v += src[s->at[2] + c] * w[2] + src[s->at[3] + c] * w[3];
            *dst++ = v;
        }
    }
}

static void combine_linear(const int32_t *const row[], const int16_t *w, int n, uint8_t *dst)
{
    const int32_t *a = row[0], *b = row[1];
    int wa = w[0], wb = w[1];
    for (int i = 0; i < n; i++)
        dst[i] = (uint8_t)((((wa * (a[i] >> 4)) >> 16) + ((wb * (b[i] >> 4)) >> 16) + 2) >> 2);
}

/* `whole` elements lie in full vectors of the whole result's row; the rest is its tail. */
static void combine_cubic(const int32_t *const row[], const int16_t *w, int whole, int n, uint8_t *dst)
{
    const int32_t *a = row[0], *b = row[1], *c = row[2], *d = row[3];
    const float unit = 1.0f / ((float)UNIT * (float)UNIT);
    const float wa = w[0] * unit, wb = w[1] * unit, wc = w[2] * unit, wd = w[3] * unit;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number, halves to even */
    int i = 0;
    for (; i < whole; i++) {
        float v = (float)a[i] * wa + ((float)b[i] * wb + ((float)c[i] * wc + (float)d[i] * wd));
        dst[i] = to_byte((int)(v + magic) - (int)magic);
    }
    for (; i < n; i++) {
        int v = a[i] * w[0] + b[i] * w[1] + c[i] * w[2] + d[i] * w[3];
        dst[i] = to_byte((v + (1 << (2 * UNIT_BITS - 1))) >> (2 * UNIT_BITS));
    }
}

static void halve(const strata_resize *r)
{
    size_t pitch = (size_t)r->src->width * 3;
    for (int y = 0; y < r->size[1]; y++) {
        const uint8_t *top = r->src->pixels + (size_t)(r->at[1] + y) * 2 * pitch + (size_t)r->at[0] * 6;
        uint8_t *dst = r->dst + (size_t)y * r->stride;
        for (int x = 0; x < r->size[0]; x++, top += 6)
            for (int c = 0; c < 3; c++)
                *dst++ = (uint8_t)((top[c] + top[c + 3] + top[pitch + c] + top[pitch + c + 3] + 2) >> 2);
    }
}

strata_status strata_resize_opencv(const strata_resize *r, strata_error *err)
{
    const strata_image *src = r->src;
    bool cubic = r->how == STRATA_BICUBIC;
    if (!cubic && r->full[0] * 2 == src->width && r->full[1] * 2 == src->height) {
        halve(r);
        return STRATA_OK;
    }
    int w = r->size[0], h = r->size[1], taps = cubic ? TAPS : 2, n = w * 3;
    sample *xs = malloc(sizeof *xs * (size_t)w), *ys = malloc(sizeof *ys * (size_t)h);
    int32_t *rows = malloc(sizeof *rows * (size_t)n * TAPS);
    if (xs == NULL || ys == NULL || rows == NULL) {
        free(xs);
        free(ys);
        free(rows);
        return strata_fail(err, STRATA_NOMEM, "resize to %d x %d: out of memory", w, h);
    }
    make_samples(xs, r->at[0], w, r->full[0], src->width, r->how, true, 3);
    make_samples(ys, r->at[1], h, r->full[1], src->height, r->how, false, 1);
    int64_t whole = r->full[0] * 3 / VECTOR * VECTOR - r->at[0] * 3;
    whole = whole < 0 ? 0 : whole > n ? n : whole;

    /* Source row i, filtered, is kept in buffer i % TAPS: the taps of one result row are neighbours. */
    int held[TAPS] = { -1, -1, -1, -1 };
    for (int y = 0; y < h; y++) {
        const int32_t *row[TAPS] = { NULL };
        for (int k = 0; k < taps; k++) {
            int i = ys[y].at[k], slot = i % TAPS;
            int32_t *buffer = rows + (size_t)slot * (size_t)n;
            if (held[slot] != i) {
                filter_row(src->pixels + (size_t)i * (size_t)src->width * 3, xs, w, r->how, buffer);
                held[slot] = i;
            }
            row[k] = buffer;
        }
        uint8_t *dst = r->dst + (size_t)y * r->stride;
        if (cubic)
            combine_cubic(row, ys[y].weight, (int)whole, n, dst);
        else
            combine_linear(row, ys[y].weight, n, dst);
    }
    free(xs);
    free(ys);
    free(rows);
    return STRATA_OK;
}
