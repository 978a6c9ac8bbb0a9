/* k_elementwise.c: element i of the result from element i of the operands: activations and other functions of
 * one operand, arithmetic of two with broadcasting, partial_add, batch_norm. */
#include "kernel.h"

#include <math.h>
#include <stdlib.h>

/* ---- One operand --------------------------------------------------------------------------------- */

/* ORDER unary.comp; below them the activations */
enum { NEG = STRATA_ACT_COUNT, RSQRT, SQRT, GELU_ERF, ADD_SCALAR, MUL_SCALAR };

typedef struct unary_push {
    uint32_t count;
    float    value;
} unary_push;

static strata_status emit_unary(const strata_step *s, const strata_frame *f, uint32_t form, double value,
                                strata_error *err)
{
    unary_push  push = { vk_count(f->out.desc), (float)value };
    const bool  four = vk_take_fours(&push.count, NULL);
    vk_dispatch d = vk_value_dispatch(four ? &vk_shader_unary4 : &vk_shader_unary, f);
    vk_read_operand(&d, s, f, 0);
    vk_write_result(&d, f);
    vk_spec(&d, form);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count);
    return vk_emit(f->stream, &d, err);
}

static strata_status emit_act(const strata_step *s, const strata_frame *f, strata_error *err)
{
    return emit_unary(s, f, strata_op_act(s->node->op), 0, err);
}

static strata_status emit_add_scalar(const strata_step *s, const strata_frame *f, strata_error *err)
{
    return emit_unary(s, f, ADD_SCALAR, ((const strata_scalar_attrs *)s->node->attrs)->value, err);
}

static strata_status emit_mul_scalar(const strata_step *s, const strata_frame *f, strata_error *err)
{
    return emit_unary(s, f, MUL_SCALAR, ((const strata_scalar_attrs *)s->node->attrs)->value, err);
}

#define KERNEL_ROW(function, form, run)                                                                      \
    const strata_kernel_def vk_kernel_##function = { .name = #function "." form,                             \
                                                     .op = &strata_op_##function,                            \
                                                     .layouts = VK_ANY_LAYOUT,                               \
                                                     .half = true,                                           \
                                                     .in_place = 1u << 0,                                       \
                                                     .accepts = vk_fits,                                     \
                                                     .prepare = vk_prepare,                                  \
                                                     .release = vk_release,                                  \
                                                     .emit = run };

#define XX(enumname, act) KERNEL_ROW(act, "flat", emit_act)
STRATA_ACT_MAP(XX)
#undef XX

/* Functions without attributes. */
#define XX(function, form)                                                                                   \
    static strata_status emit_##function(const strata_step *s, const strata_frame *f, strata_error *err)     \
    {                                                                                                        \
        return emit_unary(s, f, form, 0, err);                                                               \
    }                                                                                                        \
    KERNEL_ROW(function, "flat", emit_##function)
XX(neg, NEG)
XX(rsqrt, RSQRT)
XX(sqrt, SQRT)
XX(gelu_erf, GELU_ERF)
#undef XX

KERNEL_ROW(add_scalar, "flat", emit_add_scalar)
KERNEL_ROW(mul_scalar, "flat", emit_mul_scalar)

/* ---- Two operands -------------------------------------------------------------------------------- */

enum { ADD, SUB, MUL, DIV }; /* ORDER binary.comp */

typedef struct binary_push {
    uint32_t count, dim[STRATA_MAX_RANK], x_step[STRATA_MAX_RANK], y_step[STRATA_MAX_RANK];
} binary_push;

/* Dimensions of the result as they lie, outermost first, with the steps of both operands; neighbours that all
 * three run through in one go are merged. Returns how many are left. */
static int merge_dims(const strata_node *n, binary_push *push)
{
    const strata_tensor_desc x = vk_operand_desc(n, 0), y = vk_operand_desc(n, 1), *out = &n->desc;
    uint32_t                 x_step[STRATA_MAX_RANK], y_step[STRATA_MAX_RANK];
    int                      order[STRATA_MAX_RANK], rank = 0;
    vk_steps(&x, x_step);
    vk_steps(&y, y_step);
    vk_memory_order(out, order);
    for (int i = 0; i < out->rank; i++) {
        const int      d = order[i];
        const uint32_t dim = (uint32_t)out->dim[d], xs = x.dim[d] == 1 ? 0 : x_step[d],
                       ys = y.dim[d] == 1 ? 0 : y_step[d];
        if (dim == 1)
            continue;
        if (rank > 0 && push->x_step[rank - 1] == xs * dim && push->y_step[rank - 1] == ys * dim)
            push->dim[rank - 1] *= dim;
        else
            push->dim[rank++] = dim;
        push->x_step[rank - 1] = xs;
        push->y_step[rank - 1] = ys;
    }
    return rank;
}

static strata_status emit_binary(const strata_step *s, const strata_frame *f, uint32_t form,
                                 strata_error *err)
{
    const strata_binary_attrs *a = s->node->attrs;
    binary_push                push = { .count = vk_count(f->out.desc) };
    const int                  rank = merge_dims(s->node, &push), last = rank - 1;
    const bool  four = rank > 0 && push.dim[last] % 4 == 0 && push.x_step[last] <= 1 && push.y_step[last] <= 1;
    vk_dispatch d = vk_value_dispatch(four ? &vk_shader_binary4 : &vk_shader_binary, f);
    vk_read_operand(&d, s, f, 0);
    vk_read_operand(&d, s, f, 1);
    vk_write_result(&d, f);
    vk_spec(&d, form);
    vk_spec(&d, (uint32_t)a->act);
    vk_spec(&d, (uint32_t)rank);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count / (four ? 4 : 1));
    return vk_emit(f->stream, &d, err);
}

#define XX(function, form)                                                                                   \
    static strata_status emit_##function(const strata_step *s, const strata_frame *f, strata_error *err)     \
    {                                                                                                        \
        return emit_binary(s, f, form, err);                                                                 \
    }                                                                                                        \
    KERNEL_ROW(function, "broadcast", emit_##function)
XX(add, ADD)
XX(sub, SUB)
XX(mul, MUL)
XX(div, DIV)
#undef XX

/* ---- partial_add --------------------------------------------------------------------------------- */

typedef struct partial_push {
    uint32_t count, channels, added, inner;
} partial_push;

static strata_status emit_partial_add(const strata_step *s, const strata_frame *f, strata_error *err)
{
    vk_rows      rows = vk_rows_of(f->out.desc, 1);
    partial_push push = { vk_count(f->out.desc), rows.length, (uint32_t)f->in[1].desc->dim[1], rows.inner };
    vk_dispatch  d = vk_value_dispatch(&vk_shader_partial_add, f);
    vk_read_operand(&d, s, f, 0);
    vk_read_operand(&d, s, f, 1);
    vk_write_result(&d, f);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count);
    return vk_emit(f->stream, &d, err);
}

KERNEL_ROW(partial_add, "flat", emit_partial_add)

/* ---- batch_norm: y = scale[c] x + shift[c], with scale = gamma / sqrt(variance + epsilon) -------- */

enum { X, GAMMA, BETA, MEAN, VARIANCE };

typedef struct affine_push {
    uint32_t count, image, channels, inner, scale_pitch; /* image: elements of one */
} affine_push;

strata_status vk_emit_affine(vk_dispatch *d, const strata_frame *f, uint32_t scale_pitch, strata_error *err)
{
    vk_rows     rows = vk_rows_of(f->out.desc, 1);
    uint32_t    count = vk_count(f->out.desc);
    affine_push push = { count, count / (uint32_t)f->out.desc->dim[0], rows.length, rows.inner, scale_pitch };
    if (rows.inner == 1 && vk_take_fours(&push.count, &push.channels)) {
        push.image /= 4;
        push.scale_pitch /= 4;
        d->key.shader = vk_value_dispatch(&vk_shader_affine4, f).key.shader;
    }
    vk_write_result(d, f);
    vk_push(d, &push, sizeof push);
    vk_cover(d, push.count);
    return vk_emit(f->stream, d, err);
}

static bool accepts_batch_norm(const strata_node *n)
{
    return vk_fits(n) && !vk_has_constant(n, X) && vk_has_constant(n, GAMMA) && vk_has_constant(n, BETA) &&
           vk_has_constant(n, MEAN) && vk_has_constant(n, VARIANCE);
}

/* scale takes the place of gamma, shift that of beta. */
static strata_status prepare_batch_norm(strata_step *s, strata_error *err)
{
    const strata_batch_norm_attrs *a = s->node->attrs;
    const size_t                   channels = (size_t)s->node->in[GAMMA]->desc.dim[0];
    const float *gamma = vk_constant(s, GAMMA), *beta = vk_constant(s, BETA), *mean = vk_constant(s, MEAN),
                *variance = vk_constant(s, VARIANCE);
    float *scale = malloc(2 * channels * sizeof *scale), *shift = scale + channels;
    if (!scale)
        return strata_fail(err, STRATA_NOMEM, "no memory to prepare");
    for (size_t c = 0; c < channels; c++) {
        double factor = gamma[c] / sqrt(variance[c] + a->epsilon);
        scale[c] = (float)factor;
        shift[c] = (float)(beta[c] - factor * mean[c]);
    }
    strata_status status = vk_upload(s, GAMMA, scale, channels, STRATA_F32, err);
    if (status == STRATA_OK)
        status = vk_upload(s, BETA, shift, channels, STRATA_F32, err);
    s->consumed |= 1u << MEAN | 1u << VARIANCE;
    free(scale);
    return status;
}

static strata_status emit_batch_norm(const strata_step *s, const strata_frame *f, strata_error *err)
{
    vk_dispatch d = vk_value_dispatch(&vk_shader_affine, f);
    vk_read_operand(&d, s, f, X);
    vk_read_operand(&d, s, f, GAMMA);
    vk_read_operand(&d, s, f, BETA);
    return vk_emit_affine(&d, f, 0, err);
}

const strata_kernel_def vk_kernel_batch_norm = { .name = "batch_norm.affine",
                                                 .op = &strata_op_batch_norm,
                                                 .layouts = VK_ANY_LAYOUT,
                                                 .half = true,
                                                 .in_place = 1u << 0,
                                                 .accepts = accepts_batch_norm,
                                                 .prepare = prepare_batch_norm,
                                                 .release = vk_release,
                                                 .emit = emit_batch_norm };
