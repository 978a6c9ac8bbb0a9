/* simd_groups.c: rows of a convolution whose groups have four or eight channels in and out:
 *
 *     y[p][o] = bias[o] + sum over taps and i < group of w[tap][i][o] x[p + tap][first channel of o's group +
 * i]
 *
 * With so few channels there is no matrix product worth the name: the channels of a block go side by side
 * through the registers, and each x is spread over the lanes of its group.
 *
 * Four neighbouring results of two registers of channels each are summed at a time: eight sums hide the
 * latency of the additions, and each weight is loaded once for four results. Tiles at the left and right edge
 * take taps outside the map from a pixel of zeros; tap rows outside the map have been left out by the caller.
 */
#include "simd_vec.h"

enum { TILE = 4 };

/* For each of the `some` lanes from x + channel on: channel i of its group. group is a constant in every use.
 */
INLINE vec spread(const float *x, int channel, int some, int group, int i)
{
#if defined(__AVX512F__)
    static const int32_t lane[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    __m512i from = _mm512_or_si512(_mm512_and_si512(_mm512_loadu_si512(lane), _mm512_set1_epi32(-group)),
                                   _mm512_set1_epi32(i)); /* lane / group * group + i */
    return (vec)_mm512_permutexvar_ps(from, (__m512)load_upto(x + channel, some));
#elif defined(__AVX2__)
    if (group == 4) { /* two groups in a register */
        __m256 v = (__m256)load_upto(x + channel, some);
        switch (i) {
        case 0: return (vec)_mm256_permute_ps(v, 0x00);
        case 1: return (vec)_mm256_permute_ps(v, 0x55);
        case 2: return (vec)_mm256_permute_ps(v, 0xaa);
        default: return (vec)_mm256_permute_ps(v, 0xff);
        }
    }
#endif
    (void)some;
    return splat(x[channel / group * group + i]); /* one group fills the register, or more than that */
}

/* pixels, vectors, group and edge are constants in every use; vectors is 2, or 1 with `some` channels. */
INLINE void sum_tile(const cpu_group_rows *d, const cpu_tap_rows *t, float *out, int pixel, int channel,
                     int pixels, int vectors, int some, int group, bool edge)
{
    static const float zeros[2 * LANES];
    vec s[TILE][2];
    for (int p = 0; p < pixels; p++)
        for (int v = 0; v < vectors; v++)
            s[p][v] = load(d->bias + channel + v * LANES);

    int first = pixel * d->stride[1] - d->left; /* column of the first tap of the first result */
    const float *w = t->weight + channel, *row = t->x;
    for (int ty = 0; ty < t->count; ty++, row += t->x_step)
        for (int tx = 0; tx < d->kw; tx++) {
            const float *x[TILE];
            for (int p = 0; p < pixels; p++) {
                int column = first + tx * d->dilation[1] + p * d->stride[1];
                bool outside = edge && (column < 0 || column >= d->width);
                x[p] = outside ? zeros : row + column * d->x_pixel;
            }
            for (int i = 0; i < group; i++, w += 2 * LANES) {
                vec wv[2];
                for (int v = 0; v < vectors; v++)
                    wv[v] = load(w + v * LANES);
                for (int p = 0; p < pixels; p++)
                    for (int v = 0; v < vectors; v++)
                        s[p][v] += wv[v] * spread(x[p], channel + v * LANES, some, group, i);
            }
        }

    vec low = act_low(d->act), high = act_high(d->act);
    float *y = out + pixel * d->y_pixel + channel;
    for (int p = 0; p < pixels; p++, y += d->y_pixel)
        for (int v = 0; v < vectors; v++)
            store_upto(y + v * LANES, min2(high, max2(low, s[p][v])), some);
}

INLINE void sum_pixels(const cpu_group_rows *d, const cpu_tap_rows *t, float *out, int pixel, int channel,
                       int pixels, int vectors, int some, int group, bool edge)
{
    switch (pixels) {
    case 1: sum_tile(d, t, out, pixel, channel, 1, vectors, some, group, edge); break;
    case 2: sum_tile(d, t, out, pixel, channel, 2, vectors, some, group, edge); break;
    case 3: sum_tile(d, t, out, pixel, channel, 3, vectors, some, group, edge); break;
    default: sum_tile(d, t, out, pixel, channel, 4, vectors, some, group, edge); break;
    }
}

INLINE void sum_row(const cpu_group_rows *d, const cpu_tap_rows *t, float *out, int channel, int vectors, int some,
                    int group)
{
    int reach = (d->kw - 1) * d->dilation[1];
    for (int pixel = 0; pixel < d->pixels; pixel += TILE) {
        int pixels = d->pixels - pixel < TILE ? d->pixels - pixel : TILE;
        int first = pixel * d->stride[1] - d->left;
        bool edge = first < 0 || first + (pixels - 1) * d->stride[1] + reach >= d->width;
        if (edge)
            sum_pixels(d, t, out, pixel, channel, pixels, vectors, some, group, true);
        else
            sum_pixels(d, t, out, pixel, channel, pixels, vectors, some, group, false);
    }
}

static void sum_block(const cpu_group_rows *d, const cpu_tap_rows *t, float *out)
{
    if (d->group == 4)
        sum_row(d, t, out, 0, 2, LANES, 4);
    else
        sum_row(d, t, out, 0, 2, LANES, 8);
}

/* The last channels, fewer than a block: at most `some` of one register. */
static void sum_rest(const cpu_group_rows *d, const cpu_tap_rows *t, float *out, int channel, int some)
{
    if (d->group == 4)
        sum_row(d, t, out, channel, 1, some, 4);
    else
        sum_row(d, t, out, channel, 1, some, 8);
}

void SIMD(group_rows)(const cpu_group_rows *d)
{
    for (int row = 0; row < d->rows; row++) {
        cpu_tap_rows t = cpu_tap_rows_of(d, row);
        float *y = d->y + row * d->y_line;
        if (d->channels == 2 * LANES) {
            sum_block(d, &t, y);
        } else {
            if (d->channels >= LANES)
                sum_rest(d, &t, y, 0, LANES);
            if (d->channels % LANES != 0)
                sum_rest(d, &t, y, d->channels / LANES * LANES, d->channels % LANES);
        }
        if (!act_is_cut(d->act))
            SIMD(finish)(y, d->y_pixel, d->pixels, d->channels, NULL, NULL, 0, d->act);
    }
}
