/* A batch in pieces.
 *
 * A step that passes over a whole batch leaves behind more than caches hold, so that the next one reads it from memory.
 * Where no image has to do with another, the batch may as well go through the network a few images at a time: then what
 * runs is the program of one piece, as often as it takes, with the inputs and outputs moved on by as many rows; its
 * arena is smaller in proportion. Kernels sum in an order that does not depend on the batch, so the bits are the same.
 *
 * Whether images are independent is read from the ops (STRATA_OP_ELEMENTWISE, STRATA_OP_ROWS, set_rows), from row i of
 * the inputs to row i of the outputs; in doubt the batch stays whole. */
#include "program.h"

#include <strata/ops.h>

#include <stdlib.h>

/* ---- Independence ------------------------------------------------------------------------------------------- */

/* Whether row i of n needs only rows i of its operands, if those that are computed have a row for each image. */
static bool keeps_rows(const strata_node *n, int64_t batch)
{
    const bool elementwise = n->op->flags & STRATA_OP_ELEMENTWISE;
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++) {
        const strata_node *x = n->in[k];
        if (!x)
            continue;
        const bool role = strata_operand_role(n, k), constant = strata_node_is_constant(x);
        if (role && !constant)
            return false;
        if (!role && constant && !(elementwise && (x->desc.rank < n->desc.rank || x->desc.dim[0] == 1)))
            return false;
    }
    if (n->desc.rank == 0 || n->desc.dim[0] != batch)
        return false;
    return elementwise || n->op->set_rows || n->op->flags & STRATA_OP_ROWS; /* what set_rows says is seen when it is asked */
}

/* The number of images when all that the outputs need is computed image by image, by backends that have a working set; else 0.
 * *working_set: the smallest of theirs. */
static int64_t independent_images(const strata_program *p, const bool *live, size_t *working_set)
{
    const strata_graph *g     = p->graph;
    int64_t             batch = 0;
    *working_set              = SIZE_MAX;
    for (int i = 0; i < g->inputs.count; i++) {
        const strata_tensor_desc *d = &g->inputs.at[i]->desc;
        if (d->rank == 0 || (i > 0 && d->dim[0] != batch))
            return 0;
        batch = d->dim[0];
    }
    for (int i = 0; i < g->nodes.count; i++) {
        const strata_node *n = g->nodes.at[i];
        if (!live[i] || strata_node_is_source(n))
            continue;
        const size_t own = p->device[n->device].backend->working_set;
        if (own == 0 || !keeps_rows(n, batch))
            return 0;
        *working_set = own < *working_set ? own : *working_set;
    }
    return batch;
}

/* Whether the program of a piece does to its rows what that of the batch does. */
static bool same_but_rows(const strata_graph *batch, const strata_graph *piece, int64_t rows)
{
    for (int i = 0; i < piece->nodes.count; i++) {
        const strata_node *n = piece->nodes.at[i], *whole = strata_graph_find(batch, n->name);
        strata_tensor_desc wanted = whole->desc;
        if (!strata_node_is_constant(n))
            wanted.dim[0] = rows;
        if (!strata_same_shape(&n->desc, &wanted) || n->desc.layout != wanted.layout || n->desc.dtype != wanted.dtype ||
            (n->kernel && n->kernel->accepts && !n->kernel->accepts(n)))
            return false;
    }
    return true;
}

/* ---- How many images ---------------------------------------------------------------------------------------- */

/* Bytes of one image that the step of n reads and writes; none where n has no step. */
static double bytes_of_maps(const strata_node *n, int64_t batch)
{
    if (strata_node_is_source(n) || strata_is_elided(n) || strata_is_absorbed(n))
        return 0;
    size_t bytes = strata_bytes(&n->desc);
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++) {
        const strata_node *x = n->in[k] && strata_is_absorbed(n->in[k]) ? n->in[k]->in[0] : n->in[k];
        if (x && !strata_node_is_constant(x))
            bytes += strata_bytes(&x->desc);
    }
    return (double)bytes / (double)batch;
}

/* A byte of a map that is not in a cache, in bytes of constants, which kernels fetch ahead: by bench/pieces. */
static const double MAP_COST = 1.5;

/* What an image costs in bytes moved between memory and caches when `images` go through the network together: its share of
 * the constants, which each piece reads anew, and the maps of steps that do not find those of the step before in a cache. */
static double traffic(const strata_program *p, const bool *live, int64_t batch, int64_t images, size_t working_set)
{
    double bytes = 0;
    for (int i = 0; i < p->graph->nodes.count; i++) {
        const strata_node *n = p->graph->nodes.at[i];
        if (!live[i])
            continue;
        if (strata_node_is_constant(n))
            bytes += (double)strata_bytes(&n->desc) / (double)images;
        const double maps = bytes_of_maps(n, batch);
        if (maps * (double)images > (double)working_set)
            bytes += MAP_COST * maps;
    }
    return bytes;
}

static int64_t images_of_piece(const strata_program *p, const bool *live, int64_t batch, size_t working_set)
{
    int64_t best  = batch;
    double  least = traffic(p, live, batch, batch, working_set);
    for (int64_t images = batch / 2; images > 0; images--) {
        const double bytes = batch % images == 0 ? traffic(p, live, batch, images, working_set) : least;
        if (bytes < least)
            best = images, least = bytes;
    }
    return best;
}

/* ---- The cut ------------------------------------------------------------------------------------------------ */

/* Constants belong to what is compiled, which lets go of those that its kernels have packed. */
static void release_constants(strata_graph *g)
{
    for (int i = 0; i < g->nodes.count; i++)
        if (strata_node_is_constant(g->nodes.at[i]))
            strata_node_set_data(g->nodes.at[i], NULL);
}

strata_status strata_cut_batch(strata_program *p, strata_error *err)
{
    strata_graph *g = p->graph, *piece = NULL;
    size_t        working_set;
    strata_error  why;
    bool         *live = calloc((size_t)g->nodes.count + 1, sizeof *live);
    if (!live)
        return strata_fail(err, STRATA_NOMEM, "no memory to compile graph '%s'", g->name);
    strata_graph_mark_live(g, live);
    const int64_t batch = independent_images(p, live, &working_set);
    int64_t rows = p->wanted_piece > 0 && p->wanted_piece < batch ? p->wanted_piece : batch;
    if (batch > 0 && p->wanted_piece <= 0)
        rows = images_of_piece(p, live, batch, working_set);
    while (batch > 0 && batch % rows != 0)
        rows--;
    free(live);
    if (rows == batch)
        return STRATA_OK;
    strata_status status = strata_copy_graph(g, rows, &piece, &why);
    if (status == STRATA_NOMEM)
        return strata_fail(err, status, "%s", why.text);
    if (status != STRATA_OK || !same_but_rows(g, piece, rows)) { /* an op that has something to say about their number */
        strata_graph_destroy(piece);
        return STRATA_OK;
    }
    release_constants(g);
    p->piece  = piece;
    p->pieces = (int)(batch / rows);
    return STRATA_OK;
}
