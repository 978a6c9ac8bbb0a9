/* strata info: what a model is, what images it wants, and which features it has. */
#include "command.h"
#include "model_options.h"
#include "table.h"
#include "talk.h"

#include <string.h>

struct facts {
    strata_input_record record;
    strata_tensor_desc  input;
    uint64_t            params, macs; /* of what --at asks for, else of the whole classifier */
    uint64_t            feature_params, feature_macs; /* of every feature, without the head */
};

static const char *interpolation_name(strata_interpolation how)
{
    return how == STRATA_BICUBIC ? "bicubic" : "bilinear";
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *json_input(const struct facts *f)
{
    const strata_input_record *r = &f->record;
    return json_pack("{s:[I,I], s:I, s:[f,f,f], s:[f,f,f], s:s, s:f}", "size", (json_int_t)f->input.dim[2],
                     (json_int_t)f->input.dim[3], "channels", (json_int_t)f->input.dim[1], "mean", r->mean[0],
                     r->mean[1], r->mean[2], "std", r->std[0], r->std[1], r->std[2], "interpolation",
                     interpolation_name(r->interpolation), "crop_pct", r->crop_pct);
}

/* One number where y and x agree, which is every square input; else [y, x]. */
static json_t *json_extent(const double extent[2])
{
    return extent[0] == extent[1] ? json_real(extent[0]) : json_pack("[f,f]", extent[0], extent[1]);
}

static json_t *json_feature(const strata_feature *f)
{
    char level[16];
    snprintf(level, sizeof level, "C%d", f->level);
    json_t *shape = json_array();
    for (int i = 0; i < f->desc->rank; i++)
        json_array_append_new(shape, json_integer(f->desc->dim[i]));
    return json_pack("{s:i, s:o, s:s, s:i, s:i, s:o, s:o, s:o}", "index", f->index, "name",
                     talk_json_text(f->name), "level", level, "stride", f->reduction, "channels", f->channels,
                     "shape", shape, "receptive_field", json_extent(f->receptive_field), "offset",
                     json_extent(f->offset));
}

static int print_json(const struct model *m, const strata_graph *g, const struct facts *f)
{
    json_t      *features = json_array();
    strata_error err = { 0 };
    for (int i = 0; i < strata_graph_feature_count(g); i++) {
        strata_feature feature;
        if (strata_graph_feature(g, i, &feature, &err) != STRATA_OK) {
            json_decref(features);
            return talk_failure(STAGE_RUN, &err, NULL);
        }
        json_array_append_new(features, json_feature(&feature));
    }
    return talk_json(json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:i, s:s, s:o, s:o}", "name",
                               talk_json_text(m->info.name), "family", m->info.family, "params",
                               (json_int_t)f->params, "macs", (json_int_t)f->macs, "feature_params",
                               (json_int_t)f->feature_params, "feature_macs", (json_int_t)f->feature_macs,
                               "classes", m->info.classes, "preprocess",
                               m->options->preprocess == STRATA_PREPROCESS_PILLOW ? "pillow" : "mindcv",
                               "input", json_input(f), "features", features));
}

/* ---- Text ------------------------------------------------------------------------------------ */

static void print_input(const struct model *m, const struct facts *f)
{
    const strata_input_record *r = &f->record;
    const int64_t             *dim = f->input.dim;
    bool                       pillow = m->options->preprocess == STRATA_PREPROCESS_PILLOW;
    long long shorter = (long long)((double)(dim[2] < dim[3] ? dim[2] : dim[3]) / r->crop_pct);
    printf("input       %lld x %lld (height x width), %lld channels%s\n", (long long)dim[2],
           (long long)dim[3], (long long)dim[1], dim[1] == 3 ? ", RGB" : "");
    printf("images      shorter side to %lld, %s, %s; centre crop (crop_pct %g)\n", shorter,
           interpolation_name(r->interpolation),
           pillow ? "as timm and torchvision (Pillow)" : "as MindCV (OpenCV)", r->crop_pct);
    printf("            mean %g %g %g, std %g %g %g, of values in 0..1\n", r->mean[0], r->mean[1], r->mean[2],
           r->std[0], r->std[1], r->std[2]);
}

/* "427", or "427x211" where y and x differ. */
static const char *extent_text(const double extent[2], char buf[64])
{
    if (extent[0] == extent[1])
        snprintf(buf, 64, "%g", extent[0]);
    else
        snprintf(buf, 64, "%gx%g", extent[0], extent[1]);
    return buf;
}

static int print_features(const strata_graph *g, const strata_tensor_desc *input)
{
    struct table t = { .titles = { ">index", "name", "level", ">stride", ">channels", "shape",
                                   ">receptive field", ">offset" } };
    strata_error err = { 0 };
    int          count = strata_graph_feature_count(g);
    if (count == 0) {
        printf(
            "\nno features; --at logits is the classifier, --at %%NAME any value that 'strata dump' shows\n");
        return EXIT_DONE;
    }
    for (int i = 0; i < count; i++) {
        strata_feature f;
        char           shape[96], field[64], offset[64];
        if (strata_graph_feature(g, i, &f, &err) != STRATA_OK)
            return talk_failure(STAGE_RUN, &err, NULL);
        table_row(&t);
        table_cell(&t, 0, "%d", f.index);
        table_cell(&t, 1, "%s", f.name);
        table_cell(&t, 2, "C%d", f.level);
        table_cell(&t, 3, "%d", f.reduction);
        table_cell(&t, 4, "%d", f.channels);
        table_cell(&t, 5, "%s", strata_shape_text(f.desc, shape, sizeof shape));
        table_cell(&t, 6, "%s", extent_text(f.receptive_field, field));
        table_cell(&t, 7, "%s", extent_text(f.offset, offset));
    }
    printf("\nfeatures of a %lld x %lld input\n", (long long)input->dim[2], (long long)input->dim[3]);
    return table_print(&t, stdout);
}

static int print_text(const struct model *m, const strata_graph *g, const struct facts *f)
{
    char params[32], macs[32], feature_params[32], feature_macs[32];
    printf("%s  (%s)%s%s\n", m->info.name, m->info.family, m->info.doc ? "  " : "",
           m->info.doc ? m->info.doc : "");
    printf("parameters  %s; %s for all features\n", talk_count((double)f->params, params, 32),
           talk_count((double)f->feature_params, feature_params, 32));
    printf("MACs        %s; %s\n", talk_count((double)f->macs, macs, 32),
           talk_count((double)f->feature_macs, feature_macs, 32));
    print_input(m, f);
    return print_features(g, &f->input);
}

/* ---- The command ----------------------------------------------------------------------------- */

static int feature_cost(const struct model *m, struct facts *f)
{
    const struct options plain = { .size = { m->options->size[0], m->options->size[1] },
                                   .in_channels = m->options->in_channels };
    struct model         features = *m;
    strata_graph        *g;
    features.options = &plain;
    int code = model_build(&features, m->options->batch, plain.size[0], plain.size[1], false, &g);
    if (!code) {
        strata_graph_cost(g, &f->feature_params, &f->feature_macs);
        strata_graph_destroy(g);
    }
    return code;
}

static int run(const struct options *o)
{
    struct model  m;
    struct facts  f = { 0 };
    strata_graph *g = NULL;
    int           code = model_open(o, o->args[0], &m);
    if (!code)
        code = model_build(&m, o->batch, o->size[0], o->size[1], true, &g);
    if (!code)
        code = feature_cost(&m, &f);
    if (!code) {
        f.record = *strata_graph_input_record(g);
        f.input = *strata_graph_input(g, 0).desc;
        strata_graph_cost(g, &f.params, &f.macs);
        code = o->json ? print_json(&m, g, &f) : print_text(&m, g, &f);
    }
    strata_graph_destroy(g);
    model_close(&m);
    return code;
}

const struct command command_info = {
    .name = "info",
    .summary = "size, input and features of a model",
    .usage = "MODEL [options]",
    .about =
        "Parameters, multiply-accumulates, the images a model wants, and the table of its features:\n"
        "index, name, level (C3 is stride 2^3), stride, channels, shape at --size, receptive field, offset. All of\n"
        "it is computed from the graph: element (i, j) is centred at offset + stride * (i, j) pixels.",
    .examples = "  strata info resnet50\n"
                "  strata info hrnet_w32 --size 512x768\n"
                "  strata info convnext_tiny --json\n",
    .bit = FOR_INFO,
    .min_args = 1,
    .max_args = 1,
    .args_rule = "takes one model",
    .run = run,
};
