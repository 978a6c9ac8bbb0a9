/* The vocabulary of models, first half: sources, marks, and layers with parameters. See strata/nn.h.
 *
 * A layer declares its parameters with the shapes that its result would need and leaves all judgement to the
 * op's infer, whose error is sticky in the builder. A builder call never stands beside another one in the
 * same argument list: C does not fix their order, and names would depend on the compiler. */
#include <strata/nn.h>

#include <limits.h>

int nn_dim(const strata_node *x, int i)
{
    if (!x || i < 0 || i >= x->desc.rank || x->desc.dim[i] < 1)
        return 1;
    return x->desc.dim[i] < INT_MAX ? (int)x->desc.dim[i] : INT_MAX;
}

/* ---- Sources and marks ---- */

strata_node *nn_image(strata_builder *b, const strata_model_args *args)
{
    strata_tensor_desc desc =
        strata_desc_f32(4, (int64_t[]){ args->batch, args->channels, args->height, args->width });
    return strata_emit_input(b, "input", &desc);
}

strata_node *nn_param_n(strata_builder *b, const char *leaf, int rank, const int64_t *dim)
{
    const char *name = strata_scoped(b, leaf);
    if (rank < 0 || rank > STRATA_MAX_RANK) {
        strata_builder_fail(b, STRATA_SHAPE, "%s: a parameter has up to %d dims, not %d", name,
                            STRATA_MAX_RANK, rank);
        rank = 0;
    }
    strata_tensor_desc desc = strata_desc_f32(rank, dim);
    return strata_emit_param(b, name, &desc);
}

void nn_feature(strata_builder *b, strata_node *x, const char *name, int channels, int reduction)
{
    strata_emit_feature(b, name, x, channels, reduction);
}

void nn_output(strata_builder *b, strata_node *x, const char *name) { strata_emit_output(b, name, x); }

/* ---- Layers ---- */

/* The parameter "scope.layer.leaf"; without a layer name the scope is the layer. */
static strata_node *layer_param(strata_builder *b, const char *layer, const char *leaf, int rank,
                                const int64_t *dim)
{
    if (!layer)
        return nn_param_n(b, leaf, rank, dim);
    strata_node *param = NULL;
    NN_SCOPE(b, "%s", layer)
        param = nn_param_n(b, leaf, rank, dim);
    return param;
}

/* What to put around dim 2 + i of x: `pad` on both sides, or what makes ceil(size / stride) of it. */
static void set_pads(int pads[4], const strata_node *x, int kernel, int stride, int dilation, int pad,
                     bool same)
{
    for (int i = 0; i < 2; i++) {
        int64_t begin = pad, end = pad;
        if (same && stride > 0) {
            int64_t size  = nn_dim(x, 2 + i), result = (size + stride - 1) / stride;
            int64_t total = (result - 1) * stride + ((int64_t)kernel - 1) * dilation + 1 - size;
            total = total > 0 ? total : 0;
            begin = total / 2;
            end   = total - begin; /* an odd element goes to bottom and right */
        }
        pads[i]     = begin < INT_MAX ? (int)begin : INT_MAX;
        pads[i + 2] = end < INT_MAX ? (int)end : INT_MAX;
    }
}

static bool pads_agree(strata_builder *b, const char *name, int pad, bool same)
{
    if (same && pad)
        strata_builder_fail(b, STRATA_INVALID, "%s: pad %d and same exclude each other",
                            strata_scoped(b, name), pad);
    return !(same && pad);
}

strata_node *nn_conv2d_(strata_builder *b, strata_node *x, nn_conv2d_args args)
{
    int groups = args.groups ? args.groups : 1, stride = args.stride ? args.stride : 1;
    int dilation = args.dilation ? args.dilation : 1;
    strata_conv2d_attrs a = { .stride = { stride, stride }, .dilation = { dilation, dilation },
                              .groups = groups };
    if (!pads_agree(b, args.name, args.pad, args.same))
        return x;
    set_pads(a.pad, x, args.kernel, stride, dilation, args.pad, args.same);

    int64_t      shape[] = { args.out, nn_channels(x) / groups, args.kernel, args.kernel };
    strata_node *weight  = layer_param(b, args.name, "weight", 4, shape);
    strata_node *bias    = args.bias ? layer_param(b, args.name, "bias", 1, shape) : NULL;
    return strata_emit(b, &strata_op_conv2d, strata_scoped(b, args.name), &a, x, weight, bias);
}

strata_node *nn_dense_(strata_builder *b, strata_node *x, nn_dense_args args)
{
    int64_t      shape[] = { args.out, nn_channels(x) };
    strata_node *weight  = layer_param(b, args.name, "weight", 2, shape);
    strata_node *bias    = args.no_bias ? NULL : layer_param(b, args.name, "bias", 1, shape);
    return strata_emit(b, &strata_op_dense, strata_scoped(b, args.name), NULL, x, weight, bias);
}

strata_node *nn_batch_norm_(strata_builder *b, strata_node *x, nn_norm_args args)
{
    strata_batch_norm_attrs a = { args.epsilon != 0 ? args.epsilon : 1e-5 };
    int64_t      channels = nn_channels(x);
    strata_node *gamma    = layer_param(b, args.name, "gamma", 1, &channels);
    strata_node *beta     = layer_param(b, args.name, "beta", 1, &channels);
    strata_node *mean     = layer_param(b, args.name, "moving_mean", 1, &channels);
    strata_node *variance = layer_param(b, args.name, "moving_variance", 1, &channels);
    return strata_emit(b, &strata_op_batch_norm, strata_scoped(b, args.name), &a, x, gamma, beta, mean,
                       variance);
}

strata_node *nn_layer_norm_(strata_builder *b, strata_node *x, nn_norm_args args)
{
    strata_layer_norm_attrs a = { args.epsilon != 0 ? args.epsilon : 1e-6 };
    int64_t      channels = nn_channels(x);
    strata_node *gamma    = layer_param(b, args.name, "gamma", 1, &channels);
    strata_node *beta     = layer_param(b, args.name, "beta", 1, &channels);
    return strata_emit(b, &strata_op_layer_norm, strata_scoped(b, args.name), &a, x, gamma, beta);
}

/* Checkpoints keep GRN's parameters as [1,1,1,C]; the op takes [C]. */
static strata_node *grn_param(strata_builder *b, const char *layer, const char *leaf, int64_t channels)
{
    strata_node *param = layer_param(b, layer, leaf, 4, (int64_t[]){ 1, 1, 1, channels });
    return nn_reshape(b, param, channels);
}

strata_node *nn_grn_(strata_builder *b, strata_node *x, nn_norm_args args)
{
    strata_grn_attrs a = { args.epsilon != 0 ? args.epsilon : 1e-6 };
    strata_node     *gamma = grn_param(b, args.name, "gamma", nn_channels(x));
    strata_node     *beta  = grn_param(b, args.name, "beta", nn_channels(x));
    return strata_emit(b, &strata_op_grn, strata_scoped(b, args.name), &a, x, gamma, beta);
}

/* ---- Pools ---- */

static strata_node *pool(strata_builder *b, strata_node *x, const strata_op_def *op, nn_pool_args args)
{
    int stride = args.stride ? args.stride : args.kernel;
    strata_pool_attrs a = { .kernel = { args.kernel, args.kernel }, .stride = { stride, stride },
                            .count_pad = args.count_pad };
    if (!pads_agree(b, op->name, args.pad, args.same))
        return x;
    set_pads(a.pad, x, args.kernel, stride, 1, args.pad, args.same);
    return strata_emit(b, op, NULL, &a, x);
}

strata_node *nn_max_pool_(strata_builder *b, strata_node *x, nn_pool_args args)
{
    return pool(b, x, &strata_op_max_pool, args);
}

strata_node *nn_avg_pool_(strata_builder *b, strata_node *x, nn_pool_args args)
{
    return pool(b, x, &strata_op_avg_pool, args);
}
