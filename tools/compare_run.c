/* compare_run.c: one side of a comparison: its passes, its device, its values; and how far two values are apart. */
#include "compare.h"

#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void values_clear(struct values *v)
{
    if (v->graph)
        reference_free(v->value, v->graph);
    else
        free(v->value);
    free(v->kernel);
    strata_graph_destroy(v->graph);
    *v = (struct values){ 0 };
}

strata_status side_passes(const struct side *s, const strata_graph *g, strata_graph **out, strata_error *err)
{
    *out = NULL;
    STRATA_TRY(cut_copy(g, out, err));
    strata_status status = strata_graph_run_passes(*out, s->pipeline, NULL, NULL, err);
    if (status == STRATA_OK)
        status = strata_graph_refresh(*out, err);
    if (status == STRATA_OK)
        return status;
    strata_graph_destroy(*out);
    *out = NULL;
    return status;
}

/* ---- Inputs and outputs ------------------------------------------------------------------------------------------ */

/* The value of that name, borrowed. */
static strata_tensor *value_of(const struct values *v, const char *name)
{
    const strata_node *n = strata_graph_find(v->graph, name);
    return n ? v->value[n->id] : NULL;
}

static strata_status find_inputs(const strata_graph *g, const struct values *given, strata_tensor ***out, strata_error *err)
{
    const int count = strata_graph_input_count(g);
    *out = calloc((size_t)count + 1, sizeof **out);
    if (!*out)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    for (int i = 0; i < count; i++) {
        (*out)[i] = value_of(given, strata_graph_input(g, i).name);
        if (!(*out)[i])
            return strata_fail(err, STRATA_INVALID, "there is no value for the input %s", strata_graph_input(g, i).name);
    }
    return STRATA_OK;
}

/* All values of g as outputs, in a graph of its own; else g's own outputs. */
static strata_status open_up(const strata_graph *g, bool every, strata_graph **out, strata_error *err)
{
    if (!every)
        return cut_copy(g, out, err);
    const int           nodes = strata_graph_node_count(g);
    bool               *live = calloc((size_t)nodes + 1, sizeof *live);
    const strata_node **outs = calloc((size_t)nodes + 1, sizeof *outs);
    int                 count = 0;
    strata_status       status = live && outs ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "out of memory");
    if (status == STRATA_OK) {
        strata_graph_mark_live(g, live);
        for (int i = 0; i < nodes; i++)
            if (live[i] && !strata_node_is_source(strata_graph_node(g, i)))
                outs[count++] = strata_graph_node(g, i);
        status = cut_graph(g, live, outs, count, true, out, err);
    }
    free(live);
    free(outs);
    return status;
}

/* ---- Running ----------------------------------------------------------------------------------------------------- */

static strata_status by_definition(strata_tensor *const *in, struct values *out, strata_error *err)
{
    snprintf(out->device, sizeof out->device, "the definitions of the ops");
    for (int i = 0; i < strata_graph_node_count(out->graph); i++)
        out->kernel[i] = "definition";
    return reference_values(out->graph, in, &out->value, err);
}

static strata_status run_program(strata_program *p, strata_tensor *const *in, struct values *out, strata_error *err)
{
    const strata_graph *g = strata_program_graph(p);
    const int           count = strata_graph_output_count(g);
    strata_session     *s = NULL;
    strata_tensor     **result = calloc((size_t)count + 1, sizeof *result);
    strata_status       status = result ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "out of memory");
    if (status == STRATA_OK)
        status = strata_session_create(p, &s, err);
    if (status == STRATA_OK)
        status = strata_session_alloc_outputs(s, result, err);
    for (int i = 0; status == STRATA_OK && i < count; i++) /* NaN where nothing is written */
        memset(strata_tensor_data(result[i]), 0xff, strata_bytes(strata_tensor_get_desc(result[i])));
    if (status == STRATA_OK)
        status = strata_session_run(s, in, result, err);
    for (int i = 0; result && i < count; i++) {
        const strata_node *n = strata_graph_find(out->graph, strata_graph_output(g, i).name);
        if (status == STRATA_OK && n)
            out->value[n->id] = strata_tensor_ref(result[i]);
        strata_tensor_unref(result[i]);
    }
    for (int i = 0; status == STRATA_OK && i < strata_graph_node_count(g); i++) {
        const strata_node *placed = strata_graph_node(g, i), *n = strata_graph_find(out->graph, placed->name);
        if (n && placed->op == n->op)
            out->kernel[n->id] = placed->kernel ? placed->kernel->name : "view";
    }
    free(result);
    strata_session_destroy(s);
    return status;
}

static strata_status on_device(const struct side *s, strata_tensor *const *in, bool every, struct values *out,
                               strata_error *err)
{
    const strata_program_options how = { .device = s->device, .strict_device = s->strict, .threads = s->threads,
                                         .exact = s->exact, .precision = s->precision, .pipeline = "" };
    strata_graph                *g = NULL;
    strata_program              *p = NULL;
    strata_program_info          info;
    out->value = calloc((size_t)strata_graph_node_count(out->graph) + 1, sizeof *out->value);
    if (!out->value)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    STRATA_TRY(open_up(out->graph, every, &g, err));
    STRATA_TRY(strata_program_create(g, &how, &p, err));
    strata_program_get_info(p, &info);
    snprintf(out->device, sizeof out->device, "%s", info.device);
    strata_status status = run_program(p, in, out, err);
    strata_program_unref(p);
    return status;
}

strata_status side_run(const struct side *s, strata_graph *g, const struct values *given, bool every, struct values *out,
                       strata_error *err)
{
    strata_tensor **in = NULL;
    *out = (struct values){ .graph = g, .kernel = calloc((size_t)strata_graph_node_count(g) + 1, sizeof *out->kernel) };
    strata_status status = out->kernel ? find_inputs(g, given, &in, err) : strata_fail(err, STRATA_NOMEM, "out of memory");
    if (status == STRATA_OK && strcmp(s->device, "definition") == 0)
        status = by_definition(in, out, err);
    else if (status == STRATA_OK)
        status = on_device(s, in, every, out, err);
    for (int i = 0; status == STRATA_OK && i < strata_graph_input_count(g); i++) { /* inputs are values too */
        const strata_node *n = strata_graph_input(g, i).node;
        if (!out->value[n->id])
            out->value[n->id] = strata_tensor_ref(in[i]);
    }
    free(in);
    return status;
}

/* ---- Comparing --------------------------------------------------------------------------------------------------- */

void difference_of(const strata_tensor *ref, const strata_tensor *test, struct difference *out)
{
    const float *x = strata_tensor_data(ref), *y = strata_tensor_data(test);
    double       most = 0;
    out->absmax = 0;
    out->at = 0;
    for (int64_t i = 0, n = strata_count(strata_tensor_get_desc(ref)); i < n; i++) {
        const double a = (double)x[i], b = (double)y[i];
        double       d = a == b || (isnan(a) && isnan(b)) ? 0 : isfinite(a) && isfinite(b) ? fabs(a - b) : INFINITY;
        if (isfinite(a))
            out->absmax = fmax(out->absmax, fabs(a));
        if (d > most)
            most = d, out->at = i;
    }
    out->error = most / (out->absmax > 0 ? out->absmax : 1);
    out->ref = x[out->at];
    out->test = y[out->at];
}

int values_compare(const struct values *ref, const struct values *test, struct difference *list)
{
    int count = 0;
    for (int i = 0; i < strata_graph_node_count(test->graph); i++) {
        const strata_node *n = strata_graph_node(test->graph, i), *other = strata_graph_find(ref->graph, n->name);
        if (strata_node_is_source(n) || !test->value[i] || !other || !ref->value[other->id])
            continue;
        list[count].node = n;
        if (strata_same_shape(&n->desc, &other->desc))
            difference_of(ref->value[other->id], test->value[i], &list[count]);
        else /* a pass that changes what a name means */
            list[count] = (struct difference){ .node = n, .error = INFINITY };
        count++;
    }
    return count;
}
