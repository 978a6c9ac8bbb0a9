/* k_shape.c: ops that move elements and change none: reshape, transpose, slice, concat, pad, copy.
 *
 * Each is one or a few copies of a box of elements whose steps differ in source and result, so all of them
 * are a call of cpu_copy_nest with the right steps. copy turns layouts into each other: dimensions keep their
 * logical order, only the steps differ. reshape and transpose speak of row-major order and take rank-4 values
 * in NCHW only.
 */
#include "loops.h"

#include <string.h>

enum { CPU_NCHW = 1 << STRATA_NCHW };

static strata_status reshape_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    int64_t step[STRATA_MAX_RANK]; /* of the result's shape: both sides are the same row-major bytes */
    cpu_steps(f->out.desc, step);
    if (f->out.data != f->in[0].data)
        cpu_copy_nest(s, f->out.desc->rank, f->out.desc->dim, f->out.data, step, f->in[0].data, step);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_reshape = {
    .name = "reshape.copy", .op = &strata_op_reshape, .layouts = CPU_NCHW, .in_place = 1u << 0,
    .emit = reshape_emit };

static strata_status transpose_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    const strata_transpose_attrs *a = s->node->attrs;
    int64_t out[STRATA_MAX_RANK], in[STRATA_MAX_RANK], permuted[STRATA_MAX_RANK] = { 0 };
    cpu_steps(f->out.desc, out);
    cpu_steps(f->in[0].desc, in);
    for (int i = 0; i < a->perm.count; i++)
        permuted[i] = in[a->perm.at[i]];
    cpu_copy_nest(s, f->out.desc->rank, f->out.desc->dim, f->out.data, out, f->in[0].data, permuted);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_transpose = {
    .name = "transpose.copy", .op = &strata_op_transpose, .layouts = CPU_NCHW, .emit = transpose_emit };

static strata_status slice_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    const strata_slice_attrs *a = s->node->attrs;
    int64_t out[STRATA_MAX_RANK], in[STRATA_MAX_RANK];
    cpu_steps(f->out.desc, out);
    cpu_steps(f->in[0].desc, in);
    cpu_copy_nest(s, f->out.desc->rank, f->out.desc->dim, f->out.data, out,
                  f->in[0].data + a->begin * in[a->axis], in);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_slice = {
    .name = "slice.copy", .op = &strata_op_slice, .layouts = CPU_ANY_LAYOUT, .emit = slice_emit };

static strata_status concat_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    const strata_concat_attrs *a = s->node->attrs;
    int64_t out[STRATA_MAX_RANK], in[STRATA_MAX_RANK];
    cpu_steps(f->out.desc, out);
    float *dst = f->out.data;
    for (int k = 0; k < strata_operand_count(s->node); k++) {
        const strata_tensor_desc *x = f->in[k].desc;
        cpu_steps(x, in);
        cpu_copy_nest(s, x->rank, x->dim, dst, out, f->in[k].data, in);
        dst += x->dim[a->axis] * out[a->axis];
    }
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_concat = {
    .name = "concat.copy", .op = &strata_op_concat, .layouts = CPU_ANY_LAYOUT, .emit = concat_emit };

/* Zeros: a source of one float that every element reads. The border is a slab on each side of each dimension:
 * within the pads of the dimensions before it, along the whole of those after it, so that nothing is written
 * twice. */
static strata_status pad_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    static const float zero = 0;
    static const int64_t nowhere[STRATA_MAX_RANK] = { 0 };
    const strata_pad_attrs *a = s->node->attrs;
    const strata_tensor_desc *x = f->in[0].desc, *y = f->out.desc;
    int64_t out[STRATA_MAX_RANK], in[STRATA_MAX_RANK], box[STRATA_MAX_RANK];
    cpu_steps(y, out);
    cpu_steps(x, in);
    memcpy(box, y->dim, sizeof box);
    float *corner = f->out.data;
    for (int i = 0; i < y->rank; i++) {
        int64_t before = a->before.at[i], after = a->after.at[i];
        box[i] = before;
        if (before > 0)
            cpu_copy_nest(s, y->rank, box, corner, out, &zero, nowhere);
        box[i] = after;
        if (after > 0)
            cpu_copy_nest(s, y->rank, box, corner + (y->dim[i] - after) * out[i], out, &zero, nowhere);
        box[i] = x->dim[i];
        corner += before * out[i];
    }
    cpu_copy_nest(s, x->rank, x->dim, corner, out, f->in[0].data, in);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_pad = {
    .name = "pad.copy", .op = &strata_op_pad, .layouts = CPU_ANY_LAYOUT, .emit = pad_emit };

static strata_status copy_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    int64_t out[STRATA_MAX_RANK], in[STRATA_MAX_RANK];
    cpu_steps(f->out.desc, out);
    cpu_steps(f->in[0].desc, in);
    cpu_copy_nest(s, f->out.desc->rank, f->out.desc->dim, f->out.data, out, f->in[0].data, in);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_copy = {
    .name = "copy.layout", .op = &strata_op_copy, .layouts = CPU_ANY_LAYOUT, .emit = copy_emit };
