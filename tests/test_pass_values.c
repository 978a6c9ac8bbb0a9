/* Passes by the numbers: what a name means is the same before and after. Random networks of all the shapes
 * that the passes look for (and many that they must leave alone) are built twice from one seed, run through a
 * pipeline once, and interpreted by op->eval; every value whose name is left must be what it was. */
#include <strata/nn.h>

#include "context_state.h"
#include "interpret.h"

static void check(strata_status status, const strata_error *err)
{
    if (status != STRATA_OK)
        fail_msg("%s", err->text);
}

/* ---- Random networks ----------------------------------------------------------------------------------- */

enum { LARGEST = 64 };

typedef struct network { /* values to go on from, each with its stride over the input */
    strata_builder *b;
    uint64_t        random;
    strata_node    *value[LARGEST];
    int             stride[LARGEST], count;
} network;

static void keep(network *n, strata_node *x, int stride)
{
    n->value[n->count]    = x;
    n->stride[n->count++] = stride;
}

static int pick(network *n, int limit) { return random_below(&n->random, limit); }

/* A value with the shape of x, itself not x where possible; x when there is none. */
static strata_node *partner(network *n, const strata_node *x, int *stride)
{
    for (int tries = 0, i; tries < 20; tries++) {
        i = pick(n, n->count);
        if (n->value[i] != x && strata_same_shape(&n->value[i]->desc, &x->desc)) {
            *stride = n->stride[i] > *stride ? n->stride[i] : *stride;
            return n->value[i];
        }
    }
    return (strata_node *)x;
}

static strata_node *some_act(network *n, strata_node *x)
{
    return nn_act(n->b, x, (strata_act)pick(n, STRATA_ACT_COUNT)); /* NONE gives x */
}

static strata_node *some_conv(network *n, strata_node *x, const char *name, int out, int stride)
{
    static const int kernels[] = { 1, 3, 3, 5 };
    const int        kernel = kernels[pick(n, 4)], groups = (int[]){ 1, 2, nn_channels(x) }[pick(n, 3)];
    return nn_conv2d(n->b, x, name, groups == nn_channels(x) ? nn_channels(x) : out, kernel, .stride = stride,
                     .pad = kernel / 2, .groups = groups, .bias = pick(n, 2));
}

/* Branches of one input under one sum, some with batch_norm, some of them the input's own batch_norm. */
static strata_node *branches(network *n, strata_node *x)
{
    const int    groups = pick(n, 2) ? 1 : 2, count = 2 + pick(n, 3);
    strata_node *sum = NULL;
    for (int i = 0; i < count; i++)
        NN_SCOPE(n->b, "branch%d", i) {
            strata_node *y      = x;
            const int    kernel = 1 + 2 * pick(n, 3);
            if (pick(n, 3))
                y = nn_conv2d(n->b, y, "conv", nn_channels(x), kernel, .pad = kernel / 2, .groups = groups,
                              .bias = pick(n, 2));
            if (y == x || pick(n, 3))
                y = nn_batch_norm(n->b, y, "bn", .epsilon = 1e-3);
            sum = sum ? nn_add(n->b, sum, y) : y;
        }
    return some_act(n, sum);
}

/* x times, or plus, a constant or computed number per channel. */
static strata_node *per_channel(network *n, strata_node *x)
{
    strata_node *c;
    if (pick(n, 3) == 0)
        c = nn_global_avg_pool(n->b, x);
    else if (pick(n, 2))
        c = nn_reshape(n->b, nn_param(n->b, "gamma", nn_channels(x)), 1, -1, 1, 1);
    else
        c = nn_param(n->b, "scale", 1, nn_channels(x), 1, 1);
    switch (pick(n, 4)) {
    case 0: return nn_add(n->b, c, x);
    case 1: return nn_add(n->b, x, c);
    case 2: return nn_mul(n->b, c, x);
    default: return nn_mul(n->b, x, c);
    }
}

static void extend(network *n)
{
    const int    from = pick(n, n->count);
    strata_node *x = n->value[from], *y;
    int          stride = n->stride[from];
    switch (pick(n, 11)) {
    case 0:
        y = some_conv(n, x, "conv", 4 + 4 * pick(n, 2), 1);
        break;
    case 1:
    case 2: /* with batch_norm, as most convolutions */
        if (nn_height(x) >= 4 && pick(n, 3) == 0) {
            y = some_conv(n, x, "conv", 8, 2);
            stride *= 2;
        } else {
            y = some_conv(n, x, "conv", nn_channels(x), 1);
        }
        if (pick(n, 4) == 0)
            keep(n, y, stride); /* somebody may read the raw result */
        y = some_act(n, nn_batch_norm(n->b, y, "bn"));
        break;
    case 3:
        y = nn_batch_norm(n->b, x, "bn");
        break;
    case 4:
        y = some_act(n, x);
        break;
    case 5:
        y = nn_add(n->b, x, partner(n, x, &stride));
        y = some_act(n, y);
        break;
    case 6:
        y = nn_dense(n->b, x, "dense", nn_channels(x), .no_bias = pick(n, 2));
        y = some_act(n, y);
        break;
    case 7: /* ConvNeXt's layers */
        y = nn_dense(n->b, nn_layer_norm(n->b, x, "norm"), "dense", nn_channels(x));
        y = per_channel(n, y);
        break;
    case 8:
        y = per_channel(n, some_conv(n, x, "conv", nn_channels(x), 1));
        break;
    case 9: /* twice the same */
        y = nn_relu(n->b, x);
        keep(n, nn_relu(n->b, x), stride);
        y = nn_mul(n->b, y, partner(n, y, &stride));
        break;
    default:
        y = branches(n, x);
        break;
    }
    keep(n, y, stride);
}

static strata_graph *random_network(strata_context *ctx, uint64_t seed)
{
    strata_error  err;
    strata_graph *g;
    network       n = { .random = seed };
    check(strata_builder_create(ctx, "random", &n.b, &err), &err);
    const strata_model_args args = { .batch = 1 + (int)(seed % 2), .channels = 4, .height = 6, .width = 5 };
    keep(&n, nn_image(n.b, &args), 1);
    for (int i = 0; i < 14; i++)
        NN_SCOPE(n.b, "b%d", i)
            extend(&n);
    for (int i = 1; i < n.count; i++) { /* a few features, fewer of them chosen */
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        if (pick(&n, 3) == 0)
            nn_feature(n.b, n.value[i], name, nn_channels(n.value[i]), n.stride[i]);
        if (pick(&n, 6) == 0)
            nn_output(n.b, n.value[i], name);
    }
    nn_output(n.b, n.value[n.count - 1], "last");
    check(strata_builder_finish(n.b, &g, &err), &err);
    fill_constants(g, seed);
    return g;
}

/* ---- The same before and after ------------------------------------------------------------------------- */

/* How many values by name were compared; every output and every feature that is left among them. */
static int compare(const strata_graph *before, const strata_graph *after, uint64_t seed, const char *pipeline)
{
    const int       olds = strata_graph_node_count(before), news = strata_graph_node_count(after);
    strata_tensor **old = interpret(before, seed), **new = interpret(after, seed);
    int             compared = 0;
    for (int i = 0; i < news; i++) {
        const strata_node *n = strata_graph_node(after, i), *was = strata_graph_find(before, n->name);
        if (!was || strata_node_is_source(was))
            continue;
        assert_true(strata_same_shape(&n->desc, &was->desc));
        assert_non_null(new[n->id]);
        double d = difference(old[was->id], new[n->id]);
        if (!(d <= 1e-5))
            fail_msg("seed %llu, '%s': %s (%s, was %s) differs by %g", (unsigned long long)seed, pipeline,
                     n->name, n->op->name, was->op->name, d);
        compared++;
    }
    assert_int_equal(strata_graph_output_count(after), strata_graph_output_count(before));
    for (int i = 0; i < strata_graph_output_count(after); i++) {
        strata_output was = strata_graph_output(before, i), is = strata_graph_output(after, i);
        assert_string_equal(is.name, was.name);
        assert_true(difference(old[was.node->id], new[is.node->id]) <= 1e-5);
    }
    for (int i = 0, k = 0; i < strata_graph_feature_count(after); i++, k++) {
        strata_feature is, was;
        assert_int_equal(strata_graph_feature(after, i, &is, NULL), STRATA_OK);
        do
            assert_int_equal(strata_graph_feature(before, k++, &was, NULL), STRATA_OK);
        while (was.index != is.index);
        k--;
        assert_string_equal(is.name, was.name);
        assert_true(difference(old[was.node->id], new[is.node->id]) <= 1e-5);
    }
    free_values(old, olds);
    free_values(new, news);
    return compared;
}

static void test_random_networks(void **state)
{
    static const char *const pipelines[] = {
        "dce", "cse", "lower_dense", "fold_bn", "fold_scale", "repvgg", "fold_constants", "fuse_act", NULL,
        "fold_bn repvgg", "fuse_act fold_constants cse", "lower_dense fold_bn fold_scale repvgg fuse_act",
    };
    const char *asked = getenv("STRATA_TEST_SEED");
    uint64_t    first = asked ? strtoull(asked, NULL, 10) : 1, last = asked ? first : 60;
    int         compared = 0, removed = 0;
    for (uint64_t seed = first; seed <= last; seed++)
        for (size_t p = 0; p < sizeof pipelines / sizeof *pipelines; p++) {
            strata_error  err;
            strata_graph *before = random_network(*state, seed), *after = random_network(*state, seed);
            if (strata_graph_run_passes(after, pipelines[p], NULL, NULL, &err) != STRATA_OK)
                fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
            compared += compare(before, after, seed, pipelines[p] ? pipelines[p] : "default");
            removed += strata_graph_node_count(before) - strata_graph_node_count(after);
            strata_graph_destroy(after);
            strata_graph_destroy(before);
        }
    assert_true(compared > 100 && removed > 100);
}

/* ---- What must be gone --------------------------------------------------------------------------------- */

static int count_op(const strata_graph *g, const strata_op_def *op)
{
    int count = 0;
    for (int i = 0; i < strata_graph_node_count(g); i++)
        count += strata_graph_node(g, i)->op == op;
    return count;
}

static strata_graph *repvgg_block(strata_context *ctx, int channels, int groups)
{
    strata_builder *b;
    strata_graph   *g;
    strata_error    err;
    check(strata_builder_create(ctx, "block", &b, &err), &err);
    strata_node *x =
        nn_image(b, &(strata_model_args){ .batch = 1, .channels = channels, .height = 7, .width = 6 });
    strata_node *y = nn_batch_norm(b, nn_conv2d(b, x, "k3", channels, 3, .pad = 1, .groups = groups), "bn3");
    strata_node *z = nn_batch_norm(b, nn_conv2d(b, x, "k1", channels, 1, .groups = groups), "bn1");
    y = nn_add(b, y, z);
    y = nn_add(b, y, nn_batch_norm(b, x, "identity"));
    nn_output(b, nn_relu(b, y), "y");
    check(strata_builder_finish(b, &g, &err), &err);
    fill_constants(g, 7);
    return g;
}

static void test_repvgg_block(void **state)
{
    static const int shape[][2] = { { 8, 1 }, { 8, 4 }, { 6, 6 } };
    for (size_t i = 0; i < 3; i++) {
        strata_graph *before = repvgg_block(*state, shape[i][0], shape[i][1]);
        strata_graph *after  = repvgg_block(*state, shape[i][0], shape[i][1]);
        strata_error  err;
        check(strata_graph_run_passes(after, NULL, NULL, NULL, &err), &err);
        assert_int_equal(strata_graph_node_count(after), 4); /* input, weight, bias, conv2d */
        assert_int_equal(count_op(after, &strata_op_conv2d), 1);
        assert_int_equal(count_op(after, &strata_op_const), 2);
        assert_true(compare(before, after, 1, "default") == 1);
        strata_graph_destroy(after);
        strata_graph_destroy(before);
    }
}

/* A bias and a mean that nearly cancel, and a variance near epsilon: against the formula in double. */
static void test_fold_bn_digits(void **state)
{
    strata_builder *b;
    strata_graph   *g;
    strata_error    err;
    check(strata_builder_create(*state, "bn", &b, &err), &err);
    strata_node *x = nn_image(b, &(strata_model_args){ .batch = 1, .channels = 1, .height = 1, .width = 1 });
    x = nn_batch_norm(b, nn_conv2d(b, x, "conv", 1, 1, .bias = true), "bn");
    nn_output(b, x, "y");
    check(strata_builder_finish(b, &g, &err), &err);
    static const struct { const char *name; float value; } numbers[] = {
        { "conv.weight", 0.25f }, { "conv.bias", 1000.25f }, { "bn.gamma", 1.5f }, { "bn.beta", 0.125f },
        { "bn.moving_mean", 1000 }, { "bn.moving_variance", 2e-5f },
    };
    for (size_t i = 0; i < 6; i++) {
        strata_node   *n = strata_graph_find(g, numbers[i].name);
        strata_tensor *t;
        assert_non_null(n);
        check(strata_tensor_create(&n->desc, &t, &err), &err);
        *(float *)strata_tensor_data(t) = numbers[i].value;
        strata_node_set_data(n, t);
        strata_tensor_unref(t);
    }
    check(strata_graph_run_passes(g, "fold_bn fold_constants", NULL, NULL, &err), &err);
    const strata_node *conv = strata_graph_find(g, "bn");
    assert_ptr_equal(conv->op, &strata_op_conv2d);
    const double s = 1.5 / sqrt(2e-5 + 1e-5);
    assert_true(fabs(*(float *)strata_tensor_data(conv->in[1]->data) / (0.25 * s) - 1) < 1e-6);
    assert_true(fabs(*(float *)strata_tensor_data(conv->in[2]->data) / (0.25 * s + 0.125) - 1) < 1e-6);
    strata_graph_destroy(g);
}

/* ---- Memory of fold_constants -------------------------------------------------------------------------- */

static void count_release(void *released) { ++*(int *)released; }

/* A parameter lets go of its bytes at its last use, within the pass; one that is read at run time keeps them;
 * a change of shape does not copy. */
static void test_fold_constants_memory(void **state)
{
    static float    numbers[3][4] = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 }, { 9, 10, 11, 12 } };
    int             released[3]   = { 0 };
    strata_builder *b;
    strata_graph   *g;
    strata_error    err;
    check(strata_builder_create(*state, "memory", &b, &err), &err);
    strata_node *x = nn_image(b, &(strata_model_args){ .batch = 1, .channels = 4, .height = 1, .width = 1 });
    strata_node *p[3];
    for (int i = 0; i < 3; i++) {
        strata_tensor *t;
        p[i] = nn_param(b, ((const char *[]){ "folded", "both", "view" })[i], 1, 4, 1, 1);
        check(strata_tensor_wrap(&p[i]->desc, numbers[i], count_release, &released[i], &t, &err), &err);
        strata_node_set_data(p[i], t);
        strata_tensor_unref(t);
    }
    strata_node *c = nn_mul(b, nn_add(b, p[0], p[1]), p[0]);
    x = nn_mul(b, x, c);
    x = nn_add(b, x, p[1]);
    x = nn_reshape(b, x, 1, 4);
    nn_output(b, nn_mul(b, x, nn_reshape(b, p[2], 1, 4)), "y");
    check(strata_builder_finish(b, &g, &err), &err);
    check(strata_graph_run_passes(g, "fold_constants", NULL, NULL, &err), &err);
    assert_int_equal(released[0], 1);
    assert_int_equal(released[1], 0);
    assert_int_equal(released[2], 0);
    const strata_node *folded = strata_graph_find(g, "mul");
    assert_ptr_equal(folded->op, &strata_op_const);
    assert_true(((float *)strata_tensor_data(folded->data))[3] == (4 + 8) * 4);
    const strata_node *view = strata_graph_find(g, "reshape.1");
    assert_ptr_equal(view->op, &strata_op_const);
    assert_ptr_equal(strata_tensor_data(view->data), numbers[2]);
    strata_graph_destroy(g);
    for (int i = 0; i < 3; i++)
        assert_int_equal(released[i], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_networks), cmocka_unit_test(test_repvgg_block),
        cmocka_unit_test(test_fold_bn_digits),  cmocka_unit_test(test_fold_constants_memory),
    };
    return cmocka_run_group_tests_name("pass values", tests, open_context, close_context);
}
