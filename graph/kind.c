/* What dumps say of a node beyond its line: its scope, and what sort of work it is. There is no table of ops
 * here: a kind follows from what the op's definition says, so ops that nobody here has heard of get one too.
 *
 *     multiply     it counts multiply-accumulates: conv2d, dense
 *     combine      two or more computed values meet: add, mul, concat
 *     window       looks at neighbours or re-samples: pools, resize
 *     elementwise  one value in, element by element: activations, scalar arithmetic
 *     shape        the same numbers in other places: reshape, slice, pad
 *     other        norms, softmax, copies */
#include "text.h"

#include <string.h>

const char *const strata_kind_names[] = {
#define XX(name, text, color) #text,
    STRATA_KIND_MAP(XX)
#undef XX
        NULL
};

const char *const strata_kind_colors[] = {
#define XX(name, text, color) color,
    STRATA_KIND_MAP(XX)
#undef XX
        NULL
};

static bool looks_around(const strata_window *w)
{
    bool around = w->global;
    for (int d = 0; d < 2; d++)
        around |= w->size[d] != 1 || w->stride[d] != 1;
    return around;
}

strata_kind strata_node_kind(const strata_node *n)
{
    int computed = 0;
    if (strata_node_is_source(n))
        return strata_node_is_constant(n) ? STRATA_KIND_CONSTANT : STRATA_KIND_INPUT;
    if (n->op->macs)
        return STRATA_KIND_MULTIPLY;
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        computed += n->in[k] && !strata_node_is_constant(n->in[k]);
    if (computed > 1)
        return STRATA_KIND_COMBINE;
    if (n->op->flags & STRATA_OP_VIEW)
        return STRATA_KIND_SHAPE;
    if (n->op->window) {
        strata_window w = { .size = { 1, 1 }, .stride = { 1, 1 } };
        n->op->window(n, &w);
        return looks_around(&w) ? STRATA_KIND_WINDOW : STRATA_KIND_SHAPE;
    }
    return n->op->flags & STRATA_OP_ELEMENTWISE ? STRATA_KIND_ELEMENTWISE : STRATA_KIND_OTHER;
}

/* The last component of name[0..length), and where the one before it ends. */
static const char *leaf_of(const char *name, size_t length, size_t *parent)
{
    size_t begin = length;
    while (begin > 0 && name[begin - 1] != '.')
        begin--;
    *parent = begin > 0 ? begin - 1 : 0;
    return name + begin;
}

static bool is_layout(const char *leaf, size_t length)
{
    for (int i = 0; strata_layout_names[i]; i++)
        if (strlen(strata_layout_names[i]) == length && memcmp(strata_layout_names[i], leaf, length) == 0)
            return true;
    return false;
}

static bool is_op(const strata_context *ctx, const char *leaf, size_t length)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)length, leaf);
    return length < sizeof name && strata_find_op(ctx, name) != NULL;
}

/* Values without a name of their own are called after their op and counted, and copies after what they copy:
 * "layer1.0.relu.1.nhwc" is something of layer1.0, not of modules relu and 1. */
size_t strata_scope_length(const strata_context *ctx, const char *name)
{
    size_t      length = strlen(name), scope, outer;
    const char *leaf = leaf_of(name, length, &scope);
    if (scope > 0 && is_layout(leaf, length - (size_t)(leaf - name))) {
        length = scope;
        leaf = leaf_of(name, length, &scope);
    }
    size_t digits = strspn(leaf, "0123456789");
    if (scope == 0 || digits == 0 || leaf + digits != name + length)
        return scope;
    const char *before = leaf_of(name, scope, &outer);
    return is_op(ctx, before, scope - (size_t)(before - name)) ? outer : scope;
}
