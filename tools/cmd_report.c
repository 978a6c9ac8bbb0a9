/* strata report: everything there is to know about a model on one page that needs nothing else. */
#include "command.h"
#include "files.h"
#include "model_options.h"
#include "report.h"
#include "talk.h"

#include <stdlib.h>
#include <string.h>

static int check(const struct options *o)
{
    if (!o->output)
        return talk_error(EXIT_USAGE, "no output; give -o NAME.html");
    int code = model_check_weights(o, false);
    if (!code && o->image && !o->weights && !o->random_weights.given)
        code = talk_error(
            EXIT_USAGE,
            "--image runs the model; give --weights FILE, or --random-weights 1 to try things out");
    return code ? code : talk_check_target("--output", o->output);
}

static const char *weights_name(const struct options *o, char *buf, size_t size)
{
    if (o->weights)
        snprintf(buf, size, "%s", o->weights);
    else if (o->random_weights.given)
        snprintf(buf, size, "random, seed %llu", (unsigned long long)o->random_weights.value);
    else
        snprintf(buf, size, "none");
    return buf;
}

static json_t *describe_model(const struct model *m)
{
    char weights[512];
    return json_pack("{s:s, s:o, s:s, s:s, s:o, s:s}", "strata", strata_version(), "model",
                     talk_json_text(m->info.name), "family", m->info.family, "doc",
                     m->info.doc ? m->info.doc : "", "weights",
                     talk_json_text(weights_name(m->options, weights, sizeof weights)), "preprocess",
                     m->options->preprocess == STRATA_PREPROCESS_PILLOW ? "pillow" : "mindcv");
}

static int put_graph(json_t *data, const char *key, const strata_graph *g)
{
    json_t *found = NULL;
    int     code = report_graph(g, &found);
    json_object_set_new(data, key, found ? found : json_null());
    return code;
}

/* What a program is needed for. Takes the graph. */
static int run_model(const struct model *m, strata_graph *g, json_t *data)
{
    const struct options *o = m->options;
    struct report_run     r = { .program = NULL };
    json_t               *image = NULL;
    int                   code = run_start(&r, m, g);
    if (!code)
        code = run_measure(&r, o, data);
    if (!code)
        code = put_graph(data, "final", strata_program_graph(r.program));
    if (!code && r.pixels)
        code = report_maps(&r, o->image, &image);
    if (image)
        json_object_set_new(data, "image", image);
    run_free(&r);
    return code;
}

/* Takes the graph. */
static int collect(const struct model *m, strata_graph *g, json_t *data)
{
    const struct options *o = m->options;
    json_t               *passes = NULL;
    int                   code = put_graph(data, "built", g);
    if (!code)
        code = report_passes(m, g, &passes);
    json_object_set_new(data, "passes", passes ? passes : json_null());
    if (!code && (o->weights || o->random_weights.given))
        return run_model(m, g, data);
    if (!code)
        code = put_graph(data, "final", g);
    strata_graph_destroy(g);
    if (!code)
        talk_line("note", "no weights: the page has structure, no times and no pictures");
    return code;
}

static int write_page(const struct options *o, json_t *data)
{
    struct outfile out;
    int            code = outfile_open("--output", o->output, &out);
    if (!code)
        code = report_page(data, out.stream);
    int closed = outfile_close(&out, code == EXIT_DONE);
    code = code ? code : closed;
    if (!code)
        talk_line("done", "%zu values, %zu passes -> %s",
                  json_array_size(json_object_get(json_object_get(data, "built"), "nodes")),
                  json_array_size(json_object_get(data, "passes")) - 1, o->output);
    return code;
}

static int run(const struct options *o)
{
    struct model  m = { 0 };
    strata_graph *g = NULL;
    json_t       *data = NULL;
    int           code = check(o);
    if (!code)
        code = model_open(o, o->args[0], &m);
    if (!code)
        code = model_build(&m, o->batch, o->size[0], o->size[1], false, &g);
    if (!code)
        code = model_bind(&m, g);
    if (!code) {
        data = describe_model(&m);
        code = collect(&m, g, data);
        g = NULL;
    }
    if (!code)
        code = write_page(o, data);
    json_decref(data);
    strata_graph_destroy(g);
    model_close(&m);
    return code;
}

const struct command command_report = {
    .name = "report",
    .summary = "a model on one HTML page",
    .usage = "MODEL -o FILE.html [options]",
    .about = "One page that opens from disk and needs no network: modules, the graph as built and as it\n"
             "runs, features with receptive fields, what each pass did, kernels, measured times; with\n"
             "--image what each feature makes of it. Without weights: what can be said without running.\n"
             "The data is one block of JSON in the page; docs/json.md describes it.",
    .examples = "  strata report resnet50 --random-weights 1 -o resnet50.html\n"
                "  strata report resnet50 --weights resnet50.ckpt --image cat.jpg -o resnet50.html\n"
                "  strata report mine.graph -o mine.html\n",
    .bit = FOR_REPORT,
    .min_args = 1,
    .max_args = 1,
    .args_rule = "takes one model",
    .run = run,
};
