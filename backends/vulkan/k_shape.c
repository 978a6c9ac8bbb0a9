/* k_shape.c: ops that move elements and change none: reshape, transpose, slice, pad, copy; and concat.
 *
 * All but concat are one gather: the result is written in the order in which it lies, each element from the
 * place that the steps and offsets of its dimensions give, or zero where that is outside the operand (pad).
 */
#include "kernel.h"

/* ---- Gathering ----------------------------------------------------------------------------------- */

typedef struct gather_push {
    uint32_t count, base;
    uint32_t dim[STRATA_MAX_RANK];    /* of the result, as it lies, outermost first */
    uint32_t step[STRATA_MAX_RANK];   /* of the operand, along these */
    uint32_t before[STRATA_MAX_RANK]; /* zeros ahead of the operand */
    uint32_t extent[STRATA_MAX_RANK]; /* of the operand */
} gather_push;

/* Elements between neighbours of operand 0. */
static void operand_steps(const strata_step *s, uint32_t steps[STRATA_MAX_RANK])
{
    const strata_tensor_desc x = vk_operand_desc(s->node, 0);
    vk_steps(&x, steps);
}

/* A copy may turn floats into float16 or back. */
static vk_dispatch gather_dispatch(const strata_step *s, const strata_frame *f)
{
    const bool half = s->node->desc.dtype == STRATA_F16;
    if ((s->node->in[0]->desc.dtype == STRATA_F16) == half || vk_has_constant(s->node, 0))
        return vk_value_dispatch(&vk_shader_gather, f);
    return vk_shader_dispatch(half ? &vk_shader_gather_float_half : &vk_shader_gather_half_float);
}

/* steps[i]: elements between neighbours of the operand along logical dimension i of the result; pad may be
 * NULL. */
static strata_status emit_gather(const strata_step *s, const strata_frame *f, uint32_t base,
                                 const uint32_t steps[STRATA_MAX_RANK], const strata_pad_attrs *pad,
                                 strata_error *err)
{
    const strata_tensor_desc *out = f->out.desc;
    gather_push               push = { .count = vk_count(out), .base = base };
    vk_dispatch               d = gather_dispatch(s, f);
    int                       order[STRATA_MAX_RANK];
    vk_memory_order(out, order);
    for (int i = 0; i < out->rank; i++) {
        const int from = order[i];
        push.dim[i] = (uint32_t)out->dim[from];
        push.step[i] = steps[from];
        push.extent[i] = pad ? (uint32_t)f->in[0].desc->dim[from] : push.dim[i];
        push.before[i] = pad ? (uint32_t)pad->before.at[from] : 0;
    }
    vk_read_operand(&d, s, f, 0);
    vk_write_result(&d, f);
    vk_spec(&d, (uint32_t)out->rank);
    vk_spec(&d, pad != NULL);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count);
    return vk_emit(f->stream, &d, err);
}

static strata_status emit_copy(const strata_step *s, const strata_frame *f, strata_error *err)
{
    uint32_t steps[STRATA_MAX_RANK];
    operand_steps(s, steps);
    return emit_gather(s, f, 0, steps, NULL, err);
}

static strata_status emit_reshape(const strata_step *s, const strata_frame *f, strata_error *err)
{
    uint32_t steps[STRATA_MAX_RANK];
    vk_steps(f->out.desc, steps);
    return emit_gather(s, f, 0, steps, NULL, err);
}

static strata_status emit_transpose(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const strata_transpose_attrs *a = s->node->attrs;
    uint32_t                      in[STRATA_MAX_RANK], steps[STRATA_MAX_RANK] = { 0 };
    operand_steps(s, in);
    for (int i = 0; i < a->perm.count; i++)
        steps[i] = in[a->perm.at[i]];
    return emit_gather(s, f, 0, steps, NULL, err);
}

static strata_status emit_slice(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const strata_slice_attrs *a = s->node->attrs;
    uint32_t                  steps[STRATA_MAX_RANK];
    operand_steps(s, steps);
    return emit_gather(s, f, (uint32_t)a->begin * steps[a->axis], steps, NULL, err);
}

static strata_status emit_pad(const strata_step *s, const strata_frame *f, strata_error *err)
{
    uint32_t steps[STRATA_MAX_RANK];
    operand_steps(s, steps);
    return emit_gather(s, f, 0, steps, s->node->attrs, err);
}

/* ---- concat -------------------------------------------------------------------------------------- */

typedef struct concat_push {
    uint32_t count, length, inner;     /* of the result, as [outer][length][inner] */
    uint32_t end[STRATA_MAX_OPERANDS]; /* where along `length` each operand ends */
} concat_push;

static strata_status emit_concat(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const strata_concat_attrs *a = s->node->attrs;
    const int                  count = strata_operand_count(s->node);
    vk_rows                    rows = vk_rows_of(f->out.desc, a->axis);
    concat_push push = { .count = vk_count(f->out.desc), .length = rows.length, .inner = rows.inner };
    vk_dispatch d = vk_value_dispatch(&vk_shader_concat, f);
    uint32_t    end = 0;
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++) {
        if (k < count) {
            vk_read_operand(&d, s, f, k);
            end += (uint32_t)f->in[k].desc->dim[a->axis];
        } else {
            vk_unused(&d);
        }
        push.end[k] = end;
    }
    vk_write_result(&d, f);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count);
    return vk_emit(f->stream, &d, err);
}

/* ---- The definitions ----------------------------------------------------------------------------- */

const strata_kernel_def vk_kernel_copy = { .name = "copy.gather",
                                           .op = &strata_op_copy,
                                           .layouts = VK_ANY_LAYOUT,
                                           .half = true,
                                           .accepts = vk_fits,
                                           .prepare = vk_prepare,
                                           .release = vk_release,
                                           .emit = emit_copy };

const strata_kernel_def vk_kernel_reshape = { .name = "reshape.gather",
                                              .op = &strata_op_reshape,
                                              .layouts = VK_NCHW,
                                              .half = true,
                                              .accepts = vk_fits,
                                              .prepare = vk_prepare,
                                              .release = vk_release,
                                              .emit = emit_reshape };

const strata_kernel_def vk_kernel_transpose = { .name = "transpose.gather",
                                                .op = &strata_op_transpose,
                                                .layouts = VK_NCHW,
                                                .half = true,
                                                .accepts = vk_fits,
                                                .prepare = vk_prepare,
                                                .release = vk_release,
                                                .emit = emit_transpose };

const strata_kernel_def vk_kernel_slice = { .name = "slice.gather",
                                            .op = &strata_op_slice,
                                            .layouts = VK_ANY_LAYOUT,
                                            .half = true,
                                            .accepts = vk_fits,
                                            .prepare = vk_prepare,
                                            .release = vk_release,
                                            .emit = emit_slice };

const strata_kernel_def vk_kernel_pad = { .name = "pad.gather",
                                          .op = &strata_op_pad,
                                          .layouts = VK_ANY_LAYOUT,
                                          .half = true,
                                          .accepts = vk_fits,
                                          .prepare = vk_prepare,
                                          .release = vk_release,
                                          .emit = emit_pad };

const strata_kernel_def vk_kernel_concat = { .name = "concat.gather",
                                             .op = &strata_op_concat,
                                             .layouts = VK_ANY_LAYOUT,
                                             .half = true,
                                             .accepts = vk_fits,
                                             .prepare = vk_prepare,
                                             .release = vk_release,
                                             .emit = emit_concat };
