/* Batches in pieces: the same bits as images alone and as the batch at once, whatever the pieces, and the whole batch is
 * what callers see. Which batches may be cut: test_cut.c. */
#include "program_fixture.h"

#include <strata/nn.h>

#include <pthread.h>
#include <semaphore.h>

/* ---- Graphs ---------------------------------------------------------------------------------------------------- */

/* Something of everything that networks do to a batch: split attention with its reshapes, norms, a branch that is up-sampled,
 * channels that are cut and joined, a depthwise convolution behind an expansion, pools, maps and vectors as outputs. */
static strata_graph *network(int batch)
{
    strata_builder *b;
    strata_graph   *g;
    strata_error    err;
    assert_int_equal(strata_builder_create(ctx, "network", &b, &err), STRATA_OK);
    strata_node *x = nn_image(b, &(strata_model_args){ batch, 3, 33, 29, 10 });
    strata_node *y = nn_relu(b, nn_batch_norm(b, nn_conv2d(b, x, "stem", 16, 3, .stride = 2, .same = true), "bn"));
    nn_output(b, y, "stem");
    y = nn_max_pool(b, y, 3, .stride = 2, .pad = 1);
    strata_node *gate = nn_global_avg_pool(b, y); /* two radices of eight channels */
    gate = nn_transpose(b, nn_reshape(b, gate, batch, 1, 2, 8), 0, 2, 1, 3);
    gate = nn_reshape(b, nn_softmax(b, gate, 1), batch, 16, 1, 1);
    y    = nn_mul(b, y, gate);
    strata_node *half[2] = { nn_slice(b, y, 1, 0, 8), nn_slice(b, y, 1, 8, 16) };
    half[0] = nn_layer_norm(b, nn_conv2d(b, half[0], "left", 8, 7, .pad = 3, .groups = 8, .bias = true), "ln");
    half[1] = nn_grn(b, nn_gelu(b, half[1]), "grn");
    y = nn_concat(b, half, 2, 1);
    strata_node *low = nn_conv2d(b, nn_avg_pool(b, y, 2, .stride = 2), "low", 16, 3, .pad = 1);
    y = nn_relu(b, nn_add(b, y, nn_resize(b, low, nn_height(y), nn_width(y), STRATA_RESIZE_NEAREST)));
    strata_node *e = nn_silu(b, nn_conv2d(b, y, "expand", 24, 1, .bias = true));
    e = nn_relu6(b, nn_conv2d(b, e, "depthwise", 24, 3, .pad = 1, .groups = 24, .bias = true));
    y = nn_partial_add(b, nn_conv2d(b, e, "project", 20, 1), y);
    nn_output(b, y, "map");
    nn_output(b, nn_dense(b, nn_flatten(b, nn_global_avg_pool(b, y)), "classifier", 10), "logits");
    nn_output(b, x, "image");
    if (strata_builder_finish(b, &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    fill_constants(g, 7);
    return g;
}

enum { OUTPUTS = 4 };

static strata_session *session_of(strata_program *p, strata_tensor **out)
{
    strata_session *s;
    assert_int_equal(strata_session_create(p, &s, NULL), STRATA_OK);
    assert_int_equal(strata_session_alloc_outputs(s, out, NULL), STRATA_OK);
    return s;
}

static void release(strata_tensor **t, int n)
{
    for (int i = 0; i < n; i++)
        strata_tensor_unref(t[i]);
}

/* Image i of a batch is the same in every batch. */
static strata_tensor *images(int first, int count)
{
    strata_tensor      *t;
    strata_tensor_desc  desc = strata_desc_f32(4, (int64_t[]){ count, 3, 33, 29 });
    const size_t        size = 3 * 33 * 29;
    assert_int_equal(strata_tensor_create(&desc, &t, NULL), STRATA_OK);
    for (int i = 0; i < count; i++)
        strata_random_input((uint64_t)(first + i) + 1, (float *)strata_tensor_data(t) + (size_t)i * size, size);
    return t;
}

/* ---- The same bits ---------------------------------------------------------------------------------------------- */

/* Row i of each output against the one row of alone[i]. */
static void assert_rows(strata_tensor *const *out, strata_tensor *(*alone)[OUTPUTS], int batch)
{
    for (int k = 0; k < OUTPUTS; k++) {
        const size_t bytes = strata_bytes(strata_tensor_get_desc(alone[0][k]));
        assert_int_equal(strata_bytes(strata_tensor_get_desc(out[k])), (size_t)batch * bytes);
        for (int i = 0; i < batch; i++)
            assert_memory_equal((char *)strata_tensor_data(out[k]) + (size_t)i * bytes, strata_tensor_data(alone[i][k]), bytes);
    }
}

static void test_same_bits(void **state)
{
    (void)state;
    enum { MOST = 8 };
    strata_tensor  *alone[MOST][OUTPUTS], *out[OUTPUTS];
    strata_program *one = program_of(network(1), NULL);
    assert_int_equal(info_of(one).pieces, 1);
    for (int i = 0; i < MOST; i++) {
        strata_tensor  *in = images(i, 1);
        strata_session *s  = session_of(one, alone[i]);
        assert_int_equal(strata_session_run(s, &in, alone[i], NULL), STRATA_OK);
        strata_session_destroy(s);
        strata_tensor_unref(in);
    }
    strata_program_unref(one);

    static const struct { int batch, piece, pieces; } cases[] = { /* fewer images where the number does not divide the batch */
        { 5, 1, 5 }, { 5, 4, 5 }, { 5, 5, 1 }, { 5, 9, 1 }, { 6, 2, 3 }, { 6, 4, 2 }, { 8, 1, 8 }, { 8, 3, 4 }, { 8, 0, 0 } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const int       batch = cases[c].batch;
        strata_program *p  = program_of(network(batch), &(strata_program_options){ .piece = cases[c].piece, .threads = 1 + (int)c % 2 });
        strata_tensor  *in = images(0, batch);
        strata_session *s  = session_of(p, out);
        if (cases[c].pieces)
            assert_int_equal(info_of(p).pieces, cases[c].pieces);
        for (int again = 0; again < 2; again++) {
            for (int k = 0; k < OUTPUTS; k++)
                memset(strata_tensor_data(out[k]), 0xff, strata_bytes(strata_tensor_get_desc(out[k])));
            assert_int_equal(strata_session_run(s, &in, out, NULL), STRATA_OK);
            assert_rows(out, alone, batch);
        }
        strata_session_destroy(s);
        strata_program_unref(p);
        strata_tensor_unref(in);
        release(out, OUTPUTS);
    }
    for (int i = 0; i < MOST; i++)
        release(alone[i], OUTPUTS);
}

/* The bits are right, too: those of the definitions, within rounding. */
static void test_right_values(void **state)
{
    (void)state;
    strata_tensor  *out[OUTPUTS];
    strata_graph   *g     = network(4);
    strata_tensor **value = interpret(g, 3);
    strata_program *p     = program_of(network(4), &(strata_program_options){ .piece = 2 });
    strata_session *s     = session_of(p, out);
    strata_tensor  *in    = random_tensor(strata_graph_input(g, 0).desc, seed_of_name(3, "input"), -1, 1);
    assert_int_equal(info_of(p).pieces, 2);
    assert_int_equal(strata_session_run(s, &in, out, NULL), STRATA_OK);
    for (int k = 0; k < OUTPUTS; k++)
        assert_true(difference(value[((const strata_node *)strata_graph_output(g, k).node)->id], out[k]) < 1e-5);
    free_values(value, strata_graph_node_count(g));
    strata_session_destroy(s);
    strata_program_unref(p);
    strata_graph_destroy(g);
    strata_tensor_unref(in);
    release(out, OUTPUTS);
}

/* ---- What is told ------------------------------------------------------------------------------------------------- */

static void test_view_of_the_batch(void **state)
{
    (void)state;
    strata_tensor  *out[OUTPUTS], *in = images(0, 8);
    strata_program *p[2];
    uint64_t        macs[2] = { 0 };
    for (int whole = 0; whole < 2; whole++) {
        p[whole] = program_of(network(8), &(strata_program_options){ .piece = whole ? 8 : 1 });
        assert_int_equal(strata_graph_input(strata_program_graph(p[whole]), 0).desc->dim[0], 8);
        for (int k = 0; k < OUTPUTS; k++)
            assert_int_equal(strata_graph_output(strata_program_graph(p[whole]), k).desc->dim[0], 8);
        strata_session *s = session_of(p[whole], out);
        strata_session_enable_profile(s, true);
        assert_int_equal(strata_session_run(s, &in, out, NULL), STRATA_OK);
        const int pieces = strata_session_piece_count(s), steps = strata_session_step_count(s);
        assert_int_equal(pieces, whole ? 1 : 8);
        double end = 0, ms = 0, sum = 0;
        for (int i = 0; i < pieces * steps; i++) { /* one after the other */
            strata_step_profile step = strata_session_piece_step(s, i / steps, i % steps);
            assert_true(step.ms >= 0 && step.start_ms >= end - 1e-6);
            end = step.start_ms + step.ms;
            ms += step.ms;
        }
        for (int i = 0; i < steps; i++) {
            strata_step_profile step = strata_session_step(s, i);
            assert_true(step.start_ms == strata_session_piece_step(s, 0, i).start_ms);
            macs[whole] += step.macs;
            sum += step.ms;
        }
        assert_true(fabs(sum - ms) < 1e-6);
        strata_session_destroy(s);
        release(out, OUTPUTS);
    }
    assert_int_equal(macs[0], macs[1]);
    assert_int_equal(info_of(p[0]).steps, info_of(p[1]).steps);
    assert_int_equal(info_of(p[0]).tensor_bytes, info_of(p[1]).tensor_bytes);
    assert_int_equal(info_of(p[0]).weight_bytes, info_of(p[1]).weight_bytes);
    assert_true(info_of(p[0]).arena_bytes < info_of(p[1]).arena_bytes / 2);

    char         *text = NULL;
    size_t        size;
    FILE         *to = open_memstream(&text, &size);
    strata_graph *g;
    assert_int_equal(strata_program_print(p[0], to, NULL), STRATA_OK);
    fclose(to);
    assert_non_null(strstr(text, "# A batch of 8 in 8 pieces"));
    assert_non_null(strstr(text, "f32[1,3,33,29]"));
    assert_int_equal(strata_graph_parse(ctx, "plan", text, size, &g, NULL), STRATA_OK);
    strata_graph_destroy(g);
    free(text);
    strata_program_unref(p[0]);
    strata_program_unref(p[1]);
    strata_tensor_unref(in);
}

/* ---- Other devices ------------------------------------------------------------------------------------------------ */

/* What runs on two devices stays whole; the CPU that takes over from one cuts. */
static void test_other_devices(void **state)
{
    (void)state;
    strata_tensor  *in = images(0, 4), *truth[OUTPUTS], *out[OUTPUTS];
    strata_program *cpu = program_of(network(4), NULL);
    strata_program *mixed = program_of(network(4), &(strata_program_options){ .device = "toy", .piece = 1, .fallback_cpu = true });
    strata_session *s = session_of(cpu, truth);
    assert_int_equal(strata_session_run(s, &in, truth, NULL), STRATA_OK);
    strata_session_destroy(s);
    s = session_of(mixed, out);
    assert_int_equal(info_of(mixed).pieces, 1);
    assert_int_equal(strata_session_run(s, &in, out, NULL), STRATA_OK);
    for (int k = 0; k < OUTPUTS; k++)
        assert_true(difference(truth[k], out[k]) < 1e-5);
    toy_fails = true;
    assert_int_equal(strata_session_run(s, &in, out, NULL), STRATA_OK);
    toy_fails = false;
    assert_int_equal(strata_session_piece_count(s), 4);
    for (int k = 0; k < OUTPUTS; k++)
        assert_memory_equal(strata_tensor_data(truth[k]), strata_tensor_data(out[k]), strata_bytes(strata_tensor_get_desc(out[k])));
    strata_session_destroy(s);
    strata_program_unref(cpu);
    strata_program_unref(mixed);
    strata_tensor_unref(in);
    release(truth, OUTPUTS);
    release(out, OUTPUTS);
}

/* ---- Threads ------------------------------------------------------------------------------------------------------ */

typedef struct worker {
    strata_program *p;
    int             first;
    strata_tensor  *out[OUTPUTS];
} worker;

static void *work(void *arg)
{
    worker         *w  = arg;
    strata_session *s  = session_of(w->p, w->out);
    strata_tensor  *in = images(w->first, 4);
    for (int i = 0; i < 5; i++)
        if (strata_session_run(s, &in, w->out, NULL) != STRATA_OK)
            abort();
    strata_session_destroy(s);
    strata_tensor_unref(in);
    return NULL;
}

static void post(void *user, strata_status status, const strata_error *err)
{
    (void)err;
    if (status != STRATA_OK)
        abort();
    sem_post(user);
}

/* Sessions of one program on several threads, and a request in the background: each has its own rows. */
static void test_side_by_side(void **state)
{
    (void)state;
    strata_program *p = program_of(network(4), &(strata_program_options){ .threads = 2, .piece = 1 });
    worker          alone[3], together[3];
    pthread_t       thread[3];
    for (int i = 0; i < 3; i++) {
        alone[i] = together[i] = (worker){ .p = p, .first = 4 * i };
        work(&alone[i]);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &together[i]), 0);
    strata_tensor  *out[OUTPUTS], *in = images(8, 4);
    strata_session *s = session_of(p, out);
    sem_t           over;
    sem_init(&over, 0, 0);
    assert_int_equal(strata_session_submit(s, &in, out, post, &over, NULL), STRATA_OK);
    sem_wait(&over);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    for (int k = 0; k < OUTPUTS; k++) {
        const size_t bytes = strata_bytes(strata_tensor_get_desc(out[k]));
        for (int i = 0; i < 3; i++)
            assert_memory_equal(strata_tensor_data(alone[i].out[k]), strata_tensor_data(together[i].out[k]), bytes);
        assert_memory_equal(strata_tensor_data(alone[2].out[k]), strata_tensor_data(out[k]), bytes);
    }
    for (int i = 0; i < 3; i++)
        release(alone[i].out, OUTPUTS), release(together[i].out, OUTPUTS);
    release(out, OUTPUTS);
    strata_session_destroy(s);
    sem_destroy(&over);
    strata_tensor_unref(in);
    strata_program_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),     cmocka_unit_test(test_right_values),  cmocka_unit_test(test_view_of_the_batch),
        cmocka_unit_test(test_other_devices), cmocka_unit_test(test_side_by_side),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
