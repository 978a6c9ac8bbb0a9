/* cse: common subexpressions, by value numbering (Cocke and Schwartz, 1970). Two nodes of the same op with
 * equal attributes compute the same value when their operands do; nodes come in order, so classes of equal
 * value are found from the leaves up. One node of a class is enough. Operands of commutative ops count in
 * either order (x + y = y + x in floating point too).
 *
 * Sources are never merged: two parameters are two parameters, though a checkpoint may fill them alike.
 *
 * Names. The node kept keeps its name; merging deletes the other names, it never moves one. Outputs and
 * features have been promised under their names and are not merged away: the first of them in a class is the
 * one kept, be it not the first of the class, and further ones stay beside it. No cycle can arise from that:
 * an operand's class always comes before that of its user. */
#include <strata/extend.h>

#include <stdlib.h>

typedef struct numbering {
    strata_node **slot;     /* a hash table of classes: open addressing, at most half full */
    size_t        mask;
    strata_node **first;    /* by id: the first node of the same value, which stands for the class */
    strata_node **kept;     /* by id of the first: the node that stays */
    bool         *promised; /* by id: an output or a feature */
} numbering;

static bool commutes(const strata_node *n)
{
    return n->op->flags & STRATA_OP_COMMUTES;
}

static const strata_node *class_of(const numbering *v, const strata_node *n)
{
    return n ? v->first[n->id] : NULL;
}

static size_t hash(const numbering *v, const strata_node *n)
{
    uint64_t h = (uintptr_t)n->op / 16;
    for (int i = 0; i < STRATA_MAX_OPERANDS; i++) {
        uint64_t x = n->in[i] ? (class_of(v, n->in[i])->id + 1) * UINT64_C(0x9e3779b97f4a7c15) : 0;
        h = commutes(n) ? h + x : (h ^ x) * UINT64_C(0xff51afd7ed558ccd);
    }
    return (size_t)(h ^ h >> 29);
}

static bool same_value(const numbering *v, const strata_node *a, const strata_node *b)
{
    if (a->op != b->op || !strata_attrs_equal(a->op, a->attrs, b->attrs))
        return false;
    bool straight = true, crossed = commutes(a);
    for (int i = 0; i < STRATA_MAX_OPERANDS; i++) {
        straight = straight && class_of(v, a->in[i]) == class_of(v, b->in[i]);
        crossed  = crossed && class_of(v, a->in[i]) == class_of(v, b->in[i < 2 ? 1 - i : i]);
    }
    return straight || crossed;
}

/* Finds n's class, or founds it, and lets n stand for it when it has been promised and is the first such. */
static void classify(const numbering *v, strata_node *n)
{
    size_t i = hash(v, n) & v->mask;
    while (v->slot[i] && !same_value(v, v->slot[i], n))
        i = (i + 1) & v->mask;
    if (!v->slot[i])
        v->slot[i] = v->kept[n->id] = n;
    strata_node *first = v->first[n->id] = v->slot[i];
    if (v->promised[n->id] && !v->promised[v->kept[first->id]->id])
        v->kept[first->id] = n;
}

static void merge(strata_graph *g, const numbering *v, bool *changed)
{
    for (int i = 0; i < strata_graph_node_count(g); i++) {
        strata_node *n = strata_graph_node(g, i);
        if (strata_node_is_source(n))
            v->first[n->id] = v->kept[n->id] = n;
        else
            classify(v, n);
    }
    for (int i = 0; i < strata_graph_node_count(g); i++) {
        strata_node *n = strata_graph_node(g, i), *kept = v->kept[v->first[n->id]->id];
        if (n != kept && !v->promised[n->id]) {
            strata_graph_replace(g, n, kept);
            *changed = true;
        }
    }
}

static strata_status mark_promised(const strata_graph *g, bool *promised, strata_error *err)
{
    for (int i = 0; i < strata_graph_output_count(g); i++)
        promised[strata_graph_output(g, i).node->id] = true;
    for (int i = 0; i < strata_graph_feature_count(g); i++) {
        strata_feature f;
        STRATA_TRY(strata_graph_feature(g, i, &f, err));
        promised[f.node->id] = true;
    }
    return STRATA_OK;
}

static strata_status run(strata_graph *g, const char *options, bool *changed, strata_error *err)
{
    if (options)
        return strata_fail(err, STRATA_INVALID, "cse takes no options, not '%s'", options);
    const size_t count = (size_t)strata_graph_node_count(g) + 1;
    size_t       slots = 2;
    while (slots < 2 * count)
        slots *= 2;
    numbering v = {
        .slot     = calloc(slots, sizeof *v.slot),
        .mask     = slots - 1,
        .first    = calloc(count, sizeof *v.first),
        .kept     = calloc(count, sizeof *v.kept),
        .promised = calloc(count, sizeof *v.promised),
    };
    strata_status status = STRATA_OK;
    if (!v.slot || !v.first || !v.kept || !v.promised)
        status = strata_fail(err, STRATA_NOMEM, "no memory to compare the nodes of %s", strata_graph_name(g));
    else
        status = mark_promised(g, v.promised, err);
    if (status == STRATA_OK)
        merge(g, &v, changed);
    if (*changed)
        strata_graph_prune(g, changed);
    free(v.promised);
    free(v.kept);
    free(v.first);
    free(v.slot);
    return status;
}

const strata_pass_def strata_pass_cse = {
    .name = "cse",
    .doc  = "Compute equal values once.",
    .run  = run,
};
