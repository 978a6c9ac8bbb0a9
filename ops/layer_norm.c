/* layer_norm over dim 1, at each position of x[N,C,...] (ConvNeXt's channels-first form, Liu et al. 2022):
 *
 *   y = gamma * (x - m) / sqrt(v + epsilon) + beta
 *
 * with the mean m and the biased variance v of the C channels at that position. */
#include "infer.h"

#include <math.h>

enum { X, GAMMA, BETA };

static const strata_attr_def attrs[] = {
    { "epsilon", STRATA_ATTR_FLOAT, offsetof(strata_layer_norm_attrs, epsilon), 0, 1, 1e-6,
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
    const strata_layer_norm_attrs *a = n->attrs;
    int64_t batch = in[X].desc->dim[0], channels = in[X].desc->dim[1];
    int64_t pitch = strata_count(in[X].desc) / batch / channels; /* positions, and the distance of channels */

    for (int64_t b = 0; b < batch; b++)
    for (int64_t p = 0; p < pitch; p++) {
        const float *x = in[X].data + b * channels * pitch + p;
        float       *y = out->data + b * channels * pitch + p;
        double       mean = 0, variance = 0;
        for (int64_t c = 0; c < channels; c++)
            mean += x[c * pitch];
        mean /= (double)channels;
        for (int64_t c = 0; c < channels; c++)
            variance += (x[c * pitch] - mean) * (x[c * pitch] - mean);
        variance /= (double)channels;
        double scale = 1 / sqrt(variance + a->epsilon);
        for (int64_t c = 0; c < channels; c++)
            y[c * pitch] = (float)(in[GAMMA].data[c] * ((x[c * pitch] - mean) * scale) + in[BETA].data[c]);
    }
    return STRATA_OK;
}

const strata_op_def strata_op_layer_norm = {
    .name     = "layer_norm",
    .doc      = "Normalises the channels at each position to mean 0 and variance 1, then scales and shifts.",
    .operands = { { "x" }, { "gamma", .role = "scale" }, { "beta", .role = "shift" } },
    .attrs = attrs, .attr_size = sizeof(strata_layer_norm_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .eval = eval,
};
