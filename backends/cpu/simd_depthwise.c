/* simd_depthwise.c: a row of a convolution with one channel in and out per group:
 *
 *     y[p][c] = act(bias[c] + sum over taps of w[tap][c] x[p stride + tap][c])
 *
 * Seven neighbouring results of one register of channels are summed at a time. Each pixel of x under them is loaded
 * once per tap row and serves every result that it lies under, against a row of taps that stays in registers: for three
 * taps, 13 loads feed 21 multiply-adds, for seven 20 feed 49, so that arithmetic is what takes the time. Seven
 * divides the widths that networks have (7, 14, 28, 56, 112), and seven sums hide the latency of the additions.
 *
 * Pixels outside the map are left out: in the tiles at the edges of networks' maps, which small maps consist of, it is
 * known beforehand which these are. Other tiles that hang over an edge of the map or of the row look, and store only
 * what is in the row. Tap rows outside the map have been left out by the caller. A sum takes its taps in the same
 * order wherever it lies in a tile.
 */
#include "simd_vec.h"

enum { TILE = 7, LOOK = -1 };

/* kw, stride, left and right are constants in every use, `some` is LANES or fewer channels. left and right: how many
 * columns under the tile lie outside the map, or LOOK. */
INLINE void sum_tile(const cpu_group_row *d, int channel, int some, int pixel, int kw, int stride, int left,
                     int right)
{
    vec s[TILE];
    for (int p = 0; p < TILE; p++)
        s[p] = load(d->bias + channel);

    const int columns = (TILE - 1) * stride + kw;
    int first = pixel * stride - d->left; /* column of the first tap of the first result */
    const float *w = d->weight + channel, *row = d->x + channel;
    for (int ty = 0; ty < d->tap_rows; ty++, row += d->x_row, w += kw * 2 * LANES) {
        vec tap[7];
        for (int tx = 0; tx < kw; tx++)
            tap[tx] = load(w + tx * 2 * LANES);
#pragma GCC unroll 19
        for (int j = 0; j < columns; j++) {
            if (left == LOOK ? (unsigned)(first + j) >= (unsigned)d->width : j < left || j >= columns - right)
                continue;
            vec x = load_upto(row + (first + j) * d->x_pixel, some);
#pragma GCC unroll 7
            for (int p = 0; p < TILE; p++)
                if (j >= p * stride && j < p * stride + kw)
                    s[p] += x * tap[j - p * stride];
        }
    }

    vec low = act_low(d->act), high = act_high(d->act);
    float *y = d->y + pixel * d->y_pixel + channel;
    for (int p = 0; p < TILE && (left != LOOK || pixel + p < d->pixels); p++)
        store_upto(y + p * d->y_pixel, min2(high, max2(low, s[p])), some);
}

/* The map's rows that the next row of results will want, for the pixels under this tile: once per cache line. */
INLINE void fetch_ahead(const cpu_group_row *d, int pixel, int stride)
{
    const float *row = d->ahead;
    int end = (pixel + TILE) * stride < d->width ? (pixel + TILE) * stride : d->width;
    for (int ty = 0; ty < d->ahead_rows; ty++, row += d->x_row)
        for (int column = pixel * stride; column < end; column++)
            __builtin_prefetch(row + column * d->x_pixel, 0, 3);
}

/* With padding of kw / 2, as networks have it, the first tile of a row has so many columns outside, and the last of a
 * width that is a multiple of the stride as many, or one less for each result that the stride skips. `whole`: some is
 * LANES. */
INLINE void sum_row(const cpu_group_row *d, int channel, int some, bool whole, int kw, int stride)
{
    const int columns = (TILE - 1) * stride + kw, left = kw / 2, right = kw / 2 - stride + 1;
    for (int pixel = 0; pixel < d->pixels; pixel += TILE) {
        int first = pixel * stride - d->left, beyond = first + columns - d->width;
        bool full = pixel + TILE <= d->pixels;
        if (channel == 0)
            fetch_ahead(d, pixel, stride);
        if (full && first >= 0 && beyond <= 0)
            sum_tile(d, channel, some, pixel, kw, stride, 0, 0);
        else if (whole && full && first == -left && beyond <= 0)
            sum_tile(d, channel, some, pixel, kw, stride, left, 0);
        else if (whole && full && first >= 0 && beyond == right)
            sum_tile(d, channel, some, pixel, kw, stride, 0, right);
        else if (whole && full && first == -left && beyond == right)
            sum_tile(d, channel, some, pixel, kw, stride, left, right);
        else
            sum_tile(d, channel, some, pixel, kw, stride, LOOK, LOOK);
    }
}

/* A pixel of a row of the map, zeros outside. */
INLINE const float *pixel_at(const cpu_group_row *d, const float *row, int column)
{
    static const float zeros[LANES];
    return column >= 0 && column < d->width ? row + column * d->x_pixel : zeros;
}

/* Any width, stride and dilation, a result at a time. */
INLINE void sum_any(const cpu_group_row *d, int channel, int some)
{
    for (int pixel = 0; pixel < d->pixels; pixel++) {
        vec s = load(d->bias + channel);
        const float *w = d->weight + channel, *row = d->x + channel;
        for (int ty = 0; ty < d->tap_rows; ty++, row += d->x_row)
            for (int tx = 0; tx < d->kw; tx++, w += 2 * LANES)
                s += load(w) * load_upto(pixel_at(d, row, pixel * d->stride - d->left + tx * d->dilation), some);
        store_upto(d->y + pixel * d->y_pixel + channel, min2(act_high(d->act), max2(act_low(d->act), s)), some);
    }
}

/* The widths and strides of networks have loops of their own. */
INLINE void sum_channels(const cpu_group_row *d, int channel, int some, bool whole)
{
    int shape = d->dilation == 1 && d->stride <= 2 ? 10 * d->kw + d->stride : 0;
    switch (shape) {
    case 31: sum_row(d, channel, some, whole, 3, 1); break;
    case 32: sum_row(d, channel, some, whole, 3, 2); break;
    case 51: sum_row(d, channel, some, whole, 5, 1); break;
    case 52: sum_row(d, channel, some, whole, 5, 2); break;
    case 71: sum_row(d, channel, some, whole, 7, 1); break;
    default: sum_any(d, channel, some); break;
    }
}

/* Both a register's worth and less: not inlined, so that each has its loops once. */
static void sum_whole(const cpu_group_row *d, int channel)
{
    sum_channels(d, channel, LANES, true);
}

static void sum_some(const cpu_group_row *d, int channel, int some)
{
    sum_channels(d, channel, some, false);
}

void SIMD(depthwise_row)(const cpu_group_row *d)
{
    int channel = 0;
    for (; channel + LANES <= d->channels; channel += LANES)
        sum_whole(d, channel);
    if (channel < d->channels)
        sum_some(d, channel, d->channels - channel);
    if (!act_is_cut(d->act))
        SIMD(finish)(d->y, d->y_pixel, d->pixels, d->channels, NULL, NULL, 0, d->act);
}
