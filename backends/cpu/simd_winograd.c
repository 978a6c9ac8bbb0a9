/* simd_winograd.c: into and out of the domain in which a 3x3 convolution is one product per point.
 *
 *     y = A' [ (G g G') * (B' d B) ] A        summed over channels between the brackets
 *
 * with d a tile of x, g a kernel, * the product element by element (Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2016; ' is the transpose). B and A belong to the points 0, 1, -1, 2, -2 and infinity,
 * or the first of these and infinity: n of them for F(n - 2, 3), and for F(n - 1, 2), which is what stride 2 makes of
 * the even pixels; the odd ones are a product each (Yepez and Ko, "Stride 2 1-D, 2-D, and 3-D Winograd for
 * Convolutional Neural Networks", 2020). A register holds a channel per lane, so that every line below is
 * arithmetic on whole registers.
 *
 * edge, results, points and stride are constants in every use.
 */
#include "simd_vec.h"

enum { MOST = CPU_WINOGRAD_MOST, MOST_RESULTS = 4 };

INLINE int stride_of(int edge, int results)
{
    return edge == results + 2 ? 1 : 2;
}

INLINE int points_of(int edge, int results)
{
    return edge == results + 2 ? edge : results + 1;
}

/* B' d for pixels d[0], d[stride], ... : row i has the coefficients of the polynomial that is zero at all points but
 * the i-th, up to a factor that is left to G. */
INLINE void evaluate(const vec *d, int stride, vec *v, int points)
{
    vec d0 = d[0], d1 = d[stride], d2 = d[2 * stride];
    if (points == 3) {
        v[0] = d0 - d1;
        v[1] = d1;
        v[2] = d2 - d1;
        return;
    }
    vec d3 = d[3 * stride], span = d3 - d1;
    if (points == 4) {
        v[0] = d0 - d2;
        v[1] = d1 + d2;
        v[2] = d2 - d1;
        v[3] = span;
        return;
    }
    vec d4 = d[4 * stride];
    if (points == 5) {
        v[0] = 2.0f * (d0 - d2) + span;
        v[1] = (d1 + d2) - span;
        v[2] = 3.0f * (d1 - d2) + span;
        v[3] = span;
        v[4] = (d4 - d2) - 2.0f * span;
        return;
    }
    vec d5 = d[5 * stride], even = d4 - 4.0f * d2, odd = d3 - 4.0f * d1, far_even = d4 - d2, far_odd = 2.0f * span;
    v[0] = 4.0f * (d0 - d2) + far_even;
    v[1] = even + odd;
    v[2] = even - odd;
    v[3] = far_even + far_odd;
    v[4] = far_even - far_odd;
    v[5] = 4.0f * (d1 - d3) + (d5 - d3);
}

INLINE void into(const vec d[MOST], vec v[MOST], int edge, int results)
{
    int stride = stride_of(edge, results), points = points_of(edge, results);
    evaluate(d, stride, v, points);
    for (int i = 0; points + i < edge; i++)
        v[points + i] = d[1 + 2 * i];
}

/* A' m: result i has each point's sum times the i-th power of the point, infinity counting for the last alone. */
INLINE void out_of(const vec m[MOST], vec y[MOST_RESULTS], int edge, int results)
{
    int points = points_of(edge, results);
    if (points == 3) {
        y[0] = m[0] + m[1];
        y[1] = m[1] + m[2];
    } else {
        vec even = m[1] + m[2], odd = m[1] - m[2], far_even = m[3], far_odd = m[3];
        if (points == 6) {
            far_even = m[3] + m[4];
            far_odd = m[3] - m[4];
        }
        bool far = points > 4;
        y[0] = m[0] + (far ? even + far_even : even);
        y[1] = far ? odd + 2.0f * far_odd : odd;
        if (results > 2)
            y[2] = far ? even + 4.0f * far_even : even;
        if (results > 3)
            y[3] = odd + 8.0f * far_odd;
        y[results - 1] += m[points - 1];
    }
    for (int i = 0; points + i < edge; i++)
        y[i] += m[points + i];
}

/* The first n <= LANES channels of a tile; the others become zero. */
INLINE void transform(const cpu_winograd_tile *t, int k, int n, int edge, int results)
{
    vec half[MOST][MOST]; /* B' d, row by row */
    for (int column = 0; column < edge; column++) {
        vec d[MOST], v[MOST];
        for (int row = 0; row < edge; row++)
            d[row] = load_upto(t->x[row * edge + column] + k, n);
        into(d, v, edge, results);
        for (int row = 0; row < edge; row++)
            half[row][column] = v[row];
    }
    for (int row = 0; row < edge; row++) {
        vec v[MOST];
        into(half[row], v, edge, results);
        for (int column = 0; column < edge; column++)
            store(t->v + (row * edge + column) * t->v_step + k, v[column]);
    }
}

INLINE void transform_tile(const cpu_winograd_tile *t, int edge, int results)
{
    int k = 0;
    for (; k + LANES <= t->channels; k += LANES)
        transform(t, k, LANES, edge, results);
    if (k < t->channels)
        transform(t, k, t->channels - k, edge, results);
}

void SIMD(winograd_tile)(const cpu_winograd_tile *t)
{
    switch (t->edge * 8 + t->results) {
    case 4 * 8 + 2: transform_tile(t, 4, 2); break;
    case 5 * 8 + 3: transform_tile(t, 5, 3); break;
    case 6 * 8 + 4: transform_tile(t, 6, 4); break;
    case 5 * 8 + 2: transform_tile(t, 5, 2); break;
    case 7 * 8 + 3: transform_tile(t, 7, 3); break;
    default: transform_tile(t, 9, 4); break;
    }
}

/* The first n <= LANES channels, from channel k of the panel. */
INLINE void result(const cpu_winograd_result *t, int k, int n, int edge, int results)
{
    vec half[MOST_RESULTS][MOST]; /* A' m, row by row */
    for (int column = 0; column < edge; column++) {
        vec m[MOST], y[MOST_RESULTS];
        for (int row = 0; row < edge; row++)
            m[row] = load(t->m + (row * edge + column) * t->m_step + k);
        out_of(m, y, edge, results);
        for (int row = 0; row < results; row++)
            half[row][column] = y[row];
    }
    vec bias = load(t->bias + k), low = act_low(t->act), high = act_high(t->act);
    for (int row = 0; row < t->rows; row++) {
        vec y[MOST_RESULTS];
        out_of(half[row], y, edge, results);
        ptrdiff_t at = row * t->y_row + k;
        for (int column = 0; column < results; column++, at += t->y_pixel) {
            if (column == t->columns)
                break;
            vec sum = y[column] + bias;
            if (t->residual != NULL)
                sum += load_upto(t->residual + at, n);
            store_upto(t->y + at, min2(high, max2(low, sum)), n);
        }
    }
}

INLINE void result_tile(const cpu_winograd_result *t, int edge, int results)
{
    int k = 0;
    for (; k + LANES <= t->channels; k += LANES)
        result(t, k, LANES, edge, results);
    if (k < t->channels)
        result(t, k, t->channels - k, edge, results);
    if (!act_is_cut(t->act))
        for (int row = 0; row < t->rows; row++)
            SIMD(finish)(t->y + row * t->y_row, t->y_pixel, t->columns, t->channels, NULL, NULL, 0, t->act);
}

void SIMD(winograd_result)(const cpu_winograd_result *t)
{
    switch (t->edge * 8 + t->results) {
    case 4 * 8 + 2: result_tile(t, 4, 2); break;
    case 5 * 8 + 3: result_tile(t, 5, 3); break;
    case 6 * 8 + 4: result_tile(t, 6, 4); break;
    case 5 * 8 + 2: result_tile(t, 5, 2); break;
    case 7 * 8 + 3: result_tile(t, 7, 3); break;
    default: result_tile(t, 9, 4); break;
    }
}
