/* The pass manager: finds the passes of a pipeline by name, runs them in order, refreshes and validates after each
 * one, times it and tells whoever wants to look. A graph that is not valid after a pass is a bug in that pass: the
 * error names it. */
#include "context.h"
#include "rewrite.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static strata_status run_pass(strata_graph *g, const strata_pass_def *pass, const char *options, strata_pass_fn after,
                              void *user, strata_error *err)
{
    double        start   = now_ms();
    bool          changed = false;
    strata_status status  = strata_graph_refresh(g, err);
    if (status == STRATA_OK)
        status = pass->run ? pass->run(g, options, &changed, err) : strata_rewrite(g, pass, &changed, err);
    if (status == STRATA_OK)
        status = strata_graph_refresh(g, err);
    if (status != STRATA_OK)
        return strata_fail_in(err, status, "pass %s", pass->name);
    status = strata_graph_validate(g, err);
    if (status != STRATA_OK)
        return strata_fail_in(err, status == STRATA_NOMEM ? status : STRATA_INTERNAL, "after pass %s", pass->name);
    return after ? after(user, pass->name, g, changed, now_ms() - start, err) : STRATA_OK;
}

/* A pipeline in its parts: the words of a text that it owns. */
typedef struct words {
    char  *text;
    char **word;
    int    count;
} words;

static strata_status split(const char *text, words *out, strata_error *err)
{
    *out      = (words){ .text = strdup(text), .word = calloc(strlen(text) / 2 + 2, sizeof *out->word) };
    char *rest = out->text;
    if (!out->text || !out->word) {
        free(out->text);
        free(out->word);
        return strata_fail(err, STRATA_NOMEM, "no memory for the pipeline");
    }
    for (char *word; (word = strtok_r(rest, " \t\n", &rest));)
        out->word[out->count++] = word;
    return STRATA_OK;
}

static void drop(words *w)
{
    free(w->text);
    free(w->word);
}

static strata_status find_pass(const strata_graph *g, const char *name, const strata_pass_def **out, strata_error *err)
{
    *out = strata_registry_find(&g->ctx->passes, name);
    if (*out)
        return STRATA_OK;
    char near[256];
    strata_registry_nearest(&g->ctx->passes, name, near, sizeof near);
    return strata_fail(err, STRATA_NOT_FOUND, "no pass is named '%s'%s%s", name, *near ? ". Nearest: " : "", near);
}

/* A pass of a word, and its options: in "+name=options" and "name=options". */
static char *options_of(char *word)
{
    char *options = strchr(word, '=');
    if (options)
        *options++ = 0;
    return options;
}

/* Whether "-name" stands among the words. */
static bool left_out(const words *w, const char *name)
{
    for (int i = 0; i < w->count; i++)
        if (w->word[i][0] == '-' && strcmp(w->word[i] + 1, name) == 0)
            return true;
    return false;
}

static strata_status run_words(strata_graph *g, const words *list, const words *without, strata_pass_fn after, void *user,
                               strata_error *err)
{
    for (int i = 0; i < list->count; i++) {
        char *name = list->word[i];
        if (*name == '-')
            continue;
        name += *name == '+';
        char *options = options_of(name);
        const strata_pass_def *pass;
        STRATA_TRY(find_pass(g, name, &pass, err));
        if (!left_out(without, name))
            STRATA_TRY(run_pass(g, pass, options, after, user, err));
    }
    return STRATA_OK;
}

strata_status strata_graph_run_passes(strata_graph *g, const char *pipeline, strata_pass_fn after, void *user,
                                      strata_error *err)
{
    words         list, standard = { 0 };
    bool          changes_default = true; /* nothing but "-name" and "+name" */
    strata_status status       = split(pipeline ? pipeline : strata_default_pipeline(), &list, err);
    if (status != STRATA_OK)
        return status;
    for (int i = 0; i < list.count && status == STRATA_OK; i++) {
        const strata_pass_def *pass;
        if (list.word[i][0] == '-')
            status = find_pass(g, list.word[i] + 1, &pass, err);
        else if (list.word[i][0] != '+')
            changes_default = false;
    }
    if (status == STRATA_OK)
        status = run_words(g, &list, &list, after, user, err);
    if (status == STRATA_OK && changes_default && list.count > 0) {
        status = split(strata_default_pipeline(), &standard, err);
        if (status == STRATA_OK)
            status = run_words(g, &standard, &list, after, user, err);
        drop(&standard);
    }
    drop(&list);
    return status;
}
