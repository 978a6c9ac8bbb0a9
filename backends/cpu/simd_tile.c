/* simd_tile.c: the innermost loop of the implicit matrix product: rows of pixels times a panel of weights.
 *
 *     y[r][o] = act(begin + sum over taps t and channels k of x[t][r][k] w[t][k][o] + residual[r][o])
 *
 * Six rows times two registers of columns are twelve sums, two registers of weights and one repeated x: with
 * the sixteen registers of SSE and AVX nothing is spilled, and every load of weights serves six rows. x is read in
 * place through one pointer per row and tap, so nothing is copied to make a matrix (indirect convolution:
 * Dukhan, "The Indirect Convolution Algorithm", 2019).
 */
#include "simd_vec.h"

/* rows and whole (all columns valid) are constants in every use. */
INLINE void sum_tile(const cpu_tile *t, int rows, bool whole)
{
    vec a[CPU_TILE_ROWS], b[CPU_TILE_ROWS]; /* left and right half of the panel */
    int left = t->columns < LANES ? t->columns : LANES, right = t->columns - left;
    for (int r = 0; r < rows; r++) {
        if (t->bias != NULL) {
            a[r] = load(t->bias);
            b[r] = load(t->bias + LANES);
        } else {
            const float *y = t->y + r * t->y_step;
            a[r] = whole || left == LANES ? load(y) : load_some(y, left);
            b[r] = whole ? load(y + LANES) : right > 0 ? load_some(y + LANES, right) : (vec){ 0 };
        }
    }

    const float *w = t->weight, *ahead = t->ahead;
    const float *const *taps = t->x;
    for (int tap = 0; tap < t->taps; tap++, taps += t->x_step) {
        const float *x[CPU_TILE_ROWS];
        for (int r = 0; r < rows; r++)
            x[r] = taps[r] + t->x_offset;
        for (ptrdiff_t k = 0; k < t->channels; k++, w += 2 * LANES) {
            vec wa = load(w), wb = load(w + LANES);
            if (ahead != NULL) {
                __builtin_prefetch(ahead, 0, 2);
                ahead += 2 * LANES;
            }
            for (int r = 0; r < rows; r++) {
                vec v = splat(x[r][k]);
                a[r] += v * wa;
                b[r] += v * wb;
            }
        }
    }

    vec low = act_low(t->act), high = act_high(t->act);
    for (int r = 0; r < rows; r++) {
        float *y = t->y + r * t->y_step;
        if (t->residual != NULL) {
            const float *add = t->residual + r * t->residual_step;
            a[r] += whole || left == LANES ? load(add) : load_some(add, left);
            b[r] += whole ? load(add + LANES) : right > 0 ? load_some(add + LANES, right) : (vec){ 0 };
        }
        a[r] = min2(high, max2(low, a[r]));
        b[r] = min2(high, max2(low, b[r]));
        if (whole || left == LANES)
            store(y, a[r]);
        else
            store_some(y, a[r], left);
        if (whole)
            store(y + LANES, b[r]);
        else if (right > 0)
            store_some(y + LANES, b[r], right);
    }
    if (!act_is_cut(t->act))
        SIMD(finish)(t->y, t->y_step, rows, t->columns, NULL, NULL, 0, t->act);
}

INLINE void sum_rows(const cpu_tile *t, bool whole)
{
    switch (t->rows) {
    case 1: sum_tile(t, 1, whole); break;
    case 2: sum_tile(t, 2, whole); break;
    case 3: sum_tile(t, 3, whole); break;
    case 4: sum_tile(t, 4, whole); break;
    case 5: sum_tile(t, 5, whole); break;
    default: sum_tile(t, 6, whole); break;
    }
}

void SIMD(tile)(const cpu_tile *t)
{
    if (t->columns == 2 * LANES)
        sum_rows(t, true);
    else
        sum_rows(t, false);
}
