/* ResNeSt: Zhang et al., "ResNeSt: Split-Attention Networks", 2020 (arXiv:2004.08955), with radix 2 and one
 * cardinal group.
 *
 * The shortcut's average pool is unpadded in MindCV, so there maps of odd size do not fit its main branch and
 * fail. We pool them like the main branch (padding not counted), as the authors' code does; for even sizes
 * both are the same. */
#include "common.h"

enum { RADIX = 2 };

typedef struct resnest_config {
    int stem_width, depth[4];
} resnest_config;

/* A convolution into RADIX splits, and their sum weighted per channel by a softmax over the splits:
 *   u = relu(bn(conv(x)))
 *   a = softmax over r of fc2(relu(bn(fc1(sum_r mean of u_r))))
 *   y = sum_r a_r u_r
 * The means come before the sum, which then is one of vectors. */
static strata_node *split_attention(strata_builder *b, strata_node *x)
{
    int channels = nn_channels(x);
    int hidden = channels * RADIX / 4 < 32 ? 32 : channels * RADIX / 4;

    strata_node *u = nn_conv2d(b, x, "conv", channels * RADIX, 3, .pad = 1, .groups = RADIX);
    u = nn_relu(b, nn_batch_norm(b, u, "bn0"));

    strata_node *a = nn_split_sum(b, nn_global_avg_pool(b, u), NULL, RADIX);
    a = nn_conv2d(b, a, "fc1", hidden, 1, .bias = true);
    a = nn_relu(b, nn_batch_norm(b, a, "bn1"));
    a = nn_conv2d(b, a, "fc2", channels * RADIX, 1, .bias = true);
    return nn_split_sum(b, u, a, RADIX);
}

/* ResNet-D's shortcut: the mean of each cell, then a 1x1 convolution. */
static strata_node *shortcut(strata_builder *b, strata_node *x, int out, int stride)
{
    if (stride != 1 || nn_channels(x) != out)
        NN_SCOPE(b, "downsample") {
            if (stride > 1)
                NN_SCOPE(b, "0")
                    x = nn_avg_pool(b, x, stride, .same = true);
            x = nn_conv_bn_act(b, x, &(nn_sequence){ .at = 1 }, STRATA_ACT_NONE, out, 1);
        }
    return x;
}

static strata_node *bottleneck(strata_builder *b, strata_node *x, int channels, int stride)
{
    strata_node *y = nn_conv2d(b, x, "conv1", channels, 1);
    y = nn_relu(b, nn_batch_norm(b, y, "bn1"));
    NN_SCOPE(b, "conv2")
        y = split_attention(b, y);
    if (stride > 1) /* strides by averages, not by skipping */
        y = nn_avg_pool(b, y, 3, .stride = stride, .same = true);
    y = nn_conv2d(b, y, "conv3", 4 * channels, 1);
    y = nn_batch_norm(b, y, "bn3");
    return nn_relu(b, nn_add(b, y, shortcut(b, x, 4 * channels, stride)));
}

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    static const char *const stage[] = { "layer1", "layer2", "layer3", "layer4" };
    const resnest_config    *cfg = config;
    int                      width = cfg->stem_width;

    strata_node *x = nn_image(b, args);
    NN_SCOPE(b, "conv1") {
        nn_sequence seq = { 0 };
        x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_RELU, width, 3, .stride = 2, .pad = 1);
        x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_RELU, width, 3, .pad = 1);
        x = nn_conv2d(b, x, "6", 2 * width, 3, .pad = 1);
    }
    x = nn_relu(b, nn_batch_norm(b, x, "bn1"));
    nn_feature(b, x, "relu", 2 * width, 2);
    x = nn_max_pool(b, x, 3, .stride = 2, .same = true);

    for (int s = 0; s < 4; s++) {
        for (int i = 0; i < cfg->depth[s]; i++)
            NN_SCOPE(b, "%s.%d", stage[s], i)
                x = bottleneck(b, x, 64 << s, s > 0 && i == 0 ? 2 : 1);
        nn_feature(b, x, stage[s], 256 << s, 4 << s);
    }
    nn_classifier(b, x, "fc", args->classes);
}

#define MODEL(id, text, record, ...)                                                               \
    { .name = #id, .family = "resnest", .doc = text, .build = build,                               \
      .config = &(const resnest_config){ __VA_ARGS__ }, .input = record,                           \
      .classes = 1000, .has_features = true }

const strata_model_def strata_models_resnest[] = {
    MODEL(resnest14,  "ResNeSt, 14 layers",  IMAGENET_DEFAULT_INPUT, 32, { 1, 1, 1, 1 }),
    MODEL(resnest26,  "ResNeSt, 26 layers",  IMAGENET_DEFAULT_INPUT, 32, { 2, 2, 2, 2 }),
    MODEL(resnest50,  "ResNeSt, 50 layers",  IMAGENET_INPUT(224, STRATA_BICUBIC, 0.875), 32, { 3, 4, 6, 3 }),
    MODEL(resnest101, "ResNeSt, 101 layers", IMAGENET_INPUT(256, STRATA_BICUBIC, 0.9), 64, { 3, 4, 23, 3 }),
    MODEL(resnest200, "ResNeSt, 200 layers", IMAGENET_DEFAULT_INPUT, 64, { 3, 24, 36, 3 }),
    MODEL(resnest269, "ResNeSt, 269 layers", IMAGENET_DEFAULT_INPUT, 64, { 3, 30, 48, 8 }),
    { 0 }
};
