/* The insides of a graph, for graph/ and scheduler/. Everybody else uses <strata/extend.h>. */
#ifndef STRATA_GRAPH_GRAPH_H
#define STRATA_GRAPH_GRAPH_H

#include <strata/extend.h>

#include "arena.h"
#include "names.h"

static const uint32_t STRATA_NEW_NODE = UINT32_MAX; /* node->id before the next refresh */

typedef struct graph_output {
    const char  *name;
    strata_node *node;
} graph_output;

typedef struct graph_feature {
    const char  *name;
    strata_node *node;
    int          index, channels, reduction;
} graph_feature;

/* A growing array of the graph's own records. */
#define GRAPH_LIST(type)     \
    struct {                 \
        type *at;            \
        int   count, capacity; \
    }

struct strata_graph {
    strata_context     *ctx;
    strata_arena        arena; /* nodes, attributes, names */
    const char         *name;
    strata_input_record record;
    name_map            names;
    GRAPH_LIST(strata_node *) nodes; /* in execution order after refresh */
    GRAPH_LIST(strata_node *) inputs;
    GRAPH_LIST(graph_output) outputs;
    GRAPH_LIST(graph_output) declared; /* the outputs as built: what "logits" means for ever */
    GRAPH_LIST(graph_feature) features;
};

/* Makes room for one more element in a GRAPH_LIST; false when out of memory. */
#define graph_list_grow(list) strata_graph_list_grow((void **)&(list)->at, &(list)->capacity, (list)->count, sizeof *(list)->at)
bool strata_graph_list_grow(void **at, int *capacity, int count, size_t element);

strata_status strata_graph_create(strata_context *ctx, const char *name, strata_graph **out, strata_error *err);
/* Appends a node and its name; false when out of memory. */
bool strata_graph_append(strata_graph *g, strata_node *n);
/* Takes nodes out of the list: those with remove[position] set. */
void strata_graph_remove(strata_graph *g, const bool *remove);

/* Whether op accepts the node's operands and attributes; *desc is the result that it infers. */
strata_status strata_check_node(const strata_node *n, strata_tensor_desc *desc, strata_error *err);

/* Attribute values as the rows of an op describe them. */
void          strata_attrs_set_defaults(const strata_op_def *op, void *attrs);
strata_status strata_attrs_check(const strata_op_def *op, const void *attrs, strata_error *err);
int           strata_attr_length(const strata_attr_def *row, const void *attrs); /* numbers it holds */
double        strata_attr_get(const strata_attr_def *row, const void *attrs, int i);
void          strata_attr_set(const strata_attr_def *row, void *attrs, int i, double value);
bool          strata_attr_is_default(const strata_attr_def *row, const void *attrs);

/* Where values lie over the input image: what windows, strides and pads on the way add up to. */
typedef struct node_geometry {
    double field[2], stride[2], offset[2]; /* as in strata_feature */
    bool   spatial;                        /* false: sees everything, or has no place */
} node_geometry;
/* One entry per node, by id; the caller frees. NULL when out of memory. */
node_geometry *strata_graph_geometry(const strata_graph *g);

/* Rewrites `fmt`-formatted text into the graph's arena; NULL when out of memory. */
const char *strata_graph_format(strata_graph *g, const char *fmt, ...) STRATA_PRINTF(2, 3);

#endif
