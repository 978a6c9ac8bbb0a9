/* simd_winograd.c: into and out of the domain in which a 3x3 convolution is one product per point.
 *
 *     y = A' [ (G g G') * (B' d B) ] A        summed over channels between the brackets
 *
 * with d a tile of x, g a kernel, * the product element by element (Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2016; ' is the transpose). B and A belong to the points 0, 1, -1, infinity
 * for F(2x2, 3x3), and to 2 and -2 besides for F(4x4, 3x3). A register holds a channel per lane, so that
 * every line below is arithmetic on whole registers.
 */
#include "simd_vec.h"

enum { MOST = CPU_WINOGRAD_MOST, MOST_RESULTS = MOST - 2 };

/* B' d */
INLINE void into(const vec d[MOST], vec v[MOST], int edge)
{
    if (edge == 4) {
        v[0] = d[0] - d[2];
        v[1] = d[1] + d[2];
        v[2] = d[2] - d[1];
        v[3] = d[1] - d[3];
        return;
    }
    vec even = d[4] - 4.0f * d[2], odd = d[3] - 4.0f * d[1];
    vec far_even = d[4] - d[2], far_odd = 2.0f * (d[3] - d[1]);
    v[0] = 4.0f * (d[0] - d[2]) + far_even;
    v[1] = even + odd;
    v[2] = even - odd;
    v[3] = far_even + far_odd;
    v[4] = far_even - far_odd;
    v[5] = 4.0f * (d[1] - d[3]) + (d[5] - d[3]);
}

/* A' m */
INLINE void out_of(const vec m[MOST], vec y[MOST_RESULTS], int edge)
{
    if (edge == 4) {
        y[0] = m[0] + (m[1] + m[2]);
        y[1] = (m[1] - m[2]) - m[3];
        return;
    }
    vec even = m[1] + m[2], odd = m[1] - m[2], far_even = m[3] + m[4], far_odd = m[3] - m[4];
    y[0] = m[0] + (even + far_even);
    y[1] = odd + 2.0f * far_odd;
    y[2] = even + 4.0f * far_even;
    y[3] = m[5] + (odd + 8.0f * far_odd);
}

/* The first n <= LANES channels of a tile; the others become zero. `edge` is a constant in every use. */
INLINE void transform(const cpu_winograd_tile *t, int k, int n, int edge)
{
    vec half[MOST][MOST]; /* B' d, row by row */
    for (int column = 0; column < edge; column++) {
        vec d[MOST], v[MOST];
        for (int row = 0; row < edge; row++)
            d[row] = load_upto(t->x[row * edge + column] + k, n);
        into(d, v, edge);
        for (int row = 0; row < edge; row++)
            half[row][column] = v[row];
    }
    for (int row = 0; row < edge; row++) {
        vec v[MOST];
        into(half[row], v, edge);
        for (int column = 0; column < edge; column++)
            store(t->v + (row * edge + column) * t->v_step + k, v[column]);
    }
}

INLINE void transform_tile(const cpu_winograd_tile *t, int edge)
{
    int k = 0;
    for (; k + LANES <= t->channels; k += LANES)
        transform(t, k, LANES, edge);
    if (k < t->channels)
        transform(t, k, t->channels - k, edge);
}

void SIMD(winograd_tile)(const cpu_winograd_tile *t)
{
    if (t->edge == 4)
        transform_tile(t, 4);
    else
        transform_tile(t, 6);
}

/* The first n <= LANES channels, from channel k of the panel. */
INLINE void result(const cpu_winograd_result *t, int k, int n, int edge)
{
    vec half[MOST_RESULTS][MOST]; /* A' m, row by row */
    for (int column = 0; column < edge; column++) {
        vec m[MOST], y[MOST_RESULTS];
        for (int row = 0; row < edge; row++)
            m[row] = load(t->m + (row * edge + column) * t->m_step + k);
        out_of(m, y, edge);
        for (int row = 0; row < edge - 2; row++)
            half[row][column] = y[row];
    }
    vec bias = load(t->bias + k), low = act_low(t->act), high = act_high(t->act);
    for (int row = 0; row < t->rows; row++) {
        vec y[MOST_RESULTS];
        out_of(half[row], y, edge);
        ptrdiff_t at = row * t->y_row + k;
        for (int column = 0; column < edge - 2; column++, at += t->y_pixel) {
            if (column == t->columns)
                break;
            vec sum = y[column] + bias;
            if (t->residual != NULL)
                sum += load_upto(t->residual + at, n);
            store_upto(t->y + at, min2(high, max2(low, sum)), n);
        }
    }
}

INLINE void result_tile(const cpu_winograd_result *t, int edge)
{
    int k = 0;
    for (; k + LANES <= t->channels; k += LANES)
        result(t, k, LANES, edge);
    if (k < t->channels)
        result(t, k, t->channels - k, edge);
    if (!act_is_cut(t->act))
        for (int row = 0; row < t->rows; row++)
            SIMD(finish)(t->y + row * t->y_row, t->y_pixel, t->columns, t->channels, NULL, NULL, 0, t->act);
}

void SIMD(winograd_result)(const cpu_winograd_result *t)
{
    if (t->edge == 4)
        result_tile(t, 4);
    else
        result_tile(t, 6);
}
