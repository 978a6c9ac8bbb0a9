/* fuse_act: what follows a result moves into the op that computes it, so that it happens while the numbers
 * are still in registers.
 *
 *   act(op(...))            ->  op(...) {act}                 every op with an `act` attribute
 *   add(conv2d(x, W, c), r) ->  conv2d(x, W, c, residual=r)   r of the result's shape: no broadcasting
 *
 * Nodes come in order, so relu(add(conv2d(...), r)) needs no third rule: the add becomes a conv2d first, and
 * the relu finds it. conv2d applies its activation after the residual; an `act` of the add moves along.
 *
 * It must not fire when the inner result has another reader (an output is one), or already has an activation,
 * which would come before the new residual or activation, not after it. A cycle cannot arise: r would have to
 * depend on the convolution, whose only reader is the add. Where both operands of the add are such
 * convolutions (a residual block with a projected shortcut), the first takes the other in: models write the
 * long branch first, and its last layer is the one that may as well run after the shortcut's. */
#include "common.h"

static bool is_open(const strata_node *n) /* may get an activation */
{
    return n->uses == 1 && strata_act_attr(n->op) && strata_node_act(n) == STRATA_ACT_NONE;
}

static strata_node *fuse_activation(strata_builder *b, strata_node *n)
{
    const strata_node *x = n->in[X];
    return is_open(x) ? strata_emit_like(b, x, strata_op_act(n->op), x->in, strata_operand_count(x)) : n;
}

static strata_node *fuse_residual(strata_builder *b, strata_node *n)
{
    for (int i = 0; i < 2; i++) {
        const strata_node *conv     = n->in[i];
        strata_node       *residual = n->in[1 - i];
        if (conv->op != &strata_op_conv2d || !strata_is_lone_linear(conv) ||
            !strata_same_shape(&conv->desc, &residual->desc))
            continue;
        strata_node *in[] = { conv->in[X], conv->in[WEIGHT], conv->in[BIAS], residual };
        return strata_emit_like(b, conv, strata_node_act(n), in, 4);
    }
    return n;
}

static strata_node *rewrite(strata_builder *b, strata_node *n)
{
    if (strata_op_act(n->op) != STRATA_ACT_NONE)
        return fuse_activation(b, n);
    return n->op == &strata_op_add ? fuse_residual(b, n) : n;
}

const strata_pass_def strata_pass_fuse_act = {
    .name    = "fuse_act",
    .doc     = "Move activations into the op before them, and residual sums into conv2d.",
    .rewrite = rewrite,
};
