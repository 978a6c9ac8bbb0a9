/* strata extract: features of images, as arrays. The main job.
 *
 * Everything that can be wrong with what was asked is found before the first image is read: options, model,
 * selectors, inputs, the places to write, weights, device. */
#include "command.h"
#include "extract.h"
#include "files.h"
#include "talk.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Set by SIGINT and its like: the run ends after the image at hand and leaves nothing behind. */
static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

static void catch_signals(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    for (int i = 0; i < 3; i++) {
        struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
        struct sigaction before;
        sigemptyset(&action.sa_mask);
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

static int check_output(const struct options *o)
{
    if (!o->output)
        return talk_error(EXIT_USAGE, "no output; give -o NAME.npz or -o NAME.safetensors");
    int code = talk_check_target("--output", o->output);
    if (code)
        return code;
    if (!has_suffix(o->output, ".npz") && !has_suffix(o->output, ".safetensors"))
        return talk_error(EXIT_USAGE, "--output: '%s' ends neither in .npz nor in .safetensors", o->output);
    if (o->picture && !has_suffix(o->picture, ".png"))
        return talk_error(EXIT_USAGE, "--picture: '%s' does not end in .png", o->picture);
    if (o->dump_input && !has_suffix(o->dump_input, ".npy"))
        return talk_error(EXIT_USAGE, "--dump-input: '%s' does not end in .npy", o->dump_input);
    if (o->picture)
        code = talk_check_target("--picture", o->picture);
    if (!code && o->dump_input)
        code = talk_check_target("--dump-input", o->dump_input);
    return code;
}

/* The size to start with: that of the first input when it is a tensor. One that cannot be read is rejected
 * when its turn comes. */
static void first_size(const struct options *o, const struct inputs *in, int size[2])
{
    strata_tensor *t = NULL;
    strata_error   err;
    size[0] = o->size[0];
    size[1] = o->size[1];
    if (!has_suffix(in->path[0], ".npy") || strata_npy_read(in->path[0], &t, &err) != STRATA_OK)
        return;
    const strata_tensor_desc *desc = strata_tensor_get_desc(t);
    if (desc->rank >= 3 && desc->dim[desc->rank - 1] <= INT32_MAX && desc->dim[desc->rank - 2] <= INT32_MAX) {
        size[0] = (int)desc->dim[desc->rank - 2];
        size[1] = (int)desc->dim[desc->rank - 1];
    }
    strata_tensor_unref(t);
}

static bool has_map(const strata_graph *g)
{
    for (int i = 0; i < strata_graph_output_count(g); i++)
        if (strata_graph_output(g, i).desc->rank == 4)
            return true;
    return false;
}

/* ---- Transcript ------------------------------------------------------------------------------ */

static void tell_model(const struct model *m, const strata_graph *g)
{
    char   names[512] = "", shape[96];
    size_t used = 0;
    for (int i = 0; i < strata_graph_output_count(g) && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, " %s", strata_graph_output(g, i).name);
    talk_line("model", "%s  input %s ->%s", m->info.name,
              strata_shape_text(strata_graph_input(g, 0).desc, shape, sizeof shape), names);
}

static void tell_inputs(const struct options *o, const struct inputs *in)
{
    talk_line("inputs", "%d, preprocessed as %s", in->count,
              o->preprocess == STRATA_PREPROCESS_PILLOW ? "timm and torchvision (pillow)"
                                                        : "MindCV (mindcv)");
    if (in->ignored)
        talk_line("", "%d files of these folders do not look like images and are left out", in->ignored);
}

static void tell_program(const strata_program *program, int batch)
{
    strata_program_info info;
    char                text[256];
    strata_program_get_info(program, &info);
    talk_line("device", "%s, %d threads", info.device, info.threads);
    talk_line("plan", "batch %d, %s", batch, model_plan(&info, text, sizeof text));
    if (info.fallback_steps)
        talk_warning("%d steps run on the CPU for want of a kernel; --strict-device makes that an error",
                     info.fallback_steps);
}

/* ---- The job --------------------------------------------------------------------------------- */

/* The graph that decides: it tells whether the selectors fit, and becomes the first program. */
static int set_up(struct pump *p, struct model *m, const struct inputs *in)
{
    const struct options *o = m->options;
    strata_graph         *g = NULL;
    strata_error          err = { 0 };
    int                   size[2];
    first_size(o, in, size);
    int code = model_build(m, p->sizes.batch, size[0], size[1], false, &g);
    if (code)
        return code;

    const strata_tensor_desc input = *strata_graph_input(g, 0).desc;
    p->sides.record = *strata_graph_input_record(g);
    p->sides.record.channels = (int)input.dim[1];
    /* Of images; a tensor has its own size. */
    p->sides.record.height = o->size[0] ? o->size[0] : m->info.input.height;
    p->sides.record.width = o->size[1] ? o->size[1] : m->info.input.width;
    tell_model(m, g);
    if (o->picture && !has_map(g)) {
        strata_graph_destroy(g);
        return talk_error(EXIT_USAGE,
                          "--picture draws feature maps, and these outputs have none; add one with --at");
    }
    if (strata_writer_create(o->output, o->dtype ? STRATA_F16 : STRATA_F32, &p->writer, &err) != STRATA_OK) {
        strata_graph_destroy(g);
        return talk_failure(STAGE_FILES, &err, NULL);
    }
    code = sizes_get(&p->sizes, input.dim[2], input.dim[3], g, &p->current);
    if (!code)
        tell_program(p->current->program, p->current->batch);
    return code;
}

static int load_and_run(struct pump *p, const struct model *m, const struct inputs *in)
{
    const struct options       *o = m->options;
    const strata_loader_options how = { .record = p->sides.record, .flavour = (strata_flavour)o->preprocess,
                                        .ignore_exif = o->exif == EXIF_IGNORE };
    strata_loader              *loader = NULL;
    strata_error                err = { 0 };
    if (strata_loader_create(m->ctx, (const char *const *)in->path, in->count, &how, &loader, &err) !=
        STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    int code = pump_run(p, loader, &stop_signal);
    strata_loader_destroy(loader);
    return code;
}

/* Gives the files their names, now that all rows are there. */
static int commit(struct pump *p, const struct model *m, const char *sha256)
{
    const struct options *o = m->options;
    strata_error          err = { 0 };
    int                   code = EXIT_DONE;
    p->sides.record.height = (int)p->first_size[0];
    p->sides.record.width = (int)p->first_size[1];
    char *record = record_text(m, p->current->program, &p->sides.record, sha256, &p->stats);
    if (!record)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    if (strata_writer_set_text(p->writer, "record", record, &err) != STRATA_OK ||
        strata_writer_set_names(p->writer, (const char *const *)p->names, p->rows, &err) != STRATA_OK)
        code = talk_failure(STAGE_FILES, &err, NULL);
    if (!code)
        code = sides_write(&p->sides);
    if (!code)
        code = values_write(&p->sizes.values);
    if (!code && strata_writer_commit(p->writer, &err) != STRATA_OK)
        code = talk_failure(STAGE_FILES, &err, NULL);
    if (!code && o->json)
        code = talk_json(json_loads(record, 0, NULL));
    else if (!code && o->stats)
        code = stats_print(&p->stats, stdout);
    free(record);
    return code;
}

static int finish(struct pump *p, const struct model *m, const char *sha256, double start)
{
    const struct options *o = m->options;
    if (p->rows == 0)
        return talk_error(EXIT_REJECTED, "no input could be used; '%s' was not written", o->output);
    int code = commit(p, m, sha256);
    if (code)
        return code;
    double seconds = talk_seconds() - start;
    talk_line("done", "%d %s in %.2f s (%.1f images/s) -> %s", p->rows, p->rows == 1 ? "row" : "rows",
              seconds, p->rows / seconds, o->output);
    if (o->picture)
        talk_line("", "picture -> %s", o->picture);
    if (o->dump_input)
        talk_line("", "input tensor -> %s", o->dump_input);
    if (o->dump_values[0])
        talk_line("", "%d values -> %s", p->sizes.values.count, o->dump_values[1]);
    if (p->rejected)
        talk_line("rejected", "%d of %d inputs, named above", p->rejected, p->inputs->count);
    code = stats_check(&p->stats, o->check_finite);
    return code ? code : p->rejected ? EXIT_REJECTED : EXIT_DONE;
}

/* No more rows at once than there can be; only a tensor holds several. A graph file brings its own batch. */
static int useful_batch(const struct model *m, const struct inputs *in)
{
    const struct options *o = m->options;
    if (m->graph_path)
        return m->graph_batch;
    for (int i = 0; i < in->count; i++)
        if (has_suffix(in->path[i], ".npy"))
            return o->batch ? o->batch : 1;
    return !o->batch ? 1 : o->batch < in->count ? o->batch : in->count;
}

static int extract(const struct options *o, struct model *m, struct inputs *in, struct file_hash *hash)
{
    struct pump p = { .inputs = in, .out = o->output, .sides.options = o };
    p.sizes = (struct size_set){ .model = m,
                                 .values = { .glob = o->dump_values[0], .folder = o->dump_values[1] },
                                 .batch = useful_batch(m, in) };
    p.stats.wanted = o->stats;

    tell_inputs(o, in);
    int code = set_up(&p, m, in);
    if (!code && o->weights)
        code = file_hash_start(hash, o->weights);
    double start = talk_seconds();
    if (!code)
        code = load_and_run(&p, m, in);
    const char *sha256 = file_hash_wait(hash);
    if (!code)
        code = finish(&p, m, sha256, start);
    pump_free(&p);
    return code;
}

static int run(const struct options *o)
{
    struct model     m = { 0 };
    struct inputs    in = { 0 };
    struct file_hash hash = { 0 };
    int              code = model_check_weights(o, true);
    if (!code)
        code = check_output(o);
    if (!code)
        code = model_open(o, o->args[0], &m);
    if (!code)
        code = inputs_collect(o->args + 1, o->arg_count - 1, &in);
    catch_signals();
    if (!code)
        code = extract(o, &m, &in, &hash);
    inputs_free(&in);
    model_close(&m);
    if (stop_signal)
        raise(stop_signal); /* the handler is gone: the caller sees what ended us */
    return code;
}

const struct command command_extract = {
    .name = "extract",
    .summary = "features of images, as arrays",
    .usage = "MODEL INPUT... -o OUT (--weights FILE | --random-weights SEED) [options]",
    .about = "Runs a model over images and writes one array per output, [N,C,H,W], rows in the order of\n"
             "the inputs, with the names of the inputs and a record of how it was done.\n\n"
             "INPUT is an image (JPEG, PNG, WebP), a folder of them, a .txt list, - for a list on stdin (a\n"
             "path per line, or NUL-ended as find -print0 writes), or a .npy tensor: float32 [N,C,H,W] or\n"
             "[C,H,W], normalised already, used as it is at its own size. Images that cannot be read are\n"
             "rejected one by one (exit code 3), never replaced. NaN and Inf in the arrays are warned of.",
    .examples =
        "  strata extract resnet50 cat.jpg --weights resnet50.ckpt -o cat.npz\n"
        "  strata extract resnet50 photos/ --weights r50.safetensors --auto-map --at C3,C4 -o f.npz\n"
        "  find photos -name '*.jpg' -print0 | strata extract hrnet_w32 - --random-weights 1 -o f.npz\n"
        "  strata extract resnet18 cat.jpg --random-weights 1 --stats --dump-values 'layer1.*' values/ -o f.npz\n"
        "  strata extract vgg16 cat.jpg --random-weights 1 --picture cat.png -o cat.safetensors\n",
    .bit = FOR_EXTRACT,
    .min_args = 2,
    .max_args = -1,
    .args_rule = "wants a model and at least one input",
    .run = run,
};
