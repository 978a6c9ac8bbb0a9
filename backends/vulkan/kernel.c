/* kernel.c: the helpers of kernel.h. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

/* ---- prepare ------------------------------------------------------------------------------------- */

strata_status vk_upload(strata_step *s, int k, const float *data, size_t count, strata_dtype dtype,
                        strata_error *err)
{
    vk_state *state = s->state;
    if (!state) {
        state = s->state = calloc(1, sizeof *state);
        if (!state)
            return strata_fail(err, STRATA_NOMEM, "no memory to prepare");
    }
    const size_t bytes = count * strata_dtype_size(dtype);
    STRATA_TRY(vk_alloc(s->device, bytes, &state->constant[k], err));
    s->state_bytes += bytes;
    s->consumed |= 1u << k;
    if (dtype == STRATA_F32)
        return vk_write(s->device, &state->constant[k], 0, data, bytes, err);
    void *converted = malloc(bytes);
    if (!converted)
        return strata_fail(err, STRATA_NOMEM, "no memory to prepare");
    strata_convert_from_f32(data, dtype, converted, count);
    strata_status status = vk_write(s->device, &state->constant[k], 0, converted, bytes, err);
    free(converted);
    return status;
}

/* The elements of x, given in row-major order, as they lie in NHWC. */
static strata_status upload_turned(strata_step *s, int k, const strata_tensor_desc *x, strata_error *err)
{
    const int64_t channels = x->dim[1], area = x->dim[2] * x->dim[3];
    const float  *from = vk_constant(s, k);
    float        *turned = malloc((size_t)strata_count(x) * sizeof *turned);
    if (!turned)
        return strata_fail(err, STRATA_NOMEM, "no memory to prepare");
    for (int64_t n = 0; n < x->dim[0]; n++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < area; p++)
                turned[(n * area + p) * channels + c] = from[(n * channels + c) * area + p];
    strata_status status = vk_upload(s, k, turned, (size_t)strata_count(x), s->node->desc.dtype, err);
    free(turned);
    return status;
}

strata_status vk_prepare(strata_step *s, strata_error *err)
{
    const strata_node *n = s->node;
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++) {
        if (!vk_has_constant(n, k))
            continue;
        const strata_tensor_desc x = vk_operand_desc(n, k);
        if (x.layout == STRATA_NHWC && !strata_layout_free(&x))
            STRATA_TRY(upload_turned(s, k, &x, err));
        else
            STRATA_TRY(vk_upload(s, k, vk_constant(s, k), (size_t)strata_count(&x), n->desc.dtype, err));
    }
    return STRATA_OK;
}

strata_status vk_prepare_floats(strata_step *s, strata_error *err)
{
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        if (vk_has_constant(s->node, k))
            STRATA_TRY(vk_upload(s, k, vk_constant(s, k), (size_t)strata_count(&s->node->in[k]->desc), STRATA_F32,
                                 err));
    return STRATA_OK;
}

void vk_release(strata_step *s)
{
    vk_state *state = s->state;
    for (int k = 0; state && k < STRATA_MAX_OPERANDS; k++)
        vk_free(s->device, &state->constant[k]);
    free(state);
    s->state = NULL;
    s->state_bytes = 0;
}

/* ---- emit ---------------------------------------------------------------------------------------- */

static void bind(vk_dispatch *d, const vk_slice *slice, size_t at, size_t size, bool read, bool written)
{
    d->binding[d->bindings++] = (vk_binding){ slice->buffer, slice->offset + at, size, read, written };
}

void vk_read_operand(vk_dispatch *d, const strata_step *s, const strata_frame *f, int k)
{
    const vk_state *state = s->state;
    if (state && state->constant[k].block)
        bind(d, &state->constant[k], 0, state->constant[k].size, true, false);
    else
        bind(d, &f->in[k].buffer->slice, f->in[k].offset, strata_bytes(f->in[k].desc), true, false);
}

void vk_read_beside(vk_dispatch *d, const strata_frame *f, int k)
{
    bind(d, &f->beside[k].buffer->slice, f->beside[k].offset, strata_bytes(f->beside[k].desc), true, false);
}

void vk_write_result(vk_dispatch *d, const strata_frame *f)
{
    bind(d, &f->out.buffer->slice, f->out.offset, strata_bytes(f->out.desc), false, true);
}

void vk_use_scratch(vk_dispatch *d, const strata_frame *f, size_t at, size_t size, bool read, bool written)
{
    bind(d, &f->workspace.buffer->slice, f->workspace.offset + at, size, read, written);
}

void vk_unused(vk_dispatch *d)
{
    d->binding[d->bindings] = d->binding[d->bindings - 1];
    d->binding[d->bindings].read = false;
    d->binding[d->bindings].written = false;
    d->bindings++;
}

void vk_spec(vk_dispatch *d, uint32_t value)
{
    d->key.spec[d->key.spec_count++] = value;
}

void vk_push(vk_dispatch *d, const void *words, size_t bytes)
{
    memcpy(d->push, words, bytes);
    d->push_words = (int)(bytes / 4);
}

void vk_groups(vk_dispatch *d, uint64_t groups)
{
    const uint64_t most = 65535; /* that every driver allows */
    uint64_t       rows = (groups + most - 1) / most;
    d->groups[1] = (uint32_t)rows;
    d->groups[0] = (uint32_t)((groups + rows - 1) / rows);
}

bool vk_take_fours(uint32_t *count, uint32_t *innermost)
{
    if ((innermost ? *innermost : *count) % 4 != 0)
        return false;
    *count /= 4;
    if (innermost)
        *innermost /= 4;
    return true;
}

void vk_cover(vk_dispatch *d, uint64_t invocations)
{
    vk_groups(d, (invocations + VK_WORKGROUP - 1) / VK_WORKGROUP);
}

/* ---- Shapes -------------------------------------------------------------------------------------- */

strata_tensor_desc vk_operand_desc(const strata_node *n, int k)
{
    strata_tensor_desc d = n->in[k]->desc;
    if (vk_has_constant(n, k) && d.rank == 4 && n->desc.rank == 4)
        d.layout = n->desc.layout;
    return d;
}

void vk_memory_order(const strata_tensor_desc *d, int order[STRATA_MAX_RANK])
{
    static const int nhwc[] = { 0, 2, 3, 1 };
    for (int i = 0; i < d->rank; i++)
        order[i] = d->rank == 4 && d->layout == STRATA_NHWC ? nhwc[i] : i;
}

void vk_steps(const strata_tensor_desc *d, uint32_t step[STRATA_MAX_RANK])
{
    int      order[STRATA_MAX_RANK];
    uint32_t run = 1;
    vk_memory_order(d, order);
    for (int i = d->rank - 1; i >= 0; i--) {
        step[order[i]] = run;
        run *= (uint32_t)d->dim[order[i]];
    }
}

vk_rows vk_rows_of(const strata_tensor_desc *d, int axis)
{
    int     order[STRATA_MAX_RANK] = { 0 }, at = 0;
    vk_rows r = { 1, (uint32_t)d->dim[axis], 1 };
    vk_memory_order(d, order);
    for (; order[at] != axis; at++)
        r.outer *= (uint32_t)d->dim[order[at]];
    for (at++; at < d->rank; at++)
        r.inner *= (uint32_t)d->dim[order[at]];
    return r;
}

bool vk_fits(const strata_node *n)
{
    const int64_t most = 1 << 30;
    bool          fits = strata_count(&n->desc) <= most;
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        fits &= !n->in[k] || strata_count(&n->in[k]->desc) <= most;
    return fits;
}
