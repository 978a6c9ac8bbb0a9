/* Conversions between float32 and the other types of elements. */
#include "fixture.h"

#include <strata/extend.h>

#include <math.h>

/* The value of a half from its definition. */
static double half_value(unsigned half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double value = exponent == 31   ? (fraction ? NAN : INFINITY)
                   : exponent == 0 ? ldexp(fraction, -24)
                                   : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -value : value;
}

static void test_every_half(void **state)
{
    (void)state;
    static uint16_t half[65536], back[65536];
    static float value[65536];
    for (unsigned i = 0; i < 65536; i++)
        half[i] = (uint16_t)i;
    strata_convert_to_f32(STRATA_F16, half, value, 65536);
    strata_convert_from_f32(value, STRATA_F16, back, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        double expected = half_value(i);
        if (isnan(expected)) {
            assert_true(isnan(value[i]));
            assert_true((back[i] & 0x7c00) == 0x7c00 && (back[i] & 0x3ff) != 0);
        } else {
            assert_true((double)value[i] == expected && !signbit(value[i]) == !(i & 0x8000));
            assert_int_equal(back[i], i);
        }
    }
}

/* Between neighbouring halfs: the mid-point goes to the even one, its neighbours to the nearer one. */
static void test_rounding_to_half(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 0x7c00; i++) {
        double low = half_value(i), high = i == 0x7bff ? 65536 : half_value(i + 1);
        float middle = (float)((low + high) / 2);
        float in[6] = { nextafterf(middle, 0), middle, nextafterf(middle, INFINITY) };
        uint16_t out[6];
        for (int k = 0; k < 3; k++)
            in[k + 3] = -in[k];
        strata_convert_from_f32(in, STRATA_F16, out, 6);
        assert_int_equal(out[0], i);
        assert_int_equal(out[1], i + (i & 1));
        assert_int_equal(out[2], i + 1);
        for (int k = 0; k < 3; k++)
            assert_int_equal(out[k + 3], out[k] | 0x8000);
    }
    const float special[] = { INFINITY, -INFINITY, NAN, 1e30f, 0x1p-26f, 0x1p-149f, -0.0f };
    uint16_t out[7];
    strata_convert_from_f32(special, STRATA_F16, out, 7);
    assert_int_equal(out[0], 0x7c00);
    assert_int_equal(out[1], 0xfc00);
    assert_true((out[2] & 0x7fff) > 0x7c00);
    assert_int_equal(out[3], 0x7c00);
    assert_int_equal(out[4], 0);
    assert_int_equal(out[5], 0);
    assert_int_equal(out[6], 0x8000);
}

static void test_other_types(void **state)
{
    (void)state;
    unsigned char bytes[1 + 8 * 4];
    float out[4];
#define CHECK(dtype, type, a, b, c)                                                                \
    do {                                                                                           \
        const type in[] = { (type)(a), (type)(b), (type)(c) };                                     \
        memcpy(bytes + 1, in, sizeof in); /* unaligned on purpose */                               \
        strata_convert_to_f32(dtype, bytes + 1, out, 3);                                           \
        assert_true(out[0] == (float)in[0] && out[1] == (float)in[1] && out[2] == (float)in[2]);   \
    } while (0)
    CHECK(STRATA_F32, float, 1.5, -2, 1e-40);
    CHECK(STRATA_F64, double, 0.1, -1e300, 3);
    CHECK(STRATA_I8, int8_t, -128, 127, 0);
    CHECK(STRATA_U8, uint8_t, 255, 1, 0);
    CHECK(STRATA_I16, int16_t, -32768, 32767, 5);
    CHECK(STRATA_U16, uint16_t, 65535, 1, 0);
    CHECK(STRATA_I32, int32_t, INT32_MIN, 16777217, 3);
    CHECK(STRATA_U32, uint32_t, UINT32_MAX, 16777217, 3);
    CHECK(STRATA_I64, int64_t, INT64_MIN, 123456789012345, 3);
    CHECK(STRATA_U64, uint64_t, UINT64_MAX, 123456789012345, 3);
#undef CHECK
    const uint16_t bf16[] = { 0x3f80, 0xc000, 0x7f80, 0x0001 };
    strata_convert_to_f32(STRATA_BF16, bf16, out, 4);
    assert_true(out[0] == 1 && out[1] == -2 && isinf(out[2]) && out[3] == 0x1p-133f);
    strata_convert_to_f32(STRATA_BOOL, "\0\1\2", out, 3);
    assert_true(out[0] == 0 && out[1] == 1 && out[2] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_rounding_to_half),
        cmocka_unit_test(test_other_types),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
