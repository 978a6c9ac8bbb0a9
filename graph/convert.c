/* convert.c: element types to and from float32, as IEEE 754 defines it (round to nearest, ties to even).
 *
 * Source bytes need no alignment: files put tensors anywhere. The half-precision loops are free of branches
 * so that compilers vectorise them.
 *
 *   binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits      bfloat16: the upper half of a binary32
 *   binary32: 1 sign, 8 exponent (bias 127), 23 fraction bits
 *
 * Half to float is exact. A normal half becomes a float by moving its bits up 13 places and adding 127 - 15
 * to the exponent; a denormal one is fraction * 2^-24. Float to half: above 2^-14 the half-way case is
 * decided by adding 0xfff plus the lowest bit that is kept; below, adding 0.5f lets the hardware round to
 * multiples of 2^-24, which is the spacing of denormal halfs and of floats just above 0.5. */
#include <strata/strata.h>

#include <string.h>

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t rest = half & 0x7fff;
    uint32_t normal = (rest << 13) + ((127u - 15u) << 23);
    uint32_t special = (rest << 13) | 0x7f800000; /* infinity, NaN with its payload */
    uint32_t denormal = bits_of((float)(int32_t)rest * 0x1p-24f);
    uint32_t bits = rest >= 0x7c00 ? special : rest >= 0x0400 ? normal : denormal;
    return float_of(sign | bits);
}

static inline uint16_t float_to_half(float x)
{
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    uint32_t normal = (rest - ((127u - 15u) << 23) + 0xfff + (rest >> 13 & 1)) >> 13;
    /* Only used below 2^-14: there rest is a small number, and 0.5 + rest stays below 1. */
    uint32_t small = rest < 0x38800000 ? rest : 0;
    uint32_t denormal = bits_of(float_of(small) + 0.5f) - 0x3f000000;
    uint32_t nan = 0x7e00 | (rest >> 13 & 0x3ff);
    uint32_t half = rest > 0x7f800000   ? nan
                    : rest >= 0x477ff000 ? 0x7c00 /* 65520 and above round to infinity */
                    : rest >= 0x38800000 ? normal
                                         : denormal;
    return (uint16_t)(sign | half);
}

/* Converts n elements of `type` at src, `value` being the element as a float. */
#define CONVERT(type, value)                                                                       \
    for (size_t i = 0; i < n; i++) {                                                               \
        type x;                                                                                    \
        memcpy(&x, (const unsigned char *)src + i * sizeof x, sizeof x);                           \
        dst[i] = (value);                                                                          \
    }                                                                                              \
    return

void strata_convert_to_f32(strata_dtype from, const void *src, float *dst, size_t n)
{
    switch (from) {
    case STRATA_F32: memcpy(dst, src, n * sizeof *dst); return;
    case STRATA_F16: CONVERT(uint16_t, half_to_float(x));
    case STRATA_BF16: CONVERT(uint16_t, float_of((uint32_t)x << 16));
    case STRATA_F64: CONVERT(double, (float)x);
    case STRATA_I8: CONVERT(int8_t, (float)x);
    case STRATA_I16: CONVERT(int16_t, (float)x);
    case STRATA_I32: CONVERT(int32_t, (float)x);
    case STRATA_I64: CONVERT(int64_t, (float)x);
    case STRATA_U8: CONVERT(uint8_t, (float)x);
    case STRATA_U16: CONVERT(uint16_t, (float)x);
    case STRATA_U32: CONVERT(uint32_t, (float)x);
    case STRATA_U64: CONVERT(uint64_t, (float)x);
    case STRATA_BOOL: CONVERT(uint8_t, x != 0 ? 1.0f : 0.0f);
    case STRATA_DTYPE_COUNT: return;
    }
}

void strata_convert_from_f32(const float *src, strata_dtype to, void *dst, size_t n)
{
    if (to == STRATA_F32) {
        memcpy(dst, src, n * sizeof *src);
    } else if (to == STRATA_F16) {
        unsigned char *at = dst;
        for (size_t i = 0; i < n; i++) {
            uint16_t half = float_to_half(src[i]);
            memcpy(at + i * sizeof half, &half, sizeof half);
        }
    }
}
