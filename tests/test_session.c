/* Programs and sessions: right values whatever the pipeline, many threads, requests in the background, wrong tensors;
 * and the boundary to a second backend, shown with a toy one that has memory of its own and few kernels. */
#include "program_fixture.h"

#include "../backends/cpu/simd.h"

#include <strata/nn.h>

#include <pthread.h>
#include <semaphore.h>

/* ---- Graphs and runs ---------------------------------------------------------------------------------------------- */

/* Branches, a view, a shared value, outputs of every kind: an inner map, an input, one value under two names. */
static strata_graph *branchy(int batch)
{
    strata_builder *b;
    strata_graph   *g;
    strata_error    err;
    assert_int_equal(strata_builder_create(ctx, "branchy", &b, &err), STRATA_OK);
    strata_node *x = nn_image(b, &(strata_model_args){ batch, 3, 19, 23, 10 });
    strata_node *y = nn_relu(b, nn_batch_norm(b, nn_conv2d(b, x, "conv1", 8, 3, .stride = 2, .same = true), "bn1"));
    nn_feature(b, y, "stem", 8, 2);
    strata_node *p = nn_silu(b, nn_conv2d(b, y, "left", 12, 1));
    strata_node *q = nn_relu(b, nn_conv2d(b, y, "right", 12, 3, .pad = 1, .groups = 4, .bias = true));
    strata_node *z = nn_add(b, p, q);
    strata_node *s = nn_sigmoid(b, nn_conv2d(b, nn_global_avg_pool(b, z), "gate", 12, 1, .bias = true));
    z = nn_mul(b, z, s);
    z = nn_relu(b, nn_conv2d(b, z, "last", 6, 3, .same = true));
    strata_node *logits = nn_dense(b, nn_flatten(b, nn_global_avg_pool(b, z)), "classifier", 10);
    nn_output(b, z, "map");
    nn_output(b, y, "stem");
    nn_output(b, z, "map again");
    nn_output(b, x, "image");
    nn_output(b, logits, "logits");
    if (strata_builder_finish(b, &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    fill_constants(g, 7);
    return g;
}

enum { OUTPUTS = 5 };

static strata_tensor *input_of(const strata_program *p, uint64_t seed)
{
    return random_tensor(strata_graph_input(strata_program_graph(p), 0).desc, seed_of_name(seed, "input"), -1, 1);
}

/* The outputs by the ops' definitions. */
static void expected(int batch, uint64_t seed, strata_tensor *out[OUTPUTS])
{
    strata_graph   *g     = branchy(batch);
    strata_tensor **value = interpret(g, seed);
    for (int i = 0; i < OUTPUTS; i++)
        out[i] = strata_tensor_ref(value[((const strata_node *)strata_graph_output(g, i).node)->id]);
    free_values(value, strata_graph_node_count(g));
    strata_graph_destroy(g);
}

static void release(strata_tensor **t, int n)
{
    for (int i = 0; i < n; i++)
        strata_tensor_unref(t[i]);
}

static void check(const strata_program_options *o, int batch)
{
    strata_error    err;
    strata_session *s;
    strata_program *p  = program_of(branchy(batch), o);
    strata_tensor  *in = input_of(p, 3), *out[OUTPUTS], *truth[OUTPUTS];
    expected(batch, 3, truth);
    assert_int_equal(strata_session_create(p, &s, &err), STRATA_OK);
    assert_int_equal(strata_session_alloc_outputs(s, out, &err), STRATA_OK);
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < OUTPUTS; i++)
            memset(strata_tensor_data(out[i]), 0xff, strata_bytes(strata_tensor_get_desc(out[i])));
        if (strata_session_run(s, &in, out, &err) != STRATA_OK)
            fail_msg("%s", err.text);
        for (int i = 0; i < OUTPUTS; i++)
            if (!(difference(truth[i], out[i]) < 1e-5))
                fail_msg("output %d differs by %g with pipeline '%s' on %s", i, difference(truth[i], out[i]),
                         o->pipeline ? o->pipeline : "default", o->device ? o->device : "cpu");
    }
    strata_session_destroy(s);
    strata_program_unref(p);
    strata_tensor_unref(in);
    release(out, OUTPUTS);
    release(truth, OUTPUTS);
}

static void test_values(void **state)
{
    (void)state;
    static const char *const pipelines[] = { NULL, "", "dce", "fold_bn fold_constants", "-fuse_act", "-fold_constants" };
    for (int i = 0; i < 6; i++)
        for (int batch = 1; batch <= 3; batch += 2)
            check(&(strata_program_options){ .pipeline = pipelines[i], .threads = 1 + i % 2 }, batch);
}

/* As placed, by name of kernel. */
static int count_kernels(const strata_program *p, const char *name)
{
    int count = 0;
    for (int i = 0; i < strata_graph_node_count(strata_program_graph(p)); i++) {
        const strata_node *n = strata_graph_node(strata_program_graph(p), i);
        count += n->kernel && strncmp(n->kernel->name, name, strlen(name)) == 0;
    }
    return count;
}

static strata_graph *wide(void)
{
    strata_builder   *b;
    strata_graph     *g;
    strata_error      err;
    strata_model_args args = { 1, 32, 28, 28, 1 };
    assert_int_equal(strata_builder_create(ctx, "wide", &b, &err), STRATA_OK);
    nn_output(b, nn_conv2d(b, nn_image(b, &args), "conv", 32, 3, .pad = 1), "y");
    assert_int_equal(strata_builder_finish(b, &g, &err), STRATA_OK);
    fill_constants(g, 7);
    return g;
}

static void test_exact(void **state)
{
    (void)state;
    strata_program *fast  = program_of(wide(), NULL);
    strata_program *exact = program_of(wide(), &(strata_program_options){ .exact = true });
    assert_int_equal(count_kernels(fast, "conv2d.winograd"), 1);
    assert_int_equal(count_kernels(exact, "conv2d.winograd"), 0);
    assert_int_equal(count_kernels(exact, "conv2d."), 1);
    strata_program_unref(fast);
    strata_program_unref(exact);
}

/* A convolution whose only reader is a depthwise one; or an output of the graph as well; or read by a sum as well. */
typedef enum reader { ONE_READER, AN_OUTPUT, TWO_READERS } reader;

static strata_graph *inverted(reader r)
{
    strata_builder *b;
    strata_graph   *g;
    strata_error    err;
    assert_int_equal(strata_builder_create(ctx, "inverted", &b, &err), STRATA_OK);
    strata_node *x = nn_image(b, &(strata_model_args){ 2, 5, 20, 22, 1 });
    strata_node *e = nn_silu(b, nn_conv2d(b, x, "expand", 24, 1, .bias = true));
    strata_node *d = nn_relu(b, nn_conv2d(b, e, "depthwise", 24, 3, .pad = 1, .groups = 24, .bias = true));
    strata_node *y = nn_conv2d(b, d, "project", 7, 1);
    nn_output(b, r == TWO_READERS ? nn_add(b, e, d) : y, "y");
    if (r == AN_OUTPUT)
        nn_output(b, e, "e");
    assert_int_equal(strata_builder_finish(b, &g, &err), STRATA_OK);
    fill_constants(g, 7);
    return g;
}

/* A step that computes its operand's node as well takes none that somebody else reads; values stay right. */
static void test_absorbed_nodes(void **state)
{
    (void)state;
    for (reader r = ONE_READER; r <= TWO_READERS; r++) {
        strata_graph   *g     = inverted(r);
        strata_tensor **value = interpret(g, 3);
        strata_program *p     = program_of(inverted(r), NULL);
        const int       count = strata_graph_output_count(g), absorbed = r == ONE_READER && cpu_simd_select()->fused;
        assert_int_equal(count_kernels(p, "absorbed"), absorbed);
        assert_int_equal(count_kernels(p, "conv2d.expand_depthwise"), absorbed);
        strata_tensor *in = input_of(p, 3), *out[2];
        strata_session *s;
        strata_error    err;
        assert_int_equal(strata_session_create(p, &s, &err), STRATA_OK);
        assert_int_equal(strata_session_alloc_outputs(s, out, &err), STRATA_OK);
        assert_int_equal(strata_session_run(s, &in, out, &err), STRATA_OK);
        uint64_t macs = 0, bytes = 0; /* what is absorbed is counted where it is done */
        for (int i = 0; i < strata_session_step_count(s); i++)
            macs += strata_session_step(s, i).macs, bytes += strata_session_step(s, i).bytes;
        assert_int_equal(macs, 2 * 440 * (r == TWO_READERS ? 5 * 24 + 24 * 9 : 5 * 24 + 24 * 9 + 24 * 7));
        assert_true(bytes > 0);
        for (int i = 0; i < count; i++) {
            const strata_tensor *t    = value[((const strata_node *)strata_graph_output(g, i).node)->id];
            const float         *want = strata_tensor_data(t), *got = strata_tensor_data(out[i]);
            for (int64_t k = 0; k < strata_count(strata_tensor_get_desc(t)); k++)
                assert_true(fabs((double)got[k] - (double)want[k]) < 1e-5);
        }
        free_values(value, strata_graph_node_count(g));
        release(out, count);
        strata_tensor_unref(in);
        strata_session_destroy(s);
        strata_program_unref(p);
        strata_graph_destroy(g);
    }
}

static void test_second_backend(void **state)
{
    (void)state;
    strata_program_info info;
    check(&(strata_program_options){ .device = "toy" }, 2);
    check(&(strata_program_options){ .device = "toy:0", .pipeline = "" }, 1);
    strata_program *p = program_of(branchy(1), &(strata_program_options){ .device = "toy:toy a", .pipeline = "" });
    strata_program_get_info(p, &info);
    assert_true(info.parts > 3);
    assert_true(info.fallback_steps > 3);
    assert_non_null(strstr(info.device, "toy:0 Toy A"));
    strata_program_unref(p);
}

static void test_wrong_devices(void **state)
{
    (void)state;
    static const struct { const char *device, *words; } cases[] = {
        { "tpu", "no backend 'tpu'; it has: cpu, toy" }, { "toy:7", "There is: toy:0 Toy A; toy:1 Toy B, unusable" },
        { "toy:1", "cannot be used: it is broken" },     { "toy:toy", "fits 2 devices" },
        { ":0", "no device" },                           { "cpu:3", "no device fits" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        strata_error    err;
        strata_program *p;
        assert_int_equal(strata_program_create(branchy(1), &(strata_program_options){ .device = cases[i].device }, &p, &err),
                         STRATA_DEVICE);
        if (!strstr(err.text, cases[i].words))
            fail_msg("'%s' does not say '%s'", err.text, cases[i].words);
    }
    strata_error    err;
    strata_program *p;
    assert_int_equal(strata_program_create(branchy(1), &(strata_program_options){ .device = "toy", .strict_device = true }, &p, &err),
                     STRATA_DEVICE);
    assert_non_null(strstr(err.text, "has no kernel for"));
    assert_int_equal(strata_program_create(branchy(1), &(strata_program_options){ .device = "toy", .precision = STRATA_F16 }, &p, &err),
                     STRATA_DEVICE);
    assert_non_null(strstr(err.text, "has no values of f16"));
    assert_int_equal(strata_program_create(branchy(1), &(strata_program_options){ .threads = -1 }, &p, &err), STRATA_INVALID);
    p = program_of(branchy(1), &(strata_program_options){ .device = "auto" }); /* a software device is never chosen */
    strata_program_info info;
    strata_program_get_info(p, &info);
    assert_non_null(strstr(info.device, "cpu:0"));
    assert_int_equal(info.fallback_steps, 0);
    strata_program_unref(p);
}

static void test_wrong_tensors(void **state)
{
    (void)state;
    strata_error    err;
    strata_session *s;
    strata_program *p  = program_of(branchy(1), NULL);
    strata_tensor  *in = input_of(p, 1), *out[OUTPUTS], *other, *none = NULL;
    assert_int_equal(strata_session_create(p, &s, &err), STRATA_OK);
    assert_int_equal(strata_session_alloc_outputs(s, out, &err), STRATA_OK);
    other = random_tensor(&(strata_tensor_desc){ .rank = 4, .dim = { 1, 3, 19, 22 } }, 1, 0, 1);
    assert_int_equal(strata_session_run(s, &other, out, &err), STRATA_SHAPE);
    assert_non_null(strstr(err.text, "[1,3,19,22]"));
    assert_int_equal(strata_session_run(s, &none, out, &err), STRATA_INVALID);
    strata_tensor *same[OUTPUTS];
    memcpy(same, out, sizeof same);
    same[2] = out[0];
    assert_int_equal(strata_session_run(s, &in, same, &err), STRATA_INVALID);
    memcpy(same, out, sizeof same);
    same[3] = in;
    assert_int_equal(strata_session_run(s, &in, same, &err), STRATA_INVALID);
    strata_session_destroy(s);
    strata_program_unref(p);
    strata_tensor_unref(in);
    strata_tensor_unref(other);
    release(out, OUTPUTS);

    strata_graph *g = branchy(1); /* no weights */
    for (int i = 0; i < strata_graph_node_count(g); i++)
        strata_node_set_data(strata_graph_node(g, i), NULL);
    assert_int_equal(strata_program_create(g, NULL, &p, &err), STRATA_WEIGHTS);
    assert_non_null(strstr(err.text, "has no data"));
}

/* ---- Threads ------------------------------------------------------------------------------------------------------ */

typedef struct worker { strata_program *p; strata_tensor *out[OUTPUTS]; uint64_t seed; } worker;

static void *work(void *arg)
{
    worker         *w  = arg;
    strata_tensor  *in = input_of(w->p, w->seed);
    strata_session *s  = NULL;
    if (strata_session_create(w->p, &s, NULL) != STRATA_OK || strata_session_alloc_outputs(s, w->out, NULL) != STRATA_OK)
        abort();
    for (int i = 0; i < 20; i++)
        if (strata_session_run(s, &in, w->out, NULL) != STRATA_OK)
            abort();
    strata_session_destroy(s);
    strata_tensor_unref(in);
    return NULL;
}

static void test_sessions_side_by_side(void **state)
{
    (void)state;
    for (int toys = 0; toys < 2; toys++) {
        strata_program *p = program_of(branchy(2), &(strata_program_options){ .threads = 2, .device = toys ? "toy" : NULL });
        worker          alone[3], together[3];
        pthread_t       thread[3];
        for (int i = 0; i < 3; i++) {
            alone[i] = together[i] = (worker){ .p = p, .seed = (uint64_t)i };
            work(&alone[i]);
        }
        for (int i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, work, &together[i]), 0);
        for (int i = 0; i < 3; i++)
            pthread_join(thread[i], NULL);
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < OUTPUTS; k++)
                assert_memory_equal(strata_tensor_data(alone[i].out[k]), strata_tensor_data(together[i].out[k]),
                                    strata_bytes(strata_tensor_get_desc(alone[i].out[k])));
            release(alone[i].out, OUTPUTS);
            release(together[i].out, OUTPUTS);
        }
        strata_program_unref(p);
    }
}

typedef struct chain { /* requests that start each other */
    strata_session *s;
    strata_tensor  *in, *out[OUTPUTS];
    int             left;
    strata_status   status;
    sem_t           over;
} chain;

static void next(void *user, strata_status status, const strata_error *err)
{
    (void)err;
    chain *c  = user;
    c->status = status;
    if (status != STRATA_OK || --c->left == 0 || strata_session_submit(c->s, &c->in, c->out, next, c, NULL) != STRATA_OK)
        sem_post(&c->over);
}

static void test_requests_in_the_background(void **state)
{
    (void)state;
    for (int toys = 0; toys < 2; toys++) {
        strata_error    err;
        strata_program *p = program_of(branchy(1), &(strata_program_options){ .device = toys ? "toy" : NULL });
        chain           c = { .in = input_of(p, 3), .left = 10 };
        strata_tensor  *truth[OUTPUTS];
        expected(1, 3, truth);
        sem_init(&c.over, 0, 0);
        assert_int_equal(strata_session_create(p, &c.s, &err), STRATA_OK);
        assert_int_equal(strata_session_alloc_outputs(c.s, c.out, &err), STRATA_OK);
        assert_int_equal(strata_session_submit(c.s, &c.in, c.out, next, &c, &err), STRATA_OK);
        sem_wait(&c.over);
        assert_int_equal(c.status, STRATA_OK);
        assert_int_equal(c.left, 0);
        for (int i = 0; i < OUTPUTS; i++)
            assert_true(difference(truth[i], c.out[i]) < 1e-5);

        if (toys) { /* a failing part ends the request with its error, and the session lives on */
            toy_fails = true;
            assert_int_equal(strata_session_run(c.s, &c.in, c.out, &err), STRATA_DEVICE);
            assert_non_null(strstr(err.text, "the toy is lost"));
            toy_fails = false;
            assert_int_equal(strata_session_run(c.s, &c.in, c.out, &err), STRATA_OK);
        }
        /* destroying waits for what runs */
        c.left = 1;
        assert_int_equal(strata_session_submit(c.s, &c.in, c.out, next, &c, &err), STRATA_OK);
        strata_session_destroy(c.s);
        assert_int_equal(sem_trywait(&c.over), 0);
        sem_destroy(&c.over);
        strata_program_unref(p);
        strata_tensor_unref(c.in);
        release(c.out, OUTPUTS);
        release(truth, OUTPUTS);
    }
}

/* Asking a backend what it has may load drivers: nobody waits for those of a backend that was not named. */
static void test_only_the_named_backend_is_asked(void **state)
{
    (void)state;
    static const char *const named[] = { NULL, "cpu", "cpu:0", "toy" };
    for (int i = 0; i < 4; i++) {
        toy_asked = 0;
        strata_program_unref(program_of(branchy(1), &(strata_program_options){ .device = named[i] }));
        assert_int_equal(toy_asked > 0, named[i] && strcmp(named[i], "toy") == 0);
    }
}

static void test_profile_and_plan(void **state)
{
    (void)state;
    strata_error    err;
    strata_session *s;
    strata_program *p  = program_of(branchy(1), NULL);
    strata_tensor  *in = input_of(p, 3), *out[OUTPUTS];
    assert_int_equal(strata_session_create(p, &s, &err), STRATA_OK);
    assert_int_equal(strata_session_alloc_outputs(s, out, &err), STRATA_OK);
    strata_session_enable_profile(s, true);
    assert_int_equal(strata_session_run(s, &in, out, &err), STRATA_OK);
    double end = 0;
    for (int i = 0; i < strata_session_step_count(s); i++) {
        strata_step_profile step = strata_session_step(s, i);
        assert_true(step.ms >= 0 && step.start_ms >= end - 1e-6 && step.bytes > 0);
        end = step.start_ms + step.ms;
    }
    assert_true(end > 0);
    char  *text = NULL;
    size_t size;
    FILE  *to = open_memstream(&text, &size);
    assert_int_equal(strata_program_print(p, to, &err), STRATA_OK);
    fclose(to);
    assert_non_null(strstr(text, "# cpu conv2d."));
    strata_graph *g; /* comments are no part of the meaning */
    assert_int_equal(strata_graph_parse(ctx, "plan", text, size, &g, &err), STRATA_OK);
    strata_graph_destroy(g);
    free(text);
    strata_session_destroy(s);
    strata_program_unref(p);
    strata_tensor_unref(in);
    release(out, OUTPUTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_absorbed_nodes),
        cmocka_unit_test(test_second_backend),
        cmocka_unit_test(test_wrong_devices),
        cmocka_unit_test(test_wrong_tensors),
        cmocka_unit_test(test_sessions_side_by_side),
        cmocka_unit_test(test_requests_in_the_background),
        cmocka_unit_test(test_only_the_named_backend_is_asked),
        cmocka_unit_test(test_profile_and_plan),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
