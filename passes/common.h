/* What several passes need: emitting a node once more with other operands and another activation, and
 * folding an affine map per channel into the weights of the linear op before it. */
#ifndef STRATA_PASSES_COMMON_H
#define STRATA_PASSES_COMMON_H

#include <strata/nn.h>

/* Operand positions of conv2d; dense has the first three. */
enum { X, WEIGHT, BIAS, RESIDUAL };
/* Operand positions of batch_norm, after X. */
enum { GAMMA = 1, BETA, MEAN, VARIANCE };

/* The attribute by which an op applies an activation to its result; NULL: the op has none. */
const strata_attr_def *strata_act_attr(const strata_op_def *op);
/* The activation that n applies to its result: NONE also where its op has no such attribute. */
strata_act strata_node_act(const strata_node *n);

/* `like` once more, unnamed: its op and attributes with the activation `act`, and these operands. An op
 * without the attribute takes only NONE. */
strata_node *strata_emit_like(strata_builder *b, const strata_node *like, strata_act act,
                              strata_node *const *in, int count);

/* Whether n is a plain linear map, W*x + bias, that only one reader wants: conv2d or dense without
 * activation and residual. Then, and only then, may its weights absorb what that reader does. */
bool strata_is_lone_linear(const strata_node *n);

/* gamma / sqrt(variance + epsilon) of a batch_norm, as algebra on its parameters: shape [C]. */
strata_node *strata_norm_scale(strata_builder *b, const strata_node *norm);

/* act(scale * (linear - mean) + shift) as a node of linear's op: see common.c. mean, scale and shift are
 * constants of shape [O], one number per channel of the result, or NULL. */
strata_node *strata_fold_affine(strata_builder *b, const strata_node *linear, strata_node *mean,
                                strata_node *scale, strata_node *shift, strata_act act);

#endif
