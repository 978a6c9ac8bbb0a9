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
    UNROLL = 2,        /* channels at a time, while a line of the weights ahead is fetched. With 4, gcc spills
                          and a tenth of the speed is lost */
    LONG_SUM = 64,     /* products: shorter ones are over before what they ask for has come */
    TILES_AHEAD = 8    /* the first tiles together fetch all of it several times: a processor may drop a
                          prefetch when it is busy */
};

/* What the processor does not see coming, asked for before the sums begin that it is wanted after: the lines that
 * they are stored to and the residual's, a row apart, and where the rows of the next tile begin. */
INLINE void fetch_ahead(const cpu_tiles *t, const float *const *next, const float *y, const float *residual, int rows)
{
    if (t->taps * t->channels < LONG_SUM)
        return;
    for (int r = 0; r < rows; r++) {
        __builtin_prefetch(y + r * t->y_step, 1, 3);
        __builtin_prefetch(next[r] + t->x_offset, 0, 3);
        if (residual != NULL)
            __builtin_prefetch(residual + r * t->residual_step, 0, 3);
    }
}

/* How many columns of the panel are valid: all; some of the right half; none of it. */
typedef enum columns { ALL, SOME_RIGHT, LEFT } columns;

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

/* Two channels of the left half alone: the other sums take every second channel, so that as many additions are
 * on their way. */
INLINE void add_left_products(vec a[CPU_TILE_ROWS], vec b[CPU_TILE_ROWS], const float *const x[CPU_TILE_ROWS],
                              ptrdiff_t k, const float *w, int rows)
{
    vec even = load(w), odd = load(w + 2 * LANES);
    for (int r = 0; r < rows; r++) {
        a[r] += splat(x[r][k]) * even;
        b[r] += splat(x[r][k + 1]) * odd;
    }
}

/* The tile whose first row is `first`; its pointers and those of the tile after it. rows and valid are constants in
 * every use. */
INLINE void sum_tile(const cpu_tiles *t, const float *const *taps, const float *const *next, int first,
                     const float *ahead, int rows, columns valid)
{
    vec a[CPU_TILE_ROWS], b[CPU_TILE_ROWS]; /* left and right half of the panel */
    int left = valid == LEFT ? t->columns : LANES, right = t->columns - LANES;
    float *y = t->y + first * t->y_step;
    const float *add = t->residual != NULL ? t->residual + first * t->residual_step : NULL;
    fetch_ahead(t, next, y, add, rows);
    for (int r = 0; r < rows; r++) {
        const float *from = y + r * t->y_step;
        if (t->bias != NULL) {
            a[r] = load(t->bias);
            b[r] = valid == LEFT ? (vec){ 0 } : load(t->bias + LANES);
        } else {
            a[r] = load_upto(from, left);
            b[r] = valid == ALL ? load(from + LANES) : valid == LEFT ? (vec){ 0 } : load_some(from + LANES, right);
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
            if (valid == LEFT)
                add_left_products(a, b, x, k, w, rows);
            else
                for (int u = 0; u < UNROLL; u++)
                    add_products(a, b, x, k + u, w + u * 2 * LANES, rows);
        }
        for (; k < t->channels; k++, w += 2 * LANES)
            for (int r = 0; r < rows; r++) {
                a[r] += splat(x[r][k]) * load(w);
                if (valid != LEFT)
                    b[r] += splat(x[r][k]) * load(w + LANES);
            }
    }
    for (int r = 0; r < rows && valid == LEFT; r++)
        a[r] += b[r];

    vec low = act_low(t->act), high = act_high(t->act);
    for (int r = 0; r < rows; r++) {
        float *to = y + r * t->y_step;
        if (add != NULL) {
            a[r] += load_upto(add, left);
            if (valid != LEFT)
                b[r] += valid == ALL ? load(add + LANES) : load_some(add + LANES, right);
            add += t->residual_step;
        }
        store_upto(to, min2(high, max2(low, a[r])), left);
        if (valid == ALL)
            store(to + LANES, min2(high, max2(low, b[r])));
        else if (valid == SOME_RIGHT)
            store_some(to + LANES, min2(high, max2(low, b[r])), right);
    }
    if (!act_is_cut(t->act)) /* from the first cache, while the next tile's products are on their way */
        SIMD(finish)(y, t->y_step, rows, t->columns, NULL, NULL, 0, t->act);
}

INLINE void sum_tiles(const cpu_tiles *t, columns valid)
{
    int tiles = cpu_tile_count(t->rows), fewest = t->rows / tiles, more = t->rows % tiles, first = 0;
    int fetchers = tiles < TILES_AHEAD ? tiles : TILES_AHEAD; /* each asks for half of it, the last for the end */
    ptrdiff_t share = fetchers > 1 ? (ptrdiff_t)t->taps * t->channels / 2 / (fetchers - 1) * 2 * LANES : 0;
    for (int tile = 0; tile < tiles; tile++) {
        const float *const *x = t->x + tile * t->x_tile;
        const float *const *next = tile + 1 < tiles && tile + 1 != more ? x + t->x_tile : t->x; /* with no fewer rows */
        const float *ahead = t->ahead != NULL && tile < TILES_AHEAD ? t->ahead + tile * share : NULL;
        int rows = fewest + (tile < more); /* as in cpu_tile_first */
        switch (rows) {
        case 1: sum_tile(t, x, next, first, ahead, 1, valid); break;
        case 2: sum_tile(t, x, next, first, ahead, 2, valid); break;
        case 3: sum_tile(t, x, next, first, ahead, 3, valid); break;
        case 4: sum_tile(t, x, next, first, ahead, 4, valid); break;
        case 5: sum_tile(t, x, next, first, ahead, 5, valid); break;
        default: sum_tile(t, x, next, first, ahead, 6, valid); break;
        }
        first += rows;
    }
}

void SIMD(tiles)(const cpu_tiles *t)
{
    if (t->columns == 2 * LANES)
        sum_tiles(t, ALL);
    else if (t->columns > LANES)
        sum_tiles(t, SOME_RIGHT);
    else
        sum_tiles(t, LEFT);
}
