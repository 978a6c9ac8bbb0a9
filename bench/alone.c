/* alone.c: see alone.h. */
#include "alone.h"

#include "clock.h"
#include "onednn.h"

#include <strata/ops.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_INPUTS = 2 }; /* x, and what is added to the result */

/* Of a turn. The first runs find what the other has left: caches without their operands, threads that still spin. */
static const double turn_seconds = 2e-3;
static const double tolerance = 1e-3; /* of the largest result: Winograd's sums and approximate activations count */

typedef struct contest {
    strata_program *program;
    strata_session *session;
    strata_tensor  *in[MOST_INPUTS], *out;
    onednn         *onednn;
    float          *y;    /* oneDNN's */
    int             step; /* of the session: the layer's */
} contest;

/* ---- The program ------------------------------------------------------------------------------------- */

/* An input of the graph as the layer before would leave it, in the layout of the kernels and written into the caches, which
 * the copy into that layout may have gone past. It is positive, and ReLU a step that leaves it so. */
static strata_node *emit_value(strata_builder *b, const char *name, const strata_tensor_desc *desc)
{
    strata_node *x = strata_emit_input(b, name, desc);
    return strata_emit(b, strata_act_op(STRATA_ACT_RELU), NULL, NULL, x);
}

/* A node like n that reads x, its parameters by their roles and anything else from inputs of the graph. */
static strata_node *again(strata_builder *b, const strata_node *n, strata_node *x, const char *name)
{
    strata_node *in[STRATA_MAX_OPERANDS] = { x };
    strata_push_scope(b, "%s", name);
    for (int k = 1; k < strata_operand_count(n); k++) {
        if (n->in[k] == NULL)
            continue;
        const strata_tensor_desc desc = strata_desc_f32(n->in[k]->desc.rank, n->in[k]->desc.dim);
        const char *operand = strata_scoped(b, n->op->operands[k].name);
        in[k] = strata_operand_role(n, k) != NULL ? strata_emit_param(b, operand, &desc)
                                                  : emit_value(b, operand, &desc);
    }
    strata_pop_scope(b);
    return strata_emit_n(b, n->op, name, n->attrs, in, strata_operand_count(n));
}

static strata_status build(strata_context *ctx, const strata_node *first, const strata_node *n, strata_graph **out,
                           strata_error *err)
{
    const strata_tensor_desc desc = strata_desc_f32(first->in[0]->desc.rank, first->in[0]->desc.dim);
    strata_builder          *b;
    STRATA_TRY(strata_builder_create(ctx, "alone", &b, err));
    strata_node *x = emit_value(b, "x", &desc);
    if (first != n)
        x = again(b, first, x, "first");
    strata_emit_output(b, "y", again(b, n, x, "layer"));
    STRATA_TRY(strata_builder_finish(b, out, err));
    strata_status status = strata_graph_bind_random(*out, 1, 2, err);
    if (status != STRATA_OK)
        strata_graph_destroy(*out);
    return status;
}

static void fill_positive(strata_tensor *t, uint64_t seed)
{
    float *x     = strata_tensor_data(t);
    size_t count = (size_t)strata_count(strata_tensor_get_desc(t));
    strata_random_input(seed, x, count);
    for (size_t i = 0; i < count; i++)
        x[i] = fabsf(x[i]);
}

static int step_of(const strata_session *s, const strata_op_def *op)
{
    int last = -1;
    for (int i = 0; i < strata_session_step_count(s); i++)
        if (strcmp(strata_session_step(s, i).op, op->name) == 0)
            last = i;
    return last;
}

static strata_status make(strata_context *ctx, const strata_node *first, const strata_node *n,
                          const alone_options *options, contest *c, strata_error *err)
{
    const strata_program_options how = { .threads = options->threads, .exact = options->exact };
    strata_graph                *g;
    STRATA_TRY(build(ctx, first, n, &g, err));
    const strata_node *layer = strata_graph_find(g, "layer"), *before = strata_graph_find(g, "first");
    c->onednn = onednn_create(before != NULL ? before : layer, layer, options->threads); /* while there are weights */
    STRATA_TRY(strata_program_create(g, &how, &c->program, err));
    STRATA_TRY(strata_session_create(c->program, &c->session, err));
    STRATA_TRY(strata_session_alloc_outputs(c->session, &c->out, err));
    const strata_graph *placed = strata_program_graph(c->program);
    for (int i = 0; i < strata_graph_input_count(placed); i++) {
        STRATA_TRY(strata_tensor_create(strata_graph_input(placed, i).desc, &c->in[i], err));
        fill_positive(c->in[i], 2 + (uint64_t)i);
    }
    c->y    = malloc(strata_bytes(strata_tensor_get_desc(c->out)));
    c->step = step_of(c->session, n->op);
    if (c->y == NULL)
        return strata_fail(err, STRATA_NOMEM, "no memory for a result");
    if (c->step < 0)
        return strata_fail(err, STRATA_INTERNAL, "no step is a %s", n->op->name);
    strata_session_enable_profile(c->session, true);
    return STRATA_OK;
}

static void unmake(contest *c)
{
    onednn_destroy(c->onednn);
    for (int i = 0; i < MOST_INPUTS; i++)
        strata_tensor_unref(c->in[i]);
    strata_tensor_unref(c->out);
    strata_session_destroy(c->session);
    strata_program_unref(c->program);
    free(c->y);
}

/* ---- Turns ------------------------------------------------------------------------------------------- */

static strata_status run_ours(contest *c, double *ms, strata_error *err)
{
    const double end = seconds() + turn_seconds;
    do {
        STRATA_TRY(strata_session_run(c->session, c->in, &c->out, err));
        *ms = fmin(*ms, strata_session_step(c->session, c->step).ms);
    } while (seconds() < end);
    return STRATA_OK;
}

static strata_status run_onednn(contest *c, double *ms, strata_error *err)
{
    const float *x = strata_tensor_data(c->in[0]);
    const float *residual = c->in[1] != NULL ? strata_tensor_data(c->in[1]) : NULL;
    const double end = seconds() + turn_seconds;
    do {
        double time = onednn_run(c->onednn, x, residual, c->y);
        if (time < 0)
            return strata_fail(err, STRATA_INTERNAL, "oneDNN failed");
        *ms = fmin(*ms, time * 1e3);
    } while (seconds() < end);
    return STRATA_OK;
}

static strata_status check_equal(const contest *c, strata_error *err)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(c->out);
    const float              *y = strata_tensor_data(c->out);
    double                    most = 0, difference = 0;
    for (int64_t i = 0; i < strata_count(desc); i++) {
        most       = fmax(most, fabs((double)y[i]));
        difference = fmax(difference, fabs((double)y[i] - (double)c->y[i]));
    }
    if (difference <= tolerance * most)
        return STRATA_OK;
    return strata_fail(err, STRATA_INTERNAL, "results differ from oneDNN's by %.2g of the largest, not at most %.2g",
                       difference / most, tolerance);
}

strata_status alone_compare(strata_context *ctx, const strata_node *first, const strata_node *n,
                            const alone_options *options, alone *out, strata_error *err)
{
    contest       c = { 0 };
    strata_status status = make(ctx, first, n, options, &c, err);
    *out = (alone){ .ms = INFINITY, .onednn_ms = INFINITY };
    for (int i = 0; i < options->rounds && status == STRATA_OK; i++) {
        status = run_ours(&c, &out->ms, err);
        if (status == STRATA_OK && c.onednn != NULL)
            status = run_onednn(&c, &out->onednn_ms, err);
    }
    if (status == STRATA_OK && c.onednn != NULL) {
        snprintf(out->choice, sizeof out->choice, "%s", onednn_choice(c.onednn));
        status = check_equal(&c, err);
    } else {
        out->onednn_ms = 0;
    }
    if (status == STRATA_OK) {
        strata_step_profile step = strata_session_step(c.session, c.step);
        out->kernel = step.kernel;
        out->macs   = step.macs;
    }
    unmake(&c);
    return status;
}
