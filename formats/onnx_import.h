/* onnx_import.h: what the readers of ONNX nodes (onnx_read_*.c) see of an import.
 *
 * Every value of the file is an onnx_val. It is known in one or more of three ways:
 *
 *   constant   its numbers are known now: an initializer, or computed from constants (shapes, mostly)
 *   node       a value of our graph
 *   base       a value of our graph whose dims, in another order, are this value: dim i is base dim perm[i]
 *
 * A Transpose only makes a `base`; element-wise ops, products and norms over channels work on the base and hand the
 * order on. So what other frameworks compute with channels last becomes the same graph as ours, without a transpose;
 * who cannot work on a base asks for the node, and the transpose is emitted then.
 *
 * A node of the file that cannot be said in our ops fails on its own: its values carry the reason, those that depend
 * on them are blocked, and only reasons that an output depends on are reported, all of them. */
#ifndef STRATA_FORMATS_ONNX_IMPORT_H
#define STRATA_FORMATS_ONNX_IMPORT_H

#include <strata/nn.h>

#include "onnx.pb-c.h"

typedef struct onnx_val {
    const char            *name;     /* in the file */
    const Onnx__NodeProto *producer; /* NULL: an input or initializer */
    bool                   defined, empty, blocked, needed, is_output;
    bool                   fixed; /* does not depend on an input */
    bool                   given; /* a constant that stands in the file: a parameter; others are the graph's */
    const char            *problem; /* why the producer cannot be imported */
    strata_tensor         *constant; /* f32 or i64 */
    strata_node           *node, *base;
    int                    perm[STRATA_MAX_RANK];
} onnx_val;

/* The unpacked file; tensors that are views of it keep it. */
typedef struct onnx_file onnx_file;

typedef struct onnx_importer {
    strata_builder *b;
    onnx_file      *file;
    const char     *path;
    int64_t         opset;
    onnx_val       *val; /* sorted by name */
    size_t          count;
    strata_onnx_import how;
    char          **texts; /* of this import */
    size_t          text_count;
} onnx_importer;

enum {
    ONNX_MAX_FOLD = 1 << 16,  /* elements of a result that is computed here */
    ONNX_LONGEST_NAME = 160,
};

/* A node being read. Operands that are left out are NULL. */
typedef struct onnx_op {
    onnx_importer         *im;
    const Onnx__NodeProto *node;
    strata_builder        *b;
    const char            *name; /* of the first result, in our graph */
    int                    in_count;
    onnx_val             **in;
    const char            *problem; /* set by onnx_reject */
} onnx_op;

onnx_val *onnx_find(const onnx_importer *im, const char *name); /* NULL: none */
/* A text that lives as long as the import. */
const char *onnx_keep(onnx_importer *im, const char *fmt, ...) STRATA_PRINTF(2, 3);
/* A name of the file as one of ours: what the graph's text form or selectors cannot hold is changed. */
void onnx_clean_text(const char *name, char text[ONNX_LONGEST_NAME + 1]);
/* The same with a suffix, as a name that no value has yet. */
const char *onnx_clean_name(onnx_importer *im, const char *name, const char *suffix);

/* ---- For readers ------------------------------------------------------------------------------------------------- */

/* This node cannot be imported; the first reason counts. Always returns false. */
bool onnx_reject(onnx_op *op, const char *fmt, ...) STRATA_PRINTF(2, 3);

const Onnx__AttributeProto *onnx_attr(const onnx_op *op, const char *name); /* NULL: absent */
int64_t     onnx_int(const onnx_op *op, const char *name, int64_t fallback);
double      onnx_float(const onnx_op *op, const char *name, double fallback);
const char *onnx_string(onnx_op *op, const char *name, const char *fallback);
/* The numbers of an attribute or, when that is absent, of operand i if it is constant; the count, 0 when there are none,
 * -1 after rejecting (more than `max`, not constant). */
int onnx_ints(onnx_op *op, const char *name, int i, int64_t *at, int max);

bool onnx_has(const onnx_op *op, int i); /* operand i is given */
/* Shape of an operand that is not blocked. */
void onnx_shape(const onnx_val *v, strata_tensor_desc *out);
/* The operand as a value of the graph in its own order of dims. NULL after rejecting (integers). */
strata_node *onnx_operand(onnx_op *op, int i);
/* NULL where the value holds integers. */
strata_node *onnx_val_node(const onnx_op *op, onnx_val *v);
/* Whether operand i is one number, f32 or integer, known now. */
bool onnx_scalar_of(const onnx_val *v, double *out);
/* A constant tensor as f32 whatever its type; the caller unrefs. */
strata_tensor *onnx_as_f32(onnx_op *op, strata_tensor *t);

/* Results. */
onnx_val *onnx_out(const onnx_op *op, int k); /* NULL: not asked for */
void onnx_give(onnx_op *op, int k, strata_node *n);
void onnx_give_turned(onnx_op *op, int k, strata_node *base, const int *perm);
void onnx_give_constant(onnx_op *op, int k, strata_tensor *t); /* takes t; NULL: out of memory */
void onnx_give_same(onnx_op *op, int k, const onnx_val *v);
/* v as a base whose dim 1 is the last dim of v, so that a product or norm over the last dim is one over channels. */
void onnx_channels_base(onnx_op *op, onnx_val *v, strata_node **base, int perm[STRATA_MAX_RANK]);
/* Our name for result k; `base`: it will stand under a turned value. The last node of a result takes it. */
const char *onnx_name(onnx_op *op, int k, bool base);

/* ---- Rows --------------------------------------------------------------------------------------------------------- */

typedef void (*onnx_reader)(onnx_op *op);
typedef struct onnx_row {
    const char *name;
    onnx_reader read;
} onnx_row;
extern const onnx_row onnx_layer_rows[], onnx_math_rows[], onnx_shape_rows[]; /* end with { 0 } */

/* Computes the node from constant operands, when it can. */
bool onnx_fold(onnx_op *op);
/* Whether a node of this kind may be part of what onnx_match recognises, without having an op of ours. */
bool onnx_may_match(const char *type);
/* Recognises the node as the end of a known function of one value (gelu, silu, ...) or norm. */
bool onnx_match(onnx_op *op);

/* ---- Files -------------------------------------------------------------------------------------------------------- */

strata_status onnx_file_open(const char *path, onnx_file **out, strata_error *err);
const Onnx__ModelProto *onnx_file_model(const onnx_file *f);
void          onnx_file_unref(onnx_file *f);
/* f32 or i64; a view of the file's bytes where that is possible. The caller unrefs. */
strata_status onnx_file_tensor(onnx_file *f, const Onnx__TensorProto *t, strata_tensor **out, strata_error *err);
#endif
