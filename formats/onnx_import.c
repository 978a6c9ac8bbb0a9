/* onnx_import.c: an ONNX file as a graph: its values one by one, in the order of the file, which ONNX demands to be one
 * of execution. What each kind of node becomes is in onnx_read_*.c; see onnx_import.h for how values are held. */
#include "onnx_import.h"

#include <jansson.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST_OPSET = 6, USUAL_SIZE = 224 };

/* ---- Values -------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const onnx_val *)a)->name, ((const onnx_val *)b)->name);
}

onnx_val *onnx_find(const onnx_importer *im, const char *name)
{
    onnx_val key = { .name = name };
    return im->count > 0 ? bsearch(&key, im->val, im->count, sizeof key, by_name) : NULL;
}

const char *onnx_keep(onnx_importer *im, const char *fmt, ...)
{
    char   *text = NULL;
    va_list args;
    va_start(args, fmt);
    int length = vasprintf(&text, fmt, args);
    va_end(args);
    char **grown = length < 0 ? NULL : realloc(im->texts, (im->text_count + 1) * sizeof *grown);
    if (grown == NULL) {
        if (length >= 0)
            free(text);
        strata_builder_fail(im->b, STRATA_NOMEM, "%s: out of memory", im->path);
        return "";
    }
    im->texts = grown;
    return im->texts[im->text_count++] = text;
}

static const char *text_or_empty(const char *text) { return text != NULL ? text : ""; }

/* A table of all names that the file defines, sorted. */
static strata_status collect_values(onnx_importer *im, const Onnx__GraphProto *g, strata_error *err)
{
    size_t room = g->n_input + g->n_initializer;
    for (size_t i = 0; i < g->n_node; i++)
        room += g->node[i]->n_output;
    im->val = calloc(room + 1, sizeof *im->val);
    if (im->val == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: no memory for %zu values", im->path, room);
    for (size_t i = 0; i < g->n_initializer; i++)
        im->val[im->count++] = (onnx_val){ .name = text_or_empty(g->initializer[i]->name), .given = true, .fixed = true };
    qsort(im->val, im->count, sizeof *im->val, by_name);
    const size_t initializers = im->count;
    for (size_t i = 0; i < g->n_input; i++) { /* old files list initializers as inputs too */
        onnx_val key = { .name = text_or_empty(g->input[i]->name) };
        if (initializers == 0 || bsearch(&key, im->val, initializers, sizeof key, by_name) == NULL)
            im->val[im->count++] = key;
    }
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_output; k++)
            if (*g->node[i]->output[k] != '\0')
                im->val[im->count++] = (onnx_val){ .name = g->node[i]->output[k], .producer = g->node[i] };
    qsort(im->val, im->count, sizeof *im->val, by_name);
    for (size_t i = 0; i + 1 < im->count; i++)
        if (strcmp(im->val[i].name, im->val[i + 1].name) == 0)
            return strata_fail(err, STRATA_FORMAT, "%s: the value '%.200s' is defined twice", im->path, im->val[i].name);
    return STRATA_OK;
}

/* ---- Nodes ------------------------------------------------------------------------------------------------------------------ */

static onnx_reader find_reader(const Onnx__NodeProto *node)
{
    static const onnx_row *const tables[] = { onnx_layer_rows, onnx_math_rows, onnx_shape_rows };
    const char                  *domain = text_or_empty(node->domain);
    if (*domain != '\0' && strcmp(domain, "ai.onnx") != 0)
        return NULL;
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const onnx_row *row = tables[t]; row->name != NULL; row++)
            if (strcmp(row->name, node->op_type) == 0)
                return row->read;
    return NULL;
}

static void read_node(onnx_op *op, bool blocked)
{
    if ((!blocked && onnx_fold(op)) || onnx_match(op))
        return;
    onnx_reader read = find_reader(op->node);
    for (size_t k = 0; blocked && k < op->node->n_output; k++)
        if (onnx_out(op, (int)k) != NULL)
            onnx_out(op, (int)k)->blocked = true;
    if (read == NULL && !(blocked && onnx_may_match(op->node->op_type)))
        onnx_reject(op, "there is no op for it");
    else if (!blocked)
        read(op);
}

/* Operands of a node; false, with *err, when the file is wrong. *blocked: one cannot be imported. */
static strata_status gather_operands(onnx_op *op, bool *blocked, strata_error *err)
{
    const Onnx__NodeProto *node = op->node;
    op->in_count = (int)node->n_input;
    *blocked = false;
    for (int i = 0; i < op->in_count; i++) {
        if (*node->input[i] == '\0')
            continue;
        onnx_val *v = op->in[i] = onnx_find(op->im, node->input[i]);
        if (v == NULL || !v->defined)
            return strata_fail(err, STRATA_FORMAT, "%s: node '%.200s' (%.60s) uses '%.200s', which %s", op->im->path,
                               text_or_empty(node->name), text_or_empty(node->op_type), node->input[i],
                               v == NULL ? "nothing gives" : "is computed only later: a cycle, or nodes out of order");
        if (v->node == NULL && v->base == NULL && v->constant == NULL && v->problem == NULL && !v->blocked)
            op->in[i] = NULL; /* an empty tensor stands for an operand that is left out */
        else
            *blocked |= v->blocked || v->problem != NULL;
    }
    return STRATA_OK;
}

static strata_status import_node(onnx_importer *im, const Onnx__NodeProto *node, strata_error *err)
{
    onnx_op       op = { .im = im, .node = node, .b = im->b };
    bool          blocked;
    if (node->op_type == NULL || node->n_output == 0 || node->n_input > INT32_MAX || node->n_output > INT32_MAX)
        return strata_fail(err, STRATA_FORMAT, "%s: node '%.200s' has no op or no output", im->path,
                           text_or_empty(node->name));
    op.in = calloc(node->n_input + 1, sizeof(*op.in));
    if (op.in == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", im->path);
    strata_status status = gather_operands(&op, &blocked, err);
    if (status == STRATA_OK) {
        op.name = onnx_name(&op, 0, false);
        bool fixed = true;
        for (int i = 0; i < op.in_count; i++)
            fixed &= op.in[i] == NULL || op.in[i]->fixed;
        NN_SCOPE(im->b, "%s", op.name)
            read_node(&op, blocked);
        for (size_t k = 0; k < node->n_output; k++) {
            onnx_val *v = onnx_out(&op, (int)k);
            if (v == NULL)
                continue;
            v->defined = true;
            v->fixed = fixed;
            if (op.problem != NULL)
                v->problem = op.problem;
            else if (v->node == NULL && v->base == NULL && v->constant == NULL && !v->blocked && !v->empty)
                v->problem = onnx_keep(im, "its output %zu cannot be computed", k);
        }
    }
    free(op.in);
    return status;
}

/* ---- The rest of the file ------------------------------------------------------------------------------------------------------ */

static strata_status import_input(onnx_importer *im, const Onnx__ValueInfoProto *info, strata_error *err)
{
    const char *name = text_or_empty(info->name);
    onnx_val   *v = onnx_find(im, name);
    if (v->given)
        return STRATA_OK;
    const Onnx__TypeProto *type = info->type;
    if (type == NULL || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || type->tensor_type->shape == NULL)
        return strata_fail(err, STRATA_UNSUPPORTED, "%s: input '%.200s' is no tensor of known rank", im->path, name);
    const Onnx__TensorShapeProto *shape = type->tensor_type->shape;
    if (type->tensor_type->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
        return strata_fail(err, STRATA_UNSUPPORTED, "%s: input '%.200s' is not f32", im->path, name);
    if (shape->n_dim > STRATA_MAX_RANK)
        return strata_fail(err, STRATA_UNSUPPORTED, "%s: input '%.200s' has rank %zu", im->path, name, shape->n_dim);
    const int chosen[4] = { im->how.batch ? im->how.batch : 1, 0, im->how.height ? im->how.height : USUAL_SIZE,
                            im->how.width ? im->how.width : USUAL_SIZE };
    int64_t   dim[STRATA_MAX_RANK] = { 0 };
    for (size_t i = 0; i < shape->n_dim; i++) {
        const Onnx__TensorShapeProto__Dimension *d = shape->dim[i];
        if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value > 0)
            dim[i] = d->dim_value;
        else
            dim[i] = i < 4 && (i == 0 || shape->n_dim == 4) ? chosen[i] : 0;
        if (dim[i] < 1)
            return strata_fail(err, STRATA_UNSUPPORTED, "%s: dim %zu of input '%.200s' is left open", im->path, i, name);
    }
    strata_tensor_desc desc = strata_desc_f32((int)shape->n_dim, dim);
    v->node = strata_emit_input(im->b, onnx_clean_name(im, name, ""), &desc);
    v->defined = true;
    return STRATA_OK;
}

static strata_status import_initializers(onnx_importer *im, const Onnx__GraphProto *g, strata_error *err)
{
    for (size_t i = 0; i < g->n_initializer; i++) {
        onnx_val *v = onnx_find(im, text_or_empty(g->initializer[i]->name));
        STRATA_TRY(onnx_file_tensor(im->file, g->initializer[i], &v->constant, err));
        v->defined = true;
    }
    return STRATA_OK;
}

static void emit_output(onnx_importer *im, const onnx_op *op, onnx_val *v)
{
    char name[ONNX_LONGEST_NAME + 1];
    onnx_clean_text(v->name, name);
    strata_emit_output(im->b, name, onnx_val_node(op, v));
}

static bool is_missing(const onnx_val *v) { return v->blocked || v->problem != NULL; }

/* The values that a node which cannot be imported starts from. */
static void emit_frontier(onnx_importer *im, const onnx_op *op, const Onnx__NodeProto *node)
{
    for (size_t k = 0; k < node->n_input; k++) {
        onnx_val *v = *node->input[k] != '\0' ? onnx_find(im, node->input[k]) : NULL;
        if (v == NULL || v->is_output || is_missing(v) || v->constant != NULL || (v->node == NULL && v->base == NULL))
            continue;
        v->is_output = true;
        emit_output(im, op, v);
    }
}

/* The nodes that outputs need and that cannot be imported: all of them in one message. */
typedef struct complaint {
    char   text[1700];
    size_t used;
    int    count;
} complaint;

static void complain(onnx_importer *im, complaint *c, const Onnx__NodeProto *node, const char *problem)
{
    const char *name = node->name != NULL && *node->name ? node->name : node->output[0];
    strata_log(strata_graph_context(strata_builder_graph(im->b)), STRATA_LOG_INFO, "%s: %.60s '%.200s': %s", im->path,
               node->op_type, name, problem);
    c->count++;
    const size_t room = sizeof c->text - c->used;
    if (room < 300) /* the log has the rest */
        return;
    int length = snprintf(c->text + c->used, room, "%s%.40s '%.80s': %.150s", c->used ? "; " : "", node->op_type, name,
                          problem);
    c->used += length > 0 ? (size_t)length : 0;
}

/* From the last node to the first, from missing outputs through blocked values to the reasons. */
static void trace_problems(onnx_importer *im, const onnx_op *op, const Onnx__GraphProto *g, complaint *c)
{
    for (size_t i = g->n_node; i-- > 0;) {
        const Onnx__NodeProto *node = g->node[i];
        const char            *problem = NULL;
        bool                   missing = false;
        for (size_t k = 0; k < node->n_output; k++) {
            const onnx_val *v = *node->output[k] != '\0' ? onnx_find(im, node->output[k]) : NULL;
            if (v != NULL && v->needed && is_missing(v)) {
                missing = true;
                problem = v->problem != NULL ? v->problem : problem;
            }
        }
        for (size_t k = 0; missing && k < node->n_input; k++)
            if (*node->input[k] != '\0')
                onnx_find(im, node->input[k])->needed = true;
        if (missing && im->how.partial)
            emit_frontier(im, op, node);
        if (problem != NULL)
            complain(im, c, node, problem);
    }
}

static strata_status import_outputs(onnx_importer *im, const Onnx__GraphProto *g, strata_error *err)
{
    static const Onnx__NodeProto nothing = ONNX__NODE_PROTO__INIT;
    const onnx_op                op = { .im = im, .node = &nothing, .b = im->b };
    complaint                    c = { .count = 0 };
    if (g->n_output == 0)
        return strata_fail(err, STRATA_FORMAT, "%s: the graph has no output", im->path);
    for (size_t i = 0; i < g->n_output; i++) {
        onnx_val *v = onnx_find(im, text_or_empty(g->output[i]->name));
        if (v == NULL || !v->defined)
            return strata_fail(err, STRATA_FORMAT, "%s: nothing gives the output '%.200s'", im->path,
                               text_or_empty(g->output[i]->name));
        v->needed = v->is_output = true;
    }
    trace_problems(im, &op, g, &c);
    if (c.count > 0 && !im->how.partial)
        return strata_fail(err, STRATA_UNSUPPORTED, "%s: %d node%s cannot be imported: %s", im->path, c.count,
                           c.count == 1 ? "" : "s", c.text);
    if (c.count > 0)
        strata_log(strata_graph_context(strata_builder_graph(im->b)), STRATA_LOG_WARNING, "%s: without %d node%s that "
                   "cannot be imported: %.800s", im->path, c.count, c.count == 1 ? "" : "s", c.text);
    for (size_t i = 0; i < g->n_output; i++) {
        onnx_val *v = onnx_find(im, g->output[i]->name);
        if (is_missing(v))
            continue;
        if (v->fixed || (v->node == NULL && v->base == NULL))
            return strata_fail(err, STRATA_UNSUPPORTED, "%s: output '%.200s' does not depend on the input", im->path, v->name);
        emit_output(im, &op, v);
    }
    return STRATA_OK;
}

/* Another name for a value of ours: what an Identity gives, or a Transpose that turns back. */
static void name_again(onnx_importer *im, const onnx_val *v)
{
    const strata_node   *n = v->node;
    const char          *name = onnx_clean_name(im, v->name, "");
    strata_reshape_attrs same = { .shape = { .count = n->desc.rank } };
    if (v->is_output || v->fixed || v->constant != NULL || n->desc.rank == 0 ||
        strata_graph_find(strata_builder_graph(im->b), name) != NULL)
        return;
    memcpy(same.shape.at, n->desc.dim, sizeof same.shape.at);
    strata_emit(im->b, &strata_op_reshape, name, &same, v->node);
}

/* Values that stand only as a base, or as a value of another name, get their node, so that each can be chosen by its name;
 * what no output needs costs nothing later. */
static void name_all_values(onnx_importer *im)
{
    static const Onnx__NodeProto nothing = ONNX__NODE_PROTO__INIT;
    onnx_op                      op = { .im = im, .node = &nothing, .b = im->b };
    for (size_t i = 0; i < im->count && !strata_builder_failed(im->b); i++)
        if (im->val[i].node == NULL && im->val[i].base != NULL)
            onnx_val_node(&op, &im->val[i]);
        else if (im->val[i].node != NULL)
            name_again(im, &im->val[i]);
}

/* ---- Metadata ------------------------------------------------------------------------------------------------------------------ */

/* What 'strata export' wrote under `key`, or NULL. */
static json_t *metadata(const Onnx__ModelProto *model, const char *key)
{
    for (size_t i = 0; i < model->n_metadata_props; i++)
        if (model->metadata_props[i]->key != NULL && strcmp(model->metadata_props[i]->key, key) == 0)
            return json_loads(text_or_empty(model->metadata_props[i]->value), 0, NULL);
    return NULL;
}

static bool read_record(json_t *json, strata_input_record *r)
{
    const char *how;
    if (json_unpack(json, "{s:[ii], s:i, s:[FFF], s:[FFF], s:s, s:F}", "size", &r->height, &r->width, "channels",
                    &r->channels, "mean", &r->mean[0], &r->mean[1], &r->mean[2], "std", &r->std[0], &r->std[1],
                    &r->std[2], "interpolation", &how, "crop_pct", &r->crop_pct) != 0)
        return false;
    r->interpolation = strcmp(how, "bicubic") == 0 ? STRATA_BICUBIC : STRATA_BILINEAR;
    return r->std[0] > 0 && r->std[1] > 0 && r->std[2] > 0 && r->crop_pct > 0 && r->crop_pct <= 1;
}

/* How images are prepared: as the file says, or else as nearly all classifiers of ImageNet want it. */
static void import_record(onnx_importer *im, const Onnx__ModelProto *model)
{
    strata_graph *g = strata_builder_graph(im->b);
    if (strata_graph_input_count(g) != 1 || strata_graph_input(g, 0).desc->rank != 4)
        return;
    const int64_t      *dim = strata_graph_input(g, 0).desc->dim;
    strata_input_record r = { .mean = { 0.485, 0.456, 0.406 }, .std = { 0.229, 0.224, 0.225 }, .crop_pct = 0.875 };
    json_t             *json = metadata(model, "strata.image");
    if (!read_record(json, &r)) {
        r = (strata_input_record){ .mean = { 0.485, 0.456, 0.406 }, .std = { 0.229, 0.224, 0.225 }, .crop_pct = 0.875 };
        strata_log(strata_graph_context(g), STRATA_LOG_WARNING, "%s does not say how images are prepared; taken is "
                   "ImageNet's usual way: mean 0.485,0.456,0.406, std 0.229,0.224,0.225, bilinear, crop 0.875", im->path);
    }
    json_decref(json);
    if (dim[1] > 1 << 20 || dim[2] > 1 << 20 || dim[3] > 1 << 20)
        return;
    r.channels = (int)dim[1];
    r.height = (int)dim[2];
    r.width = (int)dim[3];
    strata_graph_set_input_record(g, &r);
}

static void import_features(onnx_importer *im, const Onnx__ModelProto *model)
{
    json_t *list = metadata(model, "strata.features"), *item;
    size_t  i;
    json_array_foreach(list, i, item) {
        const char *name, *value;
        int         channels, reduction;
        if (json_unpack(item, "{s:s, s:s, s:i, s:i}", "name", &name, "value", &value, "channels", &channels, "reduction",
                        &reduction) != 0)
            break;
        const onnx_val *v = onnx_find(im, value);
        if (v != NULL && v->node != NULL && !strata_node_is_constant(v->node))
            strata_emit_feature(im->b, name, v->node, channels, reduction);
    }
    json_decref(list);
}

/* ---- The whole ---------------------------------------------------------------------------------------------------------------- */

static strata_status check_opset(onnx_importer *im, const Onnx__ModelProto *model, strata_error *err)
{
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const char *domain = text_or_empty(model->opset_import[i]->domain);
        if (*domain == '\0' || strcmp(domain, "ai.onnx") == 0)
            im->opset = model->opset_import[i]->version;
    }
    if (im->opset < OLDEST_OPSET)
        return strata_fail(err, STRATA_UNSUPPORTED, "%s: opset %lld; from %d on they can be imported", im->path,
                           (long long)im->opset, OLDEST_OPSET);
    return STRATA_OK;
}

static strata_status import_graph(onnx_importer *im, strata_error *err)
{
    const Onnx__ModelProto *model = onnx_file_model(im->file);
    const Onnx__GraphProto *g = model->graph;
    STRATA_TRY(check_opset(im, model, err));
    STRATA_TRY(collect_values(im, g, err));
    STRATA_TRY(import_initializers(im, g, err));
    for (size_t i = 0; i < g->n_input; i++)
        STRATA_TRY(import_input(im, g->input[i], err));
    for (size_t i = 0; i < g->n_node && !strata_builder_failed(im->b); i++)
        STRATA_TRY(import_node(im, g->node[i], err));
    if (strata_builder_failed(im->b)) /* finish tells */
        return STRATA_OK;
    STRATA_TRY(import_outputs(im, g, err));
    name_all_values(im);
    import_features(im, model);
    import_record(im, model);
    return STRATA_OK;
}

strata_status strata_graph_import_onnx(strata_context *ctx, const char *path, const strata_onnx_import *options,
                                       strata_graph **out, strata_error *err)
{
    onnx_importer im = { .path = path };
    *out = NULL;
    if (options != NULL)
        im.how = *options;
    if (im.how.batch < 0 || im.how.height < 0 || im.how.width < 0)
        return strata_fail(err, STRATA_INVALID, "%s: sizes below zero", path);
    STRATA_TRY(onnx_file_open(path, &im.file, err));
    const Onnx__ModelProto *model = onnx_file_model(im.file);
    char                    name[ONNX_LONGEST_NAME + 1];
    onnx_clean_text(model->graph != NULL ? text_or_empty(model->graph->name) : "", name);
    strata_status           status;
    if (model->graph == NULL)
        status = strata_fail(err, STRATA_FORMAT, "%s: no ONNX model: it has no graph", path);
    else
        status = strata_builder_create(ctx, name, &im.b, err);
    if (status == STRATA_OK) {
        status = import_graph(&im, err);
        if (status != STRATA_OK) /* so that finish takes the graph away */
            strata_builder_fail(im.b, status, "%s", err != NULL ? err->text : "");
        strata_status finished = strata_builder_finish(im.b, out, status == STRATA_OK ? err : NULL);
        if (status == STRATA_OK && finished != STRATA_OK)
            status = strata_fail_in(err, finished, "%s", path);
    }
    for (size_t i = 0; i < im.count; i++)
        strata_tensor_unref(im.val[i].constant);
    for (size_t i = 0; i < im.text_count; i++)
        free(im.texts[i]);
    free(im.texts);
    free(im.val);
    onnx_file_unref(im.file);
    return status;
}
