/* MobileNetV3: Howard et al., "Searching for MobileNetV3", 2019 (arXiv:1905.02244).
 *
 * One sequence, "features", in which activations count, every block a feature (see mobilenetv2.c). The stem
 * pads one on all sides; the depthwise convolutions pad TensorFlow's way ("same"). */
#include "common.h"

typedef struct row { /* of tables 1 and 2 of the paper */
    int        kernel, expand, out;
    bool       squeeze;
    strata_act act;
    int        stride;
} row;

typedef struct mobilenetv3_config {
    const row *rows;
    int        count, last;
    double     alpha;
} mobilenetv3_config;

#define RE STRATA_ACT_RELU
#define HS STRATA_ACT_HSWISH

static const row large[] = {
    { 3, 16, 16, false, RE, 1 },   { 3, 64, 24, false, RE, 2 },   { 3, 72, 24, false, RE, 1 },
    { 5, 72, 40, true, RE, 2 },    { 5, 120, 40, true, RE, 1 },   { 5, 120, 40, true, RE, 1 },
    { 3, 240, 80, false, HS, 2 },  { 3, 200, 80, false, HS, 1 },  { 3, 184, 80, false, HS, 1 },
    { 3, 184, 80, false, HS, 1 },  { 3, 480, 112, true, HS, 1 },  { 3, 672, 112, true, HS, 1 },
    { 5, 672, 160, true, HS, 2 },  { 5, 960, 160, true, HS, 1 },  { 5, 960, 160, true, HS, 1 },
};
static const row small[] = {
    { 3, 16, 16, true, RE, 2 },    { 3, 72, 24, false, RE, 2 },   { 3, 88, 24, false, RE, 1 },
    { 5, 96, 40, true, HS, 2 },    { 5, 240, 40, true, HS, 1 },   { 5, 240, 40, true, HS, 1 },
    { 5, 120, 48, true, HS, 1 },   { 5, 144, 48, true, HS, 1 },   { 5, 288, 96, true, HS, 2 },
    { 5, 576, 96, true, HS, 1 },   { 5, 576, 96, true, HS, 1 },
};

static strata_node *bottleneck(strata_builder *b, strata_node *x, const row *r, int wide, int out)
{
    strata_node *y = x;
    nn_sequence  seq = { 0 };

    NN_SCOPE(b, "layers") {
        if (nn_channels(x) != wide)
            y = nn_conv_bn_act(b, y, &seq, r->act, wide, 1);
        y = nn_conv_bn_act(b, y, &seq, r->act, wide, r->kernel, .stride = r->stride, .same = true,
                           .groups = wide);
        if (r->squeeze)
            NN_SCOPE(b, "%d", seq.at++)
                y = nn_squeeze_excite(b, y, nn_make_divisible(wide / 4.0, 8), STRATA_ACT_RELU,
                                      STRATA_ACT_HSIGMOID);
        y = nn_conv_bn_act(b, y, &seq, STRATA_ACT_NONE, out, 1);
    }
    return r->stride == 1 && nn_channels(x) == out ? nn_add(b, x, y) : y;
}

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    const mobilenetv3_config *cfg = config;
    int                       stem = nn_make_divisible(16 * cfg->alpha, 8);
    int                       reduction = 2;
    nn_sequence               seq = { 0 };

    strata_node *x = nn_image(b, args);
    NN_SCOPE(b, "features") {
        x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_HSWISH, stem, 3, .stride = 2, .pad = 1);
        nn_feature_last(b, x, &seq, stem, reduction);
        for (int i = 0; i < cfg->count; i++) {
            const row *r = &cfg->rows[i];
            int        wide = nn_make_divisible(r->expand * cfg->alpha, 8);
            int        out = nn_make_divisible(r->out * cfg->alpha, 8);
            NN_SCOPE(b, "%d", seq.at++)
                x = bottleneck(b, x, r, wide, out);
            nn_feature_last(b, x, &seq, out, reduction *= r->stride);
        }
        int wide = 6 * nn_channels(x);
        x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_HSWISH, wide, 1);
        nn_feature_last(b, x, &seq, wide, reduction);
    }

    x = nn_mean_vector(b, x);
    NN_SCOPE(b, "classifier") {
        x = nn_dense(b, x, "0", nn_make_divisible(cfg->last * cfg->alpha, 8));
        x = nn_named_act(b, x, "1", STRATA_ACT_HSWISH);
        x = nn_dense(b, x, "3", args->classes);
    }
    nn_output(b, x, "logits");
}

#define MODEL(id, text, rows, last, alpha)                                                         \
    { .name = #id, .family = "mobilenetv3", .doc = text, .build = build,                           \
      .config = &(const mobilenetv3_config){ rows, sizeof rows / sizeof *rows, last, alpha },      \
      .input = IMAGENET_DEFAULT_INPUT, .classes = 1000, .has_features = true }

const strata_model_def strata_models_mobilenetv3[] = {
    MODEL(mobilenet_v3_large_075, "MobileNetV3-Large, width 0.75", large, 1280, 0.75),
    MODEL(mobilenet_v3_large_100, "MobileNetV3-Large", large, 1280, 1),
    MODEL(mobilenet_v3_small_075, "MobileNetV3-Small, width 0.75", small, 1024, 0.75),
    MODEL(mobilenet_v3_small_100, "MobileNetV3-Small", small, 1024, 1),
    { 0 }
};
