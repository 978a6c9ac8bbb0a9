/* fold_bn: batch normalisation of a linear op is a linear op.
 *
 *   gamma * (y - mean) / sqrt(variance + epsilon) + beta  =  s * (y - mean) + beta,
 *   s = gamma / sqrt(variance + epsilon), per channel; y = conv2d(x, W, c) or dense(x, W, c)
 *
 * and an affine map per channel goes into the weights (common.c). In inference the statistics are constants,
 * so this costs nothing at run time and saves a walk over the map.
 *
 * It must not fire when somebody else reads y: another node, or the user who chose it as an output. Nor when
 * y already has an activation or a residual inside: these lie between the sum and the batch_norm.
 *
 * A batch_norm that stands alone (behind a sum, or the identity branch of RepVGG) stays what it is: backends
 * compute it in one walk, where a mul and an add would take two. The replacement bears the batch_norm's name,
 * since that is the value it computes. */
#include "common.h"

static strata_node *rewrite(strata_builder *b, strata_node *n)
{
    if (n->op != &strata_op_batch_norm || !strata_is_lone_linear(n->in[X]))
        return n;
    strata_node *scale = strata_norm_scale(b, n);
    return strata_fold_affine(b, n->in[X], n->in[MEAN], scale, n->in[BETA], STRATA_ACT_NONE);
}

const strata_pass_def strata_pass_fold_bn = {
    .name    = "fold_bn",
    .doc     = "Fold batch_norm into the conv2d or dense before it.",
    .rewrite = rewrite,
};
