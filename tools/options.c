/* options.c: parsing, help and completion, driven by option_table.c. popt splits the command line; the rows
 * say what its pieces mean.
 *
 * Values come from the command line first, then from STRATA_<OPTION> variables (upper case, '_' for '-').
 * An empty variable counts as absent. */
#include "options.h"

#include "command.h"
#include "option_table.h"
#include "talk.h"

#include <strata/extend.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <popt.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 128, HELP_COLUMN = 30, HELP_WIDTH = 88 };

/* ---- Texts to values ------------------------------------------------------------------------- */

static char *keep(struct options *o, char *text)
{
    char **grown = realloc(o->owned, (size_t)(o->owned_count + 1) * sizeof *grown);
    if (!text || !grown) {
        free(text);
        if (grown)
            o->owned = grown;
        return NULL;
    }
    o->owned = grown;
    return o->owned[o->owned_count++] = text;
}

/* A whole decimal number in min..max, nothing before or after it. */
static bool parse_int(const char *text, long min, long max, int *out)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || value < min || value > max)
        return false;
    *out = (int)value;
    return true;
}

static bool parse_size(const char *text, int max, int size[2])
{
    const char *x = strpbrk(text, "xX");
    char        height[16];
    size_t      n = x ? (size_t)(x - text) : strlen(text);
    if (n >= sizeof height)
        return false;
    memcpy(height, text, n);
    height[n] = '\0';
    return parse_int(height, 1, max, &size[0]) && parse_int(x ? x + 1 : height, 1, max, &size[1]);
}

static bool parse_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && *out > 0 && *out < HUGE_VAL;
}

static bool parse_seed(const char *text, bool with_gain, struct seed *out)
{
    char *end;
    errno = 0;
    out->value = strtoull(text, &end, 10);
    out->gain = 2;
    if (!isdigit((unsigned char)text[0]) || errno || (*end && (*end != ':' || !with_gain)))
        return false;
    if (*end == ':') {
        const char *gain = end + 1;
        out->gain = strtod(gain, &end);
        if (end == gain || *end || !(out->gain > 0) || out->gain > 1e6)
            return false;
    }
    out->given = true;
    return true;
}

static bool parse_choice(const char *text, const char *choices, int *out)
{
    size_t n = strlen(text);
    for (int i = 0; *choices; i++) {
        size_t width = strcspn(choices, "|");
        if (width == n && memcmp(choices, text, n) == 0) {
            *out = i;
            return true;
        }
        choices += width + (choices[width] == '|');
    }
    return false;
}

/* Between the words of a pair on their way through popt; in a variable it is the last blank. */
enum { PAIR_MARK = '\x1f' };

/* `word` gets two texts that o owns. */
static int parse_pair(struct options *o, const char *source, const char *form, const char *text,
                      const char *word[2])
{
    char *copy = keep(o, strdup(text)), *mark = copy ? strchr(copy, PAIR_MARK) : NULL;
    if (!copy)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    if (!mark)
        mark = strrchr(copy, ' ');
    if (!mark || mark == copy || mark[1] == '\0')
        return talk_error(EXIT_USAGE, "%s: needs two words after it: %s", source, form);
    *mark = '\0';
    word[0] = copy;
    word[1] = mark + 1;
    return EXIT_DONE;
}

/* Of variables: --quiet is there or not, STRATA_QUIET is 1 or 0. */
static bool parse_flag(const char *text, bool *out)
{
    int place = 0;
    if (!parse_choice(text, "0|1|no|yes|false|true|off|on", &place))
        return false;
    *out = place % 2 != 0;
    return true;
}

/* `source` is "--size" or "STRATA_SIZE"; text NULL: a flag that was given. */
static int assign(struct options *o, const struct option_def *def, const char *source, const char *text)
{
    void *field = (char *)o + def->field;
    switch (def->kind) {
    case OPTION_FLAG:
        if (!text)
            *(bool *)field = true;
        else if (!parse_flag(text, field))
            return talk_error(EXIT_USAGE, "%s: '%s' is neither 1 nor 0", source, text);
        break;
    case OPTION_TEXT:
        *(const char **)field = text;
        break;
    case OPTION_PAIR: return parse_pair(o, source, def->value, text, field);
    case OPTION_LIST:
    case OPTION_PATHS: {
        const char *before = *(const char **)field;
        char       *joined = NULL;
        const char *between = !before ? "" : def->kind == OPTION_PATHS ? ":" : " ";
        if (asprintf(&joined, "%s%s%s", before ? before : "", between, text) < 0 || !keep(o, joined))
            return talk_error(EXIT_UNEXPECTED, "out of memory");
        *(const char **)field = joined;
        break;
    }
    case OPTION_INT:
        if (!parse_int(text, def->min, def->max, field))
            return talk_error(EXIT_USAGE, "%s: '%s' is not a whole number from %d to %d", source, text,
                              def->min, def->max);
        break;
    case OPTION_SIZE:
        if (!parse_size(text, def->max, field))
            return talk_error(EXIT_USAGE, "%s: '%s' is no size; write height x width, such as 224x224 or 224",
                              source, text);
        break;
    case OPTION_CHOICE:
        if (!parse_choice(text, def->value, field))
            return talk_error(EXIT_USAGE, "%s: '%s' is none of %s", source, text, def->value);
        break;
    case OPTION_NUMBER:
        if (!parse_number(text, field))
            return talk_error(EXIT_USAGE, "%s: '%s' is no number above 0, such as 1e-4", source, text);
        break;
    case OPTION_SEED:
        if (!parse_seed(text, strchr(def->value, ':') != NULL, field))
            return talk_error(EXIT_USAGE, "%s: '%s' is no seed; write a whole number%s", source, text,
                              strchr(def->value, ':') ? ", or number:gain such as 1:2.5" : "");
        break;
    }
    return EXIT_DONE;
}

/* ---- Command line and environment ------------------------------------------------------------ */

static bool takes(const struct command *command, const struct option_def *def)
{
    return (def->commands & command->bit) != 0;
}

static const char *variable_name(const struct option_def *def, char *buf, size_t size)
{
    snprintf(buf, size, "STRATA_%s", def->name);
    for (char *c = buf; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    return buf;
}

static int read_environment(const struct command *command, struct options *o, const bool *given)
{
    bool group_given[GROUP_WEIGHTS + 1] = { false };
    for (int i = 0; option_table[i].name; i++)
        if (given[i])
            group_given[option_table[i].group] = true;

    for (int i = 0; option_table[i].name; i++) {
        const struct option_def *def = &option_table[i];
        char                     variable[64];
        if (!takes(command, def) || given[i] || def->field == offsetof(struct options, help) ||
            (def->group && group_given[def->group]))
            continue;
        const char *text = getenv(variable_name(def, variable, sizeof variable));
        int         code = text && *text ? assign(o, def, variable, text) : EXIT_DONE;
        if (code)
            return code;
    }
    return EXIT_DONE;
}

static int unknown_option(const struct command *command, const char *bad)
{
    const char *names[MAX_OPTIONS];
    char        wanted[64], near[128];
    int         count = 0;
    for (const struct option_def *def = option_table; def->name; def++)
        if (takes(command, def))
            names[count++] = def->name;
    bad += strspn(bad, "-");
    snprintf(wanted, sizeof wanted, "%.*s", (int)strcspn(bad, "="), bad);
    strata_nearest(wanted, names, count, 1, near, sizeof near);
    return talk_error(EXIT_USAGE, "%s has no option '%s%s'; %s%s%sstrata %s --help lists them", command->name,
                      strlen(wanted) > 1 ? "--" : "-", wanted, *near ? "did you mean --" : "", near,
                      *near ? "? " : "", command->name);
}

static bool is_pair(const struct command *command, const char *word)
{
    for (const struct option_def *def = option_table; def->name; def++)
        if (def->kind == OPTION_PAIR && takes(command, def) && strncmp(word, "--", 2) == 0 &&
            strcmp(word + 2, def->name) == 0)
            return true;
    return false;
}

/* popt knows options of one word at most: "--diff A B" becomes "--diff=A<mark>B". The array belongs to o, as
 * its texts. */
static const char **join_pairs(const struct command *command, int *argc, const char **argv, struct options *o)
{
    int          count = 0;
    const char **joined = calloc((size_t)*argc + 1, sizeof *joined);
    if (!joined || !keep(o, (char *)(void *)joined))
        return NULL;
    for (int i = 0; i < *argc; i++) {
        joined[count] = argv[i];
        if (i + 2 < *argc && is_pair(command, argv[i])) {
            char *text = NULL;
            if (asprintf(&text, "%s=%s%c%s", argv[i], argv[i + 1], PAIR_MARK, argv[i + 2]) < 0 ||
                !keep(o, text))
                return NULL;
            joined[count] = text;
            i += 2;
        }
        count++;
    }
    *argc = count;
    return joined;
}

int options_parse(const struct command *command, int argc, const char **argv, struct options *o)
{
    struct poptOption rows[MAX_OPTIONS + 1] = { { 0 } };
    bool              given[MAX_OPTIONS] = { false };
    int               count = 0;

    *o = (struct options){ 0 };
    for (int i = 0; option_table[i].name; i++) {
        const struct option_def *def = &option_table[i];
        if (takes(command, def))
            rows[count++] =
                (struct poptOption){ .longName = def->name,
                                     .shortName = def->letter,
                                     .argInfo = def->kind == OPTION_FLAG ? POPT_ARG_NONE : POPT_ARG_STRING,
                                     .val = i + 1 };
    }
    argv = join_pairs(command, &argc, argv, o);
    poptContext parser = !argv ? NULL : poptGetContext("strata", argc, argv, rows, 0);
    if (!parser)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    o->parser = parser;

    int found;
    while ((found = poptGetNextOpt(parser)) > 0) {
        const struct option_def *def = &option_table[found - 1];
        char                     source[64], *text = poptGetOptArg(parser);
        snprintf(source, sizeof source, "--%s", def->name);
        if (text && !keep(o, text))
            return talk_error(EXIT_UNEXPECTED, "out of memory");
        given[found - 1] = true;
        int code = assign(o, def, source, text);
        if (code)
            return code;
    }
    const char *bad = poptBadOption(parser, 0);
    if (found == POPT_ERROR_BADOPT)
        return unknown_option(command, bad);
    if (found < -1)
        return talk_error(EXIT_USAGE, "%s: %s", bad,
                          found == POPT_ERROR_NOARG       ? "needs a value after it"
                          : found == POPT_ERROR_UNWANTEDARG ? "takes no value"
                                                            : poptStrerror(found));
    int code = read_environment(command, o, given);
    if (code || o->help)
        return code;

    static const char *none[] = { NULL };
    o->args = poptGetArgs(parser);
    if (!o->args)
        o->args = none;
    while (o->args[o->arg_count])
        o->arg_count++;
    if (o->arg_count < command->min_args || (command->max_args >= 0 && o->arg_count > command->max_args))
        return talk_error(EXIT_USAGE, "%s: %s; usage: strata %s %s", command->name, command->args_rule,
                          command->name, command->usage);
    if (o->at && o->out_indices)
        return talk_error(EXIT_USAGE, "--at and --out-indices say the same thing; give one of them");
    if (o->strict_device && o->fallback)
        return talk_error(EXIT_USAGE, "--strict-device and --fallback cpu exclude each other; give one of them");
    return EXIT_DONE;
}

void options_free(struct options *o)
{
    for (int i = 0; i < o->owned_count; i++)
        free(o->owned[i]);
    free(o->owned);
    if (o->parser)
        poptFreeContext(o->parser);
    *o = (struct options){ 0 };
}

/* ---- Help and completion --------------------------------------------------------------------- */

/* Words of `text` between HELP_COLUMN and HELP_WIDTH; the cursor stands at `column`. */
static void print_wrapped(const char *text, int column, FILE *to)
{
    if (column >= HELP_COLUMN - 1) {
        putc('\n', to);
        column = 0;
    }
    fprintf(to, "%*s", HELP_COLUMN - column, "");
    column = HELP_COLUMN;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + word > HELP_WIDTH) {
            fprintf(to, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            putc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    putc('\n', to);
}

void options_help(const struct command *command, FILE *to)
{
    fprintf(to, "Usage: strata %s %s\n\n%s\n", command->name, command->usage, command->about);
    for (int section = 0; section < SECTION_COUNT; section++) {
        bool titled = false;
        for (const struct option_def *def = option_table; def->name; def++) {
            if (!takes(command, def) || def->section != (enum option_section)section)
                continue;
            if (!titled)
                fprintf(to, "\n%s\n", option_section_titles[section]);
            titled = true;
            char letter[] = { '-', def->letter, ',', ' ', '\0' };
            int  column = fprintf(to, "  %s--%s%s%s", def->letter ? letter : "    ", def->name,
                                 def->value ? " " : "", def->value ? def->value : "");
            print_wrapped(def->help, column, to);
        }
    }
    fprintf(
        to,
        "\nEvery option has a variable: STRATA_THREADS=2 stands for --threads 2, STRATA_JSON=1 for --json.\n"
        "\nExamples\n%s",
        command->examples);
}

void options_complete(const struct command *command, const char *prefix, FILE *to)
{
    for (const struct option_def *def = option_table; def->name; def++) {
        char name[64];
        snprintf(name, sizeof name, "--%s", def->name);
        if (takes(command, def) && strncmp(name, prefix, strlen(prefix)) == 0)
            fprintf(to, "%s\t%s\n", name, def->help);
    }
}

const char *options_choices(const struct command *command, const char *name)
{
    for (const struct option_def *def = option_table; def->name; def++) {
        bool same = (strncmp(name, "--", 2) == 0 && strcmp(name + 2, def->name) == 0) ||
                    (name[0] == '-' && def->letter && name[1] == def->letter && name[2] == '\0');
        if (same && takes(command, def) && def->kind != OPTION_FLAG)
            return def->kind == OPTION_CHOICE ? def->value : "";
    }
    return NULL;
}
