/* How graphs grow. The first error sticks: every later call returns the builder's dead node, whose shape is all
 * ones, and finish reports the error. So model code needs no checks. */
#include "builder.h"

#include <strata/ops.h>

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 32, LONGEST_SCOPE = 512 };

struct strata_builder {
    strata_graph *graph;
    bool          own;  /* a new graph: finish checks it, failure destroys it */
    strata_node   dead;
    strata_error  error;
    char          scope[LONGEST_SCOPE]; /* "layer1.0" */
    size_t        mark[DEEPEST];        /* lengths of the enclosing scopes */
    int           depth;
    strata_node  *replaced; /* while a pass rewrites it: its name may be given to a new node */
};

static strata_status create(strata_graph *g, bool own, strata_builder **out, strata_error *err)
{
    strata_builder *b = calloc(1, sizeof *b);
    if (!b)
        return strata_fail(err, STRATA_NOMEM, "no memory for a builder");
    b->graph     = g;
    b->own       = own;
    b->dead.desc = strata_desc_f32(4, (int64_t[]){ 1, 1, 1, 1 });
    b->dead.name = "dead";
    *out         = b;
    return STRATA_OK;
}

strata_status strata_builder_create(strata_context *ctx, const char *graph_name, strata_builder **out,
                                    strata_error *err)
{
    strata_graph *g;
    STRATA_TRY(strata_graph_create(ctx, graph_name, &g, err));
    strata_status status = create(g, true, out, err);
    if (status != STRATA_OK)
        strata_graph_destroy(g);
    return status;
}

strata_status strata_builder_open(strata_graph *g, strata_builder **out, strata_error *err)
{
    return create(g, false, out, err);
}

strata_graph *strata_builder_graph(strata_builder *b) { return b->graph; }
bool          strata_builder_failed(const strata_builder *b) { return b->error.status != STRATA_OK; }
const strata_error *strata_builder_error(const strata_builder *b) { return &b->error; }
void          strata_builder_set_replaced(strata_builder *b, strata_node *n) { b->replaced = n; }

void strata_builder_fail(strata_builder *b, strata_status status, const char *fmt, ...)
{
    if (strata_builder_failed(b))
        return;
    va_list args;
    va_start(args, fmt);
    b->error.status = status;
    vsnprintf(b->error.text, sizeof b->error.text, fmt, args);
    va_end(args);
}

static strata_node *no_memory(strata_builder *b)
{
    strata_builder_fail(b, STRATA_NOMEM, "no memory for graph '%s'", b->graph->name);
    return &b->dead;
}

/* ---- Scopes ------------------------------------------------------------------------------------------------ */

void strata_push_scope(strata_builder *b, const char *fmt, ...)
{
    size_t length = strlen(b->scope);
    if (b->depth == DEEPEST) {
        strata_builder_fail(b, STRATA_INVALID, "scope '%s' is nested too deeply", b->scope);
        return;
    }
    b->mark[b->depth++] = length;
    va_list args;
    va_start(args, fmt);
    size_t dot  = length > 0 && length + 1 < sizeof b->scope;
    int    more = vsnprintf(b->scope + length + dot, sizeof b->scope - length - dot, fmt, args);
    va_end(args);
    if (dot)
        b->scope[length] = '.';
    if (more <= 0 || length + dot + (size_t)more >= sizeof b->scope)
        strata_builder_fail(b, STRATA_INVALID, "scope '%s' is empty or too long", b->scope);
}

void strata_pop_scope(strata_builder *b)
{
    if (b->depth > 0)
        b->scope[b->mark[--b->depth]] = 0;
}

const char *strata_scoped(strata_builder *b, const char *leaf)
{
    const char *name = !leaf      ? strata_arena_strdup(&b->graph->arena, b->scope)
                       : !*b->scope ? strata_arena_strdup(&b->graph->arena, leaf)
                                  : strata_graph_format(b->graph, "%s.%s", b->scope, leaf);
    if (!name)
        no_memory(b);
    return name ? name : "";
}

/* ---- Nodes ------------------------------------------------------------------------------------------------- */

/* The name that the new node takes, in the graph's memory; NULL after a failure. */
static const char *choose_name(strata_builder *b, const strata_op_def *op, const char *name)
{
    if (!name)
        return strata_graph_unique_name(b->graph, strata_scoped(b, op->name));
    strata_node *holder = strata_graph_find(b->graph, name);
    if (holder && holder == b->replaced) /* the manager renames the replacement when it is in place */
        return strata_graph_unique_name(b->graph, name);
    if (holder) {
        strata_builder_fail(b, STRATA_INVALID, "%s: the name is taken by a %s", name, holder->op->name);
        return NULL;
    }
    return strata_arena_strdup(&b->graph->arena, name);
}

static strata_node *new_node(strata_builder *b, const strata_op_def *op, const char *name, const void *attrs)
{
    if (strata_builder_failed(b))
        return &b->dead;
    name                 = choose_name(b, op, name);
    strata_node *n       = name ? strata_arena_alloc(&b->graph->arena, sizeof *n) : NULL;
    void        *storage = n ? strata_arena_alloc(&b->graph->arena, op->attr_size + 1) : NULL;
    if (!storage)
        return no_memory(b);
    if (attrs)
        memcpy(storage, attrs, op->attr_size);
    else
        strata_attrs_set_defaults(op, storage);
    n->op    = op;
    n->name  = name;
    n->attrs = storage;
    return n;
}

static strata_node *append(strata_builder *b, strata_node *n)
{
    strata_error err;
    strata_status status = strata_check_node(n, &n->desc, &err);
    if (status != STRATA_OK)
        strata_builder_fail(b, status, "%s: %s: %s", n->name, n->op->name, err.text);
    else if (!strata_graph_append(b->graph, n))
        no_memory(b);
    return strata_builder_failed(b) ? &b->dead : n;
}

strata_node *strata_emit_n(strata_builder *b, const strata_op_def *op, const char *name, const void *attrs,
                           strata_node *const *in, int count)
{
    if (count > STRATA_MAX_OPERANDS)
        strata_builder_fail(b, STRATA_INVALID, "%s: %d operands; at most %d are possible", op->name, count,
                            STRATA_MAX_OPERANDS);
    for (int k = 0; k < count && !strata_builder_failed(b); k++)
        if (in[k] && !in[k]->op)
            strata_builder_fail(b, STRATA_INVALID, "%s: operand %d is a node of another builder", op->name, k);
    strata_node *n = new_node(b, op, name, attrs);
    if (strata_builder_failed(b))
        return &b->dead;
    memcpy(n->in, in, (size_t)count * sizeof *in);
    return append(b, n);
}

static strata_node *emit_source(strata_builder *b, const strata_op_def *op, const char *name,
                                const strata_tensor_desc *desc)
{
    strata_node *n = new_node(b, op, name, NULL);
    if (strata_builder_failed(b))
        return &b->dead;
    n->desc = *desc;
    return append(b, n);
}

strata_node *strata_emit_input(strata_builder *b, const char *name, const strata_tensor_desc *desc)
{
    strata_node *n = emit_source(b, &strata_op_input, name, desc);
    if (!strata_builder_failed(b)) {
        if (!graph_list_grow(&b->graph->inputs))
            return no_memory(b);
        b->graph->inputs.at[b->graph->inputs.count++] = n;
    }
    return n;
}

strata_node *strata_emit_param(strata_builder *b, const char *name, const strata_tensor_desc *desc)
{
    return emit_source(b, &strata_op_param, name, desc);
}

strata_node *strata_emit_const(strata_builder *b, const char *name, const strata_tensor_desc *desc, strata_tensor *data)
{
    strata_node *n = emit_source(b, &strata_op_const, name, desc);
    if (!strata_builder_failed(b))
        strata_node_set_data(n, data);
    return n;
}

/* ---- Marks ------------------------------------------------------------------------------------------------- */

void strata_emit_feature(strata_builder *b, const char *name, strata_node *n, int channels, int reduction)
{
    strata_emit_feature_at(b, b->graph->features.count, name, n, channels, reduction);
}

void strata_emit_feature_at(strata_builder *b, int index, const char *name, strata_node *n, int channels, int reduction)
{
    if (strata_builder_failed(b))
        return;
    strata_graph *g = b->graph;
    for (int i = 0; i < g->features.count; i++)
        if (strcmp(g->features.at[i].name, name) == 0 || g->features.at[i].index == index) {
            strata_builder_fail(b, STRATA_INVALID, "feature '%s' (index %d) is registered twice", name, index);
            return;
        }
    if (n->desc.rank != 4 || n->desc.dim[1] != channels) {
        char shape[128];
        strata_builder_fail(b, STRATA_SHAPE, "feature '%s' (%s) is declared with %d channels, but its shape is %s", name,
                            n->name, channels, strata_shape_text(&n->desc, shape, sizeof shape));
        return;
    }
    const char *own = strata_arena_strdup(&g->arena, name);
    if (!own || !graph_list_grow(&g->features)) {
        no_memory(b);
        return;
    }
    g->features.at[g->features.count] = (graph_feature){ own, n, index, channels, reduction };
    g->features.count++;
}

void strata_emit_output(strata_builder *b, const char *name, strata_node *n)
{
    if (strata_builder_failed(b))
        return;
    strata_graph *g = b->graph;
    strata_error  err;
    strata_status status = strata_graph_add_output(g, name, n, &err);
    if (status != STRATA_OK)
        strata_builder_fail(b, status, "%s", err.text);
    else if (!graph_list_grow(&g->declared))
        no_memory(b);
    else
        g->declared.at[g->declared.count++] = g->outputs.at[g->outputs.count - 1];
}

/* The strides that the graph really has decide, not the sizes of one input: those round. */
static strata_status check_features(const strata_graph *g, strata_error *err)
{
    strata_status  status = STRATA_OK;
    node_geometry *known  = strata_graph_geometry(g);
    if (!known)
        return strata_fail(err, STRATA_NOMEM, "no memory to analyse graph '%s'", g->name);
    for (int i = 0; i < g->features.count && status == STRATA_OK; i++) {
        const graph_feature *f  = &g->features.at[i];
        const node_geometry *at = &known[f->node->id];
        for (int d = 0; d < 2 && status == STRATA_OK; d++)
            if (!at->spatial || fabs(at->stride[d] - f->reduction) > 1e-6)
                status = strata_fail(err, STRATA_SHAPE,
                                     "feature '%s' (%s) is declared with reduction %d, but the graph's stride is %.6g",
                                     f->name, f->node->name, f->reduction, at->spatial ? at->stride[d] : 0.0);
    }
    free(known);
    return status;
}

strata_status strata_builder_finish(strata_builder *b, strata_graph **out, strata_error *err)
{
    strata_graph *g = b->graph;
    if (!strata_builder_failed(b) && b->depth > 0)
        strata_builder_fail(b, STRATA_INVALID, "scope '%s' is still open", b->scope);
    strata_status status = strata_builder_failed(b) ? strata_fail(err, b->error.status, "%s", b->error.text) : STRATA_OK;
    if (b->own) {
        if (status == STRATA_OK)
            status = strata_graph_refresh(g, err);
        if (status == STRATA_OK)
            status = strata_graph_validate(g, err);
        if (status == STRATA_OK)
            status = check_features(g, err);
        if (status != STRATA_OK)
            strata_graph_destroy(g);
    }
    free(b);
    if (status == STRATA_OK && out)
        *out = g;
    return status;
}
