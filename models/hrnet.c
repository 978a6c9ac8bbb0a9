/* HRNet: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", 2019
 * (arXiv:1908.07919). Branches of strides 4, 8, 16 and 32 run side by side and exchange what they see after
 * every module.
 *
 * The features are the stem and the four last branches after their widening bottleneck. MindCV rounds every
 * up-sampled map to float16 before it is added; that is an accident of its resize and we do not repeat it
 * (difference: about 2e-4 of the largest value). */
#include "common.h"

enum { BRANCHES = 4, BLOCKS = 4 };

/* Four basic blocks on every branch. */
static void branches(strata_builder *b, strata_node *x[], int n)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < BLOCKS; k++)
            NN_SCOPE(b, "branches.%d.%d", i, k)
                x[i] = nn_basic_block(b, x[i], &(nn_residual_args){ nn_channels(x[i]), 1 });
}

/* Halves the map: 3x3 of stride 2. */
static strata_node *step_down(strata_builder *b, strata_node *x, int out, strata_act act)
{
    return nn_conv_bn_act(b, x, &(nn_sequence){ 0 }, act, out, 3, .stride = 2, .pad = 1);
}

/* Branch j as branch i hears it: 1x1 and up-sampling to i's size where j is lower, i - j halvings where j is
 * higher; only the last of these changes the channels, and it has no activation. */
static strata_node *translate(strata_builder *b, strata_node *const x[], int i, int j)
{
    strata_node *t = x[j];
    int          out = nn_channels(x[i]), steps = i - j;

    if (j > i) {
        t = nn_conv_bn_act(b, t, &(nn_sequence){ 0 }, STRATA_ACT_NONE, out, 1);
        t = nn_resize(b, t, nn_height(x[i]), nn_width(x[i]), STRATA_RESIZE_NEAREST);
    }
    for (int k = 0; k < steps; k++)
        NN_SCOPE(b, "%d", k)
            t = k < steps - 1 ? step_down(b, t, nn_channels(t), STRATA_ACT_RELU)
                              : step_down(b, t, out, STRATA_ACT_NONE);
    return t;
}

/* Every branch hears every other branch. */
static void exchange(strata_builder *b, strata_node *x[], int n)
{
    strata_node *y[BRANCHES] = { NULL };

    for (int i = 0; i < n; i++)
        NN_SCOPE(b, "fuse_layers.%d", i) {
            for (int j = 0; j < n; j++) {
                strata_node *t = x[j];
                NN_SCOPE(b, "%d", j)
                    t = translate(b, x, i, j);
                y[i] = j > 0 ? nn_add(b, y[i], t) : t;
            }
            y[i] = nn_relu(b, y[i]);
        }
    for (int i = 0; i < n; i++)
        x[i] = y[i];
}

typedef struct hrnet_config {
    int width; /* of the highest branch; each lower one has twice as many channels */
} hrnet_config;

/* The stage of n branches and its modules. The new branch comes from the lowest one before it. */
static void stage(strata_builder *b, strata_node *x[], int n, int modules, int width)
{
    static const char *const transition[] = { "transition1", "transition2", "transition3" };

    if (n == 2) { /* layer1's one map becomes both */
        strata_node *one = x[0];
        NN_SCOPE(b, "transition1.0")
            x[0] = nn_conv_bn_act(b, one, &(nn_sequence){ 0 }, STRATA_ACT_RELU, width, 3, .pad = 1);
        NN_SCOPE(b, "transition1.1.0")
            x[1] = step_down(b, one, 2 * width, STRATA_ACT_RELU);
    } else {
        NN_SCOPE(b, "%s.%d.0", transition[n - 2], n - 1)
            x[n - 1] = step_down(b, x[n - 2], width << (n - 1), STRATA_ACT_RELU);
    }
    for (int m = 0; m < modules; m++)
        NN_SCOPE(b, "stage%d.%d", n, m) {
            branches(b, x, n);
            exchange(b, x, n);
        }
}

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    static const char *const name[] = { "stage1", "stage2", "stage3", "stage4" };
    const hrnet_config      *cfg = config;
    strata_node             *x[BRANCHES] = { NULL };

    x[0] = nn_image(b, args);
    x[0] = nn_conv2d(b, x[0], "conv1", 64, 3, .stride = 2, .pad = 1);
    x[0] = nn_relu(b, nn_batch_norm(b, x[0], "bn1"));
    nn_feature(b, x[0], "stem", 64, 2);
    x[0] = nn_conv2d(b, x[0], "conv2", 64, 3, .stride = 2, .pad = 1);
    x[0] = nn_relu(b, nn_batch_norm(b, x[0], "bn2"));

    for (int k = 0; k < BLOCKS; k++)
        NN_SCOPE(b, "layer1.%d", k)
            x[0] = nn_bottleneck(b, x[0], &(nn_residual_args){ 64, 1 });
    stage(b, x, 2, 1, cfg->width);
    stage(b, x, 3, 4, cfg->width);
    stage(b, x, 4, 3, cfg->width);

    for (int i = 0; i < BRANCHES; i++) {
        NN_SCOPE(b, "incre_modules.%d.0", i)
            x[i] = nn_bottleneck(b, x[i], &(nn_residual_args){ 32 << i, 1 });
        nn_feature(b, x[i], name[i], 128 << i, 4 << i);
    }

    strata_node *y = x[0];
    for (int i = 1; i < BRANCHES; i++) {
        NN_SCOPE(b, "downsample_modules.%d", i - 1)
            y = step_down(b, y, 128 << i, STRATA_ACT_RELU);
        y = nn_add(b, x[i], y);
    }
    NN_SCOPE(b, "final_layer")
        y = nn_conv_bn_act(b, y, &(nn_sequence){ 0 }, STRATA_ACT_RELU, 2048, 1);
    nn_classifier(b, y, "classifier", args->classes);
}

#define MODEL(id, text, width)                                                                     \
    { .name = #id, .family = "hrnet", .doc = text, .build = build,                                 \
      .config = &(const hrnet_config){ width }, .input = IMAGENET_DEFAULT_INPUT,                   \
      .classes = 1000, .has_features = true }

const strata_model_def strata_models_hrnet[] = {
    MODEL(hrnet_w32, "HRNet-W32", 32),
    MODEL(hrnet_w48, "HRNet-W48", 48),
    { 0 }
};
