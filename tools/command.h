/* command.h: what a subcommand is. A command is one file that ends with its definition; COMMAND_MAP is
 * the only list of them. */
#ifndef STRATA_TOOLS_COMMAND_H
#define STRATA_TOOLS_COMMAND_H

#include "options.h"

/* XX(BIT, name): in the order of the help text. The hidden ones come last. */
#define COMMAND_MAP(XX)                                                                            \
    XX(MODELS, models) XX(INFO, info) XX(DEVICES, devices) XX(EXTRACT, extract) XX(DUMP, dump)     \
    XX(BENCH, bench) XX(REPORT, report) XX(COMPARE, compare) XX(EXPORT, export) XX(WEIGHTS, weights)  \
    XX(DOCTOR, doctor)                                                                             \
    XX(COMPLETE, complete)

enum command_index {
#define XX(bit, name) COMMAND_##bit,
    COMMAND_MAP(XX)
#undef XX
    COMMAND_COUNT
};

/* Bits of the commands that take an option. */
enum command_bit {
#define XX(bit, name) FOR_##bit = 1 << COMMAND_##bit,
    COMMAND_MAP(XX)
#undef XX
};

struct command {
    const char *name, *summary; /* summary: one line; NULL hides the command from help */
    const char *usage;          /* what follows "strata NAME" */
    const char *about;          /* paragraphs for --help, lines already broken */
    const char *examples;       /* ready lines, comments included */
    unsigned    bit;
    int         min_args, max_args; /* max_args -1: any number */
    const char *args_rule;          /* what to say when the number is wrong */
    bool        raw;                /* takes its arguments as they are: no options */
    int (*run)(const struct options *o);
};

#define XX(bit, name) extern const struct command command_##name;
COMMAND_MAP(XX)
#undef XX

extern const struct command *const commands[COMMAND_COUNT + 1]; /* NULL-terminated */

#endif
