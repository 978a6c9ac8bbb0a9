/* One node of a test through one kernel of the CPU backend, without a graph or a program.
 *
 * Operands and results of a test are row-major; they are turned into the kernel's layout and back here.
 * Whatever a kernel must write begins as NaN: the result, and the workspace. */
#ifndef STRATA_TESTS_KERNEL_RUN_H
#define STRATA_TESTS_KERNEL_RUN_H

#include "ops_harness.h"

#include "../backends/cpu/cpu.h"

/* Copies row-major src to the layout of d, or back. */
static inline void turn_layout(const strata_tensor_desc *d, bool back, const float *src, float *dst)
{
    int64_t count = strata_count(d);
    if (d->rank != 4 || d->layout == STRATA_NCHW) {
        memcpy(dst, src, (size_t)count * sizeof *dst);
        return;
    }
    const int64_t C = d->dim[1], H = d->dim[2], W = d->dim[3];
    for (int64_t i = 0; i < count; i++) {
        int64_t w = i % W, h = i / W % H, c = i / W / H % C, n = i / W / H / C;
        int64_t at = ((n * H + h) * W + w) * C + c;
        if (back)
            dst[i] = src[at];
        else
            dst[at] = src[i];
    }
}

static inline float *nan_floats(int64_t count)
{
    size_t bytes = cpu_round64((size_t)count * sizeof(float) + 64);
    float *p     = aligned_alloc(64, bytes);
    assert_non_null(p);
    memset(p, 0xff, bytes);
    return p;
}

/* A copy of r's node whose values lie in `layout`; constants stay as they are. */
typedef struct placed_node {
    strata_node n, in[STRATA_MAX_OPERANDS];
} placed_node;

static inline void place(placed_node *p, const op_run *r, strata_layout layout)
{
    p->n = r->n;
    if (p->n.desc.rank == 4)
        p->n.desc.layout = layout;
    for (int k = 0; k < r->count; k++) {
        if (r->n.in[k] == NULL)
            continue;
        p->in[k]   = *r->n.in[k];
        p->n.in[k] = &p->in[k];
        if (p->in[k].desc.rank == 4 && !strata_node_is_constant(&p->in[k]))
            p->in[k].desc.layout = layout;
    }
}

/* Runs p's node by kernel k and returns its result in row-major order. */
static inline float *run_placed(placed_node *p, const op_run *r, const strata_kernel_def *k,
                                strata_device *device, bool in_place)
{
    strata_step  step  = { .node = &p->n, .kernel = k, .device = device };
    strata_frame frame = { 0 };
    strata_error err;
    if (k->prepare != NULL)
        assert_int_equal(k->prepare(&step, &err), STRATA_OK);
    for (int i = 0; i < r->count; i++) {
        if (r->n.in[i] == NULL)
            continue;
        float *x = nan_floats(strata_count(&p->in[i].desc));
        if (!(step.consumed >> i & 1)) /* else emit must not read it */
            turn_layout(&p->in[i].desc, false, r->x[i], x);
        frame.in[i] = (strata_view){ .desc = &p->in[i].desc, .data = x };
    }
    int64_t count    = strata_count(&p->n.desc);
    frame.workspace  = (strata_view){ .data = nan_floats((int64_t)(step.workspace / sizeof(float))) };
    frame.out = (strata_view){ .desc = &p->n.desc, .data = in_place ? frame.in[0].data : nan_floats(count) };
    assert_int_equal(k->emit(&step, &frame, &err), STRATA_OK);

    float *result = malloc((size_t)count * sizeof *result);
    assert_non_null(result);
    turn_layout(&p->n.desc, true, frame.out.data, result);
    if (k->release != NULL)
        k->release(&step);
    if (!in_place)
        free(frame.out.data);
    for (int i = 0; i < r->count; i++)
        free(frame.in[i].data);
    free(frame.workspace.data);
    return result;
}

#endif
