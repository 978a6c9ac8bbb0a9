/* strata weights: what a checkpoint holds; or the same entries as .safetensors. */
#include "command.h"
#include "model_options.h"
#include "table.h"
#include "talk.h"

static json_t *json_entry(const strata_weights_entry *e, const char *sha256)
{
    json_t *shape = json_array();
    for (int i = 0; i < e->desc.rank; i++)
        json_array_append_new(shape, json_integer(e->desc.dim[i]));
    json_t *row = json_pack("{s:o, s:o, s:s, s:s}", "name", talk_json_text(e->name), "shape", shape, "dtype",
                            strata_dtype_name(e->desc.dtype), "sha256", sha256);
    if (e->skipped)
        json_object_set_new(row, "skipped", json_string(e->skipped));
    return row;
}

static void table_entry(struct table *t, const strata_weights_entry *e, const char *sha256)
{
    char shape[96];
    table_row(t);
    table_cell(t, 0, "%s", e->name);
    table_cell(t, 1, "%s", strata_shape_text(&e->desc, shape, sizeof shape));
    table_cell(t, 2, "%s", strata_dtype_name(e->desc.dtype));
    table_cell(t, 3, "%s", sha256);
    if (e->skipped)
        table_cell(t, 4, "%s", e->skipped);
}

static int list(const struct options *o, const strata_weights *w)
{
    struct table t = { .titles = { "name", "shape", "dtype", "sha256" } };
    json_t      *entries = o->json ? json_array() : NULL;
    strata_error err = { 0 };
    for (int i = 0; i < strata_weights_count(w); i++)
        if (strata_weights_get(w, i).skipped)
            t.titles[4] = "not bound";
    for (int i = 0; i < strata_weights_count(w); i++) {
        strata_weights_entry e = strata_weights_get(w, i);
        char                 sha256[65];
        if (strata_weights_sha256(w, i, sha256, &err) != STRATA_OK) {
            json_decref(entries);
            return talk_failure(STAGE_WEIGHTS, &err, NULL);
        }
        if (o->json)
            json_array_append_new(entries, json_entry(&e, sha256));
        else
            table_entry(&t, &e, sha256);
    }
    if (o->json)
        return talk_json(json_pack("{s:o, s:s, s:o}", "file", talk_json_text(o->args[0]), "format",
                                   strata_weights_format(w), "entries", entries));
    return table_print(&t, stdout);
}

static int convert(const struct options *o, const strata_weights *w)
{
    strata_error err = { 0 };
    int          code = talk_check_target("--convert", o->convert);
    if (code)
        return code;
    if (strata_weights_save(w, o->convert, &err) != STRATA_OK)
        return talk_failure(STAGE_FILES, &err, NULL);
    talk_line("done", "%d entries of %s (%s) -> %s", strata_weights_count(w), o->args[0],
              strata_weights_format(w), o->convert);
    return EXIT_DONE;
}

static int run(const struct options *o)
{
    strata_context *ctx;
    strata_weights *w = NULL;
    strata_error    err = { 0 };
    int             code = model_context(o, &ctx);
    if (code)
        return code;
    if (strata_weights_load(ctx, o->args[0], &w, &err) != STRATA_OK)
        code = talk_failure(STAGE_WEIGHTS, &err, NULL);
    else
        code = o->convert ? convert(o, w) : list(o, w);
    strata_weights_destroy(w);
    strata_context_destroy(ctx);
    return code;
}

const struct command command_weights = {
    .name = "weights",
    .summary = "what a checkpoint holds; convert it",
    .usage = "FILE [options]",
    .about = "Name, shape, type and SHA-256 of every entry of a MindSpore .ckpt or a .safetensors, told\n"
             "apart by content. The hash is of the entry's bytes, little-endian, so it is the same in\n"
             "both formats.",
    .examples = "  strata weights resnet50.ckpt\n"
                "  strata weights resnet50.ckpt --json\n"
                "  strata weights resnet50.ckpt --convert resnet50.safetensors\n",
    .bit = FOR_WEIGHTS,
    .min_args = 1,
    .max_args = 1,
    .args_rule = "takes one file",
    .run = run,
};
