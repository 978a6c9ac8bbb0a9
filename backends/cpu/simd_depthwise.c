/* simd_depthwise.c: rows of a convolution with one channel in and out per group:
 *
 *     y[p][c] = act(bias[c] + sum over taps of w[tap][c] x[p stride + tap][c])
 *
 * Seven neighbouring results of one register of channels are summed at a time. Each pixel of x under them is loaded
 * once per tap row and serves every result that it lies under, against a row of taps that stays in registers: for three
 * taps, 12 loads feed 21 multiply-adds, for seven 20 feed 49, so that arithmetic is what takes the time. Seven
 * divides the widths that networks have (7, 14, 28, 56, 112), and seven sums hide the latency of the additions.
 *
 * A tile goes through all channels, then down the rows: channels lie side by side, rows that the next results share are
 * still in the first cache, and what is outside the map at the left and right is the same all the way. Pixels there are
 * left out: in the tiles at the edges of networks' maps, which small maps consist of, it is known beforehand which
 * these are. Other tiles that hang over an edge of the map or of the row look, and store only what is in the row. A sum
 * takes its taps in the same order wherever it lies in a tile.
 */
#include "simd_vec.h"

enum { TILE = 7, LOOK = -1, LINE = 16 /* floats in a cache line */ };

/* Results are stored far from each other, which the processor does not see coming: it is asked for the lines of those that
 * come next in time. */
INLINE void fetch_ahead(float *y, ptrdiff_t y_pixel)
{
    for (int p = 0; p < TILE; p++)
        __builtin_prefetch(y + p * y_pixel, 1);
}

/* A tile for one register of channels: what changes from one to the next. */
typedef struct cursor {
    const float *bias, *weight;
    const float *x; /* in the first tap row, the first column under the tile that is in the map; to LOOK, column 0 */
    float       *y;
} cursor;

/* The results of a tile in one row and for `some` channels, LANES or fewer. kw, stride, left and right are constants in
 * every use. first: the column of the first tap; left and right: how many columns under the tile lie outside the map,
 * or LOOK; then `pixels` of the results are in the row. */
INLINE void sum_vector(cursor at, ptrdiff_t x_step, ptrdiff_t x_pixel, ptrdiff_t y_pixel, int tap_rows, strata_act act,
                       int some, int first, int width, int pixels, int kw, int stride, int left, int right)
{
    vec s[TILE];
    for (int p = 0; p < TILE; p++)
        s[p] = load(at.bias);

    const int columns = (TILE - 1) * stride + kw, origin = left == LOOK ? -first : left; /* at.x, counted from `first` */
    for (int ty = 0; ty < tap_rows; ty++, at.x += x_step, at.weight += kw * 2 * LANES) {
        vec tap[7];
        for (int tx = 0; tx < kw; tx++)
            tap[tx] = load(at.weight + tx * 2 * LANES);
#pragma GCC unroll 19
        for (int j = 0; j < columns; j++) {
            if (left == LOOK ? (unsigned)(first + j) >= (unsigned)width : j < left || j >= columns - right)
                continue;
            vec x = load_upto(at.x + (j - origin) * x_pixel, some);
#pragma GCC unroll 7
            for (int p = 0; p < TILE; p++)
                if (j >= p * stride && j < p * stride + kw)
                    s[p] += x * tap[j - p * stride];
        }
    }

    if (act == STRATA_ACT_RELU || act == STRATA_ACT_RELU6)
        for (int p = 0; p < TILE; p++)
            s[p] = max2((vec){ 0 }, s[p]);
    if (act == STRATA_ACT_RELU6)
        for (int p = 0; p < TILE; p++)
            s[p] = min2(splat(6), s[p]);
    for (int p = 0; p < TILE && (left != LOOK || p < pixels); p++)
        store_upto(at.y + p * y_pixel, s[p], some);
}

/* A column of tiles, down the rows; in each, channels from `channel` on: `some` is LANES, and these are all whole
 * registers, or the rest of them. */
INLINE void sum_tiles(const cpu_group_rows *d, int channel, int some, int pixel, int kw, int stride, int left, int right)
{
    const ptrdiff_t x_pixel = d->x_pixel, y_pixel = d->y_pixel, weight_block = d->weight_block;
    const strata_act act = d->act;
    const int first = pixel * stride - d->left, width = d->width, pixels = d->pixels - pixel, rows = d->rows;
    const int end = some == LANES ? d->channels / LANES * LANES : channel + some;
    for (int row = 0; row < rows; row++) {
        const cpu_tap_rows t = cpu_tap_rows_of(d, row);
        const ptrdiff_t x_step = t.x_step, ahead = row + 1 < rows ? d->y_line : 0;
        const int tap_rows = t.count;
        cursor at = { d->bias + channel,
                      t.weight + channel / (2 * LANES) * weight_block + channel % (2 * LANES),
                      t.x + (left == LOOK ? 0 : first + left) * x_pixel + channel, d->y + row * d->y_line + pixel * y_pixel + channel };
        for (int c = channel; c < end; c += LANES) {
            if (ahead != 0 && c % LINE == 0)
                fetch_ahead(at.y + ahead, y_pixel);
            sum_vector(at, x_step, x_pixel, y_pixel, tap_rows, act, some, first, width, pixels, kw, stride, left, right);
            at.bias += LANES;
            at.weight += c % (2 * LANES) == 0 ? LANES : weight_block - LANES;
            at.x += LANES;
            at.y += LANES;
        }
    }
}

/* With padding of kw / 2, as networks have it, the first tile of a row has so many columns outside, and the last of a
 * width that is a multiple of the stride as many, or one less for each result that the stride skips. */
INLINE void sum_rows(const cpu_group_rows *d, int kw, int stride)
{
    const int columns = (TILE - 1) * stride + kw, left = kw / 2, right = kw / 2 - stride + 1;
    const int whole = d->channels / LANES * LANES;
    for (int pixel = 0; pixel < d->pixels; pixel += TILE) {
        int first = pixel * stride - d->left, beyond = first + columns - d->width;
        bool full = pixel + TILE <= d->pixels;
        if (full && first >= 0 && beyond <= 0)
            sum_tiles(d, 0, LANES, pixel, kw, stride, 0, 0);
        else if (full && first == -left && beyond <= 0)
            sum_tiles(d, 0, LANES, pixel, kw, stride, left, 0);
        else if (full && first >= 0 && beyond == right)
            sum_tiles(d, 0, LANES, pixel, kw, stride, 0, right);
        else if (full && first == -left && beyond == right)
            sum_tiles(d, 0, LANES, pixel, kw, stride, left, right);
        else
            sum_tiles(d, 0, LANES, pixel, kw, stride, LOOK, LOOK);
        if (whole < d->channels)
            sum_tiles(d, whole, d->channels - whole, pixel, kw, stride, LOOK, LOOK);
    }
}

/* A pixel of a row of the map, zeros outside. */
INLINE const float *pixel_at(const cpu_group_rows *d, const float *row, int column)
{
    static const float zeros[LANES];
    return column >= 0 && column < d->width ? row + column * d->x_pixel : zeros;
}

/* Any width, stride and dilation, a result of up to a register of channels at a time. */
static void sum_any(const cpu_group_rows *d, const cpu_tap_rows *t, float *y, int channel, int some)
{
    for (int pixel = 0; pixel < d->pixels; pixel++) {
        vec s = load(d->bias + channel);
        const float *w = t->weight + channel / (2 * LANES) * d->weight_block + channel % (2 * LANES);
        const float *row = t->x + channel;
        for (int ty = 0; ty < t->count; ty++, row += t->x_step)
            for (int tx = 0; tx < d->kw; tx++, w += 2 * LANES)
                s += load(w) * load_upto(pixel_at(d, row, pixel * d->stride[1] - d->left + tx * d->dilation[1]), some);
        store_upto(y + pixel * d->y_pixel + channel, min2(act_high(d->act), max2(act_low(d->act), s)), some);
    }
}

static void sum_any_rows(const cpu_group_rows *d)
{
    for (int row = 0; row < d->rows; row++) {
        cpu_tap_rows t = cpu_tap_rows_of(d, row);
        for (int channel = 0; channel < d->channels; channel += LANES)
            sum_any(d, &t, d->y + row * d->y_line, channel, d->channels - channel < LANES ? d->channels - channel : LANES);
    }
}

/* The widths and strides of networks have loops of their own, and a function each: all in one, gcc 12 has 68 stores of
 * registers to the stack for AVX2, so 25. */
#define ROWS(kw, stride)                                                                                       \
    __attribute__((noinline)) static void sum_rows_##kw##_##stride(const cpu_group_rows *d)                    \
    {                                                                                                          \
        sum_rows(d, kw, stride);                                                                               \
    }
ROWS(3, 1)
ROWS(3, 2)
ROWS(5, 1)
ROWS(5, 2)
ROWS(7, 1)
#undef ROWS

void SIMD(depthwise_rows)(const cpu_group_rows *d)
{
    int shape = d->dilation[1] == 1 && d->stride[1] <= 2 ? 10 * d->kw + d->stride[1] : 0;
    switch (shape) {
    case 31: sum_rows_3_1(d); break;
    case 32: sum_rows_3_2(d); break;
    case 51: sum_rows_5_1(d); break;
    case 52: sum_rows_5_2(d); break;
    case 71: sum_rows_7_1(d); break;
    default: sum_any_rows(d); break;
    }
    for (int row = 0; row < d->rows && !act_is_cut(d->act); row++)
        SIMD(finish)(d->y + row * d->y_line, d->y_pixel, d->pixels, d->channels, NULL, NULL, 0, d->act);
}
