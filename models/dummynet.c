/* The three dummy networks of MindCV's guide to multi-scale feature extraction. There each is a scenario with
 * its own trick (a module per layer; one sequence that must be flattened first; parallel modules that need a
 * second, rewritten class). Here registering a feature is the same line of code in all three.
 *
 * The guide leaves Layer and Stage open. Ours: a layer is a 3x3 convolution of stride 2, batch norm and ReLU
 * with twice the channels of its input, 16 in the first; a stage joins parallel maps by a 1x1 convolution. A
 * feature has the name of its module in the parameters. */
#include "common.h"

static strata_node *layer(strata_builder *b, strata_node *x, int out)
{
    return nn_conv_bn_act(b, x, &(nn_sequence){ 0 }, STRATA_ACT_RELU, out, 3, .stride = 2, .pad = 1);
}

/* Scenario 1: self.layer1 to self.layer4; scenario 2: self.layers, a SequentialCell of four. */
static void build_sequential(strata_builder *b, const void *config, const strata_model_args *args)
{
    const char *const *name = config; /* of the four layers */

    strata_node *x = nn_image(b, args);
    for (int i = 0; i < 4; i++) {
        NN_SCOPE(b, "%s", name[i])
            x = layer(b, x, 16 << i);
        nn_feature(b, x, name[i], 16 << i, 2 << i);
    }
    nn_classifier(b, x, "classifier", args->classes);
}

/* Scenario 3: in each of two stages, three layers see the same map, and the stage joins what they say. */
static void build_parallel(strata_builder *b, const void *config, const strata_model_args *args)
{
    const char *const *name = config; /* of the two stages */

    strata_node *x = nn_image(b, args);
    for (int i = 0; i < 2; i++) {
        strata_node *branch[3] = { NULL };
        for (int k = 0; k < 3; k++)
            NN_SCOPE(b, "layer%d.%d", i + 1, k)
                branch[k] = layer(b, x, 16 << i);
        NN_SCOPE(b, "%s", name[i]) {
            x = nn_concat(b, branch, 3, 1);
            x = nn_conv_bn_act(b, x, &(nn_sequence){ 0 }, STRATA_ACT_RELU, 16 << i, 1);
        }
        nn_feature(b, x, name[i], 16 << i, 2 << i);
    }
    nn_classifier(b, x, "classifier", args->classes);
}

#define MODEL(id, text, how, ...)                                                                  \
    { .name = #id, .family = "dummynet", .doc = text, .build = how,                                \
      .config = (const char *const[]){ __VA_ARGS__ }, .input = IMAGENET_DEFAULT_INPUT,             \
      .classes = 1000, .has_features = true }

const strata_model_def strata_models_dummynet[] = {
    MODEL(dummynet1, "a module per layer", build_sequential, "layer1", "layer2", "layer3", "layer4"),
    MODEL(dummynet2, "all layers in one sequence", build_sequential,
          "layers.0", "layers.1", "layers.2", "layers.3"),
    MODEL(dummynet3, "parallel layers joined by stages", build_parallel, "stage1", "stage2"),
    { 0 }
};
