/* Ops that move elements and change none: reshape, transpose, slice, concat, pad.
 *
 * reshape and transpose speak of the row-major order of a value. A rank-4 operand in another layout would
 * mean something else in memory, so they take NCHW (or a value for which the tag makes no difference). */
#include "infer.h"
#include "nest.h"

#include <string.h>

enum { FROM, TO }; /* arrays of a nest */

/* Copies the box `nest`, whose dims and strides are set, from src to dst. */
static void copy_box(strata_nest *nest, const float *src, float *dst)
{
    strata_nest_start(nest);
    do {
        const float *from = src + nest->at[FROM];
        float       *to   = dst + nest->at[TO];
        if (nest->step[FROM] == 1 && nest->step[TO] == 1)
            memcpy(to, from, (size_t)nest->row * sizeof *to);
        else
            for (int64_t i = 0; i < nest->row; i++)
                to[i * nest->step[TO]] = from[i * nest->step[FROM]];
    } while (strata_nest_next(nest));
}

/* A box of `dim` elements inside two row-major arrays of shapes `from` and `to`. */
static strata_nest box(const strata_tensor_desc *from, const strata_tensor_desc *to, const int64_t *dim)
{
    strata_nest nest = { .rank = from->rank };
    memcpy(nest.dim, dim, (size_t)nest.rank * sizeof *dim);
    strata_row_major(nest.rank, from->dim, nest.stride[FROM]);
    strata_row_major(nest.rank, to->dim, nest.stride[TO]);
    return nest;
}

static strata_status want_row_major(const strata_tensor_desc *x, strata_error *err)
{
    if (x->layout == STRATA_NCHW || strata_layout_free(x))
        return STRATA_OK;
    return strata_fail(err, STRATA_SHAPE, "x must be %s, not %s: a copy to that layout must come first",
                       strata_layout_names[STRATA_NCHW], strata_layout_names[x->layout]);
}

/* Positions of the result are not positions of x unless the last two dims stay what they are. */
static void window_of_moved_maps(const strata_node *n, strata_window *w, bool kept)
{
    w->global = n->in[0]->desc.rank == 4 && !strata_layout_free(&n->in[0]->desc) && !kept;
}

/* ---- reshape ---- */

static const strata_attr_def reshape_attrs[] = {
    { "shape", STRATA_ATTR_INTS, offsetof(strata_reshape_attrs, shape), 1, OPS_MAX_DIM, 0,
      "dims of the result" },
    { 0 }
};

static strata_status infer_reshape(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const strata_reshape_attrs *a = n->attrs;
    const strata_tensor_desc   *x = &n->in[0]->desc;
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(want_row_major(x, err));
    out->layout = STRATA_NCHW;
    out->rank   = a->shape.count;
    memcpy(out->dim, a->shape.at, (size_t)out->rank * sizeof *out->dim);
    if (strata_count(out) != strata_count(x)) {
        char from[128], to[128];
        return strata_fail(err, STRATA_SHAPE, "shape %s does not hold the %lld elements of x %s",
                           strata_shape_text(out, to, sizeof to), (long long)strata_count(x),
                           strata_shape_text(x, from, sizeof from));
    }
    return STRATA_OK;
}

/* Rows stay rows where both shapes count them alike. */
static bool set_rows_reshape(const strata_node *n, int64_t rows, void *to)
{
    strata_reshape_attrs     *a = to;
    const strata_tensor_desc *x = &n->in[0]->desc;
    if (x->rank == 0 || a->shape.at[0] != x->dim[0])
        return false;
    a->shape.at[0] = rows;
    return true;
}

static void window_reshape(const strata_node *n, strata_window *w)
{
    const strata_tensor_desc *x = &n->in[0]->desc, *y = &n->desc;
    window_of_moved_maps(n, w, y->rank >= 2 && x->rank >= 2 && y->dim[y->rank - 1] == x->dim[x->rank - 1] &&
                                   y->dim[y->rank - 2] == x->dim[x->rank - 2]);
}

static strata_status eval_reshape(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    memmove(out->data, in[0].data, strata_bytes(out->desc)); /* a view may be evaluated onto itself */
    return STRATA_OK;
}

/* ---- transpose ---- */

static const strata_attr_def transpose_attrs[] = {
    { "perm", STRATA_ATTR_INTS, offsetof(strata_transpose_attrs, perm), 0, STRATA_MAX_RANK - 1, 0,
      "dim i of the result is dim perm[i] of x" },
    { 0 }
};

static strata_status infer_transpose(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const strata_transpose_attrs *a = n->attrs;
    const strata_tensor_desc     *x = &n->in[0]->desc;
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(want_row_major(x, err));
    if (a->perm.count != x->rank)
        return strata_fail(err, STRATA_SHAPE, "perm must have an entry per dim of x: %d vs %d", a->perm.count,
                           x->rank);
    unsigned seen = 0;
    for (int i = 0; i < x->rank; i++) {
        int64_t from = a->perm.at[i];
        if (from < 0 || from >= x->rank)
            return strata_fail(err, STRATA_SHAPE, "perm names dim %lld, but x has rank %d", (long long)from,
                               x->rank);
        if (seen & 1u << from)
            return strata_fail(err, STRATA_SHAPE, "perm names dim %lld twice", (long long)from);
        seen |= 1u << from;
        out->dim[i] = x->dim[from];
    }
    out->layout = STRATA_NCHW;
    return STRATA_OK;
}

static bool set_rows_transpose(const strata_node *n, int64_t rows, void *to)
{
    (void)rows, (void)to;
    return ((const strata_transpose_attrs *)n->attrs)->perm.at[0] == 0;
}

static void window_transpose(const strata_node *n, strata_window *w)
{
    const strata_transpose_attrs *a = n->attrs;
    window_of_moved_maps(n, w, a->perm.at[2] == 2 && a->perm.at[3] == 3);
}

static strata_status eval_transpose(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_transpose_attrs *a = n->attrs;
    int64_t     stride[STRATA_MAX_RANK];
    strata_nest nest = box(in[0].desc, out->desc, out->desc->dim);
    strata_row_major(nest.rank, in[0].desc->dim, stride);
    for (int i = 0; i < nest.rank; i++)
        nest.stride[FROM][i] = stride[a->perm.at[i]];
    copy_box(&nest, in[0].data, out->data);
    return STRATA_OK;
}

/* ---- slice ---- */

static const strata_attr_def slice_attrs[] = {
    { "axis", STRATA_ATTR_INT, offsetof(strata_slice_attrs, axis), 0, STRATA_MAX_RANK - 1, 1,
      "the dim to cut" },
    { "begin", STRATA_ATTR_INT, offsetof(strata_slice_attrs, begin), 0, OPS_MAX_DIM, 0,
      "first element" },
    { "end", STRATA_ATTR_INT, offsetof(strata_slice_attrs, end), 1, OPS_MAX_DIM, 1,
      "one after the last element" },
    { 0 }
};

static strata_status infer_slice(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const strata_slice_attrs *a = n->attrs;
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(strata_infer_axis(n, a->axis, err));
    if (a->begin >= a->end)
        return strata_fail(err, STRATA_SHAPE, "the slice is empty: begin %d is not before end %d", a->begin,
                           a->end);
    if (a->end > out->dim[a->axis])
        return strata_fail(err, STRATA_SHAPE, "the slice ends before %d, but dim %d has %lld elements",
                           a->end, a->axis, (long long)out->dim[a->axis]);
    out->dim[a->axis] = a->end - a->begin;
    return STRATA_OK;
}

static bool set_rows_slice(const strata_node *n, int64_t rows, void *to)
{
    (void)rows, (void)to;
    return ((const strata_slice_attrs *)n->attrs)->axis != 0;
}

static void window_slice(const strata_node *n, strata_window *w)
{
    const strata_slice_attrs *a = n->attrs;
    if (n->desc.rank == 4 && a->axis >= 2)
        w->pad[a->axis - 2] = -a->begin;
}

static strata_status eval_slice(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_slice_attrs *a    = n->attrs;
    strata_nest               nest = box(in[0].desc, out->desc, out->desc->dim);
    nest.at[FROM] = a->begin * nest.stride[FROM][a->axis];
    copy_box(&nest, in[0].data, out->data);
    return STRATA_OK;
}

/* ---- concat ---- */

static const strata_attr_def concat_attrs[] = {
    { "axis", STRATA_ATTR_INT, offsetof(strata_concat_attrs, axis), 0, STRATA_MAX_RANK - 1, 1,
      "the dim along which the operands follow each other" },
    { 0 }
};

static strata_status infer_concat(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const strata_concat_attrs *a = n->attrs;
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(strata_infer_axis(n, a->axis, err));
    int rank = n->in[0]->desc.rank;
    for (int k = 1; k < strata_operand_count(n); k++) {
        if (n->in[k]->desc.rank != rank)
            return strata_fail(err, STRATA_SHAPE, "ranks differ: %d in operand 0 vs %d in operand %d", rank,
                               n->in[k]->desc.rank, k);
        for (int i = 0; i < rank; i++)
            if (i != a->axis)
                STRATA_TRY(strata_infer_same_dim(n, 0, k, i, err));
        out->dim[a->axis] += n->in[k]->desc.dim[a->axis]; /* at most 8 numbers far below the limit */
    }
    return STRATA_OK;
}

static bool set_rows_concat(const strata_node *n, int64_t rows, void *to)
{
    (void)rows, (void)to;
    return ((const strata_concat_attrs *)n->attrs)->axis != 0;
}

static strata_status eval_concat(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_concat_attrs *a = n->attrs;
    int64_t begin = 0; /* of operand k in the result */
    for (int k = 0; k < strata_operand_count(n); k++) {
        strata_nest nest = box(in[k].desc, out->desc, in[k].desc->dim);
        nest.at[TO] = begin * nest.stride[TO][a->axis];
        copy_box(&nest, in[k].data, out->data);
        begin += in[k].desc->dim[a->axis];
    }
    return STRATA_OK;
}

/* ---- pad ---- */

static const strata_attr_def pad_attrs[] = {
    { "before", STRATA_ATTR_INTS, offsetof(strata_pad_attrs, before), 0, OPS_MAX_DIM, 0,
      "zeros before each dim" },
    { "after", STRATA_ATTR_INTS, offsetof(strata_pad_attrs, after), 0, OPS_MAX_DIM, 0,
      "zeros after each dim" },
    { 0 }
};

static strata_status infer_pad(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const strata_pad_attrs *a = n->attrs;
    STRATA_TRY(strata_infer_operands(n, out, err));
    if (a->before.count != out->rank || a->after.count != out->rank)
        return strata_fail(err, STRATA_SHAPE,
                           "before and after must have an entry per dim of x: %d and %d vs %d",
                           a->before.count, a->after.count, out->rank);
    for (int i = 0; i < out->rank; i++)
        out->dim[i] += a->before.at[i] + a->after.at[i];
    return STRATA_OK;
}

static void window_pad(const strata_node *n, strata_window *w)
{
    const strata_pad_attrs *a = n->attrs;
    for (int i = 0; i < 2 && n->desc.rank == 4; i++)
        w->pad[i] = (double)a->before.at[2 + i];
}

static strata_status eval_pad(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_pad_attrs *a    = n->attrs;
    strata_nest             nest = box(in[0].desc, out->desc, in[0].desc->dim);
    for (int i = 0; i < nest.rank; i++)
        nest.at[TO] += a->before.at[i] * nest.stride[TO][i];
    memset(out->data, 0, strata_bytes(out->desc));
    copy_box(&nest, in[0].data, out->data);
    return STRATA_OK;
}

/* ---- The definitions ---- */

const strata_op_def strata_op_reshape = {
    .name = "reshape", .doc = "The same elements, in row-major order, under another shape.",
    .operands = { { "x" } }, .attrs = reshape_attrs, .attr_size = sizeof(strata_reshape_attrs),
    .flags = STRATA_OP_VIEW, .infer = infer_reshape, .window = window_reshape, .set_rows = set_rows_reshape,
    .eval = eval_reshape,
};

const strata_op_def strata_op_transpose = {
    .name = "transpose", .doc = "The dims of x in another order.",
    .operands = { { "x" } }, .attrs = transpose_attrs, .attr_size = sizeof(strata_transpose_attrs),
    .infer = infer_transpose, .window = window_transpose, .set_rows = set_rows_transpose, .eval = eval_transpose,
};

const strata_op_def strata_op_slice = {
    .name = "slice", .doc = "The elements from begin to before end along one axis.",
    .operands = { { "x" } }, .attrs = slice_attrs, .attr_size = sizeof(strata_slice_attrs),
    .infer = infer_slice, .window = window_slice, .set_rows = set_rows_slice, .eval = eval_slice,
};

const strata_op_def strata_op_concat = {
    .name = "concat", .doc = "The operands one after the other along one axis.",
    .operands = { { "x" } }, .attrs = concat_attrs, .attr_size = sizeof(strata_concat_attrs),
    .flags = STRATA_OP_VARIADIC, .infer = infer_concat, .set_rows = set_rows_concat, .eval = eval_concat,
};

const strata_op_def strata_op_pad = {
    .name = "pad", .doc = "x with zeros around it.",
    .operands = { { "x" } }, .attrs = pad_attrs, .attr_size = sizeof(strata_pad_attrs), .flags = STRATA_OP_ROWS,
    .infer = infer_pad, .window = window_pad, .eval = eval_pad,
};
