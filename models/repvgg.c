/* RepVGG: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021 (arXiv:2101.03697), in its
 * training form of three branches. The pass `repvgg` merges them into the one 3x3 convolution of the deployed
 * form. */
#include "common.h"

typedef struct repvgg_config {
    int    depth[4];
    double width[4];
    int    groups; /* of every second block, counted from stage0 as block 0 */
} repvgg_config;

/* relu(bn(x) + bn(conv3x3(x)) + bn(conv1x1(x))); the first only where x has the shape of the result. */
static strata_node *block(strata_builder *b, strata_node *x, int out, int stride, int groups)
{
    bool         identity = stride == 1 && nn_channels(x) == out;
    strata_node *same = identity ? nn_batch_norm(b, x, "rbr_identity") : NULL;
    strata_node *dense = x, *point = x;

    NN_SCOPE(b, "rbr_dense")
        dense = nn_conv_bn_act(b, x, &(nn_sequence){ 0 }, STRATA_ACT_NONE, out, 3, .stride = stride, .pad = 1,
                               .groups = groups);
    NN_SCOPE(b, "rbr_1x1")
        point = nn_conv_bn_act(b, x, &(nn_sequence){ 0 }, STRATA_ACT_NONE, out, 1, .stride = stride,
                               .groups = groups);
    strata_node *sum = nn_add(b, dense, point);
    if (identity)
        sum = nn_add(b, sum, same);
    return nn_relu(b, sum);
}

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    static const char *const stage[] = { "stage1", "stage2", "stage3", "stage4" };
    const repvgg_config     *cfg = config;
    int                      stem = cfg->width[0] < 1 ? (int)(64 * cfg->width[0]) : 64;
    int                      index = 1;

    strata_node *x = nn_image(b, args);
    NN_SCOPE(b, "stage0")
        x = block(b, x, stem, 2, 1);
    nn_feature(b, x, "stage0", stem, 2);

    for (int s = 0; s < 4; s++) {
        int width = (int)((64 << s) * cfg->width[s]);
        for (int i = 0; i < cfg->depth[s]; i++, index++)
            NN_SCOPE(b, "%s.%d", stage[s], i)
                x = block(b, x, width, i == 0 ? 2 : 1, index % 2 == 0 ? cfg->groups : 1);
        nn_feature(b, x, stage[s], width, 4 << s);
    }
    nn_classifier(b, x, "linear", args->classes);
}

#define MODEL(id, text, how, ...)                                                                  \
    { .name = #id, .family = "repvgg", .doc = text, .build = build,                                \
      .config = &(const repvgg_config){ __VA_ARGS__ }, .input = IMAGENET_INPUT(224, how, 0.875),   \
      .classes = 1000, .has_features = true }

#define A { 2, 4, 14, 1 }
#define B { 4, 6, 16, 1 }

const strata_model_def strata_models_repvgg[] = {
    MODEL(repvgg_a0,   "RepVGG-A0", STRATA_BICUBIC,  A, { 0.75, 0.75, 0.75, 2.5 }, 1),
    MODEL(repvgg_a1,   "RepVGG-A1", STRATA_BILINEAR, A, { 1, 1, 1, 2.5 }, 1),
    MODEL(repvgg_a2,   "RepVGG-A2", STRATA_BILINEAR, A, { 1.5, 1.5, 1.5, 2.75 }, 1),
    MODEL(repvgg_b0,   "RepVGG-B0", STRATA_BILINEAR, B, { 1, 1, 1, 2.5 }, 1),
    MODEL(repvgg_b1,   "RepVGG-B1", STRATA_BILINEAR, B, { 2, 2, 2, 4 }, 1),
    MODEL(repvgg_b1g2, "RepVGG-B1, every second block in 2 groups", STRATA_BICUBIC, B, { 2, 2, 2, 4 }, 2),
    MODEL(repvgg_b1g4, "RepVGG-B1, every second block in 4 groups", STRATA_BICUBIC, B, { 2, 2, 2, 4 }, 4),
    MODEL(repvgg_b2,   "RepVGG-B2", STRATA_BILINEAR, B, { 2.5, 2.5, 2.5, 5 }, 1),
    MODEL(repvgg_b2g4, "RepVGG-B2, every second block in 4 groups", STRATA_BILINEAR, B,
          { 2.5, 2.5, 2.5, 5 }, 4),
    MODEL(repvgg_b3,   "RepVGG-B3", STRATA_BILINEAR, B, { 3, 3, 3, 5 }, 1),
    { 0 }
};
