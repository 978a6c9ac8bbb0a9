/* grn: global response normalisation (ConvNeXt V2, Woo et al. 2023, section 3.3), of x[N,C,H,W]:
 *
 *   g[c] = sqrt(sum over H,W of x[c]^2)            how strongly channel c responds
 *   n[c] = g[c] / (mean over C of g + epsilon)     ... beside the others
 *   y    = gamma * (x * n) + beta + x
 *
 * Its receptive field counts as one element: like squeeze-excite it only scales whole maps. */
#include "infer.h"

#include <math.h>

enum { X, GAMMA, BETA };

static const strata_attr_def attrs[] = {
    { "epsilon", STRATA_ATTR_FLOAT, offsetof(strata_grn_attrs, epsilon), 0, 1, 1e-6,
      "added to the mean response" },
    { 0 }
};

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    STRATA_TRY(strata_infer_operands(n, out, err));
    return strata_infer_per_channel(n, 4, 4, err);
}

static double response(const float *map, int64_t area)
{
    double sum = 0;
    for (int64_t p = 0; p < area; p++)
        sum += (double)map[p] * map[p];
    return sqrt(sum);
}

static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_grn_attrs *a = n->attrs;
    const int64_t *dim      = in[X].desc->dim;
    int64_t        channels = dim[1], area = dim[2] * dim[3];

    for (int64_t b = 0; b < dim[0]; b++) {
        const float *x = in[X].data + b * channels * area;
        float       *y = out->data + b * channels * area;
        double       mean = 0;
        for (int64_t c = 0; c < channels; c++)
            mean += response(x + c * area, area);
        mean /= (double)channels;
        for (int64_t c = 0; c < channels; c++, x += area, y += area) {
            double scale = in[GAMMA].data[c] * (response(x, area) / (mean + a->epsilon)) + 1;
            for (int64_t p = 0; p < area; p++)
                y[p] = (float)(scale * x[p] + in[BETA].data[c]);
        }
    }
    return STRATA_OK;
}

const strata_op_def strata_op_grn = {
    .name     = "grn",
    .doc      = "Global response normalisation: scales each map by its norm over the mean norm, and adds x.",
    .operands = { { "x" }, { "gamma", .role = "scale" }, { "beta", .role = "shift" } },
    .attrs = attrs, .attr_size = sizeof(strata_grn_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .eval = eval,
};
