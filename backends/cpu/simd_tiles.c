/* simd_tiles.c: the innermost loop of the implicit matrix product: rows of pixels times a panel of weights.
 *
 *     y[r][o] = act(begin + sum over taps t and channels k of x[t][r][k] w[t][k][o] + residual[r][o])
 *
 * Six rows times two registers of columns are twelve sums, two registers of weights and one repeated x: with
 * the sixteen registers of SSE and AVX nothing is spilled, and every load of weights serves six rows. x is
 * read in place through one pointer per row and tap, so nothing is copied to make a matrix (indirect
 * convolution: Dukhan, "The Indirect Convolution Algorithm", 2019).
 */
#include "simd_vec.h"

enum {
    UNROLL = 4,        /* channels at a time; one line of the weights ahead is fetched for each */
    TILES_AHEAD = 4    /* so that the first tiles together fetch all of it, spread over their time */
};

/* One channel: `rows` is a constant in every use. */
INLINE void add_products(vec a[CPU_TILE_ROWS], vec b[CPU_TILE_ROWS], const float *const x[CPU_TILE_ROWS],
                         ptrdiff_t k, const float *w, int rows)
{
    vec wa = load(w), wb = load(w + LANES);
    for (int r = 0; r < rows; r++) {
        vec v = splat(x[r][k]);
        a[r] += v * wa;
        b[r] += v * wb;
    }
}

/* The tile whose first row is `first`. rows and whole (all columns are valid) are constants in every use. */
INLINE void sum_tile(const cpu_tiles *t, const float *const *taps, int first, const float *ahead, int rows,
                     bool whole)
{
    vec a[CPU_TILE_ROWS], b[CPU_TILE_ROWS]; /* left and right half of the panel */
    int left = whole || t->columns > LANES ? LANES : t->columns, right = t->columns - LANES;
    float *y = t->y + first * t->y_step;
    for (int r = 0; r < rows; r++) {
        const float *from = y + r * t->y_step;
        if (t->bias != NULL) {
            a[r] = load(t->bias);
            b[r] = load(t->bias + LANES);
        } else {
            a[r] = load_upto(from, left);
            b[r] = whole ? load(from + LANES) : right > 0 ? load_some(from + LANES, right) : (vec){ 0 };
        }
    }

    const float *w = t->weight;
    for (int tap = 0; tap < t->taps; tap++, taps += CPU_TILE_ROWS) {
        const float *x[CPU_TILE_ROWS];
        for (int r = 0; r < rows; r++)
            x[r] = taps[r] + t->x_offset;
        ptrdiff_t k = 0;
        for (; k + UNROLL <= t->channels; k += UNROLL, w += UNROLL * 2 * LANES) {
            if (ahead != NULL) {
                for (int line = 0; line < 2 * LANES; line += 16)
                    __builtin_prefetch(ahead + line, 0, 2);
                ahead += 2 * LANES;
            }
            for (int u = 0; u < UNROLL; u++)
                add_products(a, b, x, k + u, w + u * 2 * LANES, rows);
        }
        for (; k < t->channels; k++, w += 2 * LANES)
            add_products(a, b, x, k, w, rows);
    }

    vec low = act_low(t->act), high = act_high(t->act);
    const float *add = t->residual != NULL ? t->residual + first * t->residual_step : NULL;
    for (int r = 0; r < rows; r++, y += t->y_step) {
        if (add != NULL) {
            a[r] += load_upto(add, left);
            b[r] += whole ? load(add + LANES) : right > 0 ? load_some(add + LANES, right) : (vec){ 0 };
            add += t->residual_step;
        }
        store_upto(y, min2(high, max2(low, a[r])), left);
        if (whole)
            store(y + LANES, min2(high, max2(low, b[r])));
        else if (right > 0)
            store_some(y + LANES, min2(high, max2(low, b[r])), right);
    }
}

INLINE void sum_tiles(const cpu_tiles *t, bool whole)
{
    int tiles = cpu_tile_count(t->rows), first = 0;
    ptrdiff_t share = (ptrdiff_t)t->taps * t->channels / TILES_AHEAD * 2 * LANES;
    for (int tile = 0; tile < tiles; tile++) {
        const float *const *x = t->x + tile * t->x_tile;
        const float *ahead = t->ahead != NULL && tile < TILES_AHEAD ? t->ahead + tile * share : NULL;
        int next = cpu_tile_first(tile + 1, tiles, t->rows);
        switch (next - first) {
        case 1: sum_tile(t, x, first, ahead, 1, whole); break;
        case 2: sum_tile(t, x, first, ahead, 2, whole); break;
        case 3: sum_tile(t, x, first, ahead, 3, whole); break;
        case 4: sum_tile(t, x, first, ahead, 4, whole); break;
        case 5: sum_tile(t, x, first, ahead, 5, whole); break;
        default: sum_tile(t, x, first, ahead, 6, whole); break;
        }
        first = next;
    }
}

void SIMD(tiles)(const cpu_tiles *t)
{
    if (t->columns == 2 * LANES)
        sum_tiles(t, true);
    else
        sum_tiles(t, false);
    if (!act_is_cut(t->act))
        SIMD(finish)(t->y, t->y_step, t->rows, t->columns, NULL, NULL, 0, t->act);
}
