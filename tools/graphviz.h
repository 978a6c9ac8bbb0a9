/* graphviz.h: pictures of graphs, drawn by Graphviz's program 'dot' where that is installed. */
#ifndef STRATA_TOOLS_GRAPHVIZ_H
#define STRATA_TOOLS_GRAPHVIZ_H

#include <strata/strata.h>

/* The graph as a picture of this type, "svg" or "png". Returns an exit code, after saying what is wrong. */
int graphviz_draw(const strata_graph *g, const char *type, FILE *to);

#endif
