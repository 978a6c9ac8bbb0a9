/* Drives pass->rewrite over a graph. */
#ifndef STRATA_GRAPH_REWRITE_H
#define STRATA_GRAPH_REWRITE_H

#include "graph.h"

/* The graph is refreshed before; afterwards it wants a refresh and has no dead nodes. */
strata_status strata_rewrite(strata_graph *g, const strata_pass_def *pass, bool *changed, strata_error *err);

#endif
