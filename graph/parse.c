/* Reads exactly what print.c writes (docs/text-format.md has the grammar). Errors say file, line and column, what was
 * expected, and show the line. Nodes go through the builder, so a parsed graph obeys the same law as a built one. */
#include "builder.h"
#include "context.h"
#include "text.h"

#include <strata/ops.h>

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_WORD = 256 };

typedef struct parser {
    strata_context *ctx;
    strata_builder *b;
    const char     *file, *text, *at, *end;
    const char     *token; /* where the last token began: what messages point at */
    strata_error   *err;
} parser;

static strata_status fail(const parser *p, strata_status status, const char *fmt, ...) STRATA_PRINTF(3, 4);

/* The part of the line around the token, and a caret under it. Tabs and other control characters, which would move the
 * caret, are shown as blanks; "..." stands for what is cut off. */
static void show_line(const parser *p, const char *line, char *buf, size_t size)
{
    enum { BEFORE = 60, AFTER = 60 };
    const char *from = p->token - line > BEFORE + 3 ? p->token - BEFORE : line, *to = p->token;
    while (to < p->end && *to != '\n' && to - p->token < AFTER)
        to++;
    bool   more  = to < p->end && *to != '\n';
    int    caret = (int)(p->token - from) + (from > line ? 3 : 0);
    size_t used  = (size_t)snprintf(buf, size, "    %s", from > line ? "..." : "");
    for (; from < to && used + 1 < size; from++)
        buf[used++] = (unsigned char)*from < ' ' ? ' ' : *from;
    snprintf(buf + used, size - used, "%s\n    %*s^", more ? "..." : "", caret, "");
}

static strata_status fail(const parser *p, strata_status status, const char *fmt, ...)
{
    const char *line = p->token;
    int         row  = 1;
    while (line > p->text && line[-1] != '\n')
        line--;
    for (const char *c = p->text; c < line; c++)
        row += *c == '\n';
    char    what[1024], shown[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    show_line(p, line, shown, sizeof shown);
    return strata_fail(p->err, status, "%s:%d:%d: %s\n%s", p->file, row, (int)(p->token - line) + 1, what, shown);
}

/* ---- Tokens ------------------------------------------------------------------------------------------------ */

static void skip_blanks(parser *p)
{
    while (p->at < p->end) {
        if (*p->at == '#')
            while (p->at < p->end && *p->at != '\n')
                p->at++;
        else if (isspace((unsigned char)*p->at))
            p->at++;
        else
            break;
    }
    p->token = p->at;
}

static bool next_is(parser *p, char c)
{
    skip_blanks(p);
    return p->at < p->end && *p->at == c;
}

static bool accept(parser *p, char c)
{
    if (!next_is(p, c))
        return false;
    p->at++;
    return true;
}

static strata_status expect(parser *p, char c)
{
    if (accept(p, c))
        return STRATA_OK;
    if (p->at >= p->end)
        return fail(p, STRATA_FORMAT, "expected '%c', found the end of the text", c);
    return fail(p, STRATA_FORMAT, "expected '%c', found '%c'", c, isprint((unsigned char)*p->at) ? *p->at : '?');
}

/* A word of name characters, or a quoted string when `quoted` allows it. */
static strata_status word(parser *p, bool quoted, char buf[LONGEST_WORD])
{
    skip_blanks(p);
    size_t length = 0;
    bool   string = quoted && p->at < p->end && *p->at == '"';
    p->at += string;
    while (p->at < p->end && (string ? *p->at != '"' : strata_name_char((unsigned char)*p->at))) {
        char c = *p->at++;
        if (c == '\n' || c == 0)
            return fail(p, STRATA_FORMAT, "a name ends within its line");
        if (string && c == '\\') {
            if (p->at >= p->end)
                break;
            c = *p->at++;
            if (c == 'x') {
                char *stop, hex[3] = { 0 };
                for (int i = 0; i < 2 && p->at < p->end; i++)
                    hex[i] = *p->at++;
                long code = strtol(hex, &stop, 16);
                if (stop != hex + 2 || code == 0)
                    return fail(p, STRATA_FORMAT, "\\x needs two hexadecimal digits, not 00");
                c = (char)code;
            }
        }
        if (length + 1 == LONGEST_WORD)
            return fail(p, STRATA_FORMAT, "a name is longer than %d characters", LONGEST_WORD - 1);
        buf[length++] = c;
    }
    buf[length] = 0;
    if (string && !(p->at < p->end && *p->at == '"'))
        return fail(p, STRATA_FORMAT, "the string has no closing quote");
    p->at += string;
    if (length == 0)
        return fail(p, STRATA_FORMAT, "expected a name");
    return STRATA_OK;
}

static strata_status number(parser *p, double *out)
{
    char   buf[64];
    size_t length = 0;
    skip_blanks(p);
    while (p->at < p->end && length + 1 < sizeof buf && (isalnum((unsigned char)*p->at) || strchr("+-.", *p->at)) && *p->at)
        buf[length++] = *p->at++;
    buf[length] = 0;
    char *stop;
    *out = strata_number_read(buf, &stop);
    if (length == 0 || *stop || !isfinite(*out))
        return fail(p, STRATA_FORMAT, "expected a number, found '%s'", buf);
    return STRATA_OK;
}

static strata_status integer(parser *p, int64_t low, int64_t high, int64_t *out)
{
    double value;
    STRATA_TRY(number(p, &value));
    if (value != floor(value) || value < (double)low || value > (double)high)
        return fail(p, STRATA_FORMAT, "expected a whole number in %lld..%lld, found %.17g", (long long)low,
                    (long long)high, value);
    *out = (int64_t)value;
    return STRATA_OK;
}

/* Index of the word in a NULL-terminated list. */
static strata_status choice(parser *p, const char *const *names, int *out)
{
    char text[LONGEST_WORD];
    STRATA_TRY(word(p, false, text));
    for (*out = 0; names[*out]; ++*out)
        if (strcmp(names[*out], text) == 0)
            return STRATA_OK;
    char   list[512];
    size_t used = 0;
    for (int i = 0; names[i] && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    return fail(p, STRATA_FORMAT, "'%s' is none of %s", text, list);
}

/* "%name" or "@name" of a node that stands above. */
static strata_status reference(parser *p, strata_node **out)
{
    char name[LONGEST_WORD];
    skip_blanks(p);
    const char *token = p->token;
    bool        constant = p->at < p->end && *p->at == '@';
    if (!constant && !(p->at < p->end && *p->at == '%'))
        return fail(p, STRATA_FORMAT, "expected a value, %%name or @name");
    p->at++;
    STRATA_TRY(word(p, true, name));
    *out     = strata_graph_find(strata_builder_graph(p->b), name);
    p->token = token;
    if (!*out)
        return fail(p, STRATA_FORMAT, "%c%s is not defined above", constant ? '@' : '%', name);
    if (strata_node_is_constant(*out) != constant)
        return fail(p, STRATA_FORMAT, "%s is a %s: its sigil is '%c'", name, (*out)->op->name, constant ? '%' : '@');
    return STRATA_OK;
}

/* What the builder refused, at this place of the text. */
static strata_status check_builder(parser *p, const char *token)
{
    const strata_error *error = strata_builder_error(p->b);
    p->token                  = token;
    return error->status == STRATA_OK ? STRATA_OK : fail(p, error->status, "%s", error->text);
}

/* ---- Parts of lines ------------------------------------------------------------------------------------------ */

static strata_status type(parser *p, strata_tensor_desc *out)
{
    char name[LONGEST_WORD];
    *out = (strata_tensor_desc){ 0 };
    STRATA_TRY(word(p, false, name));
    for (out->dtype = 0; out->dtype < STRATA_DTYPE_COUNT; out->dtype++)
        if (strcmp(strata_dtype_name(out->dtype), name) == 0)
            break;
    if (out->dtype == STRATA_DTYPE_COUNT)
        return fail(p, STRATA_FORMAT, "'%s' is no dtype", name);
    STRATA_TRY(expect(p, '['));
    while (!accept(p, ']')) {
        if (out->rank > 0)
            STRATA_TRY(expect(p, ','));
        if (out->rank == STRATA_MAX_RANK)
            return fail(p, STRATA_FORMAT, "a shape has at most %d dims", STRATA_MAX_RANK);
        STRATA_TRY(integer(p, 1, (int64_t)1 << 40, &out->dim[out->rank++]));
    }
    if (p->at < p->end && *p->at == '.') {
        int layout;
        p->at++;
        STRATA_TRY(choice(p, strata_layout_names, &layout));
        out->layout = (strata_layout)layout;
    }
    return STRATA_OK;
}

static strata_status attr_value(parser *p, const strata_attr_def *row, void *attrs)
{
    int64_t whole = 0;
    double  value = 0;
    if (row->type == STRATA_ATTR_ENUM || row->type == STRATA_ATTR_BOOL) {
        static const char *const booleans[] = { "false", "true", NULL };
        int                      index;
        STRATA_TRY(choice(p, row->type == STRATA_ATTR_BOOL ? booleans : row->names, &index));
        strata_attr_set(row, attrs, 0, index);
        return STRATA_OK;
    }
    bool list   = accept(p, '[');
    int  length = row->type == STRATA_ATTR_INTS ? STRATA_MAX_RANK : strata_attr_length(row, attrs), count = 0;
    do {
        if (list && accept(p, ']')) {
            if (row->type == STRATA_ATTR_INTS && count == 0)
                return STRATA_OK;
            return fail(p, STRATA_FORMAT, "%s: a number is missing", row->name);
        }
        if (row->type == STRATA_ATTR_FLOAT) {
            STRATA_TRY(number(p, &value));
        } else {
            int64_t limit = row->type == STRATA_ATTR_INTS ? (int64_t)1 << 52 : INT32_MAX;
            STRATA_TRY(integer(p, -limit, limit, &whole));
            value = (double)whole;
        }
        if (count == length)
            return fail(p, STRATA_FORMAT, "%s takes %d numbers", row->name, length);
        strata_attr_set(row, attrs, count++, value);
    } while (list && accept(p, ','));
    if (list)
        STRATA_TRY(expect(p, ']'));
    if (row->type == STRATA_ATTR_INTS) {
        ((strata_ints *)((char *)attrs + row->offset))->count = count;
        return STRATA_OK;
    }
    if (count != 1 && count != length)
        return fail(p, STRATA_FORMAT, "%s takes 1 or %d numbers, not %d", row->name, length, count);
    for (int i = count; i < length; i++)
        strata_attr_set(row, attrs, i, value);
    return STRATA_OK;
}

static strata_status attributes(parser *p, const strata_op_def *op, void *attrs)
{
    uint64_t seen = 0;
    if (!accept(p, '{'))
        return STRATA_OK;
    do {
        char key[LONGEST_WORD];
        int  at = 0;
        STRATA_TRY(word(p, false, key));
        while (op->attrs && op->attrs[at].name && strcmp(op->attrs[at].name, key) != 0)
            at++;
        if (!op->attrs || !op->attrs[at].name)
            return fail(p, STRATA_FORMAT, "%s has no attribute '%s'", op->name, key);
        if (seen >> at & 1)
            return fail(p, STRATA_FORMAT, "attribute '%s' is given twice", key);
        seen |= (uint64_t)1 << at;
        STRATA_TRY(expect(p, '='));
        STRATA_TRY(attr_value(p, &op->attrs[at], attrs));
    } while (accept(p, ','));
    return expect(p, '}');
}

/* ---- Lines --------------------------------------------------------------------------------------------------- */

/* "input %x : f32[1,3,8,8]", after the keyword. */
static strata_status source_line(parser *p, const char *keyword)
{
    char               name[LONGEST_WORD];
    strata_tensor_desc desc;
    bool               input = strcmp(keyword, "input") == 0;
    skip_blanks(p);
    const char *token = p->token;
    STRATA_TRY(expect(p, input ? '%' : '@'));
    STRATA_TRY(word(p, true, name));
    STRATA_TRY(expect(p, ':'));
    STRATA_TRY(type(p, &desc));
    if (input)
        strata_emit_input(p->b, name, &desc);
    else if (strcmp(keyword, "param") == 0)
        strata_emit_param(p->b, name, &desc);
    else
        strata_emit_const(p->b, name, &desc, NULL);
    return check_builder(p, token);
}

/* "%y = op(%x, @w, _) {key=value} : f32[...]" */
static strata_status node_line(parser *p)
{
    char                 name[LONGEST_WORD], op_name[LONGEST_WORD], one[128], two[128];
    strata_node         *in[STRATA_MAX_OPERANDS] = { NULL };
    strata_tensor_desc   desc;
    int                  count = 0;
    union { max_align_t align; char bytes[512]; } attrs = { .bytes = { 0 } };

    skip_blanks(p);
    const char *token = p->token;
    STRATA_TRY(expect(p, '%'));
    STRATA_TRY(word(p, true, name));
    STRATA_TRY(expect(p, '='));
    STRATA_TRY(word(p, false, op_name));
    const strata_op_def *op = strata_find_op(p->ctx, op_name);
    if (!op || (op->flags & STRATA_OP_SOURCE)) {
        char near[256];
        strata_registry_nearest(&p->ctx->ops, op_name, near, sizeof near);
        return fail(p, STRATA_FORMAT, "no op is named '%s'%s%s", op_name, *near ? "; nearest: " : "", near);
    }
    if (op->attr_size > sizeof attrs.bytes)
        return fail(p, STRATA_UNSUPPORTED, "the attributes of '%s' take more than %zu bytes", op_name, sizeof attrs.bytes);
    STRATA_TRY(expect(p, '('));
    while (!accept(p, ')')) {
        if (count > 0)
            STRATA_TRY(expect(p, ','));
        if (count == STRATA_MAX_OPERANDS)
            return fail(p, STRATA_FORMAT, "an op takes at most %d operands", STRATA_MAX_OPERANDS);
        if (!accept(p, '_'))
            STRATA_TRY(reference(p, &in[count]));
        count++;
    }
    strata_attrs_set_defaults(op, attrs.bytes);
    STRATA_TRY(attributes(p, op, attrs.bytes));
    STRATA_TRY(expect(p, ':'));
    skip_blanks(p);
    const char *type_token = p->token;
    STRATA_TRY(type(p, &desc));

    const strata_node *n = strata_emit_n(p->b, op, name, attrs.bytes, in, count);
    STRATA_TRY(check_builder(p, token));
    if (!strata_same_shape(&desc, &n->desc) || desc.dtype != n->desc.dtype || desc.layout != n->desc.layout) {
        p->token = type_token;
        return fail(p, STRATA_FORMAT, "the type says %s%s.%s, but %s gives %s%s.%s", strata_dtype_name(desc.dtype),
                    strata_shape_text(&desc, one, sizeof one), strata_layout_names[desc.layout], op_name,
                    strata_dtype_name(n->desc.dtype), strata_shape_text(&n->desc, two, sizeof two),
                    strata_layout_names[n->desc.layout]);
    }
    return STRATA_OK;
}

/* "feature "name" = %x {index=0, channels=64, reduction=2}" */
static strata_status feature_line(parser *p)
{
    static const strata_attr_def rows[] = {
        { "index", STRATA_ATTR_INT, 0, 0, 1 << 20, 0, "", NULL },
        { "channels", STRATA_ATTR_INT, sizeof(int), 1, 1 << 30, 1, "", NULL },
        { "reduction", STRATA_ATTR_INT, 2 * sizeof(int), 1, 1 << 20, 1, "", NULL },
        { 0 }
    };
    static const strata_op_def shape = { .name = "feature", .attrs = rows, .attr_size = 3 * sizeof(int) };
    char                       name[LONGEST_WORD];
    strata_node               *n;
    int                        value[3] = { 0, 1, 1 };
    skip_blanks(p);
    const char *token = p->token;
    STRATA_TRY(word(p, true, name));
    STRATA_TRY(expect(p, '='));
    STRATA_TRY(reference(p, &n));
    STRATA_TRY(attributes(p, &shape, value));
    strata_status status = strata_attrs_check(&shape, value, p->err);
    p->token             = token;
    if (status != STRATA_OK)
        return fail(p, status, "%s", p->err ? p->err->text : "a number is out of range");
    strata_emit_feature_at(p->b, value[0], name, n, value[1], value[2]);
    return check_builder(p, token);
}

static strata_status output_line(parser *p)
{
    char         name[LONGEST_WORD];
    strata_node *n;
    skip_blanks(p);
    const char *token = p->token;
    STRATA_TRY(word(p, true, name));
    STRATA_TRY(expect(p, '='));
    STRATA_TRY(reference(p, &n));
    strata_emit_output(p->b, name, n);
    return check_builder(p, token);
}

/* "image {size=[224,224], channels=3, mean=[...], std=[...], interpolation=bilinear, crop_pct=0.875}" */
static strata_status image_line(parser *p)
{
    strata_input_record r = { 0 };
    int64_t             whole = 0;
    STRATA_TRY(expect(p, '{'));
    do {
        char key[LONGEST_WORD];
        STRATA_TRY(word(p, false, key));
        STRATA_TRY(expect(p, '='));
        if (strcmp(key, "size") == 0) {
            int *side[2] = { &r.height, &r.width };
            for (int i = 0; i < 2; i++) {
                STRATA_TRY(expect(p, i ? ',' : '['));
                STRATA_TRY(integer(p, 1, 1 << 20, &whole));
                *side[i] = (int)whole;
            }
            STRATA_TRY(expect(p, ']'));
        } else if (strcmp(key, "channels") == 0) {
            STRATA_TRY(integer(p, 1, 1 << 20, &whole));
            r.channels = (int)whole;
        } else if (strcmp(key, "mean") == 0 || strcmp(key, "std") == 0) {
            double *to = *key == 'm' ? r.mean : r.std;
            for (int i = 0; i < 3; i++) {
                STRATA_TRY(expect(p, i ? ',' : '['));
                STRATA_TRY(number(p, &to[i]));
            }
            STRATA_TRY(expect(p, ']'));
        } else if (strcmp(key, "interpolation") == 0) {
            int how;
            STRATA_TRY(choice(p, strata_interpolation_names, &how));
            r.interpolation = (strata_interpolation)how;
        } else if (strcmp(key, "crop_pct") == 0) {
            STRATA_TRY(number(p, &r.crop_pct));
        } else {
            return fail(p, STRATA_FORMAT, "image has no '%s'", key);
        }
    } while (accept(p, ','));
    STRATA_TRY(expect(p, '}'));
    if (r.height == 0 || r.channels == 0 || r.std[0] == 0 || r.std[1] == 0 || r.std[2] == 0 || !(r.crop_pct > 0))
        return fail(p, STRATA_FORMAT, "image needs size, channels, std and crop_pct above zero");
    strata_graph_set_input_record(strata_builder_graph(p->b), &r);
    return STRATA_OK;
}

static strata_status body(parser *p)
{
    while (!accept(p, '}')) {
        if (next_is(p, '%')) {
            STRATA_TRY(node_line(p));
            continue;
        }
        char keyword[LONGEST_WORD];
        STRATA_TRY(word(p, false, keyword));
        if (strcmp(keyword, "input") == 0 || strcmp(keyword, "param") == 0 || strcmp(keyword, "const") == 0)
            STRATA_TRY(source_line(p, keyword));
        else if (strcmp(keyword, "feature") == 0)
            STRATA_TRY(feature_line(p));
        else if (strcmp(keyword, "output") == 0)
            STRATA_TRY(output_line(p));
        else if (strcmp(keyword, "image") == 0)
            STRATA_TRY(image_line(p));
        else
            return fail(p, STRATA_FORMAT, "'%s' begins no line; input, param, const, feature, output, image or %%value does",
                        keyword);
    }
    skip_blanks(p);
    if (p->at < p->end)
        return fail(p, STRATA_FORMAT, "there is text after the closing brace");
    return STRATA_OK;
}

strata_status strata_graph_parse(strata_context *ctx, const char *file_name, const char *text, size_t size,
                                 strata_graph **out, strata_error *err)
{
    strata_error  own;
    char          keyword[LONGEST_WORD], name[LONGEST_WORD];
    parser        p = { .ctx = ctx, .file = file_name, .text = text, .at = text, .end = text + size, .token = text,
                        .err = err ? err : &own };
    STRATA_TRY(word(&p, false, keyword));
    p.token = text;
    if (strcmp(keyword, "graph") != 0)
        return fail(&p, STRATA_FORMAT, "a graph begins with: graph \"name\" {");
    STRATA_TRY(word(&p, true, name));
    STRATA_TRY(expect(&p, '{'));
    STRATA_TRY(strata_builder_create(ctx, name, &p.b, err));
    strata_status status = body(&p);
    if (status == STRATA_OK)
        return strata_builder_finish(p.b, out, err);
    strata_builder_fail(p.b, status, "%s", p.err->text); /* whose text has the place; the builder's own has not */
    strata_builder_finish(p.b, out, NULL);
    return status;
}
