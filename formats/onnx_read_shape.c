/* onnx_read_shape.c: ONNX's ops that move elements: shapes, slices, concatenations, pads. See onnx_import.h. */
#include "onnx_import.h"

#include <limits.h>
#include <string.h>

/* axis of a value of this rank, negative ones counted from the end; -1 after rejecting. */
static int known_axis(onnx_op *op, int64_t axis, int rank)
{
    if (axis >= -rank && axis < rank)
        return (int)(axis < 0 ? axis + rank : axis);
    onnx_reject(op, "axis %lld does not exist in a value of rank %d", (long long)axis, rank);
    return -1;
}

static bool shape_of(onnx_op *op, int i, strata_tensor_desc *out)
{
    if (!onnx_has(op, i))
        return onnx_reject(op, "operand %d is missing", i);
    onnx_shape(op->in[i], out);
    return true;
}

/* ---- The same elements under another shape ------------------------------------------------------------------------------- */

static void give_reshaped(onnx_op *op, const strata_ints *shape)
{
    strata_tensor_desc d;
    onnx_shape(op->in[0], &d);
    if (d.rank == shape->count && memcmp(d.dim, shape->at, (size_t)d.rank * sizeof *d.dim) == 0) {
        onnx_give_same(op, 0, op->in[0]);
        return;
    }
    strata_node         *x = onnx_operand(op, 0);
    strata_reshape_attrs a = { *shape };
    if (shape->count == 0)
        onnx_reject(op, "it makes a single number without dims");
    else if (x != NULL)
        onnx_give(op, 0, strata_emit(op->b, &strata_op_reshape, onnx_name(op, 0, false), &a, x));
}

static void read_reshape(onnx_op *op)
{
    strata_tensor_desc d;
    strata_ints        shape = { 0 };
    int64_t            known = 1;
    int                open = -1;
    if (!shape_of(op, 0, &d) || (shape.count = onnx_ints(op, "shape", 1, shape.at, STRATA_MAX_RANK)) < 0)
        return;
    for (int i = 0; i < shape.count; i++) {
        if (shape.at[i] == 0 && onnx_int(op, "allowzero", 0) == 0 && i < d.rank)
            shape.at[i] = d.dim[i];
        if (shape.at[i] == -1 && open < 0)
            open = i;
        else if (shape.at[i] < 1 || __builtin_mul_overflow(known, shape.at[i], &known)) {
            onnx_reject(op, "its shape makes no sense");
            return;
        }
    }
    if (open >= 0)
        shape.at[open] = strata_count(&d) / known;
    if (open >= 0 && (shape.at[open] < 1 || strata_count(&d) % known != 0))
        onnx_reject(op, "its shape does not hold the elements of its operand");
    else
        give_reshaped(op, &shape);
}

static void read_flatten(onnx_op *op)
{
    strata_tensor_desc d;
    if (!shape_of(op, 0, &d))
        return;
    int64_t     axis = onnx_int(op, "axis", 1);
    strata_ints shape = { 2, { 1, 1 } };
    axis += axis < 0 ? d.rank : 0;
    for (int i = 0; i < d.rank; i++)
        shape.at[i >= axis] *= d.dim[i];
    give_reshaped(op, &shape);
}

/* Axes of Squeeze and Unsqueeze as bits, for a value of this rank; false after rejecting. */
static bool axes_of(onnx_op *op, int rank, unsigned *bits)
{
    int64_t axes[STRATA_MAX_RANK];
    int     count = onnx_ints(op, "axes", 1, axes, STRATA_MAX_RANK);
    *bits = 0;
    for (int i = 0; i < count; i++) {
        int axis = known_axis(op, axes[i], rank);
        if (axis < 0)
            return false;
        *bits |= 1u << axis;
    }
    return count >= 0;
}

static void read_squeeze(onnx_op *op)
{
    strata_tensor_desc d;
    strata_ints        shape = { 0 };
    unsigned           bits;
    if (!shape_of(op, 0, &d) || !axes_of(op, d.rank, &bits))
        return;
    for (int i = 0; i < d.rank; i++) {
        const bool goes = bits ? bits >> i & 1 : d.dim[i] == 1;
        if (goes && d.dim[i] != 1) {
            onnx_reject(op, "dim %d is %lld, not 1", i, (long long)d.dim[i]);
            return;
        }
        if (!goes)
            shape.at[shape.count++] = d.dim[i];
    }
    give_reshaped(op, &shape);
}

static void read_unsqueeze(onnx_op *op)
{
    strata_tensor_desc d;
    strata_ints        shape = { 0 };
    int64_t            axes[STRATA_MAX_RANK];
    unsigned           bits;
    int                more = onnx_ints(op, "axes", 1, axes, STRATA_MAX_RANK), next = 0;
    if (more < 0 || !shape_of(op, 0, &d))
        return;
    if (d.rank + more > STRATA_MAX_RANK) {
        onnx_reject(op, "the result has rank %d, more than %d", d.rank + more, STRATA_MAX_RANK);
        return;
    }
    if (!axes_of(op, d.rank + more, &bits))
        return;
    for (int i = 0; i < d.rank + more && next <= d.rank; i++)
        shape.at[shape.count++] = bits >> i & 1 || next == d.rank ? 1 : d.dim[next++];
    give_reshaped(op, &shape);
}

static void read_transpose(onnx_op *op)
{
    strata_tensor_desc d;
    int64_t            order[STRATA_MAX_RANK];
    int                perm[STRATA_MAX_RANK];
    unsigned           seen = 0;
    if (!shape_of(op, 0, &d))
        return;
    int count = onnx_ints(op, "perm", -1, order, STRATA_MAX_RANK);
    for (int i = 0; count == 0 && i < d.rank; i++)
        order[i] = d.rank - 1 - i;
    for (int i = 0; i < d.rank && (count == 0 || count == d.rank); i++)
        seen |= order[i] >= 0 && order[i] < d.rank ? 1u << order[i] : 0;
    if (seen != (1u << d.rank) - 1) {
        onnx_reject(op, "its perm is no permutation of %d dims", d.rank);
        return;
    }
    const onnx_val *v = op->in[0];
    for (int i = 0; i < d.rank; i++)
        perm[i] = v->base != NULL ? v->perm[order[i]] : (int)order[i];
    onnx_give_turned(op, 0, v->base != NULL ? v->base : onnx_operand(op, 0), perm);
}

static void read_same(onnx_op *op)
{
    if (onnx_has(op, 0))
        onnx_give_same(op, 0, op->in[0]);
}

static void read_dropout(onnx_op *op)
{
    double training = 0;
    if (onnx_has(op, 2) && (!onnx_scalar_of(op->in[2], &training) || training != 0))
        onnx_reject(op, "it is in training mode; export the model in evaluation mode");
    else
        read_same(op);
}

static void read_cast(onnx_op *op)
{
    if (onnx_int(op, "to", 0) == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
        read_same(op); /* values are f32 already */
    else
        onnx_reject(op, "values of a graph are f32, no other type");
}

static void read_shape(onnx_op *op)
{
    strata_tensor_desc d;
    if (!shape_of(op, 0, &d))
        return;
    int64_t begin = onnx_int(op, "start", 0), end = onnx_int(op, "end", d.rank);
    begin += begin < 0 ? d.rank : 0;
    end += end < 0 ? d.rank : 0;
    begin = begin < 0 ? 0 : begin;
    end = end > d.rank ? d.rank : end;
    strata_tensor_desc one = { .dtype = STRATA_I64, .rank = 1, .dim = { end - begin } };
    strata_tensor     *t = NULL;
    if (begin >= end)
        onnx_reject(op, "it asks for no dim");
    else if (strata_tensor_create(&one, &t, NULL) == STRATA_OK) {
        memcpy(strata_tensor_data(t), d.dim + begin, (size_t)(end - begin) * sizeof *d.dim);
        onnx_give_constant(op, 0, t);
    }
}

/* Constants that are written at their place; see onnx_fold.c for those that are computed. */
static void read_constant(onnx_op *op)
{
    const Onnx__AttributeProto *a = onnx_attr(op, "value");
    strata_tensor              *t = NULL;
    strata_error                err = { .text = "it has no value" };
    strata_tensor_desc          d = { .dtype = STRATA_I64 };
    if (onnx_out(op, 0) == NULL)
        return;
    if (a != NULL && a->t != NULL) {
        if (onnx_file_tensor(op->im->file, a->t, &t, &err) != STRATA_OK)
            onnx_reject(op, "%s", err.text);
        else if (t == NULL) /* in place of an operand that is left out */
            onnx_out(op, 0)->empty = true;
        else
            onnx_give_constant(op, 0, t);
        onnx_out(op, 0)->given = true;
        return;
    }
    const void *from = NULL;
    if ((a = onnx_attr(op, "value_int")) != NULL)
        from = &a->i;
    else if ((a = onnx_attr(op, "value_float")) != NULL)
        from = &a->f, d.dtype = STRATA_F32;
    else if ((a = onnx_attr(op, "value_ints")) != NULL)
        from = a->ints, d.rank = 1, d.dim[0] = (int64_t)a->n_ints;
    else if ((a = onnx_attr(op, "value_floats")) != NULL)
        from = a->floats, d.rank = 1, d.dim[0] = (int64_t)a->n_floats, d.dtype = STRATA_F32;
    if (from == NULL || (d.rank == 1 && d.dim[0] == 0) || strata_tensor_create(&d, &t, NULL) != STRATA_OK) {
        onnx_reject(op, "it has no value");
        return;
    }
    memcpy(strata_tensor_data(t), from, strata_bytes(&d));
    onnx_give_constant(op, 0, t);
}

/* ---- Parts -------------------------------------------------------------------------------------------------------------------- */

/* x from begin to before end along an axis of the base; `name` as of a result. */
static strata_node *part(onnx_op *op, const char *name, strata_node *x, int axis, int64_t begin, int64_t end)
{
    strata_slice_attrs a = { axis, (int)begin, (int)end };
    return strata_emit(op->b, &strata_op_slice, name, &a, x);
}

/* Axes, starts, ends, steps; the last of several slices takes the name. */
static void read_slice(onnx_op *op)
{
    int64_t            begin[STRATA_MAX_RANK], end[STRATA_MAX_RANK], axes[STRATA_MAX_RANK], steps[STRATA_MAX_RANK];
    strata_tensor_desc d;
    if (!shape_of(op, 0, &d))
        return;
    int count = onnx_ints(op, "starts", 1, begin, STRATA_MAX_RANK), ends = onnx_ints(op, "ends", 2, end, STRATA_MAX_RANK);
    int given = onnx_ints(op, "axes", 3, axes, STRATA_MAX_RANK), stepped = onnx_ints(op, "steps", 4, steps, STRATA_MAX_RANK);
    if (op->problem != NULL)
        return;
    if (count < 1 || ends != count || (given != 0 && given != count) || (stepped != 0 && stepped != count)) {
        onnx_reject(op, "its starts, ends, axes and steps differ in number");
        return;
    }
    onnx_val    *v = op->in[0];
    strata_node *x = v->base != NULL ? v->base : onnx_val_node(op, v);
    int          perm[STRATA_MAX_RANK], left = 0;
    for (int i = 0; i < d.rank; i++)
        perm[i] = v->base != NULL ? v->perm[i] : i;
    for (int i = 0; i < count; i++) {
        int axis = known_axis(op, given ? axes[i] : i, d.rank);
        if (axis < 0)
            return;
        const int64_t size = d.dim[axis];
        if (stepped && steps[i] != 1) {
            onnx_reject(op, "a slice with steps of %lld is not supported", (long long)steps[i]);
            return;
        }
        begin[i] = begin[i] < 0 ? (begin[i] < -size ? 0 : begin[i] + size) : begin[i];
        end[i] = end[i] < 0 ? end[i] + size : end[i] > size ? size : end[i];
        if (begin[i] >= end[i] || size > INT_MAX) {
            onnx_reject(op, "the slice is empty");
            return;
        }
        axes[i] = axis;
        d.dim[axis] = end[i] - begin[i];
        left += begin[i] != 0 || end[i] != size;
    }
    if (left == 0 || x == NULL) {
        onnx_give_same(op, 0, v);
        return;
    }
    for (int i = 0; i < count; i++)
        if (begin[i] != 0 || end[i] != x->desc.dim[perm[axes[i]]])
            x = part(op, --left == 0 ? onnx_name(op, 0, v->base != NULL) : NULL, x, perm[axes[i]], begin[i], end[i]);
    onnx_give_turned(op, 0, x, perm);
}

static void read_split(onnx_op *op)
{
    strata_tensor_desc d;
    int64_t            sizes[256], begin = 0;
    if (!shape_of(op, 0, &d))
        return;
    const int axis = known_axis(op, onnx_int(op, "axis", 0), d.rank), parts = (int)op->node->n_output;
    int       count = onnx_ints(op, "split", 1, sizes, 256);
    if (axis < 0 || count < 0)
        return;
    if (parts > 256 || (count != 0 && count != parts)) {
        onnx_reject(op, "it has %d parts", parts);
        return;
    }
    const int64_t each = (d.dim[axis] + parts - 1) / parts;
    onnx_val     *v = op->in[0];
    strata_node  *x = v->base != NULL ? v->base : onnx_val_node(op, v);
    int           perm[STRATA_MAX_RANK];
    for (int i = 0; i < d.rank; i++)
        perm[i] = v->base != NULL ? v->perm[i] : i;
    for (int k = 0; k < parts && x != NULL; k++) {
        int64_t size = count ? sizes[k] : k + 1 < parts ? each : d.dim[axis] - begin;
        if (size < 1 || size > d.dim[axis] - begin || d.dim[axis] > INT_MAX) {
            onnx_reject(op, "part %d is empty or outside", k);
            return;
        }
        if (onnx_out(op, k) != NULL)
            onnx_give_turned(op, k, part(op, onnx_name(op, k, v->base != NULL), x, perm[axis], begin, begin + size), perm);
        begin += size;
    }
}

/* One index of an axis, which goes; or, what resizing to the nearest element is written as, floor(i * in / out). */
static void read_gather(onnx_op *op)
{
    strata_tensor_desc d;
    double             number;
    strata_node       *x = onnx_operand(op, 0);
    if (x == NULL || !shape_of(op, 0, &d) || !onnx_has(op, 1) || op->in[1]->constant == NULL) {
        onnx_reject(op, "its indices are not constant");
        return;
    }
    const int                 axis = known_axis(op, onnx_int(op, "axis", 0), d.rank);
    const strata_tensor_desc *index = strata_tensor_get_desc(op->in[1]->constant);
    const int64_t            *at = strata_tensor_data(op->in[1]->constant);
    if (axis < 0 || index->dtype != STRATA_I64 || d.dim[axis] > INT_MAX) {
        onnx_reject(op, "its indices are no indices");
        return;
    }
    const int64_t in = d.dim[axis], out = strata_count(index);
    if (index->rank == 0 && d.rank > 1 && onnx_scalar_of(op->in[1], &number) && number >= (double)-in && number < (double)in) {
        const int64_t        one = *at < 0 ? *at + in : *at;
        strata_reshape_attrs a = { .shape = { .count = d.rank - 1 } };
        for (int i = 0; i < d.rank - 1; i++)
            a.shape.at[i] = d.dim[i + (i >= axis)];
        x = part(op, NULL, x, axis, one, one + 1);
        onnx_give(op, 0, strata_emit(op->b, &strata_op_reshape, onnx_name(op, 0, false), &a, x));
        return;
    }
    bool nearest = d.rank == 4 && axis >= 2 && index->rank == 1 && out <= 1 << 20;
    for (int64_t i = 0; nearest && i < out; i++)
        nearest = at[i] == i * in / out;
    if (!nearest) {
        onnx_reject(op, "these indices are not supported");
        return;
    }
    strata_resize_attrs a = { .size = { (int)(axis == 2 ? out : d.dim[2]), (int)(axis == 3 ? out : d.dim[3]) } };
    onnx_give(op, 0, strata_emit(op->b, &strata_op_resize, onnx_name(op, 0, false), &a, x));
}

/* ---- Concatenation and pads ------------------------------------------------------------------------------------------------------ */

static bool all_turned_alike(const onnx_op *op)
{
    const onnx_val *first = op->in[0];
    for (int i = 0; i < op->in_count; i++)
        if (op->in[i]->base == NULL || op->in[i]->base->desc.rank != first->base->desc.rank ||
            memcmp(op->in[i]->perm, first->perm, (size_t)first->base->desc.rank * sizeof *first->perm) != 0)
            return false;
    return true;
}

/* Our op takes few operands: more are joined in groups, from the front. */
static void read_concat(onnx_op *op)
{
    strata_tensor_desc d;
    for (int i = 0; i < op->in_count; i++)
        if (!shape_of(op, i, &d))
            return;
    if (op->in_count == 0 || !shape_of(op, 0, &d))
        return;
    int axis = known_axis(op, onnx_int(op, "axis", 1), d.rank), count = 0;
    if (axis < 0)
        return;
    const bool   turned = all_turned_alike(op);
    strata_node *group[STRATA_MAX_OPERANDS] = { NULL };
    const strata_concat_attrs a = { turned ? op->in[0]->perm[axis] : axis };
    for (int i = 0; i < op->in_count; i++) {
        if (count == STRATA_MAX_OPERANDS) {
            group[0] = strata_emit_n(op->b, &strata_op_concat, NULL, &a, group, count);
            count = 1;
        }
        group[count++] = turned ? op->in[i]->base : onnx_val_node(op, op->in[i]);
        if (group[count - 1] == NULL)
            return;
    }
    strata_node *n = strata_emit_n(op->b, &strata_op_concat, onnx_name(op, 0, turned), &a, group, count);
    if (turned)
        onnx_give_turned(op, 0, n, op->in[0]->perm);
    else
        onnx_give(op, 0, n);
}

static void read_pad(onnx_op *op)
{
    strata_tensor_desc d;
    int64_t            amounts[2 * STRATA_MAX_RANK], axes[STRATA_MAX_RANK];
    double             value = onnx_float(op, "value", 0);
    strata_pad_attrs   a;
    if (!shape_of(op, 0, &d))
        return;
    int count = onnx_ints(op, "pads", 1, amounts, 2 * STRATA_MAX_RANK), given = onnx_ints(op, "axes", 3, axes, STRATA_MAX_RANK);
    if (count < 0 || given < 0)
        return;
    if (strcmp(onnx_string(op, "mode", "constant"), "constant") != 0 ||
        (onnx_has(op, 2) && !onnx_scalar_of(op->in[2], &value)) || value != 0) {
        onnx_reject(op, "only padding with zeros is supported");
        return;
    }
    const int each = given ? given : d.rank;
    a.before = a.after = (strata_ints){ .count = d.rank };
    bool any = false;
    for (int i = 0; i < each; i++) {
        int axis = count == 2 * each ? known_axis(op, given ? axes[i] : i, d.rank) : -1;
        if (axis < 0 || amounts[i] < 0 || amounts[each + i] < 0) {
            onnx_reject(op, "these pads are not supported");
            return;
        }
        a.before.at[axis] = amounts[i];
        a.after.at[axis] = amounts[each + i];
        any |= amounts[i] != 0 || amounts[each + i] != 0;
    }
    strata_node *x = onnx_operand(op, 0);
    if (!any)
        onnx_give_same(op, 0, op->in[0]);
    else if (x != NULL)
        onnx_give(op, 0, strata_emit(op->b, &strata_op_pad, onnx_name(op, 0, false), &a, x));
}

/* Only what repeats nothing. */
static void read_expand(onnx_op *op)
{
    strata_tensor_desc d;
    int64_t            shape[STRATA_MAX_RANK];
    if (!shape_of(op, 0, &d))
        return;
    int  count = onnx_ints(op, "shape", 1, shape, STRATA_MAX_RANK);
    bool same = count >= 0 && count <= d.rank;
    for (int i = 0; same && i < count; i++)
        same = shape[i] == 1 || shape[i] == d.dim[d.rank - count + i];
    if (same)
        read_same(op);
    else
        onnx_reject(op, "repeating elements is not supported");
}

const onnx_row onnx_shape_rows[] = {
    { "Reshape", read_reshape },
    { "Flatten", read_flatten },
    { "Squeeze", read_squeeze },
    { "Unsqueeze", read_unsqueeze },
    { "Transpose", read_transpose },
    { "Identity", read_same },
    { "Dropout", read_dropout },
    { "Cast", read_cast },
    { "Shape", read_shape },
    { "Constant", read_constant },
    { "Slice", read_slice },
    { "Split", read_split },
    { "Gather", read_gather },
    { "Concat", read_concat },
    { "Pad", read_pad },
    { "Expand", read_expand },
    { 0 },
};
