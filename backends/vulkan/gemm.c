/* gemm.c: convolutions as an implicit matrix product on the device (Chetlur et al., "cuDNN", 2014, section
 * 3).
 *
 *     Y[p][o] = sum over k of X[p][k] W[k][o]
 *
 * with a row of X per pixel of the result, never stored: a workgroup gathers its rows, a piece of k at a
 * time, into shared memory. It computes a tile of pixels times channels, each invocation a smaller tile in
 * registers.
 *
 * Values of float16 are multiplied on the matrix units where the device has them: there a subgroup owns the
 * smaller tile. Sums are floats in any case.
 *
 * A device has many processors and late layers have few pixels, so of the tile shapes the largest is taken
 * that keeps them busy. Where even the smallest does not, the sum is split: each workgroup writes the partial sums
 * of its tile to scratch memory, and the last one of a tile adds them up, with bias, residual and activation.
 * A second dispatch would cost as much as the product itself where there are few images.
 */
#include "tuning.h"

#include <string.h>

typedef struct tile_shape {
    uint32_t pixels, channels, depth;  /* of the tile of a workgroup; of the piece of k */
    uint32_t own_pixels, own_channels; /* of one invocation; with matrices, of a subgroup */
    uint32_t fill;                     /* workgroups for each four processors, below which a smaller shape is faster;
                                        * 0: rather than a smaller one, more splits */
} tile_shape;

/* Largest first; measured as tune.c does on an H200. pixels * depth and channels * depth are multiples of
 * what all invocations load at once. Shared memory: 4 * depth * (pixels + channels + 4) bytes. */
static const tile_shape float_shapes[] = {
    { 128, 64, 16, 8, 8, 8 }, { 64, 64, 16, 8, 4, 8 }, { 64, 64, 16, 4, 4, 8 },
    { 32, 64, 16, 4, 4, 0 },  { 64, 32, 16, 4, 4, 8 }, { 32, 32, 16, 4, 4, 8 },
};
/* Shared memory: 2 * (pixels * (depth + 8) + depth * (channels + 8)) bytes, and 1 KiB for each subgroup. */
static const tile_shape matrix_shapes[] = {
    { 128, 128, 32, 64, 64, 16 }, { 128, 128, 32, 64, 32, 3 }, { 128, 64, 32, 64, 32, 3 },
    { 64, 64, 32, 32, 32, 5 },    { 32, 64, 64, 32, 16, 5 },   { 32, 32, 64, 16, 16, 5 },
};

enum { FLOAT_SHAPES = sizeof float_shapes / sizeof *float_shapes,
       MATRIX_SHAPES = sizeof matrix_shapes / sizeof *matrix_shapes,
       MOST_SPLITS = 32 };

/* Workgroups for each four processors, below which one more split is faster. */
enum { FLOAT_GOAL = 6, MATRIX_GOAL = 5 };

static bool has_matrix(const strata_device *dev, strata_dtype dtype)
{
    return dtype == STRATA_F16 && dev->adapter->matrix != VK_MATRIX_NONE;
}

static const tile_shape *shapes_of(bool matrix, int *count)
{
    *count = matrix ? MATRIX_SHAPES : FLOAT_SHAPES;
    return matrix ? matrix_shapes : float_shapes;
}

int vk_gemm_tiles(const strata_device *dev, strata_dtype dtype)
{
    return has_matrix(dev, dtype) ? MATRIX_SHAPES : FLOAT_SHAPES;
}

static uint64_t workgroups(const vk_conv *c, const tile_shape *t)
{
    return vk_ceil_div(c->pixels, t->pixels) * vk_ceil_div(c->og, t->channels) * c->groups;
}

static bool uses_matrix(const strata_device *dev, const vk_conv *c, strata_dtype dtype)
{
    return has_matrix(dev, dtype) && c->pitch % 8 == 0;
}

vk_tuned vk_gemm_tuned(const strata_device *dev, const vk_conv *c, strata_dtype dtype, int tile, uint32_t splits)
{
    int               count;
    const tile_shape *t = &shapes_of(uses_matrix(dev, c, dtype), &count)[tile];
    return (vk_tuned){ *c, dtype, t->pixels, t->channels, t->depth, t->own_pixels, t->own_channels, splits };
}

/* What was measured on this device, if that is about shapes that there are. */
static bool take_tuned(const strata_device *dev, const vk_conv *c, strata_dtype dtype, vk_gemm *out)
{
    int             count;
    const vk_tuned *t = vk_tuning_find(dev, c, dtype);
    shapes_of(out->matrix, &count);
    for (int i = 0; t && i < count; i++) {
        const vk_tuned with = vk_gemm_tuned(dev, c, dtype, i, t->splits);
        if (memcmp(&with, t, sizeof with) == 0 && t->splits >= 1 && t->splits <= MOST_SPLITS) {
            out->tile = i;
            out->splits = t->splits;
            return true;
        }
    }
    return false;
}

/* The largest tile that keeps the device busy, and splits where even the smallest does not. */
static void estimate(const strata_device *dev, const vk_conv *c, vk_gemm *out)
{
    int               count;
    const tile_shape *shapes = shapes_of(out->matrix, &count);
    const uint64_t    processors = dev->adapter->processors;
    const uint32_t    widest = c->og <= 32 ? 32 : (c->og + 63) / 64 * 64; /* what lies beyond is computed in vain */
    while (out->tile + 1 < count && (4 * workgroups(c, &shapes[out->tile]) < shapes[out->tile].fill * processors ||
                                     shapes[out->tile].channels > widest))
        out->tile++;
    const uint64_t wanted = (out->matrix ? MATRIX_GOAL : FLOAT_GOAL) * processors;
    while (out->splits < MOST_SPLITS && 4 * workgroups(c, &shapes[out->tile]) * out->splits < wanted &&
           c->k / (out->splits * 2) >= 128)
        out->splits *= 2;
}

bool vk_gemm_plan(const strata_device *dev, const vk_conv *c, strata_dtype dtype, vk_gemm *out)
{
    const vk_config *config = &dev->instance->config;
    const bool       worth = !dev->imitation && c->og >= 16 && c->k >= 16;
    if (config->conv != VK_CONV_GEMM && (config->conv != VK_CONV_AUTO || !worth))
        return false;
    *out = (vk_gemm){ .matrix = uses_matrix(dev, c, dtype), .splits = 1 };
    int               count;
    const tile_shape *shapes = shapes_of(out->matrix, &count);
    if (!take_tuned(dev, c, dtype, out))
        estimate(dev, c, out);
    if (config->tile > 0)
        out->tile = (config->tile - 1) % count;
    if (config->split > 0)
        out->splits = (uint32_t)config->split;
    const uint32_t pieces = (uint32_t)vk_ceil_div(c->k, shapes[out->tile].depth); /* a split gets whole ones */
    const uint32_t share = (uint32_t)vk_ceil_div(pieces, out->splits);
    out->splits = (uint32_t)vk_ceil_div(pieces, share);
    return true;
}

size_t vk_gemm_workspace(const vk_conv *c, const vk_gemm *g)
{
    int               count;
    const tile_shape *t = &shapes_of(g->matrix, &count)[g->tile];
    return g->splits > 1 ? workgroups(c, t) * g->splits * t->pixels * t->channels * sizeof(float) : 0;
}

static vk_dispatch matrix_dispatch(const strata_device *dev)
{
#ifdef STRATA_VULKAN_KHR_MATRIX
    if (dev->adapter->matrix == VK_MATRIX_KHR)
        return vk_shader_dispatch(&vk_shader_conv_coop_khr);
#endif
    (void)dev;
    return vk_shader_dispatch(&vk_shader_conv_coop_nv);
}

strata_status vk_gemm_emit(const strata_step *s, const strata_frame *f, const vk_conv *c, const vk_gemm *g,
                           strata_error *err)
{
    int               count;
    const tile_shape *t = &shapes_of(g->matrix, &count)[g->tile];
    const uint32_t    pieces = (uint32_t)vk_ceil_div(c->k, t->depth), vector = g->matrix ? 8 : 4;
    const uint32_t    owners = t->pixels / t->own_pixels * (t->channels / t->own_channels);
    vk_conv           push = *c;
    vk_dispatch d = g->matrix ? matrix_dispatch(s->device) : vk_value_dispatch(&vk_shader_conv_gemm, f);
    push.share = (uint32_t)vk_ceil_div(pieces, g->splits) * t->depth;
    vk_conv_bind(&d, s, f);
    vk_write_result(&d, f);
    if (g->splits > 1) {
        vk_use_scratch(&d, f, 0, vk_gemm_workspace(c, g), true, true);
        vk_use_counters(f->stream, &d, (uint32_t)workgroups(c, t));
    } else {
        vk_unused(&d);
        vk_unused(&d);
    }
    vk_spec(&d, g->splits > 1);
    vk_spec(&d, vk_conv_is_pointwise(c));
    vk_spec(&d, c->cg % vector == 0);
    vk_spec(&d, c->og % vector == 0);
    vk_spec(&d, t->pixels);
    vk_spec(&d, t->channels);
    vk_spec(&d, t->depth);
    vk_spec(&d, t->own_pixels);
    vk_spec(&d, t->own_channels);
    vk_spec(&d, owners * (g->matrix ? s->device->adapter->subgroup.subgroupSize : 1)); /* of the workgroup */
    if (!g->matrix)
        vk_spec(&d, s->device->imitation ? 1 : 8); /* steps of k at once */
    vk_push(&d, &push, sizeof push);
    vk_groups(&d, vk_ceil_div(c->pixels, t->pixels) * vk_ceil_div(c->og, t->channels));
    d.groups[2] = c->groups * g->splits;
    return vk_emit(f->stream, &d, err);
}
