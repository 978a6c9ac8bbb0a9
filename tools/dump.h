/* dump.h: the parts of 'strata dump'.
 *
 *     cmd_dump.c       which graph is asked for, and the printing of one
 *     dump_stages.c    the graph after passes: a stream, or a file per pass
 *     dump_diff.c      two graphs against each other
 */
#ifndef STRATA_TOOLS_DUMP_H
#define STRATA_TOOLS_DUMP_H

#include "model_options.h"

#include <strata/strata.h>

/* In the form that --format names. Returns an exit code, after saying what is wrong. */
int dump_graph(const struct options *o, const strata_graph *g, FILE *to);

/* After --after's pass, or after each one that changed the graph. */
int dump_stages(const struct model *m, strata_graph *g, FILE *to);
/* The same with a file per pass in the folder --output, "00-built.graph" being the first. */
int dump_folder(const struct model *m, strata_graph *g);

/* --diff A B. */
int dump_diff(const struct options *o, FILE *to);

#endif
