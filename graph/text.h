/* What printing and parsing the text form share. The language is described in docs/text-format.md. */
#ifndef STRATA_GRAPH_TEXT_H
#define STRATA_GRAPH_TEXT_H

#include "graph.h"

/* Extra words for the end of a node's line; "" for none. */
typedef const char *(*strata_comment_fn)(void *user, const strata_node *n);

strata_status strata_print_text(const strata_graph *g, FILE *to, strata_comment_fn comment, void *user, strata_error *err);
strata_status strata_print_dot(const strata_graph *g, FILE *to, strata_error *err);
strata_status strata_print_json(const strata_graph *g, FILE *to, strata_error *err);

/* A decimal that reads back as the same double, in whatever locale, and strtod likewise: whole numbers below
 * 1e15 in full (240), others in as few digits as do (1e-05). */
const char *strata_number_text(double value, char buf[32]);
double      strata_number_read(const char *text, char **end);
/* " {stride=2, act=relu}" for what differs from the defaults, or "". False when buf is too small. */
bool strata_attrs_text(const strata_node *n, char *buf, size_t size);
/* Pieces of a node's line: "%name", "(%a, @w, _)", "f32[1,64,56,56].nhwc", and the whole of it. */
void strata_print_name(FILE *to, const strata_node *n);
void strata_print_operands(FILE *to, const strata_node *n);
void strata_print_type(FILE *to, const strata_tensor_desc *desc);
void strata_print_definition(FILE *to, const strata_node *n);
void strata_print_quoted(FILE *to, const char *text);
void strata_print_record(FILE *to, const strata_input_record *r);

/* What sort of work a node is, read from its op's definition: for colours and tables. */
#define STRATA_KIND_MAP(XX)                                                                        \
    XX(INPUT, input, "#ffffff") XX(CONSTANT, constant, "#eeeeee") XX(MULTIPLY, multiply, "#b9d3f2") \
    XX(WINDOW, window, "#bfe3c2") XX(COMBINE, combine, "#f9d8a6") XX(ELEMENTWISE, elementwise, "#f7c6cb") \
    XX(SHAPE, shape, "#e3e0d7") XX(OTHER, other, "#d9ccf0")
#define XX(name, text, color) STRATA_KIND_##name,
typedef enum strata_kind { STRATA_KIND_MAP(XX) STRATA_KIND_COUNT } strata_kind;
#undef XX
extern const char *const strata_kind_names[], *const strata_kind_colors[];
strata_kind strata_node_kind(const strata_node *n);
/* Length of the part of a value's name that is its scope: "layer1.0" of "layer1.0.conv1". */
size_t strata_scope_length(const strata_context *ctx, const char *name);

/* Whether `c` may stand in a name without quotes. */
bool strata_name_char(int c);

extern const char *const strata_interpolation_names[];

#endif
