/* op_cases.h: random cases for every built-in op, and the measure by which a kernel's result must agree with the op's
 * definition. strata doctor runs them on a device; the tests of the backends run their kernels on them one by one. */
#ifndef STRATA_TOOLS_OP_CASES_H
#define STRATA_TOOLS_OP_CASES_H

#include <strata/ops.h>

/* One op with operands full of noise. */
typedef struct op_case {
    const strata_op_def *op;
    union {
        max_align_t align;
        char        bytes[256];
    } attrs;
    int                count; /* of operands; one of rank 0 is left out */
    strata_tensor_desc desc[STRATA_MAX_OPERANDS];
    float             *x[STRATA_MAX_OPERANDS];
    bool               constant[STRATA_MAX_OPERANDS];
    uint64_t           noise;  /* its state */
    bool               failed; /* out of memory */
} op_case;

typedef struct op_case_def {
    const strata_op_def *op;
    const char          *name;  /* of the kind of case: "any", "depthwise" */
    int                  times; /* how many are worth trying */
    void (*build)(op_case *c, int batch);
    double tolerance; /* of an element, relative to its scale: see op_case_scales */
} op_case_def;

extern const op_case_def op_case_defs[]; /* ends with a row without an op; an op may have several */

/* With the same seed the first images are the same for any batch. False: out of memory. op_case_free in any case. */
bool op_case_make(const op_case_def *def, uint64_t seed, int batch, op_case *out);
void op_case_free(op_case *c);
/* The result by definition; the caller frees. */
strata_status op_case_eval(const op_case *c, strata_tensor_desc *desc, float **out, strata_error *err);
/* The scale of each element of the result y: for sums of products the sum of their absolute values (times the square root
 * of their number), else the larger of 1 and the element. NULL: out of memory; the caller frees. */
float *op_case_scales(const op_case *c, const strata_tensor_desc *desc, const float *y);
/* For an approximate convolution, which spreads errors over a tile: every element has the scale of the largest, and that
 * without the allowance for long sums. */
void op_case_spread(const op_case *c, const strata_tensor_desc *desc, float *scale);

#endif
