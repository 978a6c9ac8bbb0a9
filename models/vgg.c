/* VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014
 * (arXiv:1409.1556), without batch norm; MindCV's convolutions have no bias.
 *
 * MindCV registers no features for it. Ours are its five stages: the last ReLU before each max pool, named by
 * its position in the sequence as in MindCV's other sequential models.
 *
 * The classifier multiplies a flattened map of 7x7. An input whose last map has another size (224 to 255
 * pixels give 7) has no classifier: the features are all there, the output "logits" is not. The last feature
 * is the graph's output then. */
#include "common.h"

typedef struct vgg_config {
    int depth[5];
} vgg_config;

static strata_node *hidden(strata_builder *b, strata_node *x, const char *dense, const char *relu)
{
    x = nn_dense(b, x, dense, 4096);
    return nn_named_act(b, x, relu, STRATA_ACT_RELU);
}

static void head(strata_builder *b, strata_node *x, int classes)
{
    NN_SCOPE(b, "classifier") {
        x = nn_flatten(b, nn_max_pool(b, x, 2));
        x = hidden(b, x, "0", "1");
        x = hidden(b, x, "3", "4");
        x = nn_dense(b, x, "6", classes);
        nn_output(b, x, "logits");
    }
}

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    static const int  width[5] = { 64, 128, 256, 512, 512 };
    const vgg_config *cfg = config;
    int               at = 0; /* position in the sequence; activations and pools count */
    char              name[32];

    strata_node *x = nn_image(b, args);
    for (int s = 0; s < 5; s++) {
        if (s > 0)
            NN_SCOPE(b, "features.%d", at++)
                x = nn_max_pool(b, x, 2);
        for (int i = 0; i < cfg->depth[s]; i++) {
            snprintf(name, sizeof name, "features.%d", at++);
            x = nn_conv2d(b, x, name, width[s], 3, .pad = 1);
            snprintf(name, sizeof name, "features.%d", at++);
            x = nn_named_act(b, x, name, STRATA_ACT_RELU);
        }
        nn_feature(b, x, name, width[s], 1 << s);
    }
    if (nn_height(x) / 2 == 7 && nn_width(x) / 2 == 7)
        head(b, x, args->classes);
    else
        nn_output(b, x, name);
}

#define MODEL(id, text, ...)                                                                       \
    { .name = #id, .family = "vgg", .doc = text, .build = build,                                   \
      .config = &(const vgg_config){ __VA_ARGS__ }, .input = IMAGENET_DEFAULT_INPUT,               \
      .classes = 1000, .has_features = true }

const strata_model_def strata_models_vgg[] = {
    MODEL(vgg11, "VGG, 11 layers", { 1, 1, 2, 2, 2 }),
    MODEL(vgg13, "VGG, 13 layers", { 2, 2, 2, 2, 2 }),
    MODEL(vgg16, "VGG, 16 layers", { 2, 2, 3, 3, 3 }),
    MODEL(vgg19, "VGG, 19 layers", { 2, 2, 4, 4, 4 }),
    { 0 }
};
