/* EfficientNet: Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019
 * (arXiv:1905.11946). EfficientNetV2: Tan, Le, "EfficientNetV2: Smaller Models and Faster Training", 2021
 * (arXiv:2104.00298), which fuses the first two convolutions of its early blocks.
 *
 * One sequence, "features": the stem (convolution, norm, activation), the stages, the last layer. Every stage
 * is a feature. All padding is TensorFlow's ("same"); squeeze-and-excitation reduces to a quarter of the
 * channels that enter the block, before they are expanded; batch norm has epsilon 1e-3 where the width is at
 * least 1.6. */
#include "common.h"

typedef struct stage {
    strata_node *(*block)(strata_builder *, strata_node *, const struct stage *, nn_sequence);
    int expand, kernel, stride, out, count;
} stage;

typedef struct efficientnet_config {
    const stage *stages;
    int          count;
    int          stem, last; /* channels; last 0: four times those of the last stage */
    double       width, depth;
} efficientnet_config;

/* Expand by 1x1, filter each channel, weigh the channels, project by 1x1. */
static strata_node *mb_conv(strata_builder *b, strata_node *x, const stage *s, nn_sequence seq)
{
    int in = nn_channels(x), wide = nn_make_divisible(in * s->expand, 8);

    if (wide != in)
        x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_SILU, wide, 1);
    x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_SILU, wide, s->kernel, .stride = s->stride, .same = true,
                       .groups = wide);
    NN_SCOPE(b, "%d", seq.at++)
        x = nn_squeeze_excite(b, x, in < 8 ? 1 : in / 4, STRATA_ACT_SILU, STRATA_ACT_SIGMOID);
    return nn_conv_bn_act(b, x, &seq, STRATA_ACT_NONE, s->out, 1);
}

/* The same with one full convolution for expansion and filter, and without weighing. */
static strata_node *fused_mb_conv(strata_builder *b, strata_node *x, const stage *s, nn_sequence seq)
{
    int in = nn_channels(x), wide = nn_make_divisible(in * s->expand, 8);

    if (wide == in)
        return nn_conv_bn_act(b, x, &seq, STRATA_ACT_SILU, s->out, s->kernel, .stride = s->stride,
                              .same = true);
    x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_SILU, wide, s->kernel, .stride = s->stride, .same = true);
    return nn_conv_bn_act(b, x, &seq, STRATA_ACT_NONE, s->out, 1);
}

static strata_node *residual(strata_builder *b, strata_node *x, const stage *s, double epsilon)
{
    strata_node *y = x;

    NN_SCOPE(b, "block")
        y = s->block(b, x, s, (nn_sequence){ .epsilon = epsilon });
    return s->stride == 1 && nn_channels(x) == s->out ? nn_add(b, y, x) : y;
}

static int scaled_count(int count, double depth) /* rounded up */
{
    double scaled = count * depth;
    return (int)scaled < scaled ? (int)scaled + 1 : (int)scaled;
}

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    const efficientnet_config *cfg = config;
    int                        stem = nn_make_divisible(cfg->stem * cfg->width, 8);
    int                        reduction = 2;
    nn_sequence                seq = { .epsilon = cfg->width >= 1.6 ? 1e-3 : 1e-5 };

    strata_node *x = nn_image(b, args);
    NN_SCOPE(b, "features") {
        x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_SILU, stem, 3, .stride = 2, .same = true);
        nn_feature_last(b, x, &seq, stem, reduction);
        for (int i = 0; i < cfg->count; i++) {
            stage s = cfg->stages[i];
            int   count = scaled_count(s.count, cfg->depth);
            s.out = nn_make_divisible(s.out * cfg->width, 8);
            reduction *= s.stride;
            for (int j = 0; j < count; j++, s.stride = 1)
                NN_SCOPE(b, "%d.%d", seq.at, j)
                    x = residual(b, x, &s, seq.epsilon);
            seq.at++;
            nn_feature_last(b, x, &seq, s.out, reduction);
        }
        int last = cfg->last ? cfg->last : 4 * nn_channels(x);
        x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_SILU, last, 1, .same = true);
        nn_feature_last(b, x, &seq, last, reduction);
    }
    nn_classifier(b, x, "mlp_head", args->classes);
}

static const stage b0[] = { /* table 1 of the first paper */
    { mb_conv, 1, 3, 1, 16, 1 }, { mb_conv, 6, 3, 2, 24, 2 },  { mb_conv, 6, 5, 2, 40, 2 },
    { mb_conv, 6, 3, 2, 80, 3 }, { mb_conv, 6, 5, 1, 112, 3 }, { mb_conv, 6, 5, 2, 192, 4 },
    { mb_conv, 6, 3, 1, 320, 1 },
};
static const stage v2_s[] = { /* table 4 of the second */
    { fused_mb_conv, 1, 3, 1, 24, 2 }, { fused_mb_conv, 4, 3, 2, 48, 4 }, { fused_mb_conv, 4, 3, 2, 64, 4 },
    { mb_conv, 4, 3, 2, 128, 6 },      { mb_conv, 6, 3, 1, 160, 9 },      { mb_conv, 6, 3, 2, 256, 15 },
};
static const stage v2_m[] = {
    { fused_mb_conv, 1, 3, 1, 24, 3 }, { fused_mb_conv, 4, 3, 2, 48, 5 }, { fused_mb_conv, 4, 3, 2, 80, 5 },
    { mb_conv, 4, 3, 2, 160, 7 },      { mb_conv, 6, 3, 1, 176, 14 },     { mb_conv, 6, 3, 2, 304, 18 },
    { mb_conv, 6, 3, 1, 512, 5 },
};
static const stage v2_l[] = {
    { fused_mb_conv, 1, 3, 1, 32, 4 }, { fused_mb_conv, 4, 3, 2, 64, 7 }, { fused_mb_conv, 4, 3, 2, 96, 7 },
    { mb_conv, 4, 3, 2, 192, 10 },     { mb_conv, 6, 3, 1, 224, 19 },     { mb_conv, 6, 3, 2, 384, 25 },
    { mb_conv, 6, 3, 1, 640, 7 },
};
static const stage v2_xl[] = {
    { fused_mb_conv, 1, 3, 1, 32, 4 }, { fused_mb_conv, 4, 3, 2, 64, 8 }, { fused_mb_conv, 4, 3, 2, 96, 8 },
    { mb_conv, 4, 3, 2, 192, 16 },     { mb_conv, 6, 3, 1, 256, 24 },     { mb_conv, 6, 3, 2, 512, 32 },
    { mb_conv, 6, 3, 1, 640, 8 },
};

#define MODEL(id, text, record, stages, ...)                                                       \
    { .name = #id, .family = "efficientnet", .doc = text, .build = build,                          \
      .config = &(const efficientnet_config){ stages, sizeof stages / sizeof *stages, __VA_ARGS__ }, \
      .input = record, .classes = 1000, .has_features = true }
#define RECIPE(size) IMAGENET_INPUT(size, STRATA_BICUBIC, 0.875)

const strata_model_def strata_models_efficientnet[] = {
    MODEL(efficientnet_b0, "EfficientNet-B0", RECIPE(224), b0, 32, 0, 1.0, 1.0),
    MODEL(efficientnet_b1, "EfficientNet-B1", RECIPE(240), b0, 32, 0, 1.0, 1.1),
    MODEL(efficientnet_b2, "EfficientNet-B2", IMAGENET_DEFAULT_INPUT, b0, 32, 0, 1.1, 1.2),
    MODEL(efficientnet_b3, "EfficientNet-B3", IMAGENET_DEFAULT_INPUT, b0, 32, 0, 1.2, 1.4),
    MODEL(efficientnet_b4, "EfficientNet-B4", IMAGENET_DEFAULT_INPUT, b0, 32, 0, 1.4, 1.8),
    MODEL(efficientnet_b5, "EfficientNet-B5", IMAGENET_DEFAULT_INPUT, b0, 32, 0, 1.6, 2.2),
    MODEL(efficientnet_b6, "EfficientNet-B6", IMAGENET_DEFAULT_INPUT, b0, 32, 0, 1.8, 2.6),
    MODEL(efficientnet_b7, "EfficientNet-B7", IMAGENET_DEFAULT_INPUT, b0, 32, 0, 2.0, 3.1),
    MODEL(efficientnet_v2_s,  "EfficientNetV2-S",  IMAGENET_DEFAULT_INPUT, v2_s, 24, 1280, 1, 1),
    MODEL(efficientnet_v2_m,  "EfficientNetV2-M",  IMAGENET_DEFAULT_INPUT, v2_m, 24, 1280, 1, 1),
    MODEL(efficientnet_v2_l,  "EfficientNetV2-L",  IMAGENET_DEFAULT_INPUT, v2_l, 32, 1280, 1, 1),
    MODEL(efficientnet_v2_xl, "EfficientNetV2-XL", IMAGENET_DEFAULT_INPUT, v2_xl, 32, 1280, 1, 1),
    { 0 }
};
