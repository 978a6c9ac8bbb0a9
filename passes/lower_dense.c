/* lower_dense: a dense layer over a map is a 1x1 convolution.
 *
 *   dense(x[N,C,H,W], weight[O,C])_o,i,j = sum_c weight_oc * x_c,i,j = conv2d(x, weight[O,C,1,1])_o,i,j
 *
 * ConvNeXt's point-wise layers are written as dense layers, as in its papers and checkpoints. As conv2d they
 * meet the same kernels and the same fusions (a residual goes into conv2d only) as every other 1x1
 * convolution. A dense layer over vectors [N,C] stays: it is a matrix product and nothing else. */
#include "common.h"

static strata_node *rewrite(strata_builder *b, strata_node *n)
{
    if (n->op != &strata_op_dense || n->desc.rank != 4)
        return n;
    const int64_t            *w      = n->in[WEIGHT]->desc.dim;
    const strata_conv2d_attrs attrs  = { .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1,
                                         .act = (int)strata_node_act(n) };
    strata_node              *kernel = nn_reshape(b, n->in[WEIGHT], w[0], w[1], 1, 1);
    return strata_emit(b, &strata_op_conv2d, NULL, &attrs, n->in[X], kernel, n->in[BIAS]);
}

const strata_pass_def strata_pass_lower_dense = {
    .name    = "lower_dense",
    .doc     = "Turn dense layers over maps into 1x1 conv2d.",
    .rewrite = rewrite,
};
