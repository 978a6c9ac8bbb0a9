/* The structural difference of two graphs. Names mean values, so nodes of equal name are compared and nothing
 * has to be guessed: what only A has was removed, what only B has was added, and the rest either says the
 * same or changed.
 *
 *     - %bn1 = batch_norm(%conv1, ...) : f32[1,64,112,112]
 *     + const @bn1.add : f32[64]
 *     ~ %relu: relu -> conv2d, (%bn1) -> (%input, @bn1.mul.2, @bn1.add), {} -> {stride=2, pad=3, act=relu}
 *
 * Lines come in the order of B; what was removed stands before what followed it in A. Numbers of constants,
 * devices and kernels are no structure and not compared. */
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct difference {
    const strata_graph *a, *b;
    FILE               *to;
    strata_diff         counts;
    int                 at; /* next node of A that may have been removed */
} difference;

/* ", " between the parts of a changed line, ": " before the first; remembers that there is one. */
static void part(difference *d, bool *first)
{
    fputs(*first ? ": " : ", ", d->to);
    *first = false;
}

static bool same_operands(const strata_node *x, const strata_node *y)
{
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++) {
        if (!x->in[k] != !y->in[k])
            return false;
        if (x->in[k] && (strcmp(x->in[k]->name, y->in[k]->name) != 0 ||
                         strata_node_is_constant(x->in[k]) != strata_node_is_constant(y->in[k])))
            return false;
    }
    return true;
}

static bool same_type(const strata_tensor_desc *x, const strata_tensor_desc *y)
{
    return strata_same_shape(x, y) && x->dtype == y->dtype && x->layout == y->layout;
}

/* The attributes without their leading blank. */
static const char *attributes(const strata_node *n, char buf[1024])
{
    strata_attrs_text(n, buf, 1024);
    return *buf ? buf + 1 : "{}";
}

static void compare_nodes(difference *d, const strata_node *x, const strata_node *y)
{
    char        one[1024], two[1024];
    const char *before = attributes(x, one), *after = attributes(y, two);
    bool        op = strcmp(x->op->name, y->op->name) != 0, operands = !same_operands(x, y),
         attrs = strcmp(before, after) != 0, type = !same_type(&x->desc, &y->desc), first = true;
    if (!op && !operands && !attrs && !type)
        return;
    d->counts.changed++;
    fputs("~ ", d->to);
    strata_print_name(d->to, y);
    if (op) {
        part(d, &first);
        fprintf(d->to, "%s -> %s", x->op->name, y->op->name);
    }
    if (operands) {
        part(d, &first);
        strata_print_operands(d->to, x);
        fputs(" -> ", d->to);
        strata_print_operands(d->to, y);
    }
    if (attrs) {
        part(d, &first);
        fprintf(d->to, "%s -> %s", before, after);
    }
    if (type) {
        part(d, &first);
        strata_print_type(d->to, &x->desc);
        fputs(" -> ", d->to);
        strata_print_type(d->to, &y->desc);
    }
    fputc('\n', d->to);
}

static void print_line(difference *d, char sign, const strata_node *n)
{
    fprintf(d->to, "%c ", sign);
    strata_print_definition(d->to, n);
    fputc('\n', d->to);
}

/* What A lost before its node `end`. */
static void print_removed(difference *d, int end)
{
    for (; d->at < end; d->at++)
        if (!strata_graph_find(d->b, d->a->nodes.at[d->at]->name)) {
            print_line(d, '-', d->a->nodes.at[d->at]);
            d->counts.removed++;
        }
}

static void compare_all_nodes(difference *d)
{
    for (int i = 0; i < d->b->nodes.count; i++) {
        const strata_node *y = d->b->nodes.at[i], *x = strata_graph_find(d->a, y->name);
        if (x) {
            print_removed(d, (int)x->id);
            compare_nodes(d, x, y);
        } else {
            print_line(d, '+', y);
            d->counts.added++;
        }
    }
    print_removed(d, d->a->nodes.count);
}

/* ---- Outputs, features, input record
 * --------------------------------------------------------------------------- */

static const graph_output *find_output(const strata_graph *g, const char *name)
{
    for (int i = 0; i < g->outputs.count; i++)
        if (strcmp(g->outputs.at[i].name, name) == 0)
            return &g->outputs.at[i];
    return NULL;
}

static const graph_feature *find_feature(const strata_graph *g, const char *name)
{
    for (int i = 0; i < g->features.count; i++)
        if (strcmp(g->features.at[i].name, name) == 0)
            return &g->features.at[i];
    return NULL;
}

/* `+ output "layer1" = %x`, `~ output "layer1": %x -> %y`; x or y is NULL where a graph has none. */
static void print_mark(difference *d, const char *keyword, const char *name, const strata_node *x,
                       const strata_node *y)
{
    if (x && y && strcmp(x->name, y->name) == 0)
        return;
    fprintf(d->to, "%c %s ", x && y ? '~' : x ? '-' : '+', keyword);
    strata_print_quoted(d->to, name);
    fputs(x && y ? ": " : " = ", d->to);
    strata_print_name(d->to, x ? x : y);
    if (x && y) {
        fputs(" -> ", d->to);
        strata_print_name(d->to, y);
    }
    fputc('\n', d->to);
    d->counts.changed += x && y;
    d->counts.removed += x && !y;
    d->counts.added += !x && y;
}

static void compare_marks(difference *d)
{
    for (int i = 0; i < d->a->features.count; i++) {
        const graph_feature *x = &d->a->features.at[i], *y = find_feature(d->b, x->name);
        print_mark(d, "feature", x->name, x->node, y ? y->node : NULL);
        if (y && (x->index != y->index || x->channels != y->channels || x->reduction != y->reduction)) {
            fputs("~ feature ", d->to);
            strata_print_quoted(d->to, x->name);
            fprintf(d->to,
                    ": {index=%d, channels=%d, reduction=%d} -> {index=%d, channels=%d, reduction=%d}\n",
                    x->index, x->channels, x->reduction, y->index, y->channels, y->reduction);
            d->counts.changed++;
        }
    }
    for (int i = 0; i < d->b->features.count; i++)
        if (!find_feature(d->a, d->b->features.at[i].name))
            print_mark(d, "feature", d->b->features.at[i].name, NULL, d->b->features.at[i].node);
    for (int i = 0; i < d->a->outputs.count; i++) {
        const graph_output *x = &d->a->outputs.at[i], *y = find_output(d->b, x->name);
        print_mark(d, "output", x->name, x->node, y ? y->node : NULL);
        if (y && y - d->b->outputs.at != i) {
            fputs("~ output ", d->to);
            strata_print_quoted(d->to, x->name);
            fprintf(d->to, ": place %d -> %d\n", i, (int)(y - d->b->outputs.at));
            d->counts.changed++;
        }
    }
    for (int i = 0; i < d->b->outputs.count; i++)
        if (!find_output(d->a, d->b->outputs.at[i].name))
            print_mark(d, "output", d->b->outputs.at[i].name, NULL, d->b->outputs.at[i].node);
}

static bool same_record(const strata_input_record *x, const strata_input_record *y)
{
    bool same = x->height == y->height && x->width == y->width && x->channels == y->channels &&
                x->interpolation == y->interpolation && x->crop_pct == y->crop_pct;
    for (int c = 0; c < 3; c++)
        same = same && x->mean[c] == y->mean[c] && x->std[c] == y->std[c];
    return same;
}

static void compare_records(difference *d)
{
    if (same_record(&d->a->record, &d->b->record))
        return;
    d->counts.changed++;
    fputs("~ image: ", d->to);
    strata_print_record(d->to, &d->a->record);
    fputs(" -> ", d->to);
    strata_print_record(d->to, &d->b->record);
    fputc('\n', d->to);
}

strata_status strata_graph_diff(const strata_graph *a, const strata_graph *b, FILE *to, strata_diff *out,
                                strata_error *err)
{
    difference d = { .a = a, .b = b, .to = to };
    compare_records(&d);
    compare_all_nodes(&d);
    compare_marks(&d);
    if (out)
        *out = d.counts;
    if (fflush(to) != 0 || ferror(to))
        return strata_fail(err, STRATA_IO, "writing the difference of '%s' and '%s': %s", a->name, b->name,
                           strerror(errno));
    return STRATA_OK;
}
