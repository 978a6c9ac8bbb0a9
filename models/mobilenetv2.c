/* MobileNetV2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018
 * (arXiv:1801.04381).
 *
 * The network is one sequence, "features", in which activations count: members are named by position, and
 * every block is a feature. All blocks of a resolution are registered, so the table is no pyramid. */
#include "common.h"

static strata_node *inverted_residual(strata_builder *b, strata_node *x, int expand, int out, int stride)
{
    int          wide = nn_channels(x) * expand;
    strata_node *y = x;
    nn_sequence  seq = { 0 };

    NN_SCOPE(b, "layers") {
        if (expand != 1)
            y = nn_conv_bn_act(b, y, &seq, STRATA_ACT_RELU6, wide, 1);
        y = nn_conv_bn_act(b, y, &seq, STRATA_ACT_RELU6, wide, 3, .stride = stride, .pad = 1, .groups = wide);
        y = nn_conv_bn_act(b, y, &seq, STRATA_ACT_NONE, out, 1);
    }
    return stride == 1 && nn_channels(x) == out ? nn_add(b, x, y) : y;
}

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    static const struct { int expand, out, count, stride; } stages[] = { /* table 2 of the paper */
        { 1, 16, 1, 1 }, { 6, 24, 2, 2 }, { 6, 32, 3, 2 }, { 6, 64, 4, 2 },
        { 6, 96, 3, 1 }, { 6, 160, 3, 2 }, { 6, 320, 1, 1 },
    };
    double      alpha = *(const double *)config;
    int         stem = nn_make_divisible(32 * alpha, 8);
    int         last = nn_make_divisible(1280 * (alpha > 1 ? alpha : 1), 8);
    int         reduction = 2;
    nn_sequence seq = { 0 };

    strata_node *x = nn_image(b, args);
    NN_SCOPE(b, "features") {
        x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_RELU6, stem, 3, .stride = 2, .pad = 1);
        nn_feature_last(b, x, &seq, stem, reduction);
        for (size_t s = 0; s < sizeof stages / sizeof *stages; s++)
            for (int i = 0; i < stages[s].count; i++) {
                int out = nn_make_divisible(stages[s].out * alpha, 8);
                int stride = i == 0 ? stages[s].stride : 1;
                NN_SCOPE(b, "%d", seq.at++)
                    x = inverted_residual(b, x, stages[s].expand, out, stride);
                nn_feature_last(b, x, &seq, out, reduction *= stride);
            }
        x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_RELU6, last, 1);
        nn_feature_last(b, x, &seq, last, reduction);
    }
    nn_classifier(b, x, "classifier.1", args->classes);
}

#define MODEL(id, alpha, size)                                                                     \
    { .name = #id, .family = "mobilenetv2", .doc = "MobileNetV2, width " #alpha ", images of " #size, \
      .build = build, .config = &(const double){ alpha },                                          \
      .input = IMAGENET_INPUT(size, STRATA_BILINEAR, 0.875), .classes = 1000, .has_features = true }

const strata_model_def strata_models_mobilenetv2[] = {
    MODEL(mobilenet_v2_035_96,  0.35, 96),
    MODEL(mobilenet_v2_035_128, 0.35, 128),
    MODEL(mobilenet_v2_035_160, 0.35, 160),
    MODEL(mobilenet_v2_035_192, 0.35, 192),
    MODEL(mobilenet_v2_035_224, 0.35, 224),
    MODEL(mobilenet_v2_050_96,  0.5, 96),
    MODEL(mobilenet_v2_050_128, 0.5, 128),
    MODEL(mobilenet_v2_050_160, 0.5, 160),
    MODEL(mobilenet_v2_050_192, 0.5, 192),
    MODEL(mobilenet_v2_050_224, 0.5, 224),
    MODEL(mobilenet_v2_075_96,  0.75, 96),
    MODEL(mobilenet_v2_075_128, 0.75, 128),
    MODEL(mobilenet_v2_075_160, 0.75, 160),
    MODEL(mobilenet_v2_075_192, 0.75, 192),
    MODEL(mobilenet_v2_075,     0.75, 224),
    MODEL(mobilenet_v2_100_96,  1, 96),
    MODEL(mobilenet_v2_100_128, 1, 128),
    MODEL(mobilenet_v2_100_160, 1, 160),
    MODEL(mobilenet_v2_100_192, 1, 192),
    MODEL(mobilenet_v2_100,     1, 224),
    MODEL(mobilenet_v2_130_224, 1.3, 224),
    MODEL(mobilenet_v2_140,     1.4, 224),
    { 0 }
};
