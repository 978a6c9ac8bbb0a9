/* compare_bisect.c: who is guilty of a difference.
 *
 * Passes first. The pipeline of a side is run pass by pass on one device, the reference's; the graphs between the passes
 * must all give the values of the graph as built. The first one that does not is found by halving. Else the device: the
 * graph that the test side runs goes to both devices.
 *
 * Either way there is a first value that differs, though all before it may have drifted a little. So it is computed anew
 * from the reference's values: by its own node alone, then by the last 2, 4, 8, ... nodes of its ancestry, until it differs
 * again. The fewest that show it are the repro. */
#include "compare.h"

#include "files.h"
#include "talk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void verdict_free(struct verdict *v)
{
    free(v->repro);
    v->repro = NULL;
}

/* The first value beyond the tolerance; false: none. */
static bool first_beyond(const struct bisection *b, const struct values *ref, const struct values *test,
                         struct difference *out, strata_error *err, strata_status *status)
{
    struct difference *list = calloc((size_t)strata_graph_node_count(test->graph) + 1, sizeof *list);
    bool               found = false;
    *status = list ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "out of memory");
    int count = list ? values_compare(ref, test, list) : 0;
    for (int i = 0; i < count && !found; i++)
        if (!(list[i].error <= b->tolerance)) {
            *out = list[i];
            found = true;
        }
    free(list);
    return found;
}

/* ---- The repro --------------------------------------------------------------------------------------------------- */

/* A piece of a graph, and how its two sides compute it. */
struct piece {
    strata_graph *graph;
    struct side   ref, test;
    double        error;
};

static void put_word(FILE *to, const char *word) /* quoted for the shell */
{
    fputc('\'', to);
    for (; *word; word++)
        fprintf(to, *word == '\'' ? "'\\''" : "%c", *word);
    fputc('\'', to);
}

/* Plug-ins, divided by ':', by paths that hold from any folder. */
static void put_plugins(FILE *to, const char *paths)
{
    while (paths && *(paths += strspn(paths, ":"))) {
        size_t length = strcspn(paths, ":");
        char  *path = strndup(paths, length), *whole = path ? realpath(path, NULL) : NULL;
        if (path) {
            fputs(" \\\n    --plugin ", to);
            put_word(to, whole ? whole : path);
        }
        free(whole);
        free(path);
        paths += length;
    }
}

static void put_command(FILE *to, const struct bisection *b, const struct piece *p, bool weights)
{
    fputs("#!/bin/sh\n# Exits with 1 while the two sides differ. Another strata: STRATA=... sh run.sh\n"
          "cd \"$(dirname \"$0\")\" || exit\nexec \"${STRATA:-strata}\" compare ./piece.graph", to);
    for (int i = 0; i < strata_graph_input_count(p->graph); i++)
        fprintf(to, " input%d.npy", i + 1);
    fputs(weights ? " --weights piece.safetensors" : " --random-weights 1", to);
    fputs(" \\\n    --ref ", to);
    put_word(to, p->ref.device);
    fputs(" --test ", to);
    put_word(to, p->test.device);
    fputs(" --ref-pipeline ", to);
    put_word(to, p->ref.pipeline);
    fputs(" --test-pipeline ", to);
    put_word(to, p->test.pipeline);
    fprintf(to, " --tolerance %g", b->tolerance);
    if (p->test.exact)
        fputs(" --exact", to);
    put_plugins(to, b->options->plugin);
    fputs(" \"$@\"\n", to);
}

static int write_text(const char *path, const struct bisection *b, const struct piece *p, bool command, bool weights)
{
    struct outfile out;
    strata_error   err = { 0 };
    int            code = outfile_open("--output", path, &out);
    if (!code && command)
        put_command(out.stream, b, p, weights);
    else if (!code && strata_graph_print(p->graph, STRATA_DUMP_TEXT, out.stream, &err) != STRATA_OK)
        code = talk_failure(STAGE_FILES, &err, NULL);
    int closed = outfile_close(&out, code == EXIT_DONE);
    return code ? code : closed;
}

static bool has_constants(const strata_graph *g)
{
    for (int i = 0; i < strata_graph_node_count(g); i++)
        if (strata_node_is_constant(strata_graph_node(g, i)))
            return true;
    return false;
}

/* FOLDER/piece.graph, piece.safetensors, input1.npy ..., run.sh. */
static int write_repro(const struct bisection *b, const struct piece *p, const struct values *given, struct verdict *v)
{
    char         path[4096];
    strata_error err = { 0 };
    const bool   weights = has_constants(p->graph);
    const size_t room = sizeof path - 32;
    if (strlen(b->folder) > room)
        return talk_error(EXIT_FILES, "--output: the name of the folder is too long");
    if (mkdir(b->folder, 0777) != 0 && errno != EEXIST)
        return talk_error(EXIT_FILES, "--output: folder '%s': %s", b->folder, strerror(errno));
    for (int i = 0; i < strata_graph_input_count(p->graph); i++) {
        const strata_node *n = strata_graph_find(given->graph, strata_graph_input(p->graph, i).name);
        snprintf(path, sizeof path, "%s/input%d.npy", b->folder, i + 1);
        if (strata_npy_write(path, given->value[n->id], &err) != STRATA_OK)
            return talk_failure(STAGE_FILES, &err, NULL);
    }
    snprintf(path, sizeof path, "%s/piece.safetensors", b->folder);
    if (weights && strata_graph_save_weights(p->graph, path, &err) != STRATA_OK)
        return talk_failure(STAGE_FILES, &err, NULL);
    snprintf(path, sizeof path, "%s/piece.graph", b->folder);
    int code = write_text(path, b, p, false, weights);
    snprintf(path, sizeof path, "%s/run.sh", b->folder);
    if (!code)
        code = write_text(path, b, p, true, weights);
    v->repro = code ? NULL : strdup(path);
    return code ? code : v->repro ? EXIT_DONE : talk_error(EXIT_UNEXPECTED, "out of memory");
}

/* ---- Pieces ------------------------------------------------------------------------------------------------------ */

/* Whether `name` differs when both sides compute the piece from the given values; *kernel is the test side's. */
static strata_status try_piece(const struct bisection *b, struct piece *p, const struct values *given, const char *name,
                               bool *differs, char kernel[112], strata_error *err)
{
    struct values ref = { 0 }, test = { 0 };
    strata_graph *g = NULL;
    strata_status status = side_passes(&p->ref, p->graph, &g, err);
    if (status == STRATA_OK)
        status = side_run(&p->ref, g, given, false, &ref, err);
    if (status == STRATA_OK)
        status = side_passes(&p->test, p->graph, &g, err);
    if (status == STRATA_OK)
        status = side_run(&p->test, g, given, false, &test, err);
    const strata_node *a = status == STRATA_OK ? strata_graph_find(ref.graph, name) : NULL,
                      *c = status == STRATA_OK ? strata_graph_find(test.graph, name) : NULL;
    *differs = false;
    if (a && c && ref.value[a->id] && test.value[c->id]) {
        struct difference d = { .error = 0 };
        difference_of(ref.value[a->id], test.value[c->id], &d);
        p->error = d.error;
        *differs = !(d.error <= b->tolerance);
        snprintf(kernel, 112, "%s", test.kernel[c->id] ? test.kernel[c->id] : "?");
    }
    values_clear(&ref);
    values_clear(&test);
    return status;
}

static int count_nodes(const strata_graph *g)
{
    int count = 0;
    for (int i = 0; i < strata_graph_node_count(g); i++)
        count += !strata_node_is_source(strata_graph_node(g, i));
    return count;
}

/* The fewest nodes before `name` in `from` with which it differs; `from` has its values. GUILTY_NOBODY: not even all. */
static strata_status find_piece(const struct bisection *b, const struct values *from, const char *name, struct piece *p,
                                struct verdict *v, strata_error *err)
{
    const int          nodes = strata_graph_node_count(from->graph);
    const strata_node *n = strata_graph_find(from->graph, name);
    bool              *inside = calloc((size_t)nodes + 1, sizeof *inside), whole = false, differs = false;
    int               *steps = calloc((size_t)nodes + 1, sizeof *steps);
    strata_status      status = inside && steps ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "out of memory");
    for (int depth = 1; n && status == STRATA_OK && !whole && !differs; depth *= 2) {
        strata_graph_destroy(p->graph);
        p->graph = NULL;
        whole = cut_mark(from->graph, n, depth, steps, inside);
        status = cut_graph(from->graph, inside, &n, 1, false, &p->graph, err);
        if (status == STRATA_OK)
            status = try_piece(b, p, from, name, &differs, v->kernel, err);
    }
    free(inside);
    free(steps);
    if (status != STRATA_OK || !differs)
        return status;
    v->nodes = count_nodes(p->graph);
    v->error = p->error;
    v->guilt = v->nodes == 1 ? GUILTY_NODE : GUILTY_NODES;
    snprintf(v->value, sizeof v->value, "%s", name);
    snprintf(v->op, sizeof v->op, "%s", n->op->name);
    return status;
}

/* ---- Passes ------------------------------------------------------------------------------------------------------ */

enum { MOST_PASSES = 64 };

struct snapshot { /* the graph after a pass that changed it */
    char          pass[96];
    strata_graph *graph;
};

struct snapshots {
    struct snapshot at[MOST_PASSES]; /* at[0]: as built */
    int          count;
};

static strata_status keep_stage(void *user, const char *pass, const strata_graph *g, bool changed, double milliseconds,
                                strata_error *err)
{
    struct snapshots *s = user;
    (void)milliseconds;
    if (!changed || s->count == MOST_PASSES)
        return STRATA_OK;
    struct snapshot *next = &s->at[s->count];
    snprintf(next->pass, sizeof next->pass, "%s", pass);
    STRATA_TRY(cut_copy(g, &next->graph, err));
    s->count++;
    return STRATA_OK;
}

/* The word of the pipeline that stands for the pass, with its options. */
static void find_word(const char *pipeline, char pass[96])
{
    const size_t length = strlen(pass);
    for (const char *at = pipeline; at && (at = strstr(at, pass)); at += length)
        if (at[length] == '=' && (at == pipeline || at[-1] == ' ' || at[-1] == '+')) {
            snprintf(pass, 96, "%.*s", (int)strcspn(at, " "), at);
            return;
        }
}

/* Whether stage i has values other than those of the graph as built, on the judge's device. */
static strata_status stage_differs(const struct bisection *b, const struct side *judge, const struct values *truth,
                                   const struct snapshot *stage, struct difference *first, char name[256], bool *differs,
                                   strata_error *err)
{
    struct values got = { 0 };
    strata_graph *g = NULL;
    STRATA_TRY(cut_copy(stage->graph, &g, err));
    strata_status status = side_run(judge, g, b->given, true, &got, err);
    *differs = status == STRATA_OK && first_beyond(b, truth, &got, first, err, &status);
    if (*differs)
        snprintf(name, 256, "%s", first->node->name);
    values_clear(&got);
    return status;
}

/* The piece of the graph before the pass that the pass spoils; the whole graph when it takes that. */
static strata_status spoilt_piece(const struct bisection *b, const struct side *judge, const struct snapshot *before,
                                  const char *pass, const char *name, struct piece *p, struct values *from,
                                  struct verdict *v, strata_error *err)
{
    strata_graph *g = NULL;
    p->ref = p->test = *judge;
    p->ref.pipeline = "";
    p->test.pipeline = pass;
    STRATA_TRY(cut_copy(before->graph, &g, err));
    STRATA_TRY(side_run(judge, g, b->given, true, from, err));
    STRATA_TRY(find_piece(b, from, name, p, v, err));
    if (v->guilt != GUILTY_NOBODY)
        return STRATA_OK;
    strata_graph_destroy(p->graph);
    p->graph = NULL;
    v->nodes = count_nodes(before->graph);
    snprintf(v->value, sizeof v->value, "%s", name);
    return cut_copy(before->graph, &p->graph, err);
}

static strata_status judge_passes(const struct bisection *b, const struct side *side, struct piece *p, struct values *from,
                                  struct verdict *v, strata_error *err)
{
    struct side       judge = b->ref;
    struct snapshots     s = { .count = 1 };
    struct values     truth = { 0 };
    struct difference first;
    strata_graph     *g = NULL;
    char              name[256] = "", last_name[256] = "";
    bool              differs = false;
    judge.pipeline = "";
    strata_status status = cut_copy(b->plain, &s.at[0].graph, err);
    if (status == STRATA_OK)
        status = cut_copy(b->plain, &g, err);
    if (status == STRATA_OK)
        status = side_run(&judge, g, b->given, true, &truth, err);
    g = NULL;
    if (status == STRATA_OK)
        status = cut_copy(b->plain, &g, err);
    if (status == STRATA_OK)
        status = strata_graph_run_passes(g, side->pipeline, keep_stage, &s, err);
    int good = 0, bad = s.count - 1;
    if (status == STRATA_OK && bad > 0)
        status = stage_differs(b, &judge, &truth, &s.at[bad], &first, last_name, &differs, err);
    const bool guilty = differs;
    while (guilty && status == STRATA_OK && bad - good > 1) {
        int middle = (good + bad) / 2;
        status = stage_differs(b, &judge, &truth, &s.at[middle], &first, name, &differs, err);
        if (differs)
            bad = middle, memcpy(last_name, name, sizeof name);
        else
            good = middle;
    }
    if (guilty && status == STRATA_OK) {
        snprintf(v->pass, sizeof v->pass, "%s", s.at[bad].pass);
        find_word(side->pipeline, v->pass);
        status = spoilt_piece(b, &judge, &s.at[bad - 1], v->pass, last_name, p, from, v, err);
        v->guilt = GUILTY_PASS;
        snprintf(v->device, sizeof v->device, "%s", from->device);
    }
    strata_graph_destroy(g);
    values_clear(&truth);
    for (int i = 0; i < s.count; i++)
        strata_graph_destroy(s.at[i].graph);
    return status;
}

/* ---- Devices ----------------------------------------------------------------------------------------------------- */

static strata_status judge_devices(const struct bisection *b, struct piece *p, struct values *from, struct verdict *v,
                                   strata_error *err)
{
    struct values     test = { 0 }, as_run = { 0 };
    struct difference first;
    strata_graph     *g = NULL;
    strata_status     status = STRATA_OK;
    bool              differs = false;
    p->ref = b->ref, p->test = b->test;
    STRATA_TRY(side_passes(&b->test, b->plain, &g, err));
    STRATA_TRY(side_run(&b->ref, g, b->given, true, from, err));
    status = cut_copy(from->graph, &g, err);
    if (status == STRATA_OK)
        status = side_run(&b->test, g, b->given, true, &test, err);
    if (status == STRATA_OK)
        differs = first_beyond(b, from, &test, &first, err, &status);
    if (status == STRATA_OK && !differs) { /* perhaps only while values share memory */
        status = side_passes(&b->test, b->plain, &g, err);
        if (status == STRATA_OK)
            status = side_run(&b->test, g, b->given, false, &as_run, err);
        if (status == STRATA_OK)
            differs = first_beyond(b, from, &as_run, &first, err, &status);
    }
    p->ref.pipeline = p->test.pipeline = "";
    if (differs && status == STRATA_OK) {
        snprintf(v->device, sizeof v->device, "%s", test.device);
        status = find_piece(b, from, first.node->name, p, v, err);
    }
    values_clear(&test);
    values_clear(&as_run);
    return status;
}

/* ---- Everything -------------------------------------------------------------------------------------------------- */

static bool same_pipeline(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

int bisect(const struct bisection *b, struct verdict *out)
{
    strata_error  err = { 0 };
    struct piece  p = { 0 };
    struct values from = { 0 };
    strata_status status = STRATA_OK;
    *out = (struct verdict){ .guilt = GUILTY_NOBODY };
    if (!same_pipeline(b->ref.pipeline, b->test.pipeline)) {
        status = judge_passes(b, &b->test, &p, &from, out, &err);
        if (status == STRATA_OK && out->guilt == GUILTY_NOBODY)
            status = judge_passes(b, &b->ref, &p, &from, out, &err);
    }
    if (status == STRATA_OK && out->guilt == GUILTY_NOBODY)
        status = judge_devices(b, &p, &from, out, &err);
    int code = status == STRATA_OK ? EXIT_DONE : talk_failure(STAGE_RUN, &err, NULL);
    if (!code && out->guilt != GUILTY_NOBODY)
        code = write_repro(b, &p, &from, out);
    strata_graph_destroy(p.graph);
    values_clear(&from);
    return code;
}
