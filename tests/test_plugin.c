/* Plug-ins: what they register works like what is built in; what is wrong with them is refused with a sentence, and
 * leaves the context as it was. Linked with the shared library, as the plug-ins are. */
#include "fixture.h"
#include "interpret.h"

#include <strata/plugin.h>

/* ---- What a context knows ------------------------------------------------------------------------------------------ */

static void count_device(void *user, const strata_device_info *info)
{
    (void)info;
    ++*(int *)user;
}

typedef struct knowledge { int models, passes, devices, plugins; bool twice, blur_pool; } knowledge;

static knowledge what_it_knows(void)
{
    knowledge k = { .models = strata_list_models(ctx, NULL, false, NULL, NULL),
                    .passes = strata_list_passes(ctx, NULL, NULL), .plugins = strata_list_plugins(ctx, NULL, NULL),
                    .twice = strata_find_op(ctx, "twice"), .blur_pool = strata_find_op(ctx, "blur_pool") };
    strata_list_devices(ctx, count_device, &k.devices);
    return k;
}

static void assert_same_knowledge(knowledge a, knowledge b)
{
    assert_int_equal(a.models, b.models);
    assert_int_equal(a.passes, b.passes);
    assert_int_equal(a.devices, b.devices);
    assert_int_equal(a.plugins, b.plugins);
    assert_int_equal(a.twice, b.twice);
    assert_int_equal(a.blur_pool, b.blur_pool);
}

static void load(const char *path)
{
    strata_error err;
    if (strata_load_plugin(ctx, path, &err) != STRATA_OK)
        fail_msg("%s", err.text);
}

static strata_graph *parse(const char *text)
{
    strata_error  err;
    strata_graph *g;
    if (strata_graph_parse(ctx, "test", text, strlen(text), &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return g;
}

/* ---- Plug-ins that are right --------------------------------------------------------------------------------------- */

static void note_plugin(void *user, const strata_plugin_info *info) { *(strata_plugin_info *)user = *info; }

static void test_parts(void **state)
{
    (void)state;
    strata_plugin_info info;
    knowledge          before = what_it_knows();
    load(OP_PLUGIN);
    assert_int_equal(strata_list_plugins(ctx, note_plugin, &info), 1);
    assert_string_equal(info.name, "blur_pool");
    assert_string_equal(info.path, OP_PLUGIN);
    assert_non_null(info.cases[0]);
    assert_int_equal(info.part_count, 3);
    assert_int_equal(info.parts[0].kind, STRATA_PART_OP);
    assert_ptr_equal(info.parts[0].def, strata_find_op(ctx, "blur_pool"));
    assert_int_equal(info.parts[1].kind, STRATA_PART_KERNEL);
    assert_string_equal(info.parts[1].name, "blur_pool.rows");
    assert_string_equal(info.parts[1].backend, "cpu");
    assert_string_equal(info.parts[2].name, "blur_pool.window");
    assert_string_equal(info.parts[2].backend, "vulkan");

    load(OP_PLUGIN); /* again: nothing happens */
    assert_int_equal(strata_list_plugins(ctx, NULL, NULL), 1);
    load(MODEL_PLUGIN);
    load(PASS_PLUGIN);
    load(BACKEND_PLUGIN);
    knowledge after = what_it_knows();
    assert_int_equal(after.models, before.models + 2);
    assert_int_equal(after.passes, before.passes + 1);
    assert_int_equal(after.devices, before.devices + 1);
    assert_int_equal(after.plugins, 4);
    strata_list_plugins(ctx, note_plugin, &info); /* the last one */
    assert_int_equal(info.part_count, 1);
    assert_string_equal(info.parts[0].name, "trace");
}

/* blur_pool of an impulse, by the paper: the outer product of [1,2,1]/4, sampled at even places. At a corner the
 * reflection doubles the neighbours: a constant map stays constant. */
static void test_op_computes(void **state)
{
    (void)state;
    load(OP_PLUGIN);
    strata_error    err;
    strata_program *p;
    strata_session *s;
    strata_graph   *g = parse("graph \"g\" { input %x : f32[1,2,5,5]  %y = blur_pool(%x) : f32[1,2,3,3]  output \"y\" = %y }");
    uint64_t        params, macs;
    strata_graph_cost(g, &params, &macs);
    assert_int_equal(macs, 9 * 2 * 3 * 3);
    assert_int_equal(strata_program_create(g, NULL, &p, &err), STRATA_OK);
    bool ours = false;
    for (int i = 0; i < strata_graph_node_count(strata_program_graph(p)); i++) {
        const strata_node *n = strata_graph_node(strata_program_graph(p), i);
        ours |= n->kernel && strcmp(n->kernel->name, "blur_pool.rows") == 0;
    }
    assert_true(ours);
    strata_tensor_desc in_desc = strata_desc_f32(4, (int64_t[]){ 1, 2, 5, 5 });
    strata_tensor     *in, *out;
    assert_int_equal(strata_tensor_create(&in_desc, &in, &err), STRATA_OK);
    float *x = strata_tensor_data(in);
    x[2 * 5 + 2] = 16;                 /* channel 0: an impulse at (2, 2) */
    x[1 * 5 + 4] = 32;                 /* and one at (1, 4), between two rows of results */
    for (int i = 25; i < 50; i++)      /* channel 1: constant */
        x[i] = 3;
    assert_int_equal(strata_session_create(p, &s, &err), STRATA_OK);
    assert_int_equal(strata_session_alloc_outputs(s, &out, &err), STRATA_OK);
    assert_int_equal(strata_session_run(s, &in, &out, &err), STRATA_OK);
    /* Row 0 is reflected: row -1 is row 1, so the impulse there counts twice 1/4; likewise nothing beyond column 4. */
    static const float want[9] = { 0, 0, 32 * 0.5f * 0.5f, 0, 16 * 0.25f, 32 * 0.25f * 0.5f, 0, 0, 0 };
    const float       *y = strata_tensor_data(out);
    for (int i = 0; i < 9; i++) {
        assert_true(y[i] == want[i]);
        assert_true(y[9 + i] == 3);
    }
    strata_session_destroy(s);
    strata_program_unref(p);
    strata_tensor_unref(in);
    strata_tensor_unref(out);
}

static void test_attributes_are_checked(void **state)
{
    (void)state;
    load(OP_PLUGIN);
    static const struct { const char *line, *says; } cases[] = {
        { "blur_pool(%x) {stride=9} : f32[1,2,1,1]", "stride is 9; it must be in 1..8" },
        { "blur_pool(%x) {strid=1} : f32[1,2,5,5]", "strid" },
        { "blur_pool(%x) {stride=[1,2]} : f32[1,2,5,5]", "blur_pool gives f32[1,2,5,3]" },
        { "blur_poll(%x) : f32[1,2,3,3]", "nearest: blur_pool" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char          text[256];
        strata_error  err;
        strata_graph *g;
        snprintf(text, sizeof text, "graph \"g\" {\n input %%x : f32[1,2,5,5]\n %%y = %s\n output \"y\" = %%y }", cases[i].line);
        assert_int_not_equal(strata_graph_parse(ctx, "test", text, strlen(text), &g, &err), STRATA_OK);
        if (!strstr(err.text, cases[i].says) || !strstr(err.text, "test:3:"))
            fail_msg("'%s' does not say '%s'", err.text, cases[i].says);
    }
}

static strata_status note_pass(void *user, const char *pass, const strata_graph *g, bool changed, double ms, strata_error *err)
{
    (void)g, (void)changed, (void)ms, (void)err;
    strcat(strcat(user, pass), " ");
    return STRATA_OK;
}

static void test_pass_in_pipelines(void **state)
{
    (void)state;
    static const struct { const char *pipeline, *ran; } cases[] = {
        { "+fuse_silu", "fuse_silu dce cse lower_dense fold_bn fold_scale repvgg fold_constants fuse_act " },
        { "+fuse_silu -dce -repvgg", "fuse_silu cse lower_dense fold_bn fold_scale fold_constants fuse_act " },
        { "dce fuse_silu", "dce fuse_silu " },
        { "dce +fuse_silu", "dce fuse_silu " },
    };
    load(PASS_PLUGIN);
    strata_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char          ran[256] = "";
        strata_graph *g = parse("graph \"g\" { input %x : f32[2,3]  %s = sigmoid(%x) : f32[2,3]  %y = mul(%x, %s) : f32[2,3]"
                                "  output \"y\" = %y }");
        assert_int_equal(strata_graph_run_passes(g, cases[i].pipeline, note_pass, ran, &err), STRATA_OK);
        assert_string_equal(ran, cases[i].ran);
        assert_ptr_equal(strata_graph_find(g, "y")->op, &strata_op_silu);
        assert_null(strata_graph_find(g, "s"));
        strata_graph_destroy(g);
    }
    strata_graph *g = parse("graph \"g\" { input %x : f32[2,3]  %y = relu(%x) : f32[2,3]  output \"y\" = %y }");
    assert_int_equal(strata_graph_run_passes(g, "+fuse_sily", NULL, NULL, &err), STRATA_NOT_FOUND);
    assert_non_null(strstr(err.text, "fuse_silu"));
    strata_graph_destroy(g);
}

/* Three whole networks on the tracing backend, whose kernels are the definitions, and on the CPU. */
static void test_backend_runs_models(void **state)
{
    (void)state;
    load(BACKEND_PLUGIN);
    load(MODEL_PLUGIN);
    static const char *const names[] = { "dummynet3", "stairs_tiny", "mobilenet_v3_small_100" };
    for (int m = 0; m < 3; m++) {
        strata_tensor *out[2][32] = { { NULL } };
        int            outputs = 0;
        for (int d = 0; d < 2; d++) {
            const strata_create_options how = { .features_only = true, .height = 64, .width = 64, .batch = 2 };
            strata_error    err;
            strata_graph   *g;
            strata_program *p;
            strata_session *s;
            strata_tensor  *in;
            if (strata_create_model(ctx, names[m], &how, &g, &err) != STRATA_OK ||
                strata_graph_bind_random(g, 1, 2, &err) != STRATA_OK ||
                strata_program_create(g, &(strata_program_options){ .device = d ? "trace" : "cpu" }, &p, &err) != STRATA_OK)
                fail_msg("%s", err.text);
            in = random_tensor(strata_graph_input(strata_program_graph(p), 0).desc, 5, -1, 1);
            assert_int_equal(strata_session_create(p, &s, &err), STRATA_OK);
            assert_int_equal(strata_session_alloc_outputs(s, out[d], &err), STRATA_OK);
            assert_int_equal(strata_session_run(s, &in, out[d], &err), STRATA_OK);
            outputs = strata_graph_output_count(strata_program_graph(p));
            strata_session_destroy(s);
            strata_program_unref(p);
            strata_tensor_unref(in);
        }
        assert_true(outputs >= 2 && outputs <= 32);
        for (int i = 0; i < outputs; i++) {
            if (!(difference(out[1][i], out[0][i]) < 1e-4))
                fail_msg("%s: output %d differs by %g", names[m], i, difference(out[1][i], out[0][i]));
            strata_tensor_unref(out[0][i]);
            strata_tensor_unref(out[1][i]);
        }
    }
}

/* ---- Plug-ins that are wrong --------------------------------------------------------------------------------------- */

static void log_line(void *user, strata_log_level level, const char *text)
{
    (void)level, (void)text;
    ++*(int *)user;
}

static void test_refusals(void **state)
{
    (void)state;
    char version[64];
    snprintf(version, sizeof version, "this library is Strata %s, interface %d.", strata_version(), STRATA_ABI_VERSION);
    const struct { const char *file; strata_status status; const char *says, *and; } cases[] = {
        { "abi.so", STRATA_FORMAT, "headers of Strata 9.9.9, plug-in interface 2.", version },
        { "size.so", STRATA_FORMAT, "headers, of Strata 0.0.9: its strata_error has 12 bytes", strata_version() },
        { "half.so", STRATA_INVALID, "op 'relu' is registered already", "half.so" },
        { "silent.so", STRATA_NOMEM, "out of host or device memory", "silent.so" },
        { "symbol.so", STRATA_IO, "strata_of_tomorrow", "symbol.so" },
        { "nameless.so", STRATA_FORMAT, "it defines no 'strata_plugin'", "nameless.so" },
        { "broken.c", STRATA_IO, "cannot load plug-in", "broken.c" },
        { "absent.so", STRATA_IO, "No such file", "absent.so" },
    };
    int  lines = 0;
    strata_set_log(ctx, log_line, &lines);
    load(OP_PLUGIN); /* what was there stays */
    knowledge before = what_it_knows();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char         path[1024];
        strata_error err = { 0 };
        snprintf(path, sizeof path, "%s/%s", strcmp(cases[i].file, "broken.c") ? BROKEN_PLUGINS : PLUGIN_SOURCES, cases[i].file);
        assert_int_equal(strata_load_plugin(ctx, path, &err), cases[i].status);
        if (!strstr(err.text, cases[i].says) || !strstr(err.text, cases[i].and))
            fail_msg("%s: '%s' does not say '%s' and '%s'", cases[i].file, err.text, cases[i].says, cases[i].and);
        assert_int_equal(strata_load_plugin(ctx, path, NULL), cases[i].status);
        assert_same_knowledge(before, what_it_knows());
    }
    assert_int_equal(strata_load_plugin(ctx, "", NULL), STRATA_INVALID);
    strata_log(ctx, STRATA_LOG_INFO, "the log is the caller's again");
    assert_int_equal(lines, 1);
    load(BROKEN_PLUGINS "/caseless.so"); /* its parts are those that half.so had registered before it failed */
    assert_true(what_it_knows().twice);
}

static void test_versions(void **state)
{
    (void)state;
    assert_string_equal(STRATA_VERSION_TEXT, strata_version());
}

/* ---- Definitions that are incomplete ------------------------------------------------------------------------------- */

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    (void)n, (void)out, (void)err;
    return STRATA_OK;
}
static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n, (void)in, (void)out;
    return STRATA_OK;
}
static void build(strata_builder *b, const void *config, const strata_model_args *args) { (void)b, (void)config, (void)args; }
static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)s, (void)f, (void)err;
    return STRATA_OK;
}

static void refused(strata_status status, const strata_error *err, const char *says)
{
    assert_int_equal(status, STRATA_INVALID);
    if (!strstr(err->text, says))
        fail_msg("'%s' does not say '%s'", err->text, says);
}

static void test_incomplete_definitions(void **state)
{
    (void)state;
    static const strata_attr_def outside[] = { { "a", STRATA_ATTR_INT4, 4, 0, 1, 0, "", NULL }, { 0 } };
    static const strata_attr_def unnamed[] = { { "a", STRATA_ATTR_ENUM, 0, 0, 1, 0, "", NULL }, { 0 } };
    static const strata_attr_def beyond[] = { { "a", STRATA_ATTR_INT, 0, 1, 8, 9, "", NULL }, { 0 } };
    static const strata_attr_def typeless[] = { { "a", (strata_attr_type)99, 0, 1, 8, 2, "", NULL }, { 0 } };
    const struct { strata_op_def def; const char *says; } ops[] = {
        { { .operands = { { "x" } }, .infer = infer, .eval = eval }, "op 'without a name'" },
        { { .name = "a b", .operands = { { "x" } }, .infer = infer, .eval = eval }, "op 'a b' must be of letters" },
        { { .name = "relu", .operands = { { "x" } }, .infer = infer, .eval = eval }, "registered already" },
        { { .name = "o", .operands = { { "x" } }, .infer = infer }, "needs infer and eval" },
        { { .name = "o", .operands = { { "x" } }, .eval = eval }, "needs infer and eval" },
        { { .name = "o", .infer = infer, .eval = eval }, "needs an operand" },
        { { .name = "o", .flags = STRATA_OP_SOURCE }, "cannot be a source" },
        { { .name = "o", .operands = { { "x" } }, .infer = infer, .eval = eval, .attrs = outside, .attr_size = 16 }, "outside" },
        { { .name = "o", .operands = { { "x" } }, .infer = infer, .eval = eval, .attrs = unnamed, .attr_size = 4 }, "no names" },
        { { .name = "o", .operands = { { "x" } }, .infer = infer, .eval = eval, .attrs = beyond, .attr_size = 4 }, "the default" },
        { { .name = "o", .operands = { { "x" } }, .infer = infer, .eval = eval, .attrs = typeless, .attr_size = 4 }, "outside" },
    };
    strata_error err;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        refused(strata_register_op(ctx, &ops[i].def, &err), &err, ops[i].says);
    refused(strata_register_op(ctx, NULL, &err), &err, "op");
    refused(strata_register_pass(ctx, &(strata_pass_def){ .name = "p" }, &err), &err, "exactly one of run and rewrite");
    refused(strata_register_pass(ctx, NULL, &err), &err, "pass");

    const strata_input_record good = { 8, 8, 3, { 0 }, { 1, 1, 1 }, STRATA_BILINEAR, 1 };
    strata_input_record       flat = good, empty = good;
    flat.std[1] = 0, empty.width = 0;
    refused(strata_register_model(ctx, &(strata_model_def){ .name = "m", .family = "f", .input = good, .classes = 1 }, &err),
            &err, "build function");
    refused(strata_register_model(ctx, &(strata_model_def){ .name = "m", .family = "f", .build = build, .input = flat,
                                                            .classes = 1 }, &err), &err, "input.std");
    refused(strata_register_model(ctx, &(strata_model_def){ .name = "m", .family = "f", .build = build, .input = empty,
                                                            .classes = 1 }, &err), &err, "input size");
    refused(strata_register_kernel(ctx, "cpu", &(strata_kernel_def){ .name = "k", .op = &strata_op_relu, .emit = emit }, &err),
            &err, "needs an op, layouts and emit");
    refused(strata_register_backend(ctx, &(strata_backend_def){ .name = "b" }, &err), &err, "every one is mandatory");
    assert_int_equal(strata_register_kernel(ctx, "tpu", &(strata_kernel_def){ .name = "k", .op = &strata_op_relu, .layouts = 1,
                                                                              .emit = emit }, &err), STRATA_NOT_FOUND);
    assert_non_null(strstr(err.text, "no backend is named 'tpu'"));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_parts),           EACH(test_op_computes),  EACH(test_attributes_are_checked), EACH(test_pass_in_pipelines),
        EACH(test_backend_runs_models), EACH(test_refusals), EACH(test_versions),               EACH(test_incomplete_definitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
