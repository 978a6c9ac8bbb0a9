/* ONNX files, written and read: what cannot be said in ONNX, and models by hand that are refused with a reason. Damaged files
 * are in test_onnx_damage.c; numbers are compared with other engines in onnx_peer.py and test_onnx_conformance.c. */
#include "../formats/onnx_import.h"

#include "onnx_files.h"

#include <sys/stat.h>

/* ---- Export ------------------------------------------------------------------------------------------------------------ */

static void test_export_refuses(void **state)
{
    (void)state;
    strata_graph *g = read_graph("ops.graph");
    strata_error  err;
    const char   *path = scratch_path(&tmp, "no.onnx");
    strata_node  *weight = strata_graph_find(g, "c1.weight");
    strata_node_set_data(weight, NULL);
    assert_int_equal(strata_graph_export_onnx(g, NULL, path, &err), STRATA_WEIGHTS);
    assert_non_null(strstr(err.text, "c1.weight"));
    strata_tensor *noise = random_tensor(&weight->desc, 1, -1, 1);
    strata_node_set_data(weight, noise);
    strata_tensor_unref(noise);
    assert_int_equal(strata_graph_export_onnx(g, NULL, "/nowhere/at/all.onnx", &err), STRATA_IO);
    assert_int_not_equal(access(path, F_OK), 0);
    strata_graph_destroy(g);

    /* what looks along the batch cannot have a symbolic one */
    static const char text[] = "graph \"g\" { input %x : f32[1,4,2,2]\n %y = reshape(%x) {shape=[4,4]} : f32[4,4]\n"
                               " output \"y\" = %y }";
    assert_int_equal(strata_graph_parse(ctx, "g", text, sizeof text - 1, &g, &err), STRATA_OK);
    assert_int_equal(strata_graph_export_onnx(g, NULL, path, &err), STRATA_OK);
    assert_int_equal(strata_graph_export_onnx(g, &(strata_onnx_options){ .dynamic_batch = true }, path, &err),
                     STRATA_UNSUPPORTED);
    assert_non_null(strstr(err.text, "y: reshape"));
    strata_graph_destroy(g);
}

/* ---- Models made by hand ------------------------------------------------------------------------------------------------- */

enum { MOST = 8 };

typedef struct model {
    Onnx__ModelProto                   model;
    Onnx__GraphProto                   graph;
    Onnx__OperatorSetIdProto           opset, *opsets[1];
    Onnx__NodeProto                    node[MOST], *nodes[MOST];
    char                              *names[MOST][4];
    Onnx__TensorProto                  tensor, *tensors[1];
    int64_t                            dims[4];
    Onnx__StringStringEntryProto       entry[3], *entries[3];
    Onnx__ValueInfoProto               info[2], *infos[2];
    Onnx__TypeProto                    type;
    Onnx__TypeProto__Tensor            tensor_type;
    Onnx__TensorShapeProto             shape;
    Onnx__TensorShapeProto__Dimension  dim[4], *dim_list[4];
    float                              numbers[64];
} model;

/* An input x of [1,4,2,2], an initializer w of [4,1,1], an output y, and no node. */
static void begin(model *m)
{
    *m = (model){ .model = ONNX__MODEL_PROTO__INIT, .graph = ONNX__GRAPH_PROTO__INIT,
                  .opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, .tensor = ONNX__TENSOR_PROTO__INIT,
                  .info = { ONNX__VALUE_INFO_PROTO__INIT, ONNX__VALUE_INFO_PROTO__INIT }, .type = ONNX__TYPE_PROTO__INIT,
                  .tensor_type = ONNX__TYPE_PROTO__TENSOR__INIT, .shape = ONNX__TENSOR_SHAPE_PROTO__INIT };
    m->model.graph = &m->graph;
    m->opsets[0] = &m->opset;
    m->model.opset_import = m->opsets;
    m->model.n_opset_import = 1;
    m->opset.has_version = true;
    m->opset.version = 17;
    for (int i = 0; i < 4; i++) {
        m->dim[i] = (Onnx__TensorShapeProto__Dimension)ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT;
        m->dim[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        m->dim[i].dim_value = i == 0 ? 1 : i == 1 ? 4 : 2;
        m->dim_list[i] = &m->dim[i];
    }
    m->shape.dim = m->dim_list;
    m->shape.n_dim = 4;
    m->tensor_type.has_elem_type = true;
    m->tensor_type.elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    m->tensor_type.shape = &m->shape;
    m->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    m->type.tensor_type = &m->tensor_type;
    for (int i = 0; i < 2; i++) {
        m->info[i].type = &m->type;
        m->infos[i] = &m->info[i];
    }
    m->info[0].name = "x";
    m->info[1].name = "y";
    m->graph.input = &m->infos[0];
    m->graph.n_input = 1;
    m->graph.output = &m->infos[1];
    m->graph.n_output = 1;
    m->tensors[0] = &m->tensor;
    m->graph.initializer = m->tensors;
    m->graph.n_initializer = 1;
    m->dims[0] = 4;
    m->dims[1] = m->dims[2] = 1;
    m->tensor.name = "w";
    m->tensor.dims = m->dims;
    m->tensor.n_dims = 3;
    m->tensor.has_data_type = true;
    m->tensor.data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    m->tensor.has_raw_data = true;
    m->tensor.raw_data = (ProtobufCBinaryData){ 16, (uint8_t *)m->numbers };
    for (int i = 0; i < MOST; i++)
        m->nodes[i] = &m->node[i];
    m->graph.node = m->nodes;
}

/* A node of up to two operands. */
static Onnx__NodeProto *add(model *m, const char *op, const char *result, const char *x, const char *y)
{
    size_t           at = m->graph.n_node++;
    Onnx__NodeProto *n = &m->node[at];
    char           **names = m->names[at];
    *n = (Onnx__NodeProto)ONNX__NODE_PROTO__INIT;
    n->op_type = (char *)(uintptr_t)op;
    names[0] = (char *)(uintptr_t)x;
    names[1] = (char *)(uintptr_t)y;
    names[2] = (char *)(uintptr_t)result;
    n->input = names;
    n->n_input = y ? 2 : x ? 1 : 0;
    n->output = names + 2;
    n->n_output = 1;
    return n;
}

static strata_status import_model(const model *m, strata_graph **g, strata_error *err)
{
    const char    *path = scratch_path(&tmp, "made.onnx");
    size_t         size = onnx__model_proto__get_packed_size(&m->model);
    unsigned char *bytes = malloc(size + 1);
    FILE          *to = fopen(path, "wb");
    assert_true(bytes != NULL && to != NULL);
    onnx__model_proto__pack(&m->model, bytes);
    assert_int_equal(fwrite(bytes, 1, size, to), size);
    fclose(to);
    free(bytes);
    return strata_graph_import_onnx(ctx, path, NULL, g, err);
}

/* The import fails, and its text has `words` in it. */
static void refused(const model *m, const char *words)
{
    strata_graph *g = NULL;
    strata_error  err = { 0 };
    assert_int_not_equal(import_model(m, &g, &err), STRATA_OK);
    assert_null(g);
    if (strstr(err.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, words);
}

static void test_structure(void **state)
{
    (void)state;
    model         m;
    strata_graph *g = NULL;
    strata_error  err;
    begin(&m);
    add(&m, "Relu", "y", "x", NULL);
    assert_int_equal(import_model(&m, &g, &err), STRATA_OK);
    assert_string_equal(strata_graph_output(g, 0).name, "y");
    strata_graph_destroy(g);

    begin(&m); /* a cycle, or nodes out of order */
    add(&m, "Relu", "a", "y", NULL);
    add(&m, "Relu", "y", "a", NULL);
    refused(&m, "a cycle, or nodes out of order");
    begin(&m);
    add(&m, "Relu", "y", "z", NULL);
    refused(&m, "nothing gives");
    begin(&m);
    add(&m, "Relu", "y", "x", NULL);
    add(&m, "Relu", "y", "x", NULL);
    refused(&m, "'y' is defined twice");
    begin(&m);
    add(&m, "Relu", "z", "x", NULL);
    refused(&m, "nothing gives the output 'y'");
    begin(&m);
    refused(&m, "nothing gives the output 'y'");
    add(&m, "Relu", "y", "x", NULL);
    m.graph.n_output = 0;
    refused(&m, "no output");
    begin(&m);
    m.model.graph = NULL;
    refused(&m, "no ONNX model");
    begin(&m);
    add(&m, "Relu", "y", "w", NULL);
    refused(&m, "does not depend on the input");
    begin(&m);
    m.opset.version = 3;
    refused(&m, "opset 3");
    begin(&m);
    m.dim[2].dim_value = INT64_MAX;
    m.dim[3].dim_value = INT64_MAX;
    add(&m, "Relu", "y", "x", NULL);
    refused(&m, "too large");
    begin(&m); /* a strange name is no trouble */
    m.info[1].name = "a \"strange\"\nname, %";
    add(&m, "Relu", m.info[1].name, "x", NULL);
    assert_int_equal(import_model(&m, &g, &err), STRATA_OK);
    assert_string_equal(strata_graph_output(g, 0).name, "a__strange__name___");
    strata_graph_destroy(g);
}

/* One node of `type` with one operand, of the graph or constant, or none: whatever it needs is missing. */
static void with_too_few(const char *type)
{
    static const char *const first[] = { "x", "w", NULL };
    for (int i = 0; i < 3; i++) {
        model         m;
        strata_graph *g = NULL;
        strata_error  err = { 0 };
        begin(&m);
        add(&m, type, "y", first[i], NULL);
        assert_true((import_model(&m, &g, &err) == STRATA_OK) == (g != NULL));
        strata_graph_destroy(g);
    }
}

static void test_operands_missing(void **state)
{
    (void)state;
    static const onnx_row *const tables[] = { onnx_layer_rows, onnx_math_rows, onnx_shape_rows };
    static const char *const computed[] = { "Floor", "Ceil", "Cast", "Where", "Range", "ConstantOfShape", "Equal" };
    for (int t = 0; t < 3; t++)
        for (const onnx_row *row = tables[t]; row->name != NULL; row++)
            with_too_few(row->name);
    for (size_t i = 0; i < sizeof computed / sizeof *computed; i++)
        with_too_few(computed[i]);

    model m;
    begin(&m);
    add(&m, "Gather", "y", "w", NULL);
    refused(&m, "Gather");
}

/* Every node that cannot be had is named, those that no output needs are not. */
static void test_unsupported(void **state)
{
    (void)state;
    model         m;
    strata_graph *g = NULL;
    strata_error  err;
    begin(&m);
    add(&m, "Tanh", "a", "x", NULL)->name = "first";
    add(&m, "Relu", "b", "a", NULL);
    add(&m, "Det", "c", "b", NULL)->name = "second";
    add(&m, "Add", "y", "c", "x");
    add(&m, "Loop", "unused", "x", NULL)->name = "third";
    refused(&m, "2 nodes cannot be imported: Det 'second': there is no op for it; Tanh 'first': there is no op for it");

    strata_onnx_import partial = { .partial = true };
    m.node[2].op_type = "Relu"; /* x -> Tanh -> Relu -> Relu: only x is left */
    (void)import_model(&m, &g, &err);
    assert_int_equal(strata_graph_import_onnx(ctx, scratch_path(&tmp, "made.onnx"), &partial, &g, &err), STRATA_OK);
    assert_int_equal(strata_graph_output_count(g), 1);
    assert_string_equal(strata_graph_output(g, 0).name, "x");
    strata_graph_destroy(g);

    begin(&m);
    add(&m, "Relu", "y", "x", NULL)->domain = "com.example";
    refused(&m, "Relu 'y': there is no op for it");
}

static void test_tensors(void **state)
{
    (void)state;
    model m;
    begin(&m);
    add(&m, "PRelu", "y", "x", "w");
    m.tensor.raw_data.len = 12;
    refused(&m, "12 bytes, its shape 16");
    m.tensor.raw_data.len = 16;
    m.dims[0] = -4;
    refused(&m, "makes no sense");
    m.dims[0] = INT64_MAX;
    refused(&m, "makes no sense");
    m.dims[0] = 4;
    m.tensor.data_type = 8; /* strings */
    refused(&m, "type 8");
    m.tensor.data_type = 1;
    m.tensor.has_raw_data = false;
    refused(&m, "0 numbers, its shape 4");
    int64_t many[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 4 };
    m.tensor.has_raw_data = true;
    m.tensor.dims = many;
    m.tensor.n_dims = 9;
    refused(&m, "rank 9");
}

static void set_external(model *m, const char *location, const char *offset, const char *length)
{
    const char *const key[] = { "location", "offset", "length" }, *const value[] = { location, offset, length };
    m->tensor.has_raw_data = false;
    m->tensor.has_data_location = true;
    m->tensor.data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    for (int i = 0; i < 3; i++) {
        m->entry[i] = (Onnx__StringStringEntryProto)ONNX__STRING_STRING_ENTRY_PROTO__INIT;
        m->entry[i].key = (char *)(uintptr_t)key[i];
        m->entry[i].value = (char *)(uintptr_t)value[i];
        m->entries[i] = &m->entry[i];
    }
    m->tensor.external_data = m->entries;
    m->tensor.n_external_data = 3;
}

/* Weights beside the file come from its folder, from nowhere else. */
static void test_external(void **state)
{
    (void)state;
    model         m;
    strata_graph *g = NULL;
    strata_error  err;
    const float   numbers[6] = { 9, 1, 2, 3, 4, 9 };
    FILE         *to = fopen(scratch_path(&tmp, "w.data"), "wb");
    fwrite(numbers, sizeof *numbers, 6, to);
    fclose(to);
    begin(&m);
    add(&m, "PRelu", "y", "x", "w");
    set_external(&m, "w.data", "4", "16");
    if (import_model(&m, &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    assert_memory_equal(strata_tensor_data(strata_graph_find(g, "w")->data), numbers + 1, 16);
    strata_graph_destroy(g);

    const struct {
        const char *location, *offset, *length, *words;
    } cases[] = {
        { "w.data", "12", "16", "are not in" },
        { "w.data", "18446744073709551600", "16", "are not in" },
        { "w.data", "4", "12", "not 16 bytes" },
        { "w.data", "-4", "16", "damaged" },
        { "w.data", "4x", "16", "damaged" },
        { "", "0", "16", "damaged" },
        { "none.data", "0", "16", "cannot be read" },
        { "/etc/passwd", "0", "16", "cannot be read" },
        { "../../../../../../etc/passwd", "0", "16", "outside" },
        { "link", "0", "16", "outside" },
        { ".", "0", "16", "" },
    };
    assert_int_equal(symlink("/etc/passwd", scratch_path(&tmp, "link")), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_external(&m, cases[i].location, cases[i].offset, cases[i].length);
        refused(&m, strcmp(cases[i].location, "/etc/passwd") == 0 ? "" : cases[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_refuses), cmocka_unit_test(test_structure), cmocka_unit_test(test_operands_missing),
        cmocka_unit_test(test_unsupported),    cmocka_unit_test(test_tensors),   cmocka_unit_test(test_external),
    };
    return cmocka_run_group_tests(tests, open_files, close_files);
}
