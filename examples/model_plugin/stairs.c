/* stairs: two new models as a plug-in. A small residual network whose four stages are features, as MindCV's guide to
 * feature extraction has them: register each stage where it is built, with its channels and its stride.
 *
 * A family is blocks, one build function, and a table of configurations. There is no error handling: the builder keeps
 * the first error, and strata_create_model reports it with the path of the layer. */
#include <strata/plugin.h>

enum { STAGES = 4 };

typedef struct config {
    int width[STAGES]; /* channels of each stage */
    int depth[STAGES]; /* blocks in it */
} config;

static strata_node *conv_bn(strata_builder *b, strata_node *x, const char *conv, const char *bn, int out, int kernel,
                            int stride)
{
    x = nn_conv2d(b, x, conv, out, kernel, .stride = stride, .pad = kernel / 2);
    return nn_batch_norm(b, x, bn);
}

/* relu(f(x) + x); a stage begins with a block of stride 2, whose shortcut is a 1x1 convolution. */
static strata_node *block(strata_builder *b, strata_node *x, int out, int stride)
{
    strata_node *shortcut = x;
    x = nn_relu(b, conv_bn(b, x, "conv1", "bn1", out, 3, stride));
    x = conv_bn(b, x, "conv2", "bn2", out, 3, 1);
    if (stride != 1)
        shortcut = conv_bn(b, shortcut, "shortcut.0", "shortcut.1", out, 1, stride);
    return nn_relu(b, nn_add(b, x, shortcut));
}

static void build(strata_builder *b, const void *configuration, const strata_model_args *args)
{
    const config *c = configuration;
    strata_node  *x = nn_image(b, args);
    x = nn_relu(b, conv_bn(b, x, "stem.conv", "stem.bn", c->width[0], 3, 2));
    for (int s = 0; s < STAGES; s++) {
        char name[16];
        snprintf(name, sizeof name, "stage%d", s + 1);
        for (int i = 0; i < c->depth[s]; i++)
            NN_SCOPE(b, "%s.%d", name, i)
                x = block(b, x, c->width[s], i == 0 ? 2 : 1);
        nn_feature(b, x, name, c->width[s], 4 << s); /* a wrong number here is an error when the graph is built */
    }
    x = nn_flatten(b, nn_global_avg_pool(b, x));
    nn_output(b, nn_dense(b, x, "classifier", args->classes), "logits");
}

#define INPUT { 224, 224, 3, { 0.485, 0.456, 0.406 }, { 0.229, 0.224, 0.225 }, STRATA_BILINEAR, 0.875 }

static const strata_model_def models[] = {
    { .name = "stairs_tiny", .family = "stairs", .doc = "Stairs, 8 blocks of 16 to 128 channels", .build = build,
      .config = &(const config){ { 16, 32, 64, 128 }, { 2, 2, 2, 2 } }, .input = INPUT, .classes = 1000,
      .has_features = true },
    { .name = "stairs_small", .family = "stairs", .doc = "Stairs, 12 blocks of 32 to 256 channels", .build = build,
      .config = &(const config){ { 32, 64, 128, 256 }, { 2, 3, 5, 2 } }, .input = INPUT, .classes = 1000,
      .has_features = true },
};

static strata_status init(strata_context *ctx, strata_error *err)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        STRATA_TRY(strata_register_model(ctx, &models[i], err));
    return STRATA_OK;
}

const strata_plugin_def strata_plugin = { .abi = STRATA_ABI, .name = "stairs", .doc = "A small residual family.",
                                          .init = init };
