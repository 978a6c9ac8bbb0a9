/* onnx_export.c: a graph as an ONNX file (opset 17, IR version 8).
 *
 * Every value that an output needs becomes an ONNX value of the same name, an output one of the output's name; helper
 * values of ops that ONNX says in several words are "name/what". Parameters and constants are initializers. Shapes stand
 * beside every value, so that viewers show them. What else a graph knows goes into the model's metadata as JSON:
 * "strata.image" (the input record) and "strata.features".
 *
 * protobuf-c packs straight into the file from the tensors' own bytes: no second copy of the weights is made. A
 * message must stay below 2 GB; larger models keep their weights in NAME.data beside the file. */
#include "atomic_file.h"
#include "onnx_build.h"

#include <jansson.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OPSET = 17, IR_VERSION = 8, EXTERNAL_ALIGNMENT = 4096, EXTERNAL_MIN_BYTES = 1024 };
static const uint64_t LARGEST_INSIDE = 1800000000;
static const char     BATCH_SYMBOL[] = "N";

/* ---- Values and their names ------------------------------------------------------------------------------------ */

static bool is_output_name(const strata_graph *g, const char *name, const strata_node *but)
{
    for (int i = 0; i < strata_graph_output_count(g); i++) {
        strata_output o = strata_graph_output(g, i);
        if (o.node != but && strcmp(o.name, name) == 0)
            return true;
    }
    return false;
}

/* Names for all live values: an output's name for its value, the node's own for all others. */
static void name_values(onnx_model *m)
{
    const strata_graph *g = m->graph;
    const int           count = strata_graph_node_count(g);
    bool               *live = onnx_alloc(m, (size_t)count + 1);
    m->value = calloc((size_t)count + 1, sizeof *m->value);
    m->varies = calloc((size_t)count + 1, 1);
    m->written = calloc((size_t)count + 1, 1);
    if (live == NULL || m->value == NULL || m->varies == NULL || m->written == NULL) {
        onnx_fail(m, STRATA_NOMEM, "no memory for the ONNX model");
        return;
    }
    strata_graph_mark_live(g, live);
    for (int i = 0; i < strata_graph_output_count(g); i++) {
        strata_output o = strata_graph_output(g, i);
        if (m->value[o.node->id] == NULL && !strata_node_is_source(o.node))
            m->value[o.node->id] = o.name;
    }
    for (int i = 0; i < count; i++) {
        const strata_node *n = strata_graph_node(g, i);
        if (live[i] && m->value[i] == NULL)
            m->value[i] = is_output_name(g, n->name, NULL) ? onnx_temp(m, n, "value") : n->name;
        m->varies[i] = n->op == &strata_op_input;
        for (int k = 0; k < strata_operand_count(n); k++)
            m->varies[i] |= n->in[k] != NULL && m->varies[n->in[k]->id];
    }
}

static Onnx__ValueInfoProto *describe(onnx_model *m, const char *name, const strata_node *n)
{
    const strata_tensor_desc         *d = &n->desc;
    Onnx__ValueInfoProto             *info = onnx_alloc(m, sizeof *info);
    Onnx__TypeProto                  *type = onnx_alloc(m, sizeof *type);
    Onnx__TypeProto__Tensor          *tensor = onnx_alloc(m, sizeof *tensor);
    Onnx__TensorShapeProto           *shape = onnx_alloc(m, sizeof *shape);
    Onnx__TensorShapeProto__Dimension **dims = onnx_alloc(m, (size_t)d->rank * sizeof *dims + 1);
    Onnx__TensorShapeProto__Dimension *dim = onnx_alloc(m, (size_t)d->rank * sizeof *dim + 1);
    if (dim == NULL || onnx_failed(m))
        return NULL;
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    for (int i = 0; i < d->rank; i++) {
        onnx__tensor_shape_proto__dimension__init(&dim[i]);
        if (i == 0 && m->dynamic_batch && m->varies[n->id]) {
            dim[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim[i].dim_param = onnx_text(m, "%s", BATCH_SYMBOL);
        } else {
            dim[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim[i].dim_value = d->dim[i];
        }
        dims[i] = &dim[i];
    }
    shape->dim = dims;
    shape->n_dim = (size_t)d->rank;
    tensor->has_elem_type = true;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    info->name = onnx_text(m, "%s", name);
    info->type = type;
    return info;
}

/* ---- The graph --------------------------------------------------------------------------------------------------- */

/* Ops without a row, all of them in one message. */
static void check_ops(onnx_model *m)
{
    char text[1024] = "";
    size_t used = 0;
    for (int i = 0; i < strata_graph_node_count(m->graph); i++) {
        const strata_node *n = strata_graph_node(m->graph, i);
        if (m->value[i] != NULL && !strata_node_is_source(n) && !onnx_find_writer(n->op) && used + 1 < sizeof text) {
            int length = snprintf(text + used, sizeof text - used, "%s%s (%s)", used ? ", " : "", n->op->name, n->name);
            used += length > 0 ? (size_t)length : 0;
        }
    }
    if (used > 0)
        onnx_fail(m, STRATA_UNSUPPORTED, "these ops have no form in ONNX: %s", text);
}

static void write_nodes(onnx_model *m)
{
    for (int i = 0; i < strata_graph_node_count(m->graph) && !onnx_failed(m); i++) {
        const strata_node *n = strata_graph_node(m->graph, i);
        if (m->value[i] == NULL || strata_node_is_source(n))
            continue;
        onnx_find_writer(n->op)(m, n, m->value[i]);
        if (!onnx_failed(m))
            ((Onnx__NodeProto *)m->nodes.at[m->nodes.count - 1])->name = onnx_text(m, "%s", n->name);
        if (m->varies[i] && !is_output_name(m->graph, m->value[i], NULL))
            onnx_push(m, &m->infos, describe(m, m->value[i], n));
    }
}

static void write_outputs(onnx_model *m)
{
    for (int i = 0; i < strata_graph_output_count(m->graph); i++) {
        strata_output o = strata_graph_output(m->graph, i);
        strata_node  *n = strata_graph_node(m->graph, (int)o.node->id);
        if (strcmp(m->value[n->id], o.name) != 0) { /* a source, or a value that is an output twice */
            onnx_node(m, "Identity", o.name, onnx_value(m, n));
        }
        onnx_push(m, &m->outputs, describe(m, o.name, n));
    }
}

static void check_batch(onnx_model *m)
{
    for (int i = 0; m->dynamic_batch && i < strata_graph_input_count(m->graph); i++) {
        strata_output in = strata_graph_input(m->graph, i);
        if (in.desc->rank < 1 || in.desc->dim[0] != 1)
            onnx_fail(m, STRATA_INVALID, "input '%s': a symbolic batch needs a graph built for batch 1", in.name);
    }
}

/* ---- Metadata ------------------------------------------------------------------------------------------------------ */

static json_t *image_json(const strata_input_record *r)
{
    return json_pack("{s:[ii], s:i, s:[fff], s:[fff], s:s, s:f}", "size", r->height, r->width, "channels", r->channels,
                     "mean", r->mean[0], r->mean[1], r->mean[2], "std", r->std[0], r->std[1], r->std[2],
                     "interpolation", r->interpolation == STRATA_BICUBIC ? "bicubic" : "bilinear", "crop_pct",
                     r->crop_pct);
}

static json_t *features_json(const onnx_model *m)
{
    json_t *list = json_array();
    for (int i = 0; i < strata_graph_feature_count(m->graph); i++) {
        strata_feature f;
        if (strata_graph_feature(m->graph, i, &f, NULL) == STRATA_OK && m->value[f.node->id] != NULL)
            json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:i, s:i}", "index", f.index, "name", f.name,
                                                  "value", m->value[f.node->id], "channels", f.channels, "reduction",
                                                  f.reduction));
    }
    return list;
}

/* Takes `json`. */
static void add_metadata(onnx_model *m, Onnx__ModelProto *model, const char *key, json_t *json)
{
    char                          *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    Onnx__StringStringEntryProto *entry = onnx_alloc(m, sizeof *entry);
    if (text == NULL)
        onnx_fail(m, STRATA_NOMEM, "no memory for the ONNX model");
    if (entry != NULL && text != NULL) {
        onnx__string_string_entry_proto__init(entry);
        entry->key = onnx_text(m, "%s", key);
        entry->value = onnx_text(m, "%s", text);
        model->metadata_props[model->n_metadata_props++] = entry;
    }
    free(text);
    json_decref(json);
}

/* ---- The file ------------------------------------------------------------------------------------------------------ */

typedef struct file_sink {
    ProtobufCBuffer base;
    FILE           *to; /* its error flag tells about failures */
} file_sink;

static void append(ProtobufCBuffer *base, size_t size, const uint8_t *bytes)
{
    fwrite(bytes, 1, size, ((file_sink *)base)->to);
}

static strata_status write_model(const Onnx__ModelProto *model, const char *path, strata_error *err)
{
    strata_atomic_file *f;
    STRATA_TRY(strata_atomic_open(path, &f, err));
    file_sink sink = { .base = { .append = append }, .to = strata_atomic_stream(f) };
    onnx__model_proto__pack_to_buffer(model, &sink.base);
    return strata_atomic_commit(f, err);
}

static Onnx__StringStringEntryProto *entry_of(onnx_model *m, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *entry = onnx_alloc(m, sizeof *entry);
    if (entry == NULL)
        return NULL;
    onnx__string_string_entry_proto__init(entry);
    entry->key = onnx_text(m, "%s", key);
    entry->value = onnx_text(m, "%s", value);
    return entry;
}

/* Moves a tensor's bytes to offset `at` of the data file. */
static void make_external(onnx_model *m, Onnx__TensorProto *t, const char *file, uint64_t at)
{
    Onnx__StringStringEntryProto **entries = onnx_alloc(m, 3 * sizeof(*entries));
    if (entries == NULL)
        return;
    entries[0] = entry_of(m, "location", file);
    entries[1] = entry_of(m, "offset", onnx_text(m, "%llu", (unsigned long long)at));
    entries[2] = entry_of(m, "length", onnx_text(m, "%llu", (unsigned long long)t->raw_data.len));
    if (onnx_failed(m))
        return;
    t->external_data = entries;
    t->n_external_data = 3;
    t->has_data_location = true;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t->has_raw_data = false;
}

/* The data file comes first: a model never names one that is not there. */
static strata_status write_external(onnx_model *m, const char *path, strata_error *err)
{
    const char         *data_path = onnx_text(m, "%s.data", path), *slash = strrchr(data_path, '/');
    strata_atomic_file *f;
    uint64_t            at = 0;
    STRATA_TRY(strata_atomic_open(data_path, &f, err));
    FILE *to = strata_atomic_stream(f);
    for (size_t i = 0; i < m->initializers.count && !onnx_failed(m); i++) {
        static const char  zeros[EXTERNAL_ALIGNMENT];
        Onnx__TensorProto *t = m->initializers.at[i];
        if (t->raw_data.len < EXTERNAL_MIN_BYTES) /* shapes and the like stay where tools look for them */
            continue;
        const uint64_t gap = (EXTERNAL_ALIGNMENT - at % EXTERNAL_ALIGNMENT) % EXTERNAL_ALIGNMENT;
        fwrite(zeros, 1, gap, to);
        fwrite(t->raw_data.data, 1, t->raw_data.len, to);
        make_external(m, t, slash ? slash + 1 : data_path, at + gap);
        at += gap + t->raw_data.len;
    }
    if (!onnx_failed(m))
        return strata_atomic_commit(f, err);
    strata_atomic_abort(f);
    return strata_fail(err, m->error.status, "%s", m->error.text);
}

static strata_status finish(onnx_model *m, const strata_onnx_options *options, const char *path, strata_error *err)
{
    Onnx__ModelProto              model = ONNX__MODEL_PROTO__INIT;
    Onnx__GraphProto              graph = ONNX__GRAPH_PROTO__INIT;
    Onnx__OperatorSetIdProto      opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets[] = { &opset };
    Onnx__StringStringEntryProto *metadata[2];
    const int                     inputs = strata_graph_input_count(m->graph);
    Onnx__ValueInfoProto        **input = onnx_alloc(m, ((size_t)inputs + 1) * sizeof *input);

    for (int i = 0; i < inputs && input != NULL; i++)
        input[i] = describe(m, strata_graph_input(m->graph, i).node->name, strata_graph_input(m->graph, i).node);
    model.metadata_props = metadata;
    if (strata_graph_input_record(m->graph)->height > 0)
        add_metadata(m, &model, "strata.image", image_json(strata_graph_input_record(m->graph)));
    if (strata_graph_feature_count(m->graph) > 0)
        add_metadata(m, &model, "strata.features", features_json(m));
    if (onnx_failed(m))
        return strata_fail(err, m->error.status, "%s", m->error.text);

    const uint64_t limit = options && options->external_above ? options->external_above : LARGEST_INSIDE;
    if (m->weight_bytes > limit)
        STRATA_TRY(write_external(m, path, err));

    opset.domain = onnx_text(m, "%s", "");
    opset.has_version = true;
    opset.version = OPSET;
    graph.name = onnx_text(m, "%s", strata_graph_name(m->graph));
    graph.node = (Onnx__NodeProto **)m->nodes.at;
    graph.n_node = m->nodes.count;
    graph.initializer = (Onnx__TensorProto **)m->initializers.at;
    graph.n_initializer = m->initializers.count;
    graph.input = input;
    graph.n_input = (size_t)inputs;
    graph.output = (Onnx__ValueInfoProto **)m->outputs.at;
    graph.n_output = m->outputs.count;
    graph.value_info = (Onnx__ValueInfoProto **)m->infos.at;
    graph.n_value_info = m->infos.count;
    model.has_ir_version = true;
    model.ir_version = IR_VERSION;
    model.opset_import = opsets;
    model.n_opset_import = 1;
    model.producer_name = onnx_text(m, "%s", "strata");
    model.producer_version = onnx_text(m, "%s", strata_version());
    model.graph = &graph;
    if (onnx_failed(m))
        return strata_fail(err, m->error.status, "%s", m->error.text);
    return write_model(&model, path, err);
}

strata_status strata_graph_export_onnx(const strata_graph *g, const strata_onnx_options *options, const char *path,
                                       strata_error *err)
{
    onnx_model m = { .graph = g, .dynamic_batch = options && options->dynamic_batch };
    name_values(&m);
    check_batch(&m);
    if (!onnx_failed(&m))
        check_ops(&m);
    if (!onnx_failed(&m))
        write_nodes(&m);
    if (!onnx_failed(&m))
        write_outputs(&m);
    strata_status status = onnx_failed(&m) ? strata_fail(err, m.error.status, "%s", m.error.text)
                                           : finish(&m, options, path, err);
    onnx_model_release(&m);
    return status;
}
