/* simd_elementwise.c: loops that map elements to elements: activations, arithmetic, epilogues. See simd.h. */
#include "simd_vec.h"

INLINE void activate_act(float *dst, const float *x, int64_t n, strata_act act)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(dst + i, act_vec(load(x + i), act));
    if (i < n)
        store_some(dst + i, act_vec(load_some(x + i, (int)(n - i)), act), (int)(n - i));
}

/* bias and residual are NULL or not as a constant in every use. */
INLINE void finish_rows(float *y, ptrdiff_t y_step, int64_t rows, int64_t columns, const float *bias,
                        const float *residual, ptrdiff_t residual_step, strata_act act)
{
    vec b = { 0 }, r = { 0 };
    for (int64_t row = 0; row < rows; row++, y += y_step) {
        for (int64_t i = 0; i < columns; i += LANES) {
            int some = columns - i < LANES ? (int)(columns - i) : LANES;
            if (bias != NULL)
                b = load_upto(bias + i, some);
            if (residual != NULL)
                r = load_upto(residual + i, some);
            store_upto(y + i, act_vec(load_upto(y + i, some) + b + r, act), some);
        }
        if (residual != NULL)
            residual += residual_step;
    }
}

/* The two registers of a panel, which is how most results come: without anything to decide between rows. */
INLINE void finish_panel(float *y, ptrdiff_t y_step, int64_t rows, strata_act act)
{
    for (int64_t row = 0; row < rows; row++, y += y_step) {
        vec left = act_vec(load(y), act), right = act_vec(load(y + LANES), act);
        store(y, left);
        store(y + LANES, right);
    }
}

INLINE void finish_act(float *y, ptrdiff_t y_step, int64_t rows, int64_t columns, const float *bias,
                       const float *residual, ptrdiff_t residual_step, strata_act act)
{
    if (bias != NULL || residual != NULL)
        finish_rows(y, y_step, rows, columns, bias, residual, residual_step, act);
    else if (y_step == columns)
        activate_act(y, y, rows * columns, act);
    else if (columns == 2 * LANES)
        finish_panel(y, y_step, rows, act);
    else
        finish_rows(y, y_step, rows, columns, NULL, NULL, 0, act);
}

void SIMD(finish)(float *y, ptrdiff_t y_step, int64_t rows, int64_t columns, const float *bias,
                  const float *residual, ptrdiff_t residual_step, strata_act act){
#define BODY(a) finish_act(y, y_step, rows, columns, bias, residual, residual_step, a)
    FOR_ACT(act, BODY)
#undef BODY
}

void SIMD(activate)(float *dst, const float *x, int64_t n, strata_act act)
{
#define BODY(a) activate_act(dst, x, n, a)
    FOR_ACT(act, BODY)
#undef BODY
}

/* x Phi(x), with Phi(-|x|) = Q = P(t) exp(-x^2/2) / 2, t = 1 / (1 + p |x| / sqrt(2)), by Abramowitz and Stegun, 7.1.26
 * (|error of erf| < 1.5e-7), and Phi(|x|) = 1 - Q: small results come without cancellation. */
INLINE vec gelu_erf_vec(vec x)
{
    vec magnitude = max2(x, -x);
    vec t = 1.0f / (1.0f + magnitude * (0.3275911f * 0.70710678f));
    vec p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    vec tail = x * (p * t * 0.5f) * exp_vec(x * x * -0.5f);
    return max2(x, (vec){ 0 }) + (tail - 2.0f * max2(tail, (vec){ 0 }));
}

INLINE void gelu_erf_row(float *dst, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(dst + i, gelu_erf_vec(load(x + i)));
    if (i < n)
        store_some(dst + i, gelu_erf_vec(load_some(x + i, (int)(n - i))), (int)(n - i));
}

void SIMD(unary)(float *dst, const float *x, int64_t n, cpu_unary_op op, float value)
{
    switch (op) {
    case CPU_NEG:
        for (int64_t i = 0; i < n; i++)
            dst[i] = -x[i];
        break;
    case CPU_RSQRT:
        for (int64_t i = 0; i < n; i++)
            dst[i] = 1.0f / sqrtf(x[i]);
        break;
    case CPU_SQRT:
        for (int64_t i = 0; i < n; i++)
            dst[i] = sqrtf(x[i]);
        break;
    case CPU_GELU_ERF: gelu_erf_row(dst, x, n); break;
    case CPU_ADD_SCALAR:
        for (int64_t i = 0; i < n; i++)
            dst[i] = x[i] + value;
        break;
    case CPU_MUL_SCALAR:
        for (int64_t i = 0; i < n; i++)
            dst[i] = x[i] * value;
        break;
    }
}

INLINE vec binary_vec(vec a, vec b, cpu_binary_op op)
{
    return op == CPU_ADD ? a + b : op == CPU_SUB ? a - b : op == CPU_MUL ? a * b : a / b;
}

/* x_step and y_step are constants in every use: a load or a repeated element. */
INLINE void binary_rows(float *dst, ptrdiff_t dst_step, cpu_rows x, cpu_rows y, int64_t rows, int64_t n,
                        cpu_binary_op op, strata_act act, int x_step, int y_step)
{
    for (int64_t row = 0; row < rows; row++) {
        const float *a = x.data + row * x.row_step, *b = y.data + row * y.row_step;
        float *d = dst + row * dst_step;
        vec va = splat(*a), vb = splat(*b);
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES) {
            if (x_step != 0)
                va = load(a + i);
            if (y_step != 0)
                vb = load(b + i);
            store(d + i, act_vec(binary_vec(va, vb, op), act));
        }
        int rest = (int)(n - i);
        if (rest != 0) {
            if (x_step != 0)
                va = load_some(a + i, rest);
            if (y_step != 0)
                vb = load_some(b + i, rest);
            store_some(d + i, act_vec(binary_vec(va, vb, op), act), rest);
        }
    }
}

INLINE void binary_op(float *dst, ptrdiff_t dst_step, cpu_rows x, cpu_rows y, int64_t rows, int64_t n,
                      cpu_binary_op op, strata_act act)
{
    if (x.step != 0 && y.step != 0)
        binary_rows(dst, dst_step, x, y, rows, n, op, act, 1, 1);
    else if (x.step != 0)
        binary_rows(dst, dst_step, x, y, rows, n, op, act, 1, 0);
    else if (y.step != 0)
        binary_rows(dst, dst_step, x, y, rows, n, op, act, 0, 1);
    else
        binary_rows(dst, dst_step, x, y, rows, n, op, act, 0, 0);
}

/* Fused activations of sums and products are rare but for ReLU after a residual addition: that and "none"
 * have loops of their own, the others run over the row again while it is in the cache. */
void SIMD(binary)(float *dst, ptrdiff_t dst_step, cpu_rows x, cpu_rows y, int64_t rows, int64_t n,
                  cpu_binary_op op, strata_act act)
{
    if (op == CPU_ADD && act == STRATA_ACT_RELU) {
        binary_op(dst, dst_step, x, y, rows, n, CPU_ADD, STRATA_ACT_RELU);
        return;
    }
    switch (op) {
    case CPU_ADD: binary_op(dst, dst_step, x, y, rows, n, CPU_ADD, STRATA_ACT_NONE); break;
    case CPU_SUB: binary_op(dst, dst_step, x, y, rows, n, CPU_SUB, STRATA_ACT_NONE); break;
    case CPU_MUL: binary_op(dst, dst_step, x, y, rows, n, CPU_MUL, STRATA_ACT_NONE); break;
    case CPU_DIV: binary_op(dst, dst_step, x, y, rows, n, CPU_DIV, STRATA_ACT_NONE); break;
    }
    if (act != STRATA_ACT_NONE)
        for (int64_t row = 0; row < rows; row++)
            SIMD(activate)(dst + row * dst_step, dst + row * dst_step, n, act);
}

void SIMD(affine)(float *dst, const float *x, int64_t rows, int64_t n, const float *scale, const float *shift)
{
    for (int64_t row = 0; row < rows; row++, dst += n, x += n) {
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES)
            store(dst + i, load(x + i) * load(scale + i) + load(shift + i));
        for (; i < n; i++)
            dst[i] = x[i] * scale[i] + shift[i];
    }
}

void SIMD(blend4)(float *dst, const float *const rows[4], const float weight[4], int64_t n)
{
    const float *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    vec wa = splat(weight[0]), wb = splat(weight[1]), wc = splat(weight[2]), wd = splat(weight[3]);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(dst + i, (load(a + i) * wa + load(b + i) * wb) + (load(c + i) * wc + load(d + i) * wd));
    for (; i < n; i++)
        dst[i] = (a[i] * weight[0] + b[i] * weight[1]) + (c[i] * weight[2] + d[i] * weight[3]);
}

typedef float four __attribute__((vector_size(16)));

INLINE four load_four(const float *p)
{
    four v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Three rows, the planes of an image, to pixels of three: four pixels are three registers. */
INLINE void interleave3(float *dst, const float *x, ptrdiff_t x_step, int64_t columns)
{
    int64_t c = 0;
    for (; c + 4 <= columns; c += 4, x += 4, dst += 12) {
        four r = load_four(x), g = load_four(x + x_step), b = load_four(x + 2 * x_step);
        four rg = __builtin_shufflevector(r, g, 0, 4, 1, 5), rg1 = __builtin_shufflevector(r, g, 2, 6, 3, 7);
        four out[3] = { __builtin_shufflevector(rg, __builtin_shufflevector(b, r, 0, 0, 5, 5), 0, 1, 4, 6),
                        __builtin_shufflevector(__builtin_shufflevector(rg, b, 3, 5, 5, 5), rg1, 0, 1, 4, 5),
                        __builtin_shufflevector(__builtin_shufflevector(b, rg1, 2, 6, 7, 3), b, 0, 1, 2, 7) };
        memcpy(dst, out, sizeof out);
    }
    for (; c < columns; c++, x++, dst += 3)
        for (int k = 0; k < 3; k++)
            dst[k] = x[k * x_step];
}

/* A square of BLOCK rows and columns, turned in registers: column c of x is to[c]. */
#if defined(__AVX2__)
enum { BLOCK = 8 };
typedef __m256 side;

/* Rows k and k + 4 share a register, four columns of each: a step then never crosses its middle. */
INLINE void turn_block(side to[BLOCK], const float *x, ptrdiff_t x_step)
{
    for (int c = 0; c < BLOCK; c += 4, x += 4, to += 4) {
        side row[4];
        for (int k = 0; k < 4; k++)
            row[k] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x + k * x_step)),
                                          _mm_loadu_ps(x + (k + 4) * x_step), 1);
        side low = _mm256_unpacklo_ps(row[0], row[1]), low1 = _mm256_unpacklo_ps(row[2], row[3]);
        side high = _mm256_unpackhi_ps(row[0], row[1]), high1 = _mm256_unpackhi_ps(row[2], row[3]);
        to[0] = _mm256_shuffle_ps(low, low1, 0x44);
        to[1] = _mm256_shuffle_ps(low, low1, 0xee);
        to[2] = _mm256_shuffle_ps(high, high1, 0x44);
        to[3] = _mm256_shuffle_ps(high, high1, 0xee);
    }
}

INLINE void store_side(float *p, side v, bool past)
{
    if (past)
        _mm256_stream_ps(p, v);
    else
        _mm256_storeu_ps(p, v);
}

INLINE void end_of_stores_past(void)
{
    _mm_sfence();
}
#else
enum { BLOCK = 4 };
typedef four side;

INLINE void turn_block(side to[BLOCK], const float *x, ptrdiff_t x_step)
{
    four a = load_four(x), b = load_four(x + x_step), d = load_four(x + 2 * x_step), e = load_four(x + 3 * x_step);
    four ad_lo = __builtin_shufflevector(a, d, 0, 4, 1, 5), ad_hi = __builtin_shufflevector(a, d, 2, 6, 3, 7);
    four be_lo = __builtin_shufflevector(b, e, 0, 4, 1, 5), be_hi = __builtin_shufflevector(b, e, 2, 6, 3, 7);
    to[0] = __builtin_shufflevector(ad_lo, be_lo, 0, 4, 1, 5);
    to[1] = __builtin_shufflevector(ad_lo, be_lo, 2, 6, 3, 7);
    to[2] = __builtin_shufflevector(ad_hi, be_hi, 0, 4, 1, 5);
    to[3] = __builtin_shufflevector(ad_hi, be_hi, 2, 6, 3, 7);
}

INLINE void store_side(float *p, side v, bool past)
{
    (void)past;
    memcpy(p, &v, sizeof v);
}

INLINE void end_of_stores_past(void)
{
}
#endif

enum { LINE = 16 }; /* of a cache, in floats */

/* `rows` of x, LINE or BLOCK, `columns` being whole blocks. What goes to a cache line is stored at once: before the lines
 * of other columns, which may have the same place in the cache, push it out, and as a whole when it goes past. */
INLINE void turn_rows(float *dst, ptrdiff_t dst_step, const float *x, ptrdiff_t x_step, int rows, int64_t columns, bool past)
{
    for (int64_t c = 0; c < columns; c += BLOCK) {
        side to[LINE / BLOCK][BLOCK];
        for (int r = 0; r < rows; r += BLOCK)
            turn_block(to[r / BLOCK], x + r * x_step + c, x_step);
        for (int k = 0; k < BLOCK; k++)
            for (int r = 0; r < rows; r += BLOCK)
                store_side(dst + (c + k) * dst_step + r, to[r / BLOCK][k], past);
    }
}

void SIMD(transpose)(float *dst, ptrdiff_t dst_step, const float *x, ptrdiff_t x_step, int64_t rows,
                     int64_t columns, bool past_caches)
{
    if (rows == 3 && dst_step == 3) {
        interleave3(dst, x, x_step, columns);
        return;
    }
    int64_t whole = columns / BLOCK * BLOCK, r = 0;
    bool past = past_caches && (uintptr_t)dst % (LINE * sizeof *dst) == 0 && dst_step % LINE == 0;
    for (; past && r + LINE <= rows; r += LINE)
        turn_rows(dst + r, dst_step, x + r * x_step, x_step, LINE, whole, true);
    if (past)
        end_of_stores_past();
    for (; r + LINE <= rows; r += LINE)
        turn_rows(dst + r, dst_step, x + r * x_step, x_step, LINE, whole, false);
    for (; r + BLOCK <= rows; r += BLOCK)
        turn_rows(dst + r, dst_step, x + r * x_step, x_step, BLOCK, whole, false);
    for (int64_t c = 0; c < columns; c++)
        for (int64_t i = c < whole ? r : 0; i < rows; i++)
            dst[c * dst_step + i] = x[i * x_step + c];
}
