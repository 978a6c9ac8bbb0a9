/* The core: builder, order, uses, replacement, pruning, geometry, registries, near names. */
#include "../graph/graph.h"
#include "fixture.h"

#include <strata/nn.h>

static strata_builder *begin(const char *name)
{
    strata_builder *b;
    assert_int_equal(strata_builder_create(ctx, name, &b, NULL), STRATA_OK);
    return b;
}

static strata_node *image(strata_builder *b, int size)
{
    return nn_image(b, &(strata_model_args){ 1, 3, size, size, 10 });
}

/* finish must fail with this status and these words. */
static void expect_error(strata_builder *b, strata_status status, const char *words)
{
    strata_error  err;
    strata_graph *g = NULL;
    assert_int_equal(strata_builder_finish(b, &g, &err), status);
    assert_int_equal(err.status, status);
    assert_null(g);
    if (!strstr(err.text, words))
        fail_msg("'%s' does not say '%s'", err.text, words);
}

static strata_graph *finish(strata_builder *b)
{
    strata_error  err;
    strata_graph *g = NULL;
    if (strata_builder_finish(b, &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return g;
}

static void test_names_and_shapes(void **state)
{
    (void)state;
    strata_builder *b = begin("names");
    strata_node    *x = image(b, 32);
    NN_SCOPE(b, "layer%d", 1)
    {
        NN_SCOPE(b, "0")
        {
            x = nn_conv2d(b, x, "conv1", 8, 3, .stride = 2, .same = true);
            x = nn_relu(b, x);
            x = nn_relu(b, x);
        }
    }
    nn_output(b, x, "y");
    strata_graph *g = finish(b);
    assert_non_null(strata_graph_find(g, "layer1.0.conv1.weight"));
    assert_non_null(strata_graph_find(g, "layer1.0.conv1"));
    assert_non_null(strata_graph_find(g, "layer1.0.relu"));
    assert_ptr_equal(strata_graph_find(g, "layer1.0.relu.1"), strata_graph_output(g, 0).node);
    assert_null(strata_graph_find(g, "conv1"));
    assert_int_equal(nn_channels(x), 8);
    assert_int_equal(nn_height(x), 16);
    assert_ptr_equal(strata_graph_declared_output(g, "y"), x);
    strata_graph_destroy(g);
}

static void test_first_error_sticks(void **state)
{
    (void)state;
    strata_builder *b = begin("sticky");
    strata_node    *x = image(b, 8), *bad;
    NN_SCOPE(b, "layer1")
    {
        bad = nn_conv2d(b, x, "conv", 4, 11); /* the window is larger than the image */
    }
    assert_true(strata_builder_failed(b));
    assert_int_equal(nn_channels(bad), 1);
    bad = nn_add(b, nn_batch_norm(b, bad, "bn"), x); /* harmless */
    nn_feature(b, bad, "f", 3, 7);
    nn_output(b, bad, "y");
    expect_error(b, STRATA_SHAPE, "layer1.conv: conv2d: ");
}

static void test_wrong_graphs(void **state)
{
    (void)state;
    strata_builder *b = begin("taken");
    strata_node    *x = image(b, 8);
    nn_conv2d(b, x, "conv", 4, 1);
    x = nn_conv2d(b, x, "conv", 4, 1);
    expect_error(b, STRATA_INVALID, "conv.weight: the name is taken");

    b = begin("open");
    x = image(b, 8);
    strata_push_scope(b, "layer1.0");
    nn_output(b, x, "y");
    expect_error(b, STRATA_INVALID, "scope 'layer1.0' is still open");

    b = begin("no output");
    image(b, 8);
    expect_error(b, STRATA_INVALID, "has no output");

    b = begin("twice");
    x = image(b, 8);
    nn_output(b, x, "y");
    nn_output(b, x, "y");
    expect_error(b, STRATA_INVALID, "asked for twice");
}

static void test_declared_features_are_checked(void **state)
{
    (void)state;
    static const struct { int channels, reduction; const char *words; } cases[] = {
        { 9, 2, "9 channels" }, { 8, 4, "reduction 4, but the graph's stride is 2" }
    };
    for (int i = 0; i < 2; i++) {
        strata_builder *b = begin("features");
        strata_node    *x = nn_conv2d(b, image(b, 16), "conv", 8, 3, .stride = 2, .pad = 1);
        nn_feature(b, x, "f", cases[i].channels, cases[i].reduction);
        nn_output(b, x, "y");
        expect_error(b, STRATA_SHAPE, cases[i].words);
    }
    strata_builder *b = begin("features");
    strata_node    *x = nn_conv2d(b, image(b, 17), "conv", 8, 3, .stride = 2, .pad = 1);
    nn_feature(b, x, "f", 8, 2);
    nn_feature(b, x, "f", 8, 2);
    nn_output(b, x, "y");
    expect_error(b, STRATA_INVALID, "registered twice");
}

/* ResNet-50's stem and first stage by hand: 7/2, 3/2, 3, 3, 3. */
static void test_receptive_field(void **state)
{
    (void)state;
    strata_builder *b = begin("field");
    strata_node    *x = nn_conv2d(b, image(b, 64), "stem", 4, 7, .stride = 2, .pad = 3);
    x = nn_max_pool(b, x, 3, .stride = 2, .pad = 1);
    for (int i = 0; i < 3; i++)
        NN_SCOPE(b, "%d", i)
            x = nn_add(b, x, nn_conv2d(b, x, "conv", 4, 3, .pad = 1));
    nn_feature(b, x, "f", 4, 4);
    nn_output(b, x, "y");
    strata_graph  *g = finish(b);
    strata_feature f;
    assert_int_equal(strata_graph_feature(g, 0, &f, NULL), STRATA_OK);
    assert_int_equal((int)f.receptive_field[0], 7 + 2 * 2 + 3 * 2 * 4);
    assert_int_equal(f.level, 2);
    assert_true(f.offset[0] == 0 && f.offset[1] == 0);
    strata_error err;
    assert_int_equal(strata_graph_feature(g, 1, &f, &err), STRATA_NOT_FOUND);
    strata_graph_destroy(g);
}

static void test_order_uses_and_pruning(void **state)
{
    (void)state;
    strata_builder *b = begin("order");
    strata_node *x = image(b, 8), *p = nn_relu(b, x), *q = nn_sigmoid(b, x), *head = nn_global_avg_pool(b, q);
    nn_output(b, nn_add(b, p, p), "y");
    nn_output(b, head, "z");
    strata_graph *g = finish(b);
    assert_int_equal(p->uses, 2);
    assert_int_equal(x->uses, 2);

    strata_graph_clear_outputs(g);
    assert_int_equal(strata_graph_add_output(g, "p", p, NULL), STRATA_OK);
    assert_int_equal(strata_graph_add_output(g, "p", q, NULL), STRATA_INVALID);
    assert_int_equal(strata_graph_refresh(g, NULL), STRATA_OK);
    assert_int_equal(p->uses, 1);
    assert_int_equal(q->uses, 0);
    assert_ptr_equal(strata_graph_declared_output(g, "z"), head);
    bool changed = false;
    strata_graph_prune(g, &changed);
    assert_true(changed);
    assert_int_equal(strata_graph_node_count(g), 2);
    assert_null(strata_graph_find(g, "sigmoid"));
    assert_null(strata_graph_declared_output(g, "z"));

    p->in[0] = p; /* a cycle is an error, not a hang */
    strata_error err;
    assert_int_equal(strata_graph_refresh(g, &err), STRATA_INTERNAL);
    p->in[0] = x;
    strata_graph_destroy(g);
}

static void test_validation_catches_tampering(void **state)
{
    (void)state;
    strata_builder *b = begin("tampered");
    strata_node    *x = image(b, 8), *y = nn_relu(b, x);
    nn_output(b, y, "y");
    strata_graph *g = finish(b);
    strata_error  err;
    assert_int_equal(strata_graph_validate(g, &err), STRATA_OK);
    y->desc.dim[1] = 4;
    assert_int_equal(strata_graph_validate(g, &err), STRATA_INTERNAL);
    assert_non_null(strstr(err.text, "relu"));
    y->desc.dim[1] = 3;
    y->in[0]       = NULL;
    assert_int_equal(strata_graph_validate(g, &err), STRATA_INVALID);
    assert_non_null(strstr(err.text, "missing"));
    y->in[0] = x;
    strata_graph_destroy(g);
}

/* Passes for the manager: one wraps, one removes, one breaks the shape. */
static strata_node *wrap(strata_builder *b, strata_node *n)
{
    return n->op == &strata_op_relu ? nn_mul_scalar(b, n, 2) : n;
}
static strata_node *unwrap(strata_builder *b, strata_node *n)
{
    (void)b;
    return n->op == &strata_op_mul_scalar ? n->in[0] : n;
}
static strata_node *spoil(strata_builder *b, strata_node *n)
{
    return n->op == &strata_op_relu ? nn_global_avg_pool(b, n) : n;
}
static const strata_pass_def wrap_pass = { .name = "wrap", .rewrite = wrap }, unwrap_pass = { .name = "unwrap", .rewrite = unwrap },
                             spoil_pass = { .name = "spoil", .rewrite = spoil };

static void test_rewriting_keeps_names_and_uses(void **state)
{
    (void)state;
    strata_context *own;
    strata_error    err;
    assert_int_equal(strata_context_create(&own, &err), STRATA_OK);
    assert_int_equal(strata_register_pass(own, &wrap_pass, &err), STRATA_OK);
    assert_int_equal(strata_register_pass(own, &unwrap_pass, &err), STRATA_OK);
    assert_int_equal(strata_register_pass(own, &spoil_pass, &err), STRATA_OK);
    assert_int_equal(strata_register_pass(own, &spoil_pass, &err), STRATA_INVALID);

    strata_builder *b;
    strata_graph   *g;
    assert_int_equal(strata_builder_create(own, "rewrite", &b, &err), STRATA_OK);
    strata_node *x = image(b, 4), *r = nn_relu(b, x);
    nn_feature(b, r, "f", 3, 1);
    nn_output(b, nn_add(b, r, x), "y");
    assert_int_equal(strata_builder_finish(b, &g, &err), STRATA_OK);

    assert_int_equal(strata_graph_run_passes(g, "wrap", NULL, NULL, &err), STRATA_OK);
    strata_node *named = strata_graph_find(g, "relu"); /* the value's name went to what computes it now */
    assert_ptr_equal(named->op, &strata_op_mul_scalar);
    assert_ptr_equal(named->in[0]->op, &strata_op_relu);
    assert_int_equal(named->in[0]->uses, 1);
    assert_ptr_equal(strata_graph_output(g, 0).node->in[0], named);
    strata_feature f;
    assert_int_equal(strata_graph_feature(g, 0, &f, &err), STRATA_OK);
    assert_ptr_equal(f.node, named);

    assert_int_equal(strata_graph_run_passes(g, "unwrap", NULL, NULL, &err), STRATA_OK);
    assert_int_equal(strata_graph_node_count(g), 3);
    assert_int_equal(strata_graph_run_passes(g, "spoil", NULL, NULL, &err), STRATA_INTERNAL);
    assert_non_null(strstr(err.text, "pass spoil"));
    assert_int_equal(strata_graph_run_passes(g, "unwarp", NULL, NULL, &err), STRATA_NOT_FOUND);
    assert_non_null(strstr(err.text, "unwrap"));
    strata_graph_destroy(g);
    strata_context_destroy(own);
}

static void test_pipeline_words(void **state)
{
    (void)state;
    strata_error    err;
    strata_builder *b = begin("pipeline");
    nn_output(b, nn_relu(b, image(b, 4)), "y");
    strata_graph *g = finish(b);
    assert_int_equal(strata_graph_run_passes(g, "-fold_bn -cse", NULL, NULL, &err), STRATA_OK);
    assert_int_equal(strata_graph_run_passes(g, "", NULL, NULL, &err), STRATA_OK);
    assert_int_equal(strata_graph_run_passes(g, "-fold_bm", NULL, NULL, &err), STRATA_NOT_FOUND);
    assert_non_null(strstr(err.text, "fold_bn"));
    strata_graph_destroy(g);
}

static void test_near_names(void **state)
{
    (void)state;
    static const char *const names[] = { "resnet18", "resnet50", "resnest50", "vgg16", "hrnet_w32" };
    char                     buf[128];
    assert_string_equal(strata_nearest("resnet5", names, 5, 2, buf, sizeof buf), "resnet50, resnet18");
    assert_string_equal(strata_nearest("rsenet18", names, 5, 1, buf, sizeof buf), "resnet18");
    assert_string_equal(strata_nearest("hrnet", names, 5, 3, buf, sizeof buf), "hrnet_w32");
    assert_string_equal(strata_nearest("zebra", names, 5, 3, buf, sizeof buf), "");
    char small[6];
    strata_nearest("resnet5", names, 5, 2, small, sizeof small);
    assert_true(strlen(small) < sizeof small);
}

static void test_tensors(void **state)
{
    (void)state;
    strata_error       err;
    strata_tensor     *t;
    strata_tensor_desc desc = strata_desc_f32(4, (int64_t[]){ 2, 3, 4, 5 });
    assert_int_equal(strata_count(&desc), 120);
    assert_int_equal(strata_tensor_create(&desc, &t, &err), STRATA_OK);
    assert_int_equal((uintptr_t)strata_tensor_data(t) % 64, 0);
    for (int i = 0; i < 120; i++)
        assert_true(((float *)strata_tensor_data(t))[i] == 0);
    strata_tensor_unref(strata_tensor_ref(t));
    strata_tensor_unref(t);
    strata_tensor_unref(NULL);
    desc.dim[0] = desc.dim[1] = desc.dim[2] = INT32_MAX;
    assert_int_equal(strata_count(&desc), -1);
    assert_int_equal(strata_tensor_create(&desc, &t, &err), STRATA_SHAPE);
    desc = strata_desc_f32(1, (int64_t[]){ (int64_t)1 << 60 });
    assert_int_not_equal(strata_tensor_create(&desc, &t, &err), STRATA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_shapes),
        cmocka_unit_test(test_first_error_sticks),
        cmocka_unit_test(test_wrong_graphs),
        cmocka_unit_test(test_declared_features_are_checked),
        cmocka_unit_test(test_receptive_field),
        cmocka_unit_test(test_order_uses_and_pruning),
        cmocka_unit_test(test_validation_catches_tampering),
        cmocka_unit_test(test_rewriting_keeps_names_and_uses),
        cmocka_unit_test(test_pipeline_words),
        cmocka_unit_test(test_near_names),
        cmocka_unit_test(test_tensors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
