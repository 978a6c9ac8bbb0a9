/* onnx_read_layers.c: ONNX's convolutions, products, norms, pools and resizes as ours. See onnx_import.h. */
#include "onnx_import.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- Windows --------------------------------------------------------------------------------------------------------- */

typedef struct window {
    int64_t kernel[2], stride[2], dilation[2];
    int     pad[4], extra[2]; /* extra: what ceil_mode adds at bottom and right */
} window;

/* Numbers of an attribute, `fallback` each when it is absent; false after rejecting. */
static bool window_numbers(onnx_op *op, const char *name, int64_t *at, int count, int64_t fallback, int64_t low)
{
    for (int i = 0; i < count; i++)
        at[i] = fallback;
    int found = onnx_ints(op, name, -1, at, count);
    if (found < 0 || (found != 0 && found != count))
        return onnx_reject(op, "%s must have %d numbers: only images are supported", name, count);
    for (int i = 0; i < count; i++)
        if (at[i] < low || at[i] > 4096)
            return onnx_reject(op, "%s is %lld", name, (long long)at[i]);
    return true;
}

/* Strides, dilations and pads of a window over x whose kernel is known; auto_pad and ceil_mode become pads. */
static bool read_window(onnx_op *op, const strata_tensor_desc *x, window *w)
{
    int64_t     pads[4];
    const char *how = onnx_string(op, "auto_pad", "NOTSET");
    const bool  upper = strcmp(how, "SAME_UPPER") == 0, lower = strcmp(how, "SAME_LOWER") == 0;
    if (x->rank != 4)
        return onnx_reject(op, "its operand has rank %d: only images [N,C,H,W] are supported", x->rank);
    if (!window_numbers(op, "strides", w->stride, 2, 1, 1) || !window_numbers(op, "dilations", w->dilation, 2, 1, 1) ||
        !window_numbers(op, "pads", pads, 4, 0, 0))
        return false;
    for (int i = 0; i < 2; i++) {
        const int64_t size = x->dim[2 + i], reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
        if (upper || lower) {
            int64_t total = ((size + w->stride[i] - 1) / w->stride[i] - 1) * w->stride[i] + reach - size;
            total = total > 0 ? total : 0;
            pads[upper ? i : i + 2] = total / 2;
            pads[upper ? i + 2 : i] = total - total / 2;
        } else if (strcmp(how, "VALID") == 0) {
            pads[i] = pads[i + 2] = 0;
        }
        const int64_t room = size + pads[i] + pads[i + 2] - reach;
        if (room < 0 || pads[i + 2] > 4096)
            return onnx_reject(op, "its window of %lld does not fit into %lld elements", (long long)reach, (long long)size);
        w->extra[i] = 0;
        if (onnx_int(op, "ceil_mode", 0) != 0 && room % w->stride[i] != 0) {
            const int64_t last = (room / w->stride[i] + 1) * w->stride[i]; /* where the extra window begins */
            if (last < size + pads[i]) /* it sees an element */
                w->extra[i] = (int)(last - room);
        }
        w->pad[i] = (int)pads[i];
        w->pad[i + 2] = (int)pads[i + 2];
    }
    return true;
}

/* ---- Conv ------------------------------------------------------------------------------------------------------------ */

static void read_conv(onnx_op *op)
{
    strata_node *x = onnx_operand(op, 0), *weight = onnx_operand(op, 1), *bias = NULL;
    const int64_t groups = onnx_int(op, "group", 1);
    window        w;
    if (x == NULL || weight == NULL)
        return;
    if (weight->desc.rank != 4 || weight->desc.dim[2] > 4096 || weight->desc.dim[3] > 4096) {
        onnx_reject(op, "its weight has rank %d: only convolutions of images are supported", weight->desc.rank);
        return;
    }
    w.kernel[0] = weight->desc.dim[2];
    w.kernel[1] = weight->desc.dim[3];
    if (groups < 1 || groups > INT_MAX / 2)
        onnx_reject(op, "group is %lld", (long long)groups);
    else if (read_window(op, &x->desc, &w)) {
        strata_conv2d_attrs a = { .stride = { (int)w.stride[0], (int)w.stride[1] }, .groups = (int)groups,
                                  .dilation = { (int)w.dilation[0], (int)w.dilation[1] } };
        memcpy(a.pad, w.pad, sizeof a.pad);
        bias = onnx_has(op, 2) ? onnx_operand(op, 2) : NULL;
        onnx_give(op, 0, strata_emit(op->b, &strata_op_conv2d, onnx_name(op, 0, false), &a, x, weight, bias));
    }
}

/* ---- Products ---------------------------------------------------------------------------------------------------------- */

static strata_node *scaled(onnx_op *op, strata_node *n, double factor)
{
    return factor == 1 ? n : nn_mul_scalar(op->b, n, factor);
}

/* weight[K,M] of x * weight as dense wants it, [M,K]. */
static strata_node *turned_weight(onnx_op *op, strata_node *weight)
{
    return nn_transpose(op->b, weight, 1, 0);
}

static void read_gemm(onnx_op *op)
{
    strata_node *x = onnx_operand(op, 0), *weight = onnx_operand(op, 1), *c = NULL;
    if (x == NULL || weight == NULL)
        return;
    if (!op->in[1]->fixed || x->desc.rank != 2 || weight->desc.rank != 2) {
        onnx_reject(op, "a product of two computed values is not supported");
        return;
    }
    if (onnx_int(op, "transA", 0) != 0)
        x = nn_transpose(op->b, x, 1, 0);
    if (onnx_int(op, "transB", 0) == 0)
        weight = turned_weight(op, weight);
    weight = scaled(op, weight, onnx_float(op, "alpha", 1));
    if (onnx_has(op, 2))
        c = scaled(op, onnx_operand(op, 2), onnx_float(op, "beta", 1));
    const char *name = onnx_name(op, 0, false);
    if (c == NULL || (c->desc.rank > 0 && strata_count(&c->desc) == weight->desc.dim[0] &&
                      c->desc.dim[c->desc.rank - 1] == weight->desc.dim[0])) {
        if (c != NULL && c->desc.rank != 1)
            c = nn_reshape(op->b, c, weight->desc.dim[0]);
        onnx_give(op, 0, strata_emit(op->b, &strata_op_dense, name, NULL, x, weight, c));
    } else if (c->desc.rank <= 2 && op->problem == NULL) {
        if (c->desc.rank < 2)
            c = nn_reshape(op->b, c, 1, -1);
        strata_node *product = strata_emit(op->b, &strata_op_dense, NULL, NULL, x, weight, NULL);
        onnx_give(op, 0, strata_emit(op->b, &strata_op_add, name, NULL, product, c));
    } else {
        onnx_reject(op, "its third operand has an unusual shape");
    }
}

/* x[...,K] * weight[K,M]: over channels where the last dim is (or easily becomes) dim 1 of a map. */
static void read_matmul(onnx_op *op)
{
    strata_tensor_desc x, w;
    if (!onnx_has(op, 0) || !onnx_has(op, 1) || !op->in[1]->fixed || (onnx_shape(op->in[1], &w), w.rank) != 2) {
        onnx_reject(op, "a product of two computed values, as in attention, is not supported");
        return;
    }
    onnx_shape(op->in[0], &x);
    strata_node *weight = onnx_operand(op, 1);
    if (weight == NULL || x.rank < 2) {
        onnx_reject(op, "a product with a vector is not supported");
        return;
    }
    weight = turned_weight(op, weight);
    if (x.rank == 2 || x.rank == 4) {
        strata_node *base;
        int          perm[STRATA_MAX_RANK] = { 0, 1 };
        onnx_channels_base(op, op->in[0], &base, perm);
        strata_node *y = strata_emit(op->b, &strata_op_dense, onnx_name(op, 0, x.rank == 4), NULL, base, weight, NULL);
        onnx_give_turned(op, 0, y, perm);
        return;
    }
    strata_node *rows = onnx_operand(op, 0);
    int64_t      shape[STRATA_MAX_RANK];
    memcpy(shape, x.dim, sizeof shape);
    rows = nn_reshape(op->b, rows, -1, x.dim[x.rank - 1]);
    rows = strata_emit(op->b, &strata_op_dense, NULL, NULL, rows, weight, NULL);
    shape[x.rank - 1] = weight->desc.dim[0];
    strata_reshape_attrs a = { .shape = { .count = x.rank } };
    memcpy(a.shape.at, shape, sizeof shape);
    onnx_give(op, 0, strata_emit(op->b, &strata_op_reshape, onnx_name(op, 0, false), &a, rows));
}

/* ---- Norms ---------------------------------------------------------------------------------------------------------------- */

static void read_batch_norm(onnx_op *op)
{
    strata_node *in[5];
    for (int i = 0; i < 5; i++)
        if ((in[i] = onnx_operand(op, i)) == NULL)
            return;
    if (onnx_int(op, "training_mode", 0) != 0 || (op->im->opset < 7 && onnx_int(op, "is_test", 0) == 0)) {
        onnx_reject(op, "it is in training mode; export the model in evaluation mode");
        return;
    }
    strata_batch_norm_attrs a = { onnx_float(op, "epsilon", 1e-5) };
    onnx_give(op, 0, strata_emit_n(op->b, &strata_op_batch_norm, onnx_name(op, 0, false), &a, in, 5));
}

/* A constant vector of `count` equal numbers. */
static strata_node *filled(onnx_op *op, int64_t count, float value)
{
    strata_tensor_desc desc = strata_desc_f32(1, &count);
    strata_tensor     *t = NULL;
    if (strata_tensor_create(&desc, &t, NULL) != STRATA_OK) {
        strata_builder_fail(op->b, STRATA_NOMEM, "%s: out of memory", op->im->path);
        return NULL;
    }
    for (int64_t i = 0; i < count; i++)
        ((float *)strata_tensor_data(t))[i] = value;
    const char  *name = strata_graph_unique_name(strata_builder_graph(op->b), strata_scoped(op->b, "filled"));
    strata_node *n = strata_emit_const(op->b, name, &desc, t);
    strata_tensor_unref(t);
    return n;
}

static strata_node *vector_operand(onnx_op *op, int i, int64_t count, float fallback)
{
    strata_node *n = onnx_has(op, i) ? onnx_operand(op, i) : filled(op, count, fallback);
    return n != NULL && n->desc.rank != 1 && strata_count(&n->desc) == count ? nn_reshape(op->b, n, count) : n;
}

static void read_layer_norm(onnx_op *op)
{
    strata_tensor_desc x;
    if (!onnx_has(op, 0)) {
        onnx_reject(op, "operand 0 is missing");
        return;
    }
    onnx_shape(op->in[0], &x);
    const int64_t axis = onnx_int(op, "axis", -1);
    if (x.rank < 2 || (axis != -1 && axis != x.rank - 1)) {
        onnx_reject(op, "it normalises over more than the last dim");
        return;
    }
    strata_node *base;
    int          perm[STRATA_MAX_RANK] = { 0, 1 };
    onnx_channels_base(op, op->in[0], &base, perm);
    strata_layer_norm_attrs a = { onnx_float(op, "epsilon", 1e-5) };
    strata_node *gamma = vector_operand(op, 1, x.dim[x.rank - 1], 1), *beta = vector_operand(op, 2, x.dim[x.rank - 1], 0);
    if (base != NULL && gamma != NULL && beta != NULL)
        onnx_give_turned(op, 0, strata_emit(op->b, &strata_op_layer_norm, onnx_name(op, 0, x.rank > 2), &a, base, gamma,
                                            beta), perm);
}

/* ---- Pools ----------------------------------------------------------------------------------------------------------------- */

static bool read_pool_window(onnx_op *op, strata_node *x, window *w)
{
    if (!window_numbers(op, "kernel_shape", w->kernel, 2, 0, 1) || !read_window(op, &x->desc, w))
        return false;
    if (w->dilation[0] != 1 || w->dilation[1] != 1)
        return onnx_reject(op, "pooling with dilation is not supported");
    return true;
}

static strata_pool_attrs pool_attrs(const window *w)
{
    strata_pool_attrs a = { .kernel = { (int)w->kernel[0], (int)w->kernel[1] },
                            .stride = { (int)w->stride[0], (int)w->stride[1] } };
    for (int i = 0; i < 4; i++)
        a.pad[i] = w->pad[i] + (i >= 2 ? w->extra[i - 2] : 0);
    return a;
}

static void read_max_pool(onnx_op *op)
{
    strata_node *x = onnx_operand(op, 0);
    window       w;
    if (x == NULL || !read_pool_window(op, x, &w))
        return;
    strata_pool_attrs a = pool_attrs(&w);
    onnx_give(op, 0, strata_emit(op->b, &strata_op_max_pool, onnx_name(op, 0, false), &a, x));
}

/* With count_include_pad the pads count as zeros, but what ceil_mode adds does not: then the pads become real zeros. */
static void read_average_pool(onnx_op *op)
{
    strata_node *x = onnx_operand(op, 0);
    window       w;
    if (x == NULL || !read_pool_window(op, x, &w))
        return;
    strata_pool_attrs a = pool_attrs(&w);
    a.count_pad = onnx_int(op, "count_include_pad", 0) != 0;
    if (a.count_pad && (w.extra[0] != 0 || w.extra[1] != 0)) {
        strata_ints before = { 4, { 0, 0, w.pad[0], w.pad[1] } }, after = { 4, { 0, 0, w.pad[2], w.pad[3] } };
        x = nn_pad(op->b, x, &before, &after);
        a.count_pad = 0;
        for (int i = 0; i < 4; i++)
            a.pad[i] = i < 2 ? 0 : w.extra[i - 2];
    }
    onnx_give(op, 0, strata_emit(op->b, &strata_op_avg_pool, onnx_name(op, 0, false), &a, x));
}

static void read_global_average_pool(onnx_op *op)
{
    strata_node *x = onnx_operand(op, 0);
    if (x != NULL)
        onnx_give(op, 0, strata_emit(op->b, &strata_op_global_avg_pool, onnx_name(op, 0, false), NULL, x));
}

static void read_global_max_pool(onnx_op *op)
{
    strata_node *x = onnx_operand(op, 0);
    if (x == NULL || x->desc.rank != 4 || x->desc.dim[2] > 4096 || x->desc.dim[3] > 4096) {
        onnx_reject(op, "only maps of up to 4096x4096 are supported");
        return;
    }
    strata_pool_attrs a = { .kernel = { nn_height(x), nn_width(x) }, .stride = { 1, 1 } };
    onnx_give(op, 0, strata_emit(op->b, &strata_op_max_pool, onnx_name(op, 0, false), &a, x));
}

/* ---- Resize ------------------------------------------------------------------------------------------------------------------ */

/* The size of the result, from "sizes" or "scales"; false after rejecting. */
static bool resized(onnx_op *op, const strata_tensor_desc *x, double scale[2], int size[2])
{
    const int     scales = op->im->opset < 11 ? 1 : 2;
    const int64_t count = x->rank;
    int64_t       sizes[STRATA_MAX_RANK];
    int           found = onnx_ints(op, "sizes", 3, sizes, STRATA_MAX_RANK);
    const strata_tensor *t = onnx_has(op, scales) ? op->in[scales]->constant : NULL;
    const strata_tensor_desc *d = t != NULL ? strata_tensor_get_desc(t) : NULL;
    const bool by_scales = found == 0 && d != NULL && d->dtype == STRATA_F32 && strata_count(d) == count;
    if (found < 0)
        return false;
    if (x->rank != 4 || (!by_scales && found != count))
        return onnx_reject(op, "its size is not constant, or its operand is no image");
    for (int i = 0; i < 4; i++) {
        const double factor = by_scales ? (double)((const float *)strata_tensor_data(t))[i]
                                        : (double)sizes[i] / (double)x->dim[i];
        const double exact = by_scales ? floor((double)x->dim[i] * factor) : (double)sizes[i];
        if (!(exact >= 1) || exact > 1 << 20 || (i < 2 && exact != (double)x->dim[i]))
            return onnx_reject(op, "the size it resizes to makes no sense");
        if (i >= 2) {
            size[i - 2] = (int)exact;
            scale[i - 2] = factor;
        }
    }
    return true;
}

/* Whether element i of the result is taken from floor(i * in / out) on this axis, as ours is. */
static bool nearest_agrees(const char *places, const char *rounding, double scale, int64_t in, int64_t out)
{
    for (int64_t i = 0; i < out; i++) {
        double place = strcmp(places, "asymmetric") == 0 ? (double)i / scale : ((double)i + 0.5) / scale - 0.5;
        double at = strcmp(rounding, "floor") == 0               ? floor(place + 1e-9)
                    : strcmp(rounding, "ceil") == 0              ? ceil(place - 1e-9)
                    : strcmp(rounding, "round_prefer_ceil") == 0 ? floor(place + 0.5)
                                                                 : ceil(place - 0.5);
        at = at < 0 ? 0 : at > (double)(in - 1) ? (double)(in - 1) : at;
        if (at != (double)(i * in / out))
            return false;
    }
    return true;
}

static void read_resize(onnx_op *op)
{
    strata_node *x = onnx_operand(op, 0);
    double       scale[2];
    int          size[2];
    if (x == NULL || !resized(op, &x->desc, scale, size))
        return;
    const bool  old = op->im->opset < 11; /* Upsample, and the first Resize */
    const char *mode = onnx_string(op, "mode", "nearest");
    const char *places = onnx_string(op, "coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
    const char *rounding = onnx_string(op, "nearest_mode", old ? "floor" : "round_prefer_floor");
    strata_resize_attrs a = { .size = { size[0], size[1] } };
    bool                fits = onnx_int(op, "antialias", 0) == 0;
    if (strcmp(mode, "nearest") == 0) {
        const bool known = strcmp(places, "asymmetric") == 0 || strstr(places, "half_pixel") != NULL;
        for (int i = 0; i < 2; i++)
            fits = fits && known && nearest_agrees(places, rounding, scale[i], x->desc.dim[2 + i], size[i]);
    } else {
        a.mode = STRATA_RESIZE_BILINEAR;
        a.align_corners = strcmp(places, "align_corners") == 0;
        fits = fits && strcmp(mode, "linear") == 0 && (a.align_corners || strcmp(places, "half_pixel") == 0 ||
               (strcmp(places, "pytorch_half_pixel") == 0 && size[0] > 1 && size[1] > 1));
        for (int i = 0; i < 2; i++) /* a factor that was rounded moves the places */
            fits = fits && fabs((double)size[i] - scale[i] * (double)x->desc.dim[2 + i]) < 1e-3;
    }
    if (!fits)
        onnx_reject(op, "resizing in mode %s, %s, %s is not supported at this factor", mode, places, rounding);
    else
        onnx_give(op, 0, strata_emit(op->b, &strata_op_resize, onnx_name(op, 0, false), &a, x));
}

const onnx_row onnx_layer_rows[] = {
    { "Conv", read_conv },
    { "Gemm", read_gemm },
    { "MatMul", read_matmul },
    { "BatchNormalization", read_batch_norm },
    { "LayerNormalization", read_layer_norm },
    { "MaxPool", read_max_pool },
    { "AveragePool", read_average_pool },
    { "GlobalAveragePool", read_global_average_pool },
    { "GlobalMaxPool", read_global_max_pool },
    { "Resize", read_resize },
    { "Upsample", read_resize },
    { 0 },
};
