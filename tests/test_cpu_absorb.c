/* The CPU's kernel for a projection and the gate of squeeze-excite before it: against the ops' definitions, and the same bits
 * as both steps by themselves, for all batches and numbers of threads. */
#include "gated_net.h"
#include "program_fixture.h"

#include "../backends/cpu/simd.h"

static const gated shapes[] = {
    { 1, 16, 112, 97, 4, 8, false, false },  /* one panel, and bands that end within a row */
    { 2, 27, 31, 29, 3, 40, true, true },    /* uneven channels, several panels */
    { 3, 144, 28, 28, 6, 24, false, true },
    { 1, 600, 29, 28, 8, 16, true, false },  /* products in more than one chunk of weights */
};

typedef struct result {
    strata_tensor *y;
    int            scaled; /* steps of the kernel in question */
} result;

static result run(const gated *shape, int threads)
{
    strata_graph   *g = squeeze_excite(ctx, shape);
    strata_error    err;
    strata_session *s;
    strata_tensor  *x = random_tensor(strata_graph_input(g, 0).desc, seed_of_name(3, "input"), -1, 1), *y[2] = { NULL, NULL };
    strata_program *p = program_of(g, &(strata_program_options){ .threads = threads });
    assert_int_equal(strata_session_create(p, &s, &err), STRATA_OK);
    assert_int_equal(strata_session_alloc_outputs(s, y, &err), STRATA_OK);
    assert_int_equal(strata_session_run(s, &x, y, &err), STRATA_OK);
    result r = { y[0], count_steps(s, "conv2d.scaled") };
    strata_tensor_unref(y[1]);
    strata_tensor_unref(x);
    strata_session_destroy(s);
    strata_program_unref(p);
    return r;
}

static void test_definition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        strata_graph        *g = squeeze_excite(ctx, &shapes[i]);
        strata_tensor      **value = interpret(g, 3);
        const strata_tensor *want = value[((const strata_node *)strata_graph_output(g, 0).node)->id];
        for (int threads = 1; threads <= 3; threads++) {
            result got = run(&shapes[i], threads);
            assert_int_equal(got.scaled, cpu_simd_select()->fused);
            if (!(difference(want, got.y) < 1e-5))
                fail_msg("shape %zu, %d threads: off by %g", i, threads, difference(want, got.y));
            strata_tensor_unref(got.y);
        }
        free_values(value, strata_graph_node_count(g));
        strata_graph_destroy(g);
    }
}

static void test_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        gated  apart = shapes[i];
        apart.kept = true;
        result two = run(&apart, 1), one = run(&shapes[i], 2);
        assert_int_equal(two.scaled, 0);
        assert_memory_equal(strata_tensor_data(one.y), strata_tensor_data(two.y),
                            strata_bytes(strata_tensor_get_desc(one.y)));
        strata_tensor_unref(one.y);
        strata_tensor_unref(two.y);
    }
}

/* Where several items would have to scale the same pixels, both are steps. */
static void test_small_maps(void **state)
{
    (void)state;
    result r = run(&(gated){ 1, 64, 14, 14, 8, 80, false, false }, 2);
    assert_int_equal(r.scaled, 0);
    strata_tensor_unref(r.y);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_definition), cmocka_unit_test(test_bits),
                                        cmocka_unit_test(test_small_maps) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
