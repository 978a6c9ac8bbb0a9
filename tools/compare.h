/* compare.h: two ways to compute one graph, value by value. */
#ifndef STRATA_TOOLS_COMPARE_H
#define STRATA_TOOLS_COMPARE_H

#include "model_options.h"

#include <strata/extend.h>

/* How one side computes. */
struct side {
    strata_context *ctx;
    const char     *device;   /* as --device; "definition": the ops' own definitions, in double */
    const char     *pipeline; /* NULL: the default; "": none */
    int             threads;
    bool            strict, exact;
    strata_dtype    precision;
};

/* A graph and its values by node id, NULL where there is none. */
struct values {
    strata_graph   *graph;
    strata_tensor **value;
    const char    **kernel; /* by node id: what computed it; NULL: unknown */
    char            device[160];
};

/* How far two values of one name are apart. */
struct difference {
    const strata_node *node;  /* of the test side */
    double             error; /* over the largest magnitude of the reference (over 1 where that is all zeros); infinite
                                 where one side alone is not finite */
    double             absmax;
    int64_t            at; /* element of the largest difference */
    float              ref, test;
};

/* ---- compare_cut.c ---- */

/* A graph of the nodes of g that `inside` marks by id: what they read from outside becomes inputs, constants become
 * parameters with the same numbers. `outs` are its outputs, under their names. With `inputs`, all inputs of g are kept in
 * their order. */
strata_status cut_graph(const strata_graph *g, const bool *inside, const strata_node *const *outs, int count, bool inputs,
                        strata_graph **out, strata_error *err);
/* The whole of g, with its outputs. */
strata_status cut_copy(const strata_graph *g, strata_graph **out, strata_error *err);
/* Marks the nodes that compute `n`, up to `depth` of them one behind the other. Returns whether all of them are in.
 * `steps` is scratch; both have room for all nodes. */
bool cut_mark(const strata_graph *g, const strata_node *n, int depth, int *steps, bool *inside);

/* ---- compare_run.c ---- */

void values_clear(struct values *v);
/* g after the passes of the side. */
strata_status side_passes(const struct side *s, const strata_graph *g, strata_graph **out, strata_error *err);
/* Computes g, as it is, on the side's device. Inputs are taken by name from `given`. With `every`, all values become
 * outputs, so that each can be looked at; without, the graph runs as it would anyhow. The graph belongs to out->graph, also
 * after a failure. */
strata_status side_run(const struct side *s, strata_graph *g, const struct values *given, bool every, struct values *out,
                       strata_error *err);
/* The names that both have, in the test's order of execution, into list (room for all nodes of test). */
int  values_compare(const struct values *ref, const struct values *test, struct difference *list);
void difference_of(const strata_tensor *ref, const strata_tensor *test, struct difference *out);

/* ---- compare_bisect.c ---- */

/* Who is guilty of a difference. */
struct verdict {
    enum guilt { GUILTY_NOBODY, GUILTY_PASS, GUILTY_NODE, GUILTY_NODES } guilt;
    char   pass[96];
    char   value[256], op[64], kernel[112]; /* the first value that is wrong, and what computed it */
    int    nodes;                           /* in the repro */
    double error;                           /* of the repro */
    char  *repro;                           /* path of the script; NULL when nothing was written */
    char   device[160];                     /* where it goes wrong */
};

struct bisection {
    const struct options *options;
    struct side           ref, test;
    const strata_graph   *plain;  /* as built, with its weights */
    const struct values  *given;  /* the inputs */
    double                tolerance;
    const char           *folder; /* for the repro */
};

/* Finds a guilty pass (of either side), else a guilty node, else the fewest nodes together that still differ, each fed with
 * the reference's values; writes a repro. Returns an exit code, after saying what is wrong. */
int  bisect(const struct bisection *b, struct verdict *out);
void verdict_free(struct verdict *v);

#endif
