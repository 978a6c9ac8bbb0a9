/* onnx_ops.c: how each op is said in ONNX (opset 17): a row per op at the end of the file. Layers with weights have
 * their writers in onnx_ops_layers.c.
 *
 * An activation that an op applies to its result becomes a node of its own. What ONNX has no word for is said in
 * several:
 *
 *   silu         x * Sigmoid(x)
 *   gelu         (x * 0.5) * (1 + Tanh(x * 0.79788456 * (1 + x * x * 0.044715))): engines know this form
 *   gelu_erf     (x * 0.5) * (1 + Erf(x / sqrt(2)))
 *   rsqrt        Reciprocal(Sqrt(x))
 *   split_sum    a Slice for each split, and Add; Reshape and Softmax of the logits
 *   partial_add  Concat(x[:, :D] + y, x[:, D:]), as the PyTorch models have it
 *
 * A symbolic batch allows nothing that looks at dim 0 of a value: such a node is refused by name. */
#include "onnx_build.h"

#include <stddef.h>

enum { X, Y };

static const char *x_of(onnx_model *m, const strata_node *n) { return onnx_value(m, n->in[X]); }

/* Fails when n does something along the dim whose size is only known when the model runs. */
static void check_axis(onnx_model *m, const strata_node *n, bool touches_batch)
{
    if (m->dynamic_batch && m->varies[n->id] && touches_batch)
        onnx_fail(m, STRATA_UNSUPPORTED, "%s: %s works along the batch, which cannot be symbolic then; export with a "
                  "fixed batch", n->name, n->op->name);
}

/* ---- Activations --------------------------------------------------------------------------------------------- */

typedef void (*act_writer)(onnx_model *m, const strata_node *n, const char *x, const char *result);

static void write_copy(onnx_model *m, const strata_node *n, const char *x, const char *result)
{
    (void)n;
    onnx_node(m, "Identity", result, x);
}

static void write_relu(onnx_model *m, const strata_node *n, const char *x, const char *result)
{
    (void)n;
    onnx_node(m, "Relu", result, x);
}

static void write_relu6(onnx_model *m, const strata_node *n, const char *x, const char *result)
{
    (void)n;
    const char *low = onnx_scalar(m, 0), *high = onnx_scalar(m, 6);
    onnx_node(m, "Clip", result, x, low, high);
}

static void write_hswish(onnx_model *m, const strata_node *n, const char *x, const char *result)
{
    (void)n;
    onnx_node(m, "HardSwish", result, x); /* by definition x * max(0, min(1, x / 6 + 0.5)) */
}

static void write_hsigmoid(onnx_model *m, const strata_node *n, const char *x, const char *result)
{
    (void)n;
    onnx_node(m, "HardSigmoid", result, x);
    onnx_set_float(m, "alpha", 1.0 / 6);
    onnx_set_float(m, "beta", 0.5);
}

static void write_sigmoid(onnx_model *m, const strata_node *n, const char *x, const char *result)
{
    (void)n;
    onnx_node(m, "Sigmoid", result, x);
}

static void write_silu(onnx_model *m, const strata_node *n, const char *x, const char *result)
{
    const char *sigmoid = onnx_temp(m, n, "sigmoid");
    onnx_node(m, "Sigmoid", sigmoid, x);
    onnx_node(m, "Mul", result, x, sigmoid);
}

static void write_gelu(onnx_model *m, const strata_node *n, const char *x, const char *result)
{
    const char *cubic = onnx_temp(m, n, "cubic"), *square = onnx_temp(m, n, "square"), *one = onnx_temp(m, n, "one");
    const char *scaled = onnx_temp(m, n, "scaled"), *inner = onnx_temp(m, n, "inner"), *tanh = onnx_temp(m, n, "tanh");
    const char *outer = onnx_temp(m, n, "outer"), *half = onnx_temp(m, n, "half");
    onnx_node(m, "Mul", cubic, x, onnx_scalar(m, 0.044715));
    onnx_node(m, "Mul", square, cubic, x);
    onnx_node(m, "Add", one, square, onnx_scalar(m, 1));
    onnx_node(m, "Mul", scaled, x, onnx_scalar(m, 0.79788456080286535588)); /* sqrt(2/pi) */
    onnx_node(m, "Mul", inner, scaled, one);
    onnx_node(m, "Tanh", tanh, inner);
    onnx_node(m, "Add", outer, tanh, onnx_scalar(m, 1));
    onnx_node(m, "Mul", half, x, onnx_scalar(m, 0.5));
    onnx_node(m, "Mul", result, half, outer);
}

static const act_writer act_writers[STRATA_ACT_COUNT] = {
    [STRATA_ACT_NONE] = write_copy,
#define XX(name, op) [STRATA_ACT_##name] = write_##op,
    STRATA_ACT_MAP(XX)
#undef XX
};

void onnx_write_act(onnx_model *m, const strata_node *n, strata_act act, const char *x, const char *result)
{
    act_writers[(unsigned)act < STRATA_ACT_COUNT ? act : STRATA_ACT_NONE](m, n, x, result);
}

static void write_activation(onnx_model *m, const strata_node *n, const char *result)
{
    onnx_write_act(m, n, strata_op_act(n->op), x_of(m, n), result);
}

static void write_gelu_erf(onnx_model *m, const strata_node *n, const char *result)
{
    const char *x = x_of(m, n), *scaled = onnx_temp(m, n, "scaled"), *erf = onnx_temp(m, n, "erf");
    const char *outer = onnx_temp(m, n, "outer"), *half = onnx_temp(m, n, "half");
    onnx_node(m, "Mul", scaled, x, onnx_scalar(m, 0.70710678118654752440));
    onnx_node(m, "Erf", erf, scaled);
    onnx_node(m, "Add", outer, erf, onnx_scalar(m, 1));
    onnx_node(m, "Mul", half, x, onnx_scalar(m, 0.5));
    onnx_node(m, "Mul", result, half, outer);
}

/* ---- Arithmetic ------------------------------------------------------------------------------------------------ */

static void write_binary(onnx_model *m, const strata_node *n, const char *result, const char *op)
{
    strata_act  act = (strata_act)((const strata_binary_attrs *)n->attrs)->act;
    const char *x = x_of(m, n), *y = onnx_value(m, n->in[Y]);
    const char *sum = act == STRATA_ACT_NONE ? result : onnx_temp(m, n, n->op->name);
    onnx_node(m, op, sum, x, y);
    if (act != STRATA_ACT_NONE)
        onnx_write_act(m, n, act, sum, result);
}

static void write_add(onnx_model *m, const strata_node *n, const char *result) { write_binary(m, n, result, "Add"); }
static void write_sub(onnx_model *m, const strata_node *n, const char *result) { write_binary(m, n, result, "Sub"); }
static void write_mul(onnx_model *m, const strata_node *n, const char *result) { write_binary(m, n, result, "Mul"); }
static void write_div(onnx_model *m, const strata_node *n, const char *result) { write_binary(m, n, result, "Div"); }

static void write_neg(onnx_model *m, const strata_node *n, const char *result)
{
    onnx_node(m, "Neg", result, x_of(m, n));
}

static void write_sqrt(onnx_model *m, const strata_node *n, const char *result)
{
    onnx_node(m, "Sqrt", result, x_of(m, n));
}

static void write_rsqrt(onnx_model *m, const strata_node *n, const char *result)
{
    const char *root = onnx_temp(m, n, "sqrt");
    onnx_node(m, "Sqrt", root, x_of(m, n));
    onnx_node(m, "Reciprocal", result, root);
}

static void write_scalar(onnx_model *m, const strata_node *n, const char *result, const char *op)
{
    const char *x = x_of(m, n), *value = onnx_scalar(m, ((const strata_scalar_attrs *)n->attrs)->value);
    onnx_node(m, op, result, x, value);
}

static void write_add_scalar(onnx_model *m, const strata_node *n, const char *result)
{
    write_scalar(m, n, result, "Add");
}

static void write_mul_scalar(onnx_model *m, const strata_node *n, const char *result)
{
    write_scalar(m, n, result, "Mul");
}

/* result = x[begin:end] along axis */
static void emit_slice(onnx_model *m, const strata_node *n, const char *x, int axis, int64_t begin, int64_t end,
                       const char *what, const char *result)
{
    const char *from = onnx_numbers(m, onnx_temp(m, n, onnx_text(m, "%s_begin", what)), &begin, 1);
    const char *to = onnx_numbers(m, onnx_temp(m, n, onnx_text(m, "%s_end", what)), &end, 1);
    const char *along = onnx_numbers(m, onnx_temp(m, n, onnx_text(m, "%s_axis", what)), &(int64_t){ axis }, 1);
    onnx_node(m, "Slice", result, x, from, to, along);
}

static void write_partial_add(onnx_model *m, const strata_node *n, const char *result)
{
    const char   *x = x_of(m, n), *y = onnx_value(m, n->in[Y]);
    const int64_t all = n->desc.dim[1], part = n->in[Y]->desc.dim[1];
    if (part == all) {
        onnx_node(m, "Add", result, x, y);
        return;
    }
    const char *first = onnx_temp(m, n, "first"), *rest = onnx_temp(m, n, "rest"), *sum = onnx_temp(m, n, "sum");
    emit_slice(m, n, x, 1, 0, part, "first", first);
    onnx_node(m, "Add", sum, first, y);
    emit_slice(m, n, x, 1, part, all, "rest", rest);
    onnx_node(m, "Concat", result, sum, rest);
    onnx_set_int(m, "axis", 1);
}

/* x is split by Slice; the softmax is over dim 1 of the logits as [N, splits, channels]. */
static void write_split_sum(onnx_model *m, const strata_node *n, const char *result)
{
    const int     splits = ((const strata_split_sum_attrs *)n->attrs)->splits;
    const int64_t channels = n->desc.dim[1];
    const char   *x = x_of(m, n), *sum = NULL;
    if (n->in[Y]) {
        const char *parted = onnx_temp(m, n, "parted"), *shares = onnx_temp(m, n, "shares");
        const char *weight = onnx_temp(m, n, "weight"), *weighted = onnx_temp(m, n, "weighted");
        const char *parts = onnx_numbers(m, onnx_temp(m, n, "parts"), (int64_t[]){ 0, splits, channels }, 3);
        const char *whole = onnx_numbers(m, onnx_temp(m, n, "whole"), (int64_t[]){ 0, splits * channels, 1, 1 }, 4);
        onnx_node(m, "Reshape", parted, onnx_value(m, n->in[Y]), parts);
        onnx_node(m, "Softmax", shares, parted);
        onnx_set_int(m, "axis", 1);
        onnx_node(m, "Reshape", weight, shares, whole);
        onnx_node(m, "Mul", weighted, x, weight);
        x = weighted;
    }
    for (int r = 0; r < splits; r++) {
        const char *what = onnx_text(m, "split%d", r), *part = splits == 1 ? result : onnx_temp(m, n, what);
        emit_slice(m, n, x, 1, r * channels, (r + 1) * channels, what, part);
        const char *so_far = r == 0 ? part : r == splits - 1 ? result : onnx_temp(m, n, onnx_text(m, "sum%d", r));
        if (r > 0)
            onnx_node(m, "Add", so_far, sum, part);
        sum = so_far;
    }
}

static void write_softmax(onnx_model *m, const strata_node *n, const char *result)
{
    int axis = ((const strata_softmax_attrs *)n->attrs)->axis;
    check_axis(m, n, axis == 0);
    onnx_node(m, "Softmax", result, x_of(m, n));
    onnx_set_int(m, "axis", axis);
}

/* ---- Pools ---------------------------------------------------------------------------------------------------- */

static void write_pool(onnx_model *m, const strata_node *n, const char *result, const char *op)
{
    const strata_pool_attrs *a = n->attrs;
    onnx_node(m, op, result, x_of(m, n));
    onnx_set_int_pair(m, "kernel_shape", a->kernel);
    onnx_set_int_pair(m, "strides", a->stride);
    onnx_set_pads(m, a->pad);
}

static void write_max_pool(onnx_model *m, const strata_node *n, const char *result)
{
    write_pool(m, n, result, "MaxPool");
}

static void write_avg_pool(onnx_model *m, const strata_node *n, const char *result)
{
    write_pool(m, n, result, "AveragePool");
    onnx_set_int(m, "count_include_pad", ((const strata_pool_attrs *)n->attrs)->count_pad);
}

static void write_global_avg_pool(onnx_model *m, const strata_node *n, const char *result)
{
    onnx_node(m, "GlobalAveragePool", result, x_of(m, n));
}

/* ---- Shapes --------------------------------------------------------------------------------------------------- */

static void write_reshape(onnx_model *m, const strata_node *n, const char *result)
{
    strata_ints shape = ((const strata_reshape_attrs *)n->attrs)->shape;
    if (m->dynamic_batch && m->varies[n->id]) {
        check_axis(m, n, shape.count == 0 || n->in[X]->desc.rank == 0 || shape.at[0] != n->in[X]->desc.dim[0]);
        shape.at[0] = 0; /* as in x */
    }
    const char *x = x_of(m, n), *dims = onnx_numbers(m, onnx_temp(m, n, "shape"), shape.at, shape.count);
    onnx_node(m, "Reshape", result, x, dims);
}

static void write_transpose(onnx_model *m, const strata_node *n, const char *result)
{
    const strata_ints *perm = &((const strata_transpose_attrs *)n->attrs)->perm;
    check_axis(m, n, perm->count == 0 || perm->at[0] != 0);
    onnx_node(m, "Transpose", result, x_of(m, n));
    onnx_set_ints(m, "perm", perm->at, perm->count);
}

static void write_slice(onnx_model *m, const strata_node *n, const char *result)
{
    const strata_slice_attrs *a = n->attrs;
    check_axis(m, n, a->axis == 0);
    emit_slice(m, n, x_of(m, n), a->axis, a->begin, a->end, "slice", result);
}

static void write_concat(onnx_model *m, const strata_node *n, const char *result)
{
    int         axis = ((const strata_concat_attrs *)n->attrs)->axis, count = strata_operand_count(n);
    const char *in[STRATA_MAX_OPERANDS];
    bool        constant = false;
    for (int i = 0; i < count; i++) {
        in[i] = onnx_value(m, n->in[i]);
        constant |= !m->varies[n->in[i]->id];
    }
    check_axis(m, n, axis == 0 || constant);
    onnx_node_n(m, "Concat", result, in, count);
    onnx_set_int(m, "axis", axis);
}

static void write_pad(onnx_model *m, const strata_node *n, const char *result)
{
    const strata_pad_attrs *a = n->attrs;
    int64_t                 pads[2 * STRATA_MAX_RANK];
    int                     rank = n->desc.rank;
    for (int i = 0; i < rank; i++) {
        pads[i] = a->before.at[i];
        pads[rank + i] = a->after.at[i];
    }
    check_axis(m, n, rank == 0 || pads[0] != 0 || pads[rank] != 0);
    const char *x = x_of(m, n), *amounts = onnx_numbers(m, onnx_temp(m, n, "pads"), pads, 2 * rank);
    onnx_node(m, "Pad", result, x, amounts);
}

static void write_same(onnx_model *m, const strata_node *n, const char *result)
{
    onnx_node(m, "Identity", result, x_of(m, n));
}

/* ---- The rows -------------------------------------------------------------------------------------------------- */

static const struct {
    const strata_op_def *op;
    onnx_writer          write;
} rows[] = {
    { &strata_op_conv2d, onnx_write_conv2d },
    { &strata_op_dense, onnx_write_dense },
    { &strata_op_max_pool, write_max_pool },
    { &strata_op_avg_pool, write_avg_pool },
    { &strata_op_global_avg_pool, write_global_avg_pool },
    { &strata_op_batch_norm, onnx_write_batch_norm },
    { &strata_op_layer_norm, onnx_write_layer_norm },
    { &strata_op_grn, onnx_write_grn },
#define XX(name, op) { &strata_op_##op, write_activation },
    STRATA_ACT_MAP(XX)
#undef XX
    { &strata_op_gelu_erf, write_gelu_erf },
    { &strata_op_softmax, write_softmax },
    { &strata_op_add, write_add },
    { &strata_op_sub, write_sub },
    { &strata_op_mul, write_mul },
    { &strata_op_div, write_div },
    { &strata_op_neg, write_neg },
    { &strata_op_rsqrt, write_rsqrt },
    { &strata_op_sqrt, write_sqrt },
    { &strata_op_add_scalar, write_add_scalar },
    { &strata_op_mul_scalar, write_mul_scalar },
    { &strata_op_partial_add, write_partial_add },
    { &strata_op_split_sum, write_split_sum },
    { &strata_op_reshape, write_reshape },
    { &strata_op_transpose, write_transpose },
    { &strata_op_slice, write_slice },
    { &strata_op_concat, write_concat },
    { &strata_op_pad, write_pad },
    { &strata_op_resize, onnx_write_resize },
    { &strata_op_copy, write_same }, /* layouts are a matter of memory: the value is the same */
};

onnx_writer onnx_find_writer(const strata_op_def *op)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].op == op)
            return rows[i].write;
    return NULL;
}
