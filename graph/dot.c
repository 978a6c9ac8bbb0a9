/* The graph for Graphviz: values as boxes inside nested clusters of their scopes, shapes on the edges, parameters
 * left out. */
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool drawn(const strata_node *n) { return !strata_node_is_constant(n); }

/* Length of the scope of a name: up to its last dot. */
static size_t scope_length(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

static void print_text(FILE *to, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"' || text[i] == '\\')
            fputc('\\', to);
        fputc(text[i], to);
    }
}

static void indent(FILE *to, int depth)
{
    for (int i = 0; i < depth; i++)
        fputs("  ", to);
}

static void print_node(FILE *to, const strata_node *n, int depth)
{
    char attrs[1024], shape[128];
    strata_attrs_text(n, attrs, sizeof attrs);
    indent(to, depth);
    fprintf(to, "n%u [label=\"%s", n->id, n->op->name);
    print_text(to, attrs, strlen(attrs));
    fputs("\\n%", to);
    print_text(to, n->name, strlen(n->name));
    fprintf(to, "\\n%s\"%s];\n", strata_shape_text(&n->desc, shape, sizeof shape),
            n->op->macs ? ", fillcolor=\"#cfe2f3\"" : n->op->window ? ", fillcolor=\"#d9ead3\"" : "");
}

static int by_name(const void *a, const void *b)
{
    const strata_node *x = *(strata_node *const *)a, *y = *(strata_node *const *)b;
    size_t n = scope_length(x->name), m = scope_length(y->name);
    int    order = strncmp(x->name, y->name, n < m ? n : m);
    if (order == 0 && n != m)
        order = n < m ? -1 : 1;
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

/* The nodes from *at on whose scope lies in the first `prefix` bytes of that of the first one. */
static void print_cluster(FILE *to, strata_node *const *node, int count, int *at, size_t prefix, int depth)
{
    const char *name = node[*at]->name;
    while (*at < count) {
        const strata_node *n      = node[*at];
        size_t             length = scope_length(n->name);
        if (strncmp(n->name, name, prefix) != 0 || length < prefix ||
            (prefix > 0 && length > prefix && n->name[prefix] != '.'))
            return;
        if (length == prefix) {
            print_node(to, n, depth);
            ++*at;
            continue;
        }
        size_t begin = prefix ? prefix + 1 : 0, end = begin;
        while (end < length && n->name[end] != '.')
            end++;
        indent(to, depth);
        fprintf(to, "subgraph \"cluster_");
        print_text(to, n->name, end);
        fputs("\" { label=\"", to);
        print_text(to, n->name + begin, end - begin);
        fputs("\";\n", to);
        print_cluster(to, node, count, at, end, depth + 1);
        indent(to, depth);
        fputs("}\n", to);
    }
}

strata_status strata_print_dot(const strata_graph *g, FILE *to, strata_error *err)
{
    strata_node **node = malloc(((size_t)g->nodes.count + 1) * sizeof *node);
    if (!node)
        return strata_fail(err, STRATA_NOMEM, "no memory to draw graph '%s'", g->name);
    int count = 0;
    for (int i = 0; i < g->nodes.count; i++)
        if (drawn(g->nodes.at[i]))
            node[count++] = g->nodes.at[i];
    qsort(node, (size_t)count, sizeof *node, by_name);

    fputs("digraph \"", to);
    print_text(to, g->name, strlen(g->name));
    fputs("\" {\n  node [shape=box, style=filled, fillcolor=white, fontname=\"sans-serif\", fontsize=10];\n"
          "  edge [fontname=\"sans-serif\", fontsize=8]; graph [fontname=\"sans-serif\", style=rounded];\n",
          to);
    for (int at = 0; at < count;)
        print_cluster(to, node, count, &at, 0, 1);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
            if (node[i]->in[k] && drawn(node[i]->in[k])) {
                char shape[128];
                fprintf(to, "  n%u -> n%u [label=\"%s\"];\n", node[i]->in[k]->id, node[i]->id,
                        strata_shape_text(&node[i]->in[k]->desc, shape, sizeof shape));
            }
    for (int i = 0; i < g->outputs.count; i++) {
        fprintf(to, "  o%d [label=\"", i);
        print_text(to, g->outputs.at[i].name, strlen(g->outputs.at[i].name));
        fprintf(to, "\", shape=oval, fillcolor=\"#fff2cc\"];\n  n%u -> o%d;\n", g->outputs.at[i].node->id, i);
    }
    fputs("}\n", to);
    free(node);
    if (fflush(to) != 0 || ferror(to))
        return strata_fail(err, STRATA_IO, "writing graph '%s': %s", g->name, strerror(errno));
    return STRATA_OK;
}
