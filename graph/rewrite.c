/* The driver of rewriting passes: everything that the author of a pass should not write.
 *
 * Each node is shown to the pass once, in order. A replacement takes over uses and name at once, and the use counts
 * around it are corrected, so that a pass may trust `uses` while it runs. What dies on the way stays in memory
 * until the end of the pass: a rewrite may still hold it. */
#include "rewrite.h"

#include "builder.h"

#include <stdlib.h>
#include <string.h>

/* Counts the uses that a node makes of its operands, when it gets its first user itself. */
static void acquire(strata_node *n)
{
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        if (n->in[k] && n->in[k]->uses++ == 0)
            acquire(n->in[k]);
}

/* The reverse, when a node has lost its last user. */
static void release(strata_node *n)
{
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        if (n->in[k] && --n->in[k]->uses == 0)
            release(n->in[k]);
}

/* Makes `by` what `old` was. Nodes from place `fresh` on were made for this replacement: when they read `old`, they
 * are wrapped around it and go on reading it. */
static strata_status replace(strata_graph *g, strata_node *old, strata_node *by, int fresh, strata_error *err)
{
    if (!strata_same_shape(&old->desc, &by->desc))
        return strata_fail(err, STRATA_INTERNAL, "%s: its replacement %s has another shape", old->name, by->name);
    const uint32_t users = old->uses;
    const int      count = g->nodes.count;
    g->nodes.count       = fresh;
    strata_graph_replace(g, old, by);
    g->nodes.count = count;

    bool is_fresh = false;
    for (int k = fresh; k < count; k++)
        is_fresh |= g->nodes.at[k] == by;
    if (by->uses == 0)
        acquire(by);
    by->uses += users;
    old->uses -= users;
    if (old->uses == 0)
        release(old);
    if (!is_fresh)
        return STRATA_OK;

    const char *name = old->name; /* what was named so is now computed by `by` */
    name_map_remove(&g->names, by->name);
    if (old->uses > 0) {
        old->name = strata_graph_unique_name(g, name);
        if (!old->name || !name_map_put(&g->names, old->name, old))
            return strata_fail(err, STRATA_NOMEM, "no memory to rename %s", name);
    }
    by->name = name;
    return name_map_put(&g->names, name, by) ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "no memory to rename %s", name);
}

strata_status strata_rewrite(strata_graph *g, const strata_pass_def *pass, bool *changed, strata_error *err)
{
    strata_builder *b;
    strata_graph_prune(g, changed);
    const int     count = g->nodes.count;
    strata_node **todo  = malloc(((size_t)count + 1) * sizeof *todo);
    if (!todo)
        return strata_fail(err, STRATA_NOMEM, "no memory to rewrite graph '%s'", g->name);
    memcpy(todo, g->nodes.at, (size_t)count * sizeof *todo);
    strata_status status = strata_builder_open(g, &b, err);
    if (status != STRATA_OK) {
        free(todo);
        return status;
    }
    for (int i = 0; i < count && status == STRATA_OK && !strata_builder_failed(b); i++) {
        strata_node *n = todo[i];
        if (n->uses == 0 || strata_node_is_source(n))
            continue;
        const int fresh = g->nodes.count;
        strata_builder_set_replaced(b, n);
        strata_push_scope(b, "%s", n->name);
        strata_node *by = pass->rewrite(b, n);
        strata_pop_scope(b);
        if (by != n && !strata_builder_failed(b)) {
            *changed = true;
            status   = replace(g, n, by, fresh, err);
        }
    }
    free(todo);
    strata_status built = strata_builder_finish(b, NULL, status == STRATA_OK ? err : NULL);
    if (status == STRATA_OK)
        status = built;
    if (status == STRATA_OK)
        status = strata_graph_refresh(g, err);
    if (status == STRATA_OK)
        strata_graph_prune(g, changed);
    return status;
}
