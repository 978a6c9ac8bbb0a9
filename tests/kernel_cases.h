/* The cases of tools/op_cases.c for one kernel at a time, without a graph: as an op_run. */
#ifndef STRATA_TESTS_KERNEL_CASES_H
#define STRATA_TESTS_KERNEL_CASES_H

#include "placed_node.h"

#include "../tools/op_cases.h"

typedef op_case_def kernel_case;

static inline const kernel_case *find_case(const strata_op_def *op, const char *name)
{
    for (const kernel_case *c = op_case_defs; c->op; c++)
        if (c->op == op && strcmp(c->name, name) == 0)
            return c;
    fail_msg("%s has no case '%s'", op->name, name);
    return NULL;
}

/* A case of the noise as it stands; end_case gives it back. */
static void build_case(const kernel_case *def, op_run *r, int batch)
{
    op_case c;
    assert_true(op_case_make(def, noise_state, batch, &c));
    noise_state = c.noise;
    op_begin(r, c.op, c.attrs.bytes);
    for (int k = 0; k < c.count; k++) {
        if (c.desc[k].rank == 0) {
            op_absent(r);
            continue;
        }
        strata_node *in = op_operand(r, c.desc[k].rank, c.desc[k].dim);
        r->x[k]    = c.x[k];
        r->view[k] = (strata_view){ .desc = &in->desc, .data = c.x[k] };
        if (c.constant[k]) {
            in->op = &strata_op_const;
            assert_int_equal(strata_tensor_wrap(&in->desc, c.x[k], NULL, NULL, &in->data, &r->err), STRATA_OK);
        }
    }
}

/* The case behind a run; its operands stay the run's. */
static op_case case_of(const op_run *r)
{
    op_case c = { .op = r->n.op, .count = r->count };
    memcpy(c.attrs.bytes, r->attrs.bytes, sizeof r->attrs.bytes);
    for (int k = 0; k < r->count; k++)
        if (r->n.in[k] != NULL) {
            c.desc[k] = r->in[k].desc;
            c.x[k]    = r->x[k];
        }
    return c;
}

/* Of a run that has been evaluated. */
static float *scales(const op_run *r)
{
    op_case c     = case_of(r);
    float  *scale = op_case_scales(&c, &r->n.desc, r->y);
    assert_non_null(scale);
    return scale;
}

static inline float *spread_scales(const op_run *r, const float *scale)
{
    op_case c     = case_of(r);
    size_t  bytes = (size_t)strata_count(&r->n.desc) * sizeof *scale;
    float  *same  = malloc(bytes);
    assert_non_null(same);
    memcpy(same, scale, bytes);
    op_case_spread(&c, &r->n.desc, same);
    return same;
}

static void check_result(const char *what, const op_run *r, const float *got, const float *scale,
                         double tolerance)
{
    int64_t count = strata_count(&r->n.desc);
    char shape[128];
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - (double)r->y[i]) <= tolerance * (double)scale[i]))
            fail_msg("%s: %s: element %lld is %.9g, not %.9g", what,
                     strata_shape_text(&r->n.desc, shape, sizeof shape), (long long)i, (double)got[i],
                     (double)r->y[i]);
}

static void end_case(op_run *r)
{
    for (int i = 0; i < r->count; i++)
        strata_tensor_unref(r->in[i].data);
    op_end(r);
}

#endif
