/* A plug-in that is wrong in one place of a model, for the tests of strata compare --bisect: the CPU's kernel for sums of 40
 * channels, and the pass "weaken", which changes sums of 96 channels. And one for those of strata doctor: the CPU's kernel
 * for rsqrt, which no model has. */
#include <strata/plugin.h>

static bool accepts(const strata_node *n)
{
    return n->desc.rank == 4 && n->desc.dim[1] == 40 && strata_same_shape(&n->in[0]->desc, &n->in[1]->desc) &&
           !strata_node_is_constant(n->in[0]) && !strata_node_is_constant(n->in[1]);
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)s, (void)err;
    for (int64_t i = 0; i < strata_count(f->out.desc); i++)
        f->out.data[i] = f->in[0].data[i] + 0.99f * f->in[1].data[i];
    return STRATA_OK;
}

static const strata_kernel_def guilty_add = { .name = "add.guilty", .op = &strata_op_add,
                                              .layouts = 1 << STRATA_NCHW | 1 << STRATA_NHWC, .accepts = accepts,
                                              .emit = emit };

static strata_status emit_rsqrt(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)s, (void)err;
    for (int64_t i = 0; i < strata_count(f->out.desc); i++)
        f->out.data[i] = 1 / (f->in[0].data[i] * f->in[0].data[i]);
    return STRATA_OK;
}

static const strata_kernel_def guilty_rsqrt = { .name = "rsqrt.guilty", .op = &strata_op_rsqrt,
                                                .layouts = 1 << STRATA_NCHW | 1 << STRATA_NHWC, .emit = emit_rsqrt };

static strata_node *rewrite(strata_builder *b, strata_node *n)
{
    if (n->op != &strata_op_add || n->desc.rank != 4 || n->desc.dim[1] != 96 || n->in[1]->op == &strata_op_mul_scalar)
        return n;
    return nn_add(b, n->in[0], nn_mul_scalar(b, n->in[1], 0.5));
}

static const strata_pass_def weaken = { .name = "weaken", .doc = "Wrong: halves half of a sum.", .rewrite = rewrite };

static strata_status init(strata_context *ctx, strata_error *err)
{
    STRATA_TRY(strata_register_kernel(ctx, "cpu", &guilty_add, err));
    STRATA_TRY(strata_register_kernel(ctx, "cpu", &guilty_rsqrt, err));
    return strata_register_pass(ctx, &weaken, err);
}

const strata_plugin_def strata_plugin = { .abi = STRATA_ABI, .name = "guilty", .doc = "Wrong in one place.", .init = init };
