/* k_conv.c: conv2d and dense: packing weights, choosing between the direct kernel, depthwise and the implicit
 * product. */
#include "conv.h"

#include <stdlib.h>

/* ---- Geometry ------------------------------------------------------------------------------------ */

vk_conv vk_conv_of(const strata_node *n)
{
    const strata_tensor_desc *x = &n->in[CONV_X]->desc, *w = &n->in[CONV_WEIGHT]->desc, *y = &n->desc;
    const bool                maps = y->rank == 4;
    vk_conv                   c = { .h = maps ? (uint32_t)x->dim[2] : 1,
                                    .w = maps ? (uint32_t)x->dim[3] : 1,
                                    .c = (uint32_t)x->dim[1],
                                    .oh = maps ? (uint32_t)y->dim[2] : 1,
                                    .ow = maps ? (uint32_t)y->dim[3] : 1,
                                    .o = (uint32_t)y->dim[1],
                                    .kh = 1,
                                    .kw = 1,
                                    .stride = { 1, 1 },
                                    .dilation = { 1, 1 },
                                    .groups = 1 };
    if (n->op == &strata_op_conv2d) {
        const strata_conv2d_attrs *a = n->attrs;
        c.kh = (uint32_t)w->dim[2], c.kw = (uint32_t)w->dim[3];
        c.top = a->pad[0], c.left = a->pad[1];
        c.groups = (uint32_t)a->groups;
        for (int i = 0; i < 2; i++)
            c.stride[i] = (uint32_t)a->stride[i], c.dilation[i] = (uint32_t)a->dilation[i];
    }
    c.pixels = (uint32_t)y->dim[0] * c.oh * c.ow;
    c.cg = c.c / c.groups;
    c.og = c.o / c.groups;
    c.pitch = c.og <= 4 ? 4 : (c.og + 7) / 8 * 8;
    c.k = c.share = c.kh * c.kw * c.cg;
    return c;
}

strata_act vk_conv_act(const strata_node *n)
{
    return (strata_act)(n->op == &strata_op_conv2d ? ((const strata_conv2d_attrs *)n->attrs)->act
                                                   : ((const strata_dense_attrs *)n->attrs)->act);
}

bool vk_conv_is_depthwise(const vk_conv *c)
{
    return c->cg == 1 && c->og == 1 && c->groups > 1;
}

bool vk_conv_is_pointwise(const vk_conv *c)
{
    return c->kh * c->kw == 1 && c->stride[0] == 1 && c->stride[1] == 1 && c->top == 0 && c->left == 0 &&
           c->oh == c->h && c->ow == c->w;
}

bool vk_conv_accepts(const strata_node *n)
{
    if (!vk_fits(n) || vk_has_constant(n, CONV_X) || !vk_has_constant(n, CONV_WEIGHT) ||
        (n->in[CONV_BIAS] && !vk_has_constant(n, CONV_BIAS)))
        return false;
    return (uint64_t)vk_conv_of(n).k * vk_conv_of(n).pitch * vk_conv_of(n).groups <= 1u << 30;
}

/* ---- Weights ------------------------------------------------------------------------------------- */

/* The bias stays float; a constant residual is a value like x. */
static strata_status upload_vectors(strata_step *s, strata_error *err)
{
    for (int k = CONV_BIAS; k <= CONV_RESIDUAL; k++)
        if (vk_has_constant(s->node, k))
            STRATA_TRY(vk_upload(s, k, vk_constant(s, k), (size_t)strata_count(&s->node->in[k]->desc),
                                 k == CONV_BIAS ? STRATA_F32 : s->node->desc.dtype, err));
    return STRATA_OK;
}

/* weight[o][ci][kh][kw] to [group][kh][kw][ci][pitch], a cache line of outputs at a time: one output after the other
 * would touch a line for each number that it writes. */
static strata_status upload_packed(strata_step *s, const vk_conv *c, strata_error *err)
{
    enum { LINE = 16 };
    const size_t count = (size_t)c->groups * c->k * c->pitch;
    const float *w = vk_constant(s, CONV_WEIGHT);
    float       *packed = calloc(count, sizeof *packed);
    if (!packed)
        return strata_fail(err, STRATA_NOMEM, "no memory to pack weights");
    const uint32_t taps = c->kh * c->kw, lines = (c->og + LINE - 1) / LINE;
    for (uint32_t line = 0; line < c->groups * lines; line++) {
        const uint32_t group = line / lines, first = line % lines * LINE;
        const uint32_t outputs = c->og - first < LINE ? c->og - first : LINE;
        const float   *from = w + (size_t)(group * c->og + first) * c->k;
        float         *to = packed + (size_t)group * c->k * c->pitch + first;
        for (uint32_t i = 0; i < c->k; i++)
            for (uint32_t o = 0; o < outputs; o++)
                to[(size_t)(i % taps * c->cg + i / taps) * c->pitch + o] = from[(size_t)o * c->k + i];
    }
    strata_status status = vk_upload(s, CONV_WEIGHT, packed, count, s->node->desc.dtype, err);
    free(packed);
    return status;
}

strata_status vk_conv_prepare(strata_step *s, strata_error *err)
{
    const vk_conv c = vk_conv_of(s->node);
    STRATA_TRY(upload_packed(s, &c, err));
    return upload_vectors(s, err);
}

/* weight[channel][1][kh][kw] to [kh][kw][channel]. */
static strata_status upload_depthwise(strata_step *s, const vk_conv *c, strata_error *err)
{
    const uint32_t taps = c->kh * c->kw;
    const float   *w = vk_constant(s, CONV_WEIGHT);
    float         *packed = malloc((size_t)taps * c->c * sizeof *packed);
    if (!packed)
        return strata_fail(err, STRATA_NOMEM, "no memory to pack weights");
    for (uint32_t i = 0; i < c->c; i++)
        for (uint32_t t = 0; t < taps; t++)
            packed[(size_t)t * c->c + i] = *w++;
    strata_status status = vk_upload(s, CONV_WEIGHT, packed, (size_t)taps * c->c, STRATA_F32, err);
    free(packed);
    return status;
}

/* ---- Kernels ------------------------------------------------------------------------------------- */

enum { MAP, GATE }; /* operands of a product that is absorbed */

void vk_conv_bind(vk_dispatch *d, const strata_step *s, const strata_frame *f)
{
    const strata_node *n = s->node;
    for (int k = CONV_X; k <= CONV_RESIDUAL; k++)
        if (n->in[k])
            vk_read_operand(d, s, f, k);
        else
            vk_unused(d);
    if (s->kernel->absorbs)
        vk_read_beside(d, f, GATE);
    else
        vk_unused(d);
    vk_spec(d, vk_conv_act(n));
    vk_spec(d, n->in[CONV_BIAS] != NULL);
    vk_spec(d, n->in[CONV_RESIDUAL] != NULL);
    vk_spec(d, s->kernel->absorbs ? 1 + (uint32_t)((const strata_binary_attrs *)n->in[CONV_X]->attrs)->act : 0);
}

static strata_status emit_direct(const strata_step *s, const strata_frame *f, const vk_conv *c,
                                 strata_error *err)
{
    const uint32_t vectors = c->pitch > 4 ? 2 : 1; /* of four channels in one invocation */
    vk_dispatch    d = vk_value_dispatch(&vk_shader_conv_direct, f);
    vk_conv_bind(&d, s, f);
    vk_write_result(&d, f);
    vk_spec(&d, vectors);
    vk_push(&d, c, sizeof *c);
    vk_cover(&d, (uint64_t)c->pixels * c->groups * (c->pitch / (4 * vectors)));
    return vk_emit(f->stream, &d, err);
}

/* A gate or a classifier of a small batch: what takes time is to read the weights, once for each pixel. */
static bool is_vector(const strata_device *dev, const vk_conv *c)
{
    const vk_conv_choice choice = dev->instance->config.conv;
    const bool           worth = !dev->imitation && c->pixels <= 4;
    return c->groups == 1 && vk_conv_is_pointwise(c) && (choice == VK_CONV_VECTOR || (choice == VK_CONV_AUTO && worth));
}

static strata_status emit_vector(const strata_step *s, const strata_frame *f, const vk_conv *c, strata_error *err)
{
    vk_dispatch d = vk_value_dispatch(&vk_shader_conv_vector, f);
    vk_conv_bind(&d, s, f);
    vk_write_result(&d, f);
    vk_push(&d, c, sizeof *c);
    vk_groups(&d, (uint64_t)c->pixels * ((c->pitch + 15) / 16));
    return vk_emit(f->stream, &d, err);
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    const vk_conv c = vk_conv_of(s->node);
    vk_gemm       g;
    if (!is_vector(s->device, &c) && vk_gemm_plan(s->device, &c, s->node->desc.dtype, &g))
        s->workspace = vk_gemm_workspace(&c, &g);
    return vk_conv_prepare(s, err);
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const vk_conv c = vk_conv_of(s->node);
    vk_gemm       g;
    if (is_vector(s->device, &c))
        return emit_vector(s, f, &c, err);
    if (vk_gemm_plan(s->device, &c, s->node->desc.dtype, &g))
        return vk_gemm_emit(s, f, &c, &g, err);
    return emit_direct(s, f, &c, err);
}

static bool accepts_depthwise(const strata_node *n)
{
    if (!vk_conv_accepts(n))
        return false;
    vk_conv c = vk_conv_of(n);
    return vk_conv_is_depthwise(&c);
}

static strata_status prepare_depthwise(strata_step *s, strata_error *err)
{
    const vk_conv c = vk_conv_of(s->node);
    STRATA_TRY(upload_depthwise(s, &c, err));
    return upload_vectors(s, err);
}

static strata_status emit_depthwise(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const vk_conv c = vk_conv_of(s->node);
    const bool     four = c.c % 4 == 0; /* channels at once */
    const uint64_t across = four ? c.c / 4 : c.c;
    uint32_t       columns = 1; /* in one invocation, while that leaves enough of them */
    if (c.dilation[1] == 1 && c.kw <= 7 && c.stride[1] <= 2)
        while (columns < 4 && across * c.pixels / (2 * columns) >= vk_busy(s->device))
            columns *= 2;
    vk_dispatch d = vk_value_dispatch(four ? &vk_shader_conv_depthwise4 : &vk_shader_conv_depthwise, f);
    vk_conv_bind(&d, s, f);
    vk_write_result(&d, f);
    vk_spec(&d, columns);
    vk_spec(&d, c.kw);
    vk_spec(&d, c.stride[1]);
    vk_spec(&d, s->device->imitation || c.kh > 5 ? 1 : c.kh);
    vk_push(&d, &c, sizeof c);
    vk_cover(&d, across * (c.pixels / c.ow) * ((c.ow + columns - 1) / columns));
    return vk_emit(f->stream, &d, err);
}

const strata_kernel_def vk_kernel_conv2d = { .name = "conv2d.product",
                                             .op = &strata_op_conv2d,
                                             .layouts = VK_NHWC,
                                             .half = true,
                                             .accepts = vk_conv_accepts,
                                             .prepare = prepare,
                                             .release = vk_release,
                                             .emit = emit };

/* A 1x1 convolution of a map times a gate for each channel, as at the end of squeeze-excite: the product is formed where x is
 * loaded. */
static bool accepts_scaled(const strata_node *n)
{
    const strata_node *product = n->in[CONV_X];
    if (product->op != &strata_op_mul || !vk_conv_accepts(n) || !vk_fits(product) || vk_has_constant(product, GATE))
        return false;
    const vk_conv  c = vk_conv_of(n);
    const int64_t *map = product->in[MAP]->desc.dim, *gate = product->in[GATE]->desc.dim;
    return vk_conv_is_pointwise(&c) && c.groups == 1 && strata_count(&product->in[MAP]->desc) == strata_count(&product->desc) &&
           gate[0] == map[0] && gate[1] == map[1] && gate[2] * gate[3] == 1;
}

const strata_kernel_def vk_kernel_conv2d_scaled = { .name = "conv2d.scaled",
                                                    .op = &strata_op_conv2d,
                                                    .layouts = VK_NHWC,
                                                    .half = true,
                                                    .absorbs = true,
                                                    .accepts = accepts_scaled,
                                                    .prepare = prepare,
                                                    .release = vk_release,
                                                    .emit = emit };

const strata_kernel_def vk_kernel_conv2d_depthwise = { .name = "conv2d.depthwise",
                                                       .op = &strata_op_conv2d,
                                                       .layouts = VK_NHWC,
                                                       .half = true,
                                                       .accepts = accepts_depthwise,
                                                       .prepare = prepare_depthwise,
                                                       .release = vk_release,
                                                       .emit = emit_depthwise };

const strata_kernel_def vk_kernel_dense = { .name = "dense.product",
                                            .op = &strata_op_dense,
                                            .layouts = VK_NHWC,
                                            .half = true,
                                            .accepts = vk_conv_accepts,
                                            .prepare = prepare,
                                            .release = vk_release,
                                            .emit = emit };
