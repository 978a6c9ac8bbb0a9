/* Arithmetic.
 *
 *   add, sub, mul, div   act(x + y) and so on. The operands have equal rank; where a dim of one is 1, its elements
 *                        repeat along that dim (numpy's broadcasting)
 *   neg, rsqrt, sqrt, add_scalar, mul_scalar
 *   partial_add          y added to the first channels of x: the shortcut of ReXNet (Han et al. 2021)
 *
 * These evals fold the weights of whole networks, so their rows are loops that compilers vectorise. */
#include "infer.h"
#include "nest.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { X, Y, RESULT };

/* ---- add, sub, mul, div ---- */

static const strata_attr_def binary_attrs[] = {
    { "act", STRATA_ATTR_ENUM, offsetof(strata_binary_attrs, act), 0, STRATA_ACT_COUNT - 1, STRATA_ACT_NONE,
      "activation of the result", strata_act_names },
    { 0 }
};

static strata_status infer_binary(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    STRATA_TRY(strata_infer_operands(n, out, err));
    const strata_tensor_desc *x = &n->in[X]->desc, *y = &n->in[Y]->desc;
    if (x->rank != y->rank)
        return strata_fail(err, STRATA_SHAPE, "ranks differ: %d in x vs %d in y", x->rank, y->rank);
    for (int i = 0; i < x->rank; i++)
        if (x->dim[i] == 1)
            out->dim[i] = y->dim[i];
        else if (y->dim[i] != 1)
            STRATA_TRY(strata_infer_same_dim(n, X, Y, i, err));
    return STRATA_OK;
}

/* x op y for op '+', '-', '*' or '/'. The double changes nothing once the result is rounded to float (Figueroa
 * 1995), and compilers know that; activations get to see all of it. */
static inline double combine(char op, double x, double y)
{
    return op == '+' ? x + y : op == '-' ? x - y : op == '*' ? x * y : x / y;
}

static inline void combine_row(char op, strata_act act, float *out, const float *x, int64_t x_step,
                               const float *y, int64_t y_step, int64_t count)
{
    if (act != STRATA_ACT_NONE)
        for (int64_t i = 0; i < count; i++)
            out[i] = (float)strata_activate(act, combine(op, x[i * x_step], y[i * y_step]));
    else if (x_step == 1 && y_step == 1)
        for (int64_t i = 0; i < count; i++)
            out[i] = (float)combine(op, x[i], y[i]);
    else if (x_step == 1 && y_step == 0)
        for (int64_t i = 0; i < count; i++)
            out[i] = (float)combine(op, x[i], *y);
    else
        for (int64_t i = 0; i < count; i++)
            out[i] = (float)combine(op, x[i * x_step], y[i * y_step]);
}

static inline strata_status eval_binary(char op, const strata_node *n, const strata_view *in,
                                        strata_view *out)
{
    const strata_binary_attrs *a = n->attrs;
    strata_nest nest = { .rank = out->desc->rank };
    for (int i = 0; i < nest.rank; i++)
        nest.dim[i] = out->desc->dim[i];
    strata_row_major(nest.rank, nest.dim, nest.stride[RESULT]);
    for (int k = X; k <= Y; k++) {
        strata_row_major(nest.rank, in[k].desc->dim, nest.stride[k]);
        for (int i = 0; i < nest.rank; i++)
            if (in[k].desc->dim[i] == 1)
                nest.stride[k][i] = 0;
    }
    strata_nest_start(&nest);
    do
        combine_row(op, a->act, out->data + nest.at[RESULT], in[X].data + nest.at[X], nest.step[X],
                    in[Y].data + nest.at[Y], nest.step[Y], nest.row);
    while (strata_nest_next(&nest));
    return STRATA_OK;
}

static strata_status eval_add(const strata_node *n, const strata_view *in, strata_view *out)
{
    return eval_binary('+', n, in, out);
}

static strata_status eval_sub(const strata_node *n, const strata_view *in, strata_view *out)
{
    return eval_binary('-', n, in, out);
}

static strata_status eval_mul(const strata_node *n, const strata_view *in, strata_view *out)
{
    return eval_binary('*', n, in, out);
}

static strata_status eval_div(const strata_node *n, const strata_view *in, strata_view *out)
{
    return eval_binary('/', n, in, out);
}

/* ---- One operand ---- */

static const strata_attr_def add_scalar_attrs[] = {
    { "value", STRATA_ATTR_FLOAT, offsetof(strata_scalar_attrs, value), -DBL_MAX, DBL_MAX, 0,
      "what is added" },
    { 0 }
};

static const strata_attr_def mul_scalar_attrs[] = {
    { "value", STRATA_ATTR_FLOAT, offsetof(strata_scalar_attrs, value), -DBL_MAX, DBL_MAX, 1,
      "the factor" },
    { 0 }
};

static strata_status eval_neg(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    int64_t count = strata_count(out->desc);
    for (int64_t i = 0; i < count; i++)
        out->data[i] = -in[X].data[i];
    return STRATA_OK;
}

static strata_status eval_rsqrt(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    int64_t count = strata_count(out->desc);
    for (int64_t i = 0; i < count; i++)
        out->data[i] = (float)(1 / sqrt(in[X].data[i]));
    return STRATA_OK;
}

static strata_status eval_sqrt(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    int64_t count = strata_count(out->desc);
    for (int64_t i = 0; i < count; i++)
        out->data[i] = sqrtf(in[X].data[i]);
    return STRATA_OK;
}

static strata_status eval_add_scalar(const strata_node *n, const strata_view *in, strata_view *out)
{
    double  value = ((const strata_scalar_attrs *)n->attrs)->value;
    int64_t count = strata_count(out->desc);
    for (int64_t i = 0; i < count; i++)
        out->data[i] = (float)(in[X].data[i] + value);
    return STRATA_OK;
}

static strata_status eval_mul_scalar(const strata_node *n, const strata_view *in, strata_view *out)
{
    double  value = ((const strata_scalar_attrs *)n->attrs)->value;
    int64_t count = strata_count(out->desc);
    for (int64_t i = 0; i < count; i++)
        out->data[i] = (float)(in[X].data[i] * value);
    return STRATA_OK;
}

/* ---- partial_add ---- */

static strata_status infer_partial(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(strata_infer_rank(n, X, 2, STRATA_MAX_RANK, err));
    const strata_tensor_desc *x = &n->in[X]->desc, *y = &n->in[Y]->desc;
    if (x->rank != y->rank)
        return strata_fail(err, STRATA_SHAPE, "ranks differ: %d in x vs %d in y", x->rank, y->rank);
    if (y->dim[1] > x->dim[1])
        return strata_fail(err, STRATA_SHAPE, "y has more channels than x: %lld vs %lld",
                           (long long)y->dim[1], (long long)x->dim[1]);
    for (int i = 0; i < x->rank; i++)
        if (i != 1)
            STRATA_TRY(strata_infer_same_dim(n, X, Y, i, err));
    return STRATA_OK;
}

static strata_status eval_partial(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    int64_t batch = in[X].desc->dim[0];
    int64_t image = strata_count(in[X].desc) / batch, part = strata_count(in[Y].desc) / batch;
    for (int64_t b = 0; b < batch; b++) {
        const float *x = in[X].data + b * image, *y = in[Y].data + b * part;
        float       *dst = out->data + b * image;
        for (int64_t i = 0; i < part; i++)
            dst[i] = x[i] + y[i];
        memmove(dst + part, x + part, (size_t)(image - part) * sizeof *dst);
    }
    return STRATA_OK;
}

/* ---- The definitions ---- */

const strata_op_def strata_op_add = {
    .name = "add", .doc = "act(x + y), with broadcasting.", .operands = { { "x" }, { "y" } },
    .attrs = binary_attrs, .attr_size = sizeof(strata_binary_attrs),
    .flags = STRATA_OP_ELEMENTWISE | STRATA_OP_COMMUTES, .infer = infer_binary, .eval = eval_add,
};

const strata_op_def strata_op_sub = {
    .name = "sub", .doc = "act(x - y), with broadcasting.", .operands = { { "x" }, { "y" } },
    .attrs = binary_attrs, .attr_size = sizeof(strata_binary_attrs),
    .flags = STRATA_OP_ELEMENTWISE, .infer = infer_binary, .eval = eval_sub,
};

const strata_op_def strata_op_mul = {
    .name = "mul", .doc = "act(x * y), with broadcasting.", .operands = { { "x" }, { "y" } },
    .attrs = binary_attrs, .attr_size = sizeof(strata_binary_attrs),
    .flags = STRATA_OP_ELEMENTWISE | STRATA_OP_COMMUTES, .infer = infer_binary, .eval = eval_mul,
};

const strata_op_def strata_op_div = {
    .name = "div", .doc = "act(x / y), with broadcasting.", .operands = { { "x" }, { "y" } },
    .attrs = binary_attrs, .attr_size = sizeof(strata_binary_attrs),
    .flags = STRATA_OP_ELEMENTWISE, .infer = infer_binary, .eval = eval_div,
};

const strata_op_def strata_op_neg = {
    .name = "neg", .doc = "-x.", .operands = { { "x" } },
    .flags = STRATA_OP_ELEMENTWISE, .infer = strata_infer_operands, .eval = eval_neg,
};

const strata_op_def strata_op_rsqrt = {
    .name = "rsqrt", .doc = "1 / sqrt(x).", .operands = { { "x" } },
    .flags = STRATA_OP_ELEMENTWISE, .infer = strata_infer_operands, .eval = eval_rsqrt,
};

const strata_op_def strata_op_sqrt = {
    .name = "sqrt", .doc = "The square root of x.", .operands = { { "x" } },
    .flags = STRATA_OP_ELEMENTWISE, .infer = strata_infer_operands, .eval = eval_sqrt,
};

const strata_op_def strata_op_add_scalar = {
    .name = "add_scalar", .doc = "x + value.", .operands = { { "x" } },
    .attrs = add_scalar_attrs, .attr_size = sizeof(strata_scalar_attrs),
    .flags = STRATA_OP_ELEMENTWISE, .infer = strata_infer_operands, .eval = eval_add_scalar,
};

const strata_op_def strata_op_mul_scalar = {
    .name = "mul_scalar", .doc = "x * value.", .operands = { { "x" } },
    .attrs = mul_scalar_attrs, .attr_size = sizeof(strata_scalar_attrs),
    .flags = STRATA_OP_ELEMENTWISE, .infer = strata_infer_operands, .eval = eval_mul_scalar,
};

const strata_op_def strata_op_partial_add = {
    .name = "partial_add",
    .doc  = "y added to the first channels of x; the other channels stay (ReXNet's shortcut).",
    .operands = { { "x" }, { "y" } }, .flags = STRATA_OP_ROWS, .infer = infer_partial, .eval = eval_partial,
};
