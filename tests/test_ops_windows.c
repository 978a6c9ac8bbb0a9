/* Windows: what an op says of its receptive field against what moves when an element of x does. */
#include "ops_harness.h"

typedef struct reach {
    int64_t low[2], high[2]; /* first and last element of x that a result element reads; none: low > high */
} reach;

/* Every element of x in turn becomes large. The result's first map is compared with what it was. */
static reach *observe(op_run *r)
{
    const int64_t *x = r->in[0].desc.dim, *y = r->n.desc.dim;
    int64_t count = y[2] * y[3];
    reach  *seen  = malloc((size_t)count * sizeof *seen);
    float  *other = malloc(strata_bytes(&r->n.desc));
    assert_true(seen && other);
    for (int64_t k = 0; k < count; k++)
        seen[k] = (reach){ { INT64_MAX, INT64_MAX }, { -1, -1 } };
    for (int64_t p = 0; p < x[2]; p++)
        for (int64_t q = 0; q < x[3]; q++) {
            float *element = &r->x[0][p * x[3] + q], was = *element;
            strata_view out = { .desc = &r->n.desc, .data = other };
            *element += 100;
            assert_int_equal(r->n.op->eval(&r->n, r->view, &out), STRATA_OK);
            *element = was;
            for (int64_t k = 0; k < count; k++)
                for (int d = 0; d < 2 && other[k] != r->y[k]; d++) {
                    int64_t at = d ? q : p;
                    seen[k].low[d]  = at < seen[k].low[d] ? at : seen[k].low[d];
                    seen[k].high[d] = at > seen[k].high[d] ? at : seen[k].high[d];
                }
        }
    free(other);
    return seen;
}

/* For windows of whole elements: exactly the elements from i*stride - pad on, size of them, that exist. */
static void check_window(op_run *r)
{
    op_eval(r);
    strata_window w = { .size = { 1, 1 }, .stride = { 1, 1 } };
    if (r->n.op->window)
        r->n.op->window(&r->n, &w);
    assert_false(w.global);
    const int64_t *x = r->in[0].desc.dim, *y = r->n.desc.dim;
    reach *seen = observe(r);
    for (int64_t k = 0; k < y[2] * y[3]; k++)
        for (int d = 0; d < 2; d++) {
            int64_t at = d ? k % y[3] : k / y[3];
            double  low = (double)at * w.stride[d] - w.pad[d], high = low + w.size[d] - 1;
            if (seen[k].low[d] > seen[k].high[d])
                continue; /* all padding */
            if (seen[k].low[d] != fmax(low, 0) || seen[k].high[d] != fmin(high, (double)(x[2 + d] - 1)))
                fail_msg("%s: axis %d: place %lld reads %lld..%lld, but its window is %g..%g",
                         r->n.op->name, d, (long long)at, (long long)seen[k].low[d],
                         (long long)seen[k].high[d], low, high);
        }
    free(seen);
    op_end(r);
}

static void test_windows(void **state)
{
    (void)state;
    noise_seed();
    op_run r;
    for (int round = 0; round < 20; round++) {
        /* dilated kernels of two taps a side touch both ends of their window, and so all of it */
        strata_conv2d_attrs a = { .stride = { pick(1, 3), pick(1, 3) }, .dilation = { 1, 1 }, .groups = 1,
                                  .pad = { pick(0, 2), pick(0, 2), pick(0, 2), pick(0, 2) } };
        op_begin(&r, &strata_op_conv2d, &a);
        ARG(&r, 1, 1, pick(4, 9), pick(4, 9));
        ARG(&r, 1, 1, pick(1, 4), pick(1, 4));
        check_window(&r);

        strata_pool_attrs p = { .kernel = { pick(1, 4), pick(1, 4) }, .stride = { pick(1, 3), pick(1, 3) } };
        for (int i = 0; i < 4; i++)
            p.pad[i] = pick(0, p.kernel[i % 2] - 1);
        op_begin(&r, round % 2 ? &strata_op_max_pool : &strata_op_avg_pool, &p);
        ARG(&r, 1, 1, pick(4, 9), pick(4, 9));
        check_window(&r);

        op_begin(&r, &strata_op_slice, &(strata_slice_attrs){ pick(2, 3), pick(0, 2), pick(3, 5) });
        ARG(&r, 1, 1, 5, 5);
        check_window(&r);

        strata_ints before = { 4, { 0, 0, pick(0, 3), pick(0, 3) } };
        op_begin(&r, &strata_op_pad, &(strata_pad_attrs){ before, { 4, { 0, 1, 2, 0 } } });
        ARG(&r, 1, 1, 4, 4);
        check_window(&r);
    }
    op_begin(&r, &strata_op_relu, NULL);
    ARG(&r, 1, 1, 4, 4);
    check_window(&r);

    strata_conv2d_attrs a = { .stride = { 2, 1 }, .pad = { 3, 4, 0, 0 }, .dilation = { 3, 5 }, .groups = 1 };
    strata_window       w = { .size = { 1, 1 }, .stride = { 1, 1 } };
    op_begin(&r, &strata_op_conv2d, &a);
    OPERAND(&r, 1, 1, 32, 32);
    OPERAND(&r, 1, 1, 3, 2);
    assert_int_equal(op_infer(&r), STRATA_OK);
    strata_op_conv2d.window(&r.n, &w);
    assert_true(w.size[0] == 7 && w.size[1] == 6 && w.stride[0] == 2 && w.stride[1] == 1);
    assert_true(w.pad[0] == 3 && w.pad[1] == 4);
}

/* Where a ramp is resized, each value is its own place on x. The window's centres must follow it: exactly for
 * bilinear (away from the clamped ends), on average over a period for nearest. */
static void test_resize_windows(void **state)
{
    (void)state;
    static const struct {
        int in, out, mode, align;
    } cases[] = { { 8, 16, 1, 0 }, { 9, 4, 1, 0 }, { 7, 13, 1, 1 }, { 12, 5, 1, 1 }, { 6, 6, 1, 0 },
                  { 4, 8, 0, 0 },  { 5, 20, 0, 0 }, { 12, 4, 0, 0 }, { 6, 6, 0, 0 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int    in = cases[c].in, out = cases[c].out;
        op_run r;
        op_begin(&r, &strata_op_resize,
                 &(strata_resize_attrs){ { out, 1 }, cases[c].mode, cases[c].align });
        float *x = ARG(&r, 1, 1, in, 1);
        for (int i = 0; i < in; i++)
            x[i] = (float)i;
        op_eval(&r);
        strata_window w = { .size = { 1, 1 }, .stride = { 1, 1 } };
        strata_op_resize.window(&r.n, &w);
        double mean = 0;
        for (int i = 0; i < out; i++) {
            double centre = i * w.stride[0] - w.pad[0] + (w.size[0] - 1) / 2;
            mean += (centre - r.y[i]) / out;
            if (cases[c].mode == STRATA_RESIZE_BILINEAR && centre > 0 && centre < in - 1)
                assert_true(fabs(centre - r.y[i]) < 1e-6);
        }
        assert_true(fabs(mean) < 1e-6);
        assert_int_equal((int)w.size[0], cases[c].mode == STRATA_RESIZE_BILINEAR && in != out ? 2 : 1);
        op_end(&r);
    }
}

/* Shape ops that take maps apart have no place to speak of; those that keep them do. */
static void test_moved_maps(void **state)
{
    (void)state;
    static const struct {
        const strata_op_def *op;
        strata_ints          ints;
        bool                 global;
    } cases[] = { { &strata_op_reshape, { 2, { 1, 96 } }, true },
                  { &strata_op_reshape, { 5, { 1, 2, 3, 4, 4 } }, false },
                  { &strata_op_reshape, { 4, { 6, 1, 4, 4 } }, false },
                  { &strata_op_reshape, { 4, { 1, 4, 4, 6 } }, true },
                  { &strata_op_transpose, { 4, { 0, 2, 3, 1 } }, true },
                  { &strata_op_transpose, { 4, { 1, 0, 2, 3 } }, false } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        op_run r;
        op_begin(&r, cases[c].op, &cases[c].ints);
        OPERAND(&r, 1, 6, 4, 4);
        assert_int_equal(op_infer(&r), STRATA_OK);
        strata_window w = { .size = { 1, 1 }, .stride = { 1, 1 } };
        cases[c].op->window(&r.n, &w);
        assert_int_equal(w.global, cases[c].global);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_resize_windows),
        cmocka_unit_test(test_moved_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
