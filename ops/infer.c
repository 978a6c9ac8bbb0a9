/* Rules that many ops share; see infer.h. */
#include "infer.h"

const char *strata_operand_name(const strata_node *n, int i, char *buf, size_t size)
{
    if (n->op->flags & STRATA_OP_VARIADIC)
        snprintf(buf, size, "operand %d", i);
    else
        snprintf(buf, size, "%s", n->op->operands[i].name);
    return buf;
}

static bool has_layout(const strata_node *n, int i)
{
    return !strata_operand_role(n, i) && !strata_node_is_constant(n->in[i]) && !strata_layout_free(&n->in[i]->desc);
}

strata_status strata_infer_operands(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    char a[32], b[32];
    int  ruling = -1; /* the first operand whose layout means something */
    int  typed = -1;  /* one that is no constant: these are f32 whatever the others are */

    for (int i = 0; i < STRATA_MAX_OPERANDS; i++) {
        if (!n->in[i])
            continue;
        const strata_tensor_desc *x = &n->in[i]->desc;
        strata_operand_name(n, i, a, sizeof a);
        if (x->dtype != STRATA_F32 && (x->dtype != STRATA_F16 || strata_node_is_source(n->in[i])))
            return strata_fail(err, STRATA_SHAPE, "%s is %s, but values of a graph are f32", a,
                               strata_dtype_name(x->dtype));
        if (!strata_node_is_constant(n->in[i])) {
            if (typed >= 0 && x->dtype != n->in[typed]->desc.dtype)
                return strata_fail(err, STRATA_SHAPE, "types differ: %s is %s, but %s is %s",
                                   strata_operand_name(n, typed, b, sizeof b),
                                   strata_dtype_name(n->in[typed]->desc.dtype), a, strata_dtype_name(x->dtype));
            typed = i;
        }
        if (!has_layout(n, i))
            continue;
        if (ruling < 0)
            ruling = i;
        if (x->layout != n->in[ruling]->desc.layout)
            return strata_fail(err, STRATA_SHAPE, "layouts differ: %s is %s, but %s is %s",
                               strata_operand_name(n, ruling, b, sizeof b),
                               strata_layout_names[n->in[ruling]->desc.layout], a,
                               strata_layout_names[x->layout]);
    }
    if (ruling >= 0)
        out->layout = n->in[ruling]->desc.layout;
    if (typed >= 0)
        out->dtype = n->in[typed]->desc.dtype;
    return STRATA_OK;
}

strata_status strata_infer_rank(const strata_node *n, int i, int low, int high, strata_error *err)
{
    char name[32];
    int  rank = n->in[i]->desc.rank;
    if (rank >= low && rank <= high)
        return STRATA_OK;
    strata_operand_name(n, i, name, sizeof name);
    if (low == high)
        return strata_fail(err, STRATA_SHAPE, "%s must have rank %d, not %d", name, low, rank);
    return strata_fail(err, STRATA_SHAPE, "%s must have rank %d to %d, not %d", name, low, high, rank);
}

strata_status strata_infer_vector(const strata_node *n, int i, int64_t length, strata_error *err)
{
    if (!n->in[i])
        return STRATA_OK;
    const strata_tensor_desc *v = &n->in[i]->desc;
    if (v->rank == 1 && v->dim[0] == length)
        return STRATA_OK;
    char name[32], shape[128];
    return strata_fail(err, STRATA_SHAPE, "%s must be [%lld], not %s",
                       strata_operand_name(n, i, name, sizeof name), (long long)length,
                       strata_shape_text(v, shape, sizeof shape));
}

strata_status strata_infer_per_channel(const strata_node *n, int low, int high, strata_error *err)
{
    STRATA_TRY(strata_infer_rank(n, 0, low, high, err));
    for (int i = 1; i < strata_operand_count(n); i++)
        STRATA_TRY(strata_infer_vector(n, i, n->in[0]->desc.dim[1], err));
    return STRATA_OK;
}

strata_status strata_infer_same_dim(const strata_node *n, int i, int j, int axis, strata_error *err)
{
    int64_t p = n->in[i]->desc.dim[axis], q = n->in[j]->desc.dim[axis];
    if (p == q)
        return STRATA_OK;
    char a[32], b[32];
    return strata_fail(err, STRATA_SHAPE, "dim %d differs: %lld in %s vs %lld in %s", axis, (long long)p,
                       strata_operand_name(n, i, a, sizeof a), (long long)q,
                       strata_operand_name(n, j, b, sizeof b));
}

strata_status strata_infer_axis(const strata_node *n, int axis, strata_error *err)
{
    int rank = n->in[0]->desc.rank;
    if (axis < rank)
        return STRATA_OK;
    return strata_fail(err, STRATA_SHAPE, "axis %d does not exist in a value of rank %d", axis, rank);
}

strata_status strata_infer_window(const strata_tensor_desc *x, const int64_t kernel[2], const int stride[2],
                                  const int pad[4], const int dilation[2], strata_tensor_desc *out,
                                  strata_error *err)
{
    static const char *const side[] = { "height", "width" };
    for (int i = 0; i < 2; i++) {
        int64_t room = x->dim[2 + i] + pad[i] + pad[i + 2];
        /* reach = (kernel - 1) * dilation + 1 <= room, in a form that cannot overflow */
        if (kernel[i] - 1 > (room - 1) / dilation[i])
            return strata_fail(err, STRATA_SHAPE,
                               "kernel %s %lld with dilation %d does not fit into x: %lld + %d + %d padding",
                               side[i], (long long)kernel[i], dilation[i], (long long)x->dim[2 + i], pad[i],
                               pad[i + 2]);
        out->dim[2 + i] = (room - 1 - (kernel[i] - 1) * dilation[i]) / stride[i] + 1;
    }
    return STRATA_OK;
}
