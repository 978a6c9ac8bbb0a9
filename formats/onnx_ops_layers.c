/* onnx_ops_layers.c: layers with weights, and resize, in ONNX's words. See onnx_ops.c.
 *
 *   dense        Gemm over vectors, a 1x1 Conv over maps
 *   layer_norm   LayerNormalization is over the last dims: Transpose, normalise, Transpose back
 *   grn          ReduceL2 over the map, ReduceMean over channels, and arithmetic
 *   resize       Resize; nearest by a factor that is no whole number becomes a Gather per axis, whose indices are
 *                ours: engines disagree about floor(i * in / out) in floating point */
#include "onnx_build.h"

#include <math.h>
#include <stdlib.h>

enum { X, WEIGHT, BIAS, RESIDUAL };
enum { GAMMA = 1, BETA, MEAN, VARIANCE };

static const char *operand(onnx_model *m, const strata_node *n, int i)
{
    return n->in[i] ? onnx_value(m, n->in[i]) : NULL;
}

void onnx_write_conv2d(onnx_model *m, const strata_node *n, const char *result)
{
    const strata_conv2d_attrs *a = n->attrs;
    const strata_act           act = (strata_act)a->act;
    const char *x = operand(m, n, X), *weight = operand(m, n, WEIGHT), *bias = operand(m, n, BIAS);
    const char *residual = operand(m, n, RESIDUAL);
    const char *sum = act == STRATA_ACT_NONE ? result : onnx_temp(m, n, "linear");
    const char *conv = residual ? onnx_temp(m, n, "conv") : sum;

    onnx_node(m, "Conv", conv, x, weight, bias);
    const int kernel[2] = { (int)n->in[WEIGHT]->desc.dim[2], (int)n->in[WEIGHT]->desc.dim[3] };
    onnx_set_int_pair(m, "kernel_shape", kernel);
    onnx_set_int_pair(m, "strides", a->stride);
    onnx_set_pads(m, a->pad);
    onnx_set_int_pair(m, "dilations", a->dilation);
    onnx_set_int(m, "group", a->groups);
    if (residual)
        onnx_node(m, "Add", sum, conv, residual);
    if (act != STRATA_ACT_NONE)
        onnx_write_act(m, n, act, sum, result);
}

void onnx_write_dense(onnx_model *m, const strata_node *n, const char *result)
{
    const strata_act act = (strata_act)((const strata_dense_attrs *)n->attrs)->act;
    const int64_t   *w = n->in[WEIGHT]->desc.dim;
    const char      *x = operand(m, n, X), *bias = operand(m, n, BIAS);
    const char      *linear = act == STRATA_ACT_NONE ? result : onnx_temp(m, n, "linear");
    if (n->desc.rank == 2) {
        onnx_node(m, "Gemm", linear, x, operand(m, n, WEIGHT), bias);
        onnx_set_int(m, "transB", 1);
    } else {
        const char *kernel = onnx_value_as(m, n, "kernel", n->in[WEIGHT], 4, (int64_t[]){ w[0], w[1], 1, 1 });
        onnx_node(m, "Conv", linear, x, kernel, bias);
        onnx_set_int_pair(m, "kernel_shape", (int[]){ 1, 1 });
    }
    if (act != STRATA_ACT_NONE)
        onnx_write_act(m, n, act, linear, result);
}

void onnx_write_batch_norm(onnx_model *m, const strata_node *n, const char *result)
{
    const char *x = operand(m, n, X), *gamma = operand(m, n, GAMMA), *beta = operand(m, n, BETA);
    const char *mean = operand(m, n, MEAN), *variance = operand(m, n, VARIANCE);
    onnx_node(m, "BatchNormalization", result, x, gamma, beta, mean, variance);
    onnx_set_float(m, "epsilon", ((const strata_batch_norm_attrs *)n->attrs)->epsilon);
}

/* Dim 1 becomes the last one, or back. */
static void emit_rotation(onnx_model *m, int rank, bool back, const char *x, const char *result)
{
    int64_t perm[STRATA_MAX_RANK] = { 0 };
    for (int i = 1; i < rank; i++)
        perm[i] = back ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1);
    onnx_node(m, "Transpose", result, x);
    onnx_set_ints(m, "perm", perm, rank);
}

void onnx_write_layer_norm(onnx_model *m, const strata_node *n, const char *result)
{
    const char *x = operand(m, n, X), *gamma = operand(m, n, GAMMA), *beta = operand(m, n, BETA), *last = x;
    const bool  rotate = n->desc.rank > 2;
    if (rotate)
        emit_rotation(m, n->desc.rank, false, x, last = onnx_temp(m, n, "channels_last"));
    const char *norm = rotate ? onnx_temp(m, n, "norm") : result;
    onnx_node(m, "LayerNormalization", norm, last, gamma, beta);
    onnx_set_int(m, "axis", -1);
    onnx_set_float(m, "epsilon", ((const strata_layer_norm_attrs *)n->attrs)->epsilon);
    if (rotate)
        emit_rotation(m, n->desc.rank, true, norm, result);
}

void onnx_write_grn(onnx_model *m, const strata_node *n, const char *result)
{
    const strata_grn_attrs *a = n->attrs;
    const int64_t           per_channel[] = { 1, n->desc.dim[1], 1, 1 };
    const char *x = operand(m, n, X), *response = onnx_temp(m, n, "response"), *mean = onnx_temp(m, n, "mean");
    const char *divisor = onnx_temp(m, n, "divisor"), *share = onnx_temp(m, n, "share");
    const char *scaled = onnx_temp(m, n, "scaled"), *weighted = onnx_temp(m, n, "weighted");
    const char *shifted = onnx_temp(m, n, "shifted");
    const char *gamma = onnx_value_as(m, n, "gamma", n->in[GAMMA], 4, per_channel);
    const char *beta = onnx_value_as(m, n, "beta", n->in[BETA], 4, per_channel);

    onnx_node(m, "ReduceL2", response, x);
    onnx_set_ints(m, "axes", (int64_t[]){ 2, 3 }, 2);
    onnx_node(m, "ReduceMean", mean, response);
    onnx_set_ints(m, "axes", (int64_t[]){ 1 }, 1);
    onnx_node(m, "Add", divisor, mean, onnx_scalar(m, a->epsilon));
    onnx_node(m, "Div", share, response, divisor);
    onnx_node(m, "Mul", scaled, x, share);
    onnx_node(m, "Mul", weighted, scaled, gamma);
    onnx_node(m, "Add", shifted, weighted, beta);
    onnx_node(m, "Add", result, shifted, x);
}

/* ---- resize -------------------------------------------------------------------------------------------------------- */

/* result = x with element i of the axis taken from floor(i * in / out) */
static void emit_gather(onnx_model *m, const strata_node *n, int axis, const char *x, const char *result)
{
    const int64_t in = n->in[X]->desc.dim[axis], out = n->desc.dim[axis];
    int64_t      *index = onnx_alloc(m, (size_t)out * sizeof *index);
    if (index == NULL)
        return;
    for (int64_t i = 0; i < out; i++)
        index[i] = i * in / out;
    const char *name = onnx_temp(m, n, axis == 2 ? "rows" : "columns");
    onnx_node(m, "Gather", result, x, onnx_numbers(m, name, index, (int)out));
    onnx_set_int(m, "axis", axis);
}

/* Whether an engine that computes floor(in * factor) in float arrives at our size. */
static bool factor_is_safe(const strata_node *n, int axis)
{
    const float factor = (float)((double)n->desc.dim[axis] / (double)n->in[X]->desc.dim[axis]);
    return (int64_t)floorf((float)n->in[X]->desc.dim[axis] * factor) == n->desc.dim[axis];
}

static void emit_resize(onnx_model *m, const strata_node *n, const char *result, const char *mode, const char *places)
{
    const char *x = operand(m, n, X), *scales = NULL, *sizes = NULL;
    if (m->dynamic_batch) {
        if (!factor_is_safe(n, 2) || !factor_is_safe(n, 3))
            onnx_fail(m, STRATA_UNSUPPORTED, "%s: this resize has no exact factor, as a symbolic batch needs; export "
                      "with a fixed batch", n->name);
        float by[4] = { 1, 1 };
        for (int i = 2; i < 4; i++)
            by[i] = (float)((double)n->desc.dim[i] / (double)n->in[X]->desc.dim[i]);
        scales = onnx_floats(m, onnx_temp(m, n, "scales"), by, 4);
    } else {
        sizes = onnx_numbers(m, onnx_temp(m, n, "sizes"), n->desc.dim, 4);
    }
    onnx_node(m, "Resize", result, x, NULL, scales, sizes);
    onnx_set_string(m, "mode", mode);
    onnx_set_string(m, "coordinate_transformation_mode", places);
}

void onnx_write_resize(onnx_model *m, const strata_node *n, const char *result)
{
    const strata_resize_attrs *a = n->attrs;
    const int64_t             *in = n->in[X]->desc.dim, *out = n->desc.dim;
    if (a->mode == STRATA_RESIZE_BILINEAR) {
        emit_resize(m, n, result, "linear", a->align_corners ? "align_corners" : "half_pixel");
    } else if (out[2] % in[2] == 0 && out[3] % in[3] == 0) {
        emit_resize(m, n, result, "nearest", "asymmetric");
        onnx_set_string(m, "nearest_mode", "floor");
    } else {
        const char *rows = onnx_temp(m, n, "gathered");
        emit_gather(m, n, 2, operand(m, n, X), rows);
        emit_gather(m, n, 3, rows, result);
    }
}
