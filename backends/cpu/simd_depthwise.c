/* simd_depthwise.c: a row of a depthwise convolution: y[p][c] = bias[c] + sum over taps of w[tap][c] x[p + tap][c].
 *
 * Four neighbouring results of two registers of channels each are summed at a time: eight sums hide the latency
 * of the additions, and each weight is loaded once for four results. Tiles at the left and right edge take taps
 * outside the map from a pixel of zeros; tap rows outside the map have been left out by the caller.
 */
#include "simd_vec.h"

enum { TILE = 4 };

/* pixels, vectors, edge and kw are constants in every use; vectors is 2, or 1 with `some` channels. */
INLINE void sum_tile(const cpu_depthwise_row *d, int pixel, int channel, int pixels, int vectors, int some, bool edge,
                     int kw)
{
    static const float zeros[2 * LANES];
    vec s[TILE][2];
    for (int p = 0; p < pixels; p++)
        for (int v = 0; v < vectors; v++)
            s[p][v] = load(d->bias + channel + v * LANES);

    int first = pixel * d->stride - d->left; /* column of the first tap of the first result */
    const float *w = d->weight + channel;
    const float *row = d->x + channel;
    for (int ty = 0; ty < d->tap_rows; ty++, row += d->x_row)
        for (int tx = 0; tx < kw; tx++, w += 2 * LANES) {
            vec wv[2];
            for (int v = 0; v < vectors; v++)
                wv[v] = load(w + v * LANES);
            for (int p = 0; p < pixels; p++) {
                int column = first + tx * d->dilation + p * d->stride;
                bool outside = edge && (column < 0 || column >= d->width);
                const float *x = outside ? zeros : row + column * d->x_pixel;
                for (int v = 0; v < vectors; v++)
                    s[p][v] += wv[v] * load_upto(x + v * LANES, some);
            }
        }

    vec low = act_low(d->act), high = act_high(d->act);
    float *y = d->y + pixel * d->y_pixel + channel;
    for (int p = 0; p < pixels; p++, y += d->y_pixel)
        for (int v = 0; v < vectors; v++)
            store_upto(y + v * LANES, min2(high, max2(low, s[p][v])), some);
}

INLINE void sum_pixels(const cpu_depthwise_row *d, int pixel, int channel, int pixels, int vectors, int some, bool edge,
                       int kw)
{
    switch (pixels) {
    case 1: sum_tile(d, pixel, channel, 1, vectors, some, edge, kw); break;
    case 2: sum_tile(d, pixel, channel, 2, vectors, some, edge, kw); break;
    case 3: sum_tile(d, pixel, channel, 3, vectors, some, edge, kw); break;
    default: sum_tile(d, pixel, channel, 4, vectors, some, edge, kw); break;
    }
}

INLINE void sum_row(const cpu_depthwise_row *d, int channel, int vectors, int some, int kw)
{
    int reach = (d->kw - 1) * d->dilation;
    for (int pixel = 0; pixel < d->pixels; pixel += TILE) {
        int pixels = d->pixels - pixel < TILE ? d->pixels - pixel : TILE;
        int first = pixel * d->stride - d->left;
        bool edge = first < 0 || first + (pixels - 1) * d->stride + reach >= d->width;
        if (edge)
            sum_pixels(d, pixel, channel, pixels, vectors, some, true, d->kw);
        else
            sum_pixels(d, pixel, channel, pixels, vectors, some, false, kw);
    }
}

void SIMD(depthwise)(const cpu_depthwise_row *d)
{
    if (d->channels == 2 * LANES) {
        switch (d->kw) { /* the common widths unrolled */
        case 3: sum_row(d, 0, 2, LANES, 3); break;
        case 5: sum_row(d, 0, 2, LANES, 5); break;
        case 7: sum_row(d, 0, 2, LANES, 7); break;
        default: sum_row(d, 0, 2, LANES, d->kw); break;
        }
    } else {
        int channel = 0;
        if (d->channels >= LANES) {
            sum_row(d, 0, 1, LANES, d->kw);
            channel = LANES;
        }
        if (channel < d->channels)
            sum_row(d, channel, 1, d->channels - channel, d->kw);
    }
    if (!act_is_cut(d->act))
        SIMD(finish)(d->y, d->y_pixel, d->pixels, d->channels, NULL, NULL, 0, d->act);
}
