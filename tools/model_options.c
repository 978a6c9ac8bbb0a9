/* model_options.c: see the header. The steps are apart, not one strata_create_model, because the exit code of
 * a failure depends on the step. */
#include "model_options.h"

#include "files.h"
#include "talk.h"

#include <strata/extend.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Each path of `paths`, divided by ':'. */
static int load_plugins(strata_context *ctx, const char *paths)
{
    while (*(paths += strspn(paths, ":"))) {
        strata_error err = { 0 };
        size_t       length = strcspn(paths, ":");
        char        *path = strndup(paths, length);
        if (!path)
            return talk_error(EXIT_UNEXPECTED, "out of memory");
        strata_status status = strata_load_plugin(ctx, path, &err);
        free(path);
        if (status != STRATA_OK)
            return talk_failure(STAGE_FILES, &err, NULL);
        paths += length;
    }
    return EXIT_DONE;
}

int model_context(const struct options *o, strata_context **out)
{
    strata_error err = { 0 };
    *out = NULL;
    if (strata_context_create(out, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    strata_set_log(*out, talk_log, NULL);
    int code = o->plugin ? load_plugins(*out, o->plugin) : EXIT_DONE;
    if (code) {
        strata_context_destroy(*out);
        *out = NULL;
    }
    return code;
}

/* ---- Passes ---------------------------------------------------------------------------------- */

struct pass_names {
    const char *name[128];
    int         count;
};

static void collect_pass(void *user, const char *name, const char *doc)
{
    struct pass_names *passes = user;
    (void)doc;
    if (passes->count < 128)
        passes->name[passes->count++] = name;
}

int model_check_pass(const strata_context *ctx, const char *option, const char *name)
{
    struct pass_names passes = { .count = 0 };
    char              list[1024] = "", near[128];
    size_t            used = 0;
    strata_list_passes(ctx, collect_pass, &passes);
    for (int i = 0; i < passes.count; i++) {
        if (strcmp(passes.name[i], name) == 0)
            return EXIT_DONE;
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", passes.name[i]);
    }
    strata_nearest(name, passes.name, passes.count, 1, near, sizeof near);
    return talk_error(EXIT_USAGE, "%s: there is no pass '%s'; %s%s%sthere are: %s", option, name,
                      *near ? "did you mean " : "", near, *near ? "? " : "", list);
}

/* Each word of `text`, without its "=options" and a leading '-' or '+'. */
static int check_passes(const strata_context *ctx, const char *option, const char *text)
{
    while (*(text += strspn(text, " "))) {
        size_t word = strcspn(text, " "), dash = *text == '-' || *text == '+', name = strcspn(text + dash, " =");
        char   copy[64];
        snprintf(copy, sizeof copy, "%.*s", (int)name, text + dash);
        int code = model_check_pass(ctx, option, copy);
        if (code)
            return code;
        text += word;
    }
    return EXIT_DONE;
}

int model_check_pipeline(const struct model *m, const char *option, const char *pipeline)
{
    return check_passes(m->ctx, option, pipeline);
}

/* The pipeline, then " -name" for each pass to leave out. */
static int make_pipeline(struct model *m)
{
    const struct options *o = m->options;
    int                   code = o->pipeline ? check_passes(m->ctx, "--pipeline", o->pipeline) : EXIT_DONE;
    if (!code && o->no_pass)
        code = check_passes(m->ctx, "--no-pass", o->no_pass);
    if (code || (!o->pipeline && !o->no_pass))
        return code;

    const char *base = o->pipeline ? o->pipeline : strata_default_pipeline(),
               *word = o->no_pass ? o->no_pass : "";
    size_t      size = strlen(base) + 3 * strlen(word) + 1;
    char       *text = m->pipeline = malloc(size);
    if (!text)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    text += sprintf(text, "%s", base);
    while (*(word += strspn(word, " "))) {
        int length = (int)strcspn(word, " ");
        text += sprintf(text, " -%.*s", length, word);
        word += length;
    }
    return EXIT_DONE;
}

/* ---- Building -------------------------------------------------------------------------------- */

/* Whether an ONNX file that was read already is what is asked for; 0 fits everything. */
static bool fits(const strata_graph *g, int batch, int height, int width)
{
    const int64_t *dim = strata_graph_input(g, 0).desc->dim;
    return (!batch || batch == dim[0]) && (!height || height == dim[2]) && (!width || width == dim[3]);
}

static int parse_graph(const struct model *m, int batch, int height, int width, strata_graph **out)
{
    const strata_onnx_import how = { batch, height, width, m->partial };
    strata_error  err = { 0 };
    strata_status status = STRATA_OK;
    *out = NULL;
    if (m->opened && *m->opened && fits(*m->opened, batch, height, width)) {
        *out = *m->opened;
        *m->opened = NULL;
    } else if (m->graph_text)
        status = strata_graph_parse(m->ctx, m->graph_path, m->graph_text, m->graph_size, out, &err);
    else
        status = strata_graph_import_onnx(m->ctx, m->graph_path, &how, out, &err);
    if (status != STRATA_OK)
        return talk_failure(STAGE_FILES, &err, NULL);
    const int inputs = strata_graph_input_count(*out);
    if (m->any_inputs ? inputs > 0 : inputs == 1 && strata_graph_input(*out, 0).desc->rank == 4)
        return EXIT_DONE;
    strata_graph_destroy(*out);
    *out = NULL;
    return talk_error(EXIT_FILES, "'%s': the graph needs %s", m->graph_path,
                      m->any_inputs ? "an input" : "exactly one input, of shape [N,C,H,W]");
}

/* Reads the file and learns from a first graph what a registered model would tell. The name is borrowed from
 * the options, for the graph does not live long. */
static int open_graph_file(struct model *m, const char *path)
{
    strata_graph *g = NULL;
    FILE         *from = fopen(path, "rb");
    int           code = EXIT_DONE;
    if (!from)
        return talk_error(EXIT_FILES, "graph file '%s': %s", path, strerror(errno));
    if (!has_suffix(path, ".onnx"))
        code = read_stream(from, path, &m->graph_text, &m->graph_size);
    fclose(from);
    m->graph_path = path;
    m->partial = m->options->at || m->options->out_indices;
    if (!code)
        code = parse_graph(m, m->options->batch, m->options->size[0], m->options->size[1], &g);
    if (code)
        return code;
    m->graph_batch = (int)strata_graph_input(g, 0).desc->dim[0];
    m->info = (strata_model_info){ .name = path,
                                   .family = "graph file",
                                   .input = *strata_graph_input_record(g),
                                   .has_features = strata_graph_feature_count(g) > 0 };
    m->opened = m->graph_text ? NULL : malloc(sizeof(*m->opened));
    if (m->opened)
        *m->opened = g;
    else
        strata_graph_destroy(g);
    return EXIT_DONE;
}

static int open_model(const struct options *o, const char *name, bool any_inputs, struct model *out)
{
    strata_error err = { 0 };
    *out = (struct model){ .options = o, .any_inputs = any_inputs };
    int code = model_context(o, &out->ctx);
    if (code)
        return code;
    if (strchr(name, '/') || has_suffix(name, ".graph") || has_suffix(name, ".onnx"))
        code = open_graph_file(out, name);
    else if (strata_find_model(out->ctx, name, &out->info, &err) != STRATA_OK)
        code = talk_failure(STAGE_MODEL, &err, NULL);
    return code ? code : make_pipeline(out);
}

int model_open(const struct options *o, const char *name, struct model *out) { return open_model(o, name, false, out); }

int model_open_any(const struct options *o, const char *name, struct model *out) { return open_model(o, name, true, out); }

void model_close(struct model *m)
{
    strata_weights_destroy(m->weights);
    if (m->opened)
        strata_graph_destroy(*m->opened);
    free(m->opened);
    strata_context_destroy(m->ctx);
    free(m->pipeline);
    free(m->graph_text);
    *m = (struct model){ 0 };
}

/* --out-indices takes what MindCV takes: whole numbers, negative ones counted from the end. */
static int check_indices(const char *text)
{
    if (text[strspn(text, "0123456789-,")] != '\0')
        return talk_error(EXIT_USAGE,
                          "--out-indices: '%s' is no list of numbers such as 1,2,3; --at takes names too",
                          text);
    return EXIT_DONE;
}

/* Shapes are part of a graph file. */
static int build_from_file(const struct model *m, int batch, int height, int width, strata_graph **out)
{
    const struct options *o = m->options;
    if (o->num_classes || o->in_channels)
        return talk_error(EXIT_USAGE,
                          "%s: a graph file has its shapes; leave out --num-classes and --in-channels",
                          m->graph_path);
    int code = parse_graph(m, batch, height, width, out);
    if (code || fits(*out, batch, height, width))
        return code;
    const int64_t *dim = strata_graph_input(*out, 0).desc->dim;
    code =
        talk_error(EXIT_USAGE, "%s: the graph is for %lld inputs of %lldx%lld at once, not %d of %dx%d",
                   m->graph_path, (long long)dim[0], (long long)dim[2], (long long)dim[3],
                   batch ? batch : (int)dim[0], height ? height : (int)dim[2], width ? width : (int)dim[3]);
    strata_graph_destroy(*out);
    *out = NULL;
    return code;
}

static int build_by_name(const struct model *m, int batch, int height, int width, strata_graph **out)
{
    strata_create_options create = {
        .batch = batch,
        .height = height,
        .width = width,
        .in_channels = m->options->in_channels,
        .num_classes = m->options->num_classes,
        .features_only = m->info.has_features,
    };
    strata_error err = { 0 };
    if (strata_create_model(m->ctx, m->info.name, &create, out, &err) != STRATA_OK)
        return talk_failure(STAGE_MODEL, &err, NULL);
    return EXIT_DONE;
}

int model_build(const struct model *m, int batch, int height, int width, bool whole, strata_graph **out)
{
    const struct options *o = m->options;
    const char           *selectors = o->at ? o->at : o->out_indices;
    strata_error          err = { 0 };
    if (o->out_indices && check_indices(o->out_indices))
        return EXIT_USAGE;

    int code = m->graph_path ? build_from_file(m, batch, height, width, out)
                             : build_by_name(m, batch, height, width, out);
    if (code)
        return code;
    if (!selectors && whole) /* a graph without a classifier stays as it is */
        (void)strata_graph_select(*out, "logits", NULL);
    if (!selectors || strata_graph_select(*out, selectors, &err) == STRATA_OK)
        return EXIT_DONE;
    strata_graph_destroy(*out);
    *out = NULL;
    return talk_failure(STAGE_SELECT, &err, NULL);
}

/* Through the text form, which says everything about the structure. */
int model_copy_graph(const struct model *m, const strata_graph *g, strata_graph **out)
{
    strata_error err = { 0 };
    char        *text = NULL;
    size_t       size = 0;
    FILE        *to = open_memstream(&text, &size);
    int          code = EXIT_DONE;
    if (!to)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    bool printed = strata_graph_print(g, STRATA_DUMP_TEXT, to, &err) == STRATA_OK;
    fclose(to);
    if (!printed || strata_graph_parse(m->ctx, strata_graph_name(g), text, size, out, &err) != STRATA_OK)
        code = talk_failure(STAGE_RUN, &err, NULL);
    free(text);
    return code;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

int model_load_image(const struct model *m, const char *option, const char *path, const strata_graph *g,
                     strata_tensor *into, strata_image **pixels)
{
    const struct options     *o = m->options;
    const strata_tensor_desc *desc = strata_tensor_get_desc(into);
    strata_input_record       record = *strata_graph_input_record(g);
    strata_image             *photo = NULL, *seen = NULL;
    strata_error              err = { 0 };
    int                       code = EXIT_DONE;
    record.channels = (int)desc->dim[1];
    record.height = (int)desc->dim[2];
    record.width = (int)desc->dim[3];
    if (record.crop_pct <= 0)
        return talk_error(EXIT_USAGE, "%s: the graph does not say what images it wants (no 'image' line)", option);
    if (strata_image_load(path, o->exif == EXIF_IGNORE, &photo, &err) != STRATA_OK ||
        strata_image_preprocess(photo, &record, (strata_flavour)o->preprocess, &seen, &err) != STRATA_OK)
        code = talk_failure(STAGE_FILES, &err, NULL);
    strata_image_destroy(photo);
    if (code)
        return code;
    float *x = strata_tensor_data(into);
    size_t row = (size_t)(strata_count(desc) / desc->dim[0]);
    strata_image_normalize(seen, &record, x);
    for (int64_t i = 1; i < desc->dim[0]; i++)
        memcpy(x + (size_t)i * row, x, row * sizeof *x);
    if (pixels)
        *pixels = seen;
    else
        strata_image_destroy(seen);
    return EXIT_DONE;
}

/* ---- Weights --------------------------------------------------------------------------------- */

int model_check_weights(const struct options *o, bool required)
{
    if (o->weights && o->random_weights.given)
        return talk_error(EXIT_USAGE, "--weights and --random-weights exclude each other; give one of them");
    const bool own = o->arg_count > 0 && has_suffix(o->args[0], ".onnx"); /* the model brings them */
    if (required && !own && !o->weights && !o->random_weights.given)
        return talk_error(EXIT_USAGE,
                          "no weights; give --weights FILE, or --random-weights 1 to try things out");
    const char *alone = o->auto_map   ? "--auto-map"
                        : o->map      ? "--map"
                        : o->save_map ? "--save-map"
                        : o->ema      ? "--ema"
                                      : NULL;
    if (alone && !o->weights)
        return talk_error(EXIT_USAGE, "%s belongs to --weights FILE, which is missing", alone);
    if (o->auto_map && o->map)
        return talk_error(EXIT_USAGE, "--auto-map finds a map, --map brings one; give one of them");
    if (o->save_map)
        return talk_check_target("--save-map", o->save_map);
    return EXIT_DONE;
}

static void tell_binding(const struct model *m, const strata_bind_report *report)
{
    const char *path = m->options->weights;
    int         exact = strata_bind_report_count(report, STRATA_BIND_EXACT);
    int         mapped = strata_bind_report_count(report, STRATA_BIND_MAPPED);
    talk_line("weights", "%s  %s, %d entries", path, strata_weights_format(m->weights),
              strata_weights_count(m->weights));
    talk_line("  bound",
              "%d of %d needed (%d not needed by these outputs, %d unexpected, %d skipped by rule)",
              exact + mapped, exact + mapped, strata_bind_report_count(report, STRATA_BIND_NOT_NEEDED),
              strata_bind_report_count(report, STRATA_BIND_UNEXPECTED),
              strata_bind_report_count(report, STRATA_BIND_SKIPPED));
    if (mapped)
        talk_line("  mapped", "%d names %s", mapped,
                  m->options->map ? "by the saved map" : "by role, shape and place");
}

/* What to try when a checkpoint does not fit. */
static const char *weights_advice(const struct options *o, const strata_bind_report *report)
{
    if (strata_bind_report_count(report, STRATA_BIND_SHAPE) && !o->num_classes)
        return "a classifier or first layer of another width needs --num-classes or --in-channels";
    if (strata_bind_report_count(report, STRATA_BIND_AMBIGUOUS))
        return "say which is meant in a file of lines 'parameter<TAB>tensor' and give it as --map FILE";
    if (strata_bind_report_count(report, STRATA_BIND_MISSING) && !o->auto_map && !o->map)
        return "if the names are those of another framework, try --auto-map";
    return "'strata weights FILE' lists what the file holds";
}

static int bind_file(struct model *m, strata_graph *g)
{
    const struct options *o = m->options;
    strata_error          err = { 0 };
    if (!m->weights && strata_weights_load(m->ctx, o->weights, &m->weights, &err) != STRATA_OK)
        return talk_failure(STAGE_WEIGHTS, &err, NULL);

    const strata_bind_options how = { .auto_map = o->auto_map, .ema = o->ema, .map_path = o->map };
    strata_bind_report       *report = NULL;
    int                       code = EXIT_DONE;
    if (strata_graph_bind(g, m->weights, &how, &report, &err) != STRATA_OK) {
        if (report && !talk_is_quiet())
            strata_bind_report_print(report, stderr);
        code = talk_failure(STAGE_WEIGHTS, &err, report ? weights_advice(o, report) : NULL);
    } else if (!m->bound) {
        tell_binding(m, report);
        if (o->save_map && strata_bind_report_save(report, o->save_map, &err) != STRATA_OK)
            code = talk_failure(STAGE_FILES, &err, NULL);
    }
    strata_bind_report_destroy(report);
    return code;
}

int model_bind(struct model *m, strata_graph *g)
{
    const struct seed *seed = &m->options->random_weights;
    int                code = EXIT_DONE;
    if (m->options->weights) {
        code = bind_file(m, g);
    } else if (seed->given) {
        strata_error err = { 0 };
        if (strata_graph_bind_random(g, seed->value, seed->gain, &err) != STRATA_OK)
            return talk_failure(STAGE_WEIGHTS, &err, NULL);
        if (!m->bound)
            talk_line("weights", "random, seed %llu, gain %g: numbers without meaning",
                      (unsigned long long)seed->value, seed->gain);
    }
    if (!code)
        m->bound = true;
    return code;
}

/* ---- Devices --------------------------------------------------------------------------------- */

strata_status model_try_compile(const struct model *m, strata_graph *g, bool fall_back, strata_program **out, strata_error *err)
{
    const struct options        *o = m->options;
    const strata_program_options how = { .device = o->device ? o->device : "auto", .strict_device = o->strict_device,
                                         .threads = o->threads, .exact = o->exact, .pipeline = m->pipeline,
                                         .precision = (strata_dtype)o->precision,
                                         .fallback_cpu = fall_back && o->fallback == FALLBACK_CPU };
    return strata_program_create(g, &how, out, err);
}

int model_device_failure(const strata_error *err)
{
    return talk_failure(STAGE_DEVICE, err, strstr(err->text, "strata devices") ? NULL : "'strata devices' lists what can be used");
}

int model_compile(const struct model *m, strata_graph *g, strata_program **out)
{
    strata_error err = { 0 };
    return model_try_compile(m, g, true, out, &err) == STRATA_OK ? EXIT_DONE : model_device_failure(&err);
}

const char *model_plan(const strata_program_info *info, char *buf, size_t size)
{
    char peak[32], weights[32], arena[32], tensors[32], pieces[48] = "";
    if (info->pieces > 1)
        snprintf(pieces, sizeof pieces, " for each of %d pieces", info->pieces);
    snprintf(buf, size, "%d steps%s, peak %s: %s of weights, %s of activations, %s of inputs and outputs", info->steps, pieces,
             talk_bytes((double)info->peak_bytes, peak, sizeof peak),
             talk_bytes((double)info->weight_bytes, weights, sizeof weights),
             talk_bytes((double)info->arena_bytes, arena, sizeof arena),
             talk_bytes((double)info->tensor_bytes, tensors, sizeof tensors));
    return buf;
}

const char *model_device_name(const strata_device_info *info, char *buf, size_t size)
{
    if (strcmp(info->backend, "cpu") == 0)
        snprintf(buf, size, "cpu");
    else
        snprintf(buf, size, "%s:%d", info->backend, info->index);
    return buf;
}
