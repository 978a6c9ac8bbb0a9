/* Cases for kernels of any backend: a function for each op that picks a shape and makes the operands; and the
 * measure by which a kernel's result must agree with the op's definition.
 *
 * Called with the same seed, a case gives the same first images for any batch. */
#ifndef STRATA_TESTS_KERNEL_CASES_H
#define STRATA_TESTS_KERNEL_CASES_H

#include "placed_node.h"

/* ---- Cases -------------------------------------------------------------------------------------- */

typedef struct kernel_case {
    const strata_op_def *op;
    int                  times;
    void (*build)(op_run *r, int batch);
    double tolerance; /* of an element, relative to its scale: see check_result */
} kernel_case;

/* An operand of noise: its first images are the same for any batch. */
static float *operand(op_run *r, bool constant, int rank, const int64_t *dim)
{
    uint64_t saved = noise_state;
    noise_state    = saved * 31 + (uint64_t)r->count;
    float *x       = op_arg(r, rank, dim);
    noise_state    = saved + 1;
    strata_node *in = &r->in[r->count - 1];
    if (constant) {
        in->op = &strata_op_const;
        assert_int_equal(strata_tensor_wrap(&in->desc, x, NULL, NULL, &in->data, &r->err), STRATA_OK);
    }
    return x;
}

#define VALUE(r, ...) operand(r, false, DIMS(__VA_ARGS__))
#define PARAM(r, ...) operand(r, true, DIMS(__VA_ARGS__))

/* Mostly up to `most`, now and then 1. */
static int size(int most) { return pick(0, 5) == 0 ? 1 : pick(1, most); }

static void bias_and_residual(op_run *r, int batch, int o)
{
    bool bias = pick(0, 3) != 0, residual = pick(0, 2) == 0;
    if (bias)
        PARAM(r, o);
    else
        op_absent(r);
    if (!residual)
        return;
    strata_tensor_desc y;
    assert_int_equal(strata_check_node(&r->n, &y, &r->err), STRATA_OK);
    VALUE(r, batch, o, y.dim[2], y.dim[3]);
}

static void conv2d_of(op_run *r, int batch, const strata_conv2d_attrs *a, int c, int h, int w, int o, int kh,
                      int kw)
{
    op_begin(r, &strata_op_conv2d, a);
    VALUE(r, batch, c, h, w);
    PARAM(r, o, c / a->groups, kh, kw);
    bias_and_residual(r, batch, o);
}

static strata_conv2d_attrs conv_attrs(int kh, int kw, int h, int w)
{
    strata_conv2d_attrs a = { .groups = 1, .act = pick(0, STRATA_ACT_COUNT - 1) };
    const int size_of[2] = { h, w }, kernel[2] = { kh, kw };
    for (int i = 0; i < 2; i++) {
        a.stride[i]   = pick(1, 3);
        a.dilation[i] = kernel[i] > 1 ? pick(1, 2) : 1;
        a.pad[i]      = pick(0, kernel[i]);
        int extent    = (kernel[i] - 1) * a.dilation[i] + 1;
        int least     = extent - size_of[i] - a.pad[i];
        a.pad[i + 2]  = pick(0, kernel[i]);
        if (a.pad[i + 2] < least)
            a.pad[i + 2] = least;
    }
    return a;
}

static void conv2d_any(op_run *r, int batch)
{
    int kh = pick(1, 5), kw = pick(1, 5), h = size(10), w = size(10), groups = pick(0, 2) ? 1 : pick(2, 4);
    int c = groups * size(67 / groups), o = groups * size(67 / groups);
    strata_conv2d_attrs a = conv_attrs(kh, kw, h, w);
    a.groups = groups;
    conv2d_of(r, batch, &a, c, h, w, o, kh, kw);
}

static void conv2d_depthwise(op_run *r, int batch)
{
    int k = 1 + 2 * pick(0, 3), kw = pick(0, 4) ? k : pick(1, 7), h = size(17), w = size(17), c = pick(2, 67);
    strata_conv2d_attrs a = conv_attrs(k, kw, h, w);
    a.groups = c;
    conv2d_of(r, batch, &a, c, h, w, c, k, kw);
}

/* The strides and padding of networks, and maps that rows ahead are fetched of. */
static void conv2d_depthwise_large(op_run *r, int batch)
{
    int k = 1 + 2 * pick(1, 3), stride = pick(1, 2), h = pick(40, 60), w = pick(40, 60), c = pick(36, 45), pad = k / 2;
    strata_conv2d_attrs a = { { stride, stride }, { pad, pad, pad, pad }, { 1, 1 }, c, pick(0, STRATA_ACT_COUNT - 1) };
    conv2d_of(r, batch, &a, c, h, w, c, k, k);
}

/* Groups of four or eight channels. */
static void conv2d_grouped(op_run *r, int batch)
{
    int k = pick(1, 4), h = size(17), w = size(17), group = 4 * pick(1, 2), groups = pick(2, 9);
    strata_conv2d_attrs a = conv_attrs(k, k, h, w);
    a.groups = groups;
    conv2d_of(r, batch, &a, groups * group, h, w, groups * group, k, k);
}

static void conv2d_pointwise(op_run *r, int batch)
{
    strata_conv2d_attrs a = { { 1, 1 }, { 0 }, { 1, 1 }, 1, pick(0, STRATA_ACT_COUNT - 1) };
    int c = size(67), h = size(20), w = size(20), o = size(67);
    conv2d_of(r, batch, &a, c, h, w, o, 1, 1);
}

/* Large enough for several bands, ranges of channels and chunks of weights. */
static void conv2d_large(op_run *r, int batch)
{
    static const int shape[][5] = { /* channels, map, out, kernel, stride */
        { 3, 50, 24, 7, 2 }, { 64, 40, 17, 3, 1 }, { 520, 7, 20, 3, 1 }, { 1030, 7, 140, 1, 1 },
        { 24, 50, 72, 1, 1 }, { 130, 14, 260, 1, 2 }, { 5, 33, 65, 5, 1 }, { 256, 9, 16, 3, 1 }, { 136, 23, 150, 3, 1 }
    };
    const int *s = shape[pick(0, sizeof shape / sizeof *shape - 1)];
    int p = s[3] / 2;
    strata_conv2d_attrs a = { { s[4], s[4] }, { p, p, p, p }, { 1, 1 }, 1, pick(0, STRATA_ACT_COUNT - 1) };
    conv2d_of(r, batch, &a, s[0], s[1], s[1], s[2], s[3], s[3]);
}

/* 3x3 of stride 1: whole and broken tiles of Winograd's, blocks of tiles, groups, uneven padding. */
static void conv2d_three(op_run *r, int batch)
{
    int groups = pick(0, 2) ? 1 : pick(2, 3), h = size(19), w = size(19);
    int c = groups * size(90 / groups), o = groups * size(90 / groups);
    strata_conv2d_attrs a = { { 1, 1 }, { 0 }, { 1, 1 }, groups, pick(0, STRATA_ACT_COUNT - 1) };
    for (int i = 0; i < 4; i++)
        a.pad[i] = pick(0, 1) ? 1 : pick(0, 3);
    a.pad[2] = a.pad[2] + h + a.pad[0] < 3 ? 2 : a.pad[2];
    a.pad[3] = a.pad[3] + w + a.pad[1] < 3 ? 2 : a.pad[3];
    conv2d_of(r, batch, &a, c, h, w, o, 3, 3);
}

static void conv2d_vector(op_run *r, int batch)
{
    strata_conv2d_attrs a = { { 1, 1 }, { 0 }, { 1, 1 }, 1, pick(0, STRATA_ACT_COUNT - 1) };
    op_begin(r, &strata_op_conv2d, &a);
    int c = size(300), o = size(150);
    VALUE(r, batch, c, 1, 1);
    PARAM(r, o, c, 1, 1);
    PARAM(r, o);
}

static void dense_any(op_run *r, int batch)
{
    strata_dense_attrs a = { pick(0, STRATA_ACT_COUNT - 1) };
    op_begin(r, &strata_op_dense, &a);
    int c = size(130), o = size(130), h = size(9), w = size(9);
    if (pick(0, 1))
        VALUE(r, batch, c);
    else
        VALUE(r, batch, c, h, w);
    PARAM(r, o, c);
    if (pick(0, 2))
        PARAM(r, o);
}

static strata_pool_attrs pool_attrs(void)
{
    strata_pool_attrs a = { { 0 } };
    for (int i = 0; i < 2; i++) {
        a.kernel[i]  = pick(1, 4);
        a.stride[i]  = pick(1, 3);
        a.pad[i]     = pick(0, a.kernel[i] - 1);
        a.pad[i + 2] = pick(0, a.kernel[i] - 1);
    }
    return a;
}

static void max_pool_any(op_run *r, int batch)
{
    strata_pool_attrs a = pool_attrs();
    op_begin(r, &strata_op_max_pool, &a);
    VALUE(r, batch, size(67), pick(4, 30), pick(4, 30));
}

static void avg_pool_any(op_run *r, int batch)
{
    strata_pool_attrs a = pool_attrs();
    a.count_pad = pick(0, 1);
    op_begin(r, &strata_op_avg_pool, &a);
    VALUE(r, batch, size(67), pick(4, 30), pick(4, 30));
}

static void global_avg_pool_any(op_run *r, int batch)
{
    op_begin(r, &strata_op_global_avg_pool, NULL);
    VALUE(r, batch, size(67), size(40), size(40));
}

/* A value of rank 4 or 2. */
static int64_t rows_value(op_run *r, int batch)
{
    int c = size(67), h = size(20), w = size(20);
    if (pick(0, 3))
        VALUE(r, batch, c, h, w);
    else
        VALUE(r, batch, c);
    return c;
}

static void batch_norm_any(op_run *r, int batch)
{
    op_begin(r, &strata_op_batch_norm, NULL);
    int64_t c = rows_value(r, batch);
    for (int i = 0; i < 3; i++)
        PARAM(r, c);
    float *variance = PARAM(r, c);
    for (int64_t i = 0; i < c; i++)
        variance[i] = 0.1f + fabsf(variance[i]);
}

static void layer_norm_any(op_run *r, int batch)
{
    strata_layer_norm_attrs a = { 1e-3 }; /* a row of one or two channels may have next to no variance */
    op_begin(r, &strata_op_layer_norm, &a);
    int64_t c = rows_value(r, batch);
    PARAM(r, c);
    PARAM(r, c);
}

static void grn_any(op_run *r, int batch)
{
    op_begin(r, &strata_op_grn, NULL);
    int c = size(67);
    VALUE(r, batch, c, size(20), size(20));
    PARAM(r, c);
    PARAM(r, c);
}

/* A value of any rank; its first dim is the batch. */
static void any_value(op_run *r, int batch)
{
    int64_t dim[STRATA_MAX_RANK] = { batch };
    int rank = pick(1, STRATA_MAX_RANK);
    for (int i = 1; i < rank; i++)
        dim[i] = size(rank > 4 ? 6 : 20);
    operand(r, false, rank, dim);
}

static void unary_any(op_run *r, int batch)
{
    any_value(r, batch);
    int64_t count = strata_count(&r->in[0].desc);
    bool root = r->n.op == &strata_op_rsqrt || r->n.op == &strata_op_sqrt;
    for (int64_t i = 0; i < count; i++)
        r->x[0][i] = root ? 0.01f + fabsf(r->x[0][i]) : r->x[0][i] * 12;
}

#define UNARY_CASE(op) \
    static void op##_any(op_run *r, int batch) { op_begin(r, &strata_op_##op, NULL); unary_any(r, batch); }
#define XX(enumname, op) UNARY_CASE(op)
STRATA_ACT_MAP(XX)
#undef XX
UNARY_CASE(neg)
UNARY_CASE(rsqrt)
UNARY_CASE(sqrt)
UNARY_CASE(gelu_erf)

static void add_scalar_any(op_run *r, int batch)
{
    op_begin(r, &strata_op_add_scalar, &(strata_scalar_attrs){ 0.3 });
    unary_any(r, batch);
}

static void mul_scalar_any(op_run *r, int batch)
{
    op_begin(r, &strata_op_mul_scalar, &(strata_scalar_attrs){ -1.7 });
    unary_any(r, batch);
}

static void softmax_any(op_run *r, int batch)
{
    uint64_t saved = noise_state;
    op_begin(r, &strata_op_softmax, NULL);
    any_value(r, batch);
    if (r->in[0].desc.rank == 1) { /* there the only axis is the batch: nothing to compare between batches */
        op_end(r);
        noise_state = saved + 1;
        softmax_any(r, batch);
        return;
    }
    strata_softmax_attrs a = { pick(1, r->in[0].desc.rank - 1) };
    memcpy(r->attrs.bytes, &a, sizeof a);
}

/* Each operand may be broadcast along any dim but the first; the second may be a constant. */
static void binary_any(op_run *r, int batch, const strata_op_def *op)
{
    strata_binary_attrs a = { pick(0, 1) ? STRATA_ACT_NONE : pick(0, STRATA_ACT_COUNT - 1) };
    op_begin(r, op, &a);
    int64_t dim[2][STRATA_MAX_RANK];
    int rank = pick(0, 3) ? 4 : pick(1, STRATA_MAX_RANK), how = pick(0, 3);
    for (int i = 0; i < rank; i++) {
        dim[0][i] = dim[1][i] = i == 0 ? batch : size(rank > 4 ? 6 : i == 1 ? 67 : 17);
        int one = how == 0 ? -1 : how == 1 ? (i > 1 ? 1 : -1) : i > 0 ? pick(-1, 1) : -1;
        if (one >= 0)
            dim[one][i] = 1;
    }
    bool constant = pick(0, 3) == 0;
    if (constant)
        dim[1][0] = 1;
    operand(r, false, rank, dim[0]);
    operand(r, constant, rank, dim[1]);
}

static void add_any(op_run *r, int batch) { binary_any(r, batch, &strata_op_add); }
static void sub_any(op_run *r, int batch) { binary_any(r, batch, &strata_op_sub); }
static void mul_any(op_run *r, int batch) { binary_any(r, batch, &strata_op_mul); }
static void div_any(op_run *r, int batch) { binary_any(r, batch, &strata_op_div); }

static void partial_add_any(op_run *r, int batch)
{
    op_begin(r, &strata_op_partial_add, NULL);
    int c = size(67), d = pick(1, c), h = size(20), w = size(20);
    if (pick(0, 3)) {
        VALUE(r, batch, c, h, w);
        VALUE(r, batch, d, h, w);
    } else {
        VALUE(r, batch, c);
        VALUE(r, batch, d);
    }
}

static void reshape_any(op_run *r, int batch)
{
    int c = size(40), h = size(20), w = size(20);
    op_begin(r, &strata_op_reshape, &(strata_reshape_attrs){ { 3, { batch, h * w, c } } });
    VALUE(r, batch, c, h, w);
}

static void transpose_any(op_run *r, int batch)
{
    op_begin(r, &strata_op_transpose, NULL);
    any_value(r, batch);
    int rank = r->in[0].desc.rank;
    strata_transpose_attrs a = { { rank, { 0 } } };
    for (int i = 1; i < rank; i++) { /* the batch stays in front */
        int at      = pick(1, i);
        a.perm.at[i] = a.perm.at[at];
        a.perm.at[at] = i;
    }
    memcpy(r->attrs.bytes, &a, sizeof a);
}

static void slice_any(op_run *r, int batch)
{
    op_begin(r, &strata_op_slice, NULL);
    int dim[4] = { batch, size(67), size(20), size(20) }, axis = pick(1, 3), begin = pick(0, dim[axis] - 1);
    strata_slice_attrs a = { axis, begin, pick(begin + 1, dim[axis]) };
    memcpy(r->attrs.bytes, &a, sizeof a);
    VALUE(r, dim[0], dim[1], dim[2], dim[3]);
}

static void concat_any(op_run *r, int batch)
{
    strata_concat_attrs a = { pick(1, 3) };
    op_begin(r, &strata_op_concat, &a);
    int64_t dim[4] = { batch, size(67), size(20), size(20) };
    for (int k = pick(1, 4); k > 0; k--) {
        dim[a.axis] = size(30);
        operand(r, false, 4, dim);
    }
}

static void pad_any(op_run *r, int batch)
{
    strata_pad_attrs a = { { 4, { 0 } }, { 4, { 0 } } };
    for (int i = 1; i < 4; i++) {
        a.before.at[i] = pick(0, 3);
        a.after.at[i]  = pick(0, 3);
    }
    op_begin(r, &strata_op_pad, &a);
    VALUE(r, batch, size(67), size(20), size(20));
}

static void resize_any(op_run *r, int batch)
{
    strata_resize_attrs a = { { size(30), size(30) }, pick(0, 1), 0 };
    a.align_corners = a.mode == STRATA_RESIZE_BILINEAR && pick(0, 1);
    op_begin(r, &strata_op_resize, &a);
    VALUE(r, batch, size(67), size(20), size(20));
}

static void copy_any(op_run *r, int batch)
{
    op_begin(r, &strata_op_copy, NULL);
    int c = pick(0, 3) ? size(67) : 3; /* 3: an image */
    VALUE(r, batch, c, size(70), size(70));
}

#define XX(enumname, op) { &strata_op_##op, 20, op##_any, 4e-6 },
static const kernel_case cases[] = {
    { &strata_op_conv2d, 120, conv2d_any, 1e-5 },
    { &strata_op_conv2d, 80, conv2d_depthwise, 1e-5 },
    { &strata_op_conv2d, 6, conv2d_depthwise_large, 1e-5 },
    { &strata_op_conv2d, 40, conv2d_grouped, 1e-5 },
    { &strata_op_conv2d, 40, conv2d_pointwise, 1e-5 },
    { &strata_op_conv2d, 12, conv2d_large, 1e-5 },
    { &strata_op_conv2d, 40, conv2d_three, 1e-5 },
    { &strata_op_conv2d, 20, conv2d_vector, 1e-5 },
    { &strata_op_dense, 50, dense_any, 1e-5 },
    { &strata_op_max_pool, 40, max_pool_any, 0 },
    { &strata_op_avg_pool, 40, avg_pool_any, 1e-6 },
    { &strata_op_global_avg_pool, 30, global_avg_pool_any, 1e-6 },
    { &strata_op_batch_norm, 30, batch_norm_any, 1e-5 },
    { &strata_op_layer_norm, 30, layer_norm_any, 1e-4 },
    { &strata_op_grn, 30, grn_any, 1e-5 },
    STRATA_ACT_MAP(XX)
    { &strata_op_softmax, 60, softmax_any, 2e-6 },
    { &strata_op_add, 60, add_any, 1e-6 },
    { &strata_op_sub, 60, sub_any, 1e-6 },
    { &strata_op_mul, 60, mul_any, 1e-6 },
    { &strata_op_div, 60, div_any, 1e-6 },
    { &strata_op_neg, 10, neg_any, 0 },
    { &strata_op_rsqrt, 10, rsqrt_any, 1e-6 },
    { &strata_op_sqrt, 10, sqrt_any, 1e-6 },
    { &strata_op_gelu_erf, 10, gelu_erf_any, 1e-6 },
    { &strata_op_add_scalar, 10, add_scalar_any, 1e-6 },
    { &strata_op_mul_scalar, 10, mul_scalar_any, 1e-6 },
    { &strata_op_partial_add, 30, partial_add_any, 1e-6 },
    { &strata_op_reshape, 20, reshape_any, 0 },
    { &strata_op_transpose, 80, transpose_any, 0 },
    { &strata_op_slice, 60, slice_any, 0 },
    { &strata_op_concat, 60, concat_any, 0 },
    { &strata_op_pad, 60, pad_any, 0 },
    { &strata_op_resize, 60, resize_any, 1e-6 },
    { &strata_op_copy, 40, copy_any, 0 },
};
#undef XX

/* ---- Checks -------------------------------------------------------------------------------------- */

/* The scale of each element: for sums of products the sum of their absolute values (times the square root of
 * their number), else the larger of 1 and the element. */
static float *scales(op_run *r)
{
    bool conv = r->n.op == &strata_op_conv2d, dense = r->n.op == &strata_op_dense;
    int64_t count = strata_count(&r->n.desc);
    float *scale = malloc((size_t)count * sizeof *scale);
    assert_non_null(scale);
    if (!conv && !dense) {
        for (int64_t i = 0; i < count; i++)
            scale[i] = fmaxf(1, fabsf(r->y[i]));
        return scale;
    }
    op_run a = *r; /* the same node of absolute values, without activation */
    a.n.attrs = a.attrs.bytes;
    *(conv ? &((strata_conv2d_attrs *)(void *)a.attrs.bytes)->act
           : &((strata_dense_attrs *)(void *)a.attrs.bytes)->act) = STRATA_ACT_NONE;
    int64_t k = 1;
    for (int i = 0; i < r->count; i++) {
        if (r->n.in[i] == NULL)
            continue;
        int64_t n = strata_count(&r->in[i].desc);
        a.view[i].data = malloc((size_t)n * sizeof(float));
        assert_non_null(a.view[i].data);
        for (int64_t j = 0; j < n; j++)
            a.view[i].data[j] = fabsf(r->x[i][j]);
        if (i == 1)
            k = n / r->in[i].desc.dim[0];
    }
    strata_view out = { .desc = &r->n.desc, .data = scale };
    assert_int_equal(r->n.op->eval(&a.n, a.view, &out), STRATA_OK);
    for (int64_t i = 0; i < count; i++)
        scale[i] = scale[i] * sqrtf((float)k) + 0.05f * fabsf(r->y[i]); /* and the result's rounding */
    for (int i = 0; i < r->count; i++)
        if (r->n.in[i] != NULL)
            free(a.view[i].data);
    return scale;
}

static void check_result(const char *what, const op_run *r, const float *got, const float *scale,
                         double tolerance)
{
    int64_t count = strata_count(&r->n.desc);
    char shape[128];
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - (double)r->y[i]) <= tolerance * (double)scale[i]))
            fail_msg("%s: %s: element %lld is %.9g, not %.9g", what,
                     strata_shape_text(&r->n.desc, shape, sizeof shape), (long long)i, (double)got[i],
                     (double)r->y[i]);
}

static void end_case(op_run *r)
{
    for (int i = 0; i < r->count; i++)
        strata_tensor_unref(r->in[i].data);
    op_end(r);
}

#endif
