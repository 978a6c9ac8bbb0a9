/* simd_vec.h: the vector type of one instruction set, and the few functions that the language lacks.
 *
 * `vec` is as wide as the registers of the instruction set this file is compiled for; + - * / work on it as
 * on float. simd_*.c are compiled with -ffp-contract=fast, so that a * b + c is one fused operation where
 * there is one.
 *
 * exp: x = n ln 2 + r with n an integer and |r| <= ln(2)/2; e^r by the polynomial of degree 5 that is 1 at 0 and has
 * the least relative error (9e-8; 2.3e-7 in float for |x| < 20), summed in pairs (Estrin), for it is the latency
 * of the chain that takes the time; times 2^n by adding n to the exponent bits.
 */
#ifndef STRATA_CPU_SIMD_VEC_H
#define STRATA_CPU_SIMD_VEC_H

#include "simd.h"

#include <math.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

/* The names of this instruction set: SIMD(max_rows) is cpu_max_rows_avx2. SIMD_SET comes from meson. */
#define SIMD_PASTE(name, set) cpu_##name##_##set
#define SIMD_EXPAND(name, set) SIMD_PASTE(name, set)
#define SIMD(name) SIMD_EXPAND(name, SIMD_SET)

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float    vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
/* For sums that must not round: the lanes of a vec as doubles, in two vectors of the same width. */
typedef double half_wide __attribute__((vector_size(4 * LANES)));
typedef struct wide {
    half_wide low, high;
} wide;

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

INLINE vec splat(float x)
{
    return x - (vec){ 0 };
}

/* The first n < LANES floats; the others read as zero and are not touched. */
INLINE vec load_some(const float *p, int n)
{
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX2__)
    static const int32_t window[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    return (vec)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *)(const void *)(window + 8 - n)));
#else
    float some[LANES] = { 0 };
    for (int i = 0; i < n; i++)
        some[i] = p[i];
    return load(some);
#endif
}

INLINE void store_some(float *p, vec v, int n)
{
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(__AVX2__)
    static const int32_t window[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    _mm256_maskstore_ps(p, _mm256_loadu_si256((const __m256i *)(const void *)(window + 8 - n)), (__m256)v);
#else
    float some[LANES];
    store(some, v);
    for (int i = 0; i < n; i++)
        p[i] = some[i];
#endif
}

/* The same for n <= LANES. */
INLINE vec load_upto(const float *p, int n)
{
    return n == LANES ? load(p) : load_some(p, n);
}

INLINE void store_upto(float *p, vec v, int n)
{
    if (n == LANES)
        store(p, v);
    else
        store_some(p, v, n);
}

/* The larger of the two; b when either is not a number. */
INLINE vec max2(vec a, vec b)
{
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#else
    bits m = (bits)(a > b);
    return (vec)((m & (bits)a) | (~m & (bits)b));
#endif
}

INLINE vec min2(vec a, vec b)
{
#if defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vec)_mm_min_ps((__m128)a, (__m128)b);
#else
    bits m = (bits)(a < b);
    return (vec)((m & (bits)a) | (~m & (bits)b));
#endif
}

/* The sum of all lanes, by halving. */
INLINE float sum_lanes(vec v)
{
    float lane[LANES];
    store(lane, v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

INLINE wide widen(vec v)
{
    typedef float half_vec __attribute__((vector_size(2 * LANES)));
    half_vec half[2];
    memcpy(half, &v, sizeof half);
    return (wide){ __builtin_convertvector(half[0], half_wide), __builtin_convertvector(half[1], half_wide) };
}

INLINE void add_wide(wide *sum, wide a)
{
    sum->low += a.low;
    sum->high += a.high;
}

INLINE void store_narrow_upto(float *p, wide w, int n)
{
    float lane[LANES];
    for (int i = 0; i < LANES / 2; i++) {
        lane[i] = (float)w.low[i];
        lane[i + LANES / 2] = (float)w.high[i];
    }
    store_upto(p, load(lane), n);
}

/* e^(sign x), sign being 1 or -1 in every use, with sign x cut to [-87.3, 88.3] so that the result is a normal number.
 * Of e^-x, the remainder -r is what is computed. */
INLINE vec exp_signed(vec x, float sign)
{
    const float rounder = 12582912.0f; /* 1.5 * 2^23: adding it leaves an integer in the low bits */
    x = min2(splat(sign > 0 ? 88.3f : 87.3f), max2(splat(sign > 0 ? -87.3f : -88.3f), x));
    vec shifted = x * (sign * 1.44269504088896341f) + rounder;
    vec n = shifted - rounder;
#if defined(__FMA__)
    vec r = x - n * (sign * 0.69314718f); /* one rounding: float's ln 2 is 2e-9 off */
#else
    vec r = x - n * (sign * 0.693359375f); /* ln 2 in two parts, the first with few bits */
    r = r + n * (sign * 2.12194440e-4f);
#endif
    vec square = r * r;
    vec low = r * (sign * 0.999999702f) + 1.0f, middle = r * (sign * 0.166676387f) + 0.499991477f;
    vec p = ((r * (sign * 8.29027221e-3f) + 4.18981612e-2f) * square + middle) * square + low;
    return (vec)((bits)p + ((bits)shifted << 23)); /* all but n is shifted out */
}

INLINE vec exp_vec(vec x)
{
    return exp_signed(x, 1);
}

/* a / (1 + e^-x), a being 1 or x or such: with one division, for an estimate and Newton's steps have a longer chain, and
 * are slower. */
INLINE vec times_sigmoid(vec a, vec x)
{
    return a / (exp_signed(x, -1) + 1.0f);
}

/* `act` is a constant in every use: see FOR_ACT. Not-a-number stays so. */
INLINE vec act_vec(vec x, strata_act act)
{
    const vec zero = { 0 };
    switch (act) {
    case STRATA_ACT_RELU: return max2(zero, x);
    case STRATA_ACT_RELU6: return min2(splat(6.0f), max2(zero, x));
    case STRATA_ACT_HSIGMOID: return min2(splat(6.0f), max2(zero, x + 3.0f)) * (1.0f / 6.0f);
    case STRATA_ACT_HSWISH: return x * min2(splat(6.0f), max2(zero, x + 3.0f)) * (1.0f / 6.0f);
    case STRATA_ACT_SIGMOID: return times_sigmoid(splat(1), x);
    case STRATA_ACT_SILU: return times_sigmoid(x, x);
    /* x/2 (1 + tanh u) = x sigmoid(2u), which keeps its precision where tanh nears -1. */
    case STRATA_ACT_GELU: return times_sigmoid(x, x * (1.5957691216057308f + 0.07135481627615474f * (x * x)));
    case STRATA_ACT_NONE:
    case STRATA_ACT_COUNT: break;
    }
    return x;
}

/* none, relu and relu6 are all a cut to [low, high], cheap enough to do always. Others are not. */
INLINE bool act_is_cut(strata_act act)
{
    return act == STRATA_ACT_NONE || act == STRATA_ACT_RELU || act == STRATA_ACT_RELU6;
}

INLINE vec act_low(strata_act act)
{
    return splat(act == STRATA_ACT_RELU || act == STRATA_ACT_RELU6 ? 0.0f : -INFINITY);
}

INLINE vec act_high(strata_act act)
{
    return splat(act == STRATA_ACT_RELU6 ? 6.0f : INFINITY);
}

/* Calls body(constant) for the activation `act`: one specialised loop for each. */
#define FOR_ACT(act, body)                                                                         \
    switch (act) {                                                                                 \
    case STRATA_ACT_RELU: body(STRATA_ACT_RELU); break;                                            \
    case STRATA_ACT_RELU6: body(STRATA_ACT_RELU6); break;                                          \
    case STRATA_ACT_HSIGMOID: body(STRATA_ACT_HSIGMOID); break;                                    \
    case STRATA_ACT_HSWISH: body(STRATA_ACT_HSWISH); break;                                        \
    case STRATA_ACT_SIGMOID: body(STRATA_ACT_SIGMOID); break;                                      \
    case STRATA_ACT_SILU: body(STRATA_ACT_SILU); break;                                            \
    case STRATA_ACT_GELU: body(STRATA_ACT_GELU); break;                                            \
    case STRATA_ACT_NONE:                                                                          \
    case STRATA_ACT_COUNT: body(STRATA_ACT_NONE); break;                                           \
    }

/* What the other simd_*.c define for this instruction set. */
void SIMD(finish)(float *, ptrdiff_t, int64_t, int64_t, const float *, const float *, ptrdiff_t, strata_act);
void SIMD(activate)(float *, const float *, int64_t, strata_act);
void SIMD(unary)(float *, const float *, int64_t, cpu_unary_op, float);
void SIMD(binary)(float *, ptrdiff_t, cpu_rows, cpu_rows, int64_t, int64_t, cpu_binary_op, strata_act);
void SIMD(affine)(float *, const float *, int64_t, int64_t, const float *, const float *);
void SIMD(gemv)(float *, const float *, const float *, const float *, int64_t, int64_t, strata_act);
void SIMD(depthwise_rows)(const cpu_group_rows *);
void SIMD(group_rows)(const cpu_group_rows *);
void SIMD(tiles)(const cpu_tiles *);
void SIMD(winograd_tile)(const cpu_winograd_tile *);
void SIMD(winograd_result)(const cpu_winograd_result *);
void SIMD(max_rows)(float *, const float *const *, int, int64_t);
void SIMD(sum_rows)(float *, const float *const *, int, int64_t, float);
void SIMD(column_sums)(float *, const float *, int64_t, ptrdiff_t, int64_t);
void SIMD(column_squares)(float *, const float *, int64_t, ptrdiff_t, int64_t);
void SIMD(normalize)(float *, const float *, int64_t, float, const float *, const float *);
void SIMD(softmax_columns)(float *, const float *, int64_t, ptrdiff_t, int64_t);
void SIMD(softmax_row)(float *, const float *, int64_t);
void SIMD(blend4)(float *, const float *const[4], const float[4], int64_t);
void SIMD(transpose)(float *, ptrdiff_t, const float *, ptrdiff_t, int64_t, int64_t, bool);

#endif
