/* k_pool.c: max_pool, avg_pool, global_avg_pool, resize: results that see a window or a place of each map. */
#include "kernel.h"
#include "rows.h"

/* ---- Windows ------------------------------------------------------------------------------------- */

typedef struct pool_push {
    uint32_t count, channels, h, w, oh, ow, kernel[2], stride[2];
    int32_t  pad[2];
    uint32_t count_pad;
} pool_push;

static strata_status emit_pool(const strata_step *s, const strata_frame *f, bool max, strata_error *err)
{
    const strata_pool_attrs *a = s->node->attrs;
    const int64_t           *x = f->in[0].desc->dim, *y = f->out.desc->dim;
    pool_push                push = { .count = vk_count(f->out.desc),
                                      .channels = (uint32_t)x[1],
                                      .h = (uint32_t)x[2],
                                      .w = (uint32_t)x[3],
                                      .oh = (uint32_t)y[2],
                                      .ow = (uint32_t)y[3],
                                      .count_pad = !max && a->count_pad };
    for (int i = 0; i < 2; i++) {
        push.kernel[i] = (uint32_t)a->kernel[i];
        push.stride[i] = (uint32_t)a->stride[i];
        push.pad[i] = a->pad[i];
    }
    const bool  four = vk_take_fours(&push.count, &push.channels);
    vk_dispatch d = vk_value_dispatch(four ? &vk_shader_pool4 : &vk_shader_pool, f);
    vk_read_operand(&d, s, f, 0);
    vk_write_result(&d, f);
    vk_spec(&d, max);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count);
    return vk_emit(f->stream, &d, err);
}

static strata_status emit_max(const strata_step *s, const strata_frame *f, strata_error *err)
{
    return emit_pool(s, f, true, err);
}

static strata_status emit_avg(const strata_step *s, const strata_frame *f, strata_error *err)
{
    return emit_pool(s, f, false, err);
}

const strata_kernel_def vk_kernel_max_pool = { .name = "max_pool.window",
                                               .op = &strata_op_max_pool,
                                               .layouts = VK_NHWC,
                                               .half = true,
                                               .accepts = vk_fits,
                                               .prepare = vk_prepare,
                                               .release = vk_release,
                                               .emit = emit_max };

const strata_kernel_def vk_kernel_avg_pool = { .name = "avg_pool.window",
                                               .op = &strata_op_avg_pool,
                                               .layouts = VK_NHWC,
                                               .half = true,
                                               .accepts = vk_fits,
                                               .prepare = vk_prepare,
                                               .release = vk_release,
                                               .emit = emit_avg };

/* ---- Whole maps ---------------------------------------------------------------------------------- */

static strata_status emit_global(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const strata_tensor_desc x = vk_operand_desc(s->node, 0);
    const uint32_t           area = (uint32_t)(x.dim[2] * x.dim[3]), maps = (uint32_t)(x.dim[0] * x.dim[1]);
    vk_rows     rows = x.layout == STRATA_NHWC ? (vk_rows){ (uint32_t)x.dim[0], area, (uint32_t)x.dim[1] }
                                               : (vk_rows){ maps, area, 1 };
    vk_dispatch d = vk_value_dispatch(&vk_shader_reduce, f);
    vk_read_operand(&d, s, f, 0);
    vk_write_result(&d, f);
    vk_over_rows(&d, s->device, rows, 0);
    vk_spec(&d, VK_REDUCE_MEAN);
    return vk_emit(f->stream, &d, err);
}

const strata_kernel_def vk_kernel_global_avg_pool = { .name = "global_avg_pool.rows",
                                                      .op = &strata_op_global_avg_pool,
                                                      .layouts = VK_ANY_LAYOUT,
                                                      .half = true,
                                                      .accepts = vk_fits,
                                                      .prepare = vk_prepare,
                                                      .release = vk_release,
                                                      .emit = emit_global };

/* ---- resize -------------------------------------------------------------------------------------- */

enum { NEAREST, HALF_PIXEL, ALIGN_CORNERS }; /* ORDER resize.comp */

typedef struct resize_push {
    uint32_t count, channels, h, w, oh, ow;
} resize_push;

/* The shader multiplies places and sizes in 32 bits. */
static bool accepts_resize(const strata_node *n)
{
    const int64_t *x = n->in[0]->desc.dim, *y = n->desc.dim, most = 32767;
    return vk_fits(n) && x[2] <= most && x[3] <= most && y[2] <= most && y[3] <= most;
}

static strata_status emit_resize(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const strata_resize_attrs *a = s->node->attrs;
    const int64_t             *x = f->in[0].desc->dim, *y = f->out.desc->dim;
    resize_push                push = { .count = vk_count(f->out.desc),
                                        .channels = (uint32_t)x[1],
                                        .h = (uint32_t)x[2],
                                        .w = (uint32_t)x[3],
                                        .oh = (uint32_t)y[2],
                                        .ow = (uint32_t)y[3] };
    const bool                 four = vk_take_fours(&push.count, &push.channels);
    vk_dispatch                d = vk_value_dispatch(four ? &vk_shader_resize4 : &vk_shader_resize, f);
    vk_read_operand(&d, s, f, 0);
    vk_write_result(&d, f);
    vk_spec(&d, a->mode == STRATA_RESIZE_NEAREST ? NEAREST : a->align_corners ? ALIGN_CORNERS : HALF_PIXEL);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count);
    return vk_emit(f->stream, &d, err);
}

const strata_kernel_def vk_kernel_resize = { .name = "resize.sample",
                                             .op = &strata_op_resize,
                                             .layouts = VK_NHWC,
                                             .half = true,
                                             .accepts = accepts_resize,
                                             .prepare = vk_prepare,
                                             .release = vk_release,
                                             .emit = emit_resize };
