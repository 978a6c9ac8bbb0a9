/* dense: a product over dim 1 at every position of x[N,C,...]:
 *
 *   y[n,o,p] = act( bias[o] + sum over c of weight[o,c] * x[n,c,p] )
 *
 * For rank 2 that is the classifier's x * weight^T, for rank 4 a 1x1 convolution. */
#include "infer.h"

enum { X, WEIGHT, BIAS };

static const strata_attr_def attrs[] = {
    { "act", STRATA_ATTR_ENUM, offsetof(strata_dense_attrs, act), 0, STRATA_ACT_COUNT - 1, STRATA_ACT_NONE,
      "activation of the result", strata_act_names },
    { 0 }
};

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(strata_infer_rank(n, WEIGHT, 2, 2, err));
    const strata_tensor_desc *x = &n->in[X]->desc, *w = &n->in[WEIGHT]->desc;

    if (x->rank != 2 && x->rank != 4)
        return strata_fail(err, STRATA_SHAPE, "x must have rank 2 or 4, not %d", x->rank);
    if (x->dim[1] != w->dim[1])
        return strata_fail(err, STRATA_SHAPE, "weight takes %lld channels, but x has %lld",
                           (long long)w->dim[1], (long long)x->dim[1]);
    STRATA_TRY(strata_infer_vector(n, BIAS, w->dim[0], err));
    out->dim[1] = w->dim[0];
    return STRATA_OK;
}

static uint64_t macs(const strata_node *n)
{
    return (uint64_t)strata_count(&n->desc) * (uint64_t)n->in[WEIGHT]->desc.dim[1];
}

static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_dense_attrs *a = n->attrs;
    const int64_t *w     = in[WEIGHT].desc->dim;
    int64_t        batch = in[X].desc->dim[0];
    int64_t        pitch = strata_count(in[X].desc) / batch / w[1]; /* positions of one image */
    float         *dst   = out->data;

    for (int64_t b = 0; b < batch; b++)
    for (int64_t o = 0; o < w[0]; o++)
    for (int64_t p = 0; p < pitch; p++) {
        double sum = in[BIAS].desc ? in[BIAS].data[o] : 0;
        for (int64_t c = 0; c < w[1]; c++)
            sum += (double)in[X].data[(b * w[1] + c) * pitch + p] * (double)in[WEIGHT].data[o * w[1] + c];
        *dst++ = (float)strata_activate(a->act, sum);
    }
    return STRATA_OK;
}

const strata_op_def strata_op_dense = {
    .name     = "dense",
    .doc      = "A fully connected layer over dim 1, at every position: act(weight * x + bias).",
    .operands = { { "x" }, { "weight", .role = "weight" }, { "bias", .optional = true, .role = "bias" } },
    .attrs = attrs, .attr_size = sizeof(strata_dense_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .macs = macs, .eval = eval,
};
