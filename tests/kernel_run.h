/* One node of a test through one kernel of the CPU backend, without a graph or a program.
 *
 * Operands and results of a test are row-major; they are turned into the kernel's layout and back here.
 * Whatever a kernel must write begins as NaN: the result, and the workspace. */
#ifndef STRATA_TESTS_KERNEL_RUN_H
#define STRATA_TESTS_KERNEL_RUN_H

#include "placed_node.h"

#include "../backends/cpu/cpu.h"

static inline float *nan_floats(int64_t count)
{
    size_t bytes = cpu_round64((size_t)count * sizeof(float) + 64);
    float *p     = aligned_alloc(64, bytes);
    assert_non_null(p);
    memset(p, 0xff, bytes);
    return p;
}

/* Runs p's node by kernel k, over operand `over` or NOWHERE, and returns its result in row-major order. */
static inline float *run_placed(placed_node *p, const op_run *r, const strata_kernel_def *k,
                                strata_device *device, int over)
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
    frame.out = (strata_view){ .desc = &p->n.desc, .data = over != NOWHERE ? frame.in[over].data : nan_floats(count) };
    assert_int_equal(k->emit(&step, &frame, &err), STRATA_OK);

    float *result = malloc((size_t)count * sizeof *result);
    assert_non_null(result);
    turn_layout(&p->n.desc, true, frame.out.data, result);
    if (k->release != NULL)
        k->release(&step);
    if (over == NOWHERE)
        free(frame.out.data);
    for (int i = 0; i < r->count; i++)
        free(frame.in[i].data);
    free(frame.workspace.data);
    return result;
}

#endif
