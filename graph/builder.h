/* What the pass manager needs of a builder beyond <strata/extend.h>. */
#ifndef STRATA_GRAPH_BUILDER_H
#define STRATA_GRAPH_BUILDER_H

#include "graph.h"

/* From now on the name of `n` may be asked for again: the new node is to replace it. NULL: no such node. */
void strata_builder_set_replaced(strata_builder *b, strata_node *n);
/* The error that stuck; status STRATA_OK when there is none. */
const strata_error *strata_builder_error(const strata_builder *b);

/* strata_emit_feature with an index of its own: what is left of a table keeps its numbers. */
void strata_emit_feature_at(strata_builder *b, int index, const char *name, strata_node *n, int channels, int reduction);

#endif
