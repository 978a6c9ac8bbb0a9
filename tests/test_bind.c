/* Binding under equal names: what is missing, misshapen or of another type, and what is converted on the way.
 */
#include "bind_fixture.h"

#include <math.h>

static void test_equal_names(void **state)
{
    (void)state;
    strata_graph *random = with_random(build(plain, 3));
    strata_weights *w = make(random, same);
    strata_bind_report *r = bind(plain, w, NULL, random, STRATA_OK);
    assert_int_equal(strata_bind_report_count(r, STRATA_BIND_EXACT), 17);
    assert_int_equal(strata_bind_report_rows(r), 17);
    strata_bind_report_destroy(r);

    /* Only features: the head is not needed, not loaded, and no error. */
    strata_graph *g = build(plain, 3);
    strata_graph_select(g, "body", NULL);
    assert_int_equal(strata_graph_bind(g, w, NULL, &r, NULL), STRATA_OK);
    expect_right(g, random);
    assert_int_equal(strata_bind_report_count(r, STRATA_BIND_NOT_NEEDED), 2);
    expect_kind(r, "classifier.weight", STRATA_BIND_NOT_NEEDED);
    strata_bind_report_destroy(r);

    /* Weights gone, graph lives. */
    strata_weights_destroy(w);
    expect_right(g, random);
    strata_graph_destroy(g);
    strata_graph_destroy(random);
}

static void test_everything_wrong_is_listed(void **state)
{
    (void)state;
    strata_graph *random = with_random(build(plain, 3));
    const int64_t nine[1] = { 9 }, six[2] = { 6, 8 };
    const float zeros[64] = { 0 };
    maker m;
    maker_open(&m);
    for (int i = 0; i < strata_graph_node_count(random); i++) {
        strata_node *n = strata_graph_node(random, i);
        if (!is_param(n) || strcmp(n->name, "conv2.weight") == 0)
            continue;
        bool wide = strcmp(n->name, "bn3.beta") == 0, head = strcmp(n->name, "classifier.weight") == 0;
        if (wide)
            maker_add(&m, n->name, "Float32", 1, nine, zeros, 36);
        else if (head)
            maker_add(&m, n->name, "Float32", 2, six, zeros, 192);
        else
            maker_add(&m, n->name, "Float32", n->desc.rank, n->desc.dim, strata_tensor_data(n->data),
                      strata_bytes(&n->desc));
    }
    maker_add(&m, "conv2.wieght", "Float32", 1, nine, zeros, 36);
    maker_add(&m, "moments.conv1.weight", "Float32", 1, nine, zeros, 36);
    strata_weights *w = maker_write(&m);
    for (int automap = 0; automap < 2; automap++) {
        strata_bind_options o = { .auto_map = automap };
        strata_bind_report *r = bind(plain, w, &o, random, STRATA_WEIGHTS);
        expect_kind(r, "conv2.weight", STRATA_BIND_MISSING);
        assert_non_null(strstr(find_row(r, "conv2.weight")->note, "conv2.wieght"));
        expect_kind(r, "bn3.beta", STRATA_BIND_SHAPE);
        assert_non_null(strstr(find_row(r, "bn3.beta")->note, "[9]"));
        expect_kind(r, "classifier.weight", STRATA_BIND_SHAPE);
        assert_int_equal(strata_bind_report_count(r, STRATA_BIND_UNEXPECTED), 1);
        assert_int_equal(strata_bind_report_count(r, STRATA_BIND_SKIPPED), 1);

        FILE *to = tmpfile();
        char text[4096] = "";
        strata_bind_report_print(r, to);
        rewind(to);
        assert_true(fread(text, 1, sizeof text - 1, to) > 0);
        fclose(to);
        assert_non_null(strstr(text, "14 of 17 needed"));
        assert_non_null(strstr(text, "conv2.wieght"));
        assert_null(strstr(text, "moments"));
        strata_bind_report_destroy(r);
    }
    /* the text of the error alone says it too */
    strata_graph *g = build(plain, 3);
    strata_error err;
    assert_int_equal(strata_graph_bind(g, w, NULL, NULL, &err), STRATA_WEIGHTS);
    assert_non_null(strstr(err.text, "3 of 17"));
    assert_non_null(strstr(err.text, "conv2.weight is missing"));
    assert_non_null(strstr(err.text, "bn3.beta is of another shape"));
    /* without the head, two are left */
    strata_graph_select(g, "body", NULL);
    assert_int_equal(strata_graph_bind(g, w, NULL, NULL, &err), STRATA_WEIGHTS);
    assert_non_null(strstr(err.text, "2 of 15"));
    strata_graph_destroy(g);
    strata_weights_destroy(w);
    strata_graph_destroy(random);
}

static void test_element_types(void **state)
{
    (void)state;
    strata_graph *random = with_random(build(unlike, 3)), *g = build(unlike, 3);
    maker m;
    maker_open(&m);
    void *copies[16];
    int count = 0;
    for (int i = 0; i < strata_graph_node_count(random); i++) {
        strata_node *n = strata_graph_node(random, i);
        if (!is_param(n))
            continue;
        const float *x = strata_tensor_data(n->data);
        size_t elements = (size_t)strata_count(&n->desc);
        bool half = count % 2;
        copies[count] = malloc(elements * 8);
        if (half)
            strata_convert_from_f32(x, STRATA_F16, copies[count], elements);
        else
            for (size_t k = 0; k < elements; k++)
                ((double *)copies[count])[k] = (double)x[k];
        maker_add(&m, n->name, half ? "Float16" : "Float64", n->desc.rank, n->desc.dim, copies[count],
                  elements * (half ? 2 : 8));
        count++;
    }
    strata_weights *w = maker_write(&m);
    assert_int_equal(strata_graph_bind(g, w, NULL, NULL, NULL), STRATA_OK);
    for (int i = 0; i < strata_graph_node_count(g); i++) {
        strata_node *n = strata_graph_node(g, i);
        if (!is_param(n))
            continue;
        assert_int_equal(strata_tensor_get_desc(n->data)->dtype, STRATA_F32);
        const float *x = strata_tensor_data(n->data);
        const float *y = strata_tensor_data(strata_graph_find(random, n->name)->data);
        for (int64_t k = 0; k < strata_count(&n->desc); k++)
            assert_true(fabsf(x[k] - y[k]) <= fabsf(y[k]) * 0x1p-11f + 0x1p-25f);
    }
    while (count > 0)
        free(copies[--count]);
    strata_weights_destroy(w);
    strata_graph_destroy(g);
    strata_graph_destroy(random);
}

static void test_input_channels(void **state)
{
    (void)state;
    strata_graph *random = with_random(build(plain, 3));
    strata_weights *w = make(random, same);
    const float *src = strata_tensor_data(strata_graph_find(random, "conv1.weight")->data);
    for (int n = 1; n <= 7; n++) {
        strata_graph *g = build(plain, n);
        strata_bind_report *r;
        strata_error err = { 0 };
        if (strata_graph_bind(g, w, n % 2 ? &automatic : NULL, &r, &err) != STRATA_OK)
            fail_msg("%s", err.text);
        const float *x = strata_tensor_data(strata_graph_find(g, "conv1.weight")->data);
        for (int o = 0; o < 8; o++)
            for (int c = 0; c < n; c++)
                for (int i = 0; i < 9; i++, x++) {
                    const float *k = src + (o * 3) * 9 + i;
                    float expected = n == 1   ? k[0] + k[9] + k[18]
                                            : n == 3 ? k[c * 9]
                                                     : k[c % 3 * 9] * (float)(3.0 / n);
                    assert_true(*x == expected);
                }
        assert_true((find_row(r, "conv1.weight")->note != NULL) == (n != 3));
        strata_bind_report_destroy(r);
        strata_graph_destroy(g);
    }
    strata_weights_destroy(w);
    strata_graph_destroy(random);
}

static void test_ema(void **state)
{
    (void)state;
    strata_graph *random = with_random(build(unlike, 3)), *other = build(unlike, 3);
    assert_int_equal(strata_graph_bind_random(other, 2, 2, NULL), STRATA_OK);
    maker m;
    maker_open(&m);
    char name[256];
    for (int i = 0; i < strata_graph_node_count(random); i++) {
        strata_node *n = strata_graph_node(random, i), *o = strata_graph_node(other, i);
        if (!is_param(n))
            continue;
        maker_add(&m, n->name, "Float32", n->desc.rank, n->desc.dim, strata_tensor_data(n->data),
                  strata_bytes(&n->desc));
        snprintf(name, sizeof name, "ema.%s", n->name);
        maker_add(&m, name, "Float32", n->desc.rank, n->desc.dim, strata_tensor_data(o->data),
                  strata_bytes(&n->desc));
    }
    strata_weights *w = maker_write(&m);
    const strata_bind_options ema = { .ema = true };
    strata_bind_report *r = bind(unlike, w, NULL, random, STRATA_OK);
    assert_int_equal(strata_bind_report_count(r, STRATA_BIND_SKIPPED), 15);
    strata_bind_report_destroy(r);
    r = bind(unlike, w, &ema, other, STRATA_OK);
    assert_string_equal(find_row(r, "conv1.weight")->tensor, "ema.conv1.weight");
    strata_bind_report_destroy(r);
    strata_weights_destroy(w);

    w = make(random, same);
    r = bind(unlike, w, &ema, random, STRATA_NOT_FOUND);
    assert_null(r);
    strata_weights_destroy(w);
    strata_graph_destroy(other);
    strata_graph_destroy(random);
}

static void test_negative_variance(void **state)
{
    (void)state;
    strata_graph *random = with_random(build(unlike, 3));
    float *x = strata_tensor_data(strata_graph_find(random, "bn2.moving_variance")->data);
    x[3] = -0.01f;
    strata_weights *w = make(random, same);
    strata_graph *g = build(unlike, 3);
    strata_error err;
    assert_int_equal(strata_graph_bind(g, w, NULL, NULL, &err), STRATA_WEIGHTS);
    assert_non_null(strstr(err.text, "bn2.moving_variance"));
    expect_nothing(g);
    strata_graph_destroy(g);
    strata_weights_destroy(w);
    strata_graph_destroy(random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_names),
        cmocka_unit_test(test_everything_wrong_is_listed),
        cmocka_unit_test(test_element_types),
        cmocka_unit_test(test_input_channels),
        cmocka_unit_test(test_ema),
        cmocka_unit_test(test_negative_variance),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
