/* models/common.h: the blocks that several families share, on top of strata/nn.h. */
#ifndef STRATA_MODELS_COMMON_H
#define STRATA_MODELS_COMMON_H

#include <strata/nn.h>

/* The input record of square ImageNet images, as MindCV evaluates them. */
#define IMAGENET_INPUT(size, how, crop)                                                            \
    { (size), (size), 3, { 0.485, 0.456, 0.406 }, { 0.229, 0.224, 0.225 }, (how), (crop) }
/* Where MindCV has no recipe for a model, its defaults hold. */
#define IMAGENET_DEFAULT_INPUT IMAGENET_INPUT(224, STRATA_BILINEAR, 0.875)

/* `channels` rounded to the nearest multiple of `divisor`, at least one of them, and never below 90 % of
 * what was asked (Howard et al., MobileNets). */
int nn_make_divisible(double channels, int divisor);

/* MindCV names the members of a sequence by position, and activations count. `at` is the next position;
 * `epsilon` that of the batch norms (0: 1e-5). */
typedef struct nn_sequence {
    int    at;
    double epsilon;
} nn_sequence;

/* An activation under a name of its own, as a member of a sequence. */
strata_node *nn_named_act(strata_builder *b, strata_node *x, const char *name, strata_act act);

/* Convolution, batch norm, activation (unless NONE) as the next two or three members of a sequence:
 *     x = nn_conv_bn_act(b, x, &seq, STRATA_ACT_RELU, out, kernel, .stride = 2, .pad = 1); */
strata_node *nn_conv_bn_act_(strata_builder *b, strata_node *x, nn_sequence *seq, strata_act act,
                             nn_conv2d_args conv);
#define nn_conv_bn_act(b, x, seq, act, ...)                                                        \
    nn_conv_bn_act_(b, x, seq, act, (nn_conv2d_args){ NULL, __VA_ARGS__ })

/* Registers x, the last member of the sequence whose scope this is, under its name: "features.2". */
void nn_feature_last(strata_builder *b, strata_node *x, const nn_sequence *seq, int channels, int reduction);

/* Squeeze-and-excitation (Hu et al., 2017): x scaled per channel by
 * gate(conv_expand(act(conv_reduce(mean of x)))), with a batch norm "bn" before act if asked for. */
typedef struct nn_squeeze_args {
    int        reduced; /* channels between the two convolutions */
    strata_act act, gate;
    bool       batch_norm;
} nn_squeeze_args;
strata_node *nn_squeeze_excite_(strata_builder *b, strata_node *x, nn_squeeze_args args);
#define nn_squeeze_excite(b, x, ...) nn_squeeze_excite_(b, x, (nn_squeeze_args){ __VA_ARGS__ })

/* The two blocks of He et al. (2015) with result relu(f(x) + shortcut(x)); the shortcut is "down_sample",
 * a strided 1x1 convolution, where shapes change. The bottleneck's stride sits at the 3x3 convolution
 * and its result has four times `channels`. `groups` and `base_width` are those of ResNeXt (0: 1 and 64). */
typedef struct nn_residual_args {
    int channels, stride, groups, base_width;
} nn_residual_args;
strata_node *nn_basic_block(strata_builder *b, strata_node *x, const nn_residual_args *args);
strata_node *nn_bottleneck(strata_builder *b, strata_node *x, const nn_residual_args *args);

/* Mean over the map as [N, C], and the usual end: mean, a dense layer of that name, the output "logits". */
strata_node *nn_mean_vector(strata_builder *b, strata_node *x);
void         nn_classifier(strata_builder *b, strata_node *x, const char *name, int classes);

#endif
