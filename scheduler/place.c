/* Device, kernel, layout and type of every node.
 *
 * A node goes to the first device that has a kernel for it, in the layout that the device likes if that kernel has it,
 * and with values of the type that was asked for if that kernel has it.
 * What no kernel takes runs on the CPU by its op's definition. Where an operand lies in another layout or on another
 * device than its user, a copy is put on the edge: values with a free layout (maps of one pixel) pass as they are.
 * Outputs come home as row-major values on the CPU, each with bytes of its own.
 */
#include "../graph/builder.h"
#include "../graph/context.h"
#include "program.h"

#include <strata/ops.h>

#include <stdlib.h>
#include <string.h>

static strata_status evaluate(const strata_step *s, const strata_frame *f, strata_error *err)
{
    strata_view out = f->out;
    strata_status status = s->node->op->eval(s->node, f->in, &out);
    return status == STRATA_OK ? status : strata_fail(err, status, "%s: the reference failed", s->node->name);
}

const strata_kernel_def strata_kernel_reference = { .name = "reference", .layouts = 1 << STRATA_NCHW, .emit = evaluate };

const strata_kernel_def strata_kernel_absorbed = { .name = "absorbed" };

/* ---- Choosing ---------------------------------------------------------------------------------------------- */

/* How a value lies in memory. */
typedef struct form {
    strata_layout layout; /* of rank 4 */
    strata_dtype  dtype;
} form;

/* Whether the layout of any value around the node makes a difference. */
static bool has_layout(const strata_node *n)
{
    bool any = !strata_layout_free(&n->desc);
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        any |= n->in[k] && !strata_node_is_constant(n->in[k]) && !strata_layout_free(&n->in[k]->desc);
    return any;
}

/* Whether the step of n could compute operand 0 as well: nobody else wants that value, which lies as n would have it. */
static bool absorbable(const strata_node *n, form as)
{
    const strata_node *x = n->in[0];
    return x && !strata_node_is_source(x) && !strata_is_elided(x) && !strata_is_transfer(x) && x->uses == 1 &&
           x->device == n->device && !x->kernel->absorbs && x->in[0] && !strata_node_is_constant(x->in[0]) &&
           x->desc.layout == as.layout && x->desc.dtype == as.dtype;
}

/* The type of values around a node on a device, by its kernel. */
static strata_dtype dtype_of(const strata_program *p, const strata_kernel_def *k, int device)
{
    return k && k->half ? p->device[device].dtype : STRATA_F32;
}

static bool takes(const strata_program *p, const strata_kernel_def *k, const strata_node *n, strata_layout layout)
{
    const form as = { layout, dtype_of(p, k, n->device) };
    return k->op == n->op && (!k->absorbs || absorbable(n, as)) && !(p->exact && k->approximate) &&
           ((k->layouts >> layout & 1) || !has_layout(n)) && (!k->accepts || k->accepts(n));
}

static const strata_kernel_def *find_kernel(const strata_program *p, const strata_backend_def *backend,
                                            const strata_node *n, strata_layout layout)
{
    const strata_context *ctx = p->graph->ctx;
    for (int i = 0; i < ctx->kernel_count; i++)
        if (ctx->kernels[i].backend == backend && takes(p, ctx->kernels[i].kernel, n, layout))
            return ctx->kernels[i].kernel;
    for (int i = 0; backend->kernels[i]; i++)
        if (takes(p, backend->kernels[i], n, layout))
            return backend->kernels[i];
    return NULL;
}

/* Sets device and kernel of n, and the form of its values. */
static void choose(const strata_program *p, strata_node *n, form *as)
{
    const strata_op_def *op = n->op;
    if (op->flags & STRATA_OP_VIEW) { /* nothing to compute; shapes only make sense in row-major order */
        *as       = (form){ STRATA_NCHW, n->in[0]->desc.dtype };
        n->device = n->in[0]->device;
        n->kernel = NULL;
        return;
    }
    for (n->device = 0; n->device < p->device_count; n->device++) {
        const strata_backend_def *backend = p->device[n->device].backend;
        as->layout                        = backend->layout;
        n->kernel                         = find_kernel(p, backend, n, as->layout);
        if (!n->kernel && as->layout != STRATA_NCHW) {
            as->layout = STRATA_NCHW;
            n->kernel  = find_kernel(p, backend, n, as->layout);
        }
        as->dtype = dtype_of(p, n->kernel, n->device);
        if (n->kernel)
            return;
    }
    n->device = p->device_count - 1;
    n->kernel = &strata_kernel_reference;
    *as       = (form){ STRATA_NCHW, STRATA_F32 };
}

/* ---- Copies ------------------------------------------------------------------------------------------------ */

/* Copies made so far, to be used again by other readers of the same value. */
typedef struct copies {
    GRAPH_LIST(strata_node *) made;
} copies;

static strata_node *emit_copy(strata_program *p, strata_builder *b, copies *c, strata_node *x, int device, form as,
                              const char *suffix)
{
    strata_copy_attrs attrs = { .layout = as.layout, .dtype = as.dtype };
    const char       *base  = strata_graph_format(p->graph, "%s.%s", x->name, suffix);
    const char       *name  = base ? strata_graph_unique_name(p->graph, base) : NULL;
    strata_node      *n     = name ? strata_emit(b, &strata_op_copy, name, &attrs, x) : NULL;
    if (!n || strata_builder_failed(b) || !graph_list_grow(&c->made)) {
        strata_builder_fail(b, STRATA_NOMEM, "no memory to place graph '%s'", p->graph->name);
        return x;
    }
    n->device = device;
    if (x->device == device) /* between devices the scheduler moves the bytes */
        n->kernel = find_kernel(p, p->device[device].backend, n, as.layout);
    if (x->device == device && !n->kernel) {
        n->kernel = &strata_kernel_reference;
        if (x->desc.dtype != as.dtype || (x->desc.layout != as.layout && !strata_layout_free(&x->desc)))
            strata_builder_fail(b, STRATA_UNSUPPORTED, "%s: backend %s cannot change the form of a value", x->name,
                                p->device[device].backend->name);
    }
    c->made.at[c->made.count++] = n;
    return n;
}

static strata_node *find_copy(const copies *c, const strata_node *x, int device, form as)
{
    for (int i = 0; i < c->made.count; i++) {
        strata_node *n = c->made.at[i];
        if (n->in[0] == x && n->device == device && n->desc.layout == as.layout && n->desc.dtype == as.dtype)
            return n;
    }
    return NULL;
}

/* x in another form, where it is. */
static strata_node *turned(strata_program *p, strata_builder *b, copies *c, strata_node *x, form as)
{
    if (x->desc.rank != 4)
        as.layout = x->desc.layout;
    if (x->desc.layout == as.layout && x->desc.dtype == as.dtype)
        return x;
    strata_node *made   = find_copy(c, x, x->device, as);
    const char  *suffix = x->desc.layout != as.layout ? strata_layout_names[as.layout] : strata_dtype_name(as.dtype);
    return made ? made : emit_copy(p, b, c, x, x->device, as, suffix);
}

/* x in its form, on another device. */
static strata_node *moved(strata_program *p, strata_builder *b, copies *c, strata_node *x, int device)
{
    if (x->device == device)
        return x;
    const form   as   = { x->desc.layout, x->desc.dtype };
    strata_node *made = find_copy(c, x, device, as);
    return made ? made : emit_copy(p, b, c, x, device, as, p->device[device].backend->name);
}

/* x on `device` in a form: itself, or copies. The order of the bytes changes on the chosen device when that has a
 * layout of its own, and kernels for it; else on the CPU. */
static strata_node *brought(strata_program *p, strata_builder *b, copies *c, strata_node *x, int device, form as)
{
    if (strata_node_is_constant(x))
        return x;
    int turner = p->device[0].backend->layout != STRATA_NCHW ? 0 : p->device_count - 1;
    if (x->device == turner)
        return moved(p, b, c, turned(p, b, c, x, as), device);
    return turned(p, b, c, moved(p, b, c, x, device), as);
}

static strata_status place_node(strata_program *p, strata_builder *b, copies *c, strata_node *n, strata_error *err)
{
    form as;
    choose(p, n, &as);
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        if (n->in[k])
            n->in[k] = brought(p, b, c, n->in[k], n->device, as);
    strata_tensor_desc desc;
    strata_status      status = strata_check_node(n, &desc, err);
    if (status != STRATA_OK)
        return strata_fail_in(err, status, "%s: %s", n->name, n->op->name);
    n->desc = desc;
    if (n->kernel && n->kernel->absorbs)
        n->in[0]->kernel = &strata_kernel_absorbed;
    return STRATA_OK;
}

/* An output must be row-major, on the CPU, and the only name of its bytes. */
static void place_outputs(strata_program *p, strata_builder *b, copies *c)
{
    strata_graph *g   = p->graph;
    const int     cpu = p->device_count - 1;
    const form    as  = { STRATA_NCHW, STRATA_F32 };
    for (int i = 0; i < g->outputs.count; i++) {
        strata_node *n = g->outputs.at[i].node;
        bool shared    = strata_node_is_source(n) || strata_is_elided(n);
        for (int k = 0; k < i; k++)
            shared |= g->outputs.at[k].node == n;
        n = brought(p, b, c, n, cpu, as);
        if (shared || strata_is_elided(n))
            n = emit_copy(p, b, c, n, cpu, as, "output");
        for (int k = 0; k < i; k++)
            if (g->outputs.at[k].node == n)
                n = emit_copy(p, b, c, n, cpu, as, "output");
        g->outputs.at[i].node = n;
    }
}

bool strata_is_elided(const strata_node *n)
{
    if (strata_is_transfer(n))
        return false;
    if (n->op->flags & STRATA_OP_VIEW)
        return true;
    return n->op == &strata_op_copy && n->in[0]->desc.layout != n->desc.layout && strata_layout_free(&n->desc) &&
           n->in[0]->desc.dtype == n->desc.dtype;
}

strata_status strata_place_nodes(strata_program *p, bool strict, strata_error *err)
{
    strata_graph   *g     = p->graph;
    const int       count = g->nodes.count;
    copies          c     = { 0 };
    strata_builder *b;
    STRATA_TRY(strata_builder_open(g, &b, err));

    char          names[256] = "";
    size_t        used       = 0;
    strata_status status     = STRATA_OK;
    for (int i = 0; i < count && status == STRATA_OK && !strata_builder_failed(b); i++) {
        strata_node *n = g->nodes.at[i];
        n->device      = p->device_count - 1;
        if (strata_node_is_source(n))
            continue;
        status = place_node(p, b, &c, n, err);
        if (strata_is_elided(n) || (n->kernel != &strata_kernel_reference && n->device == 0))
            continue;
        if (p->fallback_count++ < 5 && used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s (%s)", used ? ", " : "", n->name, n->op->name);
    }
    if (status == STRATA_OK && !strata_builder_failed(b))
        place_outputs(p, b, &c);
    free(c.made.at);
    strata_status built = strata_builder_finish(b, NULL, status == STRATA_OK ? err : NULL);
    if (status != STRATA_OK || built != STRATA_OK)
        return status != STRATA_OK ? status : built;
    STRATA_TRY(strata_graph_refresh(g, err));

    const char *name = p->device[0].backend->name;
    if (p->fallback_count > 0 && strict)
        return strata_fail(err, STRATA_DEVICE, "%s has no kernel for %d nodes: %s%s. Leave out --strict-device to run them "
                           "on the CPU", name, p->fallback_count, names, p->fallback_count > 5 ? ", ..." : "");
    if (p->fallback_count > 0)
        strata_log(g->ctx, STRATA_LOG_WARNING, "%s has no kernel for %d nodes, which run %s: %s%s", name,
                   p->fallback_count, p->device_count > 1 ? "on the CPU" : "by their slow reference", names,
                   p->fallback_count > 5 ? ", ..." : "");
    return STRATA_OK;
}
