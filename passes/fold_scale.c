/* fold_scale: a constant per channel, multiplied or added behind a linear op, goes into its weights.
 *
 *   g_o * (W_o x + c_o) = (g_o W_o) x + g_o c_o          (ConvNeXt's layer scale)
 *   (W_o x + c_o) + t_o = W_o x + (c_o + t_o)            (a bias that is added by hand)
 *
 * The constant has the shape [1,C,1,1] behind a map or [1,C] behind a vector, as broadcasting asks for, and
 * may be an expression of parameters: a reshape of gamma[C], say, that has no weights yet. An activation of
 * the mul or add moves along.
 *
 * It must not fire when the linear result has another reader, an activation or a residual; nor for a factor
 * that depends on the input (squeeze-and-excitation looks just the same, but its factors are computed per
 * image), nor for constants that vary along the map or the batch. */
#include "common.h"

/* Whether n's value needs no input: a param or const, or an op on nothing else. The expressions in question
 * have a handful of nodes; `budget` bounds the walk through any graph, and beyond it the answer is no. */
static bool is_constant(const strata_node *n, int *budget)
{
    if (--*budget < 0)
        return false;
    if (strata_node_is_source(n))
        return strata_node_is_constant(n);
    for (int i = 0; i < strata_operand_count(n); i++)
        if (n->in[i] && !is_constant(n->in[i], budget))
            return false;
    return true;
}

static bool is_per_channel(const strata_node *n, const strata_tensor_desc *result)
{
    if (n->desc.rank != result->rank)
        return false;
    for (int i = 0; i < result->rank; i++)
        if (n->desc.dim[i] != (i == 1 ? result->dim[1] : 1))
            return false;
    return is_constant(n, &(int){ 64 });
}

static strata_node *rewrite(strata_builder *b, strata_node *n)
{
    if (n->op != &strata_op_mul && n->op != &strata_op_add)
        return n;
    for (int i = 0; i < 2; i++) {
        const strata_node *linear = n->in[i];
        strata_node       *c      = n->in[1 - i];
        if (strata_is_lone_linear(linear) && is_per_channel(c, &linear->desc)) {
            c = nn_reshape(b, c, -1);
            return n->op == &strata_op_mul ? strata_fold_affine(b, linear, NULL, c, NULL, strata_node_act(n))
                                           : strata_fold_affine(b, linear, NULL, NULL, c, strata_node_act(n));
        }
    }
    return n;
}

const strata_pass_def strata_pass_fold_scale = {
    .name    = "fold_scale",
    .doc     = "Fold a constant factor or summand per channel into the conv2d or dense before it.",
    .rewrite = rewrite,
};
