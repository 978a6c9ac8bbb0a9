/* The graph for Graphviz, to be readable at the size of a ResNet-50: values as boxes inside nested clusters
 * of their scopes, filled by the kind of work, framed by the device that does it, with shapes on the edges
 * and a legend. Parameters and what no output needs are left out; the shapes of kernels and matrices stand in
 * the box that uses them. */
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Frames, by place in the program's list of devices. */
static const char *const device_colors[] = { "#c2410c", "#1d4ed8", "#15803d", "#7e22ce" };
enum { DEVICE_COLORS = sizeof device_colors / sizeof *device_colors };

typedef struct boxed { /* a value and the length of its scope */
    const strata_node *node;
    size_t             scope;
} boxed;

typedef struct drawing {
    FILE *to;
    bool  kind[STRATA_KIND_COUNT]; /* for the legend: what there is */
    bool  device[DEVICE_COLORS];
} drawing;

static bool drawn(const strata_node *n)
{
    return !strata_node_is_constant(n);
}

/* Inside "...". */
static void print_text(FILE *to, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"' || text[i] == '\\')
            fputc('\\', to);
        fputc((unsigned char)text[i] < ' ' ? ' ' : text[i], to);
    }
}

/* Inside <...>, Graphviz's HTML-like labels. */
static void print_html(FILE *to, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '&': fputs("&amp;", to); break;
        case '"': fputs("&quot;", to); break;
        default: fputc((unsigned char)*text < ' ' ? ' ' : *text, to);
        }
}

static void indent(FILE *to, int depth)
{
    for (int i = 0; i < depth; i++)
        fputs("  ", to);
}

/* "weight 64x3x7x7" for each constant operand with more than one dim: vectors have the shape of the channels.
 */
static void print_constants(FILE *to, const strata_node *n)
{
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++) {
        if (!n->in[k] || drawn(n->in[k]) || n->in[k]->desc.rank < 2)
            continue;
        const char *name = n->op->operands[n->op->flags & STRATA_OP_VARIADIC ? 0 : k].name;
        fprintf(to, "<BR/><FONT POINT-SIZE=\"8\">%s ", name ? name : "constant");
        for (int i = 0; i < n->in[k]->desc.rank; i++)
            fprintf(to, "%s%lld", i ? "×" : "", (long long)n->in[k]->desc.dim[i]);
        fputs("</FONT>", to);
    }
}

static void print_node(drawing *d, const strata_node *n, int depth)
{
    char        attrs[1024];
    strata_kind kind = strata_node_kind(n);
    strata_attrs_text(n, attrs, sizeof attrs);
    indent(d->to, depth);
    fprintf(d->to, "n%u [label=<<B>", n->id);
    print_html(d->to, n->op->name);
    fputs("</B><BR/>", d->to);
    print_html(d->to, n->name);
    print_constants(d->to, n);
    if (*attrs) {
        fputs("<BR/><FONT POINT-SIZE=\"8\">", d->to);
        print_html(d->to, attrs + 1);
        fputs("</FONT>", d->to);
    }
    if (n->kernel) {
        fputs("<BR/><FONT POINT-SIZE=\"8\"><I>", d->to);
        print_html(d->to, n->kernel->name);
        fputs("</I></FONT>", d->to);
    }
    fprintf(d->to, ">, fillcolor=\"%s\", tooltip=\"%%", strata_kind_colors[kind]);
    print_text(d->to, n->name, strlen(n->name));
    fputc('"', d->to);
    d->kind[kind] = true;
    if (n->kernel && n->device >= 0) {
        fprintf(d->to, ", color=\"%s\", penwidth=2", device_colors[n->device % DEVICE_COLORS]);
        d->device[n->device % DEVICE_COLORS] = true;
    }
    fputs("];\n", d->to);
}

static int by_name(const void *a, const void *b)
{
    const boxed *x = a, *y = b;
    int          order = strncmp(x->node->name, y->node->name, x->scope < y->scope ? x->scope : y->scope);
    if (order == 0 && x->scope != y->scope)
        order = x->scope < y->scope ? -1 : 1;
    return order ? order : (x->node->id > y->node->id) - (x->node->id < y->node->id);
}

/* The values from *at on whose scope lies in the first `prefix` bytes of that of the first one. */
static void print_cluster(drawing *d, const boxed *box, int count, int *at, size_t prefix, int depth)
{
    const char *first = box[*at].node->name;
    while (*at < count) {
        const char *name = box[*at].node->name;
        size_t      length = box[*at].scope;
        if (strncmp(name, first, prefix) != 0 || length < prefix ||
            (prefix > 0 && length > prefix && name[prefix] != '.'))
            return;
        if (length == prefix) {
            print_node(d, box[*at].node, depth);
            ++*at;
            continue;
        }
        size_t begin = prefix ? prefix + 1 : 0, end = begin;
        while (end < length && name[end] != '.')
            end++;
        indent(d->to, depth);
        fprintf(d->to, "subgraph \"cluster_");
        print_text(d->to, name, end);
        fputs("\" { label=\"", d->to);
        print_text(d->to, name + begin, end - begin);
        fprintf(d->to, "\"; bgcolor=\"%s\";\n", depth % 2 ? "#f4f6f9" : "#ffffff");
        print_cluster(d, box, count, at, end, depth + 1);
        indent(d->to, depth);
        fputs("}\n", d->to);
    }
}

static void print_edges(FILE *to, const strata_node *n)
{
    char shape[128];
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        if (n->in[k] && drawn(n->in[k]))
            fprintf(to, "  n%u -> n%u [label=\"%s\"];\n", n->in[k]->id, n->id,
                    strata_shape_text(&n->in[k]->desc, shape, sizeof shape));
}

static void print_output(FILE *to, int i, const graph_output *o)
{
    char shape[128];
    fprintf(to, "  o%d [label=\"", i);
    print_text(to, o->name, strlen(o->name));
    fprintf(to, "\", shape=cds, fillcolor=\"#fde68a\"];\n  n%u -> o%d [label=\"%s\"];\n", o->node->id, i,
            strata_shape_text(&o->node->desc, shape, sizeof shape));
}

/* What the colours mean: one table, of those that occur. */
static void print_legend(const drawing *d)
{
    fputs(
        "  legend [shape=plain, fillcolor=none, label=<<TABLE BORDER=\"0\" CELLSPACING=\"3\" CELLPADDING=\"4\">\n",
        d->to);
    for (int k = 0; k < STRATA_KIND_COUNT; k++)
        if (d->kind[k])
            fprintf(d->to, "    <TR><TD BORDER=\"1\" BGCOLOR=\"%s\">%s</TD></TR>\n", strata_kind_colors[k],
                    strata_kind_names[k]);
    for (int k = 0; k < DEVICE_COLORS; k++)
        if (d->device[k])
            fprintf(d->to, "    <TR><TD BORDER=\"2\" COLOR=\"%s\">device %d</TD></TR>\n", device_colors[k],
                    k);
    fputs("  </TABLE>>];\n", d->to);
}

strata_status strata_print_dot(const strata_graph *g, FILE *to, strata_error *err)
{
    drawing d = { .to = to };
    int     count = 0;
    boxed  *box = malloc(((size_t)g->nodes.count + 1) * sizeof *box);
    bool   *live = malloc((size_t)g->nodes.count + 1);
    if (!box || !live) {
        free(box);
        free(live);
        return strata_fail(err, STRATA_NOMEM, "no memory to draw graph '%s'", g->name);
    }
    strata_graph_mark_live(g, live);
    for (int i = 0; i < g->nodes.count; i++)
        if (live[i] && drawn(g->nodes.at[i]))
            box[count++] = (boxed){ g->nodes.at[i], strata_scope_length(g->ctx, g->nodes.at[i]->name) };
    qsort(box, (size_t)count, sizeof *box, by_name);

    fputs("digraph \"", to);
    print_text(to, g->name, strlen(g->name));
    fputs(
        "\" {\n  graph [fontname=\"sans-serif\", fontsize=11, style=rounded, color=\"#9aa5b1\", fontcolor=\"#52606d\", "
        "nodesep=0.2, ranksep=0.35];\n"
        "  node [shape=box, style=\"filled,rounded\", fillcolor=white, color=\"#7b8794\", fontname=\"sans-serif\", "
        "fontsize=10, margin=\"0.1,0.04\"];\n"
        "  edge [fontname=\"sans-serif\", fontsize=8, color=\"#52606d\", fontcolor=\"#52606d\", arrowsize=0.6];\n",
        to);
    for (int at = 0; at < count;)
        print_cluster(&d, box, count, &at, 0, 1);
    for (int i = 0; i < count; i++)
        print_edges(to, box[i].node);
    for (int i = 0; i < g->outputs.count; i++)
        print_output(to, i, &g->outputs.at[i]);
    print_legend(&d);
    fputs("}\n", to);
    free(box);
    free(live);
    if (fflush(to) != 0 || ferror(to))
        return strata_fail(err, STRATA_IO, "writing graph '%s': %s", g->name, strerror(errno));
    return STRATA_OK;
}
