/* The vocabulary of models, second half: what has no parameters. See strata/nn.h. */
#include <strata/nn.h>

#include <string.h>

strata_node *nn_act(strata_builder *b, strata_node *x, strata_act act)
{
    const strata_op_def *op = strata_act_op(act);
    if (op)
        return strata_emit(b, op, NULL, NULL, x);
    if (act != STRATA_ACT_NONE)
        strata_builder_fail(b, STRATA_INVALID, "%s: there is no activation %d", strata_scoped(b, "act"),
                            (int)act);
    return x;
}

strata_node *nn_global_avg_pool(strata_builder *b, strata_node *x)
{
    return strata_emit(b, &strata_op_global_avg_pool, NULL, NULL, x);
}

strata_node *nn_resize(strata_builder *b, strata_node *x, int height, int width, strata_resize_mode mode)
{
    strata_resize_attrs a = { .size = { height, width }, .mode = (int)mode };
    return strata_emit(b, &strata_op_resize, NULL, &a, x);
}

/* ---- Arithmetic ---- */

strata_node *nn_add(strata_builder *b, strata_node *x, strata_node *y)
{
    return strata_emit(b, &strata_op_add, NULL, NULL, x, y);
}

strata_node *nn_sub(strata_builder *b, strata_node *x, strata_node *y)
{
    return strata_emit(b, &strata_op_sub, NULL, NULL, x, y);
}

strata_node *nn_mul(strata_builder *b, strata_node *x, strata_node *y)
{
    return strata_emit(b, &strata_op_mul, NULL, NULL, x, y);
}

strata_node *nn_partial_add(strata_builder *b, strata_node *x, strata_node *y)
{
    return strata_emit(b, &strata_op_partial_add, NULL, NULL, x, y);
}

strata_node *nn_split_sum(strata_builder *b, strata_node *x, strata_node *logits, int splits)
{
    return strata_emit(b, &strata_op_split_sum, NULL, &(strata_split_sum_attrs){ splits }, x, logits);
}

strata_node *nn_neg(strata_builder *b, strata_node *x)
{
    return strata_emit(b, &strata_op_neg, NULL, NULL, x);
}

strata_node *nn_rsqrt(strata_builder *b, strata_node *x)
{
    return strata_emit(b, &strata_op_rsqrt, NULL, NULL, x);
}

strata_node *nn_add_scalar(strata_builder *b, strata_node *x, double value)
{
    return strata_emit(b, &strata_op_add_scalar, NULL, &(strata_scalar_attrs){ value }, x);
}

strata_node *nn_mul_scalar(strata_builder *b, strata_node *x, double value)
{
    return strata_emit(b, &strata_op_mul_scalar, NULL, &(strata_scalar_attrs){ value }, x);
}

strata_node *nn_softmax(strata_builder *b, strata_node *x, int axis)
{
    return strata_emit(b, &strata_op_softmax, NULL, &(strata_softmax_attrs){ axis }, x);
}

/* ---- Shapes ---- */

/* Puts `count` numbers into *out; false, with the builder failed, when that many do not fit. */
static bool set_ints(strata_builder *b, const strata_op_def *op, int count, const int64_t *at,
                     strata_ints *out)
{
    if (count < 1 || count > STRATA_MAX_RANK) {
        strata_builder_fail(b, STRATA_SHAPE, "%s: a value has 1 to %d dims, not %d",
                            strata_scoped(b, op->name), STRATA_MAX_RANK, count);
        return false;
    }
    out->count = count;
    memcpy(out->at, at, (size_t)count * sizeof *at);
    return true;
}

/* Replaces one -1 in the shape by what the other dims leave of x. A shape that cannot be resolved stays as it
 * is, for the op's own checks to refuse. */
static void resolve(const strata_node *x, strata_ints *shape)
{
    int64_t known = 1, count = strata_count(&x->desc);
    int     open  = -1;
    for (int i = 0; i < shape->count; i++)
        if (shape->at[i] == -1 && open < 0)
            open = i;
        else if (shape->at[i] < 1 || __builtin_mul_overflow(known, shape->at[i], &known))
            return;
    if (open >= 0 && count > 0 && count % known == 0)
        shape->at[open] = count / known;
}

strata_node *nn_reshape_n(strata_builder *b, strata_node *x, int rank, const int64_t *dim)
{
    strata_reshape_attrs a = { 0 };
    if (!set_ints(b, &strata_op_reshape, rank, dim, &a.shape))
        return x;
    resolve(x, &a.shape);
    return strata_emit(b, &strata_op_reshape, NULL, &a, x);
}

strata_node *nn_flatten(strata_builder *b, strata_node *x) { return nn_reshape(b, x, nn_dim(x, 0), -1); }

strata_node *nn_transpose_n(strata_builder *b, strata_node *x, int rank, const int64_t *perm)
{
    strata_transpose_attrs a = { 0 };
    if (!set_ints(b, &strata_op_transpose, rank, perm, &a.perm))
        return x;
    return strata_emit(b, &strata_op_transpose, NULL, &a, x);
}

strata_node *nn_slice(strata_builder *b, strata_node *x, int axis, int begin, int end)
{
    strata_slice_attrs a = { axis, begin, end };
    return strata_emit(b, &strata_op_slice, NULL, &a, x);
}

strata_node *nn_concat(strata_builder *b, strata_node *const *xs, int count, int axis)
{
    strata_concat_attrs a = { axis };
    return strata_emit_n(b, &strata_op_concat, NULL, &a, xs, count);
}

strata_node *nn_pad(strata_builder *b, strata_node *x, const strata_ints *before, const strata_ints *after)
{
    strata_pad_attrs a = { *before, *after };
    return strata_emit(b, &strata_op_pad, NULL, &a, x);
}
