/* The text form: a line per node, no numbering, attributes only where they differ from their default, so that a
 * pass changes only its own lines in a diff. Everything is driven by the attribute rows of the ops. */
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

const char *const strata_interpolation_names[] = { "bilinear", "bicubic", NULL };

bool strata_name_char(int c) { return isalnum(c) || c == '_' || c == '.'; }

/* ---- Attributes -------------------------------------------------------------------------------------------- */

typedef struct text_buffer {
    char  *at;
    size_t used, size;
} text_buffer;

static void put(text_buffer *t, const char *text)
{
    size_t length = strlen(text);
    if (t->used + length < t->size)
        memcpy(t->at + t->used, text, length + 1);
    t->used += length;
}

static void put_value(text_buffer *t, const strata_attr_def *row, const void *attrs)
{
    char   buf[32];
    int    length = strata_attr_length(row, attrs);
    double first  = length > 0 ? strata_attr_get(row, attrs, 0) : 0;
    if (row->type == STRATA_ATTR_ENUM) {
        put(t, row->names[(int)first]);
        return;
    }
    if (row->type == STRATA_ATTR_BOOL) {
        put(t, first != 0 ? "true" : "false");
        return;
    }
    bool equal = row->type != STRATA_ATTR_INTS;
    for (int i = 1; i < length; i++)
        equal &= strata_attr_get(row, attrs, i) == first;
    if (equal) {
        put(t, strata_number_text(first, buf));
        return;
    }
    put(t, "[");
    for (int i = 0; i < length; i++) {
        put(t, i ? "," : "");
        put(t, strata_number_text(strata_attr_get(row, attrs, i), buf));
    }
    put(t, "]");
}

bool strata_attrs_text(const strata_node *n, char *buf, size_t size)
{
    text_buffer t     = { buf, 0, size };
    const char *comma = " {";
    buf[0]            = 0;
    for (const strata_attr_def *row = n->op->attrs; row && row->name; row++) {
        if (strata_attr_is_default(row, n->attrs))
            continue;
        put(&t, comma);
        put(&t, row->name);
        put(&t, "=");
        put_value(&t, row, n->attrs);
        comma = ", ";
    }
    if (t.used > 0)
        put(&t, "}");
    return t.used < size;
}

/* ---- Lines ------------------------------------------------------------------------------------------------- */

void strata_print_quoted(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', to);
        if ((unsigned char)*text < ' ')
            fprintf(to, "\\x%02x", (unsigned)*text);
        else
            fputc(*text, to);
    }
    fputc('"', to);
}

void strata_print_name(FILE *to, const strata_node *n)
{
    bool plain = *n->name != 0;
    for (const char *c = n->name; *c; c++)
        plain &= strata_name_char((unsigned char)*c);
    fputc(strata_node_is_constant(n) ? '@' : '%', to);
    if (plain)
        fputs(n->name, to);
    else
        strata_print_quoted(to, n->name);
}

void strata_print_type(FILE *to, const strata_tensor_desc *desc)
{
    char shape[128];
    fprintf(to, "%s%s", strata_dtype_name(desc->dtype), strata_shape_text(desc, shape, sizeof shape));
    if (desc->layout != STRATA_NCHW)
        fprintf(to, ".%s", strata_layout_names[desc->layout]);
}

void strata_print_operands(FILE *to, const strata_node *n)
{
    fputc('(', to);
    for (int k = 0; k < strata_operand_count(n); k++) {
        fputs(k ? ", " : "", to);
        if (n->in[k])
            strata_print_name(to, n->in[k]);
        else
            fputc('_', to);
    }
    fputc(')', to);
}

void strata_print_definition(FILE *to, const strata_node *n)
{
    char attrs[1024];
    if (strata_node_is_source(n)) {
        fprintf(to, "%s ", n->op->name);
        strata_print_name(to, n);
    } else {
        strata_print_name(to, n);
        fprintf(to, " = %s", n->op->name);
        strata_print_operands(to, n);
        strata_attrs_text(n, attrs, sizeof attrs);
        fputs(attrs, to);
    }
    fputs(" : ", to);
    strata_print_type(to, &n->desc);
}

static void print_node(FILE *to, const strata_node *n, const char *comment)
{
    fputs("  ", to);
    strata_print_definition(to, n);
    if (*comment)
        fprintf(to, "   # %s", comment);
    fputc('\n', to);
}

void strata_print_record(FILE *to, const strata_input_record *r)
{
    char a[32], b[32], c[32];
    fprintf(to, "{size=[%d,%d], channels=%d", r->height, r->width, r->channels);
    fprintf(to, ", mean=[%s,%s,%s]", strata_number_text(r->mean[0], a), strata_number_text(r->mean[1], b),
            strata_number_text(r->mean[2], c));
    fprintf(to, ", std=[%s,%s,%s]", strata_number_text(r->std[0], a), strata_number_text(r->std[1], b),
            strata_number_text(r->std[2], c));
    fprintf(to, ", interpolation=%s, crop_pct=%s}", strata_interpolation_names[r->interpolation],
            strata_number_text(r->crop_pct, a));
}

strata_status strata_print_text(const strata_graph *g, FILE *to, strata_comment_fn comment, void *user, strata_error *err)
{
    fputs("graph ", to);
    strata_print_quoted(to, g->name);
    fputs(" {\n", to);
    if (g->record.height != 0) {
        fputs("  image ", to);
        strata_print_record(to, &g->record);
        fputc('\n', to);
    }
    for (int i = 0; i < g->nodes.count; i++)
        print_node(to, g->nodes.at[i], comment ? comment(user, g->nodes.at[i]) : "");
    for (int i = 0; i < g->features.count; i++) {
        const graph_feature *f = &g->features.at[i];
        fputs("  feature ", to);
        strata_print_quoted(to, f->name);
        fputs(" = ", to);
        strata_print_name(to, f->node);
        fprintf(to, " {index=%d, channels=%d, reduction=%d}\n", f->index, f->channels, f->reduction);
    }
    for (int i = 0; i < g->outputs.count; i++) {
        fputs("  output ", to);
        strata_print_quoted(to, g->outputs.at[i].name);
        fputs(" = ", to);
        strata_print_name(to, g->outputs.at[i].node);
        fputc('\n', to);
    }
    fputs("}\n", to);
    if (fflush(to) != 0 || ferror(to))
        return strata_fail(err, STRATA_IO, "writing graph '%s': %s", g->name, strerror(errno));
    return STRATA_OK;
}

strata_status strata_graph_print(const strata_graph *g, strata_dump_format format, FILE *to, strata_error *err)
{
    switch (format) {
    case STRATA_DUMP_TEXT: return strata_print_text(g, to, NULL, NULL, err);
    case STRATA_DUMP_DOT: return strata_print_dot(g, to, err);
    case STRATA_DUMP_JSON: return strata_print_json(g, to, err);
    }
    return strata_fail(err, STRATA_INVALID, "%d is no dump format", (int)format);
}
