/* strata dump: the graph of a model, as built, after passes, or compiled; and what differs between two. */
#include "command.h"
#include "dump.h"
#include "files.h"
#include "graphviz.h"
#include "talk.h"

#include <string.h>
#include <sys/stat.h>

int dump_graph(const struct options *o, const strata_graph *g, FILE *to)
{
    strata_error err = { 0 };
    if (o->format == FORM_SVG || o->format == FORM_PNG)
        return graphviz_draw(g, o->format == FORM_SVG ? "svg" : "png", to);
    if (strata_graph_print(g, (strata_dump_format)o->format, to, &err) != STRATA_OK)
        return talk_failure(STAGE_FILES, &err, NULL);
    return EXIT_DONE;
}

/* Takes the graph. Text shows what only the program knows, too; the other forms what its graph holds. */
static int dump_plan(const struct model *m, strata_graph *g, FILE *to)
{
    strata_program *program = NULL;
    strata_error    err = { 0 };
    int             code = model_compile(m, g, &program);
    if (code)
        return code;
    if (m->options->format != FORM_TEXT)
        code = dump_graph(m->options, strata_program_graph(program), to);
    else if (strata_program_print(program, to, &err) != STRATA_OK)
        code = talk_failure(STAGE_RUN, &err, NULL);
    strata_program_info info;
    char                text[256];
    strata_program_get_info(program, &info);
    talk_line("plan", "%s", model_plan(&info, text, sizeof text));
    strata_program_unref(program);
    return code;
}

/* ---- What is asked for ----------------------------------------------------------------------------------
 */

static bool all_stages(const struct options *o)
{
    return o->after && strcmp(o->after, "all") == 0;
}

/* "-o DIR/", or a folder that is there. */
static bool to_folder(const struct options *o)
{
    struct stat st;
    size_t      length = o->output ? strlen(o->output) : 0;
    return all_stages(o) && length > 0 &&
           (o->output[length - 1] == '/' || (stat(o->output, &st) == 0 && S_ISDIR(st.st_mode)));
}

static int check_diff(const struct options *o)
{
    if (!o->diff[0] && o->exit_code)
        return talk_error(EXIT_USAGE, "--exit-code belongs to --diff A B, which is missing");
    if (!o->diff[0])
        return EXIT_DONE;
    if (o->plan || o->format != FORM_TEXT)
        return talk_error(EXIT_USAGE, "--diff prints lines of text; leave out %s",
                          o->plan ? "--plan" : "--format");
    if (o->arg_count == 1 && o->after)
        return talk_error(EXIT_USAGE, "--diff names two stages of a model; leave out --after");
    if (all_stages(o))
        return talk_error(EXIT_USAGE, "--diff compares two graphs; --after needs the name of a pass");
    return EXIT_DONE;
}

static int check(const struct options *o)
{
    if (o->arg_count == 0 && !o->diff[0])
        return talk_error(EXIT_USAGE, "dump: takes one model, or --diff with two; usage: strata dump %s",
                          command_dump.usage);
    if (o->plan && o->after)
        return talk_error(
            EXIT_USAGE, "--plan shows the graph after all passes, --after an earlier one; give one of them");
    if (o->plan && !o->weights && !o->random_weights.given)
        return talk_error(
            EXIT_USAGE, "--plan packs the weights of each step; give --weights FILE, or --random-weights 1");
    if (all_stages(o) && !to_folder(o) && (o->format == FORM_SVG || o->format == FORM_PNG))
        return talk_error(EXIT_USAGE, "--after all draws many pictures; name a folder for them: -o DIR/");
    int code = check_diff(o);
    return code ? code : model_check_weights(o, false);
}

static int dump_model(const struct options *o, FILE *to)
{
    struct model  m = { 0 };
    strata_graph *g = NULL;
    int           code = model_open(o, o->args[0], &m);
    if (!code && o->after && !all_stages(o))
        code = model_check_pass(m.ctx, "--after", o->after);
    if (!code)
        code = model_build(&m, o->batch, o->size[0], o->size[1], false, &g);
    if (!code)
        code = model_bind(&m, g);
    if (!code && o->plan) {
        code = dump_plan(&m, g, to);
        g = NULL;
    } else if (!code) {
        code = to_folder(o) ? dump_folder(&m, g) : o->after ? dump_stages(&m, g, to) : dump_graph(o, g, to);
    }
    strata_graph_destroy(g);
    model_close(&m);
    return code;
}

static int run(const struct options *o)
{
    struct outfile out = { 0 };
    int            code = check(o);
    if (!code && !to_folder(o))
        code = outfile_open("--output", o->output, &out);
    if (!code)
        code = o->diff[0] ? dump_diff(o, out.stream) : dump_model(o, out.stream);
    int closed = outfile_close(&out, code == EXIT_DONE || (code == EXIT_UNEXPECTED && o->exit_code));
    return code ? code : closed;
}

const struct command command_dump = {
    .name = "dump",
    .summary = "the graph of a model, at any stage",
    .usage = "MODEL [options] | --diff A B",
    .about =
        "The graph, a line per value: '%name = op(operands) {attributes} : type'. Text form, JSON (docs/json.md),\n"
        "or a drawing. Without weights, passes that compute with them show only the structure they make.\n\n"
        "--diff prints what differs, by name of value: '-' removed, '+' added, '~' changed, a line each.",
    .examples = "  strata dump resnet50 --at stride:8\n"
                "  strata dump resnet18 --after fuse_act\n"
                "  strata dump repvgg_a0 --random-weights 1 --after all -o stages/\n"
                "  strata dump resnet18 --random-weights 1 --diff built fold_bn\n"
                "  strata dump --diff resnet18 mine.graph\n"
                "  strata dump resnet18 --random-weights 1 --plan\n"
                "  strata dump resnet18 --format svg -o resnet18.svg\n",
    .bit = FOR_DUMP,
    .min_args = 0,
    .max_args = 1,
    .args_rule = "takes one model",
    .run = run,
};
