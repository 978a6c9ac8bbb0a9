/* report_passes.c: the passes as a table: time, what is left, and the lines that changed. */
#include "report.h"

#include "talk.h"

#include <strata/extend.h>

#include <stdlib.h>

struct watch {
    const struct model *m;
    json_t             *rows;
    strata_graph       *before; /* a copy of the graph as the last change left it */
    int                 code;
};

int report_graph(const strata_graph *g, json_t **out)
{
    strata_error err = { 0 };
    char        *text = NULL;
    size_t       size = 0;
    FILE        *to = open_memstream(&text, &size);
    int          code = EXIT_DONE;
    if (!to)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    if (strata_graph_print(g, STRATA_DUMP_JSON, to, &err) != STRATA_OK)
        code = talk_failure(STAGE_RUN, &err, NULL);
    fclose(to);
    *out = code ? NULL : json_loadb(text, size, 0, NULL);
    free(text);
    return code || *out ? code : talk_error(EXIT_UNEXPECTED, "out of memory");
}

/* What has to be computed for an image, and what is known before. */
static int count_nodes(const strata_graph *g, int *values, int *constants)
{
    int   count = strata_graph_node_count(g);
    bool *live = malloc((size_t)count + 1);
    *values = *constants = 0;
    if (!live)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    strata_graph_mark_live(g, live);
    for (int i = 0; i < count; i++) {
        bool constant = strata_node_is_constant(strata_graph_node(g, i));
        *values += live[i] && !constant;
        *constants += live[i] && constant;
    }
    free(live);
    return EXIT_DONE;
}

/* The lines of the difference to the graph before, which g then becomes. */
static int take_difference(struct watch *w, const strata_graph *g, json_t *row)
{
    strata_error err = { 0 };
    strata_diff  counts = { 0 };
    char        *text = NULL;
    size_t       size = 0;
    FILE        *to = open_memstream(&text, &size);
    if (!to)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    strata_status status = strata_graph_diff(w->before, g, to, &counts, &err);
    fclose(to);
    if (status == STRATA_OK) {
        json_object_set_new(row, "added", json_integer(counts.added));
        json_object_set_new(row, "removed", json_integer(counts.removed));
        json_object_set_new(row, "changed_nodes", json_integer(counts.changed));
        json_object_set_new(row, "diff", talk_json_text(text));
    }
    free(text);
    if (status != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    strata_graph_destroy(w->before);
    w->before = NULL;
    return model_copy_graph(w->m, g, &w->before);
}

static int add_row(struct watch *w, const char *name, const strata_graph *g, bool changed,
                   double milliseconds)
{
    uint64_t params, macs;
    int      values, constants;
    int      code = count_nodes(g, &values, &constants);
    if (code)
        return code;
    strata_graph_cost(g, &params, &macs);
    json_t *row = json_pack("{s:s, s:b, s:f, s:i, s:i, s:I}", "name", name, "changed", changed, "ms",
                            milliseconds, "values", values, "constants", constants, "macs", (json_int_t)macs);
    if (changed)
        code = take_difference(w, g, row);
    json_array_append_new(w->rows, row);
    return code;
}

static strata_status after_pass(void *user, const char *pass, const strata_graph *g, bool changed,
                                double milliseconds, strata_error *err)
{
    struct watch *w = user;
    (void)err;
    w->code = add_row(w, pass, g, changed, milliseconds);
    return w->code ? STRATA_NOMEM : STRATA_OK; /* ends the pipeline; it has been told why */
}

int report_passes(const struct model *m, strata_graph *g, json_t **out)
{
    struct watch w = { .m = m, .rows = json_array() };
    strata_error err = { 0 };
    int          code = model_copy_graph(m, g, &w.before);
    if (!code)
        code = add_row(&w, "built", g, false, 0);
    if (!code && strata_graph_run_passes(g, m->pipeline, after_pass, &w, &err) != STRATA_OK)
        code = w.code ? w.code : talk_failure(STAGE_RUN, &err, NULL);
    strata_graph_destroy(w.before);
    *out = w.rows;
    return code;
}
