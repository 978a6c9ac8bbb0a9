/* Selectors: every form, every mistake, and that a mistake leaves the outputs as they were. */
#include "context_state.h"

#include <strata/extend.h>

#include <stdlib.h>
#include <string.h>

/* Four features; the strides of two agree, and one is named like a number. */
static const char network[] =
    "graph \"net\" {\n"
    "  input %input : f32[1,3,64,64]\n"
    "  param @stem.weight : f32[8,3,3,3]\n"
    "  param @deep.weight : f32[8,8,3,3]\n"
    "  const @shift : f32[1,8,1,1]\n"
    "  %stem = conv2d(%input, @stem.weight) {stride=2, pad=1} : f32[1,8,32,32]\n"
    "  %stem.relu = relu(%stem) : f32[1,8,32,32]\n"
    "  %layer1.0.pool = max_pool(%stem.relu) {kernel=2, stride=2} : f32[1,8,16,16]\n"
    "  %layer1.0.add = add(%layer1.0.pool, @shift) : f32[1,8,16,16]\n"
    "  %deep = conv2d(%layer1.0.add, @deep.weight) {stride=2, pad=1} : f32[1,8,8,8]\n"
    "  %relu = relu(%deep) : f32[1,8,8,8]\n"
    "  %head = global_avg_pool(%relu) : f32[1,8,1,1]\n"
    "  feature \"stem\" = %stem.relu {index=0, channels=8, reduction=2}\n"
    "  feature \"layer1\" = %layer1.0.pool {index=1, channels=8, reduction=4}\n"
    "  feature \"layer1.add\" = %layer1.0.add {index=2, channels=8, reduction=4}\n"
    "  feature \"7\" = %relu {index=3, channels=8, reduction=8}\n"
    "  output \"logits\" = %head\n"
    "}\n";

static strata_graph *parse(strata_context *ctx, const char *text)
{
    strata_graph *g;
    strata_error  err;
    if (strata_graph_parse(ctx, "network", text, strlen(text), &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return g;
}

/* "name=%value name=%value" */
static const char *outputs(const strata_graph *g, char buf[512])
{
    buf[0] = 0;
    for (int i = 0; i < strata_graph_output_count(g); i++) {
        strata_output o = strata_graph_output(g, i);
        size_t        n = strlen(buf);
        snprintf(buf + n, 512 - n, "%s%s=%s", i ? " " : "", o.name, ((const strata_node *)o.node)->name);
    }
    return buf;
}

static void test_forms(void **state)
{
    static const struct { const char *selectors, *outputs; } rows[] = {
        { NULL, "stem=stem.relu layer1=layer1.0.pool layer1.add=layer1.0.add 7=relu" },
        { "0", "stem=stem.relu" },
        { "3", "7=relu" },
        { "-1", "7=relu" },
        { "-4", "stem=stem.relu" },
        { "2,0", "layer1.add=layer1.0.add stem=stem.relu" },
        { "007", NULL }, /* an index, though a feature has that name */
        { "stride:4", "layer1.add=layer1.0.add" },
        { "stride:2,stride:8", "stem=stem.relu 7=relu" },
        { "stride:2,8, 4", "stem=stem.relu 7=relu layer1.add=layer1.0.add" },
        { "stride:4,-1,0", "layer1.add=layer1.0.add 7=relu stem=stem.relu" }, /* a name or a negative ends the strides */
        { "C1", "stem=stem.relu" },
        { "C3,C2", "7=relu layer1.add=layer1.0.add" },
        { "last:1", "7=relu" },
        { "last:3", "layer1=layer1.0.pool layer1.add=layer1.0.add 7=relu" },
        { "last:4", "stem=stem.relu layer1=layer1.0.pool layer1.add=layer1.0.add 7=relu" },
        { "last:2,stem", "layer1.add=layer1.0.add 7=relu stem=stem.relu" },
        { "layer1", "layer1=layer1.0.pool" },
        { "%stem", "stem=stem" }, /* the value, not the feature */
        { "%input", "input=input" },
        { "%layer1.0.pool,1", "layer1.0.pool=layer1.0.pool layer1=layer1.0.pool" }, /* one value, two names */
        { "logits", "logits=head" },
        { "-1,logits,%deep", "7=relu logits=head deep=deep" },
        { "  1 ,\tstride:8\n", "layer1=layer1.0.pool 7=relu" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char          buf[512];
        strata_error  err;
        strata_graph *g      = parse(*state, network);
        strata_status status = strata_graph_select(g, rows[i].selectors, &err);
        assert_int_equal(status, rows[i].outputs ? STRATA_OK : STRATA_NOT_FOUND);
        assert_string_equal(outputs(g, buf), rows[i].outputs ? rows[i].outputs : "logits=head");
        assert_int_equal(strata_graph_validate(g, &err), STRATA_OK);
        strata_graph_destroy(g);
    }
}

static void test_mistakes(void **state)
{
    static const char there_is[] =
        "net has 4 features: 0 stem (stride 2), 1 layer1 (stride 4), 2 layer1.add (stride 4), "
        "3 7 (stride 8); any other value is chosen as %name, the classifier as logits";
    static const struct { const char *selectors; strata_status status; const char *says; } rows[] = {
        { "", STRATA_INVALID, "selector 1 is empty" },
        { " ", STRATA_INVALID, "selector 1 is empty" },
        { ",", STRATA_INVALID, "selector 1 is empty" },
        { "1,", STRATA_INVALID, "selector 2 is empty" },
        { "1,,2", STRATA_INVALID, "selector 2 is empty" },
        { "4", STRATA_NOT_FOUND, "selector '4': no feature has this index" },
        { "-5", STRATA_NOT_FOUND, "selector '-5': no feature has this index" },
        { "99999999999999999999999", STRATA_NOT_FOUND, "no feature has this index" },
        { "-99999999999999999999999", STRATA_NOT_FOUND, "no feature has this index" },
        { "1-3", STRATA_NOT_FOUND, "selector '1-3': no index (one whole number) and no feature's name" },
        { "1.5", STRATA_NOT_FOUND, "selector '1.5': no index (one whole number) and no feature's name" },
        { "1 2", STRATA_NOT_FOUND, "selector '1 2': no index (one whole number) and no feature's name" },
        { "+1", STRATA_NOT_FOUND, "selector '+1': no feature has this name" },
        { "-", STRATA_NOT_FOUND, "selector '-': no feature has this name" },
        { "0x1", STRATA_NOT_FOUND, "selector '0x1': no index (one whole number) and no feature's name" },
        { "stride:4,16", STRATA_NOT_FOUND, "selector '16': no feature has this stride" },
        { "stride:16", STRATA_NOT_FOUND, "selector 'stride:16': no feature has this stride" },
        { "stride:", STRATA_INVALID,
          "selector 'stride:': after 'stride:' comes a whole number of at least 1" },
        { "stride:0", STRATA_INVALID, "after 'stride:' comes a whole number" },
        { "stride:-8", STRATA_INVALID, "after 'stride:' comes a whole number" },
        { "stride:8x", STRATA_INVALID, "after 'stride:' comes a whole number" },
        { "stride:99999999999999999999", STRATA_NOT_FOUND, "no feature has this stride" },
        { "C0", STRATA_NOT_FOUND, "selector 'C0': no feature has this stride" },
        { "C9", STRATA_NOT_FOUND, "selector 'C9': no feature has this stride" },
        { "C64", STRATA_NOT_FOUND, "selector 'C64': no feature has this stride" },
        { "C", STRATA_NOT_FOUND, "selector 'C': no feature has this name" },
        { "C3a", STRATA_NOT_FOUND, "selector 'C3a': no feature has this name" },
        { "last:5", STRATA_NOT_FOUND, "selector 'last:5': there are not so many" },
        { "last:0", STRATA_INVALID, "after 'last:' comes a whole number of at least 1" },
        { "last:", STRATA_INVALID, "after 'last:' comes a whole number" },
        { "last:99999999999999999999", STRATA_NOT_FOUND, "there are not so many" },
        { "layr1", STRATA_NOT_FOUND, "selector 'layr1': no feature has this name. Nearest: layer1" },
        { "deep", STRATA_NOT_FOUND,
          "selector 'deep': a value has this name, but no feature; put a % before it" },
        { "%layer1.0.poll", STRATA_NOT_FOUND,
          "selector '%layer1.0.poll': no value has this name. Nearest: layer1.0.pool" },
        { "%", STRATA_NOT_FOUND, "selector '%': no value has this name" },
        { "%stem.weight", STRATA_INVALID, "selector '%stem.weight': a param" },
        { "%shift", STRATA_INVALID, "selector '%shift': a const" },
        { "1,1", STRATA_INVALID, "selectors '1' and '1' both choose 'layer1'" },
        { "-1,stride:8", STRATA_INVALID, "selectors '-1' and 'stride:8' both choose '7'" },
        { "last:2,2", STRATA_INVALID, "selectors 'last:2' and '2' both choose 'layer1.add'" },
        { "stem,%stem", STRATA_INVALID, "selectors 'stem' and '%stem' both choose 'stem'" },
        { "logits,logits", STRATA_INVALID, "both choose 'logits'" },
        { "1,\xff\xfe", STRATA_NOT_FOUND, "no feature has this name" },
    };
    strata_graph *g = parse(*state, network);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char         buf[512];
        strata_error err = { 0 };
        assert_int_equal(strata_graph_select(g, rows[i].selectors, &err), rows[i].status);
        assert_int_equal(err.status, rows[i].status);
        if (!strstr(err.text, rows[i].says))
            fail_msg("'%s' says\n%s\nwithout\n%s", rows[i].selectors, err.text, rows[i].says);
        if (rows[i].status == STRATA_NOT_FOUND && !strstr(err.text, there_is))
            fail_msg("'%s' says\n%s\nwithout what there is", rows[i].selectors, err.text);
        assert_string_equal(outputs(g, buf), "logits=head");
        assert_int_not_equal(strata_graph_select(g, rows[i].selectors, NULL), STRATA_OK);
    }
    char *endless = malloc(100001);
    memset(endless, 'x', 100000);
    endless[100000] = 0;
    strata_error err;
    assert_int_equal(strata_graph_select(g, endless, &err), STRATA_NOT_FOUND);
    assert_true(strlen(err.text) < sizeof err.text - 1); /* the list at the end is whole */
    free(endless);
    strata_graph_destroy(g);
}

/* Selecting again: the classifier is found as long as it is there, and dce takes it away. */
static void test_again(void **state)
{
    char          buf[512];
    strata_error  err;
    strata_graph *g = parse(*state, network);
    assert_int_equal(strata_graph_select(g, "1", &err), STRATA_OK);
    assert_int_equal(strata_graph_select(g, "logits,1", &err), STRATA_OK);
    assert_string_equal(outputs(g, buf), "logits=head layer1=layer1.0.pool");
    assert_int_equal(strata_graph_select(g, "1,2", &err), STRATA_OK);
    assert_int_equal(strata_graph_run_passes(g, "dce", NULL, NULL, &err), STRATA_OK);
    assert_int_equal(strata_graph_select(g, "logits", &err), STRATA_NOT_FOUND);
    assert_non_null(strstr(err.text, "the graph has no classifier"));
    assert_non_null(
        strstr(err.text, "net has 3 features: 0 stem (stride 2), 1 layer1 (stride 4), 2 layer1.add"));
    assert_int_equal(strata_graph_select(g, "-1", &err), STRATA_OK);
    assert_string_equal(outputs(g, buf), "layer1.add=layer1.0.add");
    assert_int_equal(strata_graph_run_passes(g, NULL, NULL, NULL, &err), STRATA_OK);
    assert_string_equal(outputs(g, buf), "layer1.add=layer1.0.add");
    strata_graph_destroy(g);
}

static void test_no_features(void **state)
{
    char          buf[512];
    strata_error  err;
    strata_graph *g =
        parse(*state, "graph \"bare\" {\n  input %x : f32[1,1,2,2]\n  %y = relu(%x) : f32[1,1,2,2]\n"
                      "  output \"result\" = %y\n}\n");
    assert_int_equal(strata_graph_select(g, NULL, &err), STRATA_NOT_FOUND);
    assert_non_null(
        strstr(err.text, "nothing is selected, and bare has 0 features; any other value is chosen as %name"));
    assert_int_equal(strata_graph_select(g, "0", &err), STRATA_NOT_FOUND);
    assert_int_equal(strata_graph_select(g, "last:1", &err), STRATA_NOT_FOUND);
    assert_int_equal(strata_graph_select(g, "logits", &err), STRATA_NOT_FOUND);
    /* any declared output by its name */
    assert_int_equal(strata_graph_select(g, "result,%x", &err), STRATA_OK);
    assert_string_equal(outputs(g, buf), "result=y x=x");
    strata_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_no_features),
    };
    return cmocka_run_group_tests_name("select", tests, open_context, close_context);
}
