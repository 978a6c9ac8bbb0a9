/* The vocabulary of models: names and shapes of what it emits, its defaults, its `same` padding, and what
 * finish reports when a model is wrong. */
#include "ops_harness.h"

#include "../graph/context.h"
#include <strata/nn.h>

static const strata_model_args input = { .batch = 2, .channels = 3, .height = 32, .width = 24,
                                         .classes = 10 };

static strata_context *context; /* empty: models need no registry */

static strata_builder *begin(void)
{
    strata_builder *b = NULL;
    assert_int_equal(strata_builder_create(context, "net", &b, NULL), STRATA_OK);
    return b;
}

static strata_graph *finish(strata_builder *b)
{
    strata_graph *g = NULL;
    strata_error  err;
    if (strata_builder_finish(b, &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return g;
}

/* The node has this op and shape. */
static strata_node *want(strata_graph *g, const char *name, const strata_op_def *op, const char *shape)
{
    char         text[128];
    strata_node *n = strata_graph_find(g, name);
    if (!n)
        fail_msg("no node is named %s", name);
    assert_ptr_equal(n->op, op);
    assert_string_equal(strata_shape_text(&n->desc, text, sizeof text), shape);
    return n;
}

static void test_layers(void **state)
{
    (void)state;
    strata_builder *b = begin();
    strata_node    *x = nn_image(b, &input);
    NN_SCOPE(b, "layer%d", 1)
        NN_SCOPE(b, "%d", 0) {
            x = nn_conv2d(b, x, "conv1", 8, 3, .stride = 2, .pad = 1);
            x = nn_batch_norm(b, x, "bn1");
            x = nn_relu(b, x);
            x = nn_conv2d(b, x, "conv2", 8, 5, .same = true, .groups = 4, .dilation = 2, .bias = true);
            x = nn_layer_norm(b, x, "norm", .epsilon = 0.25);
            x = nn_grn(b, x, "grn");
            x = nn_relu(b, x);
            x = nn_act(b, x, STRATA_ACT_NONE);
        }
    nn_feature(b, x, "stage", 8, 2);
    NN_SCOPE(b, "head") {
        x = nn_conv2d(b, x, NULL, 6, 1); /* the scope is the layer */
        x = nn_global_avg_pool(b, x);
        x = nn_flatten(b, x);
        x = nn_dense(b, x, "fc", input.classes);
        x = nn_dense(b, x, "plain", 4, .no_bias = true);
    }
    nn_output(b, x, "logits");
    strata_graph *g = finish(b);

    want(g, "input", &strata_op_input, "[2,3,32,24]");
    want(g, "layer1.0.conv1.weight", &strata_op_param, "[8,3,3,3]");
    strata_node *n = want(g, "layer1.0.conv1", &strata_op_conv2d, "[2,8,16,12]");
    const strata_conv2d_attrs *c = n->attrs;
    assert_true(c->stride[0] == 2 && c->stride[1] == 2 && c->dilation[0] == 1);
    assert_true(c->groups == 1 && c->pad[0] == 1 && c->pad[3] == 1);
    assert_ptr_equal(n->in[1], strata_graph_find(g, "layer1.0.conv1.weight"));
    assert_null(n->in[2]);
    assert_null(strata_graph_find(g, "layer1.0.conv1.bias"));

    n = want(g, "layer1.0.bn1", &strata_op_batch_norm, "[2,8,16,12]");
    assert_true(((const strata_batch_norm_attrs *)n->attrs)->epsilon == 1e-5);
    static const char *const stat[] = { "gamma", "beta", "moving_mean", "moving_variance" };
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "layer1.0.bn1.%s", stat[i]);
        assert_ptr_equal(n->in[1 + i], want(g, name, &strata_op_param, "[8]"));
    }
    want(g, "layer1.0.relu", &strata_op_relu, "[2,8,16,12]");
    assert_ptr_equal(strata_graph_find(g, "layer1.0.relu.1")->in[0]->op, &strata_op_grn);

    n = want(g, "layer1.0.conv2", &strata_op_conv2d, "[2,8,16,12]");
    c = n->attrs;
    assert_true(c->groups == 4 && c->dilation[1] == 2 && c->pad[0] == 4 && c->pad[2] == 4);
    want(g, "layer1.0.conv2.weight", &strata_op_param, "[8,2,5,5]");
    assert_ptr_equal(n->in[2], want(g, "layer1.0.conv2.bias", &strata_op_param, "[8]"));
    n = want(g, "layer1.0.norm", &strata_op_layer_norm, "[2,8,16,12]");
    assert_true(((const strata_layer_norm_attrs *)n->attrs)->epsilon == 0.25);

    n = want(g, "layer1.0.grn", &strata_op_grn, "[2,8,16,12]");
    assert_true(((const strata_grn_attrs *)n->attrs)->epsilon == 1e-6);
    assert_ptr_equal(n->in[1]->op, &strata_op_reshape);
    assert_ptr_equal(n->in[1]->in[0], want(g, "layer1.0.grn.gamma", &strata_op_param, "[1,1,1,8]"));
    assert_ptr_equal(n->in[2]->in[0], want(g, "layer1.0.grn.beta", &strata_op_param, "[1,1,1,8]"));

    want(g, "head", &strata_op_conv2d, "[2,6,16,12]");
    want(g, "head.weight", &strata_op_param, "[6,8,1,1]");
    want(g, "head.global_avg_pool", &strata_op_global_avg_pool, "[2,6,1,1]");
    want(g, "head.reshape", &strata_op_reshape, "[2,6]");
    want(g, "head.fc.weight", &strata_op_param, "[10,6]");
    want(g, "head.fc.bias", &strata_op_param, "[10]");
    n = want(g, "head.plain", &strata_op_dense, "[2,4]");
    assert_int_equal(strata_operand_count(n), 2);
    strata_graph_destroy(g);
}

static void test_math(void **state)
{
    (void)state;
    strata_builder *b = begin();
    strata_node    *x = nn_image(b, &input), *y, *parts[2];
    y = nn_max_pool(b, x, 3, .stride = 2, .same = true);
    y = nn_avg_pool(b, y, 2, .count_pad = true);
    y = nn_resize(b, y, 16, 12, STRATA_RESIZE_BILINEAR);
    parts[0] = nn_slice(b, y, 1, 0, 2);
    parts[1] = nn_slice(b, y, 1, 2, 3);
    parts[0] = nn_partial_add(b, nn_neg(b, parts[0]), parts[1]);
    y = nn_concat(b, parts, 2, 1);
    x = nn_sub(b, y, nn_mul_scalar(b, y, 0.5));
    x = nn_mul(b, x, nn_rsqrt(b, nn_add_scalar(b, y, 2)));
    x = nn_add(b, x, y);
    x = nn_softmax(b, x, 3);
    strata_ints before = { 4, { 0, 1, 0, 0 } }, after = { 4, { 0, 0, 0, 4 } };
    x = nn_pad(b, x, &before, &after);
    x = nn_transpose(b, x, 0, 2, 3, 1);
    x = nn_reshape(b, x, 2, -1, 16, 4);
    nn_output(b, x, "y");
    strata_graph *g = finish(b);

    strata_node *n = want(g, "max_pool", &strata_op_max_pool, "[2,3,16,12]");
    const strata_pool_attrs *p = n->attrs; /* pads more at the bottom and right */
    assert_true(p->pad[0] == 0 && p->pad[1] == 0 && p->pad[2] == 1 && p->pad[3] == 1);
    n = want(g, "avg_pool", &strata_op_avg_pool, "[2,3,8,6]");
    p = n->attrs;
    assert_true(p->stride[0] == 2 && p->stride[1] == 2 && p->count_pad);
    want(g, "resize", &strata_op_resize, "[2,3,16,12]");
    want(g, "slice.1", &strata_op_slice, "[2,1,16,12]");
    want(g, "neg", &strata_op_neg, "[2,2,16,12]");
    want(g, "partial_add", &strata_op_partial_add, "[2,2,16,12]");
    want(g, "concat", &strata_op_concat, "[2,3,16,12]");
    n = want(g, "sub", &strata_op_sub, "[2,3,16,12]");
    assert_ptr_equal(n->in[0], strata_graph_find(g, "concat"));
    assert_true(((const strata_scalar_attrs *)n->in[1]->attrs)->value == 0.5);
    n = want(g, "rsqrt", &strata_op_rsqrt, "[2,3,16,12]");
    assert_true(((const strata_scalar_attrs *)n->in[0]->attrs)->value == 2);
    assert_int_equal(((const strata_softmax_attrs *)strata_graph_find(g, "softmax")->attrs)->axis, 3);
    want(g, "pad", &strata_op_pad, "[2,4,16,16]");
    want(g, "transpose", &strata_op_transpose, "[2,16,16,4]");
    want(g, "reshape", &strata_op_reshape, "[2,16,16,4]");
    strata_graph_destroy(g);
}

/* TensorFlow's rule, said otherwise: ceil(size / stride) results; the last window ends where the padding
 * does, or there is none and it ends inside; and an odd element goes to the end. */
static void test_same(void **state)
{
    (void)state;
    noise_seed();
    for (int round = 0; round < 200; round++) {
        int stride = pick(1, 4), kernel = pick(1, 7), dilation = pick(1, 3), size = pick(1, 20);
        strata_builder *b = begin();
        strata_node    *x = nn_image(b, &(strata_model_args){ 1, 1, size, 9, 1 });
        x = nn_conv2d(b, x, "c", 1, kernel, .stride = stride, .dilation = dilation, .same = true);
        nn_output(b, x, "y");
        strata_graph *g = finish(b);
        const strata_conv2d_attrs *a = strata_graph_find(g, "c")->attrs;
        assert_int_equal(nn_height(strata_graph_find(g, "c")), (size + stride - 1) / stride);
        int begun = a->pad[0], ended = a->pad[2], reach = (kernel - 1) * dilation + 1;
        int last = (nn_height(strata_graph_find(g, "c")) - 1) * stride + reach; /* end of the last window */
        assert_true(ended - begun == 0 || ended - begun == 1);
        assert_true(begun + ended == 0 ? last <= size : last == size + begun + ended);
        strata_graph_destroy(g);
    }
}

/* ---- What finish says of wrong models ---- */

static void wrong(strata_builder *b, const char *text)
{
    strata_error err = { 0 };
    assert_int_not_equal(strata_builder_finish(b, NULL, &err), STRATA_OK);
    assert_string_equal(err.text, text);
}

static void test_errors(void **state)
{
    (void)state;
    strata_builder *b = begin();
    strata_node    *x = nn_image(b, &input);
    NN_SCOPE(b, "layer1") {
        x = nn_conv2d(b, x, "conv", 16, 3, .groups = 2);
        /* From here on everything is dead, harmless and of ones. */
        assert_true(strata_builder_failed(b));
        assert_true(nn_channels(x) == 1 && nn_height(x) == 1 && nn_width(x) == 1 && nn_dim(x, 7) == 1);
        x = nn_grn(b, nn_dense(b, nn_flatten(b, x), "fc", 7), "grn");
        x = nn_reshape(b, nn_concat(b, &x, 1, 3), 4, -1);
    }
    nn_feature(b, x, "f", 3, 2);
    nn_output(b, x, "y");
    wrong(b, "layer1.conv: conv2d: 2 groups do not divide the 3 channels of x");

    b = begin();
    x = nn_conv2d(b, nn_image(b, &input), "conv", 0, 3);
    wrong(b, "conv.weight: param: the result has shape [0,3,3,3]; every dim must be at least 1");

    b = begin();
    x = nn_conv2d(b, nn_image(b, &input), "conv", 4, 3, .pad = 2, .same = true);
    wrong(b, "conv: pad 2 and same exclude each other");

    b = begin();
    NN_SCOPE(b, "stem")
        x = nn_avg_pool(b, nn_image(b, &input), 3, .pad = 1, .same = true);
    wrong(b, "stem.avg_pool: pad 1 and same exclude each other");

    b = begin();
    x = nn_conv2d(b, nn_image(b, &input), "conv", 4, 3, .stride = -1, .same = true);
    wrong(b, "conv: conv2d: stride is -1; it must be in 1..4096");

    b = begin();
    NN_SCOPE(b, "a")
        x = nn_act(b, nn_image(b, &input), (strata_act)99);
    wrong(b, "a.act: there is no activation 99");

    b = begin();
    x = nn_reshape(b, nn_image(b, &input), 1, 1, 1, 1, 1, 1, -1);
    wrong(b, "reshape: a value has 1 to 6 dims, not 7");

    b = begin();
    x = nn_reshape(b, nn_image(b, &input), 5, -1);
    wrong(b, "reshape: reshape: shape is -1; it must be in 1..1073741824");

    b = begin();
    x = nn_param(b, "p", 1, 2, 3, 4, 5, 6, 7);
    wrong(b, "p: a parameter has up to 6 dims, not 7");

    b = begin();
    strata_node *nine[9];
    nine[0] = nn_image(b, &input);
    for (int i = 1; i < 9; i++)
        nine[i] = nine[0];
    x = nn_concat(b, nine, 9, 1);
    wrong(b, "concat: 9 operands; at most 8 are possible");

    b = begin();
    x = nn_image(b, &input);
    nn_feature(b, nn_max_pool(b, x, 2), "f", 4, 2);
    wrong(b, "feature 'f' (max_pool) is declared with 4 channels, but its shape is [2,3,16,12]");
    (void)x;
}

static int set_up(void **state)
{
    (void)state;
    return strata_context_create_empty(&context, NULL) == STRATA_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    strata_context_destroy(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_math),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
