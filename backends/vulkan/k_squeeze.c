/* k_squeeze.c: the first half of squeeze-excite (Hu et al., "Squeeze-and-Excitation Networks", 2018): a 1x1 convolution that
 * absorbs the global average in front of it.
 *
 *     Y[o] = act(bias[o] + sum over channels c of W[o][c] mean over pixels p of X[p][c])
 *
 * The convolution is linear, so a workgroup can multiply what it has summed of the pixels of some channels with the weights
 * of these, and the sum over workgroups is that of the definition. The other half is conv2d.scaled and the gate
 * before it.
 */
#include "conv.h"

enum {
    SLICE = 32, LANES = 8, /* channels and pixels side by side in a workgroup: ORDER squeeze.comp */
    MOST_GROUPS = 64,      /* of an image, unless it has more slices: the last one reads the sums of all */
    MOST_OUTPUTS = 512     /* for the same reason: a classifier does better in two dispatches */
};

typedef struct squeeze {
    uint32_t images, area, c, o, pitch, slices, parts, share;
} squeeze;

static bool accepts(const strata_node *n)
{
    const strata_node *mean = n->in[CONV_X];
    if (mean->op != &strata_op_global_avg_pool || n->in[CONV_RESIDUAL] || !vk_conv_accepts(n) || !vk_fits(mean))
        return false;
    const vk_conv c = vk_conv_of(n);
    return vk_conv_is_pointwise(&c) && c.groups == 1 && c.o <= MOST_OUTPUTS;
}

static squeeze plan(const strata_step *s)
{
    const vk_conv  c = vk_conv_of(s->node);
    const int64_t *x = s->node->in[CONV_X]->in[0]->desc.dim;
    squeeze        q = { .images = (uint32_t)x[0], .area = (uint32_t)(x[2] * x[3]), .c = c.c, .o = c.o, .pitch = c.pitch };
    q.slices = (uint32_t)vk_ceil_div(q.c, SLICE);
    const uint64_t wanted = vk_busy(s->device) / (SLICE * LANES) / q.images;
    q.parts = 1;
    while (q.parts * q.slices < wanted && 2 * q.parts * q.slices <= MOST_GROUPS && q.area / q.parts >= 4 * LANES)
        q.parts *= 2;
    q.share = (uint32_t)vk_ceil_div(q.area, q.parts);
    return q;
}

static size_t partial_bytes(const squeeze *q)
{
    return (size_t)q->images * q->slices * q->parts * q->o * sizeof(float);
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    const squeeze q = plan(s);
    s->workspace = partial_bytes(&q);
    return vk_conv_prepare(s, err);
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const squeeze q = plan(s);
    vk_dispatch   d = vk_value_dispatch(&vk_shader_squeeze, f);
    vk_read_operand(&d, s, f, CONV_X);
    vk_read_operand(&d, s, f, CONV_WEIGHT);
    if (s->node->in[CONV_BIAS])
        vk_read_operand(&d, s, f, CONV_BIAS);
    else
        vk_unused(&d);
    vk_use_scratch(&d, f, 0, partial_bytes(&q), true, true);
    vk_use_counters(f->stream, &d, q.images);
    vk_write_result(&d, f);
    vk_spec(&d, vk_conv_act(s->node));
    vk_spec(&d, s->node->in[CONV_BIAS] != NULL);
    vk_push(&d, &q, sizeof q);
    vk_groups(&d, (uint64_t)q.images * q.slices * q.parts);
    return vk_emit(f->stream, &d, err);
}

const strata_kernel_def vk_kernel_conv2d_squeeze = { .name = "conv2d.squeeze",
                                                     .op = &strata_op_conv2d,
                                                     .layouts = VK_NHWC,
                                                     .half = true,
                                                     .absorbs = true,
                                                     .accepts = accepts,
                                                     .prepare = prepare,
                                                     .release = vk_release,
                                                     .emit = emit };
