/* onnx_read_math.c: ONNX's activations, arithmetic and reductions in our ops. What we have no op for is said in several:
 *
 *   Clip         relu6 or relu where the limits are theirs; else low + relu(x - low), and likewise from above
 *   LeakyRelu    relu(x) - slope * relu(-x); PRelu likewise, with a slope per channel
 *   HardSigmoid  hsigmoid(6 alpha x + 6 beta - 3), for hsigmoid(y) = clip(y / 6 + 1/2)
 *   ReduceMean   over dims other than H and W: they become the map of one value (transpose, reshape), which is averaged
 *
 * Element-wise ops keep the order of dims of their operand; see onnx_import.h. */
#include "onnx_import.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- One operand -------------------------------------------------------------------------------------------------------- */

/* What an element-wise op works on: the base where there is one, else the node. */
typedef struct place {
    strata_node *x;
    int          perm[STRATA_MAX_RANK];
    bool         turned;
} place;

static bool find_place(onnx_op *op, int i, place *p)
{
    if (!onnx_has(op, i))
        return onnx_reject(op, "operand %d is missing", i);
    onnx_val *v = op->in[i];
    p->turned = v->base != NULL;
    p->x = p->turned ? v->base : onnx_val_node(op, v);
    for (int k = 0; k < STRATA_MAX_RANK; k++)
        p->perm[k] = p->turned ? v->perm[k] : k;
    return p->x != NULL;
}

static const char *result_name(onnx_op *op, const place *p) { return onnx_name(op, 0, p->turned); }

static void give(onnx_op *op, const place *p, strata_node *n) { onnx_give_turned(op, 0, n, p->perm); }

static void unary(onnx_op *op, const strata_op_def *def)
{
    place p;
    if (find_place(op, 0, &p))
        give(op, &p, strata_emit(op->b, def, result_name(op, &p), NULL, p.x));
}

static void read_relu(onnx_op *op) { unary(op, &strata_op_relu); }
static void read_sigmoid(onnx_op *op) { unary(op, &strata_op_sigmoid); }
static void read_hard_swish(onnx_op *op) { unary(op, &strata_op_hswish); }
static void read_neg(onnx_op *op) { unary(op, &strata_op_neg); }
static void read_sqrt(onnx_op *op) { unary(op, &strata_op_sqrt); }

static void read_gelu(onnx_op *op)
{
    unary(op, strcmp(onnx_string(op, "approximate", "none"), "tanh") == 0 ? &strata_op_gelu : &strata_op_gelu_erf);
}

static strata_node *emit_scalar(onnx_op *op, const strata_op_def *def, const char *name, strata_node *x, double value)
{
    return strata_emit(op->b, def, name, &(strata_scalar_attrs){ value }, x);
}

static void read_hard_sigmoid(onnx_op *op)
{
    const double alpha = onnx_float(op, "alpha", 0.2f), beta = onnx_float(op, "beta", 0.5);
    place        p;
    if (!find_place(op, 0, &p))
        return;
    strata_node *x = p.x;
    if (fabs(alpha - 1.0 / 6) > 1e-7)
        x = nn_mul_scalar(op->b, x, 6 * alpha);
    if (beta != 0.5)
        x = nn_add_scalar(op->b, x, 6 * beta - 3);
    give(op, &p, strata_emit(op->b, &strata_op_hsigmoid, result_name(op, &p), NULL, x));
}

/* The limits of Clip: attributes in old opsets, constant operands since 11. */
static bool clip_limit(onnx_op *op, const char *name, int i, double fallback, double *out)
{
    *out = onnx_float(op, name, fallback);
    return !onnx_has(op, i) || onnx_scalar_of(op->in[i], out) || onnx_reject(op, "its limits are not constant");
}

static void read_clip(onnx_op *op)
{
    double low, high;
    place  p;
    if (!clip_limit(op, "min", 1, -INFINITY, &low) || !clip_limit(op, "max", 2, INFINITY, &high) || !find_place(op, 0, &p))
        return;
    const bool below = low > -FLT_MAX, above = high < FLT_MAX;
    if (isnan(low) || isnan(high) || (!below && !above)) {
        onnx_reject(op, "its limits are no limits");
        return;
    }
    const char *name = result_name(op, &p);
    if (low == 0 && (high == 6 || !above)) {
        const strata_op_def *def = above ? &strata_op_relu6 : &strata_op_relu;
        give(op, &p, strata_emit(op->b, def, name, NULL, p.x));
        return;
    }
    strata_node *x = p.x;
    if (below) {
        x = nn_add_scalar(op->b, x, -low);
        x = nn_relu(op->b, x);
        x = emit_scalar(op, &strata_op_add_scalar, above ? NULL : name, x, low);
    }
    if (above) {
        x = nn_add_scalar(op->b, nn_neg(op->b, x), high);
        x = nn_neg(op->b, nn_relu(op->b, x));
        x = emit_scalar(op, &strata_op_add_scalar, name, x, high);
    }
    give(op, &p, x);
}

static void read_leaky_relu(onnx_op *op)
{
    place p;
    if (!find_place(op, 0, &p))
        return;
    strata_node *negative = nn_relu(op->b, nn_neg(op->b, p.x));
    negative = nn_mul_scalar(op->b, negative, onnx_float(op, "alpha", 0.01f));
    strata_node *positive = nn_relu(op->b, p.x);
    give(op, &p, strata_emit(op->b, &strata_op_sub, result_name(op, &p), NULL, positive, negative));
}

static void read_reciprocal(onnx_op *op)
{
    place p;
    if (!find_place(op, 0, &p))
        return;
    if (p.x->op == &strata_op_sqrt) { /* 1 / sqrt(x), in one step */
        give(op, &p, strata_emit(op->b, &strata_op_rsqrt, result_name(op, &p), NULL, p.x->in[0]));
        return;
    }
    const strata_tensor_desc one = { .rank = p.x->desc.rank, .dim = { 1, 1, 1, 1, 1, 1 } };
    strata_tensor           *t = NULL;
    if (strata_tensor_create(&one, &t, NULL) != STRATA_OK) {
        strata_builder_fail(op->b, STRATA_NOMEM, "%s: out of memory", op->im->path);
        return;
    }
    *(float *)strata_tensor_data(t) = 1;
    const char  *name = strata_graph_unique_name(strata_builder_graph(op->b), strata_scoped(op->b, "one"));
    strata_node *n = strata_emit_const(op->b, name, &one, t);
    strata_tensor_unref(t);
    give(op, &p, strata_emit(op->b, &strata_op_div, result_name(op, &p), NULL, n, p.x));
}

static void read_pow(onnx_op *op)
{
    double exponent;
    place  p;
    if (!onnx_has(op, 1) || !onnx_scalar_of(op->in[1], &exponent)) {
        onnx_reject(op, "its exponent is not constant");
        return;
    }
    if (!find_place(op, 0, &p))
        return;
    const char *name = result_name(op, &p);
    if (exponent == 2)
        give(op, &p, strata_emit(op->b, &strata_op_mul, name, NULL, p.x, p.x));
    else if (exponent == 3)
        give(op, &p, strata_emit(op->b, &strata_op_mul, name, NULL, nn_mul(op->b, p.x, p.x), p.x));
    else if (exponent == 0.5 || exponent == -0.5)
        give(op, &p, strata_emit(op->b, exponent > 0 ? &strata_op_sqrt : &strata_op_rsqrt, name, NULL, p.x));
    else
        onnx_reject(op, "the power %g is not supported", exponent);
}

/* ---- Two operands --------------------------------------------------------------------------------------------------------- */

/* n under a shape of `rank` dims: ones in front. */
static strata_node *raise_rank(onnx_op *op, strata_node *n, int rank)
{
    int64_t   dim[STRATA_MAX_RANK];
    const int more = rank - n->desc.rank;
    if (more <= 0)
        return n;
    for (int i = 0; i < rank; i++)
        dim[i] = i < more ? 1 : n->desc.dim[i - more];
    return nn_reshape_n(op->b, n, rank, dim);
}

/* A constant that stands beside a turned value, in the order of the value's base. */
static strata_node *turn_constant(onnx_op *op, strata_node *n, const place *p)
{
    const int rank = p->x->desc.rank;
    int64_t   dim[STRATA_MAX_RANK], order[STRATA_MAX_RANK];
    int       large = 0;
    n = raise_rank(op, n, rank);
    for (int i = 0; i < rank; i++) {
        dim[p->perm[i]] = n->desc.dim[i];
        order[p->perm[i]] = i;
        large += n->desc.dim[i] > 1;
    }
    return large <= 1 ? nn_reshape_n(op->b, n, rank, dim) : nn_transpose_n(op->b, n, rank, order);
}

static bool same_order(const place *a, const place *b)
{
    return a->x->desc.rank == b->x->desc.rank && memcmp(a->perm, b->perm, (size_t)a->x->desc.rank * sizeof *a->perm) == 0;
}

/* Both operands in one order of dims and of one rank, in x and y. */
static bool align(onnx_op *op, place *x, place *y)
{
    if (onnx_int(op, "broadcast", 0) != 0)
        return onnx_reject(op, "broadcasting as of opset 6 is not supported");
    if (!find_place(op, 0, x) || !find_place(op, 1, y))
        return false;
    if (x->turned && op->in[1]->fixed && y->x->desc.rank <= x->x->desc.rank) {
        y->x = turn_constant(op, y->x, x);
    } else if (y->turned && op->in[0]->fixed && x->x->desc.rank <= y->x->desc.rank) {
        x->x = turn_constant(op, x->x, y);
        memcpy(x->perm, y->perm, sizeof x->perm);
        x->turned = true;
    } else if ((x->turned || y->turned) && !same_order(x, y)) {
        for (int i = 0; i < 2; i++) {
            place *p = i ? y : x;
            p->x = onnx_operand(op, i);
            p->turned = false;
            for (int k = 0; k < STRATA_MAX_RANK; k++)
                p->perm[k] = k;
        }
    }
    const int rank = x->x->desc.rank > y->x->desc.rank ? x->x->desc.rank : y->x->desc.rank;
    if (!x->turned) {
        x->x = raise_rank(op, x->x, rank);
        y->x = raise_rank(op, y->x, rank);
    }
    return true;
}

static void binary(onnx_op *op, const strata_op_def *def)
{
    place x = { 0 }, y = { 0 };
    if (align(op, &x, &y))
        give(op, &x, strata_emit(op->b, def, result_name(op, &x), NULL, x.x, y.x));
}

/* Operand i is one number, of no more rank than the other, which is a value; then p is the other's place. */
static bool with_number(onnx_op *op, int i, double *value, place *p)
{
    strata_tensor_desc one, other;
    if (op->in_count != 2 || onnx_int(op, "broadcast", 0) != 0 || !onnx_has(op, 0) || !onnx_has(op, 1) || !onnx_scalar_of(op->in[i], value) ||
        op->in[1 - i]->constant != NULL || !isfinite(*value))
        return false;
    onnx_shape(op->in[i], &one);
    onnx_shape(op->in[1 - i], &other);
    return one.rank <= other.rank && find_place(op, 1 - i, p);
}

static void read_add(onnx_op *op)
{
    double value;
    place  p;
    if (with_number(op, 0, &value, &p) || with_number(op, 1, &value, &p))
        give(op, &p, emit_scalar(op, &strata_op_add_scalar, result_name(op, &p), p.x, value));
    else
        binary(op, &strata_op_add);
}

static void read_sub(onnx_op *op)
{
    double value;
    place  p;
    if (with_number(op, 1, &value, &p))
        give(op, &p, emit_scalar(op, &strata_op_add_scalar, result_name(op, &p), p.x, -value));
    else if (with_number(op, 0, &value, &p))
        give(op, &p, emit_scalar(op, &strata_op_add_scalar, result_name(op, &p), nn_neg(op->b, p.x), value));
    else
        binary(op, &strata_op_sub);
}

static void read_mul(onnx_op *op)
{
    double value;
    place  p;
    if (with_number(op, 0, &value, &p) || with_number(op, 1, &value, &p))
        give(op, &p, emit_scalar(op, &strata_op_mul_scalar, result_name(op, &p), p.x, value));
    else
        binary(op, &strata_op_mul);
}

static void read_div(onnx_op *op)
{
    double value;
    place  p;
    if (with_number(op, 1, &value, &p) && value != 0 && isfinite(1 / value))
        give(op, &p, emit_scalar(op, &strata_op_mul_scalar, result_name(op, &p), p.x, 1 / value));
    else
        binary(op, &strata_op_div);
}

/* relu(x) - slope * relu(-x) */
static void read_prelu(onnx_op *op)
{
    place x = { 0 }, slope = { 0 };
    if (!align(op, &x, &slope))
        return;
    strata_node *negative = nn_relu(op->b, nn_neg(op->b, x.x));
    negative = nn_mul(op->b, negative, slope.x);
    strata_node *positive = nn_relu(op->b, x.x);
    give(op, &x, strata_emit(op->b, &strata_op_sub, result_name(op, &x), NULL, positive, negative));
}

static void read_sum(onnx_op *op)
{
    if (op->in_count == 2) {
        read_add(op);
        return;
    }
    strata_node *sum = onnx_operand(op, 0);
    for (int i = 1; i < op->in_count && sum != NULL; i++) {
        strata_node *y = onnx_operand(op, i);
        const char  *name = i + 1 == op->in_count ? onnx_name(op, 0, false) : NULL;
        if (y == NULL)
            return;
        const int rank = sum->desc.rank > y->desc.rank ? sum->desc.rank : y->desc.rank;
        sum = raise_rank(op, sum, rank);
        y = raise_rank(op, y, rank);
        sum = strata_emit(op->b, &strata_op_add, name, NULL, sum, y);
    }
    onnx_give(op, 0, sum);
}

/* ---- Softmax and reductions -------------------------------------------------------------------------------------------------- */

static void read_softmax(onnx_op *op)
{
    strata_tensor_desc d;
    place              p;
    if (!find_place(op, 0, &p))
        return;
    onnx_shape(op->in[0], &d);
    int64_t axis = onnx_int(op, "axis", op->im->opset < 13 ? 1 : -1);
    axis += axis < 0 ? d.rank : 0;
    if (axis < 0 || axis >= d.rank || (op->im->opset < 13 && axis != d.rank - 1)) {
        onnx_reject(op, "a softmax over several dims is not supported");
        return;
    }
    strata_softmax_attrs a = { p.perm[axis] };
    give(op, &p, strata_emit(op->b, &strata_op_softmax, result_name(op, &p), &a, p.x));
}

/* The dims to reduce, as bits of the operand's own order; 0 after rejecting. */
static unsigned reduced_dims(onnx_op *op, int rank)
{
    int64_t  axes[STRATA_MAX_RANK];
    unsigned bits = 0;
    int      count = onnx_ints(op, "axes", 1, axes, STRATA_MAX_RANK);
    if (count == 0 && onnx_int(op, "noop_with_empty_axes", 0) == 0)
        bits = (1u << rank) - 1;
    for (int i = 0; i < count; i++) {
        int64_t axis = axes[i] + (axes[i] < 0 ? rank : 0);
        if (axis < 0 || axis >= rank)
            return onnx_reject(op, "axis %lld does not exist", (long long)axes[i]), 0;
        bits |= 1u << axis;
    }
    if (bits == 0)
        onnx_reject(op, "it reduces nothing");
    return bits;
}

/* The mean of x over the dims of `bits`, which stay as ones. H and W of a map are global_avg_pool; others become such. */
static strata_node *mean_over(onnx_op *op, const char *name, strata_node *x, unsigned bits)
{
    const int rank = x->desc.rank;
    int64_t   order[STRATA_MAX_RANK], kept[STRATA_MAX_RANK], count = 1;
    int       at = 0;
    if (rank == 4 && bits == 0xc)
        return strata_emit(op->b, &strata_op_global_avg_pool, name, NULL, x);
    for (int reduced = 0; reduced < 2; reduced++)
        for (int i = 0; i < rank; i++)
            if ((bits >> i & 1) == (unsigned)reduced) {
                order[at++] = i;
                count *= reduced ? x->desc.dim[i] : 1;
            }
    for (int i = 0; i < rank; i++)
        kept[i] = bits >> i & 1 ? 1 : x->desc.dim[i];
    x = nn_transpose_n(op->b, x, rank, order);
    x = nn_reshape(op->b, x, 1, -1, count, 1);
    x = nn_global_avg_pool(op->b, x);
    strata_reshape_attrs a = { .shape = { .count = rank } };
    memcpy(a.shape.at, kept, sizeof kept);
    return strata_emit(op->b, &strata_op_reshape, name, &a, x);
}

/* Mean, sum or root of the sum of squares. */
static void reduce(onnx_op *op, bool squares, bool sum)
{
    strata_tensor_desc d;
    place              p;
    if (!find_place(op, 0, &p))
        return;
    onnx_shape(op->in[0], &d);
    const unsigned bits = d.rank > 0 ? reduced_dims(op, d.rank) : 0;
    const bool     keep = onnx_int(op, "keepdims", 1) != 0;
    unsigned       base_bits = 0;
    double         count = 1;
    if (bits == 0)
        return;
    for (int i = 0; i < d.rank; i++)
        if (bits >> i & 1) {
            base_bits |= 1u << p.perm[i];
            count *= (double)d.dim[i];
        }
    strata_node *x = squares ? nn_mul(op->b, p.x, p.x) : p.x;
    const bool   more = squares || sum || !keep;
    x = mean_over(op, more ? NULL : result_name(op, &p), x, base_bits);
    if (squares || sum)
        x = emit_scalar(op, &strata_op_mul_scalar, squares || !keep ? NULL : result_name(op, &p), x, count);
    if (squares)
        x = strata_emit(op->b, &strata_op_sqrt, keep ? result_name(op, &p) : NULL, NULL, x);
    if (keep) {
        give(op, &p, x);
        return;
    }
    strata_reshape_attrs a = { 0 };
    for (int i = 0; i < d.rank; i++)
        if (!(bits >> i & 1))
            a.shape.at[a.shape.count++] = d.dim[i];
    int64_t perm[STRATA_MAX_RANK];
    for (int i = 0; i < d.rank; i++)
        perm[i] = p.perm[i];
    if (p.turned)
        x = nn_transpose_n(op->b, x, d.rank, perm);
    if (a.shape.count == 0)
        onnx_reject(op, "it reduces everything to one number");
    else
        onnx_give(op, 0, strata_emit(op->b, &strata_op_reshape, onnx_name(op, 0, false), &a, x));
}

static void read_reduce_mean(onnx_op *op) { reduce(op, false, false); }
static void read_reduce_sum(onnx_op *op) { reduce(op, false, true); }
static void read_reduce_l2(onnx_op *op) { reduce(op, true, true); }

const onnx_row onnx_math_rows[] = {
    { "Relu", read_relu },
    { "Sigmoid", read_sigmoid },
    { "HardSwish", read_hard_swish },
    { "HardSigmoid", read_hard_sigmoid },
    { "Gelu", read_gelu },
    { "Clip", read_clip },
    { "LeakyRelu", read_leaky_relu },
    { "PRelu", read_prelu },
    { "Neg", read_neg },
    { "Sqrt", read_sqrt },
    { "Reciprocal", read_reciprocal },
    { "Pow", read_pow },
    { "Add", read_add },
    { "Sub", read_sub },
    { "Mul", read_mul },
    { "Div", read_div },
    { "Sum", read_sum },
    { "Softmax", read_softmax },
    { "ReduceMean", read_reduce_mean },
    { "ReduceSum", read_reduce_sum },
    { "ReduceL2", read_reduce_l2 },
    { 0 },
};
