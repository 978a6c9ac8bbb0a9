/* dump_diff.c: what differs between two graphs: two stages of one model, or two models. As with diff, nothing
 * is printed when nothing differs. */
#include "dump.h"

#include "talk.h"

#include <stdlib.h>
#include <string.h>

struct side {
    struct model  model;
    const char   *stage; /* "built", or a pass */
    strata_graph *graph; /* at that stage */
    int           code;
};

/* Of several runs of the pass, the last one counts. */
static strata_status keep_stage(void *user, const char *pass, const strata_graph *g, bool changed,
                                double milliseconds, strata_error *err)
{
    struct side *s = user;
    (void)changed, (void)milliseconds, (void)err;
    if (strcmp(pass, s->stage) != 0)
        return STRATA_OK;
    strata_graph_destroy(s->graph);
    s->graph = NULL;
    s->code = model_copy_graph(&s->model, g, &s->graph);
    return s->code ? STRATA_NOMEM : STRATA_OK;
}

static int run_to_stage(struct side *s, const char *option, strata_graph *g)
{
    strata_error err = { 0 };
    if (strcmp(s->stage, "built") == 0)
        return model_copy_graph(&s->model, g, &s->graph);
    int code = model_check_pass(s->model.ctx, option, s->stage);
    if (!code && strata_graph_run_passes(g, s->model.pipeline, keep_stage, s, &err) != STRATA_OK)
        code = s->code ? s->code : talk_failure(STAGE_RUN, &err, NULL);
    if (!code && !s->graph)
        code = talk_error(EXIT_USAGE, "%s: the pass '%s' is not part of this pipeline: %s", option, s->stage,
                          s->model.pipeline ? s->model.pipeline : strata_default_pipeline());
    return code;
}

static int open_side(const struct options *o, int i, struct side *s)
{
    bool          stages = o->arg_count == 1;
    strata_graph *g = NULL;
    int           code = model_open(o, stages ? o->args[0] : o->diff[i], &s->model);
    s->stage = stages ? o->diff[i] : o->after ? o->after : "built";
    s->model.bound = stages && i > 0; /* the same weights once more: told already */
    if (!code)
        code = model_build(&s->model, o->batch, o->size[0], o->size[1], false, &g);
    if (!code)
        code = model_bind(&s->model, g);
    if (!code)
        code = run_to_stage(s, stages ? "--diff" : "--after", g);
    strata_graph_destroy(g);
    return code;
}

static void print_difference(const struct side *a, const struct side *b, const char *text, size_t size,
                             FILE *to)
{
    fprintf(to, "--- %s %s\n+++ %s %s\n", a->model.info.name, a->stage, b->model.info.name, b->stage);
    fwrite(text, 1, size, to);
}

static int compare(const struct options *o, const struct side *a, const struct side *b, FILE *to)
{
    strata_error err = { 0 };
    strata_diff  counts = { 0 };
    char        *text = NULL;
    size_t       size = 0;
    FILE        *lines = open_memstream(&text, &size);
    if (!lines)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    strata_status status = strata_graph_diff(a->graph, b->graph, lines, &counts, &err);
    fclose(lines);
    int code = status == STRATA_OK ? EXIT_DONE : talk_failure(STAGE_RUN, &err, NULL);
    if (!code && size > 0)
        print_difference(a, b, text, size, to);
    free(text);
    if (!code && size == 0)
        talk_line("same", "no difference in structure");
    else if (!code && o->exit_code)
        code = talk_error(EXIT_UNEXPECTED, "the graphs differ: %d added, %d removed, %d changed",
                          counts.added, counts.removed, counts.changed);
    else if (!code)
        talk_line("differ", "%d added, %d removed, %d changed", counts.added, counts.removed, counts.changed);
    return code;
}

int dump_diff(const struct options *o, FILE *to)
{
    struct side side[2] = { { .graph = NULL }, { .graph = NULL } };
    int         code = EXIT_DONE;
    for (int i = 0; i < 2 && !code; i++)
        code = open_side(o, i, &side[i]);
    if (!code)
        code = compare(o, &side[0], &side[1], to);
    for (int i = 0; i < 2; i++) {
        strata_graph_destroy(side[i].graph);
        model_close(&side[i].model);
    }
    return code;
}
