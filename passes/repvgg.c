/* repvgg: structural re-parameterisation (Ding et al., "RepVGG: Making VGG-style ConvNets Great Again",
 * 2021).
 *
 * Convolution is linear in its kernel, so parallel convolutions of one input add up to one convolution:
 *
 *   conv(x, K1) + c1 + conv(x, K2) + c2  =  conv(x, K1 + K2) + (c1 + c2)
 *
 * as long as both read the same pixels in the same steps. A smaller kernel is the larger one with zeros
 * around it: tap (u, v) of a kernel with pad p lies at u*d - p from the output's position, so K2 sits in K1
 * at (p1 - p2) / d. Where K1's window covers K2's, the sum costs no more than K1 alone. A batch normalisation
 * of x itself is a convolution too, by a 1x1 kernel that is the identity times s = gamma / sqrt(variance +
 * epsilon):
 *
 *   s * (x - mean) + beta  =  conv(x, diag(s)) + (0 - mean) * s + beta
 *
 * A RepVGG block of three branches (3x3, 1x1, identity; each with its batch_norm, the first two folded by
 * fold_bn) thereby becomes a single 3x3 convolution; grouped ones as well (the diagonal is per group). Sums
 * of any number of branches collapse from the leaves up, since each add sees what has become of its operands.
 *
 * It must not fire when a branch has another reader, an activation or a residual of its own; when stride or
 * groups differ, or no window covers the other; or when the branches do not start from the very same value. A
 * bare identity (x itself, ResNet's shortcut) is left to fuse_act, which adds it exactly. */
#include "common.h"

static bool is_branch(const strata_node *n)
{
    return (n->op == &strata_op_batch_norm && n->uses == 1) ||
           (n->op == &strata_op_conv2d && strata_is_lone_linear(n));
}

/* Where in the window of conv a kernel of this pad, dilation and size begins (y or x); -1: not inside. */
static int64_t place(const strata_node *conv, int axis, int pad, int dilation, int64_t size)
{
    const strata_conv2d_attrs *a = conv->attrs;
    const int64_t extent = conv->in[WEIGHT]->desc.dim[2 + axis];
    const int     ahead  = a->pad[axis] - pad;
    const int     step   = extent == 1 ? dilation : a->dilation[axis]; /* one tap has no dilation */
    if ((size > 1 && step != dilation) || ahead < 0 || ahead % step != 0 || ahead / step + size > extent)
        return -1;
    return ahead / step;
}

/* weight[O,I,h,w] with zeros around it: of the window size of conv, beginning at `at`. */
static strata_node *widen(strata_builder *b, strata_node *weight, const strata_node *conv,
                          const int64_t at[2])
{
    const int64_t *size = weight->desc.dim, *window = conv->in[WEIGHT]->desc.dim;
    if (size[2] == window[2] && size[3] == window[3])
        return weight;
    strata_ints before = { .count = 4, .at = { 0, 0, at[0], at[1] } }, after = before;
    for (int i = 2; i < 4; i++)
        after.at[i] = window[i] - size[i] - before.at[i];
    return nn_pad(b, weight, &before, &after);
}

static strata_node *sum_or_either(strata_builder *b, strata_node *x, strata_node *y)
{
    return x && y ? nn_add(b, x, y) : x ? x : y;
}

/* conv + other, as conv with another kernel and bias: `kernel` is other's and begins at `at` in conv's. */
static strata_node *merge(strata_builder *b, const strata_node *conv, strata_node *kernel, strata_node *bias,
                          const int64_t at[2], strata_act act)
{
    kernel = nn_add(b, conv->in[WEIGHT], widen(b, kernel, conv, at));
    bias   = sum_or_either(b, conv->in[BIAS], bias);
    return strata_emit_like(b, conv, act, (strata_node *[]){ conv->in[X], kernel, bias }, 3);
}

static strata_node *merge_conv(strata_builder *b, const strata_node *conv, const strata_node *other,
                               strata_act act)
{
    const strata_conv2d_attrs *a = conv->attrs, *o = other->attrs;
    const int64_t             *size = other->in[WEIGHT]->desc.dim;
    int64_t                    at[2];
    if (a->groups != o->groups)
        return NULL;
    for (int i = 0; i < 2; i++) {
        at[i] = place(conv, i, o->pad[i], o->dilation[i], size[2 + i]);
        if (a->stride[i] != o->stride[i] || at[i] < 0)
            return NULL;
    }
    return merge(b, conv, other->in[WEIGHT], other->in[BIAS], at, act);
}

/* The kernel of the identity: weight[o, i] = 1 where i is o's place within its group. */
static strata_node *identity_kernel(strata_builder *b, int64_t channels, int groups)
{
    const int64_t            per_group = channels / groups;
    const strata_tensor_desc desc      = strata_desc_f32(4, (int64_t[]){ channels, per_group, 1, 1 });
    strata_error             err;
    strata_tensor           *t      = NULL;
    strata_status            status = strata_tensor_create(&desc, &t, &err);
    if (status != STRATA_OK) {
        strata_builder_fail(b, status, "identity kernel: %s", err.text);
    } else {
        float *weight = strata_tensor_data(t);
        for (int64_t o = 0; o < channels; o++)
            weight[o * per_group + o % per_group] = 1;
    }
    const char  *name = strata_graph_unique_name(strata_builder_graph(b), strata_scoped(b, "identity"));
    strata_node *n    = strata_emit_const(b, name, &desc, t);
    strata_tensor_unref(t);
    return n;
}

static strata_node *merge_norm(strata_builder *b, const strata_node *conv, const strata_node *norm,
                               strata_act act)
{
    const strata_conv2d_attrs *a = conv->attrs;
    int64_t                    at[2];
    for (int i = 0; i < 2; i++) {
        at[i] = place(conv, i, 0, 1, 1);
        if (a->stride[i] != 1 || at[i] < 0)
            return NULL;
    }
    const int64_t channels = norm->desc.dim[1];
    strata_node  *scale    = strata_norm_scale(b, norm);
    strata_node  *kernel   = identity_kernel(b, channels, a->groups);
    kernel = nn_mul(b, kernel, nn_reshape(b, scale, channels, 1, 1, 1));
    strata_node *bias = nn_mul(b, nn_neg(b, norm->in[MEAN]), scale);
    bias = nn_add(b, bias, norm->in[BETA]);
    return merge(b, conv, kernel, bias, at, act);
}

static strata_node *rewrite(strata_builder *b, strata_node *n)
{
    if (n->op != &strata_op_add || !is_branch(n->in[0]) || !is_branch(n->in[1]) ||
        n->in[0]->in[X] != n->in[1]->in[X] || !strata_same_shape(&n->in[0]->desc, &n->in[1]->desc))
        return n;
    for (int i = 0; i < 2; i++) { /* which one's window covers the other's? */
        const strata_node *conv = n->in[i], *other = n->in[1 - i];
        if (conv->op != &strata_op_conv2d)
            continue;
        strata_node *sum = other->op == &strata_op_conv2d ? merge_conv(b, conv, other, strata_node_act(n))
                                                          : merge_norm(b, conv, other, strata_node_act(n));
        if (sum)
            return sum;
    }
    return n;
}

const strata_pass_def strata_pass_repvgg = {
    .name    = "repvgg",
    .doc     = "Merge parallel convolutions, and batch_norm branches beside them, into one conv2d.",
    .rewrite = rewrite,
};
