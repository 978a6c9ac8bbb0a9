/* compare_cut.c: pieces of graphs, as graphs of their own. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>

/* What stands for each node of g in the new graph, by id. */
struct cutter {
    strata_builder *b;
    strata_node   **made;
};

static strata_node *source_for(struct cutter *c, const strata_node *n)
{
    strata_node **made = &c->made[n->id];
    if (*made)
        return *made;
    if (!strata_node_is_constant(n))
        return *made = strata_emit_input(c->b, n->name, &n->desc);
    *made = strata_emit_param(c->b, n->name, &n->desc);
    if (n->data && !strata_builder_failed(c->b))
        strata_node_set_data(*made, n->data);
    return *made;
}

static void emit_node(struct cutter *c, const strata_node *n)
{
    strata_node *in[STRATA_MAX_OPERANDS] = { NULL };
    const int    count = strata_operand_count(n);
    for (int k = 0; k < count; k++)
        if (n->in[k])
            in[k] = source_for(c, n->in[k]);
    c->made[n->id] = strata_emit_n(c->b, n->op, n->name, n->attrs, in, count);
}

strata_status cut_graph(const strata_graph *g, const bool *inside, const strata_node *const *outs, int count, bool inputs,
                        strata_graph **out, strata_error *err)
{
    const int     nodes = strata_graph_node_count(g);
    struct cutter c = { .made = calloc((size_t)nodes + 1, sizeof(strata_node *)) };
    if (!c.made)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    strata_status status = strata_builder_create(strata_graph_context(g), strata_graph_name(g), &c.b, err);
    if (status != STRATA_OK) {
        free(c.made);
        return status;
    }
    for (int i = 0; inputs && i < strata_graph_input_count(g); i++)
        source_for(&c, strata_graph_input(g, i).node);
    for (int i = 0; i < nodes; i++) {
        const strata_node *n = strata_graph_node(g, i);
        if (inside[i] && !strata_node_is_source(n))
            emit_node(&c, n);
    }
    for (int i = 0; i < count; i++)
        strata_emit_output(c.b, outs[i]->name, source_for(&c, outs[i]));
    free(c.made);
    STRATA_TRY(strata_builder_finish(c.b, out, err));
    strata_graph_set_input_record(*out, strata_graph_input_record(g));
    return STRATA_OK;
}

strata_status cut_copy(const strata_graph *g, strata_graph **out, strata_error *err)
{
    const int           nodes = strata_graph_node_count(g), count = strata_graph_output_count(g);
    bool               *live = calloc((size_t)nodes + 1, sizeof *live);
    const strata_node **outs = calloc((size_t)count + 1, sizeof *outs);
    strata_status       status = live && outs ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "out of memory");
    if (status == STRATA_OK) {
        int distinct = 0;
        strata_graph_mark_live(g, live);
        for (int i = 0; i < count; i++) { /* two outputs may be one value */
            const strata_node *n = strata_graph_output(g, i).node;
            bool               again = false;
            for (int k = 0; k < distinct; k++)
                again |= outs[k] == n;
            if (!again)
                outs[distinct++] = n;
        }
        status = cut_graph(g, live, outs, distinct, true, out, err);
    }
    free(live);
    free(outs);
    return status;
}

/* Users come after their operands, so one walk backwards knows the shortest way from n to each. */
bool cut_mark(const strata_graph *g, const strata_node *n, int depth, int *steps, bool *inside)
{
    const int nodes = strata_graph_node_count(g);
    bool      whole = true;
    memset(inside, 0, (size_t)nodes * sizeof *inside);
    memset(steps, 0, (size_t)nodes * sizeof *steps);
    steps[n->id] = 1;
    for (int i = (int)n->id; i >= 0; i--) {
        inside[i] = steps[i] > 0 && steps[i] <= depth;
        for (int k = 0; steps[i] && k < STRATA_MAX_OPERANDS; k++) {
            const strata_node *in = strata_graph_node(g, i)->in[k];
            if (in && !strata_node_is_source(in) && (!steps[in->id] || steps[in->id] > steps[i] + 1))
                steps[in->id] = steps[i] + 1;
        }
        whole &= !steps[i] || inside[i];
    }
    return whole;
}
