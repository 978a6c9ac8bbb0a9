/* batch_norm with running statistics, over dim 1:
 *
 *   y = gamma * (x - mean) / sqrt(variance + epsilon) + beta */
#include "infer.h"

#include <math.h>

enum { X, GAMMA, BETA, MEAN, VARIANCE };

static const strata_attr_def attrs[] = {
    { "epsilon", STRATA_ATTR_FLOAT, offsetof(strata_batch_norm_attrs, epsilon), 0, 1, 1e-5,
      "added to the variance" },
    { 0 }
};

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    STRATA_TRY(strata_infer_operands(n, out, err));
    return strata_infer_per_channel(n, 2, STRATA_MAX_RANK, err);
}

static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_batch_norm_attrs *a = n->attrs;
    int64_t      batch = in[X].desc->dim[0], channels = in[X].desc->dim[1];
    int64_t      pitch = strata_count(in[X].desc) / batch / channels; /* positions of one map */
    const float *x     = in[X].data;
    float       *y     = out->data;

    for (int64_t b = 0; b < batch; b++)
    for (int64_t c = 0; c < channels; c++) {
        double scale = in[GAMMA].data[c] / sqrt(in[VARIANCE].data[c] + a->epsilon);
        for (int64_t p = 0; p < pitch; p++)
            *y++ = (float)(scale * ((double)*x++ - in[MEAN].data[c]) + in[BETA].data[c]);
    }
    return STRATA_OK;
}

const strata_op_def strata_op_batch_norm = {
    .name     = "batch_norm",
    .doc      = "Normalises each channel with running statistics, then scales and shifts it.",
    .operands = { { "x" }, { "gamma", .role = "scale" }, { "beta", .role = "shift" },
                  { "mean", .role = "mean" }, { "variance", .role = "variance" } },
    .attrs = attrs, .attr_size = sizeof(strata_batch_norm_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .eval = eval,
};
