/* fold_constants: what depends on constants only is computed once, now.
 *
 * A node whose operands all have their numbers becomes a const that bears its name; op->eval computes it, so
 * it is exactly what the graph says, summed in double. Since nodes come in order, whole expressions fold from
 * the leaves up: the algebra that fold_bn, fold_scale and repvgg have written on weights ends here as one
 * weight and one bias.
 *
 * Without weights nothing has numbers and everything stays: the dump then shows the expressions.
 *
 * Memory. Weights are the bulk of a model, and every step of the algebra is a copy of some. So large
 * results that can be are not computed here but where they are read, row by row (strata_tensor_defer); an
 * operand that nobody else reads gives up its numbers as soon as they are used; and a change of shape
 * shares the bytes instead of copying them.
 *
 * It must not touch an output, which is computed in each run whatever it depends on; nor a value in another
 * layout than the row-major one that eval speaks. */
#include "common.h"

enum { DEFERRED_BYTES = 16384 }; /* what is smaller is not worth a thought */

static bool is_output(const strata_graph *g, const strata_node *n)
{
    for (int i = 0; i < strata_graph_output_count(g); i++)
        if (strata_graph_output(g, i).node == n)
            return true;
    return false;
}

static bool is_row_major(const strata_node *n)
{
    return n->desc.dtype == STRATA_F32 && n->desc.layout == STRATA_NCHW;
}

static bool can_fold(const strata_graph *g, const strata_node *n)
{
    if (!n->op->eval || !is_row_major(n) || is_output(g, n))
        return false;
    for (int i = 0; i < strata_operand_count(n); i++) {
        const strata_node *x = n->in[i];
        if (x && !(strata_node_is_constant(x) && x->data && is_row_major(x)))
            return false;
    }
    return true;
}

static void unref(void *tensor)
{
    strata_tensor_unref(tensor);
}

static strata_status evaluate(const strata_node *n, strata_tensor **out, strata_error *err)
{
    if (n->op->flags & STRATA_OP_VIEW) {
        STRATA_TRY(strata_tensor_compute(n->in[0]->data, err));
        strata_tensor *shared = strata_tensor_ref(n->in[0]->data);
        void          *bytes  = strata_tensor_data(shared);
        strata_status  status = strata_tensor_wrap(&n->desc, bytes, unref, shared, out, err);
        if (status != STRATA_OK)
            strata_tensor_unref(shared);
        return status;
    }
    if (strata_bytes(&n->desc) >= DEFERRED_BYTES && strata_tensor_can_defer(n))
        return strata_tensor_defer(n, out, err);
    for (int i = 0; i < strata_operand_count(n); i++)
        if (n->in[i])
            STRATA_TRY(strata_tensor_compute(n->in[i]->data, err));
    STRATA_TRY(strata_tensor_create(&n->desc, out, err));
    strata_view in[STRATA_MAX_OPERANDS] = { 0 };
    strata_view result = { .desc = &n->desc, .data = strata_tensor_data(*out) };
    for (int i = 0; i < strata_operand_count(n); i++)
        if (n->in[i])
            in[i] = (strata_view){ .desc = &n->in[i]->desc, .data = strata_tensor_data(n->in[i]->data) };
    return n->op->eval(n, in, &result);
}

/* Operands that only n reads are not read any more. */
static void drop_operands(strata_node *n)
{
    for (int i = 0; i < strata_operand_count(n); i++) {
        uint32_t times = 0;
        for (int j = 0; j < strata_operand_count(n); j++)
            times += n->in[j] == n->in[i];
        if (n->in[i] && n->in[i]->uses == times)
            strata_node_set_data(n->in[i], NULL);
    }
}

static strata_node *rewrite(strata_builder *b, strata_node *n)
{
    if (!can_fold(strata_builder_graph(b), n))
        return n;
    strata_tensor *value = NULL;
    strata_error   err   = { .text = "the op could not compute it" };
    strata_status  status = evaluate(n, &value, &err);
    if (status == STRATA_OK)
        drop_operands(n);
    else
        strata_builder_fail(b, status, "%s: %s: %s", n->name, n->op->name, err.text);
    strata_node *constant = strata_emit_const(b, NULL, &n->desc, value);
    strata_tensor_unref(value);
    return constant;
}

const strata_pass_def strata_pass_fold_constants = {
    .name    = "fold_constants",
    .doc     = "Compute what depends on weights and constants only, where there are weights.",
    .rewrite = rewrite,
};
