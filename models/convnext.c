/* ConvNeXt: Liu et al., "A ConvNet for the 2020s", 2022 (arXiv:2201.03545). ConvNeXt V2: Woo et al.,
 * "ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders", 2023 (arXiv:2301.00808), which
 * puts global response normalisation in place of the layer scale.
 *
 * The papers' pointwise layers work on channels-last maps; ours work over dim 1, so nothing is transposed.
 * MindCV pads odd sizes before the 4x4 stem and the 2x2 down-samplers ("same"), and its GELU is the tanh
 * form. */
#include "common.h"

typedef struct convnext_config {
    int  depth[4], width[4];
    bool v2;
} convnext_config;

/* x + scale * pw2(grn(gelu(pw1(norm(dw7x7(x)))))): scale in V1 only, grn in V2 only. */
static strata_node *block(strata_builder *b, strata_node *x, bool v2)
{
    int          width = nn_channels(x);
    strata_node *scale = v2 ? NULL : nn_param(b, "gamma_", width);

    strata_node *y = nn_conv2d(b, x, "dwconv", width, 7, .same = true, .groups = width, .bias = true);
    y = nn_layer_norm(b, y, "norm");
    y = nn_gelu(b, nn_dense(b, y, "pwconv1", 4 * width));
    if (v2)
        y = nn_grn(b, y, "grn");
    y = nn_dense(b, y, "pwconv2", width);
    if (!v2)
        y = nn_mul(b, y, nn_reshape(b, scale, 1, width, 1, 1));
    return nn_add(b, x, y);
}

static strata_node *stem(strata_builder *b, strata_node *x, int width)
{
    x = nn_conv2d(b, x, "0", width, 4, .stride = 4, .same = true, .bias = true);
    return nn_layer_norm(b, x, "1");
}

static strata_node *down_sample(strata_builder *b, strata_node *x, int width)
{
    x = nn_layer_norm(b, x, "0");
    return nn_conv2d(b, x, "1", width, 2, .stride = 2, .same = true, .bias = true);
}

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    static const char *const stage[] = { "feature.1", "feature.3", "feature.5", "feature.7" };
    const convnext_config   *cfg = config;

    strata_node *x = nn_image(b, args);
    for (int s = 0; s < 4; s++) {
        NN_SCOPE(b, "feature.%d", 2 * s)
            x = s == 0 ? stem(b, x, cfg->width[s]) : down_sample(b, x, cfg->width[s]);
        for (int i = 0; i < cfg->depth[s]; i++)
            NN_SCOPE(b, "%s.%d", stage[s], i)
                x = block(b, x, cfg->v2);
        nn_feature(b, x, stage[s], cfg->width[s], 4 << s);
    }
    x = nn_layer_norm(b, nn_mean_vector(b, x), "norm");
    x = nn_dense(b, x, "classifier", args->classes);
    nn_output(b, x, "logits");
}

#define MODEL(id, text, record, ...)                                                               \
    { .name = #id, .family = "convnext", .doc = text, .build = build,                              \
      .config = &(const convnext_config){ __VA_ARGS__ }, .input = record,                          \
      .classes = 1000, .has_features = true }
#define RECIPE  IMAGENET_INPUT(224, STRATA_BICUBIC, 0.95)
#define DEFAULT IMAGENET_DEFAULT_INPUT

const strata_model_def strata_models_convnext[] = {
    MODEL(convnext_tiny,   "ConvNeXt-T",  RECIPE,  { 3, 3, 9, 3 },  { 96, 192, 384, 768 }, false),
    MODEL(convnext_small,  "ConvNeXt-S",  RECIPE,  { 3, 3, 27, 3 }, { 96, 192, 384, 768 }, false),
    MODEL(convnext_base,   "ConvNeXt-B",  RECIPE,  { 3, 3, 27, 3 }, { 128, 256, 512, 1024 }, false),
    MODEL(convnext_large,  "ConvNeXt-L",  DEFAULT, { 3, 3, 27, 3 }, { 192, 384, 768, 1536 }, false),
    MODEL(convnext_xlarge, "ConvNeXt-XL", DEFAULT, { 3, 3, 27, 3 }, { 256, 512, 1024, 2048 }, false),
    MODEL(convnextv2_atto,  "ConvNeXt V2-A", DEFAULT, { 2, 2, 6, 2 },  { 40, 80, 160, 320 }, true),
    MODEL(convnextv2_femto, "ConvNeXt V2-F", DEFAULT, { 2, 2, 6, 2 },  { 48, 96, 192, 384 }, true),
    MODEL(convnextv2_pico,  "ConvNeXt V2-P", DEFAULT, { 2, 2, 6, 2 },  { 64, 128, 256, 512 }, true),
    MODEL(convnextv2_nano,  "ConvNeXt V2-N", DEFAULT, { 2, 2, 8, 2 },  { 80, 160, 320, 640 }, true),
    MODEL(convnextv2_tiny,  "ConvNeXt V2-T", RECIPE,  { 3, 3, 9, 3 }, { 96, 192, 384, 768 }, true),
    MODEL(convnextv2_base,  "ConvNeXt V2-B", DEFAULT, { 3, 3, 27, 3 }, { 128, 256, 512, 1024 }, true),
    MODEL(convnextv2_large, "ConvNeXt V2-L", DEFAULT, { 3, 3, 27, 3 }, { 192, 384, 768, 1536 }, true),
    MODEL(convnextv2_huge,  "ConvNeXt V2-H", DEFAULT, { 3, 3, 27, 3 }, { 352, 704, 1408, 2816 }, true),
    { 0 }
};
