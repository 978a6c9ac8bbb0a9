/* softmax along one axis: exp(x - m) / sum of exp(x - m), with m the largest x, so that nothing overflows. */
#include "infer.h"

#include <math.h>

static const strata_attr_def attrs[] = {
    { "axis", STRATA_ATTR_INT, offsetof(strata_softmax_attrs, axis), 0, STRATA_MAX_RANK - 1, 1,
      "the dim whose elements become positive and sum to 1" },
    { 0 }
};

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const strata_softmax_attrs *a = n->attrs;
    STRATA_TRY(strata_infer_operands(n, out, err));
    return strata_infer_axis(n, a->axis, err);
}

static bool set_rows(const strata_node *n, int64_t rows, void *to)
{
    (void)rows, (void)to;
    return ((const strata_softmax_attrs *)n->attrs)->axis != 0;
}

static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_softmax_attrs *a = n->attrs;
    const strata_tensor_desc   *x = in[0].desc;
    int64_t length = x->dim[a->axis], step = 1;
    for (int i = a->axis + 1; i < x->rank; i++)
        step *= x->dim[i];
    int64_t outer = strata_count(x) / length / step;

    for (int64_t o = 0; o < outer; o++)
    for (int64_t s = 0; s < step; s++) {
        const float *src = in[0].data + o * length * step + s;
        float       *dst = out->data + o * length * step + s;
        double       largest = src[0], sum = 0;
        for (int64_t i = 1; i < length; i++)
            largest = fmax(largest, src[i * step]);
        for (int64_t i = 0; i < length; i++)
            sum += exp(src[i * step] - largest);
        for (int64_t i = 0; i < length; i++)
            dst[i * step] = (float)(exp(src[i * step] - largest) / sum);
    }
    return STRATA_OK;
}

const strata_op_def strata_op_softmax = {
    .name = "softmax", .doc = "Exponentials along one axis, divided by their sum.",
    .operands = { { "x" } }, .attrs = attrs, .attr_size = sizeof(strata_softmax_attrs),
    .infer = infer, .set_rows = set_rows, .eval = eval,
};
