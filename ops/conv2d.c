/* conv2d: cross-correlation of x[N,C,H,W] with weight[O,C/groups,KH,KW], plus bias[O], plus a residual of the
 * result's shape, through an activation:
 *
 *   y[n,o,i,j] = act( bias[o] + residual[n,o,i,j] + sum over c,u,v of
 *                     x[n, g*C/groups + c, i*stride + u*dilation - pad, j*stride + v*dilation - pad]
 *                     * weight[o,c,u,v] )          with g = o / (O/groups), the group of filter o
 *
 * where x is zero outside. Depthwise is groups == C; there is no second op for it. */
#include "infer.h"

enum { X, WEIGHT, BIAS, RESIDUAL };

static const strata_attr_def attrs[] = {
    { "stride", STRATA_ATTR_INT2, offsetof(strata_conv2d_attrs, stride), 1, OPS_MAX_WINDOW, 1,
      "step of the window in y and x" },
    { "pad", STRATA_ATTR_INT4, offsetof(strata_conv2d_attrs, pad), 0, OPS_MAX_WINDOW, 0,
      "zeros around x: top, left, bottom, right" },
    { "dilation", STRATA_ATTR_INT2, offsetof(strata_conv2d_attrs, dilation), 1, OPS_MAX_WINDOW, 1,
      "distance of neighbouring taps in y and x" },
    { "groups", STRATA_ATTR_INT, offsetof(strata_conv2d_attrs, groups), 1, OPS_MAX_DIM, 1,
      "channel groups that do not see each other" },
    { "act", STRATA_ATTR_ENUM, offsetof(strata_conv2d_attrs, act), 0, STRATA_ACT_COUNT - 1, STRATA_ACT_NONE,
      "activation of the result", strata_act_names },
    { 0 }
};

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(strata_infer_rank(n, X, 4, 4, err));
    STRATA_TRY(strata_infer_rank(n, WEIGHT, 4, 4, err));
    const strata_conv2d_attrs *a = n->attrs;
    const strata_tensor_desc  *x = &n->in[X]->desc, *w = &n->in[WEIGHT]->desc;

    if (x->dim[1] % a->groups != 0)
        return strata_fail(err, STRATA_SHAPE, "%d groups do not divide the %lld channels of x", a->groups,
                           (long long)x->dim[1]);
    if (w->dim[0] % a->groups != 0)
        return strata_fail(err, STRATA_SHAPE, "%d groups do not divide the %lld filters of weight", a->groups,
                           (long long)w->dim[0]);
    if (w->dim[1] != x->dim[1] / a->groups)
        return strata_fail(err, STRATA_SHAPE, "weight takes %lld channels, but x has %lld / %d groups = %lld",
                           (long long)w->dim[1], (long long)x->dim[1], a->groups,
                           (long long)(x->dim[1] / a->groups));
    STRATA_TRY(strata_infer_vector(n, BIAS, w->dim[0], err));

    out->dim[1] = w->dim[0];
    STRATA_TRY(strata_infer_window(x, w->dim + 2, a->stride, a->pad, a->dilation, out, err));
    if (n->in[RESIDUAL] && !strata_same_shape(&n->in[RESIDUAL]->desc, out)) {
        char r[128], y[128];
        return strata_fail(err, STRATA_SHAPE, "residual must have the shape of the result: %s vs %s",
                           strata_shape_text(&n->in[RESIDUAL]->desc, r, sizeof r),
                           strata_shape_text(out, y, sizeof y));
    }
    return STRATA_OK;
}

static uint64_t macs(const strata_node *n)
{
    const int64_t *w = n->in[WEIGHT]->desc.dim;
    return (uint64_t)strata_count(&n->desc) * (uint64_t)w[1] * (uint64_t)w[2] * (uint64_t)w[3];
}

static void window(const strata_node *n, strata_window *w)
{
    const strata_conv2d_attrs *a = n->attrs;
    for (int i = 0; i < 2; i++) {
        w->size[i]   = (double)(n->in[WEIGHT]->desc.dim[2 + i] - 1) * a->dilation[i] + 1;
        w->stride[i] = a->stride[i];
        w->pad[i]    = a->pad[i];
    }
}

/* The formula above, term by term. Slow, and meant to be read: kernels are tested against it. */
static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_conv2d_attrs *a = n->attrs;
    const int64_t *x = in[X].desc->dim, *w = in[WEIGHT].desc->dim, *y = out->desc->dim;
    int64_t        at = 0;

    for (int64_t b = 0; b < y[0]; b++)
    for (int64_t o = 0; o < y[1]; o++)
    for (int64_t i = 0; i < y[2]; i++)
    for (int64_t j = 0; j < y[3]; j++, at++) {
        int64_t first = o / (w[0] / a->groups) * w[1]; /* channel of this group */
        double  sum   = in[BIAS].desc ? in[BIAS].data[o] : 0;
        for (int64_t c = 0; c < w[1]; c++)
        for (int64_t u = 0; u < w[2]; u++)
        for (int64_t v = 0; v < w[3]; v++) {
            int64_t r = i * a->stride[0] + u * a->dilation[0] - a->pad[0];
            int64_t s = j * a->stride[1] + v * a->dilation[1] - a->pad[1];
            if (r >= 0 && r < x[2] && s >= 0 && s < x[3])
                sum += (double)in[X].data[((b * x[1] + first + c) * x[2] + r) * x[3] + s]
                     * (double)in[WEIGHT].data[((o * w[1] + c) * w[2] + u) * w[3] + v];
        }
        if (in[RESIDUAL].desc)
            sum += in[RESIDUAL].data[at];
        out->data[at] = (float)strata_activate(a->act, sum);
    }
    return STRATA_OK;
}

const strata_op_def strata_op_conv2d = {
    .name     = "conv2d",
    .doc      = "Slides a bank of filters over an image: act(cross-correlation + bias + residual).",
    .operands = { { "x" }, { "weight", .role = "weight" }, { "bias", .optional = true, .role = "bias" },
                  { "residual", .optional = true } },
    .attrs = attrs, .attr_size = sizeof(strata_conv2d_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .macs = macs, .window = window, .eval = eval,
};
