/* Blocks that several families share: see common.h. */
#include "common.h"

int nn_make_divisible(double channels, int divisor)
{
    int rounded = (int)(channels + divisor / 2.0) / divisor * divisor;
    if (rounded < divisor)
        rounded = divisor;
    return rounded < 0.9 * channels ? rounded + divisor : rounded;
}

strata_node *nn_named_act(strata_builder *b, strata_node *x, const char *name, strata_act act)
{
    return strata_emit(b, strata_act_op(act), strata_scoped(b, name), NULL, x);
}

strata_node *nn_conv_bn_act_(strata_builder *b, strata_node *x, nn_sequence *seq, strata_act act,
                             nn_conv2d_args conv)
{
    char name[16];

    snprintf(name, sizeof name, "%d", seq->at++);
    conv.name = name;
    x = nn_conv2d_(b, x, conv);

    snprintf(name, sizeof name, "%d", seq->at++);
    x = nn_batch_norm(b, x, name, .epsilon = seq->epsilon);

    if (act == STRATA_ACT_NONE)
        return x;
    snprintf(name, sizeof name, "%d", seq->at++);
    return nn_named_act(b, x, name, act);
}

void nn_feature_last(strata_builder *b, strata_node *x, const nn_sequence *seq, int channels, int reduction)
{
    char name[16];
    snprintf(name, sizeof name, "%d", seq->at - 1);
    nn_feature(b, x, strata_scoped(b, name), channels, reduction);
}

strata_node *nn_squeeze_excite_(strata_builder *b, strata_node *x, nn_squeeze_args args)
{
    strata_node *s = nn_global_avg_pool(b, x);
    s = nn_conv2d(b, s, "conv_reduce", args.reduced, 1, .bias = true);
    if (args.batch_norm)
        s = nn_batch_norm(b, s, "bn");
    s = nn_act(b, s, args.act);
    s = nn_conv2d(b, s, "conv_expand", nn_channels(x), 1, .bias = true);
    s = nn_act(b, s, args.gate);
    return nn_mul(b, x, s);
}

static strata_node *shortcut(strata_builder *b, strata_node *x, int out, int stride)
{
    if (stride != 1 || nn_channels(x) != out)
        NN_SCOPE(b, "down_sample")
            x = nn_conv_bn_act(b, x, &(nn_sequence){ 0 }, STRATA_ACT_NONE, out, 1, .stride = stride);
    return x;
}

strata_node *nn_basic_block(strata_builder *b, strata_node *x, const nn_residual_args *args)
{
    int          out = args->channels;
    strata_node *y = nn_conv2d(b, x, "conv1", out, 3, .stride = args->stride, .pad = 1);
    y = nn_relu(b, nn_batch_norm(b, y, "bn1"));
    y = nn_conv2d(b, y, "conv2", out, 3, .pad = 1);
    y = nn_batch_norm(b, y, "bn2");
    return nn_relu(b, nn_add(b, y, shortcut(b, x, out, args->stride)));
}

strata_node *nn_bottleneck(strata_builder *b, strata_node *x, const nn_residual_args *args)
{
    int groups = args->groups ? args->groups : 1;
    int base_width = args->base_width ? args->base_width : 64;
    int width = args->channels * base_width / 64 * groups;
    int out = 4 * args->channels;

    strata_node *y = nn_conv2d(b, x, "conv1", width, 1);
    y = nn_relu(b, nn_batch_norm(b, y, "bn1"));
    y = nn_conv2d(b, y, "conv2", width, 3, .stride = args->stride, .pad = 1, .groups = groups);
    y = nn_relu(b, nn_batch_norm(b, y, "bn2"));
    y = nn_conv2d(b, y, "conv3", out, 1);
    y = nn_batch_norm(b, y, "bn3");
    return nn_relu(b, nn_add(b, y, shortcut(b, x, out, args->stride)));
}

strata_node *nn_mean_vector(strata_builder *b, strata_node *x)
{
    return nn_flatten(b, nn_global_avg_pool(b, x));
}

void nn_classifier(strata_builder *b, strata_node *x, const char *name, int classes)
{
    x = nn_dense(b, nn_mean_vector(b, x), name, classes);
    nn_output(b, x, "logits");
}
