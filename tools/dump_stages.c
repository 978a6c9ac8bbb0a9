/* dump_stages.c: what the passes make of a graph, one after the other. */
#include "dump.h"

#include "files.h"
#include "talk.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct stages {
    const struct options *o;
    FILE                 *to; /* NULL: a file per pass */
    int                   place, printed, code;
    bool                  all, last_changed;
};

/* An exit code on its way through the pass manager; it has been told about already. */
static strata_status pass_on(struct stages *s, int code)
{
    s->code = code;
    return code ? STRATA_IO : STRATA_OK;
}

static int finish(const struct stages *s, strata_status status, const strata_error *err)
{
    if (status == STRATA_OK)
        return EXIT_DONE;
    return s->code ? s->code : talk_failure(STAGE_RUN, err, NULL);
}

/* ---- A stream -------------------------------------------------------------------------------------------
 */

/* With "all", each graph stands under a comment; in JSON, where there are none, they form an array. */
static void print_heading(const struct stages *s, const char *pass)
{
    switch (s->o->format) {
    case FORM_TEXT: fprintf(s->to, "%s# after %s\n", s->printed ? "\n" : "", pass); break;
    case FORM_DOT: fprintf(s->to, "%s// after %s\n", s->printed ? "\n" : "", pass); break;
    case FORM_JSON:
        fprintf(s->to, "%s{\"after\": \"%s\", \"graph\":\n", s->printed ? ",\n" : "[\n", pass);
        break;
    default: break;
    }
}

static strata_status print_after(void *user, const char *pass, const strata_graph *g, bool changed,
                                 double milliseconds, strata_error *err)
{
    struct stages *s = user;
    (void)milliseconds, (void)err;
    if (s->all ? !changed : strcmp(pass, s->o->after) != 0)
        return STRATA_OK;
    if (s->all)
        print_heading(s, pass);
    int code = dump_graph(s->o, g, s->to);
    if (s->all && s->o->format == FORM_JSON)
        fputs("}", s->to);
    s->printed++;
    s->last_changed = changed;
    return pass_on(s, code);
}

int dump_stages(const struct model *m, strata_graph *g, FILE *to)
{
    const struct options *o = m->options;
    struct stages         s = { .o = o, .to = to, .all = strcmp(o->after, "all") == 0 };
    strata_error          err = { 0 };
    int code = finish(&s, strata_graph_run_passes(g, m->pipeline, print_after, &s, &err), &err);
    if (code)
        return code;
    if (s.all && o->format == FORM_JSON)
        fputs(s.printed ? "\n]\n" : "[]\n", to);
    if (s.all && !s.printed)
        talk_warning("no pass changed the graph");
    if (!s.all && !s.printed)
        return talk_error(EXIT_USAGE, "--after: the pass '%s' is not part of this pipeline: %s", o->after,
                          m->pipeline ? m->pipeline : strata_default_pipeline());
    if (!s.all && !s.last_changed)
        talk_line("note", "%s changed nothing here", o->after);
    return EXIT_DONE;
}

/* ---- A file per pass
 * ---------------------------------------------------------------------------------------- */

static int write_file(struct stages *s, const char *pass, const strata_graph *g)
{
    static const char *const endings[] = { "graph", "dot", "json", "svg", "png" };
    char                     path[4096];
    struct outfile           out;
    int                      length = (int)strlen(s->o->output);
    while (length > 1 && s->o->output[length - 1] == '/')
        length--;
    if (snprintf(path, sizeof path, "%.*s/%02d-%s.%s", length, s->o->output, s->place, pass,
                 endings[s->o->format]) >= (int)sizeof path)
        return talk_error(EXIT_FILES, "--output: the name of the folder is too long");
    int code = outfile_open("--output", path, &out);
    if (!code)
        code = dump_graph(s->o, g, out.stream);
    int closed = outfile_close(&out, code == EXIT_DONE);
    return code ? code : closed;
}

static strata_status write_after(void *user, const char *pass, const strata_graph *g, bool changed,
                                 double milliseconds, strata_error *err)
{
    struct stages *s = user;
    (void)err;
    s->place++;
    talk_line(changed ? "changed" : "same", "%02d %s  %.1f ms", s->place, pass, milliseconds);
    s->printed += changed;
    return changed ? pass_on(s, write_file(s, pass, g)) : STRATA_OK;
}

int dump_folder(const struct model *m, strata_graph *g)
{
    struct stages s = { .o = m->options, .all = true };
    strata_error  err = { 0 };
    if (mkdir(s.o->output, 0777) != 0 && errno != EEXIST)
        return talk_error(EXIT_FILES, "--output: folder '%s': %s", s.o->output, strerror(errno));
    int code = write_file(&s, "built", g);
    if (!code)
        code = finish(&s, strata_graph_run_passes(g, m->pipeline, write_after, &s, &err), &err);
    if (!code)
        talk_line("done", "%d graphs -> %s", s.printed + 1, s.o->output);
    return code;
}
