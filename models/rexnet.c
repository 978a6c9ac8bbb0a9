/* ReXNet: Han et al., "Rethinking Channel Dimensions for Efficient Model Design", 2020 (arXiv:2007.00992):
 * inverted residuals whose width grows by the same amount in every block.
 *
 * The depthwise convolution has no activation before squeeze-and-excitation, ReLU6 follows it. A block's
 * result has more channels than its input; the shortcut is added to the first of them. */
#include "common.h"

#include <math.h>

enum { BLOCKS = 16 };

static strata_node *conv_bn_act(strata_builder *b, strata_node *x, const char *name, strata_act act,
                                nn_conv2d_args conv)
{
    NN_SCOPE(b, "%s.features", name)
        x = nn_conv_bn_act_(b, x, &(nn_sequence){ 0 }, act, conv);
    return x;
}

static strata_node *linear_bottleneck(strata_builder *b, strata_node *x, int expand, int out, int stride,
                                      bool squeeze)
{
    int          in = nn_channels(x), wide = in * expand;
    strata_node *y = x;

    if (expand != 1)
        y = conv_bn_act(b, y, "conv_exp", STRATA_ACT_SILU, (nn_conv2d_args){ .out = wide, .kernel = 1 });
    y = conv_bn_act(b, y, "conv_dw", STRATA_ACT_NONE,
                    (nn_conv2d_args){ .out = wide, .kernel = 3, .stride = stride, .pad = 1, .groups = wide });
    if (squeeze)
        NN_SCOPE(b, "se")
            y = nn_squeeze_excite(b, y, nn_make_divisible((int)(wide * (1.0 / 12)), 1), STRATA_ACT_RELU,
                                  STRATA_ACT_SIGMOID, .batch_norm = true);
    y = nn_relu6(b, y);
    y = conv_bn_act(b, y, "conv_pwl", STRATA_ACT_NONE, (nn_conv2d_args){ .out = out, .kernel = 1 });
    return stride == 1 && in <= out ? nn_partial_add(b, y, x) : y;
}

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    static const int stride[BLOCKS] = { 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1 };
    double           width = *(const double *)config;
    double           stem = width < 1 ? 32 / width : 32; /* stem and first block are never narrowed */
    double           planes = width < 1 ? 16 / width : 16;
    int              reduction = 2;

    strata_node *x = nn_image(b, args);
    x = conv_bn_act(b, x, "stem", STRATA_ACT_SILU,
                    (nn_conv2d_args){ .out = (int)rint(stem * width), .kernel = 3, .stride = 2, .pad = 1 });

    for (int i = 0; i < BLOCKS; i++, planes += 180.0 / BLOCKS) {
        char name[32];
        int  out = (int)rint(planes * width);

        snprintf(name, sizeof name, "features.%d", i);
        NN_SCOPE(b, "%s", name)
            x = linear_bottleneck(b, x, i == 0 ? 1 : 6, out, stride[i], i >= 3);
        reduction *= stride[i];
        if (i == BLOCKS - 1 || stride[i + 1] == 2) /* the last block of each resolution */
            nn_feature(b, x, name, out, reduction);
    }
    x = conv_bn_act(b, x, "features.16", STRATA_ACT_SILU,
                    (nn_conv2d_args){ .out = (int)(1280 * width), .kernel = 1 });
    nn_classifier(b, x, "cls.1", args->classes);
}

#define MODEL(id, text, width)                                                                     \
    { .name = #id, .family = "rexnet", .doc = text, .build = build,                                \
      .config = &(const double){ width }, .input = IMAGENET_INPUT(224, STRATA_BICUBIC, 0.875),     \
      .classes = 1000, .has_features = true }

const strata_model_def strata_models_rexnet[] = {
    MODEL(rexnet_09, "ReXNet, width 0.9", 0.9),
    MODEL(rexnet_10, "ReXNet, width 1.0", 1.0),
    MODEL(rexnet_13, "ReXNet, width 1.3", 1.3),
    MODEL(rexnet_15, "ReXNet, width 1.5", 1.5),
    MODEL(rexnet_20, "ReXNet, width 2.0", 2.0),
    { 0 }
};
