/* Binding whole models to checkpoints with the names of torchvision and timm. */
#include "bind_fixture.h"

#include <ctype.h>

static strata_graph *model(const char *name)
{
    strata_graph *g;
    strata_error err = { 0 };
    if (strata_create_model(ctx, name, NULL, &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return g;
}

/* torchvision's and timm's resnet: bn and fc by other words, the same order. */
static bool flat(const char *name, char out[256])
{
    same(name, out);
    char *dot = strchr(out, '.');
    if (dot != NULL && isdigit((unsigned char)dot[1]))
        *dot = '_';
    return true;
}

/* timm's mobilenetv3_large_100: conv_stem, bn1, blocks.STAGE.I.{conv_pw, bn1, conv_dw, bn2, se, conv_pwl,
 * bn3}, blocks.6.0.{conv, bn1}. MindCV counts all of it, activations included, under features. */
static bool timm_mobilenetv3(const char *name, char out[256])
{
    static const int stage_of[18] = { 0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 5 };
    static const int first_of[6] = { 3, 4, 6, 9, 13, 15 };
    char renamed[256], rest[256];
    int at, layer, used = 0;
    torch(name, renamed);
    if (sscanf(renamed, "features.%d.layers.%d.%255s", &at, &layer, rest) == 3) {
        const char *const first[] = { "conv_dw", "bn1", NULL, "conv_pw", "bn2" };
        const char *const other[] = { "conv_pw", "bn1", NULL, "conv_dw", "bn2", NULL, NULL, NULL, NULL };
        bool squeezed = strncmp(rest, "conv_", 5) == 0;
        const char *leaf = strrchr(renamed, '.') + 1;
        const char *what = at == 3 ? first[layer] : layer < 5 ? other[layer] : NULL;
        if (what == NULL && !squeezed) /* after the squeeze: a convolution, then its norm */
            what = strcmp(leaf, "weight") == 0 && name[strlen(name) - 1] == 't' ? "conv_pwl" : "bn3";
        snprintf(out, 256, "blocks.%d.%d.%s%s.%s", stage_of[at], at - first_of[stage_of[at]],
                 squeezed ? "se." : what,
                 squeezed ? (strncmp(rest, "conv_reduce", 11) == 0 ? "conv_reduce" : "conv_expand") : "",
                 leaf);
        replace(out, "..", ".");
        return true;
    }
    if (sscanf(renamed, "features.%d.%n", &at, &used) == 1 && used > 0) {
        const char *const module = at == 0    ? "conv_stem"
                                   : at == 1  ? "bn1"
                                   : at == 18 ? "blocks.6.0.conv"
                                              : "blocks.6.0.bn1";
        snprintf(out, 256, "%s.%s", module, renamed + used);
        return true;
    }
    snprintf(out, 256, "%s", renamed);
    return strncmp(renamed, "fc", 2) != 0; /* its head is a convolution there */
}

/* timm's convnext: stem, stages.S.downsample, stages.S.blocks.I.{conv_dw, norm, mlp.fc1, mlp.fc2, gamma},
 * head. */
static bool timm_convnext(const char *name, char out[256])
{
    char renamed[256], rest[128];
    int at, block;
    torch(name, renamed);
    if (sscanf(renamed, "feature.%d.%d.%127s", &at, &block, rest) == 3 && at == 0)
        snprintf(out, 256, "stem.%d.%s", block, rest);
    else if (sscanf(renamed, "feature.%d.%d.%127s", &at, &block, rest) == 3 && at % 2 == 0)
        snprintf(out, 256, "stages.%d.downsample.%d.%s", at / 2, block, rest);
    else if (sscanf(renamed, "feature.%d.%d.%127s", &at, &block, rest) == 3)
        snprintf(out, 256, "stages.%d.blocks.%d.%s", at / 2, block, rest);
    else
        snprintf(out, 256, "head.%.200s", renamed);
    replace(out, "weight_", "gamma"); /* gamma_, after torch() */
    replace(out, "dwconv", "conv_dw");
    replace(out, "pwconv", "mlp.fc");
    return true;
}

static void check_model(const char *name, const char *outputs, rename_fn rename)
{
    strata_graph *random = with_random(model(name));
    for (int sorted = 0; sorted < 2; sorted++) {
        strata_graph *g = model(name);
        strata_weights *w = (sorted ? make_sorted : make)(random, rename);
        strata_bind_report *r;
        strata_error err = { 0 };
        assert_int_equal(strata_graph_select(g, outputs, &err), STRATA_OK);
        if (strata_graph_bind(g, w, &automatic, &r, &err) != STRATA_OK)
            fail_msg("%s: %s", name, err.text);
        assert_true(strata_bind_report_count(r, STRATA_BIND_MAPPED) > 0);
        strata_bind_report_destroy(r);
        strata_weights_destroy(w);
        expect_right(g, random);
        strata_graph_destroy(g);
    }
    strata_graph_destroy(random);
}

static void test_names_of_torchvision(void **state)
{
    (void)state;
    check_model("resnet50", "logits", torch);
}

static void test_wrapped_names(void **state)
{
    (void)state;
    check_model("mobilenet_v3_small_100", "logits", flat);
}

static void test_names_of_timm(void **state)
{
    (void)state;
    check_model("mobilenet_v3_large_100", "stride:8,stride:16,stride:32", timm_mobilenetv3);
    check_model("convnext_tiny", "logits", timm_convnext);
}

static void test_real_ties_are_refused(void **state)
{
    (void)state;
    strata_graph *random = with_random(model("mobilenet_v3_small_100")), *g = model("mobilenet_v3_small_100");
    strata_weights *w = make(random, scrambled);
    strata_error err;
    assert_int_equal(strata_graph_bind(g, w, &automatic, NULL, &err), STRATA_WEIGHTS);
    expect_nothing(g);
    strata_weights_destroy(w);
    strata_graph_destroy(g);
    strata_graph_destroy(random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_torchvision),
        cmocka_unit_test(test_wrapped_names),
        cmocka_unit_test(test_names_of_timm),
        cmocka_unit_test(test_real_ties_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
