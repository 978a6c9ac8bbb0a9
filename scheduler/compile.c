/* From a placed graph to something that can run: parts, steps, transfers, prepared kernels, planned memory.
 *
 * Parts. The level of a node is that of its operands, plus one where an edge changes the device; nodes of one level and
 * device make a part. Every edge then leads within a part or to a higher level, so parts in order of levels are an
 * order of execution, and parts of one level run side by side.
 *
 * Order. Steps run in the order of nodes. A device that runs steps side by side gets them by waves: the wave of a step is
 * the length of the longest chain of steps before it, so those of one wave do not depend on each other.
 *
 * Memory. On each device, values live from the step that writes them to the last step that reads them, in the order of
 * the device's steps; those that another device reads or writes live through the whole part. What lives in a wave has bytes
 * of its own there, or steps would wait for each other after all. An element-wise step may write over its first operand
 * when that dies there.
 */
#include "../graph/tensor.h"
#include "plan_memory.h"
#include "program.h"

#include <strata/ops.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

typedef struct compiler {
    strata_program *p;
    int             nodes;
    int            *level;  /* by node */
    int            *wave;   /* by node: steps on the longest chain that ends in it */
    int            *part;   /* by node */
    int            *time;   /* by step: of one wave where steps run side by side, else its own */
    int            *first, *last; /* by node that owns bytes: times between which they are needed */
    bool           *live;
} compiler;

static strata_node *node_at(const compiler *c, int i) { return c->p->piece->nodes.at[i]; }

static bool is_step(const compiler *c, const strata_node *n)
{
    return c->live[n->id] && !strata_node_is_source(n) && !strata_is_elided(n) && !strata_is_transfer(n) &&
           !strata_is_absorbed(n);
}

/* ---- Parts and steps --------------------------------------------------------------------------------------- */

static int find_levels(compiler *c)
{
    int highest = 0;
    for (int i = 0; i < c->nodes; i++) {
        const strata_node *n = node_at(c, i);
        for (int k = 0; k < STRATA_MAX_OPERANDS; k++) {
            if (!n->in[k] || strata_node_is_source(n->in[k]))
                continue;
            int level = c->level[n->in[k]->id] + (n->in[k]->device != n->device);
            if (level > c->level[i])
                c->level[i] = level;
        }
        if (c->live[i] && c->level[i] > highest)
            highest = c->level[i];
    }
    return highest;
}

static void find_waves(compiler *c)
{
    for (int i = 0; i < c->nodes; i++) {
        const strata_node *n = node_at(c, i);
        for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
            if (n->in[k] && c->wave[n->in[k]->id] > c->wave[i])
                c->wave[i] = c->wave[n->in[k]->id];
        c->wave[i] += is_step(c, n);
    }
}

/* Puts the steps of a part in order and tells the time of each, the first of which is one more than the last so far. */
static void order_steps(compiler *c, const program_part *part)
{
    const bool   waves = c->p->device[part->device].backend->side_by_side;
    strata_step *steps = c->p->steps + part->first_step;
    int         *time  = c->time + part->first_step;
    for (int i = 1; waves && i < part->step_count; i++) { /* they are in order for the most part */
        const strata_step s = steps[i];
        int               at = i;
        for (; at > 0 && c->wave[steps[at - 1].node->id] > c->wave[s.node->id]; at--)
            steps[at] = steps[at - 1];
        steps[at] = s;
    }
    int now = part->first_step > 0 ? time[-1] + 1 : 0;
    for (int i = 0; i < part->step_count; i++) {
        now += i > 0 && !(waves && c->wave[steps[i].node->id] == c->wave[steps[i - 1].node->id]);
        time[i] = now;
    }
}

/* Part `after` cannot begin before part `before` has ended. */
static strata_status add_edge(strata_program *p, int before, int after, strata_error *err)
{
    program_part *part = &p->parts[before];
    for (int i = 0; i < part->successor_count; i++)
        if (part->successors[i] == after)
            return STRATA_OK;
    if (part->successor_count == (int)(sizeof part->successors / sizeof *part->successors))
        return strata_fail(err, STRATA_UNSUPPORTED, "the graph changes devices too often to be scheduled");
    part->successors[part->successor_count++] = after;
    p->parts[after].waits_for++;
    return STRATA_OK;
}

static strata_status cut_parts(compiler *c, strata_error *err)
{
    strata_program *p      = c->p;
    const int       levels = find_levels(c) + 1;
    find_waves(c);
    p->parts     = calloc((size_t)levels * (size_t)p->device_count, sizeof *p->parts);
    p->steps     = calloc((size_t)c->nodes + 1, sizeof *p->steps);
    p->transfers = calloc((size_t)c->nodes + 1, sizeof *p->transfers);
    p->workspace = calloc((size_t)c->nodes + 1, sizeof *p->workspace);
    if (!p->parts || !p->steps || !p->transfers || !p->workspace)
        return strata_fail(err, STRATA_NOMEM, "no memory to compile graph '%s'", p->graph->name);

    for (int level = 0; level < levels; level++)
        for (int device = 0; device < p->device_count; device++) {
            program_part *part = &p->parts[p->part_count];
            *part = (program_part){ .device = device, .first_step = p->step_count, .first_transfer = p->transfer_count };
            for (int i = 0; i < c->nodes; i++) {
                const strata_node *n = node_at(c, i);
                if (!c->live[i] || c->level[i] != level || n->device != device || strata_node_is_source(n))
                    continue;
                c->part[i] = p->part_count;
                if (strata_is_transfer(n))
                    p->transfers[p->transfer_count++] = (program_transfer){ n->in[0], n };
                if (is_step(c, n))
                    p->steps[p->step_count++] =
                        (strata_step){ .node = n, .kernel = n->kernel, .device = p->device[device].device };
            }
            part->step_count     = p->step_count - part->first_step;
            part->transfer_count = p->transfer_count - part->first_transfer;
            order_steps(c, part);
            p->part_count += part->step_count + part->transfer_count > 0;
        }

    int latest[PROGRAM_MAX_DEVICES];
    memset(latest, -1, sizeof latest);
    for (int i = 0; i < p->part_count; i++) { /* one part at a time on a device: they share its memory */
        int *before = &latest[p->parts[i].device];
        if (*before >= 0)
            STRATA_TRY(add_edge(p, *before, i, err));
        *before = i;
    }
    for (int i = 0; i < p->transfer_count; i++) {
        const program_transfer *t = &p->transfers[i];
        if (!strata_node_is_source(t->from) && c->part[t->from->id] != c->part[t->to->id])
            STRATA_TRY(add_edge(p, c->part[t->from->id], c->part[t->to->id], err));
    }
    return STRATA_OK;
}

/* ---- Kernels ------------------------------------------------------------------------------------------------ */

static strata_node *constant_operand(const strata_node *n, int k)
{
    return n->in[k] && strata_node_is_constant(n->in[k]) ? n->in[k] : NULL;
}

/* The constants that a step reads: those of its node, then those of the one that it absorbs, as many numbers again. */
enum { STEP_CONSTANTS = 2 * STRATA_MAX_OPERANDS };

static strata_node *step_constant(const strata_step *s, int i)
{
    if (i < STRATA_MAX_OPERANDS)
        return constant_operand(s->node, i);
    return s->kernel->absorbs ? constant_operand(s->node->in[0], i - STRATA_MAX_OPERANDS) : NULL;
}

/* Whether prepare has read constant i for good. */
static bool is_consumed(const strata_step *s, int i)
{
    return i >= STRATA_MAX_OPERANDS || (s->consumed >> i & 1);
}

/* For each constant, how many operands read it, views of it included. */
static void count_readers(const compiler *c, int *readers)
{
    for (int i = 0; i < c->nodes; i++)
        for (int k = 0; c->live[i] && k < STRATA_MAX_OPERANDS; k++)
            if (constant_operand(node_at(c, i), k))
                readers[node_at(c, i)->in[k]->id]++;
}

static strata_status prepare_step(strata_program *p, strata_step *s, strata_error *err)
{
    for (int k = 0; k < STEP_CONSTANTS && !s->kernel->by_rows; k++)
        if (step_constant(s, k))
            STRATA_TRY(strata_tensor_compute(step_constant(s, k)->data, err));
    STRATA_TRY(s->kernel->prepare ? s->kernel->prepare(s, err) : STRATA_OK);
    p->weight_bytes += s->state_bytes;
    return STRATA_OK;
}

/* Steps pack weights for themselves, one after the other, and a constant is let go as soon as its last reader has: at
 * no time is more of the network in memory twice than one step packs. */
static strata_status prepare_steps(compiler *c, strata_error *err)
{
    strata_program *p       = c->p;
    strata_status   status  = STRATA_OK;
    int            *readers = calloc((size_t)c->nodes + 1, sizeof *readers);
    if (!readers)
        return strata_fail(err, STRATA_NOMEM, "no memory to compile graph '%s'", p->graph->name);
    count_readers(c, readers);
    size_t waiting = 0; /* memory of constants that are not packed yet */
    for (int i = 0; i < c->nodes; i++)
        if (strata_node_is_constant(node_at(c, i)))
            waiting += strata_tensor_memory(node_at(c, i)->data, false);
    p->packing_peak = waiting;
    for (int i = 0; i < p->step_count && status == STRATA_OK; i++)
        for (int k = 0; k < STEP_CONSTANTS && status == STRATA_OK; k++) {
            const strata_node *x = step_constant(&p->steps[i], k);
            if (x && !x->data)
                status = strata_fail(err, STRATA_WEIGHTS, "parameter %s has no data: bind weights before compiling", x->name);
        }
    for (int i = 0; i < p->step_count && status == STRATA_OK; i++) {
        strata_step *s = &p->steps[i];
        status = prepare_step(p, s, err);
        if (status != STRATA_OK)
            strata_fail_in(err, status, "%s: %s", s->node->name, s->kernel->name);
        size_t read = 0; /* of a mapped file */
        for (int k = 0; k < STEP_CONSTANTS; k++)
            if (step_constant(s, k))
                read += strata_tensor_memory(step_constant(s, k)->data, true) -
                        strata_tensor_memory(step_constant(s, k)->data, false);
        if (p->weight_bytes + waiting + read > p->packing_peak)
            p->packing_peak = p->weight_bytes + waiting + read;
        for (int k = 0; k < STEP_CONSTANTS && status == STRATA_OK; k++) {
            strata_node *x = step_constant(s, k);
            if (x && is_consumed(s, k) && --readers[x->id] == 0) {
                waiting -= strata_tensor_memory(x->data, false);
                strata_node_set_data(x, NULL);
            }
        }
    }
    for (int i = 0; i < c->nodes && status == STRATA_OK; i++) {
        strata_node *n = node_at(c, i);
        if (!strata_node_is_constant(n) || !n->data)
            continue;
        if (readers[i] == 0) {
            strata_node_set_data(n, NULL);
        } else {
            status = strata_tensor_compute(n->data, err);
            p->weight_bytes += strata_bytes(&n->desc);
        }
    }
    free(readers);
    return status;
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

/* Bytes belong to the node that computes them; views, elided copies and in-place results refer to it. */
static void find_roots(compiler *c)
{
    strata_program *p = c->p;
    for (int i = 0; i < c->nodes; i++) {
        const strata_node *n = node_at(c, i);
        bool view = !strata_node_is_source(n) && strata_is_elided(n);
        p->place[i] = (value_place){ .kind = PLACE_NONE, .root = view ? p->place[n->in[0]->id].root : i };
    }
    for (int i = 0; i < p->piece->inputs.count; i++) {
        value_place *place = &p->place[p->piece->inputs.at[i]->id];
        place->kind = PLACE_INPUT, place->index = i;
    }
    for (int i = 0; i < p->piece->outputs.count; i++) {
        value_place *place = &p->place[p->piece->outputs.at[i].node->id];
        place->kind = PLACE_OUTPUT, place->index = i;
    }
    for (int i = 0; i < c->nodes; i++)
        if (strata_node_is_constant(node_at(c, i)))
            p->place[i].kind = PLACE_DATA;
}

static void widen(compiler *c, int node, int first, int last)
{
    int root = c->p->place[node].root;
    if (first < c->first[root])
        c->first[root] = first;
    if (last > c->last[root])
        c->last[root] = last;
}

static void find_lifetimes(compiler *c)
{
    strata_program *p = c->p;
    for (int i = 0; i < c->nodes; i++)
        c->first[i] = INT32_MAX, c->last[i] = -1;
    for (int s = 0; s < p->step_count; s++) {
        widen(c, (int)p->steps[s].node->id, c->time[s], c->time[s]);
        for (int k = 0; k < STEP_OPERANDS; k++)
            if (strata_step_operand(&p->steps[s], k))
                widen(c, (int)strata_step_operand(&p->steps[s], k)->id, c->time[s], c->time[s]);
    }
    for (int t = 0; t < p->transfer_count; t++) { /* alive from or to the ends of the run: parts overlap */
        widen(c, (int)p->transfers[t].from->id, INT32_MAX, p->step_count);
        widen(c, (int)p->transfers[t].to->id, -1, -1);
    }
}

/* Whether another step reads the bytes of `root` at the time of step s. */
static bool is_read_beside(const compiler *c, int s, int root)
{
    const strata_program *p = c->p;
    int                   at = s;
    while (at > 0 && c->time[at - 1] == c->time[s])
        at--;
    for (; at < p->step_count && c->time[at] == c->time[s]; at++)
        for (int k = 0; k < STEP_OPERANDS && at != s; k++)
            if (strata_step_operand(&p->steps[at], k) && p->place[strata_step_operand(&p->steps[at], k)->id].root == root)
                return true;
    return false;
}

/* Whether the result of step s may overwrite operand k: its kernel can, and nobody else wants what is there. */
static bool may_overwrite(const compiler *c, int s, int k)
{
    const strata_program *p = c->p;
    const strata_node    *n = p->steps[s].node, *x = n->in[k];
    if (!(p->steps[s].kernel->in_place >> k & 1) || !x || strata_bytes(&x->desc) != strata_bytes(&n->desc))
        return false;
    int root = p->place[x->id].root;
    if (p->place[root].kind != PLACE_NONE || p->place[n->id].kind != PLACE_NONE || c->last[root] != c->time[s] ||
        c->first[root] < 0 || node_at(c, root)->device != n->device || is_read_beside(c, s, root))
        return false;
    for (int other = 0; other < STEP_OPERANDS; other++) {
        const strata_node *y = strata_step_operand(&p->steps[s], other);
        if (y && other != k && p->place[y->id].root == root)
            return false;
    }
    return true;
}

/* Lets results overwrite operands that die: in order of steps, so that chains share one place. */
static void share_in_place(compiler *c)
{
    strata_program *p = c->p;
    for (int s = 0; s < p->step_count; s++) {
        const strata_node *n = p->steps[s].node;
        int                own = (int)n->id, k = 0;
        while (k < STRATA_MAX_OPERANDS && !may_overwrite(c, s, k))
            k++;
        if (k == STRATA_MAX_OPERANDS)
            continue;
        int root = p->place[n->in[k]->id].root;
        for (int i = own; i < c->nodes; i++)
            if (p->place[i].root == own)
                p->place[i].root = root;
        if (c->last[own] > c->last[root])
            c->last[root] = c->last[own];
    }
}

/* One arena per device: values that own bytes there, and the scratch of its steps. */
static strata_status plan_arena(compiler *c, int device, memory_item *items, int *owner, strata_error *err)
{
    strata_program *p     = c->p;
    int             count = 0;
    for (int i = 0; i < c->nodes; i++) {
        const strata_node *n = node_at(c, i);
        if (p->place[i].root != i || p->place[i].kind != PLACE_NONE || n->device != device || c->last[i] < c->first[i])
            continue;
        items[count]   = (memory_item){ strata_bytes(&n->desc), c->first[i], c->last[i], 0 };
        owner[count++] = i;
    }
    const int values = count;
    for (int s = 0; s < p->step_count; s++)
        if (p->steps[s].device == p->device[device].device && p->steps[s].workspace > 0) {
            items[count]   = (memory_item){ p->steps[s].workspace, c->time[s], c->time[s], 0 };
            owner[count++] = s;
        }
    if (!strata_plan_memory(items, count, &p->device[device].arena))
        return strata_fail(err, STRATA_NOMEM, "no memory to plan graph '%s'", p->graph->name);
    for (int i = 0; i < values; i++)
        p->place[owner[i]] = (value_place){ .kind = PLACE_ARENA, .offset = items[i].offset, .root = owner[i] };
    for (int i = values; i < count; i++)
        p->workspace[owner[i]] = items[i].offset;
    return STRATA_OK;
}

static strata_status plan_memory(compiler *c, strata_error *err)
{
    strata_program *p     = c->p;
    size_t          most  = (size_t)c->nodes * 2 + 1;
    memory_item    *items = malloc(most * sizeof *items);
    int            *owner = malloc(most * sizeof *owner);
    strata_status   status = items && owner ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "no memory to plan");
    share_in_place(c);
    for (int d = 0; d < p->device_count && status == STRATA_OK; d++)
        status = plan_arena(c, d, items, owner, err);
    for (int i = 0; i < c->nodes; i++) /* everybody who shares bytes says where they are */
        if (p->place[i].root != i)
            p->place[i] = p->place[p->place[i].root];
    free(items);
    free(owner);
    return status;
}

/* ---- Everything --------------------------------------------------------------------------------------------- */

strata_status strata_compile_parts(strata_program *p, strata_error *err)
{
    const int n = p->piece->nodes.count;
    compiler  c = { .p = p, .nodes = n };
    size_t    room = (size_t)n + 1;
    int      *ints = calloc(6 * room, sizeof *ints);
    c.live         = calloc(room, sizeof *c.live);
    p->place       = calloc(room, sizeof *p->place);
    strata_status status = ints && c.live && p->place ? STRATA_OK
                                                      : strata_fail(err, STRATA_NOMEM, "no memory to compile graph '%s'",
                                                                    p->graph->name);
    if (status == STRATA_OK) {
        c.level = ints, c.wave = ints + room, c.part = ints + 2 * room, c.time = ints + 3 * room;
        c.first = ints + 4 * room, c.last = ints + 5 * room;
        for (int i = 0; i < n; i++)
            c.part[i] = -1;
        strata_graph_mark_live(p->piece, c.live);
        find_roots(&c);
        status = cut_parts(&c, err);
    }
    if (status == STRATA_OK)
        status = prepare_steps(&c, err);
    if (status == STRATA_OK) {
        find_lifetimes(&c);
        status = plan_memory(&c, err);
    }
    free(ints);
    free(c.live);
#ifdef __GLIBC__
    malloc_trim(0); /* what compiling has left free inside the heap */
#endif
    return status;
}
