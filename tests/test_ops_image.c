/* Ops that slide, pool and resample maps: values against other formulations of the same mathematics, and
 * against cases worked by hand; windows against what really depends on what; costs. */
#include "ops_harness.h"

enum { ROUNDS = 60 };

/* ---- conv2d and dense ---- */

/* How many places a window of `reach` has on `size` elements: counted, not computed. */
static int64_t places(int64_t size, int64_t reach, int64_t stride)
{
    int64_t count = 0;
    for (int64_t at = 0; at + reach <= size; at += stride)
        count++;
    return count;
}

/* Convolution as matrix products: x is copied into a padded image, its windows become the columns of one
 * matrix per group, and weight[group] times columns is the result. */
static double *conv_by_matrices(const op_run *r, const strata_conv2d_attrs *a)
{
    const int64_t *x = r->in[0].desc.dim, *w = r->in[1].desc.dim, *y = r->n.desc.dim;
    int64_t height = x[2] + a->pad[0] + a->pad[2], width = x[3] + a->pad[1] + a->pad[3];
    int64_t rows = w[1] * w[2] * w[3], area = y[2] * y[3], filters = w[0] / a->groups;
    double *padded  = calloc((size_t)(x[0] * x[1] * height * width), sizeof *padded);
    double *columns = malloc((size_t)(rows * area) * sizeof *columns);
    double *result  = calloc((size_t)(y[0] * y[1] * area), sizeof *result);
    assert_true(padded && columns && result);

    for (int64_t m = 0; m < x[0] * x[1]; m++)
        for (int64_t i = 0; i < x[2]; i++)
            for (int64_t j = 0; j < x[3]; j++)
                padded[(m * height + i + a->pad[0]) * width + j + a->pad[1]] =
                    r->x[0][(m * x[2] + i) * x[3] + j];

    for (int64_t image = 0; image < x[0]; image++)
        for (int64_t g = 0; g < a->groups; g++) {
            const double *group = padded + (image * x[1] + g * w[1]) * height * width;
            for (int64_t row = 0; row < rows; row++)
                for (int64_t p = 0; p < area; p++) {
                    int64_t c = row / (w[2] * w[3]), u = row / w[3] % w[2], v = row % w[3];
                    int64_t i = p / y[3] * a->stride[0] + u * a->dilation[0];
                    int64_t j = p % y[3] * a->stride[1] + v * a->dilation[1];
                    columns[row * area + p] = group[(c * height + i) * width + j];
                }
            for (int64_t o = g * filters; o < (g + 1) * filters; o++)
                for (int64_t row = 0; row < rows; row++)
                    for (int64_t p = 0; p < area; p++)
                        result[(image * y[1] + o) * area + p] +=
                            (double)r->x[1][o * rows + row] * columns[row * area + p];
        }
    free(padded);
    free(columns);
    return result;
}

static void test_conv2d(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < ROUNDS; round++) {
        int groups = pick(1, 3), per_group = pick(1, 3), filters = pick(1, 3);
        int kh = pick(1, 4), kw = pick(1, 4);
        strata_conv2d_attrs a = { .stride = { pick(1, 3), pick(1, 3) },
                                  .pad = { pick(0, 3), pick(0, 3), pick(0, 3), pick(0, 3) },
                                  .dilation = { pick(1, 2), pick(1, 3) }, .groups = groups };
        a.act = round % STRATA_ACT_COUNT;
        int64_t tall = (kh - 1) * a.dilation[0] + 1, wide = (kw - 1) * a.dilation[1] + 1;
        int64_t x[4] = { pick(1, 2), groups * per_group, tall + pick(0, 5), wide + pick(0, 5) };
        int64_t h = places(x[2] + a.pad[0] + a.pad[2], tall, a.stride[0]);
        int64_t w = places(x[3] + a.pad[1] + a.pad[3], wide, a.stride[1]);

        op_run r;
        op_begin(&r, &strata_op_conv2d, &a);
        op_arg(&r, 4, x);
        ARG(&r, groups * filters, per_group, kh, kw);
        bool bias = round % 2, residual = round % 4 > 1;
        if (bias)
            ARG(&r, groups * filters);
        else if (residual)
            op_absent(&r);
        if (residual)
            ARG(&r, x[0], groups * filters, h, w);
        op_eval(&r);
        const int64_t *y = r.n.desc.dim;
        assert_true(y[0] == x[0] && y[1] == groups * filters && y[2] == h && y[3] == w);
        assert_int_equal(strata_op_conv2d.macs(&r.n), x[0] * groups * filters * h * w * per_group * kh * kw);

        double *want = conv_by_matrices(&r, &a);
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++) {
            want[i] += bias ? r.x[2][i / (h * w) % y[1]] : 0;
            want[i] = strata_activate(a.act, want[i] + (residual ? r.x[3][i] : 0));
        }
        assert_close(r.y, want, strata_count(&r.n.desc), 1e-6);
        free(want);
        op_end(&r);
    }
}

/* A 1x1 convolution and a dense layer of the same weights are the same thing; rank 2 is one position. */
static void test_dense(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < 10; round++) {
        int    batch = pick(1, 3), in = pick(1, 7), out = pick(1, 7), h = pick(1, 4), w = pick(1, 4);
        op_run d, c;
        op_begin(&d, &strata_op_dense, &(strata_dense_attrs){ STRATA_ACT_HSWISH });
        if (round % 2)
            ARG(&d, batch, in);
        else
            ARG(&d, batch, in, h, w);
        ARG(&d, out, in);
        if (round % 3)
            ARG(&d, out);
        op_eval(&d);

        op_begin(&c, &strata_op_conv2d, NULL);
        ((strata_conv2d_attrs *)c.attrs.bytes)->act = STRATA_ACT_HSWISH;
        float *x = round % 2 ? ARG(&c, batch, in, 1, 1) : ARG(&c, batch, in, h, w);
        memcpy(x, d.x[0], strata_bytes(&d.in[0].desc));
        memcpy(ARG(&c, out, in, 1, 1), d.x[1], strata_bytes(&d.in[1].desc));
        if (round % 3)
            memcpy(ARG(&c, out), d.x[2], strata_bytes(&d.in[2].desc));
        op_eval(&c);
        assert_int_equal(strata_count(&d.n.desc), strata_count(&c.n.desc));
        assert_int_equal(strata_op_dense.macs(&d.n), strata_op_conv2d.macs(&c.n));
        assert_memory_equal(d.y, c.y, strata_bytes(&d.n.desc));
        op_end(&d);
        op_end(&c);
    }

    op_run r; /* by hand */
    op_begin(&r, &strata_op_dense, NULL);
    memcpy(ARG(&r, 1, 3), (float[]){ 1, 2, 3 }, 3 * sizeof(float));
    memcpy(ARG(&r, 2, 3), (float[]){ 1, 0, -1, 10, 20, 30 }, 6 * sizeof(float));
    memcpy(ARG(&r, 2), (float[]){ 5, -40 }, 2 * sizeof(float));
    assert_close(op_eval(&r), (double[]){ 3, 100 }, 2, 0);
    op_end(&r);
}

/* ---- Pools ---- */

/* Every element asks which windows it lies in. Padding is walked too, with its own rule. */
static void pool_by_elements(const op_run *r, const strata_pool_attrs *a, bool max, double *result)
{
    const int64_t *x = r->in[0].desc.dim, *y = r->n.desc.dim;
    for (int64_t m = 0; m < y[0] * y[1]; m++)
        for (int64_t i = 0; i < y[2]; i++)
            for (int64_t j = 0; j < y[3]; j++) {
                double best = -HUGE_VAL, sum = 0;
                int    count = 0;
                for (int64_t p = -a->pad[0]; p < x[2] + a->pad[2]; p++)
                    for (int64_t q = -a->pad[1]; q < x[3] + a->pad[3]; q++) {
                        int64_t u = p + a->pad[0] - i * a->stride[0], v = q + a->pad[1] - j * a->stride[1];
                        if (u < 0 || u >= a->kernel[0] || v < 0 || v >= a->kernel[1])
                            continue;
                        bool real = p >= 0 && p < x[2] && q >= 0 && q < x[3];
                        double value = real ? r->x[0][(m * x[2] + p) * x[3] + q] : 0;
                        best = real && value > best ? value : best;
                        sum += value;
                        count += real || a->count_pad;
                    }
                *result++ = max ? best : sum / count;
            }
}

static void test_pools(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < ROUNDS; round++) {
        strata_pool_attrs a = { .kernel = { pick(1, 4), pick(1, 4) }, .stride = { pick(1, 3), pick(1, 3) } };
        for (int i = 0; i < 4; i++)
            a.pad[i] = pick(0, a.kernel[i % 2] - 1);
        bool max    = round % 2;
        a.count_pad = max ? 0 : round / 2 % 2;
        int64_t x[4] = { pick(1, 2), pick(1, 3), a.kernel[0] + pick(0, 6), a.kernel[1] + pick(0, 6) };
        op_run  r;
        op_begin(&r, max ? &strata_op_max_pool : &strata_op_avg_pool, &a);
        float *data = op_arg(&r, 4, x);
        for (int64_t i = 0; max && i < strata_count(&r.in[0].desc); i++)
            data[i] -= 2; /* all negative: a padding of zeros would win */
        op_eval(&r);
        assert_int_equal(r.n.desc.dim[2], places(x[2] + a.pad[0] + a.pad[2], a.kernel[0], a.stride[0]));
        assert_int_equal(r.n.desc.dim[3], places(x[3] + a.pad[1] + a.pad[3], a.kernel[1], a.stride[1]));
        int64_t count = strata_count(&r.n.desc);
        double *want  = malloc((size_t)count * sizeof *want);
        assert_non_null(want);
        pool_by_elements(&r, &a, max, want);
        assert_close(r.y, want, count, 1e-6);
        free(want);
        op_end(&r);
    }
}

static void test_pools_by_hand(void **state)
{
    (void)state;
    static const float x[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    strata_pool_attrs  a = { .kernel = { 2, 2 }, .stride = { 2, 2 }, .pad = { 0, 0, 1, 1 } };
    op_run             r;

    op_begin(&r, &strata_op_max_pool, &a);
    memcpy(ARG(&r, 1, 1, 3, 3), x, sizeof x);
    assert_close(op_eval(&r), (double[]){ 5, 6, 8, 9 }, 4, 0);
    op_end(&r);

    op_begin(&r, &strata_op_avg_pool, &a);
    memcpy(ARG(&r, 1, 1, 3, 3), x, sizeof x);
    assert_close(op_eval(&r), (double[]){ 3, 4.5, 7.5, 9 }, 4, 0);
    op_end(&r);

    a.count_pad = 1;
    op_begin(&r, &strata_op_avg_pool, &a);
    memcpy(ARG(&r, 1, 1, 3, 3), x, sizeof x);
    assert_close(op_eval(&r), (double[]){ 3, 2.25, 3.75, 2.25 }, 4, 0);
    op_end(&r);

    op_begin(&r, &strata_op_global_avg_pool, NULL);
    memcpy(ARG(&r, 1, 1, 3, 3), x, sizeof x);
    assert_close(op_eval(&r), (double[]){ 5 }, 1, 0);
    assert_shape(&r, "[1,1,1,1]");
    op_end(&r);

    op_begin(&r, &strata_op_max_pool, &a); /* not a number stays visible, wherever it is in its window */
    float *data = ARG(&r, 1, 1, 3, 3);
    data[3] = data[2] = NAN;
    op_eval(&r);
    assert_true(isnan(r.y[0]) && isnan(r.y[1]) && !isnan(r.y[2]) && !isnan(r.y[3]));
    op_end(&r);
}

static void test_global_avg_pool(void **state)
{
    (void)state;
    noise_seed();
    op_run g, a;
    op_begin(&g, &strata_op_global_avg_pool, NULL);
    ARG(&g, 3, 5, 4, 7);
    op_eval(&g);
    op_begin(&a, &strata_op_avg_pool, &(strata_pool_attrs){ .kernel = { 4, 7 }, .stride = { 1, 1 } });
    memcpy(ARG(&a, 3, 5, 4, 7), g.x[0], strata_bytes(&g.in[0].desc));
    op_eval(&a);
    assert_shape(&g, "[3,5,1,1]");
    assert_memory_equal(g.y, a.y, strata_bytes(&g.n.desc));
    strata_window w = { 0 };
    strata_op_global_avg_pool.window(&g.n, &w);
    assert_true(w.global);
    op_end(&g);
    op_end(&a);
}

/* ---- resize ---- */

static const double *resized(op_run *r, int count, const float *row, int size, strata_resize_mode mode,
                             bool align)
{
    static double wide[16];
    op_begin(r, &strata_op_resize, &(strata_resize_attrs){ { 1, size }, (int)mode, align });
    memcpy(ARG(r, 1, 1, 1, count), row, (size_t)count * sizeof *row);
    op_eval(r);
    for (int i = 0; i < size; i++)
        wide[i] = r->y[i];
    op_end(r);
    return wide;
}

static void assert_row(const double *got, const double *want, int count)
{
    for (int i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) < 1e-6))
            fail_msg("element %d is %.9g, not %.9g", i, got[i], want[i]);
}

static void test_resize_by_hand(void **state)
{
    (void)state;
    static const float x3[3] = { 10, 20, 40 }, x4[4] = { 10, 20, 40, 80 }, x5[5] = { 0, 1, 2, 3, 4 };
    op_run r;
    assert_row(resized(&r, 3, x3, 6, STRATA_RESIZE_NEAREST, false), (double[]){ 10, 10, 20, 20, 40, 40 }, 6);
    /* floor(j * 3 / 5) = 0 0 1 1 2, floor(j * 5 / 3) = 0 1 3, floor(j * 3 / 7) = 0 0 0 1 1 2 2 */
    assert_row(resized(&r, 3, x3, 5, STRATA_RESIZE_NEAREST, false), (double[]){ 10, 10, 20, 20, 40 }, 5);
    assert_row(resized(&r, 5, x5, 3, STRATA_RESIZE_NEAREST, false), (double[]){ 0, 1, 3 }, 3);
    assert_row(resized(&r, 3, x3, 7, STRATA_RESIZE_NEAREST, false),
               (double[]){ 10, 10, 10, 20, 20, 40, 40 }, 7);
    /* half-pixel, 3 to 6: places -1/4 (clamped), 1/4, 3/4, 5/4, 7/4, 9/4 (clamped to the last) */
    assert_row(resized(&r, 3, x3, 6, STRATA_RESIZE_BILINEAR, false),
               (double[]){ 10, 12.5, 17.5, 25, 35, 40 }, 6);
    /* half-pixel, 4 to 2: places 1/2, 5/2 */
    assert_row(resized(&r, 4, x4, 2, STRATA_RESIZE_BILINEAR, false), (double[]){ 15, 60 }, 2);
    /* corners, 3 to 5: places 0, 1/2, 1, 3/2, 2; 4 to 3: 0, 3/2, 3; to 1: 0 */
    assert_row(resized(&r, 3, x3, 5, STRATA_RESIZE_BILINEAR, true), (double[]){ 10, 15, 20, 30, 40 }, 5);
    assert_row(resized(&r, 4, x4, 3, STRATA_RESIZE_BILINEAR, true), (double[]){ 10, 30, 80 }, 3);
    assert_row(resized(&r, 4, x4, 1, STRATA_RESIZE_BILINEAR, true), (double[]){ 10 }, 1);
    assert_row(resized(&r, 4, x4, 1, STRATA_RESIZE_BILINEAR, false), (double[]){ 30 }, 1);
    assert_row(resized(&r, 1, x4, 3, STRATA_RESIZE_BILINEAR, true), (double[]){ 10, 10, 10 }, 3);
}

/* The weight of element k for place i of an axis: the tent function around the clamped place, or for nearest
 * the largest k with k * out <= i * in. */
static double tap(const strata_resize_attrs *a, int64_t in, int64_t out, int64_t i, int64_t k)
{
    if (a->mode == STRATA_RESIZE_NEAREST)
        return k * out <= i * in && (k + 1) * out > i * in;
    double place = a->align_corners ? (out == 1 ? 0 : (double)(i * (in - 1)) / (double)(out - 1))
                                    : (double)((2 * i + 1) * in) / (double)(2 * out) - 0.5;
    place = fmin(fmax(place, 0), (double)(in - 1));
    return fmax(0, 1 - fabs(place - (double)k));
}

static void test_resize(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < ROUNDS; round++) {
        strata_resize_attrs a = { .size = { pick(1, 9), pick(1, 9) }, .mode = round % 3 > 0,
                                  .align_corners = round % 3 == 2 };
        op_run r;
        op_begin(&r, &strata_op_resize, &a);
        ARG(&r, pick(1, 2), pick(1, 2), pick(1, 8), pick(1, 8));
        op_eval(&r);
        const int64_t *x = r.in[0].desc.dim, *y = r.n.desc.dim;
        int64_t at = 0;
        for (int64_t m = 0; m < y[0] * y[1]; m++)
            for (int64_t i = 0; i < y[2]; i++)
                for (int64_t j = 0; j < y[3]; j++, at++) {
                    double want = 0;
                    for (int64_t p = 0; p < x[2]; p++)
                        for (int64_t q = 0; q < x[3]; q++)
                            want += tap(&a, x[2], y[2], i, p) * tap(&a, x[3], y[3], j, q) *
                                    r.x[0][(m * x[2] + p) * x[3] + q];
                    assert_close(r.y + at, &want, 1, 1e-6);
                }
        op_end(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv2d),          cmocka_unit_test(test_dense),          cmocka_unit_test(test_pools),
        cmocka_unit_test(test_pools_by_hand),   cmocka_unit_test(test_global_avg_pool),
        cmocka_unit_test(test_resize_by_hand),  cmocka_unit_test(test_resize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
