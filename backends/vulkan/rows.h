/* rows.h: kernels that reduce rows: see shaders/rows.glsl. */
#ifndef STRATA_VULKAN_ROWS_H
#define STRATA_VULKAN_ROWS_H

#include "kernel.h"

enum { VK_REDUCE_MEAN, VK_REDUCE_NORM }; /* ORDER reduce.comp: mean; square root of the sum of squares */

/* Sets push constants, the first specialization constant and the grid for a shader over rows: each row is
 * shared by as many invocations as it takes to keep the device busy. `value` is the shader's own constant. */
void vk_over_rows(vk_dispatch *d, const strata_device *dev, vk_rows rows, double value);

#endif
