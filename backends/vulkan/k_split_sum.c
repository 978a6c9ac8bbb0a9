/* k_split_sum.c: the sum of equal parts of the channels, weighted by a softmax over the parts: split attention in one pass over
 * the map. */
#include "kernel.h"

enum { X, LOGITS };

typedef struct split_push {
    uint32_t count, channels, area, splits;
} split_push;

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const strata_split_sum_attrs *a = s->node->attrs;
    const int64_t                *y = f->out.desc->dim;
    const bool                    weighted = s->node->in[LOGITS] != NULL;
    split_push  push = { vk_count(f->out.desc), (uint32_t)y[1], (uint32_t)(y[2] * y[3]), (uint32_t)a->splits };
    const bool  four = vk_take_fours(&push.count, &push.channels);
    vk_dispatch d = vk_value_dispatch(four ? &vk_shader_split_sum4 : &vk_shader_split_sum, f);
    vk_read_operand(&d, s, f, X);
    if (weighted)
        vk_read_operand(&d, s, f, LOGITS);
    else
        vk_unused(&d);
    vk_write_result(&d, f);
    vk_spec(&d, weighted);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count);
    return vk_emit(f->stream, &d, err);
}

const strata_kernel_def vk_kernel_split_sum = { .name = "split_sum.flat",
                                                .op = &strata_op_split_sum,
                                                .layouts = VK_NHWC,
                                                .half = true,
                                                .accepts = vk_fits,
                                                .prepare = vk_prepare,
                                                .release = vk_release,
                                                .emit = emit };
