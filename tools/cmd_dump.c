/* strata dump: the graph of a model, as built, after passes, or compiled. */
#include "command.h"
#include "files.h"
#include "model_options.h"
#include "talk.h"

#include <string.h>

struct dump {
    const struct options *o;
    FILE                 *to;
    int                   printed;
    bool                  all, last_changed;
};

static strata_status print(const struct dump *d, const strata_graph *g, strata_error *err)
{
    return strata_graph_print(g, (strata_dump_format)d->o->format, d->to, err);
}

/* With "all", each graph stands under a comment; in JSON, where there are none, they form an array. */
static void print_heading(const struct dump *d, const char *pass)
{
    switch ((strata_dump_format)d->o->format) {
    case STRATA_DUMP_TEXT: fprintf(d->to, "%s# after %s\n", d->printed ? "\n" : "", pass); break;
    case STRATA_DUMP_DOT: fprintf(d->to, "%s// after %s\n", d->printed ? "\n" : "", pass); break;
    case STRATA_DUMP_JSON:
        fprintf(d->to, "%s{\"after\": \"%s\", \"graph\":\n", d->printed ? ",\n" : "[\n", pass);
        break;
    }
}

static strata_status after_pass(void *user, const char *pass, const strata_graph *g, bool changed,
                                double milliseconds, strata_error *err)
{
    struct dump  *d = user;
    strata_status status = STRATA_OK;
    (void)milliseconds;
    if (d->all ? changed : strcmp(pass, d->o->after) == 0) {
        if (d->all)
            print_heading(d, pass);
        status = print(d, g, err);
        if (d->all && d->o->format == STRATA_DUMP_JSON)
            fputs("}", d->to);
        d->printed++;
        d->last_changed = changed;
    }
    return status;
}

static int dump_passes(const struct model *m, strata_graph *g, struct dump *d)
{
    strata_error err = { 0 };
    if (strata_graph_run_passes(g, m->pipeline, after_pass, d, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    if (d->all && d->o->format == STRATA_DUMP_JSON)
        fputs(d->printed ? "\n]\n" : "[]\n", d->to);
    if (d->all && !d->printed)
        talk_warning("no pass changed the graph");
    if (!d->all && !d->printed)
        return talk_error(EXIT_USAGE, "--after: the pass '%s' is not part of this pipeline: %s", d->o->after,
                          m->pipeline ? m->pipeline : strata_default_pipeline());
    if (!d->all && !d->last_changed)
        talk_line("note", "%s changed nothing here", d->o->after);
    return EXIT_DONE;
}

static int dump_plan(struct model *m, strata_graph **g, const struct dump *d)
{
    strata_program *program = NULL;
    strata_error    err = { 0 };
    int             code = model_compile(m, *g, &program);
    *g = NULL;
    if (code)
        return code;
    if (strata_program_print(program, d->to, &err) != STRATA_OK)
        code = talk_failure(STAGE_RUN, &err, NULL);
    strata_program_unref(program);
    return code;
}

static int check(const struct options *o)
{
    if (o->plan && o->after)
        return talk_error(
            EXIT_USAGE, "--plan shows the graph after all passes, --after an earlier one; give one of them");
    if (o->plan && o->format != STRATA_DUMP_TEXT)
        return talk_error(EXIT_USAGE, "--plan is text only");
    if (o->plan && !o->weights && !o->random_weights.given)
        return talk_error(
            EXIT_USAGE, "--plan packs the weights of each step; give --weights FILE, or --random-weights 1");
    return model_check_weights(o, false);
}

static int run(const struct options *o)
{
    struct outfile out = { 0 };
    struct model   m = { 0 };
    strata_graph  *g = NULL;
    struct dump    d = { .o = o, .all = o->after && strcmp(o->after, "all") == 0 };
    strata_error   err = { 0 };
    int            code = check(o);
    if (!code)
        code = model_open(o, o->args[0], &m);
    if (!code && o->after && !d.all)
        code = model_check_pass(m.ctx, "--after", o->after);
    if (!code)
        code = model_build(&m, o->batch, o->size[0], o->size[1], false, &g);
    if (!code)
        code = model_bind(&m, g);
    if (!code)
        code = outfile_open("--output", o->output, &out);
    d.to = out.stream;
    if (!code && o->plan)
        code = dump_plan(&m, &g, &d);
    else if (!code && o->after)
        code = dump_passes(&m, g, &d);
    else if (!code && print(&d, g, &err) != STRATA_OK)
        code = talk_failure(STAGE_FILES, &err, NULL);
    int closed = outfile_close(&out, code == EXIT_DONE);
    strata_graph_destroy(g);
    model_close(&m);
    return code ? code : closed;
}

const struct command command_dump = {
    .name = "dump",
    .summary = "the graph of a model, at any stage",
    .usage = "MODEL [options]",
    .about = "The graph, a line per value: '%name = op(operands) {attributes} : type'; as text, for\n"
             "Graphviz, or in JSON. Without weights, passes that compute with them show only the\n"
             "structure they make.",
    .examples = "  strata dump resnet50 --at stride:8\n"
                "  strata dump resnet18 --after fuse_act\n"
                "  strata dump repvgg_a0 --random-weights 1 --after all -o stages.txt\n"
                "  strata dump resnet18 --random-weights 1 --plan\n"
                "  strata dump resnet18 --format dot | dot -Tsvg -o resnet18.svg\n",
    .bit = FOR_DUMP,
    .min_args = 1,
    .max_args = 1,
    .args_rule = "takes one model",
    .run = run,
};
