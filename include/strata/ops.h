/* strata/ops.h: the built-in ops, for authors of passes and kernels: attribute structs and definitions.
 * Shapes are in logical order N, C, H, W whatever the layout. docs/ops.md is made from the definitions. */
#ifndef STRATA_OPS_H
#define STRATA_OPS_H

#include <strata/extend.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Activations that ops can apply to their result, and unary ops of the same name. XX(ENUM, op name) */
#define STRATA_ACT_MAP(XX)                                                                         \
    XX(RELU, relu) XX(RELU6, relu6) XX(HSWISH, hswish) XX(HSIGMOID, hsigmoid) XX(SIGMOID, sigmoid) \
    XX(SILU, silu) XX(GELU, gelu) /* the tanh form */
#define XX(name, op) STRATA_ACT_##name,
typedef enum strata_act { STRATA_ACT_NONE, STRATA_ACT_MAP(XX) STRATA_ACT_COUNT } strata_act;
#undef XX
/* relu: max(x,0); relu6: min(max(x,0),6); hsigmoid: relu6(x+3)/6; hswish: x*hsigmoid(x);
 * sigmoid: 1/(1+exp(-x)); silu: x*sigmoid(x); gelu: x/2*(1+tanh(sqrt(2/pi)*(x+0.044715*x^3))) */
STRATA_API double      strata_activate(strata_act act, double x);
STRATA_API const char *strata_act_name(strata_act act);          /* "none", "relu", ... */
STRATA_API const strata_op_def *strata_act_op(strata_act act);   /* NULL for NONE */
STRATA_API strata_act           strata_op_act(const strata_op_def *op); /* NONE when op is no activation */
extern STRATA_API const char *const strata_act_names[];          /* for STRATA_ATTR_ENUM rows */

/* conv2d(x[N,C,H,W], weight[O,C/groups,KH,KW], bias[O]?, residual[like result]?)
 * = act(cross-correlation + bias + residual) */
typedef struct strata_conv2d_attrs {
    int stride[2], pad[4] /* top, left, bottom, right */, dilation[2], groups, act;
} strata_conv2d_attrs;

/* dense(x[N,C,...], weight[O,C], bias[O]?): a product over dim 1 at every position; rank 2 or 4 */
typedef struct strata_dense_attrs { int act; } strata_dense_attrs;

/* max_pool: padding is minus infinity. avg_pool: padding counts as zeros only with count_pad */
typedef struct strata_pool_attrs { int kernel[2], stride[2], pad[4], count_pad; } strata_pool_attrs;
/* global_avg_pool(x[N,C,H,W]) -> [N,C,1,1]: no attributes */

/* batch_norm(x, gamma[C], beta[C], mean[C], variance[C]) over dim 1, with running statistics */
typedef struct strata_batch_norm_attrs { double epsilon; } strata_batch_norm_attrs;
/* layer_norm(x[N,C,...], gamma[C], beta[C]): over dim 1 at each position (ConvNeXt) */
typedef struct strata_layer_norm_attrs { double epsilon; } strata_layer_norm_attrs;
/* grn(x[N,C,H,W], gamma[C], beta[C]): global response normalisation (ConvNeXt V2, Woo et al. 2023):
 * g = sqrt(sum over H,W of x^2); n = g / (mean over C of g + epsilon); gamma * (x*n) + beta + x */
typedef struct strata_grn_attrs { double epsilon; } strata_grn_attrs;

/* gelu_erf (x): the exact form of gelu, x/2 * (1 + erf(x / sqrt(2))); no attributes, no activation of other ops */

/* add, sub, mul, div (x, y): numpy broadcasting between operands of equal rank (dims equal or 1) */
typedef struct strata_binary_attrs { int act; } strata_binary_attrs;
/* add_scalar, mul_scalar (x) */
typedef struct strata_scalar_attrs { double value; } strata_scalar_attrs;
/* neg, rsqrt, sqrt (x): no attributes */
/* partial_add(x[N,C,...], y[N,D,...]), D <= C: y added to the first D channels (ReXNet's shortcut) */
/* split_sum(x[N,R*C,H,W], logits[N,R*C,1,1]?) -> [N,C,H,W]: the sum of R splits of the channels, weighted by a softmax over
 * splits where there are logits (split attention of ResNeSt) */
typedef struct strata_split_sum_attrs { int splits; } strata_split_sum_attrs;

typedef struct strata_softmax_attrs { int axis; } strata_softmax_attrs;
typedef struct strata_reshape_attrs { strata_ints shape; } strata_reshape_attrs; /* no -1 here: resolved by nn.h */
typedef struct strata_transpose_attrs { strata_ints perm; } strata_transpose_attrs; /* result dim i = x dim perm[i] */
typedef struct strata_slice_attrs { int axis, begin, end; } strata_slice_attrs; /* [begin, end) */
typedef struct strata_concat_attrs { int axis; } strata_concat_attrs; /* variadic */
typedef struct strata_pad_attrs { strata_ints before, after; } strata_pad_attrs; /* zeros; a number per dim */

/* resize(x[N,C,H,W]) -> [N,C,size]: nearest is src = floor(dst * in / out) (asymmetric);
 * bilinear maps half-pixel centres, or corners onto corners with align_corners */
typedef enum strata_resize_mode { STRATA_RESIZE_NEAREST, STRATA_RESIZE_BILINEAR } strata_resize_mode;
typedef struct strata_resize_attrs { int size[2], mode, align_corners; } strata_resize_attrs;

/* copy(x): the same values in another layout or on another device; inserted by the compiler */
typedef struct strata_copy_attrs { int layout, dtype; } strata_copy_attrs; /* dtype: STRATA_F32 or STRATA_F16 */

/* The definitions: strata_op_conv2d and so on, one line each in ops/ops.def. */
#define OP(name) extern STRATA_API const strata_op_def strata_op_##name;
#include <strata/ops.def>
#undef OP

#ifdef __cplusplus
}
#endif
#endif
