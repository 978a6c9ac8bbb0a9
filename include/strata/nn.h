/* strata/nn.h: the vocabulary of model files and passes.
 *
 * Required arguments are positional, the rest are named and zero means the default:
 *     x = nn_conv2d(b, x, "conv1", 64, 7, .stride = 2, .pad = 3);
 * A layer named "conv1" in the scope "layer1.0" makes the value %layer1.0.conv1 and the parameter
 * @layer1.0.conv1.weight. Ops without a name argument take the name of the op in the scope
 * (%layer1.0.relu, then %layer1.0.relu.1). Shapes are inferred as we build: nn_channels(x).
 *
 * Two laws. At most one builder call in an argument list (C does not fix the order of evaluation);
 * nesting is safe. No return or break out of an NN_SCOPE.
 */
#ifndef STRATA_NN_H
#define STRATA_NN_H

#include <strata/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NN_CONCAT_(x, y) x##y
#define NN_CONCAT(x, y)  NN_CONCAT_(x, y)
/* The variable is named by the line, so that nested scopes do not shadow each other. */
#define NN_SCOPE(b, ...) NN_SCOPE_(NN_CONCAT(nn_once_, __LINE__), b, __VA_ARGS__)
#define NN_SCOPE_(once, b, ...)                                                                    \
    for (bool once = (strata_push_scope((b), __VA_ARGS__), true); once;                            \
         strata_pop_scope(b), once = false)

STRATA_API int nn_dim(const strata_node *x, int i); /* 1 for a dead node */
static inline int nn_channels(const strata_node *x) { return nn_dim(x, 1); }
static inline int nn_height(const strata_node *x) { return nn_dim(x, 2); }
static inline int nn_width(const strata_node *x) { return nn_dim(x, 3); }

/* ---- Sources and marks ------------------------------------------------------------------------ */

/* The input named "input": [batch, channels, height, width]. */
STRATA_API strata_node *nn_image(strata_builder *b, const strata_model_args *args);
/* A parameter "scope.leaf". */
STRATA_API strata_node *nn_param_n(strata_builder *b, const char *leaf, int rank, const int64_t *dim);
#define nn_param(b, leaf, ...)                                                                     \
    nn_param_n(b, leaf, (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ })
/* Registers x as the next feature, under a whole name (not scoped). Channels and stride are checked. */
STRATA_API void nn_feature(strata_builder *b, strata_node *x, const char *name, int channels, int reduction);
STRATA_API void nn_output(strata_builder *b, strata_node *x, const char *name);

/* ---- Layers with parameters --------------------------------------------------------------------- */

typedef struct nn_conv2d_args {
    const char *name;
    int         out, kernel;
    int         stride;   /* 0: 1 */
    int         pad;      /* on all four sides */
    bool        same;     /* TensorFlow's: result = ceil(size / stride), an odd pad goes to bottom and right */
    int         groups;   /* 0: 1 */
    int         dilation; /* 0: 1 */
    bool        bias;     /* parameter "bias" */
} nn_conv2d_args;
STRATA_API strata_node *nn_conv2d_(strata_builder *b, strata_node *x, nn_conv2d_args args);
#define nn_conv2d(b, x, ...) nn_conv2d_(b, x, (nn_conv2d_args){ __VA_ARGS__ }) /* "name", out, kernel, ... */

typedef struct nn_dense_args {
    const char *name;
    int         out;
    bool        no_bias;
} nn_dense_args;
/* Over dim 1: x of rank 2 or 4. Parameters weight[out,in], bias[out]. */
STRATA_API strata_node *nn_dense_(strata_builder *b, strata_node *x, nn_dense_args args);
#define nn_dense(b, x, ...) nn_dense_(b, x, (nn_dense_args){ __VA_ARGS__ }) /* "name", out, ... */

typedef struct nn_norm_args {
    const char *name;
    double      epsilon; /* 0: 1e-5 for batch_norm, 1e-6 for layer_norm and grn */
} nn_norm_args;
/* Parameters gamma, beta, moving_mean, moving_variance. */
STRATA_API strata_node *nn_batch_norm_(strata_builder *b, strata_node *x, nn_norm_args args);
/* Parameters gamma, beta. */
STRATA_API strata_node *nn_layer_norm_(strata_builder *b, strata_node *x, nn_norm_args args);
/* Parameters gamma, beta of shape [1,1,1,C]. */
STRATA_API strata_node *nn_grn_(strata_builder *b, strata_node *x, nn_norm_args args);
#define nn_batch_norm(b, x, ...) nn_batch_norm_(b, x, (nn_norm_args){ __VA_ARGS__ })
#define nn_layer_norm(b, x, ...) nn_layer_norm_(b, x, (nn_norm_args){ __VA_ARGS__ })
#define nn_grn(b, x, ...)        nn_grn_(b, x, (nn_norm_args){ __VA_ARGS__ })

/* ---- Activations --------------------------------------------------------------------------------- */

/* NONE gives x. */
STRATA_API strata_node *nn_act(strata_builder *b, strata_node *x, strata_act act);
#define XX(enumname, op) \
    static inline strata_node *nn_##op(strata_builder *b, strata_node *x) { return nn_act(b, x, STRATA_ACT_##enumname); }
STRATA_ACT_MAP(XX)
#undef XX

/* ---- Pools, resizing ------------------------------------------------------------------------------ */

typedef struct nn_pool_args {
    int  kernel;
    int  stride; /* 0: the kernel */
    int  pad;
    bool same, count_pad;
} nn_pool_args;
STRATA_API strata_node *nn_max_pool_(strata_builder *b, strata_node *x, nn_pool_args args);
STRATA_API strata_node *nn_avg_pool_(strata_builder *b, strata_node *x, nn_pool_args args);
#define nn_max_pool(b, x, ...) nn_max_pool_(b, x, (nn_pool_args){ __VA_ARGS__ })
#define nn_avg_pool(b, x, ...) nn_avg_pool_(b, x, (nn_pool_args){ __VA_ARGS__ })
STRATA_API strata_node *nn_global_avg_pool(strata_builder *b, strata_node *x); /* [N,C,1,1] */
STRATA_API strata_node *nn_resize(strata_builder *b, strata_node *x, int height, int width, strata_resize_mode mode);

/* ---- Arithmetic and shapes -------------------------------------------------------------------------- */

STRATA_API strata_node *nn_add(strata_builder *b, strata_node *x, strata_node *y);
STRATA_API strata_node *nn_sub(strata_builder *b, strata_node *x, strata_node *y);
STRATA_API strata_node *nn_mul(strata_builder *b, strata_node *x, strata_node *y);
STRATA_API strata_node *nn_partial_add(strata_builder *b, strata_node *x, strata_node *y);
/* logits may be NULL. */
STRATA_API strata_node *nn_split_sum(strata_builder *b, strata_node *x, strata_node *logits, int splits);
STRATA_API strata_node *nn_neg(strata_builder *b, strata_node *x);
STRATA_API strata_node *nn_rsqrt(strata_builder *b, strata_node *x);
STRATA_API strata_node *nn_add_scalar(strata_builder *b, strata_node *x, double value);
STRATA_API strata_node *nn_mul_scalar(strata_builder *b, strata_node *x, double value);
STRATA_API strata_node *nn_softmax(strata_builder *b, strata_node *x, int axis);
/* One dim may be -1: what remains. */
STRATA_API strata_node *nn_reshape_n(strata_builder *b, strata_node *x, int rank, const int64_t *dim);
#define nn_reshape(b, x, ...)                                                                      \
    nn_reshape_n(b, x, (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ })
STRATA_API strata_node *nn_flatten(strata_builder *b, strata_node *x); /* [N, rest] */
STRATA_API strata_node *nn_transpose_n(strata_builder *b, strata_node *x, int rank, const int64_t *perm);
#define nn_transpose(b, x, ...)                                                                    \
    nn_transpose_n(b, x, (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ })
STRATA_API strata_node *nn_slice(strata_builder *b, strata_node *x, int axis, int begin, int end);
STRATA_API strata_node *nn_concat(strata_builder *b, strata_node *const *xs, int count, int axis);
/* Zeros around: a number per dim. */
STRATA_API strata_node *nn_pad(strata_builder *b, strata_node *x, const strata_ints *before, const strata_ints *after);

#ifdef __cplusplus
}
#endif
#endif
