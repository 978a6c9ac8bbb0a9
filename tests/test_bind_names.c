/* Binding under foreign names: renamed modules are found again, ties and contradictions are refused, and a
 * map that was saved says it once and for all. */
#include "bind_fixture.h"

static bool prefixed(const char *name, char out[256])
{
    char renamed[256];
    torch(name, renamed);
    snprintf(out, 256, "module.backbone.%.200s", renamed);
    return true;
}

static bool without_conv2(const char *name, char out[256])
{
    return same(name, out) && strcmp(name, "conv2.weight") != 0;
}

static bool hashed_leaves(const char *name, char out[256])
{
    unsigned h = 5381;
    for (const char *at = name; *at != '\0'; at++)
        h = h * 33u ^ (unsigned char)*at;
    snprintf(out, 256, "p%08x", h * 2654435761u);
    return true;
}

static void test_renamed(void **state)
{
    (void)state;
    static const struct {
        build_fn network;
        rename_fn rename;
    } cases[] = {
        { plain, torch },     { unlike, torch },      { residual, torch },      { plain, prefixed },
        { residual, prefixed }, { residual, other_words }, { unlike, scrambled },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strata_graph *random = with_random(build(cases[i].network, 3));
        strata_weights *w = make(random, cases[i].rename);
        strata_bind_report *r = bind(cases[i].network, w, &automatic, random, STRATA_OK);
        assert_int_equal(strata_bind_report_count(r, STRATA_BIND_UNEXPECTED), 0);
        strata_bind_report_destroy(r);
        r = bind(cases[i].network, w, NULL, random, STRATA_WEIGHTS); /* only when asked for */
        strata_bind_report_destroy(r);
        strata_weights_destroy(w);
        strata_graph_destroy(random);
    }
}

static void refuse(build_fn network, rename_fn rename)
{
    strata_graph *random = with_random(build(network, 3));
    strata_weights *w = make(random, rename);
    strata_bind_report *r = bind(network, w, &automatic, random, STRATA_WEIGHTS);
    strata_bind_report_destroy(r);
    strata_weights_destroy(w);
    strata_graph_destroy(random);
}

static void test_ties_are_refused(void **state)
{
    (void)state;
    refuse(plain, scrambled);         /* two convolutions of one shape, and nothing to tell them apart */
    refuse(residual, scrambled);
    refuse(unlike, hashed_leaves);    /* a norm's four vectors */
    refuse(residual, hashed_leaves);

    strata_graph *random = with_random(build(plain, 3));
    strata_weights *w = make(random, scrambled);
    strata_bind_report *r = bind(plain, w, &automatic, random, STRATA_WEIGHTS);
    expect_kind(r, "conv2.weight", STRATA_BIND_AMBIGUOUS);
    expect_kind(r, "conv3.weight", STRATA_BIND_AMBIGUOUS);
    assert_non_null(strstr(find_row(r, "conv2.weight")->note, "alike"));
    strata_bind_report_destroy(r);
    strata_weights_destroy(w);
    strata_graph_destroy(random);
}

/* A tensor that is not there is missing, however many others have its shape. */
static void test_missing_is_not_replaced(void **state)
{
    (void)state;
    strata_graph *random = with_random(build(plain, 3));
    static const char *const extra[] = { NULL, "extra.weight", "conv4.weight", "aux.conv2.weight",
                                         "head.conv2.weight", "conv22.weight" };
    const float other[8 * 8 * 9] = { 1 };
    const int64_t dim[4] = { 8, 8, 3, 3 };
    for (size_t i = 0; i < sizeof extra / sizeof extra[0]; i++)
        for (int renamed = 0; renamed < 2; renamed++) {
            maker m;
            char name[256];
            maker_open(&m);
            for (int k = 0; k < strata_graph_node_count(random); k++) {
                strata_node *n = strata_graph_node(random, k);
                if (!is_param(n) || !without_conv2(n->name, name))
                    continue;
                if (renamed)
                    torch(n->name, name);
                maker_add(&m, name, "Float32", n->desc.rank, n->desc.dim, strata_tensor_data(n->data),
                          strata_bytes(&n->desc));
            }
            if (extra[i] != NULL)
                maker_add(&m, extra[i], "Float32", 4, dim, other, sizeof other);
            strata_weights *w = maker_write(&m);
            strata_bind_report *r = bind(plain, w, &automatic, random, STRATA_WEIGHTS);
            expect_kind(r, "conv2.weight", STRATA_BIND_MISSING);
            assert_int_equal(strata_bind_report_count(r, STRATA_BIND_MISSING), 1);
            strata_bind_report_destroy(r);
            strata_weights_destroy(w);
        }
    strata_graph_destroy(random);
}

/* conv2 and conv3 are of one shape: with conv1 or conv2 gone under foreign names too, nothing may shift. */
static bool torch_without_conv2(const char *name, char out[256])
{
    return torch(name, out) && strcmp(name, "conv2.weight") != 0;
}

static bool words_without_a_block(const char *name, char out[256])
{
    return other_words(name, out) && strncmp(name, "layer1.0", 8) != 0;
}

static bool words_without_a_conv(const char *name, char out[256])
{
    return other_words(name, out) && strcmp(name, "layer1.0.conv1.weight") != 0;
}

static bool words_without_a_norm(const char *name, char out[256])
{
    return other_words(name, out) && strncmp(name, "layer2.1.bn1", 12) != 0;
}

/* The only convolution of its shape, but in a place of its own. */
static bool words_with_a_stray(const char *name, char out[256])
{
    other_words(name, out);
    if (strcmp(name, "layer2.0.down_sample.0.weight") == 0)
        same("aux.0.weight", out);
    return true;
}

static bool torch_with_a_stray(const char *name, char out[256])
{
    torch(name, out);
    if (strcmp(name, "layer2.0.down_sample.0.weight") == 0)
        same("aux.0.weight", out);
    return true;
}

static void test_foreign_names_with_gaps(void **state)
{
    (void)state;
    refuse(residual, words_with_a_stray);
    refuse(residual, torch_with_a_stray);
    refuse(plain, torch_without_conv2);
    refuse(residual, words_without_a_block);
    refuse(residual, words_without_a_conv);
    refuse(residual, words_without_a_norm);
}

/* Equal blocks whose numbers contradict the order of the file: one of the two lies. */
static bool blocks_exchanged(const char *name, char out[256])
{
    other_words(name, out);
    if (strncmp(name, "layer2", 6) == 0) {
        char *block = strstr(out, "blocks.");
        if (block != NULL)
            block[7] ^= 1;
    }
    return true;
}

static void numbered_body(strata_builder *b, strata_node *x)
{
    x = conv_bn(b, x, 1, 8);
    for (int k = 0; k < 4; k++)
        NN_SCOPE(b, "features.%d", k)
            x = conv_bn(b, x, 1, 8);
    nn_output(b, x, "body");
}

static bool numbers_exchanged(const char *name, char out[256])
{
    torch(name, out);
    if (strncmp(out, "features.", 9) == 0) {
        out[9] = (char)('0' + (out[9] - '0' + 1) % 4);
        replace(out, "features.", "stem.units.");
        replace(out, ".conv1", ".c");
        replace(out, ".bn1", ".n");
    }
    return true;
}

static void test_contradicting_numbers(void **state)
{
    (void)state;
    refuse(numbered_body, numbers_exchanged);
    refuse(residual, blocks_exchanged);
}

/* Student and teacher, both whole. */
static void test_two_prefixes(void **state)
{
    (void)state;
    strata_graph *random = with_random(build(residual, 3)), *other = build(residual, 3);
    assert_int_equal(strata_graph_bind_random(other, 2, 2, NULL), STRATA_OK);
    for (int plain_names = 0; plain_names < 2; plain_names++) {
        maker m;
        char name[256];
        maker_open(&m);
        for (int i = 0; i < strata_graph_node_count(random); i++) {
            strata_node *n = strata_graph_node(random, i), *o = strata_graph_node(other, i);
            if (!is_param(n))
                continue;
            snprintf(name, sizeof name, "%s%s", plain_names ? "" : "student.", n->name);
            maker_add(&m, name, "Float32", n->desc.rank, n->desc.dim, strata_tensor_data(n->data),
                      strata_bytes(&n->desc));
            snprintf(name, sizeof name, "teacher.%s", n->name);
            maker_add(&m, name, "Float32", n->desc.rank, n->desc.dim, strata_tensor_data(o->data),
                      strata_bytes(&n->desc));
        }
        strata_weights *w = maker_write(&m);
        strata_bind_report *r =
            bind(residual, w, &automatic, random, plain_names ? STRATA_OK : STRATA_WEIGHTS);
        if (!plain_names) {
            expect_kind(r, "conv1.weight", STRATA_BIND_AMBIGUOUS);
            assert_non_null(strstr(find_row(r, "conv1.weight")->note, "teacher"));
        }
        strata_bind_report_destroy(r);
        strata_weights_destroy(w);
    }
    strata_graph_destroy(other);
    strata_graph_destroy(random);
}

/* ---- Maps ---------------------------------------------------------------------------------------------- */

static void test_saved_map(void **state)
{
    (void)state;
    strata_graph *random = with_random(build(residual, 3));
    strata_weights *w = make(random, other_words);
    char path[512];
    strata_error err;
    snprintf(path, sizeof path, "%s", scratch_path(&tmp, "map.tsv"));
    strata_bind_report *r = bind(residual, w, &automatic, random, STRATA_OK);
    assert_int_equal(strata_bind_report_save(r, path, &err), STRATA_OK);
    strata_bind_report_destroy(r);
    const strata_bind_options saved = { .map_path = path };
    r = bind(residual, w, &saved, random, STRATA_OK); /* without auto_map */
    assert_int_equal(strata_bind_report_count(r, STRATA_BIND_MISSING), 0);
    strata_bind_report_destroy(r);
    strata_weights_destroy(w);

    static const struct {
        const char *text;
        strata_status status;
        const char *phrase;
    } cases[] = {
        { "conv9.weight\tconv1.weight\n", STRATA_NOT_FOUND, "no parameter conv9.weight" },
        { "conv1.weight\tconv9.weight\n", STRATA_NOT_FOUND, "no tensor conv9.weight" },
        { "# a\n\nconv1.weight conv1.weight\n", STRATA_INVALID, ":3: not of the form" },
        { "conv1.weight\tconv1.weight\r\nconv1.weight\tbn1.gamma\n", STRATA_INVALID, "mapped twice" },
        { "bn1.gamma\tbn1.beta\nbn1.beta\tbn1.beta\n", STRATA_INVALID, "two parameters" },
        { "conv1.weight\tbn1.gamma\n", STRATA_WEIGHTS, "another shape" },
        { "conv1.weight\tconv1.weight", STRATA_OK, NULL },
        { "", STRATA_OK, NULL },
    };
    w = make(random, same);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file(path, cases[i].text, strlen(cases[i].text));
        strata_graph *g = build(residual, 3);
        err.text[0] = '\0';
        assert_int_equal(strata_graph_bind(g, w, &saved, NULL, &err), cases[i].status);
        if (cases[i].phrase != NULL && strstr(err.text, cases[i].phrase) == NULL)
            fail_msg("'%s' does not say '%s'", err.text, cases[i].phrase);
        strata_graph_destroy(g);
    }
    unlink(path);
    const strata_bind_options none = { .map_path = path };
    strata_graph *g = build(residual, 3);
    assert_int_equal(strata_graph_bind(g, w, &none, NULL, &err), STRATA_NOT_FOUND);
    strata_graph_destroy(g);
    strata_weights_destroy(w);
    strata_graph_destroy(random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renamed),
        cmocka_unit_test(test_ties_are_refused),
        cmocka_unit_test(test_missing_is_not_replaced),
        cmocka_unit_test(test_foreign_names_with_gaps),
        cmocka_unit_test(test_contradicting_numbers),
        cmocka_unit_test(test_two_prefixes),
        cmocka_unit_test(test_saved_map),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
