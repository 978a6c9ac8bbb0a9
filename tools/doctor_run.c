/* doctor_run.c: one graph in several ways, compared with what the definitions of its ops say. */
#include "doctor.h"

#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 1 };

/* ---- Tensors of a graph ------------------------------------------------------------------------------------------- */

static void free_tensors(strata_tensor **t, int count)
{
    for (int i = 0; t && i < count; i++)
        strata_tensor_unref(t[i]);
    free(t);
}

static strata_status random_inputs(const strata_graph *g, strata_tensor ***out, strata_error *err)
{
    int             count = strata_graph_input_count(g);
    strata_tensor **in = *out = calloc((size_t)count + 1, sizeof *in);
    if (!in)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    for (int i = 0; i < count; i++) {
        const strata_tensor_desc *desc = strata_graph_input(g, i).desc;
        STRATA_TRY(strata_tensor_create(desc, &in[i], err));
        strata_random_input(SEED + (uint64_t)i, strata_tensor_data(in[i]), (size_t)strata_count(desc));
    }
    return STRATA_OK;
}

/* A graph, noise for its inputs, and all its values by definition. */
struct truth {
    strata_graph   *graph;
    strata_tensor **in, **values;
};

static strata_status find_truth(const struct doctor_source *source, struct truth *out, strata_error *err)
{
    *out = (struct truth){ 0 };
    STRATA_TRY(source->make(source, &out->graph, err));
    STRATA_TRY(random_inputs(out->graph, &out->in, err));
    return reference_values(out->graph, out->in, &out->values, err);
}

static void free_truth(struct truth *t)
{
    if (!t->graph)
        return;
    reference_free(t->values, t->graph);
    free_tensors(t->in, strata_graph_input_count(t->graph));
    strata_graph_destroy(t->graph);
}

static const strata_tensor *true_output(const struct truth *t, int i)
{
    return t->values[strata_graph_output(t->graph, i).node->id];
}

/* ---- On a device ------------------------------------------------------------------------------------------------- */

static strata_status compute(strata_program *p, strata_tensor *const *in, strata_tensor ***out, strata_error *err)
{
    strata_session *s;
    int             count = strata_graph_output_count(strata_program_graph(p));
    strata_tensor **result = *out = calloc((size_t)count + 1, sizeof *result);
    if (!result)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    STRATA_TRY(strata_session_create(p, &s, err));
    strata_status status = strata_session_alloc_outputs(s, result, err);
    for (int again = 0; again < 2 && status == STRATA_OK; again++) { /* the second run meets the memory of the first */
        for (int i = 0; i < count; i++)
            memset(strata_tensor_data(result[i]), 0xff, strata_bytes(strata_tensor_get_desc(result[i])));
        status = strata_session_run(s, in, result, err);
    }
    strata_session_destroy(s);
    return status;
}

static strata_status compile(const struct doctor_source *source, const strata_device_info *device, int threads,
                             const char *pipeline, strata_program **out, strata_error *err)
{
    strata_graph *g;
    char          name[96];
    snprintf(name, sizeof name, "%s:%d", device->backend, device->index);
    STRATA_TRY(source->make(source, &g, err));
    return strata_program_create(g, &(strata_program_options){ .device = name, .threads = threads, .pipeline = pipeline },
                                 out, err);
}

static double worst(const struct truth *t, strata_tensor *const *out)
{
    double most = 0;
    for (int i = 0; i < strata_graph_output_count(t->graph); i++)
        most = fmax(most, reference_difference(true_output(t, i), out[i]));
    return most;
}

static bool same_bits(const struct truth *t, strata_tensor *const *a, strata_tensor *const *b)
{
    for (int i = 0; i < strata_graph_output_count(t->graph); i++)
        if (memcmp(strata_tensor_data(a[i]), strata_tensor_data(b[i]), strata_bytes(strata_tensor_get_desc(a[i]))) != 0)
            return false;
    return true;
}

static strata_status run_all(const struct doctor_source *source, const strata_device_info *device, const struct truth *t,
                             struct doctor_run *out, strata_error *err)
{
    static const struct { int threads; const char *pipeline; } ways[] = { { 1, "" }, { 3, "" }, { 1, NULL } };
    const int       count = strata_graph_output_count(t->graph);
    strata_tensor **first = NULL;
    strata_status   status = STRATA_OK;
    for (int i = 0; i < 3 && status == STRATA_OK; i++) {
        strata_program *p = NULL;
        strata_tensor **result = NULL;
        status = compile(source, device, ways[i].threads, ways[i].pipeline, &p, err);
        if (status == STRATA_OK)
            status = compute(p, t->in, &result, err);
        if (status == STRATA_OK)
            out->error = fmax(out->error, worst(t, result));
        if (status == STRATA_OK && i == 1 && strcmp(device->backend, "cpu") == 0 && !same_bits(t, first, result))
            out->problem = "other bits with other threads";
        if (i == 0)
            out->program = p, first = result;
        else
            free_tensors(result, count), strata_program_unref(p);
    }
    free_tensors(first, count);
    return status;
}

strata_status doctor_run(const struct doctor_source *source, const strata_device_info *device, struct doctor_run *out,
                         strata_error *err)
{
    struct truth  t;
    strata_status status = find_truth(source, &t, err);
    *out = (struct doctor_run){ 0 };
    if (status == STRATA_OK)
        status = run_all(source, device, &t, out, err);
    if (status == STRATA_OK && !out->problem && !(out->error <= DOCTOR_TOLERANCE))
        out->problem = "differs from its definition";
    for (int i = 0; status == STRATA_OK && !out->problem && i < strata_graph_output_count(t.graph); i++)
        if (!reference_is_finite(true_output(&t, i)))
            out->problem = "not a number, or infinite, by definition";
    free_truth(&t);
    if (status != STRATA_OK && out->program) {
        strata_program_unref(out->program);
        out->program = NULL;
    }
    return status;
}

/* ---- Text and passes --------------------------------------------------------------------------------------------- */

static strata_status print(const strata_graph *g, char **text, size_t *size, strata_error *err)
{
    FILE *to = open_memstream(text, size);
    if (!to)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    strata_status status = strata_graph_print(g, STRATA_DUMP_TEXT, to, err);
    if (fclose(to) != 0 && status == STRATA_OK)
        status = strata_fail(err, STRATA_NOMEM, "out of memory");
    return status;
}

strata_status doctor_text(const struct doctor_source *source, strata_error *err)
{
    strata_graph *g, *back = NULL;
    char         *text = NULL, *again = NULL;
    size_t        size = 0, size_again = 0;
    STRATA_TRY(source->make(source, &g, err));
    strata_status status = print(g, &text, &size, err);
    if (status == STRATA_OK)
        status = strata_graph_parse(source->ctx, "its text", text, size, &back, err);
    if (status == STRATA_OK)
        status = print(back, &again, &size_again, err);
    if (status == STRATA_OK && (size != size_again || memcmp(text, again, size) != 0))
        status = strata_fail(err, STRATA_FORMAT, "reads back from its text as another graph");
    free(text);
    free(again);
    strata_graph_destroy(back);
    strata_graph_destroy(g);
    return status;
}

static strata_status note_change(void *user, const char *pass, const strata_graph *g, bool changed, double milliseconds,
                                 strata_error *err)
{
    (void)pass, (void)g, (void)milliseconds, (void)err;
    *(bool *)user = changed;
    return STRATA_OK;
}

strata_status doctor_pass(const struct doctor_source *source, const char *pass, bool *changed, double *error,
                          strata_error *err)
{
    struct truth    t;
    strata_graph   *g = NULL;
    strata_tensor **values = NULL;
    *error = 0;
    strata_status status = find_truth(source, &t, err);
    if (status == STRATA_OK)
        status = source->make(source, &g, err);
    if (status == STRATA_OK)
        status = strata_graph_run_passes(g, pass, note_change, changed, err);
    if (status == STRATA_OK)
        status = reference_values(g, t.in, &values, err);
    for (int i = 0; status == STRATA_OK && i < strata_graph_node_count(g); i++) { /* names mean values */
        const strata_node *n = strata_graph_node(g, i), *old = strata_graph_find(t.graph, n->name);
        if (!old || !values[i] || !t.values[old->id])
            continue;
        if (!strata_same_shape(&n->desc, &old->desc))
            status = strata_fail(err, STRATA_SHAPE, "%s has another shape", n->name);
        else
            *error = fmax(*error, reference_difference(t.values[old->id], values[i]));
    }
    if (g) {
        reference_free(values, g);
        strata_graph_destroy(g);
    }
    free_truth(&t);
    return status;
}
