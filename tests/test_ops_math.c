/* Norms, activations, arithmetic, and ops that move elements: values against other formulations of the same
 * mathematics, index by index, and against cases worked by hand. */
#include "ops_harness.h"

#include "../ops/nest.h"

enum { ROUNDS = 60 };

/* ---- Norms ---- */

static double *reserve(const op_run *r)
{
    double *want = malloc((size_t)strata_count(&r->n.desc) * sizeof *want);
    assert_non_null(want);
    return want;
}

static void finish_norm(op_run *r, double *want)
{
    assert_close(r->y, want, strata_count(&r->n.desc), 1e-5);
    free(want);
    op_end(r);
}

/* Some shape of rank 2 to 5 with `channels`, and how many positions a map has. */
static int some_shape(int channels, int64_t dim[STRATA_MAX_RANK], int64_t *positions)
{
    int rank = pick(2, 5);
    dim[0] = pick(1, 3), dim[1] = channels, *positions = 1;
    for (int i = 2; i < rank; i++)
        *positions *= dim[i] = pick(1, 4);
    return rank;
}

/* As one scale and one shift per channel. */
static void test_batch_norm(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < 20; round++) {
        double  epsilon = round % 2 ? 1e-5 : 0.1;
        int64_t dim[STRATA_MAX_RANK], positions, channels = pick(1, 6);
        int     rank = some_shape((int)channels, dim, &positions);
        op_run  r;
        op_begin(&r, &strata_op_batch_norm, &(strata_batch_norm_attrs){ epsilon });
        op_arg(&r, rank, dim);
        for (int k = 1; k <= 4; k++)
            ARG(&r, channels);
        for (int c = 0; c < channels; c++)
            r.x[4][c] = fabsf(r.x[4][c]) + 0.1f;
        op_eval(&r);
        double *want = reserve(&r);
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++) {
            int64_t c = i / positions % channels;
            double  scale = r.x[1][c] * pow(r.x[4][c] + epsilon, -0.5);
            want[i] = scale * r.x[0][i] + (r.x[2][c] - scale * r.x[3][c]);
        }
        finish_norm(&r, want);
    }
}

/* By the moments E(x^2) - E(x)^2. */
static void test_layer_norm(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < 20; round++) {
        double  epsilon = round % 2 ? 1e-6 : 0.1;
        int64_t dim[STRATA_MAX_RANK], positions, channels = pick(2, 6);
        int     rank = some_shape((int)channels, dim, &positions);
        op_run  r;
        op_begin(&r, &strata_op_layer_norm, &(strata_layer_norm_attrs){ epsilon });
        op_arg(&r, rank, dim);
        ARG(&r, channels);
        ARG(&r, channels);
        op_eval(&r);
        double *want = reserve(&r);
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++) {
            int64_t c = i / positions % channels, first = i - c * positions;
            double  sum = 0, squares = 0;
            for (int64_t k = 0; k < channels; k++) {
                double x = r.x[0][first + k * positions];
                sum += x, squares += x * x;
            }
            double mean = sum / (double)channels, variance = squares / (double)channels - mean * mean;
            want[i] = (r.x[0][i] - mean) / sqrt(variance + epsilon) * r.x[1][c] + r.x[2][c];
        }
        finish_norm(&r, want);
    }
}

static void test_grn(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < 20; round++) {
        int64_t channels = pick(1, 6), h = pick(1, 5), w = pick(1, 5), batch = pick(1, 3);
        op_run  r;
        op_begin(&r, &strata_op_grn, NULL);
        ARG(&r, batch, channels, h, w);
        ARG(&r, channels);
        ARG(&r, channels);
        op_eval(&r);
        double *want = reserve(&r), norm[6];
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++) {
            int64_t c = i / (h * w) % channels, image = i / (h * w * channels);
            double  mean = 0;
            for (int64_t k = 0; k < channels; k++) {
                norm[k] = 0; /* hypot takes a root at every step */
                for (int64_t p = 0; p < h * w; p++)
                    norm[k] = hypot(norm[k], r.x[0][(image * channels + k) * h * w + p]);
                mean += norm[k] / (double)channels;
            }
            double x = r.x[0][i];
            want[i] = r.x[1][c] * (x * (norm[c] / (mean + 1e-6))) + r.x[2][c] + x;
        }
        finish_norm(&r, want);
    }
    op_run r; /* by hand: norms 5 and 15, mean 10 */
    op_begin(&r, &strata_op_grn, NULL);
    memcpy(ARG(&r, 1, 2, 1, 2), (float[]){ 3, 4, 9, -12 }, 4 * sizeof(float));
    memcpy(ARG(&r, 2), (float[]){ 2, 1 }, 2 * sizeof(float));
    memcpy(ARG(&r, 2), (float[]){ 0.5f, -1 }, 2 * sizeof(float));
    assert_close(op_eval(&r), (double[]){ 6.5, 8.5, 21.5, -31 }, 4, 1e-6);
    op_end(&r);
}

/* ---- Activations ---- */

static void test_activations(void **state)
{
    (void)state;
    static const struct {
        strata_act act;
        double     x, y;
    } cases[] = {
        { STRATA_ACT_NONE, -1.5, -1.5 }, { STRATA_ACT_RELU, -2, 0 }, { STRATA_ACT_RELU, 2.5, 2.5 },
        { STRATA_ACT_RELU6, -2, 0 }, { STRATA_ACT_RELU6, 5, 5 }, { STRATA_ACT_RELU6, 7, 6 },
        { STRATA_ACT_HSIGMOID, -4, 0 }, { STRATA_ACT_HSIGMOID, 0, 0.5 }, { STRATA_ACT_HSIGMOID, 9, 1 },
        { STRATA_ACT_HSIGMOID, 1.5, 0.75 }, { STRATA_ACT_HSWISH, -3, 0 }, { STRATA_ACT_HSWISH, 1, 2.0 / 3 },
        { STRATA_ACT_HSWISH, 4, 4 }, { STRATA_ACT_SIGMOID, 0, 0.5 }, { STRATA_ACT_SIGMOID, -1000, 0 },
        { STRATA_ACT_SIGMOID, 1000, 1 }, { STRATA_ACT_SIGMOID, 2, 0.88079707797788243 },
        { STRATA_ACT_SILU, 2, 1.7615941559557649 }, { STRATA_ACT_SILU, -1000, 0 },
        { STRATA_ACT_GELU, 1, 0.84119199060827676 }, { STRATA_ACT_GELU, -1, -0.15880800939172324 },
        { STRATA_ACT_GELU, 0, 0 }, { STRATA_ACT_GELU, 100, 100 }, { STRATA_ACT_GELU, -100, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double y = strata_activate(cases[i].act, cases[i].x);
        if (!(fabs(y - cases[i].y) < 1e-12))
            fail_msg("%s(%g) is %.17g, not %.17g", strata_act_name(cases[i].act), cases[i].x, y, cases[i].y);
    }
    /* The tanh form stays within 5e-4 of the real one (Hendrycks and Gimpel). */
    for (double x = -6; x < 6; x += 0.01)
        assert_true(fabs(strata_activate(STRATA_ACT_GELU, x) - x / 2 * erfc(-x / sqrt(2))) < 5e-4);
    for (int a = STRATA_ACT_NONE + 1; a < STRATA_ACT_COUNT; a++)
        assert_true(isnan(strata_activate((strata_act)a, NAN)));
}

/* Each name leads to its op and back, and the op computes what strata_activate does. */
static void test_activation_ops(void **state)
{
    (void)state;
    noise_seed();
    assert_null(strata_act_op(STRATA_ACT_NONE));
    assert_null(strata_act_op(STRATA_ACT_COUNT));
    assert_null(strata_act_names[STRATA_ACT_COUNT]);
    assert_string_equal(strata_act_name(STRATA_ACT_NONE), "none");
    assert_string_equal(strata_act_name((strata_act)-1), "unknown");
    assert_int_equal(strata_op_act(&strata_op_conv2d), STRATA_ACT_NONE);
    for (int a = STRATA_ACT_NONE + 1; a < STRATA_ACT_COUNT; a++) {
        const strata_op_def *op = strata_act_op((strata_act)a);
        assert_string_equal(op->name, strata_act_names[a]);
        assert_int_equal(strata_op_act(op), a);
        op_run r;
        op_begin(&r, op, NULL);
        ARG(&r, 3, 7);
        for (int i = 0; i < 21; i++)
            r.x[0][i] *= 8;
        op_eval(&r);
        for (int i = 0; i < 21; i++)
            assert_true(r.y[i] == (float)strata_activate((strata_act)a, r.x[0][i]));
        op_end(&r);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < 30; round++) {
        int64_t dim[STRATA_MAX_RANK], positions;
        int     rank = some_shape(pick(1, 5), dim, &positions), axis = pick(0, rank - 1);
        op_run  r, shifted;
        op_begin(&r, &strata_op_softmax, &(strata_softmax_attrs){ axis });
        op_arg(&r, rank, dim);
        op_eval(&r);
        int64_t count = strata_count(&r.n.desc), step = 1;
        for (int i = axis + 1; i < rank; i++)
            step *= dim[i];
        for (int64_t i = 0; i < count; i++) {
            double  sum = 0; /* 1 / sum of exp(x_k - x_i) */
            int64_t first = i - i / step % dim[axis] * step;
            for (int64_t k = 0; k < dim[axis]; k++)
                sum += exp((double)r.x[0][first + k * step] - r.x[0][i]);
            assert_close(r.y + i, (double[]){ 1 / sum }, 1, 1e-6);
        }

        op_begin(&shifted, &strata_op_softmax, &(strata_softmax_attrs){ axis }); /* e^4000 is out of reach */
        op_arg(&shifted, rank, dim);
        for (int64_t i = 0; i < count; i++)
            shifted.x[0][i] = 4000 + roundf(r.x[0][i] * 4) / 4;
        op_eval(&shifted);
        for (int64_t i = 0; i < count; i++) {
            double  sum = 0;
            int64_t first = i - i / step % dim[axis] * step;
            for (int64_t k = 0; k < dim[axis]; k++)
                sum += shifted.y[first + k * step];
            assert_true(fabs(sum - 1) < 1e-6 && shifted.y[i] > 0);
        }
        op_end(&r);
        op_end(&shifted);
    }
}

/* ---- Arithmetic ---- */

/* Weights times one scale per filter: a row must be a whole filter, or folding a network takes long. */
static void test_nest(void **state)
{
    (void)state;
    strata_nest nest = { .rank = 5, .dim = { 8, 1, 4, 3, 3 },
                         .stride = { { 36, 36, 9, 3, 1 }, { 1, 0, 0, 0, 0 }, { 36, 36, 9, 3, 1 } } };
    int         rows = 0;
    strata_nest_start(&nest);
    assert_true(nest.row == 36 && nest.step[0] == 1 && nest.step[1] == 0 && nest.step[2] == 1);
    do
        assert_true(nest.at[0] == 36 * rows && nest.at[1] == rows && nest.at[2] == 36 * rows);
    while (rows++, strata_nest_next(&nest));
    assert_int_equal(rows, 8);
}

/* Splits the row-major index i of a shape. */
static void split(int64_t i, int rank, const int64_t *dim, int64_t *index)
{
    for (int d = rank - 1; d >= 0; d--) {
        index[d] = i % dim[d];
        i /= dim[d];
    }
}

/* The element of a broadcast operand that stands at `index`. */
static float element(const op_run *r, int k, const int64_t *index)
{
    const strata_tensor_desc *x  = &r->in[k].desc;
    int64_t                   at = 0;
    for (int d = 0; d < x->rank; d++)
        at = at * x->dim[d] + (x->dim[d] == 1 ? 0 : index[d]);
    return r->x[k][at];
}

static void test_binary(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < 4 * ROUNDS; round++) {
        static const strata_op_def *const ops[] = { &strata_op_add, &strata_op_sub, &strata_op_mul,
                                                   &strata_op_div };
        int     rank = pick(1, STRATA_MAX_RANK), which = round % 4;
        int64_t x[STRATA_MAX_RANK], y[STRATA_MAX_RANK], index[STRATA_MAX_RANK];
        for (int i = 0; i < rank; i++) {
            x[i] = y[i] = pick(1, 4);
            int ones = pick(0, 5);
            x[i] = ones == 0 ? 1 : x[i];
            y[i] = ones == 1 ? 1 : y[i];
        }
        strata_act act = round % 5 ? STRATA_ACT_NONE : (strata_act)pick(0, STRATA_ACT_COUNT - 1);
        op_run     r;
        op_begin(&r, ops[which], &(strata_binary_attrs){ (int)act });
        op_arg(&r, rank, x);
        op_arg(&r, rank, y);
        op_eval(&r);
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++) {
            split(i, rank, r.n.desc.dim, index);
            double a = element(&r, 0, index), b = element(&r, 1, index);
            double want = strata_activate(act, which == 0 ? a + b : which == 1 ? a - b : which == 2 ? a * b : a / b);
            assert_true(r.y[i] == (float)want);
        }
        op_end(&r);
    }
}

static void test_unary(void **state)
{
    (void)state;
    noise_seed();
    static const struct {
        const strata_op_def *op;
        double               value;
        double               want[3]; /* for 0.25, 4, 2 */
    } cases[] = { { &strata_op_neg, 0, { -0.25, -4, -2 } },
                  { &strata_op_rsqrt, 0, { 2, 0.5, 0.70710678118654752 } },
                  { &strata_op_sqrt, 0, { 0.5, 2, 1.4142135623730951 } },
                  { &strata_op_gelu_erf, 0, { 0.14967658142073093, 3.9998733150326762, 1.9544997361036416 } },
                  { &strata_op_add_scalar, -1.5, { -1.25, 2.5, 0.5 } },
                  { &strata_op_mul_scalar, 3, { 0.75, 12, 6 } } };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        op_run r;
        op_begin(&r, cases[c].op, &(strata_scalar_attrs){ cases[c].value });
        memcpy(ARG(&r, 3, 1), (float[]){ 0.25f, 4, 2 }, 3 * sizeof(float));
        op_eval(&r);
        assert_shape(&r, "[3,1]");
        assert_close(r.y, cases[c].want, 3, 1e-7);
        op_end(&r);
    }
    op_run r; /* in double: 1 + 2^-30 is not 1 before it is doubled away */
    op_begin(&r, &strata_op_add_scalar, &(strata_scalar_attrs){ 1 + ldexp(1, -30) });
    ARG(&r, 1)[0] = -1;
    assert_true(op_eval(&r)[0] == ldexpf(1, -30));
    op_end(&r);
}

static void test_partial_add(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < 20; round++) {
        int64_t dim[STRATA_MAX_RANK], positions, channels = pick(1, 6), part = pick(1, (int)channels);
        int     rank = some_shape((int)channels, dim, &positions);
        op_run  r;
        op_begin(&r, &strata_op_partial_add, NULL);
        op_arg(&r, rank, dim);
        dim[1] = part;
        op_arg(&r, rank, dim);
        op_eval(&r);
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++) {
            int64_t c = i / positions % channels, n = i / positions / channels;
            float   y = c < part ? r.x[1][(n * part + c) * positions + i % positions] : 0;
            assert_true(r.y[i] == r.x[0][i] + y);
        }
        op_end(&r);
    }
}

/* As ResNeSt's authors write it: slices, a softmax over them, products, a sum. */
static void test_split_sum(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < 20; round++) {
        int64_t splits = pick(1, 4), channels = pick(1, 5), h = pick(1, 4), w = pick(1, 4), batch = pick(1, 3), area = h * w;
        bool    weighted = round % 3 > 0;
        op_run  r, share;
        op_begin(&r, &strata_op_split_sum, &(strata_split_sum_attrs){ (int)splits });
        ARG(&r, batch, splits * channels, h, w);
        if (weighted) {
            ARG(&r, batch, splits * channels, 1, 1);
            op_begin(&share, &strata_op_softmax, &(strata_softmax_attrs){ 1 });
            memcpy(ARG(&share, batch, splits, channels), r.x[1], (size_t)(batch * splits * channels) * sizeof(float));
            op_eval(&share);
        }
        op_eval(&r);
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++) {
            int64_t n = i / (channels * area), c = i / area % channels;
            double  sum = 0;
            for (int64_t s = 0; s < splits; s++) {
                int64_t at = (n * splits + s) * channels + c;
                sum += (weighted ? share.y[at] : 1) * (double)r.x[0][at * area + i % area];
            }
            assert_close(r.y + i, &sum, 1, 2e-6);
        }
        op_end(&r);
        if (weighted)
            op_end(&share);
    }
}

/* ---- Moving elements ---- */

static int some_box(int64_t dim[STRATA_MAX_RANK], int most)
{
    int rank = pick(1, STRATA_MAX_RANK);
    for (int i = 0; i < rank; i++)
        dim[i] = pick(1, most);
    return rank;
}

static int64_t join(int rank, const int64_t *dim, const int64_t *index)
{
    int64_t at = 0;
    for (int d = 0; d < rank; d++)
        at = at * dim[d] + index[d];
    return at;
}

static void test_reshape(void **state)
{
    (void)state;
    noise_seed();
    op_run r;
    op_begin(&r, &strata_op_reshape, &(strata_reshape_attrs){ { 5, { 3, 1, 2, 2, 2 } } });
    ARG(&r, 2, 3, 4);
    op_eval(&r);
    assert_shape(&r, "[3,1,2,2,2]");
    assert_memory_equal(r.x[0], r.y, 24 * sizeof(float));
    op_end(&r);
    op_begin(&r, &strata_op_copy, &(strata_copy_attrs){ STRATA_NHWC }); /* eval sees values row-major */
    ARG(&r, 1, 2, 3, 4);
    op_eval(&r);
    assert_memory_equal(r.x[0], r.y, 24 * sizeof(float));
    op_end(&r);
}

static void test_transpose(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < ROUNDS; round++) {
        int64_t     dim[STRATA_MAX_RANK], to[STRATA_MAX_RANK], from[STRATA_MAX_RANK];
        int         rank = some_box(dim, 4);
        strata_ints perm = { rank, { 0, 1, 2, 3, 4, 5 } };
        for (int i = rank - 1; i > 0; i--) {
            int     k = pick(0, i);
            int64_t was = perm.at[i];
            perm.at[i] = perm.at[k], perm.at[k] = was;
        }
        op_run r;
        op_begin(&r, &strata_op_transpose, &(strata_transpose_attrs){ perm });
        op_arg(&r, rank, dim);
        op_eval(&r);
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++) {
            split(i, rank, r.n.desc.dim, to);
            for (int d = 0; d < rank; d++)
                from[perm.at[d]] = to[d];
            assert_true(r.y[i] == r.x[0][join(rank, dim, from)]);
        }
        op_end(&r);
    }
}

/* A value cut in pieces by slice and put together by concat is what it was; each slice is right by itself. */
static void test_slice_and_concat(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < ROUNDS; round++) {
        int64_t dim[STRATA_MAX_RANK], index[STRATA_MAX_RANK];
        int     rank = some_box(dim, 4), axis = pick(0, rank - 1), begin = 0;
        op_run  whole, piece[4];
        dim[axis] = pick(1, 6);
        op_begin(&whole, &strata_op_concat, &(strata_concat_attrs){ axis });
        strata_tensor_desc desc = strata_desc_f32(rank, dim);
        int64_t            count = strata_count(&desc), pieces = 0;
        float             *x = malloc((size_t)count * sizeof *x);
        assert_non_null(x);
        for (int64_t i = 0; i < count; i++)
            x[i] = noise();
        while (begin < dim[axis]) {
            int     end = pieces == 3 ? (int)dim[axis] : pick(begin + 1, (int)dim[axis]);
            op_run *p   = &piece[pieces++];
            op_begin(p, &strata_op_slice, &(strata_slice_attrs){ axis, begin, end });
            memcpy(op_arg(p, rank, dim), x, (size_t)count * sizeof *x);
            op_eval(p);
            assert_int_equal(p->n.desc.dim[axis], end - begin);
            for (int64_t i = 0; i < strata_count(&p->n.desc); i++) {
                split(i, rank, p->n.desc.dim, index);
                index[axis] += begin;
                assert_true(p->y[i] == x[join(rank, dim, index)]);
            }
            memcpy(op_arg(&whole, rank, p->n.desc.dim), p->y, strata_bytes(&p->n.desc));
            begin = end;
        }
        op_eval(&whole);
        assert_true(strata_same_shape(&whole.n.desc, &desc));
        assert_memory_equal(whole.y, x, (size_t)count * sizeof *x);
        while (pieces > 0)
            op_end(&piece[--pieces]);
        op_end(&whole);
        free(x);
    }
}

static void test_pad(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < ROUNDS; round++) {
        int64_t          dim[STRATA_MAX_RANK], index[STRATA_MAX_RANK];
        int              rank = some_box(dim, 3);
        strata_pad_attrs a = { { rank, { 0 } }, { rank, { 0 } } };
        for (int i = 0; i < rank; i++)
            a.before.at[i] = pick(0, 2), a.after.at[i] = pick(0, 2);
        op_run r;
        op_begin(&r, &strata_op_pad, &a);
        op_arg(&r, rank, dim);
        op_eval(&r);
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++) {
            bool inside = true;
            split(i, rank, r.n.desc.dim, index);
            for (int d = 0; d < rank; d++) {
                index[d] -= a.before.at[d];
                inside = inside && index[d] >= 0 && index[d] < dim[d];
            }
            assert_true(r.y[i] == (inside ? r.x[0][join(rank, dim, index)] : 0));
        }
        op_end(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_norm),  cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_grn),         cmocka_unit_test(test_activations),
        cmocka_unit_test(test_activation_ops), cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_nest),
        cmocka_unit_test(test_binary),      cmocka_unit_test(test_unary),
        cmocka_unit_test(test_partial_add), cmocka_unit_test(test_split_sum), cmocka_unit_test(test_reshape),
        cmocka_unit_test(test_transpose),   cmocka_unit_test(test_slice_and_concat),
        cmocka_unit_test(test_pad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
