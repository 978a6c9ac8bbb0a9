/* Where a value lies over the input image. Along a path of windows with size k, stride s and pad p, with jump j the
 * product of the strides so far (Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks",
 * Distill 2019):
 *
 *     field' = field + (k - 1) j      offset' = offset + ((k - 1) / 2 - p) j      j' = j s
 *
 * Where paths meet, the field is the smallest interval that holds all of theirs. Their strides differ only by the
 * rounding of a resize (13 rows up-sampled to 25), so the first path's holds. Paths without a place of their own
 * (behind a global pool, constants) do not count unless there is nothing else. */
#include "graph.h"

#include <math.h>
#include <stdlib.h>

static void unite(node_geometry *a, const node_geometry *b)
{
    for (int d = 0; d < 2; d++) {
        double low  = fmin(a->offset[d] - a->field[d] / 2, b->offset[d] - b->field[d] / 2);
        double high = fmax(a->offset[d] + a->field[d] / 2, b->offset[d] + b->field[d] / 2);
        a->field[d]  = high - low;
        a->offset[d] = (high + low) / 2;
    }
}

static node_geometry of_node(const strata_node *n, const node_geometry *known)
{
    node_geometry geometry = { .spatial = false };
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++) {
        if (!n->in[k] || !known[n->in[k]->id].spatial)
            continue;
        if (geometry.spatial)
            unite(&geometry, &known[n->in[k]->id]);
        else
            geometry = known[n->in[k]->id];
    }
    if (!geometry.spatial || n->desc.rank != 4)
        return (node_geometry){ .spatial = false };
    if (n->op->window) {
        strata_window w = { .size = { 1, 1 }, .stride = { 1, 1 } };
        n->op->window(n, &w);
        if (w.global)
            return (node_geometry){ .spatial = false };
        for (int d = 0; d < 2; d++) {
            geometry.field[d] += (w.size[d] - 1) * geometry.stride[d];
            geometry.offset[d] += ((w.size[d] - 1) / 2 - w.pad[d]) * geometry.stride[d];
            geometry.stride[d] *= w.stride[d];
        }
    }
    return geometry;
}

node_geometry *strata_graph_geometry(const strata_graph *g)
{
    node_geometry *known = calloc((size_t)g->nodes.count + 1, sizeof *known);
    if (!known)
        return NULL;
    for (int i = 0; i < g->inputs.count; i++)
        known[g->inputs.at[i]->id] = (node_geometry){ { 1, 1 }, { 1, 1 }, { 0, 0 }, g->inputs.at[i]->desc.rank == 4 };
    for (int i = 0; i < g->nodes.count; i++)
        if (!strata_node_is_source(g->nodes.at[i]))
            known[i] = of_node(g->nodes.at[i], known);
    return known;
}

strata_status strata_graph_feature(const strata_graph *g, int i, strata_feature *out, strata_error *err)
{
    if (i < 0 || i >= g->features.count)
        return strata_fail(err, STRATA_NOT_FOUND, "%s has no feature %d; it has %d", g->name, i, g->features.count);
    const graph_feature *f     = &g->features.at[i];
    node_geometry       *known = strata_graph_geometry(g);
    if (!known)
        return strata_fail(err, STRATA_NOMEM, "no memory to analyse graph '%s'", g->name);
    const node_geometry *at = &known[f->node->id];
    *out = (strata_feature){ .index = f->index, .name = f->name, .channels = f->channels, .reduction = f->reduction,
                             .node = f->node, .desc = &f->node->desc };
    while (1 << (out->level + 1) <= f->reduction)
        out->level++;
    for (int d = 0; d < 2; d++)
        out->receptive_field[d] = at->field[d], out->offset[d] = at->offset[d];
    free(known);
    return STRATA_OK;
}
