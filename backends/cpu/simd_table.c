/* simd_table.c: the table of one instruction set. See simd.h. */
#include "simd_vec.h"

#define SIMD_TEXT_OF(set) #set
#define SIMD_TEXT(set) SIMD_TEXT_OF(set)

extern const cpu_simd SIMD(simd);

const cpu_simd SIMD(simd) = {
    .name = SIMD_TEXT(SIMD_SET),
    .block = 2 * LANES,
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    .fused = true,
#endif
    .finish = SIMD(finish),
    .activate = SIMD(activate),
    .unary = SIMD(unary),
    .binary = SIMD(binary),
    .affine = SIMD(affine),
    .gemv = SIMD(gemv),
    .depthwise_rows = SIMD(depthwise_rows),
    .group_rows = SIMD(group_rows),
    .tiles = SIMD(tiles),
    .winograd_tile = SIMD(winograd_tile),
    .winograd_result = SIMD(winograd_result),
    .max_rows = SIMD(max_rows),
    .sum_rows = SIMD(sum_rows),
    .column_sums = SIMD(column_sums),
    .column_squares = SIMD(column_squares),
    .normalize = SIMD(normalize),
    .softmax_columns = SIMD(softmax_columns),
    .softmax_row = SIMD(softmax_row),
    .blend4 = SIMD(blend4),
    .transpose = SIMD(transpose),
};
