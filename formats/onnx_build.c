/* onnx_build.c: messages of ONNX, made one by one; see the header. */
#include "onnx_build.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_BLOCK = 1 << 16 };

struct onnx_pool_block {
    onnx_pool_block *next;
    size_t           used, size;
    max_align_t      bytes[];
};

/* ---- Memory ---------------------------------------------------------------------------------------------- */

void onnx_model_release(onnx_model *m)
{
    while (m->pool != NULL) {
        onnx_pool_block *next = m->pool->next;
        free(m->pool);
        m->pool = next;
    }
    onnx_list *lists[] = { &m->nodes, &m->initializers, &m->scalars, &m->infos, &m->outputs };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        free(lists[i]->at);
    free(m->value);
    free(m->varies);
    free(m->written);
    *m = (onnx_model){ 0 };
}

bool onnx_failed(const onnx_model *m) { return m->error.status != STRATA_OK; }

void onnx_fail(onnx_model *m, strata_status status, const char *fmt, ...)
{
    if (onnx_failed(m))
        return;
    va_list args;
    va_start(args, fmt);
    m->error.status = status;
    vsnprintf(m->error.text, sizeof m->error.text, fmt, args);
    va_end(args);
}

void *onnx_alloc(onnx_model *m, size_t size)
{
    if (onnx_failed(m))
        return NULL;
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (m->pool == NULL || m->pool->size - m->pool->used < size) {
        size_t           room = size > POOL_BLOCK ? size : POOL_BLOCK;
        onnx_pool_block *b = calloc(1, sizeof *b + room);
        if (b == NULL) {
            onnx_fail(m, STRATA_NOMEM, "no memory for the ONNX model");
            return NULL;
        }
        *b = (onnx_pool_block){ .next = m->pool, .size = room };
        m->pool = b;
    }
    void *at = (char *)m->pool->bytes + m->pool->used;
    m->pool->used += size;
    return at;
}

static char empty_text[] = "";

char *onnx_text(onnx_model *m, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = length < 0 ? NULL : onnx_alloc(m, (size_t)length + 1);
    if (text == NULL)
        return empty_text;
    va_start(args, fmt);
    vsnprintf(text, (size_t)length + 1, fmt, args);
    va_end(args);
    return text;
}

/* Protobuf-c declares texts without const and never writes to them. */
static char *borrowed(const char *text)
{
    return (char *)(uintptr_t)text;
}

void onnx_push(onnx_model *m, onnx_list *list, void *message)
{
    if (onnx_failed(m) || message == NULL)
        return;
    if (list->count == list->capacity) {
        size_t wanted = list->capacity ? 2 * list->capacity : 256;
        void **grown = realloc(list->at, wanted * sizeof *grown);
        if (grown == NULL) {
            onnx_fail(m, STRATA_NOMEM, "no memory for the ONNX model");
            return;
        }
        list->at = grown;
        list->capacity = wanted;
    }
    list->at[list->count++] = message;
}

/* ---- Nodes ------------------------------------------------------------------------------------------------ */

static bool is_taken(const strata_graph *g, const char *name)
{
    if (strata_graph_find(g, name) != NULL)
        return true;
    for (int i = 0; i < strata_graph_output_count(g); i++)
        if (strcmp(strata_graph_output(g, i).name, name) == 0)
            return true;
    return false;
}

const char *onnx_temp(onnx_model *m, const strata_node *n, const char *what)
{
    char *name = onnx_text(m, "%s/%s", n->name, what);
    for (int i = 1; !onnx_failed(m) && is_taken(m->graph, name); i++)
        name = onnx_text(m, "%s/%s.%d", n->name, what, i);
    return name;
}

void onnx_node_n(onnx_model *m, const char *op, const char *result, const char *const *in, int count)
{
    while (count > 0 && in[count - 1] == NULL)
        count--;
    Onnx__NodeProto *node = onnx_alloc(m, sizeof *node);
    char           **names = onnx_alloc(m, ((size_t)count + 1) * sizeof *names);
    if (names == NULL)
        return;
    onnx__node_proto__init(node);
    node->op_type = borrowed(op);
    node->name = borrowed(result);
    for (int i = 0; i < count; i++)
        names[i] = borrowed(in[i] ? in[i] : "");
    names[count] = borrowed(result);
    node->input = names;
    node->n_input = (size_t)count;
    node->output = names + count;
    node->n_output = 1;
    m->attr_capacity = 0;
    onnx_push(m, &m->nodes, node);
}

static Onnx__AttributeProto *add_attr(onnx_model *m, const char *name, Onnx__AttributeProto__AttributeType type)
{
    Onnx__AttributeProto *a = onnx_alloc(m, sizeof *a);
    if (a == NULL || m->nodes.count == 0)
        return NULL;
    Onnx__NodeProto *node = m->nodes.at[m->nodes.count - 1];
    if (node->n_attribute == m->attr_capacity) {
        size_t                 wanted = m->attr_capacity + 8;
        Onnx__AttributeProto **grown = onnx_alloc(m, wanted * sizeof *grown);
        if (grown == NULL)
            return NULL;
        if (node->n_attribute > 0)
            memcpy(grown, node->attribute, node->n_attribute * sizeof *grown);
        node->attribute = grown;
        m->attr_capacity = wanted;
    }
    onnx__attribute_proto__init(a);
    a->name = borrowed(name);
    a->has_type = true;
    a->type = type;
    node->attribute[node->n_attribute++] = a;
    return a;
}

void onnx_set_int(onnx_model *m, const char *name, int64_t value)
{
    Onnx__AttributeProto *a = add_attr(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    if (a != NULL)
        a->has_i = true, a->i = value;
}

void onnx_set_float(onnx_model *m, const char *name, double value)
{
    Onnx__AttributeProto *a = add_attr(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    if (a != NULL)
        a->has_f = true, a->f = (float)value;
}

void onnx_set_string(onnx_model *m, const char *name, const char *value)
{
    Onnx__AttributeProto *a = add_attr(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    if (a != NULL)
        a->has_s = true, a->s = (ProtobufCBinaryData){ strlen(value), (uint8_t *)borrowed(value) };
}

void onnx_set_ints(onnx_model *m, const char *name, const int64_t *at, int count)
{
    Onnx__AttributeProto *a = add_attr(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    int64_t              *own = onnx_alloc(m, (size_t)count * sizeof *own + 1);
    if (a == NULL || own == NULL)
        return;
    memcpy(own, at, (size_t)count * sizeof *own);
    a->ints = own;
    a->n_ints = (size_t)count;
}

void onnx_set_int_pair(onnx_model *m, const char *name, const int at[2])
{
    onnx_set_ints(m, name, (int64_t[]){ at[0], at[1] }, 2);
}

void onnx_set_pads(onnx_model *m, const int pad[4])
{
    onnx_set_ints(m, "pads", (int64_t[]){ pad[0], pad[1], pad[2], pad[3] }, 4);
}

/* ---- Values ------------------------------------------------------------------------------------------------ */

static void add_initializer(onnx_model *m, const char *name, int type, int rank, const int64_t *dim, const void *data,
                            size_t bytes)
{
    Onnx__TensorProto *t = onnx_alloc(m, sizeof *t);
    int64_t           *dims = onnx_alloc(m, (size_t)rank * sizeof *dims + 1);
    if (t == NULL || dims == NULL)
        return;
    onnx__tensor_proto__init(t);
    memcpy(dims, dim, (size_t)rank * sizeof *dims);
    t->name = borrowed(name);
    t->dims = dims;
    t->n_dims = (size_t)rank;
    t->has_data_type = true;
    t->data_type = type;
    t->has_raw_data = true;
    t->raw_data = (ProtobufCBinaryData){ bytes, (uint8_t *)(uintptr_t)data };
    m->weight_bytes += bytes;
    onnx_push(m, &m->initializers, t);
}

static const char *add_copy(onnx_model *m, const char *name, int type, int rank, const void *at, int count, size_t size)
{
    void *own = onnx_alloc(m, (size_t)count * size + 1);
    if (own == NULL)
        return name;
    memcpy(own, at, (size_t)count * size);
    add_initializer(m, name, type, rank, (int64_t[]){ count }, own, (size_t)count * size);
    return name;
}

const char *onnx_numbers(onnx_model *m, const char *name, const int64_t *at, int count)
{
    return add_copy(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, at, count, sizeof *at);
}

const char *onnx_floats(onnx_model *m, const char *name, const float *at, int count)
{
    return add_copy(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 1, at, count, sizeof *at);
}

const char *onnx_scalar(onnx_model *m, double value)
{
    const float f = (float)value;
    char       *name = onnx_text(m, "scalar/%.9g", f);
    while (!onnx_failed(m) && is_taken(m->graph, name))
        name = onnx_text(m, "%s_", name);
    for (size_t i = 0; i < m->scalars.count; i++)
        if (strcmp(m->scalars.at[i], name) == 0)
            return m->scalars.at[i];
    onnx_push(m, &m->scalars, name);
    return add_copy(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 0, &f, 1, sizeof f);
}

/* The numbers of a parameter or constant, or NULL after a failure. */
static const void *known_numbers(onnx_model *m, const strata_node *n)
{
    const strata_tensor_desc *d = n->data != NULL ? strata_tensor_get_desc(n->data) : NULL;
    if (d == NULL)
        onnx_fail(m, STRATA_WEIGHTS, "%s: the %s has no numbers; bind weights before the export", n->name, n->op->name);
    else if (d->dtype != STRATA_F32 || (d->layout != STRATA_NCHW && !strata_layout_free(d)))
        onnx_fail(m, STRATA_UNSUPPORTED, "%s: only row-major f32 constants can be exported", n->name);
    if (onnx_failed(m))
        return NULL;
    strata_error  why    = { 0 };
    strata_status status = strata_tensor_compute(n->data, &why);
    if (status != STRATA_OK)
        onnx_fail(m, status, "%s: %s", n->name, why.text);
    return onnx_failed(m) ? NULL : strata_tensor_data(n->data);
}

const char *onnx_value(onnx_model *m, strata_node *n)
{
    const char *name = m->value[n->id] != NULL ? m->value[n->id] : "";
    if (!strata_node_is_constant(n) || m->written[n->id])
        return name;
    const void *data = known_numbers(m, n);
    if (data != NULL)
        add_initializer(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, n->desc.rank, n->desc.dim, data,
                        strata_bytes(&n->desc));
    m->written[n->id] = true;
    return name;
}

const char *onnx_value_as(onnx_model *m, const strata_node *n, const char *what, strata_node *operand, int rank,
                          const int64_t *dim)
{
    const char *name = onnx_temp(m, n, what);
    if (!strata_node_is_constant(operand)) {
        const char *shape = onnx_numbers(m, onnx_text(m, "%s/shape", name), dim, rank);
        onnx_node(m, "Reshape", name, onnx_value(m, operand), shape);
        return name;
    }
    const void *data = known_numbers(m, operand);
    if (data != NULL)
        add_initializer(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, rank, dim, data, strata_bytes(&operand->desc));
    return name;
}
