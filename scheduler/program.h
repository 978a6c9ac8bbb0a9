/* What a compiled graph consists of; shared by the files of scheduler/.
 *
 * Devices: the chosen one first, the CPU last (it holds the inputs and outputs, and runs what the other cannot).
 * Parts: runs of steps on one device, in an order that respects all edges between devices. Values: each node's bytes
 * have one place; views share that of their operand.
 */
#ifndef STRATA_SCHEDULER_PROGRAM_H
#define STRATA_SCHEDULER_PROGRAM_H

#include "../graph/graph.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PROGRAM_MAX_DEVICES = 2 };

typedef struct program_device {
    const strata_backend_def *backend;
    strata_device            *device;
    strata_device_info        info;
    strata_dtype              dtype; /* of values in its memory, where their kernels have it */
    size_t                    arena; /* bytes of one session */
} program_device;

typedef enum place_kind {
    PLACE_NONE,   /* nobody reads it */
    PLACE_ARENA,  /* at `offset` of the device's arena */
    PLACE_INPUT,  /* the caller's tensor `index` */
    PLACE_OUTPUT, /* the caller's tensor `index` */
    PLACE_DATA,   /* the node's own constant data */
} place_kind;

typedef struct value_place {
    place_kind kind;
    int        index;
    size_t     offset;
    int        root; /* id of the node whose bytes these are: itself, or the value that it is a view of */
} value_place;

typedef struct program_part {
    int device;
    int first_step, step_count;
    int first_transfer, transfer_count; /* done before the steps */
    int successors[8], successor_count, waits_for;
} program_part;

typedef struct program_transfer { /* the bytes of one node to the place of another, on another device */
    const strata_node *from, *to;
} program_transfer;

struct strata_program {
    atomic_int        references;
    strata_graph     *graph;  /* what callers see: the whole batch */
    strata_graph     *piece;  /* what is compiled: a few images of the batch, or `graph` itself */
    int               pieces; /* runs of `piece` in one of the batch */
    program_device    device[PROGRAM_MAX_DEVICES];
    int               device_count, threads;
    bool              exact; /* no approximate kernels */
    int               wanted_piece; /* images, as asked for */
    value_place      *place; /* by node id */
    strata_step      *steps; /* in order of parts */
    size_t           *workspace; /* offset in the arena, by step */
    int               step_count, fallback_count;
    program_part     *parts;
    int               part_count;
    program_transfer *transfers;
    int               transfer_count;
    size_t            weight_bytes;
    size_t            packing_peak; /* most bytes of weights at once, packed and not yet packed, while compiling */

    /* fallback.c */
    strata_context   *ctx;
    bool              falls_back;
    pthread_mutex_t   spare_lock;
    strata_graph     *spare;   /* the optimised graph again; NULL once the CPU has it */
    strata_program   *instead; /* on the CPU; NULL: the device has not failed */
};

/* Chooses device, kernel and layout of every node, and inserts the copies that this needs. */
strata_status strata_place_nodes(strata_program *p, bool strict, strata_error *err);
/* pieces.c: makes the graph of a piece, where the batch may run in pieces. */
strata_status strata_cut_batch(strata_program *p, strata_error *err);
/* copy.c: what the outputs of g need, and its inputs, again; `rows`: with so many rows (of dim 0) in place of those of the
 * inputs, where every op knows how (SHAPE or INVALID where one does not), or 0. */
strata_status strata_copy_graph(const strata_graph *g, int64_t rows, strata_graph **out, strata_error *err);
/* Cuts the piece's graph into parts, steps and transfers, prepares the steps and plans memory. */
strata_status strata_compile_parts(strata_program *p, strata_error *err);
/* The kernel that evaluates any node on the host by its definition. */
extern const strata_kernel_def strata_kernel_reference;
/* Stands for a kernel where the step of the node's only reader computes the node as well. */
extern const strata_kernel_def strata_kernel_absorbed;

/* Opens what `selector` (--device) names, and the CPU, as the program's devices. `precision` is that of values on the
 * first. */
strata_status strata_open_devices(strata_program *p, const char *selector, int threads, strata_dtype precision,
                                  strata_error *err);
void          strata_close_devices(strata_program *p);

/* ---- fallback.c ---- */

/* Before placement, by the user's policy. */
strata_status strata_keep_spare(strata_program *p, strata_error *err);
/* Memory that it takes: its nodes, and constants that the program itself has let go or will. */
size_t strata_spare_bytes(const strata_program *p);
/* Whether a failure with this status is one of the device, and the CPU may take over. */
bool strata_may_fall_back(strata_program *p, strata_status status);
/* The program of the CPU, with a reference; the first time, that is said with the reason. */
strata_status strata_fall_back(strata_program *p, const char *why, strata_program **out, strata_error *err);

/* Whether the result of the node is its operand's bytes, so that nothing needs to be done. */
bool strata_is_elided(const strata_node *n);
static inline bool strata_is_absorbed(const strata_node *n) { return n->kernel == &strata_kernel_absorbed; }
/* The node that operand 0 of a step belongs to: the step's own, or the one that it absorbs. */
static inline const strata_node *strata_step_first(const strata_step *s)
{
    return s->kernel->absorbs ? s->node->in[0] : s->node;
}
/* What a step reads: operands of its node, in place of operand 0 that of the node that it absorbs; and from
 * STRATA_MAX_OPERANDS on the values that this one reads beside. */
enum { STEP_OPERANDS = 2 * STRATA_MAX_OPERANDS };
static inline const strata_node *strata_step_operand(const strata_step *s, int k)
{
    if (k < STRATA_MAX_OPERANDS)
        return k == 0 ? strata_step_first(s)->in[0] : s->node->in[k];
    const strata_node *x = s->kernel->absorbs && k > STRATA_MAX_OPERANDS ? s->node->in[0]->in[k - STRATA_MAX_OPERANDS] : NULL;
    return x && !strata_node_is_constant(x) ? x : NULL;
}
/* Whether n moves bytes between devices rather than being computed. */
static inline bool strata_is_transfer(const strata_node *n) { return n->in[0] && n->in[0]->device != n->device && !n->kernel; }

#endif
