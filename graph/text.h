/* What printing and parsing the text form share. The language is described in docs/text-format.md. */
#ifndef STRATA_GRAPH_TEXT_H
#define STRATA_GRAPH_TEXT_H

#include "graph.h"

/* Extra words for the end of a node's line; "" for none. */
typedef const char *(*strata_comment_fn)(void *user, const strata_node *n);

strata_status strata_print_text(const strata_graph *g, FILE *to, strata_comment_fn comment, void *user, strata_error *err);
strata_status strata_print_dot(const strata_graph *g, FILE *to, strata_error *err);
strata_status strata_print_json(const strata_graph *g, FILE *to, strata_error *err);

/* The shortest decimal that reads back as the same double. */
const char *strata_number_text(double value, char buf[32]);
/* " {stride=2, act=relu}" for what differs from the defaults, or "". False when buf is too small. */
bool strata_attrs_text(const strata_node *n, char *buf, size_t size);
/* Whether `c` may stand in a name without quotes. */
bool strata_name_char(int c);

extern const char *const strata_interpolation_names[];

#endif
