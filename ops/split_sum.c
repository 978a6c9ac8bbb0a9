/* split_sum: the sum of the splits of x, which are its channels in as many equal parts; with logits, each split's channel
 * weighted by a softmax over splits: split attention of ResNeSt (Zhang et al. 2020, section 3.1).
 *
 *   y[n,c,h,w] = sum over r of a[n,r,c] x[n, r C + c, h, w]
 *   a[n,r,c]   = exp(logits[n, r C + c]) / sum over s of exp(logits[n, s C + c]), or 1 without logits
 *
 * Its receptive field counts as one element: like squeeze-excite it only scales whole maps. */
#include "infer.h"

#include <math.h>

enum { X, LOGITS };

static const strata_attr_def attrs[] = {
    { "splits", STRATA_ATTR_INT, offsetof(strata_split_sum_attrs, splits), 1, OPS_MAX_WINDOW, 2,
      "how many parts the channels of x come in" },
    { 0 }
};

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const strata_split_sum_attrs *a = n->attrs;
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(strata_infer_rank(n, X, 4, 4, err));
    const int64_t *x = n->in[X]->desc.dim;
    if (x[1] % a->splits != 0)
        return strata_fail(err, STRATA_SHAPE, "the %lld channels of x are not %d equal splits", (long long)x[1], a->splits);
    if (n->in[LOGITS]) {
        STRATA_TRY(strata_infer_rank(n, LOGITS, 4, 4, err));
        const int64_t *l = n->in[LOGITS]->desc.dim;
        if (l[0] != x[0] || l[1] != x[1] || l[2] != 1 || l[3] != 1)
            return strata_fail(err, STRATA_SHAPE, "logits must be [%lld,%lld,1,1], not [%lld,%lld,%lld,%lld]", (long long)x[0],
                               (long long)x[1], (long long)l[0], (long long)l[1], (long long)l[2], (long long)l[3]);
    }
    out->dim[1] = x[1] / a->splits;
    return STRATA_OK;
}

/* a[r] of a channel, whose logits lie `step` apart. */
static double weight(const float *logits, int splits, int64_t step, int r)
{
    double sum = 0;
    for (int s = 0; s < splits; s++)
        sum += exp((double)logits[s * step] - logits[r * step]);
    return 1 / sum;
}

static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_split_sum_attrs *a = n->attrs;
    const int64_t *dim = out->desc->dim, area = dim[2] * dim[3], split = dim[1] * area;
    for (int64_t i = 0; i < dim[0] * dim[1]; i++) {
        const int64_t image = i / dim[1], c = i % dim[1];
        const float  *x = in[X].data + image * split * a->splits + c * area;
        const float  *logits = in[LOGITS].data ? in[LOGITS].data + image * dim[1] * a->splits + c : NULL;
        for (int64_t p = 0; p < area; p++) {
            double sum = 0;
            for (int r = 0; r < a->splits; r++)
                sum += (logits ? weight(logits, a->splits, dim[1], r) : 1) * x[r * split + p];
            out->data[i * area + p] = (float)sum;
        }
    }
    return STRATA_OK;
}

const strata_op_def strata_op_split_sum = {
    .name     = "split_sum",
    .doc      = "The sum of equal parts of the channels, weighted by a softmax over the parts where logits are given.",
    .operands = { { "x" }, { "logits", .optional = true } },
    .attrs = attrs, .attr_size = sizeof(strata_split_sum_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .eval = eval,
};
