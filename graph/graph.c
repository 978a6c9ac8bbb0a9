/* Nodes, outputs and features of a graph, and the analyses that are recomputed from scratch when they are
 * needed: order, use counts, liveness. */
#include "graph.h"

#include <strata/ops.h> /* the three sources: the only ops that the core knows */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

bool strata_graph_list_grow(void **at, int *capacity, int count, size_t element)
{
    if (count < *capacity)
        return true;
    int   wanted = *capacity ? 2 * *capacity : 16;
    void *grown  = realloc(*at, (size_t)wanted * element);
    if (!grown)
        return false;
    *at       = grown;
    *capacity = wanted;
    return true;
}

strata_status strata_graph_create(strata_context *ctx, const char *name, strata_graph **out, strata_error *err)
{
    strata_graph *g = calloc(1, sizeof *g);
    if (!g)
        return strata_fail(err, STRATA_NOMEM, "no memory for graph '%s'", name);
    g->ctx  = ctx;
    g->name = strata_arena_strdup(&g->arena, name);
    if (!g->name) {
        free(g);
        return strata_fail(err, STRATA_NOMEM, "no memory for graph '%s'", name);
    }
    *out = g;
    return STRATA_OK;
}

void strata_graph_destroy(strata_graph *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->nodes.count; i++)
        strata_tensor_unref(g->nodes.at[i]->data);
    free(g->nodes.at);
    free(g->inputs.at);
    free(g->outputs.at);
    free(g->declared.at);
    free(g->features.at);
    name_map_free(&g->names);
    strata_arena_free(&g->arena);
    free(g);
}

strata_context            *strata_graph_context(const strata_graph *g) { return g->ctx; }
const char                *strata_graph_name(const strata_graph *g) { return g->name; }
const strata_input_record *strata_graph_input_record(const strata_graph *g) { return &g->record; }
int                        strata_graph_node_count(const strata_graph *g) { return g->nodes.count; }
strata_node               *strata_graph_node(const strata_graph *g, int i) { return g->nodes.at[i]; }
int                        strata_graph_input_count(const strata_graph *g) { return g->inputs.count; }
int                        strata_graph_output_count(const strata_graph *g) { return g->outputs.count; }
int                        strata_graph_feature_count(const strata_graph *g) { return g->features.count; }

strata_node *strata_graph_find(const strata_graph *g, const char *name) { return name_map_get(&g->names, name); }

void strata_graph_set_input_record(strata_graph *g, const strata_input_record *record) { g->record = *record; }

strata_output strata_graph_input(const strata_graph *g, int i)
{
    const strata_node *n = g->inputs.at[i];
    return (strata_output){ n->name, n, &n->desc };
}

strata_output strata_graph_output(const strata_graph *g, int i)
{
    const graph_output *o = &g->outputs.at[i];
    return (strata_output){ o->name, o->node, &o->node->desc };
}

strata_node *strata_graph_declared_output(const strata_graph *g, const char *name)
{
    for (int i = 0; i < g->declared.count; i++)
        if (strcmp(g->declared.at[i].name, name) == 0)
            return g->declared.at[i].node;
    return NULL;
}

bool strata_node_is_source(const strata_node *n) { return n->op->flags & STRATA_OP_SOURCE; }
bool strata_node_is_constant(const strata_node *n) { return n->op == &strata_op_param || n->op == &strata_op_const; }

int strata_operand_count(const strata_node *n)
{
    int count = STRATA_MAX_OPERANDS;
    while (count > 0 && !n->in[count - 1])
        count--;
    return count;
}

const char *strata_operand_role(const strata_node *n, int k)
{
    return n->op->flags & STRATA_OP_VARIADIC ? NULL : n->op->operands[k].role;
}

void strata_node_set_data(strata_node *n, strata_tensor *t)
{
    if (t)
        strata_tensor_ref(t);
    strata_tensor_unref(n->data);
    n->data = t;
}

/* ---- Names ------------------------------------------------------------------------------------------------ */

const char *strata_graph_format(strata_graph *g, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int   length = vsnprintf(NULL, 0, fmt, args);
    char *text   = length < 0 ? NULL : strata_arena_alloc(&g->arena, (size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}

const char *strata_graph_unique_name(strata_graph *g, const char *base)
{
    if (!strata_graph_find(g, base))
        return strata_arena_strdup(&g->arena, base);
    for (int i = 1;; i++) {
        const char *name = strata_graph_format(g, "%s.%d", base, i);
        if (!name || !strata_graph_find(g, name))
            return name;
    }
}

bool strata_graph_append(strata_graph *g, strata_node *n)
{
    if (!graph_list_grow(&g->nodes) || !name_map_put(&g->names, n->name, n))
        return false;
    g->nodes.at[g->nodes.count++] = n;
    n->id                         = STRATA_NEW_NODE;
    n->device                     = -1;
    return true;
}

/* ---- Outputs ---------------------------------------------------------------------------------------------- */

void strata_graph_clear_outputs(strata_graph *g) { g->outputs.count = 0; }

strata_status strata_graph_add_output(strata_graph *g, const char *name, strata_node *n, strata_error *err)
{
    for (int i = 0; i < g->outputs.count; i++)
        if (strcmp(g->outputs.at[i].name, name) == 0)
            return strata_fail(err, STRATA_INVALID, "output '%s' is asked for twice", name);
    const char *own = strata_arena_strdup(&g->arena, name);
    if (!own || !graph_list_grow(&g->outputs))
        return strata_fail(err, STRATA_NOMEM, "no memory for output '%s'", name);
    g->outputs.at[g->outputs.count++] = (graph_output){ own, n };
    return STRATA_OK;
}

void strata_graph_replace(strata_graph *g, strata_node *from, strata_node *to)
{
    for (int i = 0; i < g->nodes.count; i++)
        for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
            if (g->nodes.at[i]->in[k] == from && g->nodes.at[i] != to)
                g->nodes.at[i]->in[k] = to;
    for (int i = 0; i < g->outputs.count; i++)
        if (g->outputs.at[i].node == from)
            g->outputs.at[i].node = to;
    for (int i = 0; i < g->declared.count; i++)
        if (g->declared.at[i].node == from)
            g->declared.at[i].node = to;
    for (int i = 0; i < g->features.count; i++)
        if (g->features.at[i].node == from)
            g->features.at[i].node = to;
}

/* ---- Order, uses, liveness ---------------------------------------------------------------------------------- */

void strata_graph_mark_live(const strata_graph *g, bool *live)
{
    memset(live, 0, (size_t)g->nodes.count * sizeof *live);
    for (int i = 0; i < g->outputs.count; i++)
        live[g->outputs.at[i].node->id] = true;
    for (int i = g->nodes.count - 1; i >= 0; i--)
        for (int k = 0; live[i] && k < STRATA_MAX_OPERANDS; k++)
            if (g->nodes.at[i]->in[k])
                live[g->nodes.at[i]->in[k]->id] = true;
}

static strata_status count_uses(strata_graph *g, strata_error *err)
{
    bool *live = malloc((size_t)g->nodes.count + 1);
    if (!live)
        return strata_fail(err, STRATA_NOMEM, "no memory to analyse graph '%s'", g->name);
    strata_graph_mark_live(g, live);
    for (int i = 0; i < g->nodes.count; i++)
        g->nodes.at[i]->uses = 0;
    for (int i = 0; i < g->nodes.count; i++)
        for (int k = 0; live[i] && k < STRATA_MAX_OPERANDS; k++)
            if (g->nodes.at[i]->in[k])
                g->nodes.at[i]->in[k]->uses++;
    for (int i = 0; i < g->outputs.count; i++)
        g->outputs.at[i].node->uses++;
    free(live);
    return STRATA_OK;
}

/* Depth first, operands before their users, otherwise in the order of the list: so a node that a pass appended
 * lands right before its first user and the rest keeps its place. The stack is our own: graphs can be deep. */
strata_status strata_graph_refresh(strata_graph *g, strata_error *err)
{
    const uint32_t UNSEEN = UINT32_MAX, OPEN = UINT32_MAX - 1;
    const int     count  = g->nodes.count;
    strata_node **order  = malloc(((size_t)count + 1) * sizeof *order);
    strata_node **stack  = malloc(((size_t)count + 1) * sizeof *stack);
    strata_status status = STRATA_OK;
    if (!order || !stack) {
        status = strata_fail(err, STRATA_NOMEM, "no memory to order graph '%s'", g->name);
        goto done;
    }
    for (int i = 0; i < count; i++)
        g->nodes.at[i]->id = UNSEEN;

    uint32_t placed = 0;
    for (int i = 0; i < count; i++) {
        int depth = 0;
        if (g->nodes.at[i]->id == UNSEEN)
            stack[depth++] = g->nodes.at[i];
        while (depth > 0) {
            strata_node *n = stack[depth - 1], *next = NULL;
            n->id = OPEN;
            for (int k = 0; k < STRATA_MAX_OPERANDS && !next; k++)
                if (n->in[k] && n->in[k]->id >= OPEN)
                    next = n->in[k];
            if (next && next->id == OPEN) {
                status = strata_fail(err, STRATA_INTERNAL, "%s: the graph has a cycle through %s", n->name, next->name);
                goto done;
            }
            if (next) {
                stack[depth++] = next;
            } else {
                order[placed] = n;
                n->id         = placed++;
                depth--;
            }
        }
    }
    memcpy(g->nodes.at, order, (size_t)count * sizeof *order);
    status = count_uses(g, err);
done:
    free(order);
    free(stack);
    return status;
}

void strata_graph_remove(strata_graph *g, const bool *remove)
{
    int kept = 0;
    for (int i = 0; i < g->nodes.count; i++) {
        strata_node *n = g->nodes.at[i];
        if (!remove[i]) {
            g->nodes.at[kept++] = n;
            continue;
        }
        strata_node_set_data(n, NULL);
        if (name_map_get(&g->names, n->name) == n)
            name_map_remove(&g->names, n->name);
        n->op = NULL; /* marks it for the lists below; nobody else refers to it */
    }
    g->nodes.count = kept;

    kept = 0;
    for (int i = 0; i < g->features.count; i++)
        if (g->features.at[i].node->op)
            g->features.at[kept++] = g->features.at[i];
    g->features.count = kept;
    kept              = 0;
    for (int i = 0; i < g->declared.count; i++)
        if (g->declared.at[i].node->op)
            g->declared.at[kept++] = g->declared.at[i];
    g->declared.count = kept;
}

void strata_graph_prune(strata_graph *g, bool *changed)
{
    bool *remove = malloc((size_t)g->nodes.count + 1);
    if (!remove)
        return; /* dead nodes are harmless: nothing reads them */
    strata_graph_mark_live(g, remove);
    bool any = false;
    for (int i = 0; i < g->nodes.count; i++) {
        bool is_input = false;
        for (int k = 0; k < g->inputs.count; k++)
            is_input |= g->inputs.at[k] == g->nodes.at[i];
        remove[i] = !remove[i] && !is_input;
        any |= remove[i];
    }
    strata_graph_remove(g, remove);
    for (int i = 0; i < g->nodes.count; i++)
        g->nodes.at[i]->id = (uint32_t)i;
    free(remove);
    *changed |= any;
}

void strata_graph_cost(const strata_graph *g, uint64_t *params, uint64_t *macs)
{
    uint64_t elements = 0, work = 0;
    bool    *live = malloc((size_t)g->nodes.count + 1);
    if (live)
        strata_graph_mark_live(g, live);
    for (int i = 0; i < g->nodes.count; i++) {
        const strata_node *n = g->nodes.at[i];
        if (live && !live[i])
            continue;
        if (n->op == &strata_op_param)
            elements += (uint64_t)strata_count(&n->desc);
        else if (n->op->macs)
            work += n->op->macs(n);
    }
    free(live);
    if (params)
        *params = elements;
    if (macs)
        *macs = work;
}
