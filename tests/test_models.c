/* Every model against MindCV: the names and shapes of all parameters and the table of features, as listed in
 * data/models/FAMILY.txt, and the input records, from data/models/recipes.txt. Then what the caller may ask
 * for (sizes, channels, classes), and what happens to a model that declares its features wrongly. */
#include "context_state.h"

#include <strata/nn.h>

#include <stdlib.h>
#include <string.h>

enum { MAX_PARAMS = 4096, LINE = 256 };

static const char *const families[] = {
    "convnext", "efficientnet", "hrnet",  "mobilenetv2", "mobilenetv3",
    "repvgg",   "resnest",      "resnet", "rexnet",      "vgg",
};
enum { FAMILIES = sizeof families / sizeof *families };

static FILE *open_data(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, STRATA_TEST_DATA "/models/%s.txt", name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s: cannot be opened", path);
    return f;
}

static strata_context *new_context(void)
{
    strata_context *ctx;
    strata_error    err = { 0 };
    if (strata_context_create(&ctx, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return ctx;
}

static strata_status try_build(strata_context *ctx, const char *name, const strata_model_args *args,
                               strata_graph **out, strata_error *err)
{
    const strata_model_def *def = strata_find_model_def(ctx, name, err);
    return def ? strata_model_build(ctx, def, args, out, err) : STRATA_NOT_FOUND;
}

static strata_graph *build(strata_context *ctx, const char *name, const strata_model_args *args)
{
    strata_graph *g = NULL;
    strata_error  err = { 0 };
    if (try_build(ctx, name, args, &g, &err) != STRATA_OK)
        fail_msg("%s: %s", name, err.text);
    return g;
}

/* ---- Against MindCV -------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef struct lines {
    char *at[MAX_PARAMS];
    int   count;
} lines;

static void append(lines *l, const char *text)
{
    assert_true(l->count < MAX_PARAMS);
    l->at[l->count] = strdup(text);
    assert_non_null(l->at[l->count++]);
}

static void clear(lines *l)
{
    while (l->count > 0)
        free(l->at[--l->count]);
}

/* "conv1.weight 64x3x7x7" for every parameter of the graph. */
static void parameters_of(const strata_graph *g, lines *out)
{
    char line[LINE];

    for (int i = 0; i < strata_graph_node_count(g); i++) {
        const strata_node *n = strata_graph_node(g, i);
        if (n->op != &strata_op_param)
            continue;
        int at = snprintf(line, sizeof line, "%s ", n->name);
        for (int d = 0; d < n->desc.rank; d++)
            at += snprintf(line + at, sizeof line - (size_t)at, "%s%d", d ? "x" : "", (int)n->desc.dim[d]);
        append(out, line);
    }
}

/* "2 layer2 512 8" for every feature. */
static void features_of(const strata_graph *g, lines *out)
{
    char         line[LINE];
    strata_error err = { 0 };

    for (int i = 0; i < strata_graph_feature_count(g); i++) {
        strata_feature f;
        if (strata_graph_feature(g, i, &f, &err) != STRATA_OK)
            fail_msg("%s", err.text);
        snprintf(line, sizeof line, "%d %s %d %d", f.index, f.name, f.channels, f.reduction);
        append(out, line);
        assert_int_equal(f.desc->dim[1], f.channels);
    }
}

static void assert_same(const char *model, const char *what, lines *ours, lines *theirs)
{
    qsort(ours->at, (size_t)ours->count, sizeof *ours->at, by_text);
    qsort(theirs->at, (size_t)theirs->count, sizeof *theirs->at, by_text);
    for (int i = 0; i < ours->count || i < theirs->count; i++) {
        const char *a = i < ours->count ? ours->at[i] : "nothing";
        const char *b = i < theirs->count ? theirs->at[i] : "nothing";
        if (strcmp(a, b) != 0)
            fail_msg("%s: %s %d of %d by name: '%s' here, '%s' in MindCV", model, what, i, theirs->count, a,
                     b);
    }
}

/* The first `model` line is read already; ends after its `end`. */
static void check_model(strata_context *ctx, const char *model, FILE *f)
{
    static lines  ours, theirs, our_features, their_features;
    char          line[LINE], name[128], shape[64], text[LINE];
    int           index, chs, stride;
    strata_graph *g = build(ctx, model, NULL);

    while (fgets(line, sizeof line, f) && strncmp(line, "end", 3) != 0) {
        if (sscanf(line, "param %127s %*s %63s", name, shape) == 2) {
            snprintf(text, sizeof text, "%s %s", name, shape);
            append(&theirs, text);
        } else if (sscanf(line, "feature %d %127s chs %d reduction %d", &index, name, &chs, &stride) == 4) {
            snprintf(text, sizeof text, "%d %s %d %d", index, name, chs, stride);
            append(&their_features, text);
        } else {
            fail_msg("%s: unexpected line '%s'", model, line);
        }
    }
    parameters_of(g, &ours);
    assert_same(model, "parameter", &ours, &theirs);
    features_of(g, &our_features);
    if (their_features.count > 0) /* MindCV registers none for vgg: see vgg_features */
        assert_same(model, "feature", &our_features, &their_features);

    clear(&ours), clear(&theirs), clear(&our_features), clear(&their_features);
    strata_graph_destroy(g);
}

static void every_model_has_mindcv_parameters_and_features(void **state)
{
    strata_context *ctx = *state;
    char            line[LINE], model[64], module[64];
    int             models = 0, dummies = 3;

    for (int i = 0; i < FAMILIES; i++) {
        FILE *f = open_data(families[i]);
        while (fgets(line, sizeof line, f)) {
            if (sscanf(line, "model %63s module %63s", model, module) != 2)
                fail_msg("%s: unexpected line '%s'", families[i], line);
            strata_error            err = { 0 };
            const strata_model_def *def = strata_find_model_def(ctx, model, &err);
            if (!def)
                fail_msg("%s", err.text);
            assert_string_equal(def->family, module);
            assert_true(def->has_features);
            check_model(ctx, model, f);
            models++;
        }
        fclose(f);
    }
    assert_int_equal(models, 83 + 4);
    assert_int_equal(strata_list_models(ctx, NULL, false, NULL, NULL), models + dummies);
}

static void input_records_are_mindcv_recipes(void **state)
{
    strata_context *ctx = *state;
    char            line[LINE], model[64], size[16], how[16], crop[16];
    FILE           *f = open_data("recipes");

    while (fgets(line, sizeof line, f)) {
        assert_int_equal(sscanf(line, "%63s %15s %15s %15s", model, size, how, crop), 4);
        strata_model_info info;
        assert_int_equal(strata_find_model(ctx, model, &info, NULL), STRATA_OK);
        assert_int_equal(info.input.height, size[0] == '-' ? 224 : atoi(size));
        assert_int_equal(info.input.width, info.input.height);
        assert_int_equal(info.input.interpolation,
                         strcmp(how, "bicubic") == 0 ? STRATA_BICUBIC : STRATA_BILINEAR);
        assert_true(info.input.crop_pct == (crop[0] == '-' ? 0.875 : atof(crop)));
        assert_true(info.input.mean[0] == 0.485 && info.input.std[2] == 0.225);
        assert_int_equal(info.input.channels, 3);
        assert_int_equal(info.classes, 1000);
    }
    fclose(f);

    strata_model_info info;
    assert_int_equal(strata_find_model(ctx, "mobilenet_v2_035_128", &info, NULL), STRATA_OK);
    assert_int_equal(info.input.height, 128);
}

static void assert_features(strata_context *ctx, const char *model, const strata_model_args *args,
                            const char *const *rows, int count)
{
    lines         l = { .count = 0 };
    strata_graph *g = build(ctx, model, args);

    features_of(g, &l);
    assert_int_equal(l.count, count);
    for (int i = 0; i < count; i++)
        assert_string_equal(l.at[i], rows[i]);
    clear(&l);
    strata_graph_destroy(g);
}

static void vgg_features_are_the_last_relus(void **state)
{
    static const char *const rows[] = { "0 features.3 64 1", "1 features.8 128 2", "2 features.15 256 4",
                                        "3 features.22 512 8", "4 features.29 512 16" };
    assert_features(*state, "vgg16", NULL, rows, 5);
}

static void dummy_networks_register_their_modules(void **state)
{
    static const char *const one[] = { "0 layer1 16 2", "1 layer2 32 4", "2 layer3 64 8", "3 layer4 128 16" };
    static const char *const two[] = { "0 layers.0 16 2", "1 layers.1 32 4", "2 layers.2 64 8",
                                       "3 layers.3 128 16" };
    static const char *const three[] = { "0 stage1 16 2", "1 stage2 32 4" };
    assert_features(*state, "dummynet1", NULL, one, 4);
    assert_features(*state, "dummynet2", NULL, two, 4);
    assert_features(*state, "dummynet3", NULL, three, 2);
}

/* ---- What the caller may ask for --------------------------------------------------------------- */

static const strata_node *node(const strata_graph *g, const char *name)
{
    const strata_node *n = strata_graph_find(g, name);
    if (!n)
        fail_msg("%s: no value %%%s", strata_graph_name(g), name);
    return n;
}

static void arguments_reach_input_and_classifier(void **state)
{
    strata_graph *g = build(*state, "resnet18", &(strata_model_args){ 2, 1, 97, 131, 10 });

    static const int64_t input[] = { 2, 1, 97, 131 };
    assert_memory_equal(node(g, "input")->desc.dim, input, sizeof input);
    assert_int_equal(node(g, "classifier.weight")->desc.dim[0], 10);
    assert_int_equal(node(g, "conv1.weight")->desc.dim[1], 1);
    const strata_input_record *record = strata_graph_input_record(g);
    assert_int_equal(record->height, 97);
    assert_int_equal(record->width, 131);
    assert_int_equal(record->channels, 1);
    assert_int_equal(strata_graph_output_count(g), 1);
    assert_string_equal(strata_graph_output(g, 0).name, "logits");
    assert_int_equal(strata_graph_output(g, 0).desc->rank, 2);
    assert_int_equal(strata_graph_output(g, 0).desc->dim[1], 10);
    strata_graph_destroy(g);
}

static void absurd_arguments_are_refused(void **state)
{
    static const strata_model_args bad[] = {
        { .batch = -1 }, { .channels = -3 }, { .height = -224 }, { .width = -1 }, { .classes = -1 },
        { .batch = 1 << 30 }, { .height = 1 << 20 }, { .channels = 1 << 20 }, { .classes = 1 << 30 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        strata_graph *g = NULL;
        strata_error  err = { 0 };
        assert_int_equal(try_build(*state, "resnet18", &bad[i], &g, &err), STRATA_INVALID);
        assert_null(g);
        assert_non_null(strstr(err.text, "is not from 1 to"));
    }
}

/* Odd sizes down to one pixel build in every family, or are refused with a reason; nothing crashes. */
static void small_sizes_build_or_are_refused(void **state)
{
    static const char *const models[] = {
        "resnet18",  "resnest14",       "repvgg_a0",        "hrnet_w32",              "rexnet_10",
        "vgg11",     "convnext_tiny",   "convnextv2_atto",  "mobilenet_v2_100",       "efficientnet_b0",
        "dummynet3", "efficientnet_v2_s", "mobilenet_v3_small_100",
    };
    static const int sizes[][2] = { { 1, 1 }, { 2, 3 }, { 31, 33 }, { 32, 1 }, { 97, 131 } };

    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            const strata_model_args args = { .height = sizes[s][0], .width = sizes[s][1] };
            strata_graph           *g = NULL;
            strata_error            err = { 0 };
            strata_status           status = try_build(*state, models[m], &args, &g, &err);
            assert_true((status == STRATA_OK) == (g != NULL));
            if (status != STRATA_OK)
                assert_true(strstr(err.text, models[m]) && strchr(err.text, ':'));
            if (sizes[s][0] == 97 && status != STRATA_OK)
                fail_msg("%s", err.text);
            strata_graph_destroy(g);
        }
}

static void vgg_has_logits_only_where_the_map_is_7x7(void **state)
{
    strata_error  err = { 0 };
    strata_graph *g = build(*state, "vgg11", &(strata_model_args){ .height = 240, .width = 255 });
    assert_int_equal(strata_graph_select(g, "logits", &err), STRATA_OK);
    strata_graph_destroy(g);

    g = build(*state, "vgg11", &(strata_model_args){ .height = 96, .width = 128 });
    assert_int_equal(strata_graph_feature_count(g), 5);
    assert_int_not_equal(strata_graph_select(g, "logits", &err), STRATA_OK);
    assert_int_equal(strata_graph_select(g, "4", &err), STRATA_OK);
    strata_graph_destroy(g);
}

/* ---- create_model -------------------------------------------------------------------------------- */

static strata_graph *create(strata_context *ctx, const char *name, const strata_create_options *o)
{
    strata_graph *g = NULL;
    strata_error  err = { 0 };
    if (strata_create_model(ctx, name, o, &g, &err) != STRATA_OK)
        fail_msg("%s: %s", name, err.text);
    return g;
}

static void create_model_selects_outputs(void **state)
{
    strata_graph *g = create(*state, "resnet18", NULL);
    assert_int_equal(strata_graph_output_count(g), 1);
    assert_string_equal(strata_graph_output(g, 0).name, "logits");
    strata_graph_destroy(g);

    g = create(*state, "resnet18", &(strata_create_options){ .features_only = true });
    assert_int_equal(strata_graph_output_count(g), 5);
    assert_string_equal(strata_graph_output(g, 4).name, "layer4");
    strata_graph_destroy(g);

    g = create(*state, "resnet18", &(strata_create_options){ .features_only = true, .out_indices = "3,1" });
    assert_int_equal(strata_graph_output_count(g), 2);
    assert_string_equal(strata_graph_output(g, 0).name, "layer3");
    assert_string_equal(strata_graph_output(g, 1).name, "layer1");
    strata_graph_destroy(g);
}

static void create_model_says_what_is_wrong(void **state)
{
    strata_graph *g = NULL;
    strata_error  err = { 0 };

    assert_int_equal(strata_create_model(*state, "resnet81", NULL, &g, &err), STRATA_NOT_FOUND);
    assert_non_null(strstr(err.text, "resnet18"));
    assert_null(g);
    const strata_create_options nine = { .features_only = true, .out_indices = "9" };
    assert_int_not_equal(strata_create_model(*state, "resnet18", &nine, &g, &err), STRATA_OK);
    assert_null(g);
    const strata_create_options nowhere = { .checkpoint_path = STRATA_TEST_DATA "/no-such-file.ckpt" };
    assert_int_not_equal(strata_create_model(*state, "resnet18", &nowhere, &g, &err), STRATA_OK);
    assert_non_null(strstr(err.text, "no-such-file"));
    assert_null(g);
}

/* A user's own model, whose parameters data/ckpt/tiny.ckpt holds. */
static void build_tiny(strata_builder *b, const void *config, const strata_model_args *args)
{
    strata_node *x = nn_image(b, args);
    (void)config;

    x = nn_conv2d(b, x, "conv1", 8, 7, .stride = 2, .pad = 3);
    x = nn_relu(b, nn_batch_norm(b, x, "bn1"));
    nn_feature(b, x, "relu", 8, 2);
    x = nn_conv2d(b, x, "layer1.0.conv1", 8, 3, .pad = 1);
    x = nn_dense(b, nn_flatten(b, nn_global_avg_pool(b, x)), "classifier", args->classes);
    nn_output(b, x, "logits");
}

static const strata_model_def tiny = {
    .name = "tiny", .family = "test", .doc = "two convolutions", .build = build_tiny,
    .input = { .height = 32, .width = 32, .channels = 3, .std = { 1, 1, 1 }, .crop_pct = 1 }, .classes = 10, .has_features = true,
};

static void create_model_binds_a_checkpoint(void **state)
{
    strata_context             *ctx = new_context();
    strata_graph               *g = NULL;
    strata_error                err = { 0 };
    const strata_create_options whole = { .checkpoint_path = STRATA_TEST_DATA "/ckpt/tiny.ckpt" };
    strata_create_options       eleven = whole;
    (void)state;

    assert_int_equal(strata_register_model(ctx, &tiny, &err), STRATA_OK);
    g = create(ctx, "tiny", &whole);
    const strata_tensor *weight = node(g, "conv1.weight")->data;
    assert_non_null(weight);
    assert_true(*(const float *)strata_tensor_data(weight) == 0.0731815472f);
    assert_non_null(node(g, "classifier.bias")->data);
    strata_graph_destroy(g);

    eleven.num_classes = 11; /* the checkpoint has ten: an error for the logits, of no concern to features */
    assert_int_equal(strata_create_model(ctx, "tiny", &eleven, &g, &err), STRATA_WEIGHTS);
    assert_non_null(strstr(err.text, "tiny.ckpt"));
    assert_null(g);
    eleven.features_only = true;
    strata_graph_destroy(create(ctx, "tiny", &eleven));
    strata_context_destroy(ctx);
}

/* ---- Wrong tables ---------------------------------------------------------------------------------- */

typedef struct claim {
    int channels, reduction;
} claim;

static void build_claim(strata_builder *b, const void *config, const strata_model_args *args)
{
    const claim *c = config;
    strata_node *x = nn_image(b, args);
    x = nn_conv2d(b, x, "conv", 8, 3, .stride = 4, .pad = 1);
    nn_feature(b, x, "conv", c->channels, c->reduction);
    nn_output(b, x, "logits");
}

#define CLAIM(id, chs, stride)                                                                     \
    { .name = id, .family = "test", .doc = "one convolution", .build = build_claim,                \
      .config = &(const claim){ chs, stride }, .input = { .height = 64, .width = 64, .channels = 3, .std = { 1, 1, 1 }, .crop_pct = 1 }, \
      .classes = 1, .has_features = true }

static const strata_model_def truth = CLAIM("truth", 8, 4), lie_of_channels = CLAIM("lie_of_channels", 9, 4),
                              lie_of_stride = CLAIM("lie_of_stride", 8, 8);

static void wrong_feature_tables_fail_at_build(void **state)
{
    static const strata_model_def *const lies[] = { &lie_of_channels, &lie_of_stride };
    strata_context *ctx = new_context();
    strata_error    err = { 0 };
    (void)state;

    assert_int_equal(strata_register_model(ctx, &truth, &err), STRATA_OK);
    strata_graph_destroy(build(ctx, "truth", NULL));
    for (int i = 0; i < 2; i++) {
        strata_graph *g = NULL;
        assert_int_equal(strata_register_model(ctx, lies[i], &err), STRATA_OK);
        assert_int_not_equal(try_build(ctx, lies[i]->name, NULL, &g, &err), STRATA_OK);
        assert_null(g);
        assert_non_null(strstr(err.text, "conv"));
    }
    strata_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model_has_mindcv_parameters_and_features),
        cmocka_unit_test(input_records_are_mindcv_recipes),
        cmocka_unit_test(vgg_features_are_the_last_relus),
        cmocka_unit_test(dummy_networks_register_their_modules),
        cmocka_unit_test(arguments_reach_input_and_classifier),
        cmocka_unit_test(absurd_arguments_are_refused),
        cmocka_unit_test(small_sizes_build_or_are_refused),
        cmocka_unit_test(vgg_has_logits_only_where_the_map_is_7x7),
        cmocka_unit_test(create_model_selects_outputs),
        cmocka_unit_test(create_model_says_what_is_wrong),
        cmocka_unit_test(create_model_binds_a_checkpoint),
        cmocka_unit_test(wrong_feature_tables_fail_at_build),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
