/* One op at a time, without a graph: give it attributes and operands full of noise, let the core check and
 * infer it, evaluate it.
 *
 *     op_run r;
 *     op_begin(&r, &strata_op_conv2d, &attrs);
 *     ARG(&r, 1, 3, 8, 8);                       (x, then weight)
 *     ARG(&r, 4, 3, 3, 3);
 *     const float *y = op_eval(&r);              (shape: r.n.desc)
 *     op_end(&r); */
#ifndef STRATA_TESTS_OPS_HARNESS_H
#define STRATA_TESTS_OPS_HARNESS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../graph/graph.h"
#include <strata/ops.h>

/* ---- Noise: from a fixed seed, or STRATA_TEST_SEED; every test that draws prints it. ---- */

static uint64_t noise_state;

static inline void noise_seed(void)
{
    const char *given = getenv("STRATA_TEST_SEED");
    noise_state = given ? strtoull(given, NULL, 0) : 20240229;
    print_message("             seed %llu\n", (unsigned long long)noise_state);
}

static inline uint32_t noise_bits(void) /* splitmix64, Steele, Lea and Flood 2014 */
{
    uint64_t z = noise_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static inline int   pick(int low, int high) { return low + (int)(noise_bits() % (uint32_t)(high - low + 1)); }
static inline float noise(void) { return (float)noise_bits() / 2147483648.0f - 1; } /* -1..1 */

/* ---- One op ---- */

typedef struct op_run {
    strata_node  n, in[STRATA_MAX_OPERANDS];
    strata_view  view[STRATA_MAX_OPERANDS];
    float       *x[STRATA_MAX_OPERANDS], *y; /* operands and result */
    int          count;
    union {
        max_align_t align;
        char        bytes[256];
    } attrs;
    strata_error err;
} op_run;

static inline void op_begin(op_run *r, const strata_op_def *op, const void *attrs)
{
    memset(r, 0, sizeof *r);
    assert_true(op->attr_size <= sizeof r->attrs);
    if (attrs)
        memcpy(r->attrs.bytes, attrs, op->attr_size);
    else
        strata_attrs_set_defaults(op, r->attrs.bytes);
    r->n.op    = op;
    r->n.name  = "n";
    r->n.attrs = r->attrs.bytes;
}

static inline strata_node *op_operand(op_run *r, int rank, const int64_t *dim)
{
    strata_node *in = &r->in[r->count];
    in->op   = &strata_op_input;
    in->name = "in";
    in->desc = strata_desc_f32(rank, dim);
    return r->n.in[r->count++] = in;
}

static inline void op_absent(op_run *r) { r->n.in[r->count++] = NULL; }

static inline float *op_arg(op_run *r, int rank, const int64_t *dim)
{
    int          k     = r->count;
    strata_node *in    = op_operand(r, rank, dim);
    int64_t      count = strata_count(&in->desc);
    r->x[k] = malloc((size_t)count * sizeof(float));
    assert_non_null(r->x[k]);
    for (int64_t i = 0; i < count; i++)
        r->x[k][i] = noise();
    r->view[k] = (strata_view){ .desc = &in->desc, .data = r->x[k] };
    return r->x[k];
}

#define DIMS(...) (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ }
#define ARG(r, ...)     op_arg((r), DIMS(__VA_ARGS__))     /* with numbers */
#define OPERAND(r, ...) op_operand((r), DIMS(__VA_ARGS__)) /* only a shape */

static inline strata_status op_infer(op_run *r) { return strata_check_node(&r->n, &r->n.desc, &r->err); }

static inline float *op_eval(op_run *r)
{
    if (op_infer(r) != STRATA_OK)
        fail_msg("%s: %s", r->n.op->name, r->err.text);
    size_t bytes = strata_bytes(&r->n.desc);
    r->y = malloc(bytes);
    assert_non_null(r->y);
    memset(r->y, 0xff, bytes); /* NaN where eval forgets an element */
    strata_view out = { .desc = &r->n.desc, .data = r->y };
    assert_int_equal(r->n.op->eval(&r->n, r->view, &out), STRATA_OK);
    return r->y;
}

static inline void op_end(op_run *r)
{
    for (int k = 0; k < r->count; k++)
        free(r->x[k]);
    free(r->y);
}

static inline void assert_shape(const op_run *r, const char *want)
{
    char shape[128];
    assert_string_equal(strata_shape_text(&r->n.desc, shape, sizeof shape), want);
}

static inline void assert_close(const float *got, const double *want, int64_t count, double tolerance)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * fmax(1, fabs(want[i]))))
            fail_msg("element %lld is %.9g, not %.9g", (long long)i, (double)got[i], want[i]);
}

/* Checks the node, wants exactly this error, and ends the run. */
static inline void refused(op_run *r, strata_status status, const char *text)
{
    assert_int_equal(op_infer(r), status);
    assert_string_equal(r->err.text, text);
    op_end(r);
}

#endif
