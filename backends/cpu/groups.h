/* groups.h: convolutions in small groups, in pieces: for the kernels that are nothing else (k_groups.c) and for those that
 * compute such a convolution of what they have just made.
 */
#ifndef STRATA_CPU_GROUPS_H
#define STRATA_CPU_GROUPS_H

#include "conv.h"

/* Whether all operands and attributes of n are such that its groups have one channel in and out each. */
bool cpu_depthwise_fits(const strata_node *n);

/* Packed: [block of channels][tap][group][cpu_simd.block], then [block of channels][cpu_simd.block] of bias. */
size_t        cpu_groups_packed_bytes(const cpu_conv *c, int block);
strata_status cpu_groups_pack(const strata_node *n, int block, float *packed, strata_error *err);

/* Some channels of the results in an image. */
typedef struct cpu_group_part {
    const cpu_conv *conv;
    const cpu_simd *simd;
    const float    *packed;
    const float    *x;              /* the first of the channels in row x_first of the map */
    int64_t         x_first;
    ptrdiff_t       x_line, x_pixel; /* floats from row to row, and from pixel to pixel */
    float          *y;              /* the first of the channels of the result, whose pixels have all channels */
    int64_t         channel, channels; /* a block, or several where groups have one channel; the last may be less */
} cpu_group_part;

/* Rows [from, to) of the map that rows [first, end) of the result see. */
void cpu_group_rows_under(const cpu_conv *c, int64_t first, int64_t end, int64_t *from, int64_t *to);
/* Rows [first, end) of the result. */
void cpu_group_part_run(const cpu_group_part *p, int64_t first, int64_t end);

#endif
