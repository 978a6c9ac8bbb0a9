/* What a device may run at the same time: steps in an order, and values at places, that leave branches independent. */
#include "program_fixture.h"

#include <strata/nn.h>

enum { BRANCHES = 3, LENGTH = 4 };

/* One value by several chains of convolutions of different widths, one branch after the other, as HRNet is built. */
static strata_graph *branches(void)
{
    strata_builder *b;
    strata_graph   *g;
    strata_error    err;
    assert_int_equal(strata_builder_create(ctx, "branches", &b, &err), STRATA_OK);
    strata_node *stem = nn_relu(b, nn_conv2d(b, nn_image(b, &(strata_model_args){ 1, 3, 9, 9, 1 }), "stem", 6, 1));
    for (int i = 0; i < BRANCHES; i++) {
        strata_node *x = stem;
        char         name[16];
        for (int k = 0; k < LENGTH; k++) {
            snprintf(name, sizeof name, "b%d_%d", i, k);
            x = nn_conv2d(b, x, name, 4 + 2 * i, 3, .pad = 1);
            if (k % 2 == 1)
                x = nn_relu(b, x); /* in place */
        }
        snprintf(name, sizeof name, "y%d", i);
        nn_output(b, x, name);
    }
    nn_output(b, stem, "stem");
    assert_int_equal(strata_builder_finish(b, &g, &err), STRATA_OK);
    fill_constants(g, 7);
    return g;
}

static bool overlap(const strata_view *a, const strata_view *b)
{
    return a->buffer && a->buffer == b->buffer && a->offset < b->offset + strata_bytes(b->desc) &&
           b->offset < a->offset + strata_bytes(a->desc);
}

static bool depends(const strata_frame *later, const strata_frame *earlier)
{
    bool any = overlap(&later->out, &earlier->out);
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        any |= (later->in[k].desc && overlap(&later->in[k], &earlier->out)) ||
               (earlier->in[k].desc && overlap(&earlier->in[k], &later->out));
    return any;
}

/* Links of the longest chain of steps of which each must wait for the one before, by the bytes that they touch. */
static int longest_chain(const toy_recording *r)
{
    int chain[64] = { 0 }, longest = 0;
    assert_true(r->count <= 64);
    for (int i = 0; i < r->count; i++) {
        for (int k = 0; k < i; k++)
            if (chain[k] > chain[i] && depends(&r->frames[i], &r->frames[k]))
                chain[i] = chain[k];
        longest = ++chain[i] > longest ? chain[i] : longest;
    }
    return longest;
}

/* Branches wait for what they read, not for each other's bytes. */
static void test_branches(void **state)
{
    (void)state;
    strata_graph   *g = branches();
    strata_tensor **value = interpret(g, 3), *out[BRANCHES + 1];
    strata_program *p = program_of(branches(), &(strata_program_options){ .device = "toy", .pipeline = "" });
    strata_session *s;
    strata_error    err;
    strata_tensor *in = random_tensor(strata_graph_input(g, 0).desc, seed_of_name(3, "input"), -1, 1);
    assert_int_equal(strata_session_create(p, &s, &err), STRATA_OK);
    assert_int_equal(toy_latest->count, 2 + BRANCHES * (LENGTH + LENGTH / 2));
    assert_int_equal(longest_chain(toy_latest), 2 + LENGTH + LENGTH / 2);

    assert_int_equal(strata_session_alloc_outputs(s, out, &err), STRATA_OK);
    assert_int_equal(strata_session_run(s, &in, out, &err), STRATA_OK);
    for (int i = 0; i <= BRANCHES; i++) {
        const strata_tensor *want = value[((const strata_node *)strata_graph_output(g, i).node)->id];
        if (!(difference(want, out[i]) < 1e-5))
            fail_msg("output %d differs by %g", i, difference(want, out[i]));
        strata_tensor_unref(out[i]);
    }
    free_values(value, strata_graph_node_count(g));
    strata_tensor_unref(in);
    strata_session_destroy(s);
    strata_program_unref(p);
    strata_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_branches) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
