/* fuse_silu: a new pass as a plug-in. Exporters write SiLU as two nodes, and both walk over the whole map:
 *
 *   mul(x, sigmoid(x))  ->  silu(x)         silu(x) = x sigmoid(x), so no number changes but by rounding
 *
 * It fires also when the sigmoid has other readers, who keep it: the product is computed anew, and the multiplication is
 * saved. A product that applies an activation of its own is left alone. Best before the default passes, which can then
 * move the silu into a convolution: --pipeline +fuse_silu. */
#include <strata/plugin.h>

static strata_node *rewrite(strata_builder *b, strata_node *n)
{
    if (n->op != &strata_op_mul || ((const strata_binary_attrs *)n->attrs)->act != STRATA_ACT_NONE)
        return n;
    for (int i = 0; i < 2; i++) { /* the product commutes */
        strata_node *x = n->in[i], *gate = n->in[1 - i];
        if (gate->op == &strata_op_sigmoid && gate->in[0] == x)
            return nn_silu(b, x); /* takes over the product's name: the value is the same */
    }
    return n;
}

static const strata_pass_def fuse_silu = {
    .name = "fuse_silu", .doc = "Write x * sigmoid(x) as silu(x).", .rewrite = rewrite,
};

static strata_status init(strata_context *ctx, strata_error *err) { return strata_register_pass(ctx, &fuse_silu, err); }

/* For strata doctor: a graph with the pattern, one with the operands the other way round and a second reader, and one
 * that only looks like it. */
static const char *const cases[] = {
    "graph \"exported\" {"
    "  input %x : f32[1,4,6,6]"
    "  param @conv.weight : f32[8,4,3,3]"
    "  %conv = conv2d(%x, @conv.weight) {pad=1} : f32[1,8,6,6]"
    "  %gate = sigmoid(%conv) : f32[1,8,6,6]"
    "  %act = mul(%conv, %gate) : f32[1,8,6,6]"
    "  output \"act\" = %act"
    "}",
    "graph \"shared\" {"
    "  input %x : f32[2,3]"
    "  %gate = sigmoid(%x) : f32[2,3]"
    "  %act = mul(%gate, %x) : f32[2,3]"
    "  %sum = add(%act, %gate) : f32[2,3]"
    "  output \"sum\" = %sum"
    "}",
    "graph \"other gate\" {"
    "  input %x : f32[2,3]"
    "  %y = neg(%x) : f32[2,3]"
    "  %gate = sigmoid(%y) : f32[2,3]"
    "  %act = mul(%x, %gate) : f32[2,3]"
    "  output \"act\" = %act"
    "}",
    NULL
};

const strata_plugin_def strata_plugin = { .abi = STRATA_ABI, .name = "fuse_silu", .doc = "SiLU from its two halves.",
                                          .init = init, .cases = cases };
