/* The graph as JSON, for other programs: docs/json.md is its schema. A node is a line, so that grep and diff
 * work. */
#include "text.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* jansson passes a NULL along as a failure of what it is put into, so one check at the end is enough. */

/* Names are bytes, JSON is UTF-8: bytes that are not become U+FFFD. */
static json_t *text_json_n(const char *text, size_t size)
{
    json_t *whole = json_stringn(text, size);
    char   *patched = whole ? NULL : malloc(3 * size + 1), *to = patched;
    if (!patched)
        return whole;
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] < 0x80)
            *to++ = text[i];
        else
            to = (char *)memcpy(to, "\xef\xbf\xbd", 3) + 3;
    }
    whole = json_stringn(patched, (size_t)(to - patched));
    free(patched);
    return whole;
}

static json_t *text_json(const char *text)
{
    return text_json_n(text, strlen(text));
}

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
        bool many =
            row->type == STRATA_ATTR_INT2 || row->type == STRATA_ATTR_INT4 || row->type == STRATA_ATTR_INTS;
        json_t *value = many ? json_array() : number_json(row, strata_attr_get(row, n->attrs, 0));
        for (int i = 0; many && i < strata_attr_length(row, n->attrs); i++)
            json_array_append_new(value, number_json(row, strata_attr_get(row, n->attrs, i)));
        json_object_set_new(attrs, row->name, value);
    }
    return attrs;
}

static json_t *pair_json(const double pair[2])
{
    return json_pack("[f,f]", pair[0], pair[1]);
}

/* Where the value lies over the input; null for what has no place there. */
static json_t *place_json(const node_geometry *at)
{
    if (!at->spatial)
        return json_null();
    return json_pack("{s:o, s:o, s:o}", "receptive_field", pair_json(at->field), "stride",
                     pair_json(at->stride), "offset", pair_json(at->offset));
}

static json_t *node_json(const strata_graph *g, const strata_node *n, const node_geometry *at, bool live)
{
    json_t *operands = json_array();
    for (int k = 0; k < strata_operand_count(n); k++)
        json_array_append_new(operands, n->in[k] ? text_json(n->in[k]->name) : json_null());
    return json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:s, s:o, s:s, s:I, s:I, s:i, s:b, s:o, s:o, s:s?}",
                     "name", text_json(n->name), "scope",
                     text_json_n(n->name, strata_scope_length(g->ctx, n->name)), "op", n->op->name, "kind",
                     strata_kind_names[strata_node_kind(n)], "operands", operands, "attrs", attrs_json(n),
                     "dtype", strata_dtype_name(n->desc.dtype), "shape", shape_json(&n->desc), "layout",
                     strata_layout_names[n->desc.layout], "bytes", (json_int_t)strata_bytes(&n->desc), "macs",
                     (json_int_t)(n->op->macs ? n->op->macs(n) : 0), "uses", (int)n->uses, "live", live,
                     "place", place_json(at), "device", n->device < 0 ? json_null() : json_integer(n->device),
                     "kernel", n->kernel ? n->kernel->name : NULL);
}

static json_t *feature_json(const graph_feature *f, const node_geometry *at)
{
    return json_pack("{s:i, s:o, s:o, s:i, s:i, s:o, s:o}", "index", f->index, "name", text_json(f->name),
                     "value", text_json(f->node->name), "channels", f->channels, "reduction", f->reduction,
                     "shape", shape_json(&f->node->desc), "place", place_json(at));
}

static json_t *image_json(const strata_input_record *r)
{
    return json_pack("{s:[ii], s:i, s:[fff], s:[fff], s:s, s:f}", "size", r->height, r->width, "channels",
                     r->channels, "mean", r->mean[0], r->mean[1], r->mean[2], "std", r->std[0], r->std[1],
                     r->std[2], "interpolation", strata_interpolation_names[r->interpolation], "crop_pct",
                     r->crop_pct);
}

/* ---- Printing: the outermost braces are ours, so that no more than a line is held in memory
 * ------------------ */

typedef struct json_out {
    FILE *to;
    bool  failed;
} json_out;

/* Prints `lead` and the value, which it frees. */
static void put(json_out *out, const char *lead, json_t *value)
{
    fputs(lead, out->to);
    out->failed |= !value || json_dumpf(value, out->to, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)) != 0;
    json_decref(value);
}

strata_status strata_print_json(const strata_graph *g, FILE *to, strata_error *err)
{
    json_out       out = { .to = to };
    node_geometry *at = strata_graph_geometry(g);
    bool          *live = malloc((size_t)g->nodes.count + 1);
    uint64_t       params, macs;
    out.failed = !at || !live;
    if (!out.failed) {
        strata_graph_mark_live(g, live);
        strata_graph_cost(g, &params, &macs);
        put(&out, "{\"graph\": ", text_json(g->name));
        put(&out, ",\n\"image\": ", image_json(&g->record));
        put(&out, ",\n\"params\": ", json_integer((json_int_t)params));
        put(&out, ",\n\"macs\": ", json_integer((json_int_t)macs));
        fputs(",\n\"nodes\": [", to);
        for (int i = 0; i < g->nodes.count && !out.failed; i++)
            put(&out, i ? ",\n" : "\n", node_json(g, g->nodes.at[i], &at[i], live[i]));
        fputs("\n],\n\"features\": [", to);
        for (int i = 0; i < g->features.count; i++)
            put(&out, i ? ",\n" : "\n", feature_json(&g->features.at[i], &at[g->features.at[i].node->id]));
        fputs("\n],\n\"outputs\": [", to);
        for (int i = 0; i < g->outputs.count; i++)
            put(&out, i ? ",\n" : "\n",
                json_pack("{s:o, s:o}", "name", text_json(g->outputs.at[i].name), "value",
                          text_json(g->outputs.at[i].node->name)));
        fputs("\n]}\n", to);
    }
    free(at);
    free(live);
    if (fflush(to) != 0 || ferror(to))
        return strata_fail(err, STRATA_IO, "writing graph '%s': %s", g->name, strerror(errno));
    if (out.failed)
        return strata_fail(err, STRATA_NOMEM, "no memory to write graph '%s' as JSON", g->name);
    return STRATA_OK;
}
