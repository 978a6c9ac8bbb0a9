/* options.h: the options of all commands, in one table.
 *
 * A row of that table says everything there is to know about an option: its only long spelling, its kind
 * and range, where its value goes, which commands take it, and its help. Parsing, --help, the STRATA_<OPTION>
 * environment variables and shell completion are derived from the rows.
 */
#ifndef STRATA_TOOLS_OPTIONS_H
#define STRATA_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct command;

/* The values; zero or NULL where an option was not given. Texts live until options_free. */
struct options {
    /* the model and its outputs */
    const char *at, *out_indices;
    int         size[2]; /* H, W */
    int         batch, num_classes, in_channels;
    /* weights */
    const char *weights, *map, *save_map, *convert;
    bool        auto_map, ema;
    struct seed {
        bool     given;
        uint64_t value;
        double   gain;
    } random_weights, random_input; /* random_input: without a gain */
    /* images */
    int preprocess, exif; /* enum strata_flavour; enum exif_policy */
    /* results */
    const char *output, *picture, *dump_input, *profile, *image;
    const char *dump_values[2], *diff[2]; /* GLOB, DIR; A, B */
    int         dtype, format;            /* enum strata_dtype (f32, f16); enum dump_form */
    bool        json, features, per_node, tune, plan, stats, check_finite, exit_code;
    bool        dynamic_batch, external_data;
    const char *after;
    /* how to run */
    const char *device, *pipeline, *no_pass, *plugin; /* no_pass: names divided by blanks; plugin: paths, by ':' */
    bool        strict_device, exact;
    int         fallback; /* enum fallback_policy */
    int         precision; /* enum strata_dtype (f32, f16) */
    int         threads, runs;
    /* two sides of a comparison */
    const char *ref, *test, *ref_pipeline, *test_pipeline;
    double      tolerance; /* 0: not given */
    bool        bisect;
    /* talk */
    bool quiet, verbose, help;

    int          arg_count;
    const char **args; /* MODEL, INPUT...; NULL-terminated */

    void  *parser;   /* the library's, owns args */
    char **owned;    /* texts behind the pointers above */
    int    owned_count;
};

enum exif_policy { EXIF_APPLY, EXIF_IGNORE };
enum fallback_policy { FALLBACK_NONE, FALLBACK_CPU };
/* The first three are strata_dump_format; Graphviz makes the others. */
enum dump_form { FORM_TEXT, FORM_DOT, FORM_JSON, FORM_SVG, FORM_PNG };

/* Fills o from the arguments after the command's name and from the environment. Returns an exit code, after
 * saying what is wrong. Options_free in any case. */
int  options_parse(const struct command *command, int argc, const char **argv, struct options *o);
void options_free(struct options *o);

void options_help(const struct command *command, FILE *to);
/* For completion: prints every option of the command that starts with `prefix`, with its help after a tab. */
void options_complete(const struct command *command, const char *prefix, FILE *to);
/* The words that may follow option `name` ("--dtype"), divided by '|'; "" when they are free text, "FILE" or
 * the like; NULL when the option takes no value or is none of the command's. */
const char *options_choices(const struct command *command, const char *name);

#endif
