/* copy: the same values in another layout, in another type or on another device. Models never build it: the compiler puts it
 * on edges where the two sides differ. It is the one op whose result does not keep operand 0's layout and type. */
#include "infer.h"

#include <string.h>

static const char *const dtype_names[] = { "f32", "f16", NULL }; /* ORDER strata_dtype */

static const strata_attr_def attrs[] = {
    { "layout", STRATA_ATTR_ENUM, offsetof(strata_copy_attrs, layout), 0, STRATA_LAYOUT_COUNT - 1,
      STRATA_NCHW, "memory order of a result of rank 4", strata_layout_names },
    { "dtype", STRATA_ATTR_ENUM, offsetof(strata_copy_attrs, dtype), 0, 1, STRATA_F32,
      "type of the result; float16 lies on devices only", dtype_names },
    { 0 }
};

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const strata_copy_attrs *a = n->attrs;
    STRATA_TRY(strata_infer_operands(n, out, err));
    if (out->rank != 4 && a->layout != STRATA_NCHW)
        return strata_fail(err, STRATA_SHAPE, "only values of rank 4 can be %s, not rank %d",
                           strata_layout_names[a->layout], out->rank);
    out->layout = (strata_layout)a->layout;
    out->dtype  = (strata_dtype)a->dtype;
    return STRATA_OK;
}

/* Evaluation sees every value row-major, so nothing is left to do but to copy. */
static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    memmove(out->data, in[0].data, strata_bytes(out->desc));
    return STRATA_OK;
}

const strata_op_def strata_op_copy = {
    .name = "copy",
    .doc  = "The same values in another layout, in another type or on another device; inserted by the compiler.",
    .operands = { { "x" } }, .attrs = attrs, .attr_size = sizeof(strata_copy_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .eval = eval,
};
