/* Passes by their effect on the text form. Each tests/data/passes/NAME.in is a graph whose first line names
 * the pipeline ("# fold_bn repvgg"; "# default" is the default one); NAME.out is what must come out. Where
 * there is no .out, nothing may change. To add a case, write the .in, run, and read what the failure prints
 * before saving it. */
#include "context_state.h"

#include <strata/extend.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CASES STRATA_TEST_DATA "/passes/"

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        assert_int_equal(errno, ENOENT);
        return NULL;
    }
    char  *text = calloc(1, 1 << 16);
    size_t size = fread(text, 1, (1 << 16) - 1, f);
    assert_true(feof(f) && size > 0);
    fclose(f);
    return text;
}

static char *print_text(const strata_graph *g)
{
    char        *text = NULL;
    size_t       size = 0;
    FILE        *f    = open_memstream(&text, &size);
    strata_error err;
    assert_non_null(f);
    assert_int_equal(strata_graph_print(g, STRATA_DUMP_TEXT, f, &err), STRATA_OK);
    fclose(f);
    return text;
}

static strata_graph *parse(strata_context *ctx, const char *name, const char *text)
{
    strata_graph *g;
    strata_error  err;
    if (strata_graph_parse(ctx, name, text, strlen(text), &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return g;
}

static void check_case(strata_context *ctx, const char *name)
{
    char path[512], pipeline[256];
    snprintf(path, sizeof path, CASES "%s.in", name);
    char *before = read_text(path);
    snprintf(path, sizeof path, CASES "%s.out", name);
    char *expected = read_text(path);
    assert_non_null(before);
    assert_int_equal(sscanf(before, "# %255[^\n]", pipeline), 1);

    strata_graph *g = parse(ctx, name, before);
    strata_error  err;
    char         *unchanged = print_text(g);
    const bool    standard  = strcmp(pipeline, "default") == 0;
    if (strata_graph_run_passes(g, standard ? NULL : pipeline, NULL, NULL, &err) != STRATA_OK)
        fail_msg("%s: %s", name, err.text);
    char *after = print_text(g);
    if (strcmp(after, expected ? expected : unchanged) != 0) { /* fail_msg would cut it */
        printf("%s.in through '%s' gives\n%sand not\n%s", name, pipeline, after,
               expected ? expected : unchanged);
        fail();
    }

    strata_graph *again = parse(ctx, name, after); /* what passes make can be read again */
    strata_graph_destroy(again);
    strata_graph_destroy(g);
    free(after);
    free(unchanged);
    free(expected);
    free(before);
}

static void test_text_pairs(void **state)
{
    struct dirent **entry;
    int             count = scandir(CASES, &entry, NULL, alphasort), cases = 0;
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        char *suffix = strstr(entry[i]->d_name, ".in");
        if (suffix && !suffix[3]) {
            *suffix = 0;
            check_case(*state, entry[i]->d_name);
            cases++;
        }
        free(entry[i]);
    }
    free(entry);
    assert_true(cases >= 15);
}

/* A pass has nothing left to do on its own result. */
static strata_status expect_unchanged(void *user, const char *pass, const strata_graph *g, bool changed,
                                      double ms, strata_error *err)
{
    (void)g, (void)ms, (void)err;
    if (changed)
        fail_msg("%s changes the result of '%s' again", pass, (const char *)user);
    return STRATA_OK;
}

static void check_pass(void *user, const char *name, const char *doc)
{
    assert_true(strlen(doc) > 10);
    if (strcmp(name, "features") == 0)
        return;
    strata_context *ctx  = user;
    char           *text = read_text(CASES "default.in");
    strata_graph   *g    = parse(ctx, "default.in", text);
    strata_error    err;
    char            twice[256];
    assert_non_null(strstr(strata_default_pipeline(), name));
    assert_int_equal(strata_graph_run_passes(g, name, NULL, NULL, &err), STRATA_OK);
    snprintf(twice, sizeof twice, "%s", name);
    assert_int_equal(strata_graph_run_passes(g, twice, expect_unchanged, twice, &err), STRATA_OK);
    strata_graph_destroy(g);
    free(text);
}

static void test_every_pass(void **state)
{
    char         *text = read_text(CASES "default.in");
    strata_graph *g    = parse(*state, "default.in", text);
    strata_error  err;
    assert_true(strata_list_passes(*state, check_pass, *state) >= 9);
    assert_int_equal(strata_graph_run_passes(g, NULL, NULL, NULL, &err), STRATA_OK);
    assert_int_equal(strata_graph_run_passes(g, NULL, expect_unchanged, "the default pipeline", &err),
                     STRATA_OK);
    strata_graph_destroy(g);
    free(text);
}

static void test_options(void **state)
{
    static const char *const wrong[] = { "dce=1", "cse=", "features=", "features=1,,2", "features=nowhere" };
    char                    *text    = read_text(CASES "default.in");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        strata_graph *g = parse(*state, "default.in", text);
        strata_error  err;
        assert_int_not_equal(strata_graph_run_passes(g, wrong[i], NULL, NULL, &err), STRATA_OK);
        assert_int_equal(strncmp(err.text, "pass ", 5), 0);
        strata_graph_destroy(g);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_pairs),
        cmocka_unit_test(test_every_pass),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests_name("passes", tests, open_context, close_context);
}
