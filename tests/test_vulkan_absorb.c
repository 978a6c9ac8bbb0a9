/* Kernels that compute the node before theirs as well: squeeze-excite in two dispatches and the loads of a third. Against the
 * ops' definitions, over shapes of maps, forms of the product and types of values, under validation. */
#include "gated_net.h"
#include "vulkan_net.h"
static void check(strata_context *ctx, const gated *shape, strata_dtype precision)
{
    strata_graph   *g = squeeze_excite(ctx, shape);
    strata_tensor **value = interpret(g, 3), *out;
    const strata_tensor *want = value[((const strata_node *)strata_graph_output(g, 0).node)->id];
    char            device[16];
    strata_program *p;
    strata_session *s;
    snprintf(device, sizeof device, "vulkan:%d", vulkan_index(ctx));
    OK(strata_program_create(squeeze_excite(ctx, shape), &(strata_program_options){ .device = device, .precision = precision },
                             &p, &err));
    strata_tensor *in = random_tensor(strata_graph_input(g, 0).desc, seed_of_name(3, "input"), -1, 1);
    OK(strata_session_create(p, &s, &err));
    assert_int_equal(count_steps(s, "conv2d.squeeze"), 1);
    assert_int_equal(count_steps(s, "conv2d.scaled"), 1);
    assert_int_equal(count_steps(s, "conv2d.product"), shape->residual ? 3 : 2);
    OK(strata_session_alloc_outputs(s, &out, &err));
    for (int again = 0; again < 2; again++) { /* counters are left as they were found */
        OK(strata_session_run(s, &in, &out, &err));
        const double most = precision == STRATA_F16 ? 2e-2 : 2e-5, off = difference(want, out);
        if (!(off < most))
            fail_msg("%d x %d x %d x %d by way of %d to %d, %s: off by %g", shape->batch, shape->channels, shape->height,
                     shape->width, shape->hidden, shape->outputs, strata_dtype_name(precision), off);
    }
    strata_tensor_unref(out);
    strata_tensor_unref(in);
    strata_session_destroy(s);
    strata_program_unref(p);
    free_values(value, strata_graph_node_count(g));
    strata_graph_destroy(g);
}

static void check_shapes(void **state, strata_dtype precision)
{
    static const gated shapes[] = {
        { 1, 32, 13, 11, 8, 16, false, false }, /* parts of the pixels */
        { 3, 27, 5, 7, 3, 10, true, true },     /* uneven channels, several images in a tile */
        { 2, 72, 1, 1, 24, 40, true, false },
        { 1, 300, 2, 2, 260, 64, false, true }, /* more outputs of the squeeze than invocations */
    };
    static const vk_conv_choice ways[] = { VK_CONV_AUTO, VK_CONV_GEMM, VK_CONV_VECTOR };
    strata_context *ctx = *state;
    vk_config      *config = &vk_instance_of(ctx)->config;
    const int       count = sizeof shapes / sizeof *shapes;
    for (int i = 0; i < count; i++)
        for (int way = 0; way < 3; way++) {
            config->conv = ways[way];
            config->tile = 6; /* small, and soon compiled */
            config->split = way == 1 && i % 2 == 0 ? 2 : 0;
            if ((i + way) % 2 == (precision == STRATA_F16)) /* the types take turns over the ways */
                check(ctx, &shapes[i], precision);
        }
    config->conv = VK_CONV_AUTO;
    config->tile = config->split = 0;
}

static void test_float(void **state) { check_shapes(state, STRATA_F32); }

static void test_half(void **state)
{
    const vk_instance *v = vk_instance_of(*state);
    if (!v->adapters[vulkan_index(*state)].half)
        skip();
    check_shapes(state, STRATA_F16);
}

static int set_up(void **state)
{
    *state = vulkan_context_with((vk_config){ .poison = true });
    return 0;
}

static int tear_down(void **state)
{
    strata_context_destroy(*state);
    return vulkan_messages;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_float), cmocka_unit_test(test_half) };
    vulkan_need_device();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
