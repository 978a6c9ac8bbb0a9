/* onnx_match.c: functions that exporters write in several nodes, recognised as what they are.
 *
 * Activations. A chain of element-wise nodes over one value x and numbers is a function of x, however it is written: it
 * is evaluated at a few places, and where it equals gelu (either form), silu, hswish or hsigmoid there, it is that. So no
 * list of the forms that exporters have used is needed. The chain ends with a product or quotient.
 *
 * Layer norm. (x - mean) / sqrt(mean((x - mean)^2) + epsilon) over one dim, then perhaps times gamma plus beta. */
#include "onnx_import.h"

#include <math.h>
#include <string.h>

static const Onnx__NodeProto *made_by(const onnx_val *v, const char *type)
{
    const Onnx__NodeProto *n = v != NULL ? v->producer : NULL;
    return n != NULL && n->op_type != NULL && strcmp(n->op_type, type) == 0 ? n : NULL;
}

static onnx_val *input_of(const onnx_importer *im, const Onnx__NodeProto *n, size_t i)
{
    return n != NULL && i < n->n_input && *n->input[i] != '\0' ? onnx_find(im, n->input[i]) : NULL;
}

/* ---- Functions of one value ---------------------------------------------------------------------------------------------------- */

static double plus(double x, double y) { return x + y; }
static double minus(double x, double y) { return x - y; }
static double times(double x, double y) { return x * y; }
static double over(double x, double y) { return x / y; }
static double logistic(double x) { return 1 / (1 + exp(-x)); }
static double negative(double x) { return -x; }
static double inverse(double x) { return 1 / x; }
static double positive(double x) { return x > 0 ? x : 0; }

static const struct {
    const char *name;
    double (*one)(double);
    double (*two)(double, double);
} functions[] = {
    { "Add", NULL, plus },      { "Sub", NULL, minus },   { "Mul", NULL, times },         { "Div", NULL, over },
    { "Pow", NULL, pow },       { "Erf", erf, NULL },     { "Tanh", tanh, NULL },         { "Exp", exp, NULL },
    { "Sqrt", sqrt, NULL },     { "Neg", negative, NULL }, { "Sigmoid", logistic, NULL }, { "Reciprocal", inverse, NULL },
    { "Relu", positive, NULL },
};

bool onnx_may_match(const char *type)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (strcmp(functions[i].name, type) == 0)
            return true;
    return false;
}

/* v as a function of `leaf`, at x; NaN when it is none, or too long. */
static double value_at(onnx_importer *im, const onnx_val *v, const onnx_val *leaf, double x, int *budget)
{
    double number;
    if (v == leaf)
        return x;
    if (onnx_scalar_of(v, &number))
        return number;
    if (v == NULL || v->producer == NULL || v->producer->op_type == NULL || --*budget < 0)
        return NAN;
    const Onnx__NodeProto *n = v->producer;
    const double first = value_at(im, input_of(im, n, 0), leaf, x, budget);
    if (isnan(first))
        return NAN;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (strcmp(functions[i].name, n->op_type) == 0)
            return functions[i].one ? functions[i].one(first)
                                    : functions[i].two(first, value_at(im, input_of(im, n, 1), leaf, x, budget));
    const onnx_op op = { .im = im, .node = n };
    if (strcmp(n->op_type, "HardSigmoid") == 0)
        return fmax(0, fmin(1, onnx_float(&op, "alpha", 0.2) * first + onnx_float(&op, "beta", 0.5)));
    if (strcmp(n->op_type, "Clip") == 0) {
        double low = onnx_float(&op, "min", -INFINITY), high = onnx_float(&op, "max", INFINITY);
        (void)onnx_scalar_of(input_of(im, n, 1), &low);
        (void)onnx_scalar_of(input_of(im, n, 2), &high);
        return fmax(low, fmin(high, first));
    }
    return NAN;
}

static double gelu_erf(double x) { return x / 2 * erfc(-x * 0.70710678118654752440); }
static double gelu(double x) { return strata_activate(STRATA_ACT_GELU, x); }
static double silu(double x) { return strata_activate(STRATA_ACT_SILU, x); }
static double hswish(double x) { return strata_activate(STRATA_ACT_HSWISH, x); }
static double hsigmoid(double x) { return strata_activate(STRATA_ACT_HSIGMOID, x); }

static const struct {
    const strata_op_def *op;
    double (*at)(double);
} known[] = {
    { &strata_op_gelu_erf, gelu_erf }, { &strata_op_gelu, gelu },         { &strata_op_silu, silu },
    { &strata_op_hswish, hswish },     { &strata_op_hsigmoid, hsigmoid },
};

static const strata_op_def *recognise(onnx_importer *im, const onnx_val *v, const onnx_val *leaf)
{
    static const double places[] = { 0.31, -0.42, 1.1, -1.3, 2.2, -2.6, -3.4, 3.7, 5.2 };
    enum { PLACES = sizeof places / sizeof places[0] };
    double at[PLACES];
    for (int i = 0; i < PLACES; i++) {
        int budget = 24;
        at[i] = value_at(im, v, leaf, places[i], &budget);
        if (isnan(at[i]))
            return NULL;
    }
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
        int same = 0;
        while (same < PLACES && fabs(at[same] - known[k].at(places[same])) < 3e-6)
            same++;
        if (same == PLACES)
            return known[k].op;
    }
    return NULL;
}

enum { MOST_LEAVES = 24 };

/* Values that v is computed from, nearest first. */
static int find_leaves(onnx_importer *im, const onnx_val *v, onnx_val **leaf)
{
    int count = 0;
    for (int i = -1; i < count && count < MOST_LEAVES; i++) {
        const Onnx__NodeProto *n = i < 0 ? v->producer : leaf[i]->producer;
        for (size_t k = 0; n != NULL && k < n->n_input && k < 2 && count < MOST_LEAVES; k++) {
            onnx_val *x = input_of(im, n, k);
            bool      fresh = x != NULL && x->constant == NULL;
            for (int j = 0; j < count && fresh; j++)
                fresh = leaf[j] != x;
            if (fresh)
                leaf[count++] = x;
        }
    }
    return count;
}

static bool match_activation(onnx_op *op)
{
    onnx_val *leaf[MOST_LEAVES], *v = onnx_out(op, 0);
    if (v == NULL || (strcmp(op->node->op_type, "Mul") != 0 && strcmp(op->node->op_type, "Div") != 0))
        return false;
    const int count = find_leaves(op->im, v, leaf);
    for (int i = 0; i < count; i++) {
        onnx_val            *x = leaf[i];
        const strata_op_def *def = x->node != NULL || x->base != NULL ? recognise(op->im, v, x) : NULL;
        if (def == NULL)
            continue;
        int          perm[STRATA_MAX_RANK];
        strata_node *at = x->base != NULL ? x->base : x->node;
        for (int k = 0; k < STRATA_MAX_RANK; k++)
            perm[k] = x->base != NULL ? x->perm[k] : k;
        onnx_give_turned(op, 0, strata_emit(op->b, def, onnx_name(op, 0, x->base != NULL), NULL, at), perm);
        return true;
    }
    return false;
}

/* ---- Layer norm ------------------------------------------------------------------------------------------------------------------- */

/* Whether v is the mean of x over one dim, kept as 1; then which. */
static bool is_mean(const onnx_importer *im, const onnx_val *v, int *axis, onnx_val **x)
{
    onnx_op op = { .im = (onnx_importer *)(uintptr_t)im, .node = made_by(v, "ReduceMean") };
    int64_t at;
    if (op.node == NULL || onnx_int(&op, "keepdims", 1) == 0)
        return false;
    onnx_val *operands[2] = { input_of(im, op.node, 0), input_of(im, op.node, 1) };
    op.in = operands;
    op.in_count = 2;
    *x = operands[0];
    if (onnx_ints(&op, "axes", 1, &at, 1) != 1)
        return false;
    *axis = (int)at;
    return *x != NULL && at >= -STRATA_MAX_RANK && at < STRATA_MAX_RANK;
}

/* (x - mean) / sqrt(mean((x - mean)^2) + epsilon) */
static bool is_normalised(const onnx_importer *im, const onnx_val *v, onnx_val **x, int *axis, double *epsilon)
{
    const Onnx__NodeProto *quotient = made_by(v, "Div");
    onnx_val              *centred = input_of(im, quotient, 0), *of = NULL, *squared, *again;
    const Onnx__NodeProto *sub = made_by(centred, "Sub"), *root = made_by(input_of(im, quotient, 1), "Sqrt");
    const Onnx__NodeProto *sum = made_by(input_of(im, root, 0), "Add");
    int                    other;
    *x = input_of(im, sub, 0);
    if (*x == NULL || sum == NULL || !is_mean(im, input_of(im, sub, 1), axis, &of) || of != *x)
        return false;
    for (size_t k = 0; k < 2; k++)
        if (onnx_scalar_of(input_of(im, sum, k), epsilon) && is_mean(im, input_of(im, sum, 1 - k), &other, &squared) &&
            other == *axis) {
            double                 two = 2;
            const Onnx__NodeProto *square = made_by(squared, "Pow");
            if (square != NULL)
                again = onnx_scalar_of(input_of(im, square, 1), &two) ? input_of(im, square, 0) : NULL;
            else
                again = (square = made_by(squared, "Mul")) != NULL && input_of(im, square, 0) == input_of(im, square, 1)
                            ? input_of(im, square, 0) : NULL;
            return again == centred && two == 2;
        }
    return false;
}

/* A constant with one number per element of dim `axis` of a value of this rank, as a vector. */
static strata_node *per_channel(onnx_op *op, onnx_val *v, int axis, int rank, int64_t count)
{
    if (v == NULL || v->constant == NULL)
        return NULL;
    const strata_tensor_desc *d = strata_tensor_get_desc(v->constant);
    const int                 place = axis - (rank - d->rank);
    if (d->dtype != STRATA_F32 || d->rank > rank || place < 0 || d->dim[place] != count || strata_count(d) != count)
        return NULL;
    strata_node *n = onnx_val_node(op, v);
    return d->rank == 1 ? n : nn_reshape(op->b, n, count);
}

static bool match_layer_norm(onnx_op *op)
{
    const onnx_importer   *im = op->im;
    const Onnx__NodeProto *product;
    onnx_val              *x = NULL, *scale = NULL, *shift = NULL;
    strata_tensor_desc     d;
    int                    axis = 0;
    double                 epsilon = 0;
    bool                   found = false;
    if (strcmp(op->node->op_type, "Add") != 0)
        return false;
    for (size_t i = 0; i < 2 && !found; i++) {
        shift = input_of(im, op->node, 1 - i);
        product = made_by(input_of(im, op->node, i), "Mul");
        for (size_t k = 0; product != NULL && k < 2 && !found; k++) {
            scale = input_of(im, product, 1 - k);
            found = is_normalised(im, input_of(im, product, k), &x, &axis, &epsilon);
        }
    }
    if (!found || (x->node == NULL && x->base == NULL))
        return false;
    onnx_shape(x, &d);
    axis += axis < 0 ? d.rank : 0;
    if (d.rank < 2 || axis < 1 || axis >= d.rank || (axis != 1 && axis != d.rank - 1) || !(epsilon >= 0 && epsilon <= 1))
        return false;
    strata_node *gamma = per_channel(op, scale, axis, d.rank, d.dim[axis]);
    strata_node *beta = per_channel(op, shift, axis, d.rank, d.dim[axis]), *base;
    if (gamma == NULL || beta == NULL)
        return false;
    int                     perm[STRATA_MAX_RANK] = { 0, 1, 2, 3, 4, 5 };
    strata_layer_norm_attrs a = { epsilon };
    if (axis == d.rank - 1)
        onnx_channels_base(op, x, &base, perm);
    else
        base = onnx_val_node(op, x);
    const bool turned = axis == d.rank - 1 && d.rank > 2;
    onnx_give_turned(op, 0, strata_emit(op->b, &strata_op_layer_norm, onnx_name(op, 0, turned), &a, base, gamma, beta),
                     perm);
    return true;
}

bool onnx_match(onnx_op *op)
{
    const char *domain = op->node->domain;
    if (domain != NULL && *domain != '\0' && strcmp(domain, "ai.onnx") != 0)
        return false;
    return match_activation(op) || match_layer_norm(op);
}
