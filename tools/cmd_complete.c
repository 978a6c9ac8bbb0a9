/* strata complete: what may come next on a command line. For the completion scripts of the shells, which pass
 * the words after "strata", the last of them perhaps empty or half typed. Prints a candidate per line, a tab,
 * and what it is; prints nothing where a file name belongs. */
#include "command.h"
#include "model_options.h"
#include "talk.h"

#include <stdlib.h>
#include <string.h>

static void candidate(const char *word, const char *about, const char *prefix)
{
    if (strncmp(word, prefix, strlen(prefix)) == 0)
        printf("%s\t%s\n", word, about ? about : "");
}

struct wanted {
    const char *prefix;
};

static void complete_model(void *user, const strata_model_info *info)
{
    candidate(info->name, info->family, ((struct wanted *)user)->prefix);
}

static void complete_device(void *user, const strata_device_info *info)
{
    char name[64];
    candidate(model_device_name(info, name, sizeof name), info->name, ((struct wanted *)user)->prefix);
}

static void complete_pass(void *user, const char *name, const char *doc)
{
    candidate(name, doc, ((struct wanted *)user)->prefix);
}

/* Whether `word` stands among the words of `list`. */
static bool is_one_of(const char *word, const char *list)
{
    const size_t length = strlen(word);
    for (; *list; list += strcspn(list, " "), list += strspn(list, " "))
        if (strcspn(list, " ") == length && strncmp(list, word, length) == 0)
            return true;
    return false;
}

static void complete_value(strata_context *ctx, const char *option, const char *choices, struct wanted *w)
{
    while (*choices) {
        char word[32];
        int  n = (int)strcspn(choices, "|");
        snprintf(word, sizeof word, "%.*s", n, choices);
        candidate(word, NULL, w->prefix);
        choices += n + (choices[n] == '|');
    }
    if (is_one_of(option, "--device --ref --test"))
        strata_list_devices(ctx, complete_device, w);
    if (strcmp(option, "--device") == 0)
        candidate("auto", "a real GPU if there is one, else the CPU", w->prefix);
    if (strcmp(option, "--ref") == 0 || strcmp(option, "--test") == 0)
        candidate("definition", "the definitions of the ops", w->prefix);
    if (strcmp(option, "--after") == 0)
        candidate("all", "each pass that changed the graph", w->prefix);
    if (strcmp(option, "--diff") == 0) {
        candidate("built", "the graph as built", w->prefix);
        strata_list_models(ctx, NULL, false, complete_model, w);
    }
    if (is_one_of(option, "--diff --after --no-pass --pipeline --ref-pipeline --test-pipeline"))
        strata_list_passes(ctx, complete_pass, w);
}

static bool starts_with_model(const struct command *command)
{
    return strncmp(command->usage, "MODEL", 5) == 0;
}

/* Whether the word after `before` words of arguments is the first that is no option. */
static bool is_first_argument(const struct command *command, const char *const *words, int count)
{
    for (int i = 0; i < count; i++) {
        if (words[i][0] != '-')
            return false;
        const char *choices = options_choices(command, words[i]);
        i += choices != NULL;
    }
    return true;
}

/* Those of --plugin FILE and of the variable, so that their models and passes are candidates too; a wrong one is no
 * reason to disturb the line. */
static void load_plugins(strata_context *ctx, const char *const *words, int count)
{
    const char *variable = getenv("STRATA_PLUGIN");
    char       *paths = variable ? strdup(variable) : NULL, *rest = paths;
    for (char *path; rest && (path = strtok_r(rest, ":", &rest));)
        strata_load_plugin(ctx, path, NULL);
    free(paths);
    for (int i = 0; i + 1 < count; i++)
        if (strcmp(words[i], "--plugin") == 0)
            strata_load_plugin(ctx, words[i + 1], NULL);
}

static void complete_command(const char *prefix)
{
    for (int i = 0; commands[i]; i++)
        if (commands[i]->summary)
            candidate(commands[i]->name, commands[i]->summary, prefix);
    candidate("--help", "what the commands are", prefix);
    candidate("--version", "the version of Strata", prefix);
}

static int run(const struct options *o)
{
    strata_context       *ctx;
    const struct command *command = NULL;
    int                   count = o->arg_count;
    if (count == 0)
        return EXIT_DONE;
    struct wanted w = { .prefix = o->args[count - 1] };
    if (count == 1) {
        complete_command(w.prefix);
        return EXIT_DONE;
    }
    for (int i = 0; commands[i]; i++)
        if (commands[i]->summary && strcmp(commands[i]->name, o->args[0]) == 0)
            command = commands[i];
    if (!command || model_context(&(struct options){ 0 }, &ctx) != EXIT_DONE)
        return EXIT_DONE;
    load_plugins(ctx, o->args + 1, count - 2);

    const char *before = o->args[count - 2], *choices = count > 2 ? options_choices(command, before) : NULL;
    if (choices)
        complete_value(ctx, before, choices, &w);
    else if (w.prefix[0] == '-')
        options_complete(command, w.prefix, stdout);
    else if (command == &command_models ||
             (starts_with_model(command) && is_first_argument(command, o->args + 1, count - 2)))
        strata_list_models(ctx, NULL, false, complete_model, &w);
    strata_context_destroy(ctx);
    return EXIT_DONE;
}

const struct command command_complete = {
    .name = "complete",
    .bit = FOR_COMPLETE,
    .max_args = -1,
    .raw = true,
    .run = run,
};
