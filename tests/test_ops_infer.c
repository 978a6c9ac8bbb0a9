/* What ops accept and refuse. Every rule is broken once, and the whole text of the error is compared: it must
 * name the operand and both values. */
#include "ops_harness.h"

#include <strata/nn.h>

static const struct {
    const char          *name;
    const strata_op_def *op;
} ops[] = {
#define OP(name) { #name, &strata_op_##name },
#include <strata/ops.def>
#undef OP
};
enum { OPS = sizeof ops / sizeof *ops };

/* The tables themselves: names as in ops.def, docs, defaults inside their ranges, a name per enum value. */
static void test_tables(void **state)
{
    (void)state;
    for (int i = 0; i < OPS; i++) {
        const strata_op_def *op = ops[i].op;
        char                 attrs[256] = { 0 };
        strata_error         err;
        assert_string_equal(op->name, ops[i].name);
        assert_true(op->doc && strlen(op->doc) > 2);
        bool source = op->flags & STRATA_OP_SOURCE;
        assert_true(!op->infer == source && !op->eval == source && !op->operands[0].name == source);
        assert_true(!op->attrs == (op->attr_size == 0));
        strata_attrs_set_defaults(op, attrs);
        if (strata_attrs_check(op, attrs, &err) != STRATA_OK)
            fail_msg("%s: %s", op->name, err.text);
        for (const strata_attr_def *row = op->attrs; row && row->name; row++) {
            assert_true(row->doc && row->min <= row->max && row->offset < op->attr_size);
            int names = 0;
            while (row->names && row->names[names])
                names++;
            assert_int_equal(names, row->type == STRATA_ATTR_ENUM ? (int)row->max + 1 : 0);
        }
    }
}

static void test_flags(void **state)
{
    (void)state;
    assert_true(strata_op_reshape.flags & STRATA_OP_VIEW);
    assert_false(strata_op_transpose.flags & STRATA_OP_VIEW);
    assert_true(strata_op_add.flags & STRATA_OP_COMMUTES && strata_op_mul.flags & STRATA_OP_COMMUTES);
    assert_false(strata_op_sub.flags & STRATA_OP_COMMUTES);
    assert_true(strata_op_relu.flags & STRATA_OP_ELEMENTWISE);
    assert_true(strata_op_concat.flags & STRATA_OP_VARIADIC);
    assert_string_equal(strata_op_conv2d.operands[1].role, "weight");
    assert_string_equal(strata_op_batch_norm.operands[4].role, "variance");
    assert_null(strata_op_conv2d.operands[3].role);
}

/* ---- Layers ---- */

static const strata_conv2d_attrs plain = { { 1, 1 }, { 0 }, { 1, 1 }, 1, 0 };

static void conv_refused(strata_conv2d_attrs a, const int64_t x[4], const int64_t w[4], const char *text)
{
    op_run r;
    op_begin(&r, &strata_op_conv2d, &a);
    op_operand(&r, 4, x);
    op_operand(&r, 4, w);
    refused(&r, STRATA_SHAPE, text);
}

static void test_conv2d(void **state)
{
    (void)state;
    op_run r;
    op_begin(&r, &strata_op_conv2d, &plain);
    OPERAND(&r, 3, 8, 8);
    OPERAND(&r, 4, 3, 3, 3);
    refused(&r, STRATA_SHAPE, "x must have rank 4, not 3");

    op_begin(&r, &strata_op_conv2d, &plain);
    OPERAND(&r, 1, 3, 8, 8);
    OPERAND(&r, 4, 3, 3);
    refused(&r, STRATA_SHAPE, "weight must have rank 4, not 3");

    op_begin(&r, &strata_op_conv2d, &plain);
    OPERAND(&r, 1, 3, 8, 8);
    OPERAND(&r, 4, 3, 3, 3);
    OPERAND(&r, 5);
    refused(&r, STRATA_SHAPE, "bias must be [4], not [5]");

    op_begin(&r, &strata_op_conv2d, &plain);
    OPERAND(&r, 1, 3, 8, 8);
    OPERAND(&r, 4, 3, 3, 3);
    op_absent(&r);
    OPERAND(&r, 1, 4, 6, 5);
    refused(&r, STRATA_SHAPE, "residual must have the shape of the result: [1,4,6,5] vs [1,4,6,6]");

    strata_conv2d_attrs a = plain;
    conv_refused(a, (int64_t[]){ 1, 3, 8, 8 }, (int64_t[]){ 4, 2, 3, 3 },
                 "weight takes 2 channels, but x has 3 / 1 groups = 3");
    a.groups = 4;
    conv_refused(a, (int64_t[]){ 1, 6, 8, 8 }, (int64_t[]){ 4, 1, 3, 3 },
                 "4 groups do not divide the 6 channels of x");
    conv_refused(a, (int64_t[]){ 1, 8, 8, 8 }, (int64_t[]){ 6, 2, 3, 3 },
                 "4 groups do not divide the 6 filters of weight");
    conv_refused(plain, (int64_t[]){ 1, 3, 2, 8 }, (int64_t[]){ 4, 3, 3, 3 },
                 "kernel height 3 with dilation 1 does not fit into x: 2 + 0 + 0 padding");
    a = plain, a.dilation[1] = 4, a.pad[1] = 1, a.pad[3] = 2;
    conv_refused(a, (int64_t[]){ 1, 3, 8, 5 }, (int64_t[]){ 4, 3, 3, 3 },
                 "kernel width 3 with dilation 4 does not fit into x: 5 + 1 + 2 padding");
    /* (2^50 - 1) * 4096 would overflow */
    a = plain, a.dilation[0] = 4096;
    conv_refused(a, (int64_t[]){ 1, 1, 8, 8 }, (int64_t[]){ 1, 1, INT64_C(1) << 50, 1 },
                 "kernel height 1125899906842624 with dilation 4096 does not fit into x: 8 + 0 + 0 padding");

    a = plain, a.stride[1] = 0;
    op_begin(&r, &strata_op_conv2d, &a);
    OPERAND(&r, 1, 3, 8, 8);
    OPERAND(&r, 4, 3, 3, 3);
    refused(&r, STRATA_INVALID, "stride is 0; it must be in 1..4096");

    /* The largest fit: one result element. */
    a = plain, a.dilation[0] = 3, a.pad[0] = 1;
    op_begin(&r, &strata_op_conv2d, &a);
    OPERAND(&r, 2, 3, 6, 3);
    OPERAND(&r, 4, 3, 3, 3);
    assert_int_equal(op_infer(&r), STRATA_OK);
    assert_shape(&r, "[2,4,1,1]");
}

static void test_dense(void **state)
{
    (void)state;
    op_run r;
    op_begin(&r, &strata_op_dense, NULL);
    OPERAND(&r, 2, 8, 3);
    OPERAND(&r, 10, 8);
    refused(&r, STRATA_SHAPE, "x must have rank 2 or 4, not 3");
    op_begin(&r, &strata_op_dense, NULL);
    OPERAND(&r, 2, 8);
    OPERAND(&r, 10, 8, 1);
    refused(&r, STRATA_SHAPE, "weight must have rank 2, not 3");
    op_begin(&r, &strata_op_dense, NULL);
    OPERAND(&r, 2, 8);
    OPERAND(&r, 10, 9);
    refused(&r, STRATA_SHAPE, "weight takes 9 channels, but x has 8");
    op_begin(&r, &strata_op_dense, NULL);
    OPERAND(&r, 2, 8);
    OPERAND(&r, 10, 8);
    OPERAND(&r, 8);
    refused(&r, STRATA_SHAPE, "bias must be [10], not [8]");
    op_begin(&r, &strata_op_dense, NULL);
    OPERAND(&r, 2, 8, 5, 6);
    OPERAND(&r, 10, 8);
    assert_int_equal(op_infer(&r), STRATA_OK);
    assert_shape(&r, "[2,10,5,6]");
    assert_int_equal(strata_op_dense.macs(&r.n), 2 * 10 * 30 * 8);
}

static void test_norms(void **state)
{
    (void)state;
    static const struct {
        const strata_op_def *op;
        int                  vectors;
    } norms[] = { { &strata_op_batch_norm, 4 }, { &strata_op_layer_norm, 2 }, { &strata_op_grn, 2 } };
    op_run r;
    for (int i = 0; i < 3; i++)
        for (int wrong = 1; wrong <= norms[i].vectors; wrong++) {
            op_begin(&r, norms[i].op, NULL);
            OPERAND(&r, 1, 6, 2, 2);
            for (int k = 1; k <= norms[i].vectors; k++)
                OPERAND(&r, k == wrong ? 7 : 6);
            char text[64];
            snprintf(text, sizeof text, "%s must be [6], not [7]", norms[i].op->operands[wrong].name);
            refused(&r, STRATA_SHAPE, text);
        }

    op_begin(&r, &strata_op_grn, NULL);
    OPERAND(&r, 1, 6);
    OPERAND(&r, 6);
    OPERAND(&r, 6);
    refused(&r, STRATA_SHAPE, "x must have rank 4, not 2");
    op_begin(&r, &strata_op_layer_norm, NULL);
    OPERAND(&r, 6);
    OPERAND(&r, 6);
    OPERAND(&r, 6);
    refused(&r, STRATA_SHAPE, "x must have rank 2 to 6, not 1");
    op_begin(&r, &strata_op_layer_norm, NULL);
    OPERAND(&r, 1, 6, 2, 2);
    OPERAND(&r, 1, 6);
    OPERAND(&r, 6);
    refused(&r, STRATA_SHAPE, "gamma must be [6], not [1,6]");
    op_begin(&r, &strata_op_grn, NULL);
    OPERAND(&r, 1, 6, 2, 2);
    OPERAND(&r, 6);
    refused(&r, STRATA_INVALID, "operand 2, beta, is missing");
}

static void test_pools(void **state)
{
    (void)state;
    strata_pool_attrs a = { .kernel = { 3, 2 }, .stride = { 2, 2 }, .pad = { 1, 1, 1, 2 } };
    op_run            r;
    op_begin(&r, &strata_op_max_pool, &a);
    OPERAND(&r, 1, 4, 8, 8);
    refused(&r, STRATA_SHAPE, "a pad must be smaller than the kernel: 2 vs 2 at the right");
    a.pad[3] = 1;
    op_begin(&r, &strata_op_avg_pool, &a);
    OPERAND(&r, 1, 4, 8);
    refused(&r, STRATA_SHAPE, "x must have rank 4, not 3");
    a.kernel[0] = 9, a.pad[0] = a.pad[2] = 0;
    op_begin(&r, &strata_op_avg_pool, &a);
    OPERAND(&r, 1, 4, 8, 8);
    refused(&r, STRATA_SHAPE, "kernel height 9 with dilation 1 does not fit into x: 8 + 0 + 0 padding");
    op_begin(&r, &strata_op_global_avg_pool, NULL);
    OPERAND(&r, 4, 8);
    refused(&r, STRATA_SHAPE, "x must have rank 4, not 2");
}

/* ---- Arithmetic and shapes ---- */

static void test_arith(void **state)
{
    (void)state;
    op_run r;
    op_begin(&r, &strata_op_add, NULL);
    OPERAND(&r, 1, 16, 8, 8);
    OPERAND(&r, 1, 3, 8, 8);
    refused(&r, STRATA_SHAPE, "dim 1 differs: 16 in x vs 3 in y");
    op_begin(&r, &strata_op_mul, NULL);
    OPERAND(&r, 16, 8);
    OPERAND(&r, 8);
    refused(&r, STRATA_SHAPE, "ranks differ: 2 in x vs 1 in y");
    op_begin(&r, &strata_op_sub, NULL);
    OPERAND(&r, 5, 1, 3);
    OPERAND(&r, 1, 4, 1);
    assert_int_equal(op_infer(&r), STRATA_OK);
    assert_shape(&r, "[5,4,3]");
    op_begin(&r, &strata_op_mul, NULL); /* broadcasting can make what no operand was */
    OPERAND(&r, INT64_C(1) << 40, 1);
    OPERAND(&r, 1, INT64_C(1) << 40);
    refused(&r, STRATA_SHAPE, "the result of shape [1099511627776,1099511627776] is too large");

    op_begin(&r, &strata_op_partial_add, NULL);
    OPERAND(&r, 1, 8, 4, 4);
    OPERAND(&r, 1, 9, 4, 4);
    refused(&r, STRATA_SHAPE, "y has more channels than x: 9 vs 8");
    op_begin(&r, &strata_op_partial_add, NULL);
    OPERAND(&r, 1, 8, 4, 4);
    OPERAND(&r, 1, 6, 4, 1);
    refused(&r, STRATA_SHAPE, "dim 3 differs: 4 in x vs 1 in y");
    op_begin(&r, &strata_op_partial_add, NULL);
    OPERAND(&r, 1, 8, 4, 4);
    OPERAND(&r, 1, 6, 4);
    refused(&r, STRATA_SHAPE, "ranks differ: 4 in x vs 3 in y");
    op_begin(&r, &strata_op_partial_add, NULL);
    OPERAND(&r, 8);
    OPERAND(&r, 6);
    refused(&r, STRATA_SHAPE, "x must have rank 2 to 6, not 1");
    op_begin(&r, &strata_op_split_sum, &(strata_split_sum_attrs){ 3 });
    OPERAND(&r, 2, 9, 4, 5);
    OPERAND(&r, 2, 9, 1, 1);
    assert_int_equal(op_infer(&r), STRATA_OK);
    assert_shape(&r, "[2,3,4,5]");
    op_begin(&r, &strata_op_split_sum, &(strata_split_sum_attrs){ 3 });
    OPERAND(&r, 2, 8, 4, 5);
    refused(&r, STRATA_SHAPE, "the 8 channels of x are not 3 equal splits");
    op_begin(&r, &strata_op_split_sum, &(strata_split_sum_attrs){ 3 });
    OPERAND(&r, 2, 9, 4, 5);
    OPERAND(&r, 2, 3, 1, 1);
    refused(&r, STRATA_SHAPE, "logits must be [2,9,1,1], not [2,3,1,1]");
    op_begin(&r, &strata_op_split_sum, &(strata_split_sum_attrs){ 3 });
    OPERAND(&r, 2, 9);
    refused(&r, STRATA_SHAPE, "x must have rank 4, not 2");
    op_begin(&r, &strata_op_softmax, &(strata_softmax_attrs){ 2 });
    OPERAND(&r, 1, 8);
    refused(&r, STRATA_SHAPE, "axis 2 does not exist in a value of rank 2");
    op_begin(&r, &strata_op_add_scalar, &(strata_scalar_attrs){ INFINITY });
    OPERAND(&r, 1, 8);
    assert_int_equal(op_infer(&r), STRATA_INVALID);
}

static void test_shapes(void **state)
{
    (void)state;
    op_run r;
    op_begin(&r, &strata_op_reshape, &(strata_reshape_attrs){ { 2, { 3, 5 } } });
    OPERAND(&r, 2, 7);
    refused(&r, STRATA_SHAPE, "shape [3,5] does not hold the 14 elements of x [2,7]");
    const int64_t large = 1 << 30;
    op_begin(&r, &strata_op_reshape, &(strata_reshape_attrs){ { 4, { large, large, large, large } } });
    OPERAND(&r, 2, 7);
    refused(&r, STRATA_SHAPE,
            "shape [1073741824,1073741824,1073741824,1073741824] does not hold the 14 elements of x [2,7]");
    op_begin(&r, &strata_op_reshape, &(strata_reshape_attrs){ { 2, { -1, 7 } } });
    OPERAND(&r, 2, 7);
    refused(&r, STRATA_INVALID, "shape is -1; it must be in 1..1073741824");

    op_begin(&r, &strata_op_transpose, &(strata_transpose_attrs){ { 2, { 1, 0 } } });
    OPERAND(&r, 2, 7, 3);
    refused(&r, STRATA_SHAPE, "perm must have an entry per dim of x: 2 vs 3");
    op_begin(&r, &strata_op_transpose, &(strata_transpose_attrs){ { 3, { 1, 0, 1 } } });
    OPERAND(&r, 2, 7, 3);
    refused(&r, STRATA_SHAPE, "perm names dim 1 twice");
    op_begin(&r, &strata_op_transpose, &(strata_transpose_attrs){ { 3, { 1, 0, 4 } } });
    OPERAND(&r, 2, 7, 3);
    refused(&r, STRATA_SHAPE, "perm names dim 4, but x has rank 3");

    op_begin(&r, &strata_op_slice, &(strata_slice_attrs){ 2, 0, 1 });
    OPERAND(&r, 2, 7);
    refused(&r, STRATA_SHAPE, "axis 2 does not exist in a value of rank 2");
    op_begin(&r, &strata_op_slice, &(strata_slice_attrs){ 1, 3, 3 });
    OPERAND(&r, 2, 7);
    refused(&r, STRATA_SHAPE, "the slice is empty: begin 3 is not before end 3");
    op_begin(&r, &strata_op_slice, &(strata_slice_attrs){ 1, 3, 8 });
    OPERAND(&r, 2, 7);
    refused(&r, STRATA_SHAPE, "the slice ends before 8, but dim 1 has 7 elements");

    op_begin(&r, &strata_op_concat, &(strata_concat_attrs){ 1 });
    OPERAND(&r, 2, 7);
    OPERAND(&r, 2, 7, 1);
    refused(&r, STRATA_SHAPE, "ranks differ: 2 in operand 0 vs 3 in operand 1");
    op_begin(&r, &strata_op_concat, &(strata_concat_attrs){ 1 });
    OPERAND(&r, 2, 7);
    OPERAND(&r, 2, 5);
    OPERAND(&r, 3, 5);
    refused(&r, STRATA_SHAPE, "dim 0 differs: 2 in operand 0 vs 3 in operand 2");
    op_begin(&r, &strata_op_concat, &(strata_concat_attrs){ 1 });
    OPERAND(&r, 2, 7);
    op_absent(&r);
    OPERAND(&r, 2, 5);
    refused(&r, STRATA_INVALID, "operand 1 is missing");

    op_begin(&r, &strata_op_pad, &(strata_pad_attrs){ { 2, { 0 } }, { 1, { 0 } } });
    OPERAND(&r, 2, 7);
    refused(&r, STRATA_SHAPE, "before and after must have an entry per dim of x: 2 and 1 vs 2");
    op_begin(&r, &strata_op_pad, &(strata_pad_attrs){ { 2, { 0, -1 } }, { 2, { 0 } } });
    OPERAND(&r, 2, 7);
    refused(&r, STRATA_INVALID, "before is -1; it must be in 0..1073741824");

    op_begin(&r, &strata_op_resize, &(strata_resize_attrs){ { 4, 4 }, STRATA_RESIZE_NEAREST, 1 });
    OPERAND(&r, 1, 2, 3, 3);
    refused(&r, STRATA_INVALID, "align_corners needs mode bilinear, not nearest");
    op_begin(&r, &strata_op_resize, NULL);
    OPERAND(&r, 2, 3, 3);
    refused(&r, STRATA_SHAPE, "x must have rank 4, not 3");
}

/* ---- Types and layouts ---- */

static void test_dtype(void **state)
{
    (void)state;
    op_run r;
    op_begin(&r, &strata_op_add, NULL);
    OPERAND(&r, 2, 3);
    OPERAND(&r, 2, 3)->desc.dtype = STRATA_F16;
    refused(&r, STRATA_SHAPE, "y is f16, but values of a graph are f32");
}

/* The layout of the sum of two values in the layouts a and b; -1 when it is refused. */
static int layout_of_sum(const int64_t x[4], strata_layout a, const int64_t y[4], strata_layout b)
{
    op_run r;
    op_begin(&r, &strata_op_add, NULL);
    op_operand(&r, 4, x)->desc.layout = a;
    op_operand(&r, 4, y)->desc.layout = b;
    return op_infer(&r) == STRATA_OK ? (int)r.n.desc.layout : -1;
}

static void test_layout(void **state)
{
    (void)state;
    const int64_t map[4] = { 1, 6, 4, 4 }, scale[4] = { 1, 6, 1, 1 }, mask[4] = { 1, 1, 4, 4 };
    assert_int_equal(layout_of_sum(map, STRATA_NHWC, map, STRATA_NHWC), STRATA_NHWC);
    assert_int_equal(layout_of_sum(map, STRATA_NCHW, map, STRATA_NHWC), -1);
    /* Where the tag makes no difference, the other operand decides, wherever it stands. */
    assert_int_equal(layout_of_sum(map, STRATA_NHWC, scale, STRATA_NCHW), STRATA_NHWC);
    assert_int_equal(layout_of_sum(scale, STRATA_NCHW, map, STRATA_NHWC), STRATA_NHWC);
    assert_int_equal(layout_of_sum(mask, STRATA_NHWC, map, STRATA_NCHW), STRATA_NCHW);
    assert_int_equal(layout_of_sum(scale, STRATA_NHWC, scale, STRATA_NCHW), STRATA_NHWC);

    op_run r;
    op_begin(&r, &strata_op_add, NULL);
    OPERAND(&r, 1, 6, 4, 4);
    OPERAND(&r, 1, 6, 4, 4)->desc.layout = STRATA_NHWC;
    refused(&r, STRATA_SHAPE, "layouts differ: x is nchw, but y is nhwc");

    op_begin(&r, &strata_op_add, NULL); /* constants have no say */
    OPERAND(&r, 1, 6, 4, 4)->op = &strata_op_const;
    OPERAND(&r, 1, 6, 4, 4)->desc.layout = STRATA_NHWC;
    assert_int_equal(op_infer(&r), STRATA_OK);
    assert_int_equal(r.n.desc.layout, STRATA_NHWC);

    op_begin(&r, &strata_op_conv2d, &plain); /* nor have weights, computed ones included */
    OPERAND(&r, 1, 6, 4, 4)->desc.layout = STRATA_NHWC;
    OPERAND(&r, 5, 6, 3, 3);
    op_absent(&r);
    OPERAND(&r, 1, 5, 2, 2)->desc.layout = STRATA_NHWC;
    assert_int_equal(op_infer(&r), STRATA_OK);
    assert_int_equal(r.n.desc.layout, STRATA_NHWC);

    op_begin(&r, &strata_op_reshape, &(strata_reshape_attrs){ { 2, { 1, 96 } } });
    OPERAND(&r, 1, 6, 4, 4)->desc.layout = STRATA_NHWC;
    refused(&r, STRATA_SHAPE, "x must be nchw, not nhwc: a copy to that layout must come first");
    op_begin(&r, &strata_op_transpose, &(strata_transpose_attrs){ { 4, { 0, 2, 3, 1 } } });
    OPERAND(&r, 1, 6, 4, 4)->desc.layout = STRATA_NHWC;
    refused(&r, STRATA_SHAPE, "x must be nchw, not nhwc: a copy to that layout must come first");
    op_begin(&r, &strata_op_reshape, &(strata_reshape_attrs){ { 2, { 1, 6 } } });
    OPERAND(&r, 1, 6, 1, 1)->desc.layout = STRATA_NHWC;
    assert_int_equal(op_infer(&r), STRATA_OK);
    assert_int_equal(r.n.desc.layout, STRATA_NCHW);

    op_begin(&r, &strata_op_copy, &(strata_copy_attrs){ STRATA_NHWC });
    OPERAND(&r, 1, 6, 4, 4);
    assert_int_equal(op_infer(&r), STRATA_OK);
    assert_int_equal(r.n.desc.layout, STRATA_NHWC);
    op_begin(&r, &strata_op_copy, &(strata_copy_attrs){ STRATA_NHWC });
    OPERAND(&r, 6, 4);
    refused(&r, STRATA_SHAPE, "only values of rank 4 can be nhwc, not rank 2");
}

/* Only computed values may be f16: sources are f32, and a copy turns them. */
static void types_follow_the_operands(void **state)
{
    (void)state;
    op_run             r;
    strata_tensor_desc desc;
    op_begin(&r, &strata_op_copy, &(strata_copy_attrs){ .dtype = STRATA_F16 });
    OPERAND(&r, 1, 6, 4, 4);
    assert_int_equal(op_infer(&r), STRATA_OK);
    assert_int_equal(r.n.desc.dtype, STRATA_F16);

    op_begin(&r, &strata_op_add, NULL);
    OPERAND(&r, 1, 6, 4, 4)->op = &strata_op_relu;
    OPERAND(&r, 1, 6, 4, 4)->op = &strata_op_relu;
    r.in[0].desc.dtype = r.in[1].desc.dtype = STRATA_F16;
    assert_int_equal(strata_check_node(&r.n, &desc, &r.err), STRATA_OK);
    assert_int_equal(desc.dtype, STRATA_F16);
    r.in[1].desc.dtype = STRATA_F32;
    refused(&r, STRATA_SHAPE, "types differ: x is f16, but y is f32");

    op_begin(&r, &strata_op_relu, NULL);
    OPERAND(&r, 1, 6, 4, 4)->desc.dtype = STRATA_F16;
    refused(&r, STRATA_SHAPE, "x is f16, but values of a graph are f32");
}

/* ---- Anything at all ---- */

/* A number from the range of the row, mostly small, or now and then one just outside. */
static double some_value(const strata_attr_def *row, bool wild)
{
    bool   named = row->type == STRATA_ATTR_ENUM || row->type == STRATA_ATTR_BOOL;
    double most  = named ? row->max : fmin(row->max, 4);
    if (row->type == STRATA_ATTR_FLOAT)
        return fmin(fmax(noise() * 2, row->min), row->max);
    if (wild && pick(0, 3) == 0)
        return pick(0, 1) ? row->max + pick(-1, 1) : row->min - 1;
    return pick((int)row->min, (int)fmax(most, row->min));
}

static void some_attrs(op_run *r, bool wild)
{
    for (const strata_attr_def *row = r->n.op->attrs; row && row->name; row++) {
        void *attrs = r->attrs.bytes;
        if (row->type == STRATA_ATTR_INTS)
            ((strata_ints *)(r->attrs.bytes + row->offset))->count = pick(0, STRATA_MAX_RANK);
        for (int i = 0; i < strata_attr_length(row, attrs); i++)
            strata_attr_set(row, attrs, i, some_value(row, wild));
    }
}

/* Dims near x's, so that many fit. */
static int some_dims(const op_run *r, bool wild, int64_t dim[STRATA_MAX_RANK])
{
    const strata_tensor_desc *x = &r->in[0].desc;
    int     rank = r->count && pick(0, 5) ? x->rank : pick(1, STRATA_MAX_RANK);
    int64_t room = INT64_MAX / 16;
    for (int i = 0; i < rank; i++) {
        dim[i] = r->count && i < x->rank && pick(0, 5) ? x->dim[i] : pick(1, 5);
        if (wild && pick(0, 3) == 0)
            dim[i] = INT64_C(1) << pick(0, 59);
        if (dim[i] > room)
            dim[i] = 1;
        room /= dim[i];
    }
    return rank;
}

/* Whatever comes: no crash (run under sanitizers), and a result or a reason. What is accepted and small is
 * evaluated, and every element of its result is written. */
static void test_anything(void **state)
{
    (void)state;
    noise_seed();
    int evaluated[OPS] = { 0 };
    for (int round = 0; round < 1600 * OPS; round++) {
        const strata_op_def *op = ops[round % OPS].op;
        bool                 wild = pick(0, 3) == 0;
        int64_t              dim[STRATA_MAX_RANK];
        op_run               r;
        if (op->flags & STRATA_OP_SOURCE)
            continue;
        op_begin(&r, op, NULL);
        some_attrs(&r, wild);
        int count = op->flags & STRATA_OP_VARIADIC ? pick(1, STRATA_MAX_OPERANDS) : 0;
        while (count ? r.count < count : r.count < STRATA_MAX_OPERANDS && op->operands[r.count].name) {
            int  k    = r.count;
            bool role = !count && op->operands[k].role && pick(0, 5);
            if (!count && op->operands[k].optional && pick(0, 1)) {
                op_absent(&r);
            } else if (role && strcmp(op->operands[k].role, "weight") != 0) {
                int64_t length = op->operands[1].role && strcmp(op->operands[1].role, "weight") == 0
                                     ? r.in[1].desc.dim[0] : r.in[0].desc.dim[1];
                op_operand(&r, 1, &length);
            } else {
                int rank = some_dims(&r, wild, dim);
                op_operand(&r, rank, dim)->desc.layout =
                    wild && rank == 4 ? (strata_layout)pick(0, 1) : STRATA_NCHW;
            }
        }
        strata_status status = op_infer(&r);
        if (status != STRATA_OK) {
            assert_true(strlen(r.err.text) > 10);
            continue;
        }
        assert_true(strata_count(&r.n.desc) > 0 && r.n.desc.rank <= STRATA_MAX_RANK);
        assert_true(r.n.desc.rank == 4 || r.n.desc.layout == STRATA_NCHW);
        if (op->macs)
            op->macs(&r.n);
        strata_window w = { .size = { 1, 1 }, .stride = { 1, 1 } };
        if (op->window)
            op->window(&r.n, &w);
        if (r.n.desc.dtype != STRATA_F32) /* of a copy; definitions know float32 only */
            continue;
        bool small = strata_count(&r.n.desc) < 1 << 14;
        for (int k = 0; k < r.count; k++)
            small = small && (!r.n.in[k] || strata_count(&r.in[k].desc) < 1 << 14);
        if (!small)
            continue;
        for (int k = 0; k < r.count; k++)
            if (r.n.in[k]) {
                size_t elements = (size_t)strata_count(&r.in[k].desc);
                r.view[k] = (strata_view){ .desc = &r.in[k].desc, .data = calloc(elements, sizeof(float)) };
                r.x[k]    = r.view[k].data;
                for (size_t i = 0; i < elements; i++)
                    r.x[k][i] = fabsf(noise()) + 0.1f;
            }
        op_eval(&r);
        for (int64_t i = 0; i < strata_count(&r.n.desc); i++)
            if (memcmp(r.y + i, &(uint32_t){ UINT32_MAX }, sizeof *r.y) == 0)
                fail_msg("%s: element %lld was not written", op->name, (long long)i);
        evaluated[round % OPS]++;
        op_end(&r);
    }
    for (int i = 0; i < OPS; i++) /* the dice must reach every op */
        if (!(ops[i].op->flags & STRATA_OP_SOURCE) && evaluated[i] == 0)
            fail_msg("%s was never accepted", ops[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables), cmocka_unit_test(test_flags),  cmocka_unit_test(test_conv2d),
        cmocka_unit_test(test_dense),  cmocka_unit_test(test_norms),  cmocka_unit_test(test_pools),
        cmocka_unit_test(test_arith),  cmocka_unit_test(test_shapes), cmocka_unit_test(test_dtype),
        cmocka_unit_test(test_layout), cmocka_unit_test(test_anything),
        cmocka_unit_test(types_follow_the_operands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
