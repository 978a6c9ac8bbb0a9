/* op_cases.c: see the header. A case is a function that picks a shape and makes the operands. */
#include "op_cases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Noise ------------------------------------------------------------------------------------------------------- */

static uint32_t noise_bits(op_case *r) /* splitmix64, Steele, Lea and Flood 2014 */
{
    uint64_t z = r->noise += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static int   pick(op_case *r, int low, int high) { return low + (int)(noise_bits(r) % (uint32_t)(high - low + 1)); }
static float noise(op_case *r) { return (float)noise_bits(r) / 2147483648.0f - 1; } /* -1..1 */

/* ---- One op ------------------------------------------------------------------------------------------------------ */

static void set_default(void *at, const strata_attr_def *row)
{
    const int count = row->type == STRATA_ATTR_INT2 ? 2 : row->type == STRATA_ATTR_INT4 ? 4 : 1;
    if (row->type == STRATA_ATTR_FLOAT)
        *(double *)at = row->deflt;
    for (int i = 0; row->type != STRATA_ATTR_FLOAT && row->type != STRATA_ATTR_INTS && i < count; i++)
        ((int *)at)[i] = (int)row->deflt;
}

/* attrs NULL: the defaults. */
static void begin(op_case *r, const strata_op_def *op, const void *attrs)
{
    const uint64_t kept = r->noise;
    memset(r, 0, sizeof *r);
    r->noise = kept;
    r->op = op;
    if (attrs)
        memcpy(r->attrs.bytes, attrs, op->attr_size);
    for (const strata_attr_def *row = attrs ? NULL : op->attrs; row && row->name; row++)
        set_default(r->attrs.bytes + row->offset, row);
}

static void absent(op_case *r) { r->count++; }

/* An operand of noise: its first images are the same for any batch. */
static float *operand(op_case *r, bool constant, int rank, const int64_t *dim)
{
    const int      k = r->count++;
    const uint64_t kept = r->noise;
    r->desc[k] = strata_desc_f32(rank, dim);
    r->constant[k] = constant;
    int64_t count = strata_count(&r->desc[k]);
    r->x[k] = malloc((size_t)count * sizeof(float));
    r->noise = kept * 31 + (uint64_t)k;
    for (int64_t i = 0; r->x[k] && i < count; i++)
        r->x[k][i] = noise(r);
    r->noise = kept + 1;
    r->failed |= !r->x[k];
    return r->x[k];
}

#define DIMS(...)     (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ }
#define VALUE(r, ...) operand(r, false, DIMS(__VA_ARGS__))
#define PARAM(r, ...) operand(r, true, DIMS(__VA_ARGS__))

/* The case as a node without a graph. */
typedef struct lone_node {
    strata_node n, in[STRATA_MAX_OPERANDS];
    strata_view view[STRATA_MAX_OPERANDS];
} lone_node;

static void make_node(const op_case *r, lone_node *out)
{
    memset(out, 0, sizeof *out);
    out->n.op = r->op;
    out->n.attrs = r->attrs.bytes;
    for (int k = 0; k < r->count; k++) {
        if (r->desc[k].rank == 0)
            continue;
        out->in[k].op = r->constant[k] ? &strata_op_const : &strata_op_input;
        out->in[k].desc = r->desc[k];
        out->n.in[k] = &out->in[k];
        out->view[k] = (strata_view){ .desc = &out->in[k].desc, .data = r->x[k] };
    }
}

static bool infer(const op_case *r, strata_tensor_desc *out)
{
    lone_node node;
    make_node(r, &node);
    *out = r->desc[0];
    return r->op->infer(&node.n, out, NULL) == STRATA_OK;
}

/* ---- Cases ------------------------------------------------------------------------------------------------------- */

/* Mostly up to `most`, now and then 1. */
static int size(op_case *r, int most) { return pick(r, 0, 5) == 0 ? 1 : pick(r, 1, most); }

static void bias_and_residual(op_case *r, int batch, int o)
{
    bool bias = pick(r, 0, 3) != 0, residual = pick(r, 0, 2) == 0;
    if (bias)
        PARAM(r, o);
    else
        absent(r);
    if (!residual)
        return;
    strata_tensor_desc y;
    if (infer(r, &y))
        VALUE(r, batch, o, y.dim[2], y.dim[3]);
}

static void conv2d_of(op_case *r, int batch, const strata_conv2d_attrs *a, int c, int h, int w, int o, int kh,
                      int kw)
{
    begin(r, &strata_op_conv2d, a);
    VALUE(r, batch, c, h, w);
    PARAM(r, o, c / a->groups, kh, kw);
    bias_and_residual(r, batch, o);
}

static strata_conv2d_attrs conv_attrs(op_case *r, int kh, int kw, int h, int w)
{
    strata_conv2d_attrs a = { .groups = 1, .act = pick(r, 0, STRATA_ACT_COUNT - 1) };
    const int size_of[2] = { h, w }, kernel[2] = { kh, kw };
    for (int i = 0; i < 2; i++) {
        a.stride[i]   = pick(r, 1, 3);
        a.dilation[i] = kernel[i] > 1 ? pick(r, 1, 2) : 1;
        a.pad[i]      = pick(r, 0, kernel[i]);
        int extent    = (kernel[i] - 1) * a.dilation[i] + 1;
        int least     = extent - size_of[i] - a.pad[i];
        a.pad[i + 2]  = pick(r, 0, kernel[i]);
        if (a.pad[i + 2] < least)
            a.pad[i + 2] = least;
    }
    return a;
}

static void conv2d_any(op_case *r, int batch)
{
    int kh = pick(r, 1, 5), kw = pick(r, 1, 5), h = size(r, 10), w = size(r, 10), groups = pick(r, 0, 2) ? 1 : pick(r, 2, 4);
    int c = groups * size(r, 67 / groups), o = groups * size(r, 67 / groups);
    strata_conv2d_attrs a = conv_attrs(r, kh, kw, h, w);
    a.groups = groups;
    conv2d_of(r, batch, &a, c, h, w, o, kh, kw);
}

static void conv2d_depthwise(op_case *r, int batch)
{
    int k = 1 + 2 * pick(r, 0, 3), kw = pick(r, 0, 4) ? k : pick(r, 1, 7), h = size(r, 17), w = size(r, 17), c = pick(r, 2, 67);
    strata_conv2d_attrs a = conv_attrs(r, k, kw, h, w);
    a.groups = c;
    conv2d_of(r, batch, &a, c, h, w, c, k, kw);
}

/* The strides and padding of networks, and maps that rows ahead are fetched of. */
static void conv2d_depthwise_large(op_case *r, int batch)
{
    int k = 1 + 2 * pick(r, 1, 3), stride = pick(r, 1, 2), h = pick(r, 40, 60), w = pick(r, 40, 60), c = pick(r, 36, 45);
    int pad = k / 2;
    strata_conv2d_attrs a = { { stride, stride }, { pad, pad, pad, pad }, { 1, 1 }, c, pick(r, 0, STRATA_ACT_COUNT - 1) };
    conv2d_of(r, batch, &a, c, h, w, c, k, k);
}

/* Groups of four or eight channels. */
static void conv2d_grouped(op_case *r, int batch)
{
    int k = pick(r, 1, 4), h = size(r, 17), w = size(r, 17), group = 4 * pick(r, 1, 2), groups = pick(r, 2, 9);
    strata_conv2d_attrs a = conv_attrs(r, k, k, h, w);
    a.groups = groups;
    conv2d_of(r, batch, &a, groups * group, h, w, groups * group, k, k);
}

static void conv2d_pointwise(op_case *r, int batch)
{
    strata_conv2d_attrs a = { { 1, 1 }, { 0 }, { 1, 1 }, 1, pick(r, 0, STRATA_ACT_COUNT - 1) };
    int c = size(r, 67), h = size(r, 20), w = size(r, 20), o = size(r, 67);
    conv2d_of(r, batch, &a, c, h, w, o, 1, 1);
}

/* Large enough for several bands, ranges of channels and chunks of weights. */
static void conv2d_large(op_case *r, int batch)
{
    static const int shape[][5] = { /* channels, map, out, kernel, stride */
        { 3, 50, 24, 7, 2 }, { 64, 40, 17, 3, 1 }, { 520, 7, 20, 3, 1 }, { 1030, 7, 140, 1, 1 },
        { 24, 50, 72, 1, 1 }, { 130, 14, 260, 1, 2 }, { 5, 33, 65, 5, 1 }, { 256, 9, 16, 3, 1 }, { 136, 23, 150, 3, 1 }
    };
    const int *s = shape[pick(r, 0, sizeof shape / sizeof *shape - 1)];
    int p = s[3] / 2;
    strata_conv2d_attrs a = { { s[4], s[4] }, { p, p, p, p }, { 1, 1 }, 1, pick(r, 0, STRATA_ACT_COUNT - 1) };
    conv2d_of(r, batch, &a, s[0], s[1], s[1], s[2], s[3], s[3]);
}

/* 3x3 of stride 1 and 2: whole and broken tiles of Winograd's, blocks of tiles, groups, uneven padding. */
static void conv2d_three(op_case *r, int batch)
{
    int groups = pick(r, 0, 2) ? 1 : pick(r, 2, 3), stride = pick(r, 1, 2), h = size(r, 19), w = size(r, 19);
    int c = groups * size(r, 90 / groups), o = groups * size(r, 90 / groups);
    strata_conv2d_attrs a = { { stride, stride }, { 0 }, { 1, 1 }, groups, pick(r, 0, STRATA_ACT_COUNT - 1) };
    for (int i = 0; i < 4; i++)
        a.pad[i] = pick(r, 0, 1) ? 1 : pick(r, 0, 3);
    a.pad[2] = a.pad[2] + h + a.pad[0] < 3 ? 2 : a.pad[2];
    a.pad[3] = a.pad[3] + w + a.pad[1] < 3 ? 2 : a.pad[3];
    conv2d_of(r, batch, &a, c, h, w, o, 3, 3);
}

static void conv2d_vector(op_case *r, int batch)
{
    strata_conv2d_attrs a = { { 1, 1 }, { 0 }, { 1, 1 }, 1, pick(r, 0, STRATA_ACT_COUNT - 1) };
    begin(r, &strata_op_conv2d, &a);
    int c = size(r, 300), o = size(r, 150);
    VALUE(r, batch, c, 1, 1);
    PARAM(r, o, c, 1, 1);
    PARAM(r, o);
}

static void dense_any(op_case *r, int batch)
{
    strata_dense_attrs a = { pick(r, 0, STRATA_ACT_COUNT - 1) };
    begin(r, &strata_op_dense, &a);
    int c = size(r, 130), o = size(r, 130), h = size(r, 9), w = size(r, 9);
    if (pick(r, 0, 1))
        VALUE(r, batch, c);
    else
        VALUE(r, batch, c, h, w);
    PARAM(r, o, c);
    if (pick(r, 0, 2))
        PARAM(r, o);
}

static strata_pool_attrs pool_attrs(op_case *r)
{
    strata_pool_attrs a = { { 0 } };
    for (int i = 0; i < 2; i++) {
        a.kernel[i]  = pick(r, 1, 4);
        a.stride[i]  = pick(r, 1, 3);
        a.pad[i]     = pick(r, 0, a.kernel[i] - 1);
        a.pad[i + 2] = pick(r, 0, a.kernel[i] - 1);
    }
    return a;
}

static void max_pool_any(op_case *r, int batch)
{
    strata_pool_attrs a = pool_attrs(r);
    begin(r, &strata_op_max_pool, &a);
    VALUE(r, batch, size(r, 67), pick(r, 4, 30), pick(r, 4, 30));
}

static void avg_pool_any(op_case *r, int batch)
{
    strata_pool_attrs a = pool_attrs(r);
    a.count_pad = pick(r, 0, 1);
    begin(r, &strata_op_avg_pool, &a);
    VALUE(r, batch, size(r, 67), pick(r, 4, 30), pick(r, 4, 30));
}

static void global_avg_pool_any(op_case *r, int batch)
{
    begin(r, &strata_op_global_avg_pool, NULL);
    VALUE(r, batch, size(r, 67), size(r, 40), size(r, 40));
}

/* A value of rank 4 or 2. */
static int64_t rows_value(op_case *r, int batch)
{
    int c = size(r, 67), h = size(r, 20), w = size(r, 20);
    if (pick(r, 0, 3))
        VALUE(r, batch, c, h, w);
    else
        VALUE(r, batch, c);
    return c;
}

static void batch_norm_any(op_case *r, int batch)
{
    begin(r, &strata_op_batch_norm, NULL);
    int64_t c = rows_value(r, batch);
    for (int i = 0; i < 3; i++)
        PARAM(r, c);
    float *variance = PARAM(r, c);
    for (int64_t i = 0; variance && i < c; i++)
        variance[i] = 0.1f + fabsf(variance[i]);
}

static void layer_norm_any(op_case *r, int batch)
{
    strata_layer_norm_attrs a = { 1e-3 }; /* a row of one or two channels may have next to no variance */
    begin(r, &strata_op_layer_norm, &a);
    int64_t c = rows_value(r, batch);
    PARAM(r, c);
    PARAM(r, c);
}

static void grn_any(op_case *r, int batch)
{
    begin(r, &strata_op_grn, NULL);
    int c = size(r, 67);
    VALUE(r, batch, c, size(r, 20), size(r, 20));
    PARAM(r, c);
    PARAM(r, c);
}

static void split_sum_any(op_case *r, int batch)
{
    strata_split_sum_attrs a = { pick(r, 1, 4) };
    begin(r, &strata_op_split_sum, &a);
    int  c = a.splits * size(r, 40), h = size(r, 12), w = size(r, 12);
    bool weighted = pick(r, 0, 2) > 0;
    VALUE(r, batch, c, h, w);
    if (weighted)
        VALUE(r, batch, c, 1, 1);
    else
        absent(r);
}

/* A value of any rank; its first dim is the batch. */
static void any_value(op_case *r, int batch)
{
    int64_t dim[STRATA_MAX_RANK] = { batch };
    int rank = pick(r, 1, STRATA_MAX_RANK);
    for (int i = 1; i < rank; i++)
        dim[i] = size(r, rank > 4 ? 6 : 20);
    operand(r, false, rank, dim);
}

static void unary_any(op_case *r, int batch)
{
    any_value(r, batch);
    int64_t count = strata_count(&r->desc[0]);
    bool root = r->op == &strata_op_rsqrt || r->op == &strata_op_sqrt;
    for (int64_t i = 0; r->x[0] && i < count; i++)
        r->x[0][i] = root ? 0.01f + fabsf(r->x[0][i]) : r->x[0][i] * 12;
}

#define UNARY_CASE(op) \
    static void op##_any(op_case *r, int batch) { begin(r, &strata_op_##op, NULL); unary_any(r, batch); }
#define XX(enumname, op) UNARY_CASE(op)
STRATA_ACT_MAP(XX)
#undef XX
UNARY_CASE(neg)
UNARY_CASE(rsqrt)
UNARY_CASE(sqrt)
UNARY_CASE(gelu_erf)

static void add_scalar_any(op_case *r, int batch)
{
    begin(r, &strata_op_add_scalar, &(strata_scalar_attrs){ 0.3 });
    unary_any(r, batch);
}

static void mul_scalar_any(op_case *r, int batch)
{
    begin(r, &strata_op_mul_scalar, &(strata_scalar_attrs){ -1.7 });
    unary_any(r, batch);
}

static void softmax_any(op_case *r, int batch)
{
    uint64_t saved = r->noise;
    begin(r, &strata_op_softmax, NULL);
    any_value(r, batch);
    if (r->desc[0].rank == 1) { /* there the only axis is the batch: nothing to compare between batches */
        op_case_free(r);
        r->noise = saved + 1;
        softmax_any(r, batch);
        return;
    }
    strata_softmax_attrs a = { pick(r, 1, r->desc[0].rank - 1) };
    memcpy(r->attrs.bytes, &a, sizeof a);
}

/* Each operand may be broadcast along any dim but the first; the second may be a constant. */
static void binary_any(op_case *r, int batch, const strata_op_def *op)
{
    strata_binary_attrs a = { pick(r, 0, 1) ? STRATA_ACT_NONE : pick(r, 0, STRATA_ACT_COUNT - 1) };
    begin(r, op, &a);
    int64_t dim[2][STRATA_MAX_RANK];
    int rank = pick(r, 0, 3) ? 4 : pick(r, 1, STRATA_MAX_RANK), how = pick(r, 0, 3);
    for (int i = 0; i < rank; i++) {
        dim[0][i] = dim[1][i] = i == 0 ? batch : size(r, rank > 4 ? 6 : i == 1 ? 67 : 17);
        int one = how == 0 ? -1 : how == 1 ? (i > 1 ? 1 : -1) : i > 0 ? pick(r, -1, 1) : -1;
        if (one >= 0)
            dim[one][i] = 1;
    }
    bool constant = pick(r, 0, 3) == 0;
    if (constant)
        dim[1][0] = 1;
    operand(r, false, rank, dim[0]);
    operand(r, constant, rank, dim[1]);
}

static void add_any(op_case *r, int batch) { binary_any(r, batch, &strata_op_add); }
static void sub_any(op_case *r, int batch) { binary_any(r, batch, &strata_op_sub); }
static void mul_any(op_case *r, int batch) { binary_any(r, batch, &strata_op_mul); }
static void div_any(op_case *r, int batch) { binary_any(r, batch, &strata_op_div); }

static void partial_add_any(op_case *r, int batch)
{
    begin(r, &strata_op_partial_add, NULL);
    int c = size(r, 67), d = pick(r, 1, c), h = size(r, 20), w = size(r, 20);
    if (pick(r, 0, 3)) {
        VALUE(r, batch, c, h, w);
        VALUE(r, batch, d, h, w);
    } else {
        VALUE(r, batch, c);
        VALUE(r, batch, d);
    }
}

static void reshape_any(op_case *r, int batch)
{
    int c = size(r, 40), h = size(r, 20), w = size(r, 20);
    begin(r, &strata_op_reshape, &(strata_reshape_attrs){ { 3, { batch, h * w, c } } });
    VALUE(r, batch, c, h, w);
}

static void transpose_any(op_case *r, int batch)
{
    begin(r, &strata_op_transpose, NULL);
    any_value(r, batch);
    int rank = r->desc[0].rank;
    strata_transpose_attrs a = { { rank, { 0 } } };
    for (int i = 1; i < rank; i++) { /* the batch stays in front */
        int at      = pick(r, 1, i);
        a.perm.at[i] = a.perm.at[at];
        a.perm.at[at] = i;
    }
    memcpy(r->attrs.bytes, &a, sizeof a);
}

static void slice_any(op_case *r, int batch)
{
    begin(r, &strata_op_slice, NULL);
    int dim[4] = { batch, size(r, 67), size(r, 20), size(r, 20) }, axis = pick(r, 1, 3), begin = pick(r, 0, dim[axis] - 1);
    strata_slice_attrs a = { axis, begin, pick(r, begin + 1, dim[axis]) };
    memcpy(r->attrs.bytes, &a, sizeof a);
    VALUE(r, dim[0], dim[1], dim[2], dim[3]);
}

static void concat_any(op_case *r, int batch)
{
    strata_concat_attrs a = { pick(r, 1, 3) };
    begin(r, &strata_op_concat, &a);
    int64_t dim[4] = { batch, size(r, 67), size(r, 20), size(r, 20) };
    for (int k = pick(r, 1, 4); k > 0; k--) {
        dim[a.axis] = size(r, 30);
        operand(r, false, 4, dim);
    }
}

static void pad_any(op_case *r, int batch)
{
    strata_pad_attrs a = { { 4, { 0 } }, { 4, { 0 } } };
    for (int i = 1; i < 4; i++) {
        a.before.at[i] = pick(r, 0, 3);
        a.after.at[i]  = pick(r, 0, 3);
    }
    begin(r, &strata_op_pad, &a);
    VALUE(r, batch, size(r, 67), size(r, 20), size(r, 20));
}

static void resize_any(op_case *r, int batch)
{
    strata_resize_attrs a = { { size(r, 30), size(r, 30) }, pick(r, 0, 1), 0 };
    a.align_corners = a.mode == STRATA_RESIZE_BILINEAR && pick(r, 0, 1);
    begin(r, &strata_op_resize, &a);
    VALUE(r, batch, size(r, 67), size(r, 20), size(r, 20));
}

static void copy_any(op_case *r, int batch)
{
    begin(r, &strata_op_copy, NULL);
    int c = pick(r, 0, 3) ? size(r, 67) : 3; /* 3: an image */
    VALUE(r, batch, c, size(r, 70), size(r, 70));
}

#define XX(enumname, op) { &strata_op_##op, "any", 20, op##_any, 4e-6 },
const op_case_def op_case_defs[] = {
    { &strata_op_conv2d, "any", 120, conv2d_any, 1e-5 },
    { &strata_op_conv2d, "depthwise", 80, conv2d_depthwise, 1e-5 },
    { &strata_op_conv2d, "depthwise large", 6, conv2d_depthwise_large, 1e-5 },
    { &strata_op_conv2d, "grouped", 40, conv2d_grouped, 1e-5 },
    { &strata_op_conv2d, "pointwise", 40, conv2d_pointwise, 1e-5 },
    { &strata_op_conv2d, "large", 12, conv2d_large, 1e-5 },
    { &strata_op_conv2d, "three", 60, conv2d_three, 1e-5 },
    { &strata_op_conv2d, "vector", 20, conv2d_vector, 1e-5 },
    { &strata_op_dense, "any", 50, dense_any, 1e-5 },
    { &strata_op_max_pool, "any", 40, max_pool_any, 0 },
    { &strata_op_avg_pool, "any", 40, avg_pool_any, 1e-6 },
    { &strata_op_global_avg_pool, "any", 30, global_avg_pool_any, 1e-6 },
    { &strata_op_batch_norm, "any", 30, batch_norm_any, 1e-5 },
    { &strata_op_layer_norm, "any", 30, layer_norm_any, 1e-4 },
    { &strata_op_grn, "any", 30, grn_any, 1e-5 },
    STRATA_ACT_MAP(XX)
    { &strata_op_softmax, "any", 60, softmax_any, 2e-6 },
    { &strata_op_add, "any", 60, add_any, 1e-6 },
    { &strata_op_sub, "any", 60, sub_any, 1e-6 },
    { &strata_op_mul, "any", 60, mul_any, 1e-6 },
    { &strata_op_div, "any", 60, div_any, 1e-6 },
    { &strata_op_neg, "any", 10, neg_any, 0 },
    { &strata_op_rsqrt, "any", 10, rsqrt_any, 1e-6 },
    { &strata_op_sqrt, "any", 10, sqrt_any, 1e-6 },
    { &strata_op_gelu_erf, "any", 10, gelu_erf_any, 1e-6 },
    { &strata_op_add_scalar, "any", 10, add_scalar_any, 1e-6 },
    { &strata_op_mul_scalar, "any", 10, mul_scalar_any, 1e-6 },
    { &strata_op_partial_add, "any", 30, partial_add_any, 1e-6 },
    { &strata_op_split_sum, "any", 30, split_sum_any, 2e-6 },
    { &strata_op_reshape, "any", 20, reshape_any, 0 },
    { &strata_op_transpose, "any", 80, transpose_any, 0 },
    { &strata_op_slice, "any", 60, slice_any, 0 },
    { &strata_op_concat, "any", 60, concat_any, 0 },
    { &strata_op_pad, "any", 60, pad_any, 0 },
    { &strata_op_resize, "any", 60, resize_any, 1e-6 },
    { &strata_op_copy, "any", 40, copy_any, 0 },
    { NULL },
};
#undef XX

/* ---- Using a case ------------------------------------------------------------------------------------------------ */

bool op_case_make(const op_case_def *def, uint64_t seed, int batch, op_case *out)
{
    *out = (op_case){ .noise = seed };
    def->build(out, batch);
    return !out->failed;
}

void op_case_free(op_case *c)
{
    for (int k = 0; k < c->count; k++)
        free(c->x[k]);
    memset(c->x, 0, sizeof c->x);
}

strata_status op_case_eval(const op_case *c, strata_tensor_desc *desc, float **out, strata_error *err)
{
    lone_node node;
    make_node(c, &node);
    *desc = c->desc[0];
    STRATA_TRY(c->op->infer(&node.n, desc, err));
    *out = malloc(strata_bytes(desc));
    if (!*out)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    memset(*out, 0xff, strata_bytes(desc)); /* NaN where eval forgets an element */
    node.n.desc = *desc;
    strata_view   view = { .desc = &node.n.desc, .data = *out };
    strata_status status = c->op->eval(&node.n, node.view, &view);
    return status == STRATA_OK ? status : strata_fail(err, status, "the definition of %s failed", c->op->name);
}

/* The sum of absolute values: the same node without activation, with the absolute values of all operands. */
static bool absolute(const op_case *c, float **out, int64_t *terms)
{
    op_case            a = *c;
    strata_tensor_desc desc;
    bool               whole = true;
    *(c->op == &strata_op_conv2d ? &((strata_conv2d_attrs *)(void *)a.attrs.bytes)->act
                                 : &((strata_dense_attrs *)(void *)a.attrs.bytes)->act) = STRATA_ACT_NONE;
    *terms = 1;
    for (int k = 0; k < c->count; k++) {
        a.x[k] = NULL;
        if (!c->x[k])
            continue;
        const int64_t n = strata_count(&c->desc[k]);
        a.x[k] = malloc((size_t)n * sizeof(float));
        whole &= a.x[k] != NULL;
        for (int64_t i = 0; a.x[k] && i < n; i++)
            a.x[k][i] = fabsf(c->x[k][i]);
        if (k == 1)
            *terms = n / c->desc[k].dim[0];
    }
    *out = NULL;
    whole = whole && op_case_eval(&a, &desc, out, NULL) == STRATA_OK;
    op_case_free(&a);
    return whole;
}

float *op_case_scales(const op_case *c, const strata_tensor_desc *desc, const float *y)
{
    const int64_t count = strata_count(desc);
    const bool    sums = c->op == &strata_op_conv2d || c->op == &strata_op_dense;
    int64_t       terms = 1;
    float        *scale = NULL;
    if (sums && !absolute(c, &scale, &terms)) {
        free(scale);
        return NULL;
    }
    if (!sums)
        scale = malloc((size_t)count * sizeof *scale);
    for (int64_t i = 0; scale && i < count; i++) /* of a sum, and of the result's rounding */
        scale[i] = sums ? scale[i] * sqrtf((float)terms) + 0.05f * fabsf(y[i]) : fmaxf(1, fabsf(y[i]));
    return scale;
}

void op_case_spread(const op_case *c, const strata_tensor_desc *desc, float *scale)
{
    const int64_t count = strata_count(desc), terms = strata_count(&c->desc[1]) / c->desc[1].dim[0];
    float         largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmaxf(largest, scale[i]);
    for (int64_t i = 0; i < count; i++)
        scale[i] = largest / sqrtf((float)terms);
}
