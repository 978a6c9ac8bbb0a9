/* simd_reduce.c: loops that sum or compare: matrix-vector products, pools, means, norms, softmax. */
#include "simd_vec.h"

enum { SHORT_SUM = 4, SHORT_ROWS = 8 };

/* Sums of float products in double, but for SHORT_SUM neighbours, which are added in float first: that is as fast
 * as memory gives weights, and a lane's few roundings average out. Matrix-vector products and global means are
 * the inputs of gates (squeeze-excite), whose errors a deep network amplifies most. The order of summation depends on k
 * only. */
INLINE void add_short_sum(wide *left, wide *right, const float *w, const float *x, int count)
{
    vec a = splat(x[0]) * load(w), b = splat(x[0]) * load(w + LANES);
    for (int i = 1; i < count; i++) {
        a += splat(x[i]) * load(w + i * 2 * LANES);
        b += splat(x[i]) * load(w + i * 2 * LANES + LANES);
    }
    add_wide(left, widen(a));
    add_wide(right, widen(b));
}

void SIMD(gemv)(float *y, const float *w, const float *x, const float *bias, int64_t outputs, int64_t k,
                strata_act act)
{
    for (int64_t o = 0; o < outputs; o += 2 * LANES) {
        wide left = { { 0 }, { 0 } }, right = left;
        int64_t i = 0;
        for (; i + SHORT_SUM <= k; i += SHORT_SUM, w += SHORT_SUM * 2 * LANES)
            add_short_sum(&left, &right, w, x + i, SHORT_SUM);
        for (; i < k; i++, w += 2 * LANES)
            add_short_sum(&left, &right, w, x + i, 1);
        int some = outputs - o < 2 * LANES ? (int)(outputs - o) : 2 * LANES;
        store_narrow_upto(y + o, left, some < LANES ? some : LANES);
        if (some > LANES)
            store_narrow_upto(y + o + LANES, right, some - LANES);
    }
    SIMD(finish)(y, outputs, 1, outputs, bias, NULL, 0, act);
}

/* max2 may lose a value that is not a number when a number follows: `poison` remembers it as all bits set,
 * which is not a number either. */
INLINE vec max_column(const float *const *rows, int count, int64_t i, int some)
{
    vec m = splat(-INFINITY);
    bits poison = { 0 };
    for (int r = 0; r < count; r++) {
        vec v = load_upto(rows[r] + i, some);
        m = max2(m, v);
        poison |= (bits)(v != v);
    }
    return (vec)((bits)m | poison);
}

void SIMD(max_rows)(float *dst, const float *const *rows, int count, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(dst + i, max_column(rows, count, i, LANES));
    if (i < n)
        store_some(dst + i, max_column(rows, count, i, (int)(n - i)), (int)(n - i));
}

void SIMD(sum_rows)(float *dst, const float *const *rows, int count, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i += LANES) {
        int some = n - i < LANES ? (int)(n - i) : LANES;
        vec s = { 0 };
        for (int r = 0; r < count; r++)
            s += load_upto(rows[r] + i, some);
        store_upto(dst + i, s * scale, some);
    }
}

/* The sum of a few rows' columns, or of their squares; `some` of them, LANES or fewer. */
INLINE vec sum_few(const float *x, int rows, ptrdiff_t step, int some, bool square)
{
    vec sum = { 0 };
    for (int r = 0; r < rows; r++, x += step) {
        vec v = load_upto(x, some);
        sum += square ? v * v : v;
    }
    return sum;
}

/* A few rows in float, all of their columns, for that is the order in which they lie; their sums in double. */
INLINE void columns(float *dst, const float *x, int64_t rows, ptrdiff_t step, int64_t n, bool square)
{
    enum { COLUMNS = 512 };
    for (int64_t first = 0; first < n; first += COLUMNS) {
        const int64_t here = n - first < COLUMNS ? n - first : COLUMNS, whole = here / LANES * LANES;
        wide sum[COLUMNS / LANES];
        for (int64_t i = 0; i < here; i += LANES)
            sum[i / LANES] = (wide){ { 0 }, { 0 } };
        for (int64_t r = 0; r < rows; r += SHORT_ROWS) {
            const float *from = x + r * step + first;
            int few = rows - r < SHORT_ROWS ? (int)(rows - r) : SHORT_ROWS;
            int64_t i = 0;
            for (; few == SHORT_ROWS && i < whole; i += LANES)
                add_wide(&sum[i / LANES], widen(sum_few(from + i, SHORT_ROWS, step, LANES, square)));
            for (; i < here; i += LANES)
                add_wide(&sum[i / LANES],
                         widen(sum_few(from + i, few, step, i < whole ? LANES : (int)(here - whole), square)));
        }
        for (int64_t i = 0; i < here; i += LANES)
            store_narrow_upto(dst + first + i, sum[i / LANES], i < whole ? LANES : (int)(here - whole));
    }
}

void SIMD(column_sums)(float *dst, const float *x, int64_t rows, ptrdiff_t step, int64_t n)
{
    columns(dst, x, rows, step, n, false);
}

void SIMD(column_squares)(float *dst, const float *x, int64_t rows, ptrdiff_t step, int64_t n)
{
    columns(dst, x, rows, step, n, true);
}

/* Sum over i of (x[i] - centre), or of its square; lanes past the end count as nothing. */
INLINE float row_sum(const float *x, int64_t n, float centre, bool square)
{
    vec s[2] = { { 0 }, { 0 } };
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES)
        for (int k = 0; k < 2; k++) {
            vec v = load(x + i + k * LANES) - centre;
            s[k] += square ? v * v : v;
        }
    float tail = 0;
    for (; i < n; i++) {
        float v = x[i] - centre;
        tail += square ? v * v : v;
    }
    return sum_lanes(s[0] + s[1]) + tail;
}

void SIMD(normalize)(float *dst, const float *x, int64_t n, float epsilon, const float *gamma,
                     const float *beta)
{
    float mean = row_sum(x, n, 0, false) / (float)n;
    float variance = row_sum(x, n, mean, true) / (float)n;
    float scale = 1.0f / sqrtf(variance + epsilon);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(dst + i, (load(x + i) - mean) * scale * load(gamma + i) + load(beta + i));
    for (; i < n; i++)
        dst[i] = (x[i] - mean) * scale * gamma[i] + beta[i];
}

/* Subtracting the maximum first keeps exp in range. */
void SIMD(softmax_columns)(float *dst, const float *x, int64_t rows, ptrdiff_t step, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        int some = n - i < LANES ? (int)(n - i) : LANES;
        vec top = load_upto(x + i, some), sum = { 0 };
        for (int64_t r = 1; r < rows; r++)
            top = max2(top, load_upto(x + r * step + i, some));
        for (int64_t r = 0; r < rows; r++) {
            vec e = exp_vec(load_upto(x + r * step + i, some) - top);
            sum += e;
            store_upto(dst + r * step + i, e, some);
        }
        vec scale = 1.0f / sum;
        for (int64_t r = 0; r < rows; r++)
            store_upto(dst + r * step + i, load_upto(dst + r * step + i, some) * scale, some);
    }
}

void SIMD(softmax_row)(float *dst, const float *x, int64_t n)
{
    float top = x[0];
    for (int64_t i = 1; i < n; i++)
        top = x[i] > top ? x[i] : top;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(dst + i, exp_vec(load(x + i) - top));
    if (i < n)
        store_some(dst + i, exp_vec(load_some(x + i, (int)(n - i)) - top), (int)(n - i));
    SIMD(unary)(dst, dst, n, CPU_MUL_SCALAR, 1.0f / row_sum(dst, n, 0, false));
}
