/* The law of the IR, checked from scratch: a node's operands and attributes fit its op, its result is what the op
 * infers, names are unique and found, operands come before their users, outputs and features lie in the graph. */
#include "graph.h"

/* Operands present and absent as the op's table says. */
static strata_status check_operands(const strata_node *n, strata_error *err)
{
    const strata_op_def *op = n->op;
    int count = strata_operand_count(n), wanted = 0;
    while (wanted < STRATA_MAX_OPERANDS && op->operands[wanted].name)
        wanted++;
    if (op->flags & STRATA_OP_VARIADIC) {
        if (count < 1)
            return strata_fail(err, STRATA_INVALID, "needs at least one operand");
        for (int k = 0; k < count; k++)
            if (!n->in[k])
                return strata_fail(err, STRATA_INVALID, "operand %d is missing", k);
        return STRATA_OK;
    }
    if (count > wanted)
        return strata_fail(err, STRATA_INVALID, "has %d operands; it takes %d", count, wanted);
    for (int k = 0; k < wanted; k++)
        if (!n->in[k] && !op->operands[k].optional)
            return strata_fail(err, STRATA_INVALID, "operand %d, %s, is missing", k, op->operands[k].name);
    return STRATA_OK;
}

static strata_status check_result(const strata_tensor_desc *desc, strata_error *err)
{
    char shape[128];
    for (int i = 0; i < desc->rank; i++)
        if (desc->dim[i] < 1)
            return strata_fail(err, STRATA_SHAPE, "the result has shape %s; every dim must be at least 1",
                               strata_shape_text(desc, shape, sizeof shape));
    if (strata_count(desc) < 0 || strata_count(desc) > INT64_MAX / 8)
        return strata_fail(err, STRATA_SHAPE, "the result of shape %s is too large",
                           strata_shape_text(desc, shape, sizeof shape));
    return STRATA_OK;
}

strata_status strata_check_node(const strata_node *n, strata_tensor_desc *desc, strata_error *err)
{
    const strata_op_def *op = n->op;
    STRATA_TRY(check_operands(n, err));
    STRATA_TRY(strata_attrs_check(op, n->attrs, err));
    if (!op->infer) {
        *desc = n->desc;
        if (desc->rank < 0 || desc->rank > STRATA_MAX_RANK)
            return strata_fail(err, STRATA_SHAPE, "rank %d is not in 0..%d", desc->rank, STRATA_MAX_RANK);
    } else {
        *desc = n->in[0] ? n->in[0]->desc : (strata_tensor_desc){ 0 };
        STRATA_TRY(op->infer(n, desc, err));
    }
    return check_result(desc, err);
}

static bool same_desc(const strata_tensor_desc *a, const strata_tensor_desc *b)
{
    return a->dtype == b->dtype && a->layout == b->layout && strata_same_shape(a, b);
}

static strata_status validate_node(const strata_graph *g, int at, strata_error *err)
{
    const strata_node *n = g->nodes.at[at];
    strata_tensor_desc desc;
    char               one[128], two[128];

    if (n->id != (uint32_t)at)
        return strata_fail(err, STRATA_INTERNAL, "has id %u at place %d", n->id, at);
    if (strata_graph_find(g, n->name) != n)
        return strata_fail(err, STRATA_INTERNAL, "its name belongs to another node");
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        if (n->in[k] && (n->in[k]->id >= n->id || g->nodes.at[n->in[k]->id] != n->in[k]))
            return strata_fail(err, STRATA_INTERNAL, "operand %s is not computed before it", n->in[k]->name);
    STRATA_TRY(strata_check_node(n, &desc, err));
    if (!same_desc(&desc, &n->desc))
        return strata_fail(err, STRATA_INTERNAL, "its type is %s%s, but the op gives %s%s",
                           strata_dtype_name(n->desc.dtype), strata_shape_text(&n->desc, one, sizeof one),
                           strata_dtype_name(desc.dtype), strata_shape_text(&desc, two, sizeof two));
    if (n->data && !same_desc(strata_tensor_get_desc(n->data), &n->desc))
        return strata_fail(err, STRATA_INTERNAL, "its data has shape %s, its type %s",
                           strata_shape_text(strata_tensor_get_desc(n->data), one, sizeof one),
                           strata_shape_text(&n->desc, two, sizeof two));
    return STRATA_OK;
}

static bool in_graph(const strata_graph *g, const strata_node *n)
{
    return n && n->id < (uint32_t)g->nodes.count && g->nodes.at[n->id] == n;
}

strata_status strata_graph_validate(const strata_graph *g, strata_error *err)
{
    for (int i = 0; i < g->nodes.count; i++) {
        const strata_node *n      = g->nodes.at[i];
        strata_status      status = validate_node(g, i, err);
        if (status != STRATA_OK)
            return strata_fail_in(err, status, "%s: %s", n->name, n->op->name);
    }
    if (g->outputs.count == 0)
        return strata_fail(err, STRATA_INVALID, "graph '%s' has no output", g->name);
    for (int i = 0; i < g->outputs.count; i++)
        if (!in_graph(g, g->outputs.at[i].node))
            return strata_fail(err, STRATA_INTERNAL, "output '%s' is no node of the graph", g->outputs.at[i].name);
    for (int i = 0; i < g->features.count; i++)
        if (!in_graph(g, g->features.at[i].node))
            return strata_fail(err, STRATA_INTERNAL, "feature '%s' is no node of the graph", g->features.at[i].name);
    return STRATA_OK;
}
