/* What dumps say: differences between graphs, the facts in the JSON, the drawing; pictures of single
 * channels. */
#include <strata/nn.h>

#include "../graph/text.h"
#include "fixture.h"

#include <jansson.h>
#include <math.h>

static strata_graph *parse(const char *text)
{
    strata_error  err;
    strata_graph *g = NULL;
    if (strata_graph_parse(ctx, "test", text, strlen(text), &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return g;
}

static char *print(const strata_graph *g, strata_dump_format format)
{
    char  *text = NULL;
    size_t size;
    FILE  *to = open_memstream(&text, &size);
    assert_non_null(to);
    assert_int_equal(strata_graph_print(g, format, to, NULL), STRATA_OK);
    fclose(to);
    return text;
}

static char *difference(const strata_graph *a, const strata_graph *b, strata_diff *counts)
{
    char  *text = NULL;
    size_t size;
    FILE  *to = open_memstream(&text, &size);
    assert_non_null(to);
    assert_int_equal(strata_graph_diff(a, b, to, counts, NULL), STRATA_OK);
    fclose(to);
    return text;
}

/* ---- Differences
 * -------------------------------------------------------------------------------------------- */

#define HEAD   "graph \"g\" {\n  input %input : f32[1,4,8,8]\n  param @w : f32[4,4,3,3]\n"
#define CONV   "  %a = conv2d(%input, @w) {pad=1} : f32[1,4,8,8]\n"
#define RELU   "  %b = relu(%a) : f32[1,4,8,8]\n"
#define MARKS  "  feature \"f\" = %b {index=0, channels=4, reduction=1}\n"
#define OUTPUT "  output \"o\" = %b\n"

static void check_difference(const char *before, const char *after, const char *lines, strata_diff want)
{
    strata_diff   got;
    strata_graph *a = parse(before), *b = parse(after);
    char         *text = difference(a, b, &got);
    assert_string_equal(text, lines);
    assert_int_equal(got.added, want.added);
    assert_int_equal(got.removed, want.removed);
    assert_int_equal(got.changed, want.changed);
    free(text);
    strata_graph_destroy(a);
    strata_graph_destroy(b);
}

static void test_each_kind_of_difference(void **state)
{
    (void)state;
    const char *base = HEAD CONV RELU MARKS OUTPUT "}";
    check_difference(base, base, "", (strata_diff){ 0 });
    /* op, operands, attributes, type */
    check_difference(base, HEAD CONV "  %b = sigmoid(%a) : f32[1,4,8,8]\n" MARKS OUTPUT "}",
                     "~ %b: relu -> sigmoid\n", (strata_diff){ .changed = 1 });
    check_difference(base, HEAD CONV "  %b = relu(%input) : f32[1,4,8,8]\n" MARKS OUTPUT "}",
                     "~ %b: (%a) -> (%input)\n", (strata_diff){ .changed = 1 });
    check_difference(
        base, HEAD "  %a = conv2d(%input, @w) {pad=1, act=relu} : f32[1,4,8,8]\n" RELU MARKS OUTPUT "}",
        "~ %a: {pad=1} -> {pad=1, act=relu}\n", (strata_diff){ .changed = 1 });
    check_difference(
        HEAD CONV RELU OUTPUT "}",
        HEAD "  %a = conv2d(%input, @w) : f32[1,4,6,6]\n  %b = relu(%a) : f32[1,4,6,6]\n" OUTPUT "}",
        "~ %a: {pad=1} -> {}, f32[1,4,8,8] -> f32[1,4,6,6]\n~ %b: f32[1,4,8,8] -> f32[1,4,6,6]\n",
        (strata_diff){ .changed = 2 });
    /* added, removed: a removed line stands before what followed it */
    check_difference(
        base, HEAD "  %n = neg(%input) : f32[1,4,8,8]\n  %b = relu(%n) : f32[1,4,8,8]\n" MARKS OUTPUT "}",
        "+ %n = neg(%input) : f32[1,4,8,8]\n- %a = conv2d(%input, @w) {pad=1} : f32[1,4,8,8]\n"
        "~ %b: (%a) -> (%n)\n",
        (strata_diff){ 1, 1, 1 });
    /* a parameter that became a constant; marks; the record */
    check_difference(
        base,
        "graph \"g\" {\n  input %input : f32[1,4,8,8]\n  const @w : f32[4,4,3,3]\n" CONV RELU MARKS OUTPUT
        "}",
        "~ @w: param -> const\n", (strata_diff){ .changed = 1 });
    check_difference(
        base,
        HEAD CONV RELU "  feature \"f\" = %a {index=1, channels=4, reduction=1}\n"
                       "  output \"p\" = %a\n" OUTPUT "}",
        "~ feature \"f\": %b -> %a\n"
        "~ feature \"f\": {index=0, channels=4, reduction=1} -> {index=1, channels=4, reduction=1}\n"
        "~ output \"o\": place 0 -> 1\n+ output \"p\" = %a\n",
        (strata_diff){ .added = 1, .changed = 3 });
    check_difference(base, HEAD CONV RELU OUTPUT "}", "- feature \"f\" = %b\n",
                     (strata_diff){ .removed = 1 });
    check_difference(
        base,
        "graph \"g\" {\n  image {size=[8,8], channels=4, mean=[0,0,0], std=[1,1,1], interpolation=bicubic, crop_pct=1}\n"
        "  input %input : f32[1,4,8,8]\n  param @w : f32[4,4,3,3]\n" CONV RELU MARKS OUTPUT "}",
        "~ image: {size=[0,0], channels=0, mean=[0,0,0], std=[0,0,0], interpolation=bilinear, crop_pct=0} -> "
        "{size=[8,8], channels=4, mean=[0,0,0], std=[1,1,1], interpolation=bicubic, crop_pct=1}\n",
        (strata_diff){ .changed = 1 });
}

/* Every model against itself and against what its passes make of it; and the other way round, where added and
 * removed change places. */
static void diff_of_model(void *user, const strata_model_info *info)
{
    strata_error  err;
    strata_graph *a, *b;
    strata_diff   there, back;
    (void)user;
    if (strata_create_model(ctx, info->name, NULL, &a, &err) != STRATA_OK ||
        strata_create_model(ctx, info->name, NULL, &b, &err) != STRATA_OK)
        fail_msg("%s: %s", info->name, err.text);
    char *text = difference(a, b, &there);
    assert_string_equal(text, "");
    free(text);
    if (strata_graph_run_passes(b, NULL, NULL, NULL, &err) != STRATA_OK)
        fail_msg("%s: %s", info->name, err.text);
    text = difference(a, b, &there);
    int lines = 0;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, there.added + there.removed + there.changed);
    assert_true(lines > 0);
    assert_int_equal(there.added - there.removed -
                         (strata_graph_feature_count(b) - strata_graph_feature_count(a)),
                     strata_graph_node_count(b) - strata_graph_node_count(a));
    free(text);
    free(difference(b, a, &back));
    assert_int_equal(back.added, there.removed);
    assert_int_equal(back.removed, there.added);
    assert_int_equal(back.changed, there.changed);
    strata_graph_destroy(a);
    strata_graph_destroy(b);
}

static void test_models_against_their_passes(void **state)
{
    (void)state;
    assert_true(strata_list_models(ctx, "resne*", false, diff_of_model, NULL) >= 9);
    assert_true(strata_list_models(ctx, "repvgg_a0", false, diff_of_model, NULL) == 1);
}

/* ---- JSON and drawings
 * ------------------------------------------------------------------------------------- */

static const char kinds[] = "graph \"\xff<b>\" {\n"
                            "  input %input : f32[1,4,8,8]\n  param @w : f32[4,4,3,3]\n"
                            "  %l.0.conv = conv2d(%input, @w) {pad=1} : f32[1,4,8,8]\n"
                            "  %l.0.relu = relu(%l.0.conv) : f32[1,4,8,8]\n"
                            "  %l.0.relu.1 = relu(%l.0.relu) : f32[1,4,8,8]\n"
                            "  %l.0.add = add(%l.0.relu, %l.0.relu.1) : f32[1,4,8,8]\n"
                            "  %pool = max_pool(%l.0.add) {kernel=2, stride=2} : f32[1,4,4,4]\n"
                            "  %\"a \\\"b\\\" <&>\" = slice(%pool) {axis=1, begin=1, end=3} : f32[1,2,4,4]\n"
                            "  %m.3 = softmax(%\"a \\\"b\\\" <&>\") {axis=1} : f32[1,2,4,4]\n"
                            "  %dead = neg(%m.3) : f32[1,2,4,4]\n"
                            "  output \"o\" = %m.3\n}";

static json_t *node_named(json_t *nodes, const char *name)
{
    size_t  i;
    json_t *node;
    json_array_foreach(nodes, i, node) if (strcmp(json_string_value(json_object_get(node, "name")), name) ==
                                           0) return node;
    fail_msg("no node '%s'", name);
    return NULL;
}

static const char *text_of(json_t *node, const char *key)
{
    return json_string_value(json_object_get(node, key));
}

static void test_json(void **state)
{
    (void)state;
    static const struct {
        const char *name, *kind, *scope;
    } want[] = {
        { "input", "input", "" },
        { "w", "constant", "" },
        { "l.0.conv", "multiply", "l.0" },
        { "l.0.relu", "elementwise", "l.0" },
        { "l.0.relu.1", "elementwise", "l.0" },
        { "l.0.add", "combine", "l.0" },
        { "pool", "window", "" },
        { "a \"b\" <&>", "shape", "" },
        { "m.3", "other", "m" },
        { "dead", "elementwise", "" },
    };
    strata_graph *g = parse(kinds);
    char         *text = print(g, STRATA_DUMP_JSON);
    json_error_t  where;
    json_t       *root = json_loads(text, 0, &where);
    if (!root)
        fail_msg("line %d: %s", where.line, where.text);
    assert_string_equal(text_of(root, "graph"), "\xef\xbf\xbd<b>");
    json_t *nodes = json_object_get(root, "nodes");
    assert_int_equal(json_array_size(nodes), sizeof want / sizeof *want);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        json_t *node = node_named(nodes, want[i].name);
        assert_string_equal(text_of(node, "kind"), want[i].kind);
        assert_string_equal(text_of(node, "scope"), want[i].scope);
        assert_int_equal(json_is_true(json_object_get(node, "live")), strcmp(want[i].name, "dead") != 0);
    }
    json_t *conv = node_named(nodes, "l.0.conv"), *pool = json_object_get(node_named(nodes, "pool"), "place");
    assert_int_equal(json_integer_value(json_object_get(conv, "macs")), 8 * 8 * 4 * 4 * 9);
    assert_int_equal(json_integer_value(json_object_get(conv, "bytes")), 4 * 8 * 8 * 4);
    assert_int_equal(json_integer_value(json_object_get(root, "macs")), 8 * 8 * 4 * 4 * 9);
    assert_int_equal(json_integer_value(json_object_get(root, "params")), 4 * 4 * 9);
    /* a 3x3 window, then 2x2 of stride 2: 4 wide, centred half a pixel on */
    double field, offset;
    assert_int_equal(json_unpack(pool, "{s:[F,*], s:[F,*]}", "receptive_field", &field, "offset", &offset),
                     0);
    assert_true(field == 4 && offset == 0.5);
    assert_true(json_is_null(json_object_get(conv, "device")) &&
                json_is_null(json_object_get(conv, "kernel")));
    json_decref(root);
    free(text);
    strata_graph_destroy(g);
}

static void test_drawing(void **state)
{
    (void)state;
    strata_graph *g = parse(kinds);
    char         *dot = print(g, STRATA_DUMP_DOT);
    assert_non_null(strstr(dot, "subgraph \"cluster_l.0\" { label=\"0\""));
    assert_null(strstr(dot, "cluster_l.0.relu")); /* relu.1 is the second relu, not a module */
    assert_non_null(strstr(dot, "a &quot;b&quot; &lt;&amp;&gt;"));
    assert_non_null(strstr(dot, "[label=\"[1,4,8,8]\"]"));
    assert_non_null(strstr(dot, "weight 4×4×3×3"));
    assert_null(strstr(dot, "dead"));
    for (int k = 0; k < STRATA_KIND_COUNT; k++) /* the legend has what there is, and no more */
        assert_int_equal(strstr(dot, strata_kind_colors[k]) != NULL, k != STRATA_KIND_CONSTANT);
    free(dot);
    strata_graph_destroy(g);
}

/* ---- Pictures
 * ------------------------------------------------------------------------------------------------ */

static void test_heat_map(void **state)
{
    (void)state;
    /* channels: 0 1 / 2 NaN and 4 4 / 4 4; their mean is 2 2.5 / 3 4, for NaN does not count */
    float                x[] = { 0, 1, 2, NAN, 4, 4, 4, 4 };
    int64_t              dim[] = { 1, 2, 2, 2 };
    strata_tensor       *map;
    strata_image        *img, *again;
    strata_error         err;
    strata_tensor_desc   desc = strata_desc_f32(4, dim);
    static const uint8_t least[] = { 62, 6, 82 }, most[] = { 252, 231, 50 }, none[] = { 214, 40, 57 };
    assert_int_equal(strata_tensor_wrap(&desc, x, NULL, NULL, &map, &err), STRATA_OK);

    assert_int_equal(strata_heat_map(map, 0, &img, &err), STRATA_OK);
    assert_int_equal(strata_image_width(img), 2);
    assert_int_equal(strata_image_height(img), 2);
    const uint8_t *pixel = strata_image_pixels(img);
    assert_memory_equal(pixel, least, 3);
    assert_memory_equal(pixel + 6, most, 3);
    assert_memory_equal(pixel + 9, none, 3);
    /* as PNG and back */
    void  *bytes;
    size_t size;
    assert_int_equal(strata_image_encode_png(img, &bytes, &size, &err), STRATA_OK);
    assert_int_equal(strata_image_decode(bytes, size, false, &again, &err), STRATA_OK);
    assert_memory_equal(strata_image_pixels(again), pixel, 12);
    free(bytes);
    strata_image_destroy(again);
    strata_image_destroy(img);

    assert_int_equal(strata_heat_map(map, -1, &img, &err), STRATA_OK);
    assert_memory_equal(strata_image_pixels(img), least, 3);
    assert_memory_equal(strata_image_pixels(img) + 9, most, 3);
    strata_image_destroy(img);
    assert_int_equal(strata_heat_map(map, 2, &img, &err), STRATA_INVALID);
    assert_null(img);
    assert_int_equal(strata_heat_map(map, -2, &img, &err), STRATA_INVALID);
    strata_tensor_unref(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_of_difference),
        cmocka_unit_test(test_models_against_their_passes),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_drawing),
        cmocka_unit_test(test_heat_map),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
