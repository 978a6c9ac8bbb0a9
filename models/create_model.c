/* From a model's definition to a graph: arguments with their defaults, then (as MindCV's create_model does in
 * one call) the choice of outputs and the weights of a checkpoint. */
#include <strata/extend.h>

/* Bounds that keep every product of a model within 64 bits and catch sizes that are surely mistakes. */
enum { MAX_BATCH = 1 << 16, MAX_CHANNELS = 1 << 12, MAX_SIDE = 1 << 15, MAX_CLASSES = 1 << 20 };

static strata_status resolve(const char *what, int given, int deflt, int max, int *out, strata_error *err)
{
    if (given < 0 || given > max)
        return strata_fail(err, STRATA_INVALID, "%s: %d is not from 1 to %d; 0 means the model's %d", what,
                           given, max, deflt);
    *out = given ? given : deflt;
    return STRATA_OK;
}

strata_status strata_model_build(strata_context *ctx, const strata_model_def *def,
                                 const strata_model_args *args, strata_graph **out, strata_error *err)
{
    const strata_model_args none = { 0 };
    strata_model_args       a;
    strata_input_record     record = def->input;
    strata_builder         *b;

    *out = NULL;
    if (!args)
        args = &none;
    STRATA_TRY(resolve("batch", args->batch, 1, MAX_BATCH, &a.batch, err));
    STRATA_TRY(resolve("channels", args->channels, record.channels, MAX_CHANNELS, &a.channels, err));
    STRATA_TRY(resolve("height", args->height, record.height, MAX_SIDE, &a.height, err));
    STRATA_TRY(resolve("width", args->width, record.width, MAX_SIDE, &a.width, err));
    STRATA_TRY(resolve("classes", args->classes, def->classes, MAX_CLASSES, &a.classes, err));

    STRATA_TRY(strata_builder_create(ctx, def->name, &b, err));
    def->build(b, def->config, &a);
    strata_status status = strata_builder_finish(b, out, err);
    if (status != STRATA_OK)
        return strata_fail_in(err, status, "%s at %dx%d", def->name, a.height, a.width);

    record.channels = a.channels;
    record.height = a.height;
    record.width = a.width;
    strata_graph_set_input_record(*out, &record);
    return STRATA_OK;
}

/* What is asked for; else all features when only features are wanted, the logits when not. */
static strata_status select_outputs(strata_graph *g, const strata_create_options *o, strata_error *err)
{
    return strata_graph_select(g, o->out_indices || o->features_only ? o->out_indices : "logits", err);
}

static strata_status load_weights(strata_context *ctx, strata_graph *g, const strata_create_options *o,
                                  strata_error *err)
{
    const strata_bind_options bind = { .auto_map = o->auto_mapping, .ema = o->ema, .map_path = o->map_path };
    strata_weights           *w;

    STRATA_TRY(strata_weights_load(ctx, o->checkpoint_path, &w, err));
    strata_status status = strata_graph_bind(g, w, &bind, NULL, err);
    strata_weights_destroy(w);
    return status == STRATA_OK ? status : strata_fail_in(err, status, "%s", o->checkpoint_path);
}

strata_status strata_create_model(strata_context *ctx, const char *name, const strata_create_options *options,
                                  strata_graph **out, strata_error *err)
{
    const strata_create_options defaults = { 0 }, *o = options ? options : &defaults;
    const strata_model_args     args = { o->batch, o->in_channels, o->height, o->width, o->num_classes };
    strata_graph               *g;

    *out = NULL;
    const strata_model_def *def = strata_find_model_def(ctx, name, err);
    if (!def)
        return STRATA_NOT_FOUND;
    STRATA_TRY(strata_model_build(ctx, def, &args, &g, err));

    strata_status status = select_outputs(g, o, err);
    if (status == STRATA_OK && o->checkpoint_path)
        status = load_weights(ctx, g, o, err);
    if (status != STRATA_OK) {
        strata_graph_destroy(g);
        return status;
    }
    *out = g;
    return STRATA_OK;
}
