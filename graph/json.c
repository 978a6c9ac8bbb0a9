/* The graph as JSON, for other programs: {"graph", "image", "nodes": [{"name", "op", "operands", "attrs", "dtype",
 * "shape", "layout", "macs", "uses"}], "features", "outputs"}. */
#include "text.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

/* jansson passes a NULL along as a failure of what it is put into, so one check at the end is enough. */
static json_t *shape_json(const strata_tensor_desc *desc)
{
    json_t *shape = json_array();
    for (int i = 0; i < desc->rank; i++)
        json_array_append_new(shape, json_integer(desc->dim[i]));
    return shape;
}

static json_t *number_json(const strata_attr_def *row, double value)
{
    if (row->type == STRATA_ATTR_ENUM)
        return json_string(row->names[(int)value]);
    if (row->type == STRATA_ATTR_BOOL)
        return json_boolean(value != 0);
    return row->type == STRATA_ATTR_FLOAT ? json_real(value) : json_integer((json_int_t)value);
}

static json_t *attrs_json(const strata_node *n)
{
    json_t *attrs = json_object();
    for (const strata_attr_def *row = n->op->attrs; row && row->name; row++) {
        bool    many  = row->type == STRATA_ATTR_INT2 || row->type == STRATA_ATTR_INT4 || row->type == STRATA_ATTR_INTS;
        json_t *value = many ? json_array() : number_json(row, strata_attr_get(row, n->attrs, 0));
        for (int i = 0; many && i < strata_attr_length(row, n->attrs); i++)
            json_array_append_new(value, number_json(row, strata_attr_get(row, n->attrs, i)));
        json_object_set_new(attrs, row->name, value);
    }
    return attrs;
}

static json_t *node_json(const strata_node *n)
{
    json_t *operands = json_array();
    for (int k = 0; k < strata_operand_count(n); k++)
        json_array_append_new(operands, n->in[k] ? json_string(n->in[k]->name) : json_null());
    return json_pack("{s:s, s:s, s:o, s:o, s:s, s:o, s:s, s:I, s:i}", "name", n->name, "op", n->op->name, "operands",
                     operands, "attrs", attrs_json(n), "dtype", strata_dtype_name(n->desc.dtype), "shape",
                     shape_json(&n->desc), "layout", strata_layout_names[n->desc.layout], "macs",
                     (json_int_t)(n->op->macs ? n->op->macs(n) : 0), "uses", (int)n->uses);
}

strata_status strata_print_json(const strata_graph *g, FILE *to, strata_error *err)
{
    const strata_input_record *r = &g->record;
    json_t *nodes = json_array(), *features = json_array(), *outputs = json_array();
    for (int i = 0; i < g->nodes.count; i++)
        json_array_append_new(nodes, node_json(g->nodes.at[i]));
    for (int i = 0; i < g->features.count; i++) {
        const graph_feature *f = &g->features.at[i];
        json_array_append_new(features, json_pack("{s:i, s:s, s:s, s:i, s:i}", "index", f->index, "name", f->name, "value",
                                                  f->node->name, "channels", f->channels, "reduction", f->reduction));
    }
    for (int i = 0; i < g->outputs.count; i++)
        json_array_append_new(outputs, json_pack("{s:s, s:s}", "name", g->outputs.at[i].name, "value",
                                                 g->outputs.at[i].node->name));
    json_t *root = json_pack("{s:s, s:{s:[ii], s:i, s:[fff], s:[fff], s:s, s:f}, s:o, s:o, s:o}", "graph", g->name, "image",
                             "size", r->height, r->width, "channels", r->channels, "mean", r->mean[0], r->mean[1],
                             r->mean[2], "std", r->std[0], r->std[1], r->std[2], "interpolation",
                             strata_interpolation_names[r->interpolation], "crop_pct", r->crop_pct, "nodes", nodes,
                             "features", features, "outputs", outputs);
    if (!root)
        return strata_fail(err, STRATA_NOMEM, "no memory to write graph '%s' as JSON", g->name);
    int failed = json_dumpf(root, to, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    json_decref(root);
    fputc('\n', to);
    if (failed || fflush(to) != 0 || ferror(to))
        return strata_fail(err, STRATA_IO, "writing graph '%s': %s", g->name, strerror(errno));
    return STRATA_OK;
}
