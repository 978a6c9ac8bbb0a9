/* What a definition must have before it may be registered: everything that the rest of the library uses without
 * looking. A definition may come from a plug-in, so a hole in it is an error with a text and not a crash later. */
#include "context.h"
#include "text.h"

#include <strata/ops.h>

#include <string.h>

static strata_status incomplete(const char *kind, const char *name, const char *what, strata_error *err)
{
    return strata_fail(err, STRATA_INVALID, "%s '%s' %s", kind, name ? name : "without a name", what);
}

static size_t size_of_attr(const strata_attr_def *row)
{
    switch (row->type) {
    case STRATA_ATTR_INT2: return sizeof(int[2]);
    case STRATA_ATTR_INT4: return sizeof(int[4]);
    case STRATA_ATTR_INTS: return sizeof(strata_ints);
    case STRATA_ATTR_FLOAT: return sizeof(double);
    case STRATA_ATTR_INT:
    case STRATA_ATTR_ENUM:
    case STRATA_ATTR_BOOL: return sizeof(int);
    }
    return SIZE_MAX; /* no such type */
}

static strata_status check_attr(const strata_op_def *def, const strata_attr_def *row, strata_error *err)
{
    size_t size = size_of_attr(row);
    if (size > def->attr_size || row->offset > def->attr_size - size)
        return strata_fail(err, STRATA_INVALID, "op '%s': attribute %s lies outside of attr_size, %zu bytes", def->name,
                           row->name, def->attr_size);
    if (row->type == STRATA_ATTR_ENUM) {
        if (!row->names || !row->names[0])
            return strata_fail(err, STRATA_INVALID, "op '%s': attribute %s has no names", def->name, row->name);
    } else if (row->type != STRATA_ATTR_BOOL && row->type != STRATA_ATTR_INTS &&
               !(row->min <= row->deflt && row->deflt <= row->max)) {
        char a[32], b[32], c[32];
        return strata_fail(err, STRATA_INVALID, "op '%s': the default of %s, %s, is not in %s..%s", def->name,
                           row->name, strata_number_text(row->deflt, a), strata_number_text(row->min, b),
                           strata_number_text(row->max, c));
    }
    return STRATA_OK;
}

strata_status strata_check_op_def(const strata_op_def *def, strata_error *err)
{
    if (!def || !def->name)
        return incomplete("op", NULL, "cannot be registered", err);
    if (def->flags & STRATA_OP_SOURCE) {
        if (def != &strata_op_input && def != &strata_op_param && def != &strata_op_const)
            return incomplete("op", def->name, "cannot be a source: a graph has inputs, parameters and constants", err);
        return STRATA_OK;
    }
    if (!def->infer || !def->eval)
        return incomplete("op", def->name, "needs infer and eval", err);
    if (!def->operands[0].name)
        return incomplete("op", def->name, "needs an operand", err);
    for (const strata_attr_def *row = def->attrs; row && row->name; row++)
        STRATA_TRY(check_attr(def, row, err));
    return STRATA_OK;
}

strata_status strata_check_pass_def(const strata_pass_def *def, strata_error *err)
{
    if (!def || !def->name)
        return incomplete("pass", NULL, "cannot be registered", err);
    if (!def->run == !def->rewrite)
        return incomplete("pass", def->name, "must have exactly one of run and rewrite", err);
    return STRATA_OK;
}

strata_status strata_check_model_def(const strata_model_def *def, strata_error *err)
{
    if (!def || !def->name)
        return incomplete("model", NULL, "cannot be registered", err);
    if (!def->build || !def->family)
        return incomplete("model", def->name, "needs a build function and a family", err);
    const strata_input_record *r = &def->input;
    if (r->height < 1 || r->width < 1 || r->channels < 1 || def->classes < 1 || !(r->crop_pct > 0))
        return incomplete("model", def->name, "needs an input size, channels, a crop_pct and a number of classes", err);
    for (int c = 0; c < 3; c++)
        if (!(r->std[c] > 0))
            return incomplete("model", def->name, "needs an input.std above 0", err);
    return STRATA_OK;
}

strata_status strata_check_kernel_def(const strata_kernel_def *def, strata_error *err)
{
    if (!def || !def->name)
        return incomplete("kernel", NULL, "cannot be registered", err);
    if (!def->op || !def->emit || !def->layouts)
        return incomplete("kernel", def->name, "needs an op, layouts and emit", err);
    return STRATA_OK;
}

strata_status strata_check_backend_def(const strata_backend_def *def, strata_error *err)
{
    if (!def || !def->name)
        return incomplete("backend", NULL, "cannot be registered", err);
    if (!def->kernels || !def->count || !def->describe || !def->open || !def->close || !def->stores || !def->alloc || !def->free ||
        !def->map || !def->write || !def->read || !def->record || !def->run || !def->discard)
        return incomplete("backend", def->name, "lacks a member; every one is mandatory", err);
    if (def->working_set > 0 && !def->host_memory)
        return incomplete("backend", def->name, "has a working_set, which needs host_memory", err);
    for (int i = 0; def->kernels[i]; i++)
        STRATA_TRY(strata_check_kernel_def(def->kernels[i], err));
    return STRATA_OK;
}
