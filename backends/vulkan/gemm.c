/* gemm.c: convolutions as an implicit matrix product on the device (Chetlur et al., "cuDNN", 2014, section
 * 3).
 *
 *     Y[p][o] = sum over k of X[p][k] W[k][o]
 *
 * with a row of X per pixel of the result, never stored: a workgroup gathers its rows, a piece of k at a
 * time, into shared memory. It computes a tile of pixels times channels, each invocation a smaller tile in
 * registers.
 *
 * A device has many processors and late layers have few pixels, so of the tile shapes the largest is taken
 * that gives every processor two workgroups. Where even the smallest does not, the sum is split: each split
 * writes partial sums to scratch memory and a second dispatch adds them up, with bias, residual and
 * activation.
 */
#include "conv.h"

typedef struct tile_shape {
    uint32_t pixels, channels, depth;  /* of the tile of a workgroup; of the piece of k */
    uint32_t own_pixels, own_channels; /* of one invocation */
} tile_shape;

static const tile_shape shapes[] = {
    /* largest first; shared memory: depth * (pixels + channels + 4) floats */
    { 128, 128, 16, 8, 8 }, { 128, 64, 16, 8, 4 }, { 64, 64, 16, 4, 4 },
    { 32, 64, 16, 4, 4 },   { 32, 32, 16, 2, 4 },
};

enum {
    SHAPES = sizeof shapes / sizeof *shapes,
    PROCESSORS = 64 /* where the driver does not say */,
    MOST_SPLITS = 8
};

int vk_gemm_tiles(void)
{
    return SHAPES;
}

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

static uint64_t workgroups(const vk_conv *c, const tile_shape *t)
{
    return ceil_div(c->pixels, t->pixels) * ceil_div(c->og, t->channels) * c->groups;
}

bool vk_gemm_plan(const strata_device *dev, const vk_conv *c, vk_gemm *out)
{
    const vk_config *config = &dev->instance->config;
    const bool       worth = !dev->imitation && c->og >= 16 && c->k >= 16;
    if (config->conv == VK_CONV_DIRECT || (config->conv == VK_CONV_AUTO && !worth))
        return false;
    const uint64_t wanted = 2 * PROCESSORS;
    out->tile = 0;
    while (out->tile + 1 < SHAPES &&
           (workgroups(c, &shapes[out->tile]) < wanted || shapes[out->tile].channels > 2 * c->og))
        out->tile++;
    out->splits = 1;
    while (out->splits < MOST_SPLITS && workgroups(c, &shapes[out->tile]) * out->splits < wanted &&
           c->k / (out->splits * 2) >= 128)
        out->splits *= 2;
    if (config->tile > 0)
        out->tile = (config->tile - 1) % SHAPES;
    if (config->split > 0)
        out->splits = (uint32_t)config->split;
    const uint32_t pieces = (uint32_t)ceil_div(c->k, shapes[out->tile].depth); /* a split gets whole ones */
    const uint32_t share = (uint32_t)ceil_div(pieces, out->splits);
    out->splits = (uint32_t)ceil_div(pieces, share);
    return true;
}

static size_t partial_bytes(const vk_conv *c, const vk_gemm *g)
{
    return (size_t)g->splits * c->pixels * c->o * sizeof(float);
}

size_t vk_gemm_workspace(const vk_conv *c, const vk_gemm *g)
{
    return g->splits > 1 ? partial_bytes(c, g) : 0;
}

static bool is_pointwise(const vk_conv *c)
{
    return c->kh * c->kw == 1 && c->stride[0] == 1 && c->stride[1] == 1 && c->top == 0 && c->left == 0 &&
           c->oh == c->h && c->ow == c->w;
}

typedef struct sum_push {
    uint32_t count, channels, splits;
} sum_push;

static strata_status emit_sum(const strata_step *s, const strata_frame *f, const vk_conv *c, const vk_gemm *g,
                              strata_error *err)
{
    sum_push    push = { vk_count(f->out.desc), c->o, g->splits };
    vk_dispatch d = vk_shader_dispatch(&vk_shader_conv_sum);
    vk_use_scratch(&d, f, 0, partial_bytes(c, g), true, false);
    for (int k = CONV_BIAS; k <= CONV_RESIDUAL; k++)
        if (s->node->in[k])
            vk_read_operand(&d, s, f, k);
        else
            vk_unused(&d);
    vk_write_result(&d, f);
    vk_spec(&d, vk_conv_act(s->node));
    vk_spec(&d, s->node->in[CONV_BIAS] != NULL);
    vk_spec(&d, s->node->in[CONV_RESIDUAL] != NULL);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count);
    return vk_emit(f->stream, &d, err);
}

strata_status vk_gemm_emit(const strata_step *s, const strata_frame *f, const vk_conv *c, const vk_gemm *g,
                           strata_error *err)
{
    const tile_shape *t = &shapes[g->tile];
    const uint32_t    pieces = (uint32_t)ceil_div(c->k, t->depth);
    vk_conv           push = *c;
    vk_dispatch       d = vk_shader_dispatch(&vk_shader_conv_gemm);
    push.share = (uint32_t)ceil_div(pieces, g->splits) * t->depth;
    vk_conv_bind(&d, s, f);
    if (g->splits > 1)
        vk_use_scratch(&d, f, 0, partial_bytes(c, g), false, true);
    else
        vk_write_result(&d, f);
    vk_spec(&d, g->splits > 1);
    vk_spec(&d, is_pointwise(c));
    vk_spec(&d, t->pixels);
    vk_spec(&d, t->channels);
    vk_spec(&d, t->depth);
    vk_spec(&d, t->own_pixels);
    vk_spec(&d, t->own_channels);
    vk_spec(&d, t->pixels / t->own_pixels * (t->channels / t->own_channels)); /* invocations of a workgroup */
    vk_push(&d, &push, sizeof push);
    vk_groups(&d, ceil_div(c->pixels, t->pixels) * ceil_div(c->og, t->channels));
    d.groups[2] = c->groups * g->splits;
    STRATA_TRY(vk_emit(f->stream, &d, err));
    return g->splits > 1 ? emit_sum(s, f, c, g, err) : STRATA_OK;
}
