/* What dumps say of a node beyond its line: its scope, and what sort of work it is. There is no table of ops here: a kind
 * follows from what the op's definition says, so ops that nobody here has heard of get one too.
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

/* Values without a name of their own are called after their op and counted: "layer1.0.relu.1" is a relu of layer1.0, not
 * something in a module layer1.0.relu. */
size_t strata_scope_length(const strata_context *ctx, const char *name)
{
    const char *dot = strrchr(name, '.');
    char        op[64];
    if (!dot)
        return 0;
    size_t scope = (size_t)(dot - name), begin = scope;
    while (begin > 0 && name[begin - 1] != '.')
        begin--;
    if (dot[1] == 0 || dot[1 + strspn(dot + 1, "0123456789")] != 0 || scope - begin >= sizeof op)
        return scope;
    memcpy(op, name + begin, scope - begin);
    op[scope - begin] = 0;
    if (!strata_find_op(ctx, op))
        return scope;
    return begin > 0 ? begin - 1 : 0;
}
