/* conv.h: the geometry that the kernels of conv2d and dense share. A dense layer over [N,C,H,W] or [N,C] is a
 * 1x1 convolution, so both ops become a vk_conv and use the same shaders.
 *
 * Weights are packed as [group][kh][kw][channel in][pitch]: the channels out of a group side by side, with
 * zeros up to the pitch, which is a multiple of four.
 */
#ifndef STRATA_VULKAN_CONV_H
#define STRATA_VULKAN_CONV_H

#include "kernel.h"

enum { CONV_X, CONV_WEIGHT, CONV_BIAS, CONV_RESIDUAL };

/* What the shaders of conv.glsl are told. */
typedef struct vk_conv {
    uint32_t pixels;    /* of the result, all images */
    uint32_t h, w, c;   /* of x */
    uint32_t oh, ow, o; /* of the result */
    uint32_t kh, kw, stride[2];
    int32_t  top, left;
    uint32_t dilation[2];
    uint32_t groups, cg, og; /* channels in and out of one group */
    uint32_t pitch;          /* og with its padding */
    uint32_t k;              /* kh * kw * cg: products in one sum */
    uint32_t share;          /* of k for each split of the sum */
} vk_conv;

/* A conv2d or dense node. */
vk_conv    vk_conv_of(const strata_node *n);
strata_act vk_conv_act(const strata_node *n);
/* Weights and bias constant, everything within 32 bits. */
bool vk_conv_accepts(const strata_node *n);
/* Uploads weights, packed, bias and a constant residual. */
strata_status vk_conv_prepare(strata_step *s, strata_error *err);
bool vk_conv_is_depthwise(const vk_conv *c);
/* Pixel p of the result needs pixel p of x only. */
bool vk_conv_is_pointwise(const vk_conv *c);

/* The implicit matrix product, gemm.c: pixels times channels in tiles, the sum cut into splits where there
 * are few. */
typedef struct vk_gemm {
    bool     matrix; /* on matrix units */
    int      tile;   /* index of the shape */
    uint32_t splits;
} vk_gemm;
/* False where another kernel is better. */
bool          vk_gemm_plan(const strata_device *dev, const vk_conv *c, strata_dtype dtype, vk_gemm *out);
size_t        vk_gemm_workspace(const vk_conv *c, const vk_gemm *g);
strata_status vk_gemm_emit(const strata_step *s, const strata_frame *f, const vk_conv *c, const vk_gemm *g,
                           strata_error *err);
/* How many shapes there are for values of a type. */
int vk_gemm_tiles(const strata_device *dev, strata_dtype dtype);

/* Binds x, weight, bias, residual and scale, and says with four specialization constants: activation, bias?, residual?,
 * activation of the scaled x. The scale is that of a product with a gate, which the kernel absorbs. */
void vk_conv_bind(vk_dispatch *d, const strata_step *s, const strata_frame *f);

#endif
