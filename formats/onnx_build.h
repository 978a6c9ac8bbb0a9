/* onnx_build.h: an ONNX model under construction, and what the writers of ops use to add to it.
 *
 * The error is sticky, as a strata_builder's: after the first one every call does nothing and returns a harmless
 * name, so writers need no checks. Texts and messages live in the pool of the model; numbers of weights are never
 * copied. */
#ifndef STRATA_FORMATS_ONNX_BUILD_H
#define STRATA_FORMATS_ONNX_BUILD_H

#include <strata/ops.h>

#include "onnx.pb-c.h"

typedef struct onnx_pool_block onnx_pool_block;

/* A growing array of pointers to messages of one kind. */
typedef struct onnx_list {
    void **at;
    size_t count, capacity;
} onnx_list;

typedef struct onnx_model {
    const strata_graph *graph;
    bool                dynamic_batch;
    const char        **value;  /* by node id: the name of its value in the file; NULL: not needed */
    bool               *varies, *written; /* by node id: depends on an input; is an initializer by now */
    onnx_list           nodes, initializers, scalars, infos, outputs;
    uint64_t            weight_bytes;
    onnx_pool_block    *pool;
    size_t              attr_capacity; /* of the last node */
    strata_error        error;
} onnx_model;

void        onnx_model_release(onnx_model *m);
void        onnx_fail(onnx_model *m, strata_status status, const char *fmt, ...) STRATA_PRINTF(3, 4);
bool        onnx_failed(const onnx_model *m);
void       *onnx_alloc(onnx_model *m, size_t size); /* zeroed; NULL once failed */
char       *onnx_text(onnx_model *m, const char *fmt, ...) STRATA_PRINTF(2, 3); /* never NULL */
void        onnx_push(onnx_model *m, onnx_list *list, void *message);

/* A value's name that nothing else has: "node/what". */
const char *onnx_temp(onnx_model *m, const strata_node *n, const char *what);
/* The name under which n's value stands in the file; a parameter or constant becomes an initializer. */
const char *onnx_value(onnx_model *m, strata_node *n);
/* The value of an operand of n under another shape of as many elements, as "n/what": numbers that are known are written
 * in that shape. */
const char *onnx_value_as(onnx_model *m, const strata_node *n, const char *what, strata_node *operand, int rank,
                          const int64_t *dim);

/* ONNX node `op` that computes `result` from the operands, of which trailing ones may be NULL. Attributes are those of
 * the node added last. */
void onnx_node_n(onnx_model *m, const char *op, const char *result, const char *const *in, int count);
#define onnx_node(m, op, result, ...)                                                              \
    onnx_node_n(m, op, result, (const char *const[]){ __VA_ARGS__ },                               \
                (int)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *)))
void onnx_set_int(onnx_model *m, const char *name, int64_t value);
void onnx_set_float(onnx_model *m, const char *name, double value);
void onnx_set_string(onnx_model *m, const char *name, const char *value);
void onnx_set_ints(onnx_model *m, const char *name, const int64_t *at, int count);
void onnx_set_int_pair(onnx_model *m, const char *name, const int at[2]);
void onnx_set_pads(onnx_model *m, const int pad[4]); /* "pads": top, left, bottom, right in both worlds */

/* Initializers; each returns its name. */
const char *onnx_numbers(onnx_model *m, const char *name, const int64_t *at, int count); /* int64[count] */
const char *onnx_floats(onnx_model *m, const char *name, const float *at, int count);    /* float[count] */
const char *onnx_scalar(onnx_model *m, double value); /* float, shared by all who need this number */

/* `result` = act(x), in one node or several; NONE copies. `x` may be computed elsewhere. */
void onnx_write_act(onnx_model *m, const strata_node *n, strata_act act, const char *x, const char *result);

/* One row per op; NULL when ONNX export does not know it. */
typedef void (*onnx_writer)(onnx_model *m, const strata_node *n, const char *result);
onnx_writer onnx_find_writer(const strata_op_def *op);

/* In onnx_ops_layers.c: rows whose writers are more than a line or two. */
void onnx_write_conv2d(onnx_model *m, const strata_node *n, const char *result);
void onnx_write_dense(onnx_model *m, const strata_node *n, const char *result);
void onnx_write_batch_norm(onnx_model *m, const strata_node *n, const char *result);
void onnx_write_layer_norm(onnx_model *m, const strata_node *n, const char *result);
void onnx_write_grn(onnx_model *m, const strata_node *n, const char *result);
void onnx_write_resize(onnx_model *m, const strata_node *n, const char *result);

#endif
