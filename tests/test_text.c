/* The text form: every model prints, parses and prints again to the same bytes, plain and optimised; wrong texts are
 * refused with place and reason; damaged texts never crash the parser. */
#include "../graph/text.h"
#include "fixture.h"
#include "interpret.h"

#include <locale.h>

static char *print(const strata_graph *g, strata_dump_format format, size_t *size)
{
    char *text = NULL;
    FILE *to   = open_memstream(&text, size);
    assert_non_null(to);
    assert_int_equal(strata_graph_print(g, format, to, NULL), STRATA_OK);
    fclose(to);
    return text;
}

static void round_trip(const strata_graph *g)
{
    strata_error  err;
    size_t        size, again_size;
    char         *text = print(g, STRATA_DUMP_TEXT, &size), *again;
    strata_graph *parsed;
    if (strata_graph_parse(ctx, "model", text, size, &parsed, &err) != STRATA_OK)
        fail_msg("%s: %s", strata_graph_name(g), err.text);
    again = print(parsed, STRATA_DUMP_TEXT, &again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(text, again, size);
    uint64_t params[2], macs[2];
    strata_graph_cost(g, &params[0], &macs[0]);
    strata_graph_cost(parsed, &params[1], &macs[1]);
    assert_true(params[0] == params[1] && macs[0] == macs[1]);
    strata_graph_destroy(parsed);
    free(text);
    free(again);
}

static strata_status round_trip_of_stage(void *user, const char *pass, const strata_graph *g, bool changed, double ms,
                                         strata_error *err)
{
    (void)user, (void)pass, (void)ms, (void)err;
    if (changed)
        round_trip(g);
    return STRATA_OK;
}

static void round_trip_of_model(void *user, const strata_model_info *info)
{
    (void)user;
    strata_error  err;
    strata_graph *g;
    if (strata_create_model(ctx, info->name, NULL, &g, &err) != STRATA_OK)
        fail_msg("%s: %s", info->name, err.text);
    round_trip(g);
    assert_int_equal(strata_graph_run_passes(g, NULL, round_trip_of_stage, NULL, &err), STRATA_OK);
    strata_graph_destroy(g);
}

static void test_every_model_comes_back(void **state)
{
    (void)state;
    assert_true(strata_list_models(ctx, NULL, false, round_trip_of_model, NULL) >= 83);
}

static const char small[] = "graph \"small\" {\n"
                            "  input %input : f32[1,3,8,8]\n"
                            "  param @conv.weight : f32[4,3,3,3]\n"
                            "  %conv = conv2d(%input, @conv.weight) {stride=2, pad=[0,0,1,1], act=relu} : f32[1,4,4,4]\n"
                            "  %both = add(%conv, %conv) : f32[1,4,4,4]\n"
                            "  feature \"stem\" = %both {index=3, channels=4, reduction=2}\n"
                            "  output \"both\" = %both\n"
                            "}\n";

static void test_small_text(void **state)
{
    (void)state;
    strata_error  err;
    strata_graph *g;
    size_t        size;
    if (strata_graph_parse(ctx, "small", small, sizeof small - 1, &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    char *text = print(g, STRATA_DUMP_TEXT, &size);
    assert_string_equal(text, small);
    free(text);
    strata_graph_destroy(g);

    /* blanks, comments, quoted names and numbers in full do not matter */
    static const char loose[] = "graph\"small\"{input%\"in put\":f32[1,3,8,8]#x\n"
                                "%y=relu(%\"in put\"):f32[1,3,8,8]\noutput \"y\"=%y}# end";
    assert_int_equal(strata_graph_parse(ctx, "loose", loose, sizeof loose - 1, &g, &err), STRATA_OK);
    text = print(g, STRATA_DUMP_TEXT, &size);
    assert_non_null(strstr(text, "input %\"in put\" : "));
    free(text);
    round_trip(g);
    strata_graph_destroy(g);
}

static void test_wrong_texts(void **state)
{
    (void)state;
    static const struct { const char *from, *to, *words; } cases[] = {
        { "graph", "grief", "x:1:1: a graph begins with" },
        { "conv2d(", "conv3d(", "x:4:11: no op" },
        { "conv2d(", "conv2(", "nearest: conv2d" },
        { "stride=2", "stried=2", "has no attribute 'stried'" },
        { "stride=2", "stride=0", "it must be in 1.." },
        { "stride=2", "stride=2, stride=2", "given twice" },
        { "stride=2", "stride=[1,2,3]", "takes 2 numbers" },
        { "stride=2", "stride=1.5", "whole number" },
        { "stride=2", "stride=1e99", "whole number" },
        { "act=relu", "act=rely", "is none of none, relu" },
        { ", @conv.weight)", ")", "weight, is missing" },
        { "@conv.weight)", "@conv.weigth)", "@conv.weigth is not defined above" },
        { "@conv.weight)", "%conv.weight)", "its sigil is '@'" },
        { ": f32[1,4,4,4]\n  %both", ": f32[1,4,4,5]\n  %both", "the type says f32[1,4,4,5].nchw, but conv2d gives f32[1,4,4,4]" },
        { "f32[1,3,8,8]", "f33[1,3,8,8]", "no dtype" },
        { "f32[1,3,8,8]", "f32[1,3,8,0]", "whole number in 1.." },
        { "f32[1,3,8,8]", "f32[1,2,3,4,5,6,7]", "at most 6 dims" },
        { "f32[1,3,8,8]", "f32[1099511627776,1099511627776,8,8]", "" },
        { "%both = add", "%conv = add", "the name is taken" },
        { "channels=4", "channels=5", "declared with 5 channels" },
        { "reduction=2", "reduction=4", "stride is 2" },
        { "output \"both\"", "outptu \"both\"", "begins no line" },
        { "  output \"both\" = %both\n", "", "has no output" },
        { "}\n", "", "expected" },
        { "both\" = %both\n}", "both\" = %both\n} x", "after the closing brace" },
        { "\"both\"", "\"both", "a name ends within its line" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char         text[2048];
        strata_error err = { 0 };
        strata_graph *g  = NULL;
        const char  *at  = strcmp(cases[i].from, "}\n") == 0 ? small + sizeof small - 3 : strstr(small, cases[i].from);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - small), small, cases[i].to, at + strlen(cases[i].from));
        if (strata_graph_parse(ctx, "x", text, strlen(text), &g, &err) == STRATA_OK)
            fail_msg("case %zu was accepted: %s", i, text);
        if (!strstr(err.text, cases[i].words))
            fail_msg("case %zu: '%s' does not say '%s'", i, err.text, cases[i].words);
        assert_null(g);
    }
}

/* Bytes removed, doubled, changed: an error or a graph. The sanitizers watch. */
static void test_damaged_texts(void **state)
{
    (void)state;
    static const char letters[] = "%@#{}[]()=,:\"\\._0129afxz \n\0-";
    strata_graph     *g;
    strata_error      err;
    int               accepted = 0;
    for (size_t cut = 0; cut < sizeof small; cut++)
        if (strata_graph_parse(ctx, "cut", small, cut, &g, &err) == STRATA_OK)
            strata_graph_destroy(g), accepted++;
    assert_int_equal(accepted, 2); /* without the last newline, and whole */
    uint64_t random = 20240611;
    for (int round = 0; round < 20000; round++) {
        char   text[sizeof small + 64];
        size_t size = sizeof small - 1;
        memcpy(text, small, size);
        for (int edits = 1 + random_below(&random, 4); edits > 0; edits--) {
            size_t at = (size_t)random_below(&random, (int)size);
            switch (random_below(&random, 3)) {
            case 0: text[at] = letters[random_below(&random, sizeof letters - 1)]; break;
            case 1: memmove(text + at, text + at + 1, --size - at); break;
            default: memmove(text + at + 1, text + at, size - at), size++; break;
            }
        }
        g = NULL;
        if (strata_graph_parse(ctx, "damaged", text, size, &g, &err) == STRATA_OK) {
            round_trip(g);
            strata_graph_destroy(g);
        }
    }
}

static void test_other_formats(void **state)
{
    (void)state;
    strata_error  err;
    strata_graph *g;
    size_t        size;
    assert_int_equal(strata_create_model(ctx, "resnet18", NULL, &g, &err), STRATA_OK);
    char *dot = print(g, STRATA_DUMP_DOT, &size);
    assert_non_null(strstr(dot, "digraph \"resnet18\""));
    assert_non_null(strstr(dot, "subgraph \"cluster_layer1.0\" { label=\"0\""));
    int depth = 0;
    for (const char *c = dot; *c; c++)
        depth += (*c == '{') - (*c == '}');
    assert_int_equal(depth, 0);
    char *json = print(g, STRATA_DUMP_JSON, &size);
    assert_non_null(strstr(json, "\"name\": \"layer1.0.conv1\""));
    free(dot);
    free(json);
    strata_graph_destroy(g);
}

/* Whole numbers are printed in full, also those that end in a zero; all numbers read back. */
static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double      value;
        const char *text;
    } cases[] = {
        { 0, "0" },         { 7, "7" },
        { 10, "10" },       { 240, "240" },
        { -300, "-300" },   { 1 << 30, "1073741824" },
        { 1e6, "1000000" }, { 999999999999999, "999999999999999" },
        { 1e15, "1e+15" },  { 1e300, "1e+300" },
        { 0.485, "0.485" }, { 1e-5, "1e-05" },
        { 240.5, "240.5" }, { -0.0, "-0" },
    };
    char buf[32], *end;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(strata_number_text(cases[i].value, buf), cases[i].text);
        double back = strata_number_read(buf, &end);
        assert_true(*end == '\0' && memcmp(&back, &cases[i].value, sizeof back) == 0);
    }
    assert_string_equal(strata_number_text(NAN, buf), "nan");
    assert_string_equal(strata_number_text(-INFINITY, buf), "-inf");

    strata_graph *g;
    strata_error  err = { 0 };
    size_t        size;
    assert_int_equal(strata_create_model(ctx, "rexnet_10", NULL, &g, &err),
                     STRATA_OK); /* depthwise, of 300 channels */
    char *text = print(g, STRATA_DUMP_TEXT, &size);
    assert_non_null(strstr(text, "groups=300}"));
    assert_null(strstr(text, "e+"));
    free(text);
    round_trip(g);
    strata_graph_destroy(g);
}

/* A program that embeds the library may write 0,485. */
static void test_other_locale(void **state)
{
    (void)state;
    setenv("LOCPATH", STRATA_TEST_LOCALES, 1);
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL)
        skip(); /* no package "locales" */
    char half[8];
    snprintf(half, sizeof half, "%.1f", 0.5);
    assert_string_equal(half, "0,5");
    strata_graph *g;
    strata_error  err = { 0 };
    assert_int_equal(strata_create_model(ctx, "resnet18", NULL, &g, &err), STRATA_OK);
    size_t size;
    char  *text = print(g, STRATA_DUMP_TEXT, &size);
    assert_non_null(strstr(text, "mean=[0.485,0.456,0.406]"));
    free(text);
    text = print(g, STRATA_DUMP_JSON, &size);
    assert_non_null(strstr(text, "0.485"));
    free(text);
    round_trip(g);
    strata_graph_destroy(g);
    setlocale(LC_ALL, "C");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_text),    cmocka_unit_test(test_wrong_texts),
        cmocka_unit_test(test_damaged_texts), cmocka_unit_test(test_every_model_comes_back),
        cmocka_unit_test(test_other_formats), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_other_locale),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
