/* Rules that many ops share. Every infer function begins with strata_infer_operands (or is it), then applies
 * its own rules. It may rely on the core: required operands are there, attributes are in range, no dim is
 * below 1 and no operand has more than INT64_MAX / 8 elements, so that small sums cannot overflow. The core
 * also refuses results that are too large. Texts name the operand, the rule and both values; node and op are
 * added by the core. */
#ifndef STRATA_OPS_INFER_H
#define STRATA_OPS_INFER_H

#include <strata/ops.h>

enum {
    OPS_MAX_WINDOW = 4096,   /* kernels, strides, dilations and pads of one window, in elements */
    OPS_MAX_DIM    = 1 << 30 /* numbers that are or become a dim */
};

/* "y", or "operand 3" of a variadic op, into buf. */
const char *strata_operand_name(const strata_node *n, int i, char *buf, size_t size);

/* All operands are f32, and those of rank 4 agree about the layout, which becomes that of `out`.
 *
 * Not asked for their layout are sources of parameters (constants, and whatever enters at an operand with a
 * role: a kernel packs weights as it likes) and values for which the tag makes no difference. */
strata_status strata_infer_operands(const strata_node *n, strata_tensor_desc *out, strata_error *err);
/* Operand i has a rank from low to high. */
strata_status strata_infer_rank(const strata_node *n, int i, int low, int high, strata_error *err);
/* Operand i is [length]; an operand left out is fine. */
strata_status strata_infer_vector(const strata_node *n, int i, int64_t length, strata_error *err);
/* Operand 0 has a rank from low to high, and all others are vectors with an element per channel of it. */
strata_status strata_infer_per_channel(const strata_node *n, int low, int high, strata_error *err);
/* Operands i and j have the same dim `axis`. */
strata_status strata_infer_same_dim(const strata_node *n, int i, int j, int axis, strata_error *err);
/* `axis` is one of operand 0's dims. */
strata_status strata_infer_axis(const strata_node *n, int axis, strata_error *err);
/* Dims 2 and 3 of `out` when a window slides over x: floor((x + pads - reach) / stride) + 1. */
strata_status strata_infer_window(const strata_tensor_desc *x, const int64_t kernel[2], const int stride[2],
                                  const int pad[4], const int dilation[2], strata_tensor_desc *out,
                                  strata_error *err);

#endif
