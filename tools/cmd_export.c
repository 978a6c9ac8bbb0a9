/* strata export: the graph of a model with its weights as an ONNX file. Other tools want to see the network that
 * was trained, so the default is the graph as built; --after gives what our passes make of it. */
#include "command.h"
#include "model_options.h"
#include "talk.h"

#include <string.h>
#include <sys/stat.h>

struct export {
    const struct options *o;
    bool                  written;
};

static strata_status write_onnx(const struct options *o, const strata_graph *g, strata_error *err)
{
    const strata_onnx_options how = { .dynamic_batch = o->dynamic_batch, .external_above = o->external_data ? 1 : 0 };
    return strata_graph_export_onnx(g, &how, o->output, err);
}

static strata_status after_pass(void *user, const char *pass, const strata_graph *g, bool changed, double milliseconds,
                                strata_error *err)
{
    struct export *e = user;
    (void)changed, (void)milliseconds;
    if (e->written || strcmp(pass, e->o->after) != 0)
        return STRATA_OK;
    e->written = true;
    return write_onnx(e->o, g, err);
}

static int export_graph(const struct model *m, strata_graph *g)
{
    const struct options *o = m->options;
    struct export         e = { .o = o };
    strata_error          err = { 0 };
    const bool            one = o->after && strcmp(o->after, "all") != 0;
    strata_status         status = STRATA_OK;
    if (o->after)
        status = strata_graph_run_passes(g, m->pipeline, one ? after_pass : NULL, &e, &err);
    if (status == STRATA_OK && one && !e.written)
        return talk_error(EXIT_USAGE, "--after: the pass '%s' is not part of this pipeline: %s", o->after,
                          m->pipeline ? m->pipeline : strata_default_pipeline());
    if (status == STRATA_OK && !e.written)
        status = write_onnx(o, g, &err);
    return status == STRATA_OK ? EXIT_DONE : talk_failure(STAGE_FILES, &err, NULL);
}

static int check(const struct options *o)
{
    if (!o->output)
        return talk_error(EXIT_USAGE, "no output; give -o MODEL.onnx");
    if (o->dynamic_batch && o->batch)
        return talk_error(EXIT_USAGE, "--batch %d fixes the batch, --dynamic-batch leaves it open; give one of them",
                          o->batch);
    if (!o->after && (o->pipeline || o->no_pass))
        return talk_error(EXIT_USAGE, "%s: the graph is written as built; give --after all to run passes",
                          o->pipeline ? "--pipeline" : "--no-pass");
    int code = model_check_weights(o, true);
    return code ? code : talk_check_target("--output", o->output);
}

static void tell(const struct options *o, const strata_graph *g)
{
    struct stat st;
    char        size[32];
    for (int i = 0; i < strata_graph_output_count(g); i++) {
        strata_output out = strata_graph_output(g, i);
        char          shape[128];
        talk_line(i ? "" : "outputs", "%s  %s", out.name, strata_shape_text(out.desc, shape, sizeof shape));
    }
    if (stat(o->output, &st) == 0)
        talk_line("wrote", "%s  %s%s", o->output, talk_bytes((double)st.st_size, size, sizeof size),
                  o->external_data ? ", weights beside it" : "");
}

static int run(const struct options *o)
{
    struct model  m = { 0 };
    strata_graph *g = NULL;
    int           code = check(o);
    if (!code)
        code = model_open(o, o->args[0], &m);
    if (!code && o->after && strcmp(o->after, "all") != 0)
        code = model_check_pass(m.ctx, "--after", o->after);
    if (!code)
        code = model_build(&m, o->batch, o->size[0], o->size[1], false, &g);
    if (!code)
        code = model_bind(&m, g);
    if (!code)
        code = export_graph(&m, g);
    if (!code)
        tell(o, g);
    strata_graph_destroy(g);
    model_close(&m);
    return code;
}

const struct command command_export = {
    .name = "export",
    .summary = "a model with its weights as an ONNX file",
    .usage = "MODEL -o M.onnx [options]",
    .about = "Writes the graph with its weights as ONNX, opset 17. Values keep their names, outputs are named as\n"
             "extract names them. The graph is the one of the model; --after all gives the one that runs.",
    .examples = "  strata export resnet50 --weights resnet50.ckpt -o resnet50.onnx\n"
                "  strata export resnet50 --weights resnet50.ckpt --at logits --dynamic-batch -o resnet50.onnx\n"
                "  strata export repvgg_a0 --random-weights 1 --after all -o repvgg_a0.onnx\n",
    .bit = FOR_EXPORT,
    .min_args = 1,
    .max_args = 1,
    .args_rule = "takes one model",
    .run = run,
};
