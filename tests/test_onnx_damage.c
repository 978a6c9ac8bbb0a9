/* Damaged and hostile ONNX files: an error with a reason, never a crash. */
#include "../formats/onnx_import.h"
#include "../formats/wire.h"

#include "onnx_files.h"

#include <time.h>

/* Exports ops.graph; all bytes of the file. */
static unsigned char *export_ops(size_t *size)
{
    strata_graph *g = read_graph("ops.graph");
    strata_error  err;
    if (strata_graph_export_onnx(g, NULL, scratch_path(&tmp, "ops.onnx"), &err) != STRATA_OK)
        fail_msg("%s", err.text);
    strata_graph_destroy(g);
    FILE *from = fopen(tmp.path, "rb");
    assert_non_null(from);
    unsigned char *bytes = malloc(1 << 20);
    *size = fread(bytes, 1, 1 << 20, from);
    fclose(from);
    return bytes;
}

static strata_status import_bytes(const void *bytes, size_t size, strata_graph **g, strata_error *err)
{
    *err = (strata_error){ 0 };
    strata_status status = strata_graph_import_onnx(ctx, memory_file(bytes, size), NULL, g, err);
    assert_true((status == STRATA_OK) == (*g != NULL));
    assert_true(status == STRATA_OK || strlen(err->text) > 0);
    return status;
}

/* ---- Framing --------------------------------------------------------------------------------------------------------------- */

static void test_framing(void **state)
{
    (void)state;
    strata_graph *g = NULL;
    strata_error  err;
    /* ModelProto.graph = { input = { type = { sequence_type = { elem_type = { ... } } } } }, ever deeper */
    enum { DEPTH = 50000, ROOM = 12 * DEPTH };
    unsigned char *bytes = malloc(ROOM), *at = bytes + ROOM;
    for (int i = 0; i < DEPTH; i++) {
        static const unsigned char tags[] = { 0x22 /* sequence_type */, 0x0a /* elem_type */ };
        size_t                     size = (size_t)(bytes + ROOM - at);
        unsigned char              length[10];
        int                        n = 0;
        do {
            length[n] = (unsigned char)((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
            n++;
        } while (size >>= 7);
        at -= n;
        memcpy(at, length, (size_t)n);
        *--at = i == DEPTH - 1 ? 0x3a /* graph */ : i == DEPTH - 2 ? 0x5a /* input */ : i == DEPTH - 3 ? 0x12 : tags[i % 2];
    }
    assert_int_equal(import_bytes(at, (size_t)(bytes + ROOM - at), &g, &err), STRATA_FORMAT);
    assert_non_null(strstr(err.text, "nested deeper"));

    /* millions of empty nodes, two bytes each, would be gigabytes */
    enum { NODES = 2100000 };
    unsigned char *many = malloc(2 * NODES + 6);
    many[0] = 0x3a;
    for (int i = 0; i < 5; i++)
        many[1 + i] = (unsigned char)((2 * NODES >> 7 * i & 0x7f) | (i < 4 ? 0x80 : 0));
    for (int i = 0; i < NODES; i++) {
        many[6 + 2 * i] = 0x0a;
        many[7 + 2 * i] = 0;
    }
    assert_int_equal(import_bytes(many, 2 * NODES + 6, &g, &err), STRATA_FORMAT);
    assert_non_null(strstr(err.text, "no sane model"));
    free(many);
    free(bytes);
    assert_int_equal(import_bytes("", 0, &g, &err), STRATA_FORMAT);
    assert_int_equal(strata_graph_import_onnx(ctx, "/nowhere.onnx", NULL, &g, &err), STRATA_NOT_FOUND);
    assert_int_equal(strata_graph_import_onnx(ctx, tmp.dir, NULL, &g, &err), STRATA_FORMAT);
}

/* ---- Damage at random ---------------------------------------------------------------------------------------------------------- */

static uint64_t seed;

/* Whatever the answer is, it is one. */
static void survive(const void *bytes, size_t size)
{
    strata_graph *g = NULL;
    strata_error  err;
    (void)import_bytes(bytes, size, &g, &err);
    strata_graph_destroy(g);
}

static void test_random_bytes(void **state)
{
    (void)state;
    size_t         size;
    unsigned char *good = export_ops(&size), *bad = malloc(size);
    for (int round = 0; round < 600; round++) {
        memcpy(bad, good, size);
        size_t left = round % 4 == 0 ? (size_t)random_below(&seed, (int)size) : size;
        for (int k = random_below(&seed, 6); k >= 0; k--)
            bad[random_below(&seed, (int)size)] = (unsigned char)random_below(&seed, 256);
        survive(bad, left);
    }
    free(bad);
    free(good);
}

static int64_t strange_number(void)
{
    static const int64_t numbers[] = { 0, 1, -1, 2, 3, 7, 8, -5, 100, 4096, 65536, INT32_MAX, INT32_MIN, INT64_MAX,
                                       INT64_MIN, 1LL << 40 };
    return numbers[random_below(&seed, sizeof numbers / sizeof numbers[0])];
}

static void damage_node(Onnx__GraphProto *g)
{
    Onnx__NodeProto *n = g->node[random_below(&seed, (int)g->n_node)], *other = g->node[random_below(&seed, (int)g->n_node)];
    char            *swap = n->op_type;
    switch (random_below(&seed, 5)) {
    case 0: /* another op on the same operands */
        n->op_type = other->op_type;
        other->op_type = swap;
        break;
    case 1:
        if (n->n_input > 0 && other->n_input > 0) {
            char **a = &n->input[random_below(&seed, (int)n->n_input)], **b = &other->input[random_below(&seed, (int)other->n_input)];
            swap = *a, *a = *b, *b = swap;
        }
        break;
    case 2:
        if (n->n_input > 1)
            free(n->input[--n->n_input]);
        break;
    default:
        if (n->n_attribute > 0) {
            Onnx__AttributeProto *a = n->attribute[random_below(&seed, (int)n->n_attribute)];
            a->i = strange_number();
            a->f = random_below(&seed, 2) ? NAN : (float)strange_number();
            if (a->n_ints > 0)
                a->ints[random_below(&seed, (int)a->n_ints)] = strange_number();
        }
    }
}

static void damage_tensor(Onnx__GraphProto *g)
{
    Onnx__TensorProto *t = g->initializer[random_below(&seed, (int)g->n_initializer)];
    if (t->n_dims > 0 && random_below(&seed, 4) == 0)
        t->dims[random_below(&seed, (int)t->n_dims)] = strange_number();
    else if (t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64 && t->raw_data.len >= 8)
        memcpy(t->raw_data.data + 8 * (size_t)random_below(&seed, (int)(t->raw_data.len / 8)), &(int64_t){ strange_number() }, 8);
    else if (random_below(&seed, 4) == 0)
        t->data_type = random_below(&seed, 17);
}

static void test_random_meaning(void **state)
{
    (void)state;
    size_t         size;
    unsigned char *good = export_ops(&size);
    for (int round = 0; round < 1500; round++) {
        Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, size, good);
        assert_non_null(m);
        for (int k = random_below(&seed, 4); k >= 0; k--)
            (random_below(&seed, 2) ? damage_node : damage_tensor)(m->graph);
        if (random_below(&seed, 8) == 0)
            m->graph->input[0]->type->tensor_type->shape->dim[random_below(&seed, 4)]->dim_value = strange_number();
        if (random_below(&seed, 8) == 0)
            m->opset_import[0]->version = 6 + random_below(&seed, 14);
        size_t         bad_size = onnx__model_proto__get_packed_size(m);
        unsigned char *bad = malloc(bad_size + 1);
        onnx__model_proto__pack(m, bad);
        onnx__model_proto__free_unpacked(m, NULL);
        survive(bad, bad_size);
        free(bad);
    }
    free(good);
}

int main(void)
{
    const char *chosen = getenv("STRATA_TEST_SEED");
    seed = chosen != NULL ? strtoull(chosen, NULL, 10) : (uint64_t)time(NULL);
    printf("STRATA_TEST_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framing), cmocka_unit_test(test_random_bytes), cmocka_unit_test(test_random_meaning),
    };
    return cmocka_run_group_tests(tests, open_files, close_files);
}
