/* ResNet: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015 (arXiv:1512.03385), with
 * the stride of a bottleneck at its 3x3 convolution. ResNeXt: Xie et al., "Aggregated Residual
 * Transformations for Deep Neural Networks", 2016 (arXiv:1611.05431).
 *
 * MindCV's max pool is padded TensorFlow's way ("same": the odd row goes to the bottom and right), where
 * torchvision and timm pad one on all sides. The same weights give other numbers there. */
#include "common.h"

typedef struct resnet_config {
    strata_node *(*block)(strata_builder *, strata_node *, const nn_residual_args *);
    int expansion, depth[4], groups, base_width;
} resnet_config;

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    static const char *const stage[] = { "layer1", "layer2", "layer3", "layer4" };
    const resnet_config     *cfg = config;

    strata_node *x = nn_image(b, args);
    x = nn_conv2d(b, x, "conv1", 64, 7, .stride = 2, .pad = 3);
    x = nn_relu(b, nn_batch_norm(b, x, "bn1"));
    nn_feature(b, x, "relu", 64, 2);
    x = nn_max_pool(b, x, 3, .stride = 2, .same = true);

    for (int s = 0; s < 4; s++) {
        nn_residual_args block = { 64 << s, s > 0 ? 2 : 1, cfg->groups, cfg->base_width };
        for (int i = 0; i < cfg->depth[s]; i++, block.stride = 1)
            NN_SCOPE(b, "%s.%d", stage[s], i)
                x = cfg->block(b, x, &block);
        nn_feature(b, x, stage[s], cfg->expansion * 64 << s, 4 << s);
    }
    nn_classifier(b, x, "classifier", args->classes);
}

#define MODEL(id, text, ...)                                                                       \
    { .name = #id, .family = "resnet", .doc = text, .build = build,                                \
      .config = &(const resnet_config){ __VA_ARGS__ }, .input = IMAGENET_DEFAULT_INPUT,            \
      .classes = 1000, .has_features = true }

const strata_model_def strata_models_resnet[] = {
    MODEL(resnet18,  "ResNet, 18 layers",  nn_basic_block, 1, { 2, 2, 2, 2 },  1, 64),
    MODEL(resnet34,  "ResNet, 34 layers",  nn_basic_block, 1, { 3, 4, 6, 3 },  1, 64),
    MODEL(resnet50,  "ResNet, 50 layers",  nn_bottleneck,  4, { 3, 4, 6, 3 },  1, 64),
    MODEL(resnet101, "ResNet, 101 layers", nn_bottleneck,  4, { 3, 4, 23, 3 }, 1, 64),
    MODEL(resnet152, "ResNet, 152 layers", nn_bottleneck,  4, { 3, 8, 36, 3 }, 1, 64),
    MODEL(resnext50_32x4d,  "ResNeXt, 50 layers, 32 groups of 4",  nn_bottleneck, 4, { 3, 4, 6, 3 },  32, 4),
    MODEL(resnext101_32x4d, "ResNeXt, 101 layers, 32 groups of 4", nn_bottleneck, 4, { 3, 4, 23, 3 }, 32, 4),
    MODEL(resnext101_64x4d, "ResNeXt, 101 layers, 64 groups of 4", nn_bottleneck, 4, { 3, 4, 23, 3 }, 64, 4),
    MODEL(resnext152_64x4d, "ResNeXt, 152 layers, 64 groups of 4", nn_bottleneck, 4, { 3, 8, 36, 3 }, 64, 4),
    { 0 }
};
