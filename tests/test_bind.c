/* Binding: checkpoints written here under other names, prefixes, orders, types and with parts missing. Their
 * numbers are those of the rule for random weights, so a parameter that gets another one's tensor is found
 * out at once. "Right or refused" is the law: each test expects one of the two, and nothing in between. */
#include "scratch.h"

#include <strata/nn.h>

#include <ctype.h>
#include <math.h>

#include "checkpoint.pb-c.h"

static strata_context *ctx;
static scratch         tmp;

/* ---- Small networks ------------------------------------------------------------------------------------ */

typedef void (*build_fn)(strata_builder *b, strata_node *x);

static strata_graph *build(build_fn fn, int channels)
{
    strata_builder *b;
    strata_graph *g;
    strata_error err = { 0 };
    const strata_model_args args = { 1, channels, 16, 16, 5 };
    assert_int_equal(strata_builder_create(ctx, "small", &b, NULL), STRATA_OK);
    fn(b, nn_image(b, &args));
    if (strata_builder_finish(b, &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return g;
}

static strata_node *conv_bn(strata_builder *b, strata_node *x, int i, int out)
{
    char name[2][16];
    snprintf(name[0], sizeof name[0], "conv%d", i);
    snprintf(name[1], sizeof name[1], "bn%d", i);
    x = nn_conv2d(b, x, name[0], out, 3, .pad = 1);
    return nn_relu(b, nn_batch_norm(b, x, name[1]));
}

/* conv1, bn1 and two equal pairs behind them; a head. */
static void plain(strata_builder *b, strata_node *x)
{
    for (int i = 1; i <= 3; i++)
        x = conv_bn(b, x, i, 8);
    nn_feature(b, x, "body", 8, 1);
    nn_output(b, nn_dense(b, nn_global_avg_pool(b, x), "classifier", 5), "logits");
}

/* Every module has a shape of its own. */
static void unlike(strata_builder *b, strata_node *x)
{
    for (int i = 1; i <= 3; i++)
        x = conv_bn(b, x, i, 8 * i);
    nn_output(b, x, "body");
}

/* Residual blocks of two stages, named as by MindCV. */
static void residual(strata_builder *b, strata_node *x)
{
    x = conv_bn(b, x, 1, 8);
    for (int s = 1; s <= 2; s++)
        for (int k = 0; k < 2; k++)
            NN_SCOPE(b, "layer%d.%d", s, k)
            {
                strata_node *y = nn_conv2d(b, x, "conv1", 8 * s, 3, .pad = 1);
                y = nn_relu(b, nn_batch_norm(b, y, "bn1"));
                y = nn_conv2d(b, y, "conv2", 8 * s, 3, .pad = 1);
                y = nn_batch_norm(b, y, "bn2");
                if (nn_channels(x) != 8 * s) {
                    NN_SCOPE(b, "down_sample")
                    {
                        x = nn_conv2d(b, x, "0", 8 * s, 1);
                        x = nn_batch_norm(b, x, "1");
                    }
                }
                x = nn_relu(b, nn_add(b, x, y));
            }
    nn_output(b, x, "body");
}

/* ---- Checkpoints --------------------------------------------------------------------------------------- */

/* The name that a parameter has in a file; false leaves it out. */
typedef bool (*rename_fn)(const char *name, char out[256]);

typedef struct maker {
    Strata__Mindspore__Value       *values, **pointers;
    Strata__Mindspore__TensorProto *tensors;
    char                          (*names)[256];
    int                             count;
} maker;

static void maker_open(maker *m)
{
    enum { MOST = 2048 };
    *m = (maker){ calloc(MOST, sizeof *m->values), calloc(MOST, sizeof *m->pointers),
                  calloc(MOST, sizeof *m->tensors), calloc(MOST, sizeof *m->names), 0 };
}

/* `data` and `dim` stay with the caller until maker_write. */
static void maker_add(maker *m, const char *name, const char *type, int rank, const int64_t *dim,
                      const void *data, size_t size)
{
    int i = m->count++;
    snprintf(m->names[i], sizeof m->names[i], "%s", name);
    m->tensors[i] = (Strata__Mindspore__TensorProto)STRATA__MINDSPORE__TENSOR_PROTO__INIT;
    m->tensors[i].n_dims = (size_t)rank;
    m->tensors[i].dims = (int64_t *)dim;
    m->tensors[i].tensor_type = (char *)type;
    m->tensors[i].has_tensor_content = 1;
    m->tensors[i].tensor_content = (ProtobufCBinaryData){ size, (uint8_t *)data };
    m->values[i] = (Strata__Mindspore__Value)STRATA__MINDSPORE__VALUE__INIT;
    m->values[i].tag = m->names[i];
    m->values[i].tensor = &m->tensors[i];
    m->pointers[i] = &m->values[i];
}

static strata_weights *maker_write(maker *m)
{
    Strata__Mindspore__Checkpoint c = STRATA__MINDSPORE__CHECKPOINT__INIT;
    c.n_value = (size_t)m->count;
    c.value = m->pointers;
    size_t size = strata__mindspore__checkpoint__get_packed_size(&c);
    uint8_t *bytes = malloc(size);
    strata__mindspore__checkpoint__pack(&c, bytes);
    write_file(scratch_path(&tmp, "w.ckpt"), bytes, size);
    free(bytes);
    free(m->values);
    free(m->pointers);
    free(m->tensors);
    free(m->names);
    strata_weights *w;
    strata_error err = { 0 };
    if (strata_weights_load(ctx, tmp.path, &w, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    unlink(tmp.path); /* the map keeps the bytes */
    return w;
}

/* All parameters of g, with the values of the random rule. */
static void maker_add_graph(maker *m, strata_graph *g, rename_fn rename)
{
    char name[256];
    for (int i = 0; i < strata_graph_node_count(g); i++) {
        strata_node *n = strata_graph_node(g, i);
        if (n->op == &strata_op_param && n->data != NULL && rename(n->name, name))
            maker_add(m, name, "Float32", n->desc.rank, n->desc.dim, strata_tensor_data(n->data),
                      strata_bytes(&n->desc));
    }
}

static strata_graph *with_random(strata_graph *g)
{
    assert_int_equal(strata_graph_bind_random(g, 1, 2, NULL), STRATA_OK);
    return g;
}

static strata_weights *make(strata_graph *random, rename_fn rename)
{
    maker m;
    maker_open(&m);
    maker_add_graph(&m, random, rename);
    return maker_write(&m);
}

static int compare_tags(const void *a, const void *b)
{
    return strcmp((*(Strata__Mindspore__Value *const *)a)->tag, (*(Strata__Mindspore__Value *const *)b)->tag);
}

/* In order of the names, as the usual writers of .safetensors list tensors. */
static strata_weights *make_sorted(strata_graph *random, rename_fn rename)
{
    maker m;
    maker_open(&m);
    maker_add_graph(&m, random, rename);
    qsort(m.pointers, (size_t)m.count, sizeof *m.pointers, compare_tags);
    return maker_write(&m);
}

/* ---- What must come of it ------------------------------------------------------------------------------ */

static bool is_param(const strata_node *n)
{
    return n->op == &strata_op_param;
}

/* Every parameter that the outputs need has the numbers of its own name in `random`; the others have none. */
static void expect_right(strata_graph *g, strata_graph *random)
{
    bool *live = calloc((size_t)strata_graph_node_count(g) + 1, sizeof *live);
    strata_graph_mark_live(g, live);
    for (int i = 0; i < strata_graph_node_count(g); i++) {
        strata_node *n = strata_graph_node(g, i);
        if (!is_param(n))
            continue;
        if (!live[i]) {
            assert_null(n->data);
            continue;
        }
        const strata_node *own = strata_graph_find(random, n->name);
        assert_true(n->data != NULL && own != NULL);
        const strata_tensor_desc *d = strata_tensor_get_desc(n->data);
        assert_true(d->dtype == STRATA_F32 && strata_same_shape(d, &n->desc));
        if (memcmp(strata_tensor_data(n->data), strata_tensor_data(own->data), strata_bytes(d)) != 0)
            fail_msg("%s has the numbers of another parameter", n->name);
    }
    free(live);
}

static void expect_nothing(strata_graph *g)
{
    for (int i = 0; i < strata_graph_node_count(g); i++)
        assert_true(!is_param(strata_graph_node(g, i)) || strata_graph_node(g, i)->data == NULL);
}

static const strata_bind_row *find_row(const strata_bind_report *r, const char *parameter)
{
    for (int i = 0; i < strata_bind_report_rows(r); i++) {
        const strata_bind_row *row = strata_bind_report_row(r, i);
        if (row->parameter != NULL && strcmp(row->parameter, parameter) == 0)
            return row;
    }
    fail_msg("no row for %s", parameter);
    return NULL;
}

static void expect_kind(const strata_bind_report *r, const char *parameter, strata_bind_kind kind)
{
    const strata_bind_row *row = find_row(r, parameter);
    if (row->kind != kind)
        fail_msg("%s: kind %d, not %d: %s", parameter, row->kind, kind, row->note != NULL ? row->note : "");
}

static const strata_bind_options automatic = { .auto_map = true };

/* Binds a fresh graph; every failure must leave it unbound, with a report and a text. */
static strata_bind_report *bind(build_fn fn, const strata_weights *w, const strata_bind_options *options,
                                strata_graph *random, strata_status expected)
{
    strata_graph *g = build(fn, 3);
    strata_bind_report *r;
    strata_error err = { 0 };
    strata_status status = strata_graph_bind(g, w, options, &r, &err);
    if (status != expected)
        fail_msg("%s instead of %s: %s", strata_status_name(status), strata_status_name(expected), err.text);
    if (status == STRATA_OK) {
        expect_right(g, random);
    } else {
        expect_nothing(g);
        assert_true(strlen(err.text) > 0);
    }
    strata_graph_destroy(g);
    return r;
}

/* ---- Renaming ------------------------------------------------------------------------------------------ */

static bool same(const char *name, char out[256])
{
    snprintf(out, 256, "%s", name);
    return true;
}

static void replace(char *text, const char *from, const char *to)
{
    char *at = strstr(text, from);
    if (at == NULL)
        return;
    char rest[256];
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, (size_t)(256 - (at - text)), "%s%s", to, rest);
}

static bool torch(const char *name, char out[256])
{
    same(name, out);
    replace(out, "classifier", "fc");
    replace(out, "down_sample", "downsample");
    replace(out, ".gamma", ".weight");
    replace(out, ".beta", ".bias");
    replace(out, "moving_mean", "running_mean");
    replace(out, "moving_variance", "running_var");
    return true;
}

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

/* Words replaced by others, numbers and leaves kept: layer1.0.conv2 becomes stages.1.blocks.0.cv2 */
static bool other_words(const char *name, char out[256])
{
    torch(name, out);
    replace(out, "layer", "stages.");
    replace(out, ".0.", ".blocks.0.");
    replace(out, ".1.conv", ".blocks.1.conv");
    replace(out, ".1.bn", ".blocks.1.bn");
    replace(out, "conv", "cv");
    replace(out, "bn", "n");
    replace(out, "downsample", "skip.way");
    return true;
}

/* No word, number or order left: a hash of the module's name. */
static bool scrambled(const char *name, char out[256])
{
    unsigned h = 5381;
    char renamed[256];
    torch(name, renamed);
    char *leaf = strrchr(renamed, '.');
    for (const char *at = renamed; at < leaf; at++)
        h = h * 33u ^ (unsigned char)*at;
    snprintf(out, 256, "%08x%s", h * 2654435761u, leaf);
    return true;
}

static bool hashed_leaves(const char *name, char out[256])
{
    unsigned h = 5381;
    for (const char *at = name; *at != '\0'; at++)
        h = h * 33u ^ (unsigned char)*at;
    snprintf(out, 256, "p%08x", h * 2654435761u);
    return true;
}

/* ---- Random weights ------------------------------------------------------------------------------------ */

static void expect_values(const strata_graph *g, const char *name, const double expected[4])
{
    const strata_node *n = strata_graph_find(g, name);
    assert_true(n != NULL && n->data != NULL);
    for (int i = 0; i < 4; i++) {
        float x = ((const float *)strata_tensor_data(n->data))[i], wanted = (float)expected[i];
        if (x != wanted) /* nine digits name a float exactly */
            fail_msg("%s[%d] is %.9g, not %.9g", name, i, (double)x, (double)wanted);
    }
}

static void rule_parameters(strata_builder *b, strata_node *x)
{
    x = nn_conv2d(b, x, "conv1", 64, 7, .stride = 2, .pad = 3);
    x = nn_batch_norm(b, x, "bn1");
    strata_node *scale = NULL;
    NN_SCOPE(b, "stages.0")
        scale = nn_param(b, "gamma_", 96);
    nn_output(b, scale, "scale");
    nn_output(b, nn_dense(b, nn_global_avg_pool(b, x), "classifier", 1000), "logits");
}

static void test_random_rule(void **state)
{
    (void)state;
    strata_graph *g = build(rule_parameters, 3);
    strata_error err;
    assert_int_equal(strata_graph_bind_random(g, 1, 2.0, &err), STRATA_OK);
    expect_values(g, "conv1.weight", (double[]){ 0.0731815472, 0.116777718, 0.115532845, -0.163808212 });
    expect_values(g, "bn1.gamma", (double[]){ 0.887531638, 0.65518111, 0.875959873, 0.800703287 });
    expect_values(g, "bn1.beta", (double[]){ -0.148953274, 0.0933547541, -0.175753191, -0.0944653749 });
    expect_values(g, "bn1.moving_mean", (double[]){ -0.0788520351, 0.080580309, 0.0442848206, -0.192887187 });
    expect_values(g, "bn1.moving_variance", (double[]){ 0.678871989, 0.8493945, 0.846480787, 1.08093047 });
    expect_values(g, "classifier.bias",
                  (double[]){ 0.0441614389, -0.0439056046, 0.0459611788, 0.0523031242 });
    expect_values(g, "stages.0.gamma_", (double[]){ -0.139395982, 0.117010139, 0.0960334092, 0.111488439 });
    assert_int_equal(strata_graph_bind_random(g, 1, 0, &err), STRATA_INVALID);
    assert_int_equal(strata_graph_bind_random(g, 1, NAN, &err), STRATA_INVALID);
    strata_graph_destroy(g);

    float x[4];
    const float expected[4] = { -1.75744224f, 1.69727278f, -0.916045427f, -0.253632069f };
    strata_random_input(1, x, 4);
    assert_memory_equal(x, expected, sizeof x);
}

static void test_random_fills_only_what_is_needed(void **state)
{
    (void)state;
    strata_graph *g = build(plain, 3);
    assert_int_equal(strata_graph_select(g, "body", NULL), STRATA_OK);
    with_random(g);
    assert_null(strata_graph_find(g, "classifier.weight")->data);
    assert_non_null(strata_graph_find(g, "conv3.weight")->data);
    strata_graph_destroy(g);
}

/* ---- Equal names --------------------------------------------------------------------------------------- */

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

/* ---- Other names --------------------------------------------------------------------------------------- */

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

/* ---- Real models --------------------------------------------------------------------------------------- */

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

static int setup(void **state)
{
    (void)state;
    scratch_open(&tmp);
    return strata_context_create(&ctx, NULL);
}

static int teardown(void **state)
{
    (void)state;
    strata_context_destroy(ctx);
    scratch_close(&tmp);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_rule),
        cmocka_unit_test(test_random_fills_only_what_is_needed),
        cmocka_unit_test(test_equal_names),
        cmocka_unit_test(test_everything_wrong_is_listed),
        cmocka_unit_test(test_element_types),
        cmocka_unit_test(test_input_channels),
        cmocka_unit_test(test_ema),
        cmocka_unit_test(test_negative_variance),
        cmocka_unit_test(test_renamed),
        cmocka_unit_test(test_ties_are_refused),
        cmocka_unit_test(test_missing_is_not_replaced),
        cmocka_unit_test(test_foreign_names_with_gaps),
        cmocka_unit_test(test_contradicting_numbers),
        cmocka_unit_test(test_two_prefixes),
        cmocka_unit_test(test_saved_map),
        cmocka_unit_test(test_names_of_torchvision),
        cmocka_unit_test(test_wrapped_names),
        cmocka_unit_test(test_names_of_timm),
        cmocka_unit_test(test_real_ties_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
