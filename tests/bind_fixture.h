/* bind_fixture.h: small networks, checkpoints of them written under other names, orders and types, and what
 * must come of binding the two. The numbers are those of the rule for random weights, so a parameter that
 * gets another one's tensor is found out at once. "Right or refused" is the law: each test expects one of the
 * two, and nothing in between. */
#ifndef STRATA_TESTS_BIND_FIXTURE_H
#define STRATA_TESTS_BIND_FIXTURE_H

#include "fixture.h"

#include <strata/nn.h>

#include "checkpoint.pb-c.h"

/* ---- Small networks ------------------------------------------------------------------------------------ */

typedef void (*build_fn)(strata_builder *b, strata_node *x);

static inline strata_graph *build(build_fn fn, int channels)
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

static inline strata_node *conv_bn(strata_builder *b, strata_node *x, int i, int out)
{
    char name[2][16];
    snprintf(name[0], sizeof name[0], "conv%d", i);
    snprintf(name[1], sizeof name[1], "bn%d", i);
    x = nn_conv2d(b, x, name[0], out, 3, .pad = 1);
    return nn_relu(b, nn_batch_norm(b, x, name[1]));
}

/* conv1, bn1 and two equal pairs behind them; a head. */
static inline void plain(strata_builder *b, strata_node *x)
{
    for (int i = 1; i <= 3; i++)
        x = conv_bn(b, x, i, 8);
    nn_feature(b, x, "body", 8, 1);
    nn_output(b, nn_dense(b, nn_global_avg_pool(b, x), "classifier", 5), "logits");
}

/* Every module has a shape of its own. */
static inline void unlike(strata_builder *b, strata_node *x)
{
    for (int i = 1; i <= 3; i++)
        x = conv_bn(b, x, i, 8 * i);
    nn_output(b, x, "body");
}

/* Residual blocks of two stages, named as by MindCV. */
static inline void residual(strata_builder *b, strata_node *x)
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

static inline void maker_open(maker *m)
{
    enum { MOST = 2048 };
    *m = (maker){ calloc(MOST, sizeof *m->values), calloc(MOST, sizeof *m->pointers),
                  calloc(MOST, sizeof *m->tensors), calloc(MOST, sizeof *m->names), 0 };
}

/* `data` and `dim` stay with the caller until maker_write. */
static inline void maker_add(maker *m, const char *name, const char *type, int rank, const int64_t *dim,
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

static inline strata_weights *maker_write(maker *m)
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
static inline void maker_add_graph(maker *m, strata_graph *g, rename_fn rename)
{
    char name[256];
    for (int i = 0; i < strata_graph_node_count(g); i++) {
        strata_node *n = strata_graph_node(g, i);
        if (n->op == &strata_op_param && n->data != NULL && rename(n->name, name))
            maker_add(m, name, "Float32", n->desc.rank, n->desc.dim, strata_tensor_data(n->data),
                      strata_bytes(&n->desc));
    }
}

static inline strata_graph *with_random(strata_graph *g)
{
    assert_int_equal(strata_graph_bind_random(g, 1, 2, NULL), STRATA_OK);
    return g;
}

static inline strata_weights *make(strata_graph *random, rename_fn rename)
{
    maker m;
    maker_open(&m);
    maker_add_graph(&m, random, rename);
    return maker_write(&m);
}

static inline int compare_tags(const void *a, const void *b)
{
    return strcmp((*(Strata__Mindspore__Value *const *)a)->tag, (*(Strata__Mindspore__Value *const *)b)->tag);
}

/* In order of the names, as the usual writers of .safetensors list tensors. */
static inline strata_weights *make_sorted(strata_graph *random, rename_fn rename)
{
    maker m;
    maker_open(&m);
    maker_add_graph(&m, random, rename);
    qsort(m.pointers, (size_t)m.count, sizeof *m.pointers, compare_tags);
    return maker_write(&m);
}

/* ---- What must come of it ------------------------------------------------------------------------------ */

static inline bool is_param(const strata_node *n)
{
    return n->op == &strata_op_param;
}

/* Every parameter that the outputs need has the numbers of its own name in `random`; the others have none. */
static inline void expect_right(strata_graph *g, strata_graph *random)
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

static inline void expect_nothing(strata_graph *g)
{
    for (int i = 0; i < strata_graph_node_count(g); i++)
        assert_true(!is_param(strata_graph_node(g, i)) || strata_graph_node(g, i)->data == NULL);
}

static inline const strata_bind_row *find_row(const strata_bind_report *r, const char *parameter)
{
    for (int i = 0; i < strata_bind_report_rows(r); i++) {
        const strata_bind_row *row = strata_bind_report_row(r, i);
        if (row->parameter != NULL && strcmp(row->parameter, parameter) == 0)
            return row;
    }
    fail_msg("no row for %s", parameter);
    return NULL;
}

static inline void expect_kind(const strata_bind_report *r, const char *parameter, strata_bind_kind kind)
{
    const strata_bind_row *row = find_row(r, parameter);
    if (row->kind != kind)
        fail_msg("%s: kind %d, not %d: %s", parameter, row->kind, kind, row->note != NULL ? row->note : "");
}

static const strata_bind_options automatic = { .auto_map = true };

/* Binds a fresh graph; every failure must leave it unbound, with a report and a text. */
static inline strata_bind_report *bind(build_fn fn, const strata_weights *w, const strata_bind_options *options,
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

static inline bool same(const char *name, char out[256])
{
    snprintf(out, 256, "%s", name);
    return true;
}

static inline void replace(char *text, const char *from, const char *to)
{
    char *at = strstr(text, from);
    if (at == NULL)
        return;
    char rest[256];
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, (size_t)(256 - (at - text)), "%s%s", to, rest);
}

static inline bool torch(const char *name, char out[256])
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

/* Words replaced by others, numbers and leaves kept: layer1.0.conv2 becomes stages.1.blocks.0.cv2 */
static inline bool other_words(const char *name, char out[256])
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
static inline bool scrambled(const char *name, char out[256])
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

#endif
