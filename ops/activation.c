/* Activations: unary ops, and what other ops apply to their results. Everything comes from STRATA_ACT_MAP
 * in ops.h: a new line there wants one function and one definition here, and the compiler asks for both.
 *
 *   relu      max(x, 0)                          sigmoid   1 / (1 + exp(-x))
 *   relu6     min(max(x, 0), 6)                  silu      x * sigmoid(x)
 *   hsigmoid  relu6(x + 3) / 6                   gelu      x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
 *   hswish    x * hsigmoid(x)                              the tanh form, Hendrycks and Gimpel 2016
 *
 * gelu_erf, x * Phi(x) with the normal distribution itself, stands alone: models of other frameworks have it, ours do
 * not, so no op applies it to its result. */
#include "infer.h"

#include <math.h>

/* A NaN stays a NaN: it must not vanish inside a network. */
static double relu(double x) { return x < 0 ? 0 : x; }
static double relu6(double x) { return x > 6 ? 6 : relu(x); }
static double hsigmoid(double x) { return relu6(x + 3) / 6; }
static double hswish(double x) { return x * hsigmoid(x); }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double silu(double x) { return x * sigmoid(x); }
static double gelu(double x)
{
    static const double root = 0.79788456080286535588; /* sqrt(2/pi) */
    return x / 2 * (1 + tanh(root * (x + 0.044715 * x * x * x)));
}

static const struct {
    double (*apply)(double x);
    const strata_op_def *op;
} table[STRATA_ACT_COUNT] = {
#define XX(name, op) [STRATA_ACT_##name] = { op, &strata_op_##op },
    STRATA_ACT_MAP(XX)
#undef XX
};

const char *const strata_act_names[STRATA_ACT_COUNT + 1] = {
    [STRATA_ACT_NONE] = "none",
#define XX(name, op) [STRATA_ACT_##name] = #op,
    STRATA_ACT_MAP(XX)
#undef XX
};

static bool is_act(strata_act act) { return (unsigned)act < STRATA_ACT_COUNT; }

double strata_activate(strata_act act, double x)
{
    return is_act(act) && table[act].apply ? table[act].apply(x) : x;
}

const char *strata_act_name(strata_act act) { return is_act(act) ? strata_act_names[act] : "unknown"; }

const strata_op_def *strata_act_op(strata_act act) { return is_act(act) ? table[act].op : NULL; }

strata_act strata_op_act(const strata_op_def *op)
{
    for (int i = STRATA_ACT_NONE + 1; i < STRATA_ACT_COUNT; i++)
        if (table[i].op == op)
            return (strata_act)i;
    return STRATA_ACT_NONE;
}

static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    strata_act act   = strata_op_act(n->op);
    int64_t    count = strata_count(out->desc);
    for (int64_t i = 0; i < count; i++)
        out->data[i] = (float)strata_activate(act, in[0].data[i]);
    return STRATA_OK;
}

static strata_status eval_gelu_erf(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    int64_t count = strata_count(out->desc);
    for (int64_t i = 0; i < count; i++) {
        double x = in[0].data[i];
        out->data[i] = (float)(x / 2 * erfc(-x * 0.70710678118654752440)); /* 1 + erf(z) = erfc(-z), without cancellation */
    }
    return STRATA_OK;
}

#define ACTIVATION(op, text)                                                                       \
    const strata_op_def strata_op_##op = { .name = #op, .doc = text, .operands = { { "x" } },      \
                                           .flags = STRATA_OP_ELEMENTWISE,                         \
                                           .infer = strata_infer_operands, .eval = eval };

ACTIVATION(relu, "max(x, 0).")
ACTIVATION(relu6, "min(max(x, 0), 6).")
ACTIVATION(hswish, "x * hsigmoid(x).")
ACTIVATION(hsigmoid, "relu6(x + 3) / 6.")
ACTIVATION(sigmoid, "1 / (1 + exp(-x)).")
ACTIVATION(silu, "x * sigmoid(x).")
ACTIVATION(gelu, "x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x^3))), the tanh form.")

const strata_op_def strata_op_gelu_erf = {
    .name = "gelu_erf", .doc = "x/2 * (1 + erf(x / sqrt(2))), the exact form of gelu.", .operands = { { "x" } },
    .flags = STRATA_OP_ELEMENTWISE, .infer = strata_infer_operands, .eval = eval_gelu_erf,
};
