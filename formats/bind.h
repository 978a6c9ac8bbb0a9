/* bind.h: a network's parameters on one side, a file's tensors on the other, and who goes with whom. Filled
 * by bind.c, which also reads saved maps (bind_report.c), matches equal names, and asks auto_map.c for the
 * rest. */
#ifndef STRATA_FORMATS_BIND_H
#define STRATA_FORMATS_BIND_H

#include "weights.h"

typedef struct bind_parameter {
    strata_node *node;
    const char  *name;
    const char  *role;   /* of the operand: "weight", "bias", "scale", "shift", "mean", "variance"; or NULL */
    bool         live;   /* an output needs it */
    bool         stem;   /* weight of an ungrouped convolution of the graph's input */
    int          tensor; /* index into tensors, or -1 */
    strata_bind_kind kind;
    char        *note;   /* owned; or NULL */
} bind_parameter;

typedef struct bind_tensor {
    const char        *name;  /* as compared with parameters: without "ema." when EMA copies are asked for */
    const char        *full;  /* as in the file */
    strata_tensor_desc desc;
    bool               eligible; /* no rule leaves it out */
    int                entry;    /* index in the file */
    int                parameter; /* that has taken it, or -1 */
} bind_tensor;

typedef struct binding {
    const strata_weights *weights;
    bind_parameter       *parameters; /* in order of the graph */
    bind_tensor          *tensors;    /* in order of the file */
    int                   parameter_count, tensor_count;
    bool                  auto_map, ema;
} binding;

/* How a file's tensor may serve a parameter. */
typedef enum bind_fit {
    BIND_FIT_NONE,
    BIND_FIT_EQUAL,    /* same shape */
    BIND_FIT_UNITS,    /* the same vector, with or without dims of 1; only with auto_map */
    BIND_FIT_CHANNELS, /* a first convolution for three input channels, the network has another number */
} bind_fit;
bind_fit strata_bind_fit(const binding *b, const bind_parameter *p, const strata_tensor_desc *tensor);

/* Makes the pair; both must be free. */
void strata_bind_pair(binding *b, int parameter, int tensor, strata_bind_kind kind);
void strata_bind_unpair(binding *b, int parameter);
/* Replaces the note of p (printf); keeps the old one when out of memory. */
void strata_bind_note(bind_parameter *p, const char *fmt, ...) STRATA_PRINTF(2, 3);

/* Pairs what a saved map says. */
strata_status strata_bind_read_map(binding *b, const char *path, strata_error *err);
/* Pairs parameters whose names differ, or leaves them alone; see auto_map.c. */
strata_status strata_auto_map(binding *b, strata_error *err);
/* Its second stage, for networks named in another way altogether; see auto_map_blocks.c. */
strata_status strata_auto_map_blocks(binding *b, strata_error *err);

/* The report of a finished binding. */
strata_status strata_bind_report_create(const binding *b, strata_bind_report **out, strata_error *err);

/* ---- Names (auto_map.c) -------------------------------------------------------------------------------- */

/* One tensor or parameter, its name split into module and leaf. */
typedef struct bind_name {
    int         index;  /* into parameters or tensors */
    const char *name;
    int         module; /* bytes of the name that name the module: 0 for none */
    const char *leaf;
    const char *role;   /* what the leaf means beside the other leaves of the module; never NULL */
} bind_name;

/* The names of one side, sorted by module, then role. Items for which `wanted` is false are left out. */
bind_name *strata_bind_names(const binding *b, bool of_tensors, const bool *wanted, int *count);

#endif
