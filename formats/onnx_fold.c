/* onnx_fold.c: nodes whose operands are all known are computed at import: exporters write shapes as small programs of
 * Shape, Gather, Concat and arithmetic. Two kinds of numbers, int64 and f32, and few elements: weights are left to the
 * graph, where passes fold them. */
#include "onnx_import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const strata_tensor_desc *desc_of(const onnx_op *op, int i) { return strata_tensor_get_desc(op->in[i]->constant); }
static const void *data_of(const onnx_op *op, int i) { return strata_tensor_data(op->in[i]->constant); }

static strata_tensor *new_tensor(strata_dtype type, int rank, const int64_t *dim)
{
    strata_tensor_desc d = { .dtype = type, .rank = rank };
    strata_tensor     *t = NULL;
    memcpy(d.dim, dim, (size_t)rank * sizeof *dim);
    for (int i = 0; i < rank; i++)
        if (dim[i] < 1)
            return NULL;
    if (strata_count(&d) < 0 || strata_count(&d) > ONNX_MAX_FOLD || strata_tensor_create(&d, &t, NULL) != STRATA_OK)
        return NULL;
    return t;
}

/* Gives the result; false (not folded) when there is none. */
static bool give(onnx_op *op, strata_tensor *t)
{
    if (t != NULL)
        onnx_give_constant(op, 0, t);
    return t != NULL;
}

/* ---- Arithmetic ---------------------------------------------------------------------------------------------------------- */

typedef struct arithmetic {
    const char *name;
    int64_t (*whole)(int64_t x, int64_t y);
    float (*real)(float x, float y);
} arithmetic;

/* Whole numbers wrap, as they do in the engines. */
static int64_t add_whole(int64_t x, int64_t y) { return (int64_t)((uint64_t)x + (uint64_t)y); }
static int64_t sub_whole(int64_t x, int64_t y) { return (int64_t)((uint64_t)x - (uint64_t)y); }
static int64_t mul_whole(int64_t x, int64_t y) { return (int64_t)((uint64_t)x * (uint64_t)y); }
static int64_t div_whole(int64_t x, int64_t y) { return y == 0 ? 0 : y == -1 ? sub_whole(0, x) : x / y; }
static int64_t min_whole(int64_t x, int64_t y) { return x < y ? x : y; }
static int64_t max_whole(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t equal_whole(int64_t x, int64_t y) { return x == y; }
static float   add_real(float x, float y) { return x + y; }
static float   sub_real(float x, float y) { return x - y; }
static float   mul_real(float x, float y) { return x * y; }
static float   div_real(float x, float y) { return x / y; }
static float   min_real(float x, float y) { return x < y ? x : y; }
static float   max_real(float x, float y) { return x > y ? x : y; }

static const arithmetic arithmetics[] = {
    { "Add", add_whole, add_real }, { "Sub", sub_whole, sub_real }, { "Mul", mul_whole, mul_real },
    { "Div", div_whole, div_real }, { "Min", min_whole, min_real }, { "Max", max_whole, max_real },
    { "Equal", equal_whole, NULL },
};

/* The place of element i of the result in an operand that is broadcast to it. */
static int64_t broadcast_place(int64_t i, const strata_tensor_desc *out, const strata_tensor_desc *x)
{
    int64_t at = 0, step = 1;
    for (int d = out->rank - 1, k = x->rank - 1; d >= 0 && k >= 0; d--, k--) {
        const int64_t index = i % out->dim[d];
        i /= out->dim[d];
        at += x->dim[k] == 1 ? 0 : index * step;
        step *= x->dim[k];
    }
    return at;
}

static bool broadcast_shape(const strata_tensor_desc *x, const strata_tensor_desc *y, strata_tensor_desc *out)
{
    *out = x->rank >= y->rank ? *x : *y;
    for (int i = 1; i <= x->rank && i <= y->rank; i++) {
        const int64_t a = x->dim[x->rank - i], b = y->dim[y->rank - i];
        if (a != b && a != 1 && b != 1)
            return false;
        out->dim[out->rank - i] = a > b ? a : b;
    }
    return true;
}

static bool fold_arithmetic(onnx_op *op, const arithmetic *how)
{
    strata_tensor_desc d;
    if (op->in_count != 2 || desc_of(op, 0)->dtype != desc_of(op, 1)->dtype ||
        !broadcast_shape(desc_of(op, 0), desc_of(op, 1), &d) || (d.dtype == STRATA_F32 && how->real == NULL))
        return false;
    strata_tensor *t = new_tensor(d.dtype, d.rank, d.dim);
    for (int64_t i = 0; t != NULL && i < strata_count(&d); i++) {
        const int64_t x = broadcast_place(i, &d, desc_of(op, 0)), y = broadcast_place(i, &d, desc_of(op, 1));
        if (d.dtype == STRATA_F32)
            ((float *)strata_tensor_data(t))[i] = how->real(((const float *)data_of(op, 0))[x],
                                                            ((const float *)data_of(op, 1))[y]);
        else
            ((int64_t *)strata_tensor_data(t))[i] = how->whole(((const int64_t *)data_of(op, 0))[x],
                                                               ((const int64_t *)data_of(op, 1))[y]);
    }
    return give(op, t);
}

/* ---- One operand ------------------------------------------------------------------------------------------------------------ */

static float sqrt_real(float x) { return sqrtf(x); }
static float neg_real(float x) { return -x; }

static bool fold_real(onnx_op *op, float (*fn)(float))
{
    const strata_tensor_desc *d = desc_of(op, 0);
    if (d->dtype != STRATA_F32)
        return false;
    strata_tensor *t = new_tensor(STRATA_F32, d->rank, d->dim);
    for (int64_t i = 0; t != NULL && i < strata_count(d); i++)
        ((float *)strata_tensor_data(t))[i] = fn(((const float *)data_of(op, 0))[i]);
    return give(op, t);
}

static bool fold_floor(onnx_op *op) { return fold_real(op, floorf); }
static bool fold_ceil(onnx_op *op) { return fold_real(op, ceilf); }
static bool fold_sqrt(onnx_op *op) { return fold_real(op, sqrt_real); }
static bool fold_neg(onnx_op *op) { return fold_real(op, neg_real); }

static bool fold_cast(onnx_op *op)
{
    const int64_t             to = onnx_int(op, "to", 0);
    const strata_tensor_desc *d = desc_of(op, 0);
    const bool real = to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT || to == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE ||
                      to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
    if (real != (d->dtype == STRATA_F32)) {
        strata_tensor *t = new_tensor(real ? STRATA_F32 : STRATA_I64, d->rank, d->dim);
        for (int64_t i = 0; t != NULL && i < strata_count(d); i++) {
            if (real) {
                ((float *)strata_tensor_data(t))[i] = (float)((const int64_t *)data_of(op, 0))[i];
                continue;
            }
            const float x = ((const float *)data_of(op, 0))[i];
            ((int64_t *)strata_tensor_data(t))[i] = !(fabsf(x) < 9e18f) ? 0 : (int64_t)x;
        }
        return give(op, t);
    }
    return give(op, strata_tensor_ref(op->in[0]->constant));
}

/* ---- Moving elements ------------------------------------------------------------------------------------------------------------ */

static bool fold_gather(onnx_op *op)
{
    const strata_tensor_desc *x = desc_of(op, 0), *index = desc_of(op, 1);
    int64_t                   axis = onnx_int(op, "axis", 0), dim[2 * STRATA_MAX_RANK];
    axis += axis < 0 ? x->rank : 0;
    if (axis < 0 || axis >= x->rank || index->dtype != STRATA_I64 || x->rank - 1 + index->rank > STRATA_MAX_RANK)
        return false;
    int     rank = 0;
    int64_t outer = 1, inner = 1, size = x->dim[axis], count = strata_count(index);
    for (int i = 0; i < axis; i++)
        outer *= dim[rank++] = x->dim[i];
    for (int i = 0; i < index->rank; i++)
        dim[rank++] = index->dim[i];
    for (int i = (int)axis + 1; i < x->rank; i++)
        inner *= dim[rank++] = x->dim[i];
    const size_t   bytes = (size_t)inner * strata_dtype_size(x->dtype);
    strata_tensor *t = new_tensor(x->dtype, rank, dim);
    char          *to = t != NULL ? strata_tensor_data(t) : NULL;
    for (int64_t i = 0; t != NULL && i < outer * count; i++, to += bytes) {
        int64_t at = ((const int64_t *)data_of(op, 1))[i % count];
        at += at < 0 ? size : 0;
        if (at < 0 || at >= size) {
            strata_tensor_unref(t);
            return false;
        }
        memcpy(to, (const char *)data_of(op, 0) + ((size_t)(i / count * size + at)) * bytes, bytes);
    }
    return give(op, t);
}

static bool fold_concat(onnx_op *op)
{
    int64_t total = 0;
    for (int i = 0; i < op->in_count; i++) {
        if (desc_of(op, i)->rank != 1 || desc_of(op, i)->dtype != desc_of(op, 0)->dtype)
            return false;
        total += desc_of(op, i)->dim[0];
    }
    strata_tensor *t = new_tensor(desc_of(op, 0)->dtype, 1, &total);
    char          *to = t != NULL ? strata_tensor_data(t) : NULL;
    for (int i = 0; t != NULL && i < op->in_count; i++) {
        memcpy(to, data_of(op, i), strata_bytes(desc_of(op, i)));
        to += strata_bytes(desc_of(op, i));
    }
    return give(op, t);
}

static bool fold_slice(onnx_op *op)
{
    int64_t                   begin, end, step = 1, axis = 0;
    const strata_tensor_desc *x = desc_of(op, 0);
    if (x->rank != 1 || onnx_ints(op, "starts", 1, &begin, 1) != 1 || onnx_ints(op, "ends", 2, &end, 1) != 1 ||
        onnx_ints(op, "axes", 3, &axis, 1) < 0 || onnx_ints(op, "steps", 4, &step, 1) < 0 || step != 1)
        return false;
    const int64_t size = x->dim[0];
    begin = begin < 0 ? (begin < -size ? 0 : begin + size) : begin;
    end = end < 0 ? end + size : end > size ? size : end;
    if (begin >= end)
        return false;
    const int64_t  count = end - begin;
    const size_t   width = strata_dtype_size(x->dtype);
    strata_tensor *t = new_tensor(x->dtype, 1, &count);
    if (t != NULL)
        memcpy(strata_tensor_data(t), (const char *)data_of(op, 0) + (size_t)begin * width, (size_t)count * width);
    return give(op, t);
}

/* The same numbers, of a shape with another rank. */
static bool with_shape(onnx_op *op, int rank, const int64_t *dim)
{
    const strata_tensor_desc *x = desc_of(op, 0);
    strata_tensor            *t = new_tensor(x->dtype, rank, dim);
    if (t != NULL && strata_count(strata_tensor_get_desc(t)) == strata_count(x)) {
        memcpy(strata_tensor_data(t), data_of(op, 0), strata_bytes(x));
        return give(op, t);
    }
    strata_tensor_unref(t);
    return false;
}

static bool fold_unsqueeze(onnx_op *op)
{
    int64_t axis;
    if (desc_of(op, 0)->rank > 0 || onnx_ints(op, "axes", 1, &axis, 1) != 1)
        return false;
    return with_shape(op, 1, (int64_t[]){ 1 });
}

static bool fold_squeeze(onnx_op *op)
{
    return strata_count(desc_of(op, 0)) == 1 && with_shape(op, 0, (int64_t[]){ 0 });
}

static bool fold_reshape(onnx_op *op)
{
    int64_t dim;
    return onnx_ints(op, "shape", 1, &dim, 1) == 1 && with_shape(op, 1, (int64_t[]){ strata_count(desc_of(op, 0)) });
}

static bool fold_where(onnx_op *op)
{
    strata_tensor_desc d, all;
    if (desc_of(op, 0)->dtype != STRATA_I64 || desc_of(op, 1)->dtype != STRATA_I64 ||
        desc_of(op, 2)->dtype != STRATA_I64 || !broadcast_shape(desc_of(op, 0), desc_of(op, 1), &d) ||
        !broadcast_shape(&d, desc_of(op, 2), &all))
        return false;
    strata_tensor *t = new_tensor(STRATA_I64, all.rank, all.dim);
    for (int64_t i = 0; t != NULL && i < strata_count(&all); i++) {
        const int from = ((const int64_t *)data_of(op, 0))[broadcast_place(i, &all, desc_of(op, 0))] ? 1 : 2;
        ((int64_t *)strata_tensor_data(t))[i] =
            ((const int64_t *)data_of(op, from))[broadcast_place(i, &all, desc_of(op, from))];
    }
    return give(op, t);
}

static bool fold_constant_of_shape(onnx_op *op)
{
    int64_t                     dim[STRATA_MAX_RANK];
    const Onnx__AttributeProto *a = onnx_attr(op, "value");
    strata_tensor              *value = NULL, *t = NULL;
    int                         rank = onnx_ints(op, "shape", 0, dim, STRATA_MAX_RANK);
    if (a != NULL && a->t != NULL && onnx_file_tensor(op->im->file, a->t, &value, NULL) != STRATA_OK)
        return false;
    if (value != NULL && strata_count(strata_tensor_get_desc(value)) != 1)
        rank = -1;
    if (rank >= 0)
        t = new_tensor(value != NULL ? strata_tensor_get_desc(value)->dtype : STRATA_F32, rank, dim);
    if (t != NULL && value != NULL) {
        const strata_tensor_desc *d = strata_tensor_get_desc(t);
        const size_t              width = strata_dtype_size(d->dtype);
        for (int64_t i = 0; i < strata_count(d); i++)
            memcpy((char *)strata_tensor_data(t) + (size_t)i * width, strata_tensor_data(value), width);
    }
    strata_tensor_unref(value);
    return give(op, t);
}

static bool fold_range(onnx_op *op)
{
    const int64_t *at[3];
    for (int i = 0; i < 3; i++) {
        if (desc_of(op, i)->dtype != STRATA_I64)
            return false;
        at[i] = data_of(op, i);
    }
    const int64_t begin = *at[0], end = *at[1], step = *at[2];
    if (step < 1 || begin < 0 || end > ONNX_MAX_FOLD || end <= begin)
        return false;
    const int64_t  count = (end - begin + step - 1) / step;
    strata_tensor *t = new_tensor(STRATA_I64, 1, &count);
    for (int64_t i = 0; t != NULL && i < count; i++)
        ((int64_t *)strata_tensor_data(t))[i] = begin + i * step;
    return give(op, t);
}

/* ---- The rows ------------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    int         operands; /* that are read without asking whether they are there */
    bool (*fold)(onnx_op *op);
} rows[] = {
    { "Floor", 1, fold_floor },     { "Ceil", 1, fold_ceil },       { "Sqrt", 1, fold_sqrt },
    { "Neg", 1, fold_neg },         { "Cast", 1, fold_cast },       { "Gather", 2, fold_gather },
    { "Concat", 1, fold_concat },   { "Slice", 1, fold_slice },     { "Unsqueeze", 1, fold_unsqueeze },
    { "Squeeze", 1, fold_squeeze }, { "Reshape", 1, fold_reshape }, { "Where", 3, fold_where },
    { "Range", 3, fold_range },     { "ConstantOfShape", 1, fold_constant_of_shape },
};

bool onnx_fold(onnx_op *op)
{
    if (op->in_count == 0)
        return false;
    for (int i = 0; i < op->in_count; i++)
        if (op->in[i] == NULL || op->in[i]->constant == NULL || strata_count(desc_of(op, i)) > ONNX_MAX_FOLD)
            return false;
    const char *problem = op->problem;
    bool        done = false;
    for (size_t i = 0; i < sizeof arithmetics / sizeof arithmetics[0] && !done; i++)
        done = strcmp(arithmetics[i].name, op->node->op_type) == 0 && fold_arithmetic(op, &arithmetics[i]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !done; i++)
        done = strcmp(rows[i].name, op->node->op_type) == 0 && op->in_count >= rows[i].operands && rows[i].fold(op);
    op->problem = problem; /* what cannot be folded is left to the readers */
    return done;
}
