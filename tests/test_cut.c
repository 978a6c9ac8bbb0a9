/* Which batches run in pieces, and in how many: whole where images have to do with each other, or an op says nothing. */
#include "program_fixture.h"

/* ---- Ops of a user --------------------------------------------------------------------------------------------- */

static strata_status as_operand(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    (void)n, (void)out, (void)err;
    return STRATA_OK;
}

static strata_status twice(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    for (int64_t i = 0; i < strata_count(out->desc); i++)
        out->data[i] = 2 * in[0].data[i];
    return STRATA_OK;
}

typedef struct count_attrs { int images; } count_attrs;
static const strata_attr_def count_rows[] = {
    { "images", STRATA_ATTR_INT, offsetof(count_attrs, images), 1, 1 << 20, 1, "of x" }, { 0 } };

static strata_status as_many(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const int wanted = ((const count_attrs *)n->attrs)->images;
    return out->dim[0] == wanted ? STRATA_OK
                                 : strata_fail(err, STRATA_SHAPE, "%d images, not %lld", wanted, (long long)out->dim[0]);
}

static bool set_count(const strata_node *n, int64_t rows, void *attrs)
{
    (void)n;
    ((count_attrs *)attrs)->images = (int)rows;
    return true;
}

static const strata_op_def silent = { .name = "silent", .doc = "2x, and not a word about rows.", .operands = { { "x" } },
                                      .infer = as_operand, .eval = twice },
                           rowwise = { .name = "rowwise", .doc = "2x.", .operands = { { "x" } }, .flags = STRATA_OP_ROWS,
                                       .infer = as_operand, .eval = twice },
                           counted = { .name = "counted", .doc = "2x.", .operands = { { "x" } }, .attrs = count_rows,
                                       .attr_size = sizeof(count_attrs), .infer = as_many, .set_rows = set_count, .eval = twice },
                           /* says that rows are rows, and cannot be made for fewer */
                           stubborn = { .name = "stubborn", .doc = "2x.", .operands = { { "x" } }, .attrs = count_rows,
                                        .attr_size = sizeof(count_attrs), .flags = STRATA_OP_ROWS, .infer = as_many, .eval = twice };

static int register_ops(void **state)
{
    static const strata_op_def *const ops[] = { &silent, &rowwise, &counted, &stubborn };
    int failed = set_up(state);
    for (int i = 0; i < 4; i++)
        failed |= strata_register_op(ctx, ops[i], NULL) != STRATA_OK;
    return failed;
}

/* ---- What keeps a batch whole ------------------------------------------------------------------------------------ */

/* %x is [4,6,5,3]; `lines` end with %y. */
static const struct { const char *lines; int pieces; } lone_cases[] = {
    { "%y = relu(%x) : f32[4,6,5,3]", 4 },
    { "%y = softmax(%x) {axis=0} : f32[4,6,5,3]", 1 },
    { "%y = softmax(%x) {axis=3} : f32[4,6,5,3]", 4 },
    { "%y = slice(%x) {axis=0, begin=1, end=3} : f32[2,6,5,3]", 1 },
    { "%y = slice(%x) {axis=2, begin=1, end=3} : f32[4,6,2,3]", 4 },
    { "%y = concat(%x, %x) {axis=0} : f32[8,6,5,3]", 1 },
    { "%y = concat(%x, %x) {axis=3} : f32[4,6,5,6]", 4 },
    { "%y = transpose(%x) {perm=[1,0,2,3]} : f32[6,4,5,3]", 1 },
    { "%y = transpose(%x) {perm=[0,3,1,2]} : f32[4,3,6,5]", 4 },
    { "%y = pad(%x) {before=[1,0,0,0], after=[0,0,0,0]} : f32[5,6,5,3]", 1 },
    { "%y = pad(%x) {before=[0,1,0,2], after=[0,0,0,0]} : f32[4,7,5,5]", 4 },
    { "%y = reshape(%x) {shape=[4,90]} : f32[4,90]", 4 },
    { "%y = reshape(%x) {shape=[8,45]} : f32[8,45]", 1 },
    { "%f = reshape(%x) {shape=[24,15]} : f32[24,15]\n  %y = reshape(%f) {shape=[4,6,5,3]} : f32[4,6,5,3]", 1 },
    /* an output that is no image's: rows of a constant */
    { "const @c : f32[4,6,5,3]\n  %y = add(%x, @c) : f32[4,6,5,3]", 1 },
    { "const @c : f32[1,6,5,3]\n  %y = mul(%x, @c) : f32[4,6,5,3]", 4 },
    { "param @w : f32[4,6,1,1]\n  %y = conv2d(%x, @w) : f32[4,4,5,3]", 4 }, /* as many rows as images, by chance */
    { "param @w : f32[6,6,1,1]\n  const @r : f32[4,6,5,3]\n  %y = conv2d(%x, @w, _, @r) : f32[4,6,5,3]", 1 },
    { "%y = silent(%x) : f32[4,6,5,3]", 1 },
    { "%y = rowwise(%x) : f32[4,6,5,3]", 4 },
    { "%y = counted(%x) {images=4} : f32[4,6,5,3]", 4 },
    { "%y = stubborn(%x) {images=4} : f32[4,6,5,3]", 1 },
    { "input %z : f32[4,6,5,3]\n  %y = sub(%x, %z) : f32[4,6,5,3]", 4 },
    { "input %z : f32[1,6,5,3]\n  %y = sub(%x, %z) : f32[4,6,5,3]", 1 },
    { "input %w : f32[4,6,1,1]\n  %y = conv2d(%x, %w) : f32[4,4,5,3]", 1 }, /* weights that are computed have no images */
};

static strata_graph *lone_graph(const char *lines)
{
    char          text[512];
    strata_graph *g;
    strata_error  err;
    int           size = snprintf(text, sizeof text, "graph \"g\" {\n  input %%x : f32[4,6,5,3]\n  %s\n  output \"y\" = %%y\n}\n", lines);
    if (strata_graph_parse(ctx, "g", text, (size_t)size, &g, &err) != STRATA_OK)
        fail_msg("%s: %s", lines, err.text);
    fill_constants(g, 7);
    return g;
}

static void test_whole_or_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lone_cases / sizeof *lone_cases; i++) {
        strata_graph   *g     = lone_graph(lone_cases[i].lines);
        strata_tensor **value = interpret(g, 3), *in[2], *out;
        const int       inputs = strata_graph_input_count(g);
        strata_program *p = program_of(lone_graph(lone_cases[i].lines), &(strata_program_options){ .piece = 1, .pipeline = "" });
        if (info_of(p).pieces != lone_cases[i].pieces)
            fail_msg("%s: %d pieces, not %d", lone_cases[i].lines, info_of(p).pieces, lone_cases[i].pieces);
        strata_session *s;
        assert_int_equal(strata_session_create(p, &s, NULL), STRATA_OK);
        assert_int_equal(strata_session_alloc_outputs(s, &out, NULL), STRATA_OK);
        for (int k = 0; k < inputs; k++)
            in[k] = random_tensor(strata_graph_input(g, k).desc, seed_of_name(3, strata_graph_input(g, k).name), -1, 1);
        assert_int_equal(strata_session_run(s, in, &out, NULL), STRATA_OK);
        const strata_tensor *truth = value[((const strata_node *)strata_graph_output(g, 0).node)->id];
        if (!(difference(truth, out) < 1e-5))
            fail_msg("%s: differs by %g", lone_cases[i].lines, difference(truth, out));
        free_values(value, strata_graph_node_count(g));
        for (int k = 0; k < inputs; k++)
            strata_tensor_unref(in[k]);
        strata_tensor_unref(out);
        strata_session_destroy(s);
        strata_program_unref(p);
        strata_graph_destroy(g);
    }
}

/* The hook itself: attributes for another number of rows, or a no. */
static void test_set_rows(void **state)
{
    (void)state;
    strata_reshape_attrs attrs;
    strata_graph        *g = lone_graph("%y = reshape(%x) {shape=[4,2,45]} : f32[4,2,45]");
    const strata_node   *n = strata_graph_find(g, "y");
    memcpy(&attrs, n->attrs, sizeof attrs);
    assert_true(n->op->set_rows(n, 3, &attrs));
    assert_int_equal(attrs.shape.count, 3);
    assert_int_equal(attrs.shape.at[0], 3);
    assert_int_equal(attrs.shape.at[2], 45);
    strata_graph_destroy(g);
    g = lone_graph("%y = reshape(%x) {shape=[2,2,90]} : f32[2,2,90]");
    n = strata_graph_find(g, "y");
    assert_false(n->op->set_rows(n, 3, memcpy(&attrs, n->attrs, sizeof attrs)));
    strata_graph_destroy(g);
}

/* ---- How many -------------------------------------------------------------------------------------------------------- */

/* Every family of models consists of ops that say what they do to rows. */
static void test_models(void **state)
{
    (void)state;
    static const char *const models[] = { "convnextv2_atto", "dummynet1", "efficientnet_b0", "mobilenet_v2_035_96",
                                          "mobilenet_v3_small_075", "repvgg_a0", "resnest14", "resnet18", "rexnet_09" };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const strata_create_options how = { .batch = 3, .height = 64, .width = 64, .num_classes = 3 };
        strata_graph               *g;
        strata_error                err;
        if (strata_create_model(ctx, models[i], &how, &g, &err) != STRATA_OK)
            fail_msg("%s", err.text);
        assert_int_equal(strata_graph_bind_random(g, 1, 2, NULL), STRATA_OK);
        strata_program *p = program_of(g, &(strata_program_options){ .piece = 1 });
        if (info_of(p).pieces != 3)
            fail_msg("%s: %d pieces", models[i], info_of(p).pieces);
        strata_program_unref(p);
    }
}

/* Of many small images with large weights several go together; of large ones few. */
static void test_choice(void **state)
{
    (void)state;
    static const struct { int channels, side, pieces; } cases[] = { { 256, 4, 1 }, { 64, 128, 8 } };
    for (int i = 0; i < 2; i++) {
        char          text[512];
        strata_graph *g;
        const int     c = cases[i].channels, d = cases[i].side;
        int size = snprintf(text, sizeof text,
                            "graph \"g\" {\n  input %%x : f32[8,%d,%d,%d]\n  param @w : f32[%d,%d,3,3]\n"
                            "  %%y = conv2d(%%x, @w) {pad=1} : f32[8,%d,%d,%d]\n  output \"y\" = %%y\n}\n", c, d, d, c, c, c, d, d);
        assert_int_equal(strata_graph_parse(ctx, "g", text, (size_t)size, &g, NULL), STRATA_OK);
        fill_constants(g, 7);
        strata_program *p = program_of(g, NULL);
        assert_int_equal(info_of(p).pieces, cases[i].pieces);
        strata_program_unref(p);
    }
}

static void test_pieces_need_host_memory(void **state)
{
    (void)state;
    static strata_backend_def greedy;
    strata_error              err;
    greedy = toy;
    greedy.name = "greedy", greedy.working_set = 1 << 20;
    assert_int_equal(strata_register_backend(ctx, &greedy, &err), STRATA_INVALID);
    assert_non_null(strstr(err.text, "has a working_set, which needs host_memory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_whole_or_not), cmocka_unit_test(test_set_rows), cmocka_unit_test(test_models),
                                        cmocka_unit_test(test_choice), cmocka_unit_test(test_pieces_need_host_memory) };
    return cmocka_run_group_tests(tests, register_ops, tear_down);
}
