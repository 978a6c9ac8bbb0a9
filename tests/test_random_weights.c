/* The rule for random weights and inputs: its numbers are fixed, whatever the machine. */
#include "bind_fixture.h"

#include <math.h>

static void expect_values(const strata_graph *g, const char *name, const double expected[4])
{
    const strata_node *n = strata_graph_find(g, name);
    assert_true(n != NULL && n->data != NULL);
    for (int i = 0; i < 4; i++) {
        float x = ((const float *)strata_tensor_data(n->data))[i], wanted = (float)expected[i];
        if (x != wanted) /* nine digits name a float exactly */
            fail_msg("%s[%d] is %.9g, not %.9g", name, i, (double)x, (double)wanted);
    }
}

static void rule_parameters(strata_builder *b, strata_node *x)
{
    x = nn_conv2d(b, x, "conv1", 64, 7, .stride = 2, .pad = 3);
    x = nn_batch_norm(b, x, "bn1");
    strata_node *scale = NULL;
    NN_SCOPE(b, "stages.0")
        scale = nn_param(b, "gamma_", 96);
    nn_output(b, scale, "scale");
    nn_output(b, nn_dense(b, nn_global_avg_pool(b, x), "classifier", 1000), "logits");
}

static void test_random_rule(void **state)
{
    (void)state;
    strata_graph *g = build(rule_parameters, 3);
    strata_error err;
    assert_int_equal(strata_graph_bind_random(g, 1, 2.0, &err), STRATA_OK);
    expect_values(g, "conv1.weight", (double[]){ 0.0731815472, 0.116777718, 0.115532845, -0.163808212 });
    expect_values(g, "bn1.gamma", (double[]){ 0.887531638, 0.65518111, 0.875959873, 0.800703287 });
    expect_values(g, "bn1.beta", (double[]){ -0.148953274, 0.0933547541, -0.175753191, -0.0944653749 });
    expect_values(g, "bn1.moving_mean", (double[]){ -0.0788520351, 0.080580309, 0.0442848206, -0.192887187 });
    expect_values(g, "bn1.moving_variance", (double[]){ 0.678871989, 0.8493945, 0.846480787, 1.08093047 });
    expect_values(g, "classifier.bias",
                  (double[]){ 0.0441614389, -0.0439056046, 0.0459611788, 0.0523031242 });
    expect_values(g, "stages.0.gamma_", (double[]){ -0.139395982, 0.117010139, 0.0960334092, 0.111488439 });
    assert_int_equal(strata_graph_bind_random(g, 1, 0, &err), STRATA_INVALID);
    assert_int_equal(strata_graph_bind_random(g, 1, NAN, &err), STRATA_INVALID);
    strata_graph_destroy(g);

    float x[4];
    const float expected[4] = { -1.75744224f, 1.69727278f, -0.916045427f, -0.253632069f };
    strata_random_input(1, x, 4);
    assert_memory_equal(x, expected, sizeof x);
}

static void test_random_fills_only_what_is_needed(void **state)
{
    (void)state;
    strata_graph *g = build(plain, 3);
    assert_int_equal(strata_graph_select(g, "body", NULL), STRATA_OK);
    with_random(g);
    assert_null(strata_graph_find(g, "classifier.weight")->data);
    assert_non_null(strata_graph_find(g, "conv3.weight")->data);
    strata_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_rule),
        cmocka_unit_test(test_random_fills_only_what_is_needed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
