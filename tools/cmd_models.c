/* strata models: the names of the registered models. */
#include "command.h"
#include "model_options.h"
#include "talk.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

struct listing {
    const char *const *patterns;
    int                pattern_count, shown;
    json_t            *json; /* NULL: print names */
};

static bool wanted(const struct listing *l, const char *name)
{
    for (int i = 0; i < l->pattern_count; i++)
        if (fnmatch(l->patterns[i], name, 0) == 0)
            return true;
    return l->pattern_count == 0;
}

static void show(void *user, const strata_model_info *info)
{
    struct listing *l = user;
    if (!wanted(l, info->name))
        return;
    l->shown++;
    if (!l->json)
        puts(info->name);
    else
        json_array_append_new(l->json, json_pack("{s:s, s:s, s:s, s:b, s:i, s:[i,i]}", "name", info->name,
                                                 "family", info->family, "doc", info->doc ? info->doc : "",
                                                 "features", info->has_features, "classes", info->classes,
                                                 "size", info->input.height, info->input.width));
}

static int run(const struct options *o)
{
    strata_context *ctx;
    struct listing  l = { .patterns = o->args, .pattern_count = o->arg_count };
    int             code = model_context(o, &ctx);
    if (code)
        return code;
    if (o->json)
        l.json = json_array();
    strata_list_models(ctx, NULL, o->features, show, &l);
    if (l.shown == 0) {
        strata_model_info info;
        strata_error      err = { 0 };
        json_decref(l.json);
        if (o->arg_count == 1 && strata_find_model(ctx, o->args[0], &info, &err) == STRATA_NOT_FOUND)
            code = talk_failure(STAGE_MODEL, &err, NULL);
        else
            code = talk_error(EXIT_UNKNOWN, "no model matches; 'strata models' lists all");
    } else if (o->json) {
        code = talk_json(l.json);
    }
    strata_context_destroy(ctx);
    return code;
}

const struct command command_models = {
    .name = "models",
    .summary = "names of the models",
    .usage = "[PATTERN...] [options]",
    .about = "The names of the registered models that match a shell pattern, one per line; without\n"
             "patterns, all.",
    .examples = "  strata models\n"
                "  strata models 'resnet*' 'hrnet*'\n"
                "  strata models --features --json\n",
    .bit = FOR_MODELS,
    .max_args = -1,
    .run = run,
};
