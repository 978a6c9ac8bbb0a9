/* option_table.h: the form of the rows of option_table.c. */
#ifndef STRATA_TOOLS_OPTION_TABLE_H
#define STRATA_TOOLS_OPTION_TABLE_H

#include <stddef.h>

enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char *: the last one counts */
    OPTION_PAIR,   /* const char *[2]: two words, "--diff A B" */
    OPTION_LIST,   /* const char *: all of them, joined by blanks; may be repeated */
    OPTION_PATHS,  /* const char *: all of them, joined by ':'; may be repeated */
    OPTION_INT,    /* int in min..max */
    OPTION_NUMBER, /* double, finite and above 0 */
    OPTION_SIZE,   /* int[2] from "HxW" or "N" */
    OPTION_CHOICE, /* int: the place in `value`, words divided by '|' */
    OPTION_SEED    /* struct seed from "SEED[:GAIN]", or from "SEED" when `value` is that */
};

enum option_section {
    SECTION_MODEL, SECTION_WEIGHTS, SECTION_IMAGES, SECTION_RESULT, SECTION_RUN, SECTION_TALK, SECTION_COUNT
};

/* Options of one group exclude each other: a command line that has one silences the variables of the rest. */
enum option_group { GROUP_NONE, GROUP_OUTPUTS, GROUP_WEIGHTS };

struct option_def {
    const char         *name;   /* without the dashes */
    char                letter; /* 0: none */
    enum option_kind    kind;
    size_t              field; /* place in struct options */
    unsigned            commands;
    enum option_section section;
    const char         *value; /* shown in help; the words themselves for OPTION_CHOICE */
    const char         *help;
    int                 min, max;
    enum option_group   group;
};

extern const struct option_def option_table[]; /* ends with a row without a name */
extern const char *const       option_section_titles[SECTION_COUNT];

#endif
