/* kernel.h: what the kernels of the Vulkan backend are written with.
 *
 * A kernel has two halves. prepare uploads the constants of a node, once per program. emit describes
 * dispatches: a shader with its specialization, the buffers in the order of their bindings, push constants,
 * the number of workgroups.
 *
 *     vk_dispatch d = vk_value_dispatch(&vk_shader_pool, f);
 *     vk_read_operand(&d, s, f, 0);
 *     vk_write_result(&d, f);
 *     vk_spec(&d, MAX);
 *     vk_push(&d, &push, sizeof push);
 *     vk_cover(&d, invocations);
 *     return vk_emit(f->stream, &d, err);
 *
 * Rank-4 values lie as NHWC. Every value is one range of floats, or of float16, without padding; the
 * descriptor of the result says which, and all operands that are not constant are of the same kind.
 */
#ifndef STRATA_VULKAN_KERNEL_H
#define STRATA_VULKAN_KERNEL_H

#include "record.h"

#include <strata/ops.h>

/* vk_kernel_NAME: every kernel row of kernels.def. */
#define KERNEL(name) extern const strata_kernel_def vk_kernel_##name;
#include "kernels.def"
#undef KERNEL

enum { VK_NHWC = 1 << STRATA_NHWC, VK_NCHW = 1 << STRATA_NCHW, VK_ANY_LAYOUT = VK_NHWC | VK_NCHW };

/* ---- prepare: strata_step.state is a vk_state ---- */

typedef struct vk_state {
    vk_slice constant[STRATA_MAX_OPERANDS]; /* by operand; empty where it is no constant */
} vk_state;

/* Uploads all constant operands as they lie in the layout and the type of the node's other values. */
strata_status vk_prepare(strata_step *s, strata_error *err);
/* Uploads them as floats in row-major order: what shaders take beside values. */
strata_status vk_prepare_floats(strata_step *s, strata_error *err);
/* Puts `count` numbers, as `dtype`, in place of constant operand k, which emit then never reads. */
strata_status vk_upload(strata_step *s, int k, const float *data, size_t count, strata_dtype dtype,
                        strata_error *err);
void          vk_release(strata_step *s);
/* The floats of a constant operand in row-major order; only in prepare. */
static inline const float *vk_constant(const strata_step *s, int k)
{
    return strata_tensor_data(s->node->in[k]->data);
}
static inline bool vk_has_constant(const strata_node *n, int k)
{
    return n->in[k] && strata_node_is_constant(n->in[k]);
}

/* ---- emit ---- */

static inline vk_dispatch vk_shader_dispatch(const vk_shader *shader)
{
    return (vk_dispatch){ .key.shader = shader, .groups = { 1, 1, 1 } };
}
/* By the build of the shader for values like the result. */
static inline vk_dispatch vk_value_dispatch(const vk_shader *shader, const strata_frame *f)
{
    return vk_shader_dispatch(f->out.desc->dtype == STRATA_F16 ? shader->half : shader);
}
void vk_read_operand(vk_dispatch *d, const strata_step *s, const strata_frame *f, int k);
/* Operand k of the node that the step absorbs. */
void vk_read_beside(vk_dispatch *d, const strata_frame *f, int k);
void vk_write_result(vk_dispatch *d, const strata_frame *f);
/* Bytes [at, at + size) of the step's workspace. */
void vk_use_scratch(vk_dispatch *d, const strata_frame *f, size_t at, size_t size, bool read, bool written);
/* A binding that this specialization of the shader never touches. Not the first one. */
void vk_unused(vk_dispatch *d);
void vk_spec(vk_dispatch *d, uint32_t value);
void vk_push(vk_dispatch *d, const void *words, size_t bytes);
/* As many workgroups as it takes: along x, and folded into y where drivers end. */
void vk_groups(vk_dispatch *d, uint64_t groups);
/* The same for a number of invocations, in workgroups of VK_WORKGROUP. */
void vk_cover(vk_dispatch *d, uint64_t invocations);

/* Whether a shader's build for four elements at once can be used: then `count`, and what lies innermost (NULL: any), become
 * numbers of fours. */
bool vk_take_fours(uint32_t *count, uint32_t *innermost);

/* y = scale x + shift by channel, with x, scale and shift bound already to vk_shader_affine: scale_pitch floats per image, 0:
 * one for all. */
strata_status vk_emit_affine(vk_dispatch *d, const strata_frame *f, uint32_t scale_pitch, strata_error *err);

/* As many invocations as keep the device busy: half of what its processors hold at once, or so. */
static inline uint64_t vk_busy(const strata_device *dev)
{
    return dev->imitation ? 64 : 512 * (uint64_t)dev->adapter->processors;
}

/* ---- Shapes ---- */

static inline uint64_t vk_ceil_div(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

/* Operand k as it lies on the device: constants were turned into the layout of the result. */
strata_tensor_desc vk_operand_desc(const strata_node *n, int k);
/* Logical dimensions in the order in which they lie, outermost first. */
void vk_memory_order(const strata_tensor_desc *d, int order[STRATA_MAX_RANK]);
/* Elements between neighbours along each logical dimension. */
void vk_steps(const strata_tensor_desc *d, uint32_t step[STRATA_MAX_RANK]);
/* The value as [outer][length][inner] in memory, where `length` is logical dimension `axis`. */
typedef struct vk_rows {
    uint32_t outer, length, inner;
} vk_rows;
vk_rows                vk_rows_of(const strata_tensor_desc *d, int axis);
static inline uint32_t vk_count(const strata_tensor_desc *d)
{
    return (uint32_t)strata_count(d);
}
/* Whether all elements of all values of the node can be counted in 32 bits: a condition of every kernel. */
bool vk_fits(const strata_node *n);

#endif
