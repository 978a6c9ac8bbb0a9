/* k_norm.c: softmax, layer_norm and grn: kernels over rows.
 *
 * A row is what is summed: the elements of one axis that share all other indices, `inner` floats apart. Where
 * there are fewer rows than the device has lanes, several invocations share one.
 */
#include "rows.h"

typedef struct rows_push {
    uint32_t rows, length, inner;
    float    value;
} rows_push;

void vk_over_rows(vk_dispatch *d, const strata_device *dev, vk_rows rows, double value)
{
    const uint64_t wanted = vk_busy(dev);
    const uint64_t count = (uint64_t)rows.outer * rows.inner;
    uint32_t       lanes = 1;
    if (rows.inner == 1 && !dev->imitation) /* neighbours read neighbours */
        while (lanes < 32 && lanes * 2 <= rows.length)
            lanes *= 2;
    while (lanes < VK_WORKGROUP && lanes * 2 <= rows.length && count * lanes < wanted)
        lanes *= 2;
    rows_push push = { (uint32_t)count, rows.length, rows.inner, (float)value };
    vk_spec(d, lanes);
    vk_push(d, &push, sizeof push);
    vk_cover(d, count * lanes);
}

/* ---- softmax ------------------------------------------------------------------------------------- */

static strata_status emit_softmax(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const strata_softmax_attrs *a = s->node->attrs;
    vk_dispatch                 d = vk_value_dispatch(&vk_shader_softmax, f);
    vk_read_operand(&d, s, f, 0);
    vk_write_result(&d, f);
    vk_over_rows(&d, s->device, vk_rows_of(f->out.desc, a->axis), 0);
    return vk_emit(f->stream, &d, err);
}

const strata_kernel_def vk_kernel_softmax = { .name = "softmax.rows",
                                              .op = &strata_op_softmax,
                                              .layouts = VK_ANY_LAYOUT,
                                              .half = true,
                                              .in_place = 1u << 0,
                                              .accepts = vk_fits,
                                              .prepare = vk_prepare,
                                              .release = vk_release,
                                              .emit = emit_softmax };

/* ---- layer_norm ---------------------------------------------------------------------------------- */

enum { X, GAMMA, BETA };

/* gamma and beta are floats, whatever x is. */
static bool accepts_vectors(const strata_node *n)
{
    return vk_fits(n) && !vk_has_constant(n, X) && vk_has_constant(n, GAMMA) && vk_has_constant(n, BETA);
}

static strata_status emit_layer_norm(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const strata_layer_norm_attrs *a = s->node->attrs;
    vk_dispatch                    d = vk_value_dispatch(&vk_shader_layer_norm, f);
    vk_read_operand(&d, s, f, X);
    vk_read_operand(&d, s, f, GAMMA);
    vk_read_operand(&d, s, f, BETA);
    vk_write_result(&d, f);
    vk_over_rows(&d, s->device, vk_rows_of(f->out.desc, 1), a->epsilon);
    return vk_emit(f->stream, &d, err);
}

const strata_kernel_def vk_kernel_layer_norm = { .name = "layer_norm.rows",
                                                 .op = &strata_op_layer_norm,
                                                 .layouts = VK_ANY_LAYOUT,
                                                 .half = true,
                                                 .in_place = 1u << 0,
                                                 .accepts = accepts_vectors,
                                                 .prepare = vk_prepare_floats,
                                                 .release = vk_release,
                                                 .emit = emit_layer_norm };

/* ---- grn: norms of maps; 1 + gamma times the norm over the mean norm; scale and shift ------------ */

static size_t norms_bytes(const strata_node *n)
{
    return (size_t)(n->desc.dim[0] * n->desc.dim[1]) * sizeof(float);
}

static size_t scale_at(const strata_node *n)
{
    return (norms_bytes(n) + 255) / 256 * 256;
}

static strata_status prepare_grn(strata_step *s, strata_error *err)
{
    s->workspace = scale_at(s->node) + norms_bytes(s->node);
    return vk_prepare_floats(s, err);
}

static strata_status emit_grn(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const strata_grn_attrs *a = s->node->attrs;
    const int64_t          *dim = f->out.desc->dim;
    const size_t            bytes = norms_bytes(s->node), at = scale_at(s->node);
    const uint32_t images = (uint32_t)dim[0], channels = (uint32_t)dim[1], area = (uint32_t)(dim[2] * dim[3]);
    const bool     last = f->out.desc->layout == STRATA_NHWC; /* channels are neighbours */

    vk_dispatch norm = vk_value_dispatch(&vk_shader_reduce_norm, f);
    vk_read_operand(&norm, s, f, X);
    vk_use_scratch(&norm, f, 0, bytes, false, true);
    vk_over_rows(&norm, s->device,
                 last ? (vk_rows){ images, area, channels } : (vk_rows){ images * channels, area, 1 }, 0);
    vk_spec(&norm, VK_REDUCE_NORM);
    STRATA_TRY(vk_emit(f->stream, &norm, err));

    vk_dispatch scale = vk_shader_dispatch(&vk_shader_grn_scale);
    vk_use_scratch(&scale, f, 0, bytes, true, false);
    vk_read_operand(&scale, s, f, GAMMA);
    vk_use_scratch(&scale, f, at, bytes, false, true);
    vk_over_rows(&scale, s->device, (vk_rows){ images, channels, 1 }, a->epsilon);
    STRATA_TRY(vk_emit(f->stream, &scale, err));

    vk_dispatch affine = vk_value_dispatch(&vk_shader_affine, f);
    vk_read_operand(&affine, s, f, X);
    vk_use_scratch(&affine, f, at, bytes, true, false);
    vk_read_operand(&affine, s, f, BETA);
    return vk_emit_affine(&affine, f, channels, err);
}

const strata_kernel_def vk_kernel_grn = { .name = "grn.rows",
                                          .op = &strata_op_grn,
                                          .layouts = VK_ANY_LAYOUT,
                                          .half = true,
                                          .in_place = 1u << 0,
                                          .accepts = accepts_vectors,
                                          .prepare = prepare_grn,
                                          .release = vk_release,
                                          .emit = emit_grn };
