/* alone.h: a layer of a network by itself, our kernel and oneDNN's in turns. */
#ifndef STRATA_BENCH_ALONE_H
#define STRATA_BENCH_ALONE_H

#include <strata/extend.h>

typedef struct alone_options {
    int  threads, rounds;
    bool exact;
} alone_options;

typedef struct alone {
    const char *kernel;        /* ours */
    char        choice[64];    /* oneDNN's */
    double      ms, onednn_ms; /* the least; onednn_ms 0: it has no such layer */
    uint64_t    macs;
} alone;

/* Makes a program of node n alone, which is conv2d or dense; of two where `first`, whose value n reads, is not n. Runs
 * it and oneDNN's layers on the same weights and input in turns, `rounds` turns of some runs. Only the layers are timed:
 * their operands have just been written in the layout that each likes, and lie in the caches that they fit into.
 * INTERNAL when the results differ. */
strata_status alone_compare(strata_context *ctx, const strata_node *first, const strata_node *n,
                            const alone_options *options, alone *out, strata_error *err);

#endif
