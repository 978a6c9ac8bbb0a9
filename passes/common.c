/* Shared by the passes. The one piece of mathematics: an affine map per output channel o, behind a linear op,
 * is a linear op again.
 *
 *   s_o * (sum_k W_ok * x_k + c_o - m_o) + t_o  =  sum_k (s_o * W_ok) * x_k + ((c_o - m_o) * s_o + t_o)
 *
 * The difference c - m is taken before the product, so that a bias and a mean that nearly cancel do not lose
 * their digits. Only graph algebra is written here; fold_constants makes constants of it once there are
 * weights. */
#include "common.h"

#include <stdlib.h>
#include <string.h>

const strata_attr_def *strata_act_attr(const strata_op_def *op)
{
    for (const strata_attr_def *a = op->attrs; a && a->name; a++)
        if (a->type == STRATA_ATTR_ENUM && a->names == strata_act_names)
            return a;
    return NULL;
}

strata_act strata_node_act(const strata_node *n)
{
    const strata_attr_def *a = strata_act_attr(n->op);
    return a ? (strata_act) * (const int *)((const char *)n->attrs + a->offset) : STRATA_ACT_NONE;
}

strata_node *strata_emit_like(strata_builder *b, const strata_node *like, strata_act act,
                              strata_node *const *in, int count)
{
    const strata_attr_def *a = strata_act_attr(like->op);
    if (!a)
        return strata_emit_n(b, like->op, NULL, like->attrs, in, count);
    char *attrs = malloc(like->op->attr_size);
    if (!attrs) {
        strata_builder_fail(b, STRATA_NOMEM, "%s: out of memory", like->name);
    } else {
        memcpy(attrs, like->attrs, like->op->attr_size);
        *(int *)(attrs + a->offset) = (int)act;
    }
    strata_node *n = strata_emit_n(b, like->op, NULL, attrs, in, count);
    free(attrs);
    return n;
}

bool strata_is_lone_linear(const strata_node *n)
{
    return n->uses == 1 && strata_node_act(n) == STRATA_ACT_NONE &&
           (n->op == &strata_op_dense || (n->op == &strata_op_conv2d && !n->in[RESIDUAL]));
}

strata_node *strata_norm_scale(strata_builder *b, const strata_node *norm)
{
    const strata_batch_norm_attrs *a = norm->attrs;
    strata_node *inverse = nn_rsqrt(b, nn_add_scalar(b, norm->in[VARIANCE], a->epsilon));
    return nn_mul(b, norm->in[GAMMA], inverse);
}

/* weight[O,...] with row o multiplied by scale[o]. */
static strata_node *scale_rows(strata_builder *b, strata_node *weight, strata_node *scale)
{
    strata_ints shape = { .count = weight->desc.rank, .at = { weight->desc.dim[0] } };
    for (int i = 1; i < shape.count; i++)
        shape.at[i] = 1;
    return nn_mul(b, weight, nn_reshape_n(b, scale, shape.count, shape.at));
}

strata_node *strata_fold_affine(strata_builder *b, const strata_node *linear, strata_node *mean,
                                strata_node *scale, strata_node *shift, strata_act act)
{
    strata_node *weight = linear->in[WEIGHT], *bias = linear->in[BIAS];
    if (mean)
        bias = bias ? nn_sub(b, bias, mean) : nn_neg(b, mean);
    if (bias && scale)
        bias = nn_mul(b, bias, scale);
    if (shift)
        bias = bias ? nn_add(b, bias, shift) : shift;
    if (scale)
        weight = scale_rows(b, weight, scale);
    return strata_emit_like(b, linear, act, (strata_node *[]){ linear->in[X], weight, bias }, 3);
}
