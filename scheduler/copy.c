/* A graph again: as it is, for whoever will need it later, or for another number of images. Its nodes have the places
 * and kernels of the first ones, its constants the same tensors. */
#include "program.h"

#include <strata/ops.h>

#include <stdlib.h>
#include <string.h>

typedef struct copier {
    strata_builder *b;
    int64_t         rows;  /* dim 0 of inputs; 0: theirs */
    strata_node   **made;  /* by id of the first node */
    void           *attrs; /* room for those of any node */
} copier;

static strata_node *copy_input(const copier *c, const strata_node *n)
{
    strata_tensor_desc desc = n->desc;
    if (c->rows > 0 && desc.rank > 0)
        desc.dim[0] = c->rows;
    return strata_emit_input(c->b, n->name, &desc);
}

static strata_node *copy_param(const copier *c, const strata_node *n)
{
    strata_node *param = strata_emit_param(c->b, n->name, &n->desc);
    if (!strata_builder_failed(c->b))
        strata_node_set_data(param, n->data);
    return param;
}

static strata_node *copy_op(const copier *c, const strata_node *n)
{
    strata_node *in[STRATA_MAX_OPERANDS] = { NULL };
    const void  *attrs = n->attrs;
    for (int k = 0; k < strata_operand_count(n); k++)
        in[k] = n->in[k] ? c->made[n->in[k]->id] : NULL;
    if (c->rows > 0 && n->op->set_rows) {
        attrs = memcpy(c->attrs, n->attrs, n->op->attr_size);
        if (!n->op->set_rows(n, c->rows, c->attrs))
            strata_builder_fail(c->b, STRATA_SHAPE, "%s: %s mixes rows", n->name, n->op->name);
    }
    return strata_emit_n(c->b, n->op, n->name, attrs, in, strata_operand_count(n));
}

static strata_node *copy_node(const copier *c, const strata_node *n)
{
    strata_node *copy = n->op == &strata_op_input   ? copy_input(c, n)
                        : n->op == &strata_op_param ? copy_param(c, n)
                        : n->op == &strata_op_const ? strata_emit_const(c->b, n->name, &n->desc, n->data)
                                                    : copy_op(c, n);
    copy->kernel = n->kernel;
    copy->device = n->device;
    return copy;
}

static void copy_nodes(const copier *c, const strata_graph *g, bool *live)
{
    strata_graph_mark_live(g, live);
    for (int i = 0; i < g->inputs.count; i++) /* in their order, those without a reader too */
        c->made[g->inputs.at[i]->id] = copy_node(c, g->inputs.at[i]);
    for (int i = 0; i < g->nodes.count; i++)
        if (live[i] && !c->made[i])
            c->made[i] = copy_node(c, g->nodes.at[i]);
    for (int i = 0; i < g->outputs.count; i++)
        strata_emit_output(c->b, g->outputs.at[i].name, c->made[g->outputs.at[i].node->id]);
}

/* The graph's own records, which builders only make for new models. */
static strata_status copy_records(const copier *c, const strata_graph *g, strata_graph *copy, strata_error *err)
{
    copy->record = g->record;
    for (int i = 0; i < g->features.count; i++) {
        graph_feature f = g->features.at[i];
        if (!c->made[f.node->id])
            continue;
        f.node = c->made[f.node->id];
        f.name = strata_graph_format(copy, "%s", f.name);
        if (!f.name || !graph_list_grow(&copy->features))
            return strata_fail(err, STRATA_NOMEM, "no memory to copy graph '%s'", g->name);
        copy->features.at[copy->features.count++] = f;
    }
    return STRATA_OK;
}

strata_status strata_copy_graph(const strata_graph *g, int64_t rows, strata_graph **out, strata_error *err)
{
    size_t attr_size = 1, count = (size_t)g->nodes.count + 1;
    for (int i = 0; i < g->nodes.count; i++)
        if (g->nodes.at[i]->op->attr_size > attr_size)
            attr_size = g->nodes.at[i]->op->attr_size;
    copier c    = { .rows = rows, .made = calloc(count, sizeof *c.made), .attrs = malloc(attr_size) };
    bool  *live = calloc(count, sizeof *live);
    strata_status status = c.made && live && c.attrs ? strata_builder_create(g->ctx, g->name, &c.b, err)
                                                     : strata_fail(err, STRATA_NOMEM, "no memory to copy graph '%s'", g->name);
    if (status == STRATA_OK) {
        copy_nodes(&c, g, live);
        status = strata_builder_finish(c.b, out, err);
    }
    if (status == STRATA_OK && (status = copy_records(&c, g, *out, err)) != STRATA_OK) {
        strata_graph_destroy(*out);
        *out = NULL;
    }
    free(c.made);
    free(c.attrs);
    free(live);
    return status;
}
