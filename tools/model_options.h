/* model_options.h: from options to a model: the one way in which every command builds, fills and compiles. */
#ifndef STRATA_TOOLS_MODEL_OPTIONS_H
#define STRATA_TOOLS_MODEL_OPTIONS_H

#include "options.h"

#include <strata/strata.h>

struct model {
    const struct options *options;
    strata_context       *ctx;
    strata_model_info     info; /* of a graph file: what the graph says of itself */
    const char           *graph_path; /* NULL: a registered model */
    char                 *graph_text; /* NULL: an ONNX file */
    size_t                graph_size;
    bool                  partial; /* outputs are chosen: those of an ONNX file that cannot be had do not matter */
    strata_graph        **opened; /* *opened: the graph of an ONNX file, for the first who builds */
    int                   graph_batch;
    bool                  any_inputs; /* of a graph file; else exactly one, an image */
    strata_weights       *weights; /* NULL: random ones, or none */
    char                 *pipeline; /* what the options make of the default one; NULL: the default */
    bool                  bound; /* model_bind has told about it */
};

/* A context with its log callback and the plug-ins of the options. Returns an exit code, after saying what is wrong. */
int model_context(const struct options *o, strata_context **out);

/* `name` is that of a registered model, or, with a '/' or ending in .graph or .onnx, a file that 'strata dump' wrote or
 * an ONNX model, which brings its weights.
 * Each returns an exit code, after saying what is wrong. model_close in any case. */
int  model_open(const struct options *o, const char *name, struct model *out);
/* The same; a graph file may have several inputs, of any shape. */
int  model_open_any(const struct options *o, const char *name, struct model *out);
void model_close(struct model *m);

/* Whether the options name weights; `required`: an error if they do not. Contradictions are errors. */
int model_check_weights(const struct options *o, bool required);

/* An image as the graph wants it (with --preprocess and --exif), in every row of `into`. *pixels (may be NULL): what the
 * network sees. `option` is for messages. */
int model_load_image(const struct model *m, const char *option, const char *path, const strata_graph *g,
                     strata_tensor *into, strata_image **pixels);

/* The graph as built; batch, height and width 0: the model's. `whole`: where the options choose no
 * outputs, the classifier if there is one, instead of every feature. */
int model_build(const struct model *m, int batch, int height, int width, bool whole, strata_graph **out);
/* Weights or noise for what the outputs need; loads the file when first called. */
int model_bind(struct model *m, strata_graph *g);
/* Takes the graph in any case. */
int model_compile(const struct model *m, strata_graph *g, strata_program **out);
/* The same without a word, for callers who may try something else; `fall_back`: the user's --fallback counts. */
strata_status model_try_compile(const struct model *m, strata_graph *g, bool fall_back, strata_program **out, strata_error *err);
int           model_device_failure(const strata_error *err);
/* "cpu", or "vulkan:0" where a backend has several devices: what --device takes. Returns buf. */
/* What a program takes, as "peak 113.9 MiB: ..." into buf. */
const char *model_plan(const strata_program_info *info, char *buf, size_t size);
const char *model_device_name(const strata_device_info *info, char *buf, size_t size);
/* A copy of the structure: constants have no numbers. It lives in the model's context. */
int model_copy_graph(const struct model *m, const strata_graph *g, strata_graph **out);
/* Is `name` a pass? Says which are near if not. */
int model_check_pass(const strata_context *ctx, const char *option, const char *name);
/* The same for each word of a pipeline. */
int model_check_pipeline(const struct model *m, const char *option, const char *pipeline);

#endif
