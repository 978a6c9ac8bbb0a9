/* reference.c: see the header. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

static bool is_row_major(const strata_node *n)
{
    return n->desc.dtype == STRATA_F32 && (n->desc.layout == STRATA_NCHW || strata_layout_free(&n->desc));
}

static strata_status evaluate(const strata_node *n, strata_tensor *const *values, strata_tensor **out, strata_error *err)
{
    strata_view in[STRATA_MAX_OPERANDS] = { 0 };
    for (int k = 0; k < strata_operand_count(n); k++)
        if (n->in[k])
            in[k] = (strata_view){ .desc = &n->in[k]->desc, .data = strata_tensor_data(values[n->in[k]->id]) };
    STRATA_TRY(strata_tensor_create(&n->desc, out, err));
    strata_view   result = { .desc = &n->desc, .data = strata_tensor_data(*out) };
    strata_status status = n->op->eval(n, in, &result);
    return status == STRATA_OK ? status : strata_fail(err, status, "%s: the definition of %s failed", n->name, n->op->name);
}

static strata_status source(const strata_graph *g, const strata_node *n, strata_tensor *const *in, strata_tensor **out,
                            strata_error *err)
{
    if (strata_node_is_constant(n)) {
        if (!n->data)
            return strata_fail(err, STRATA_WEIGHTS, "%s has no numbers", n->name);
        STRATA_TRY(strata_tensor_compute(n->data, err));
        *out = strata_tensor_ref(n->data);
        return STRATA_OK;
    }
    for (int i = 0; i < strata_graph_input_count(g); i++)
        if (strata_graph_input(g, i).node == n)
            *out = strata_tensor_ref(in[i]);
    return STRATA_OK;
}

strata_status reference_values(const strata_graph *g, strata_tensor *const *in, strata_tensor ***out, strata_error *err)
{
    const int       count = strata_graph_node_count(g);
    strata_tensor **values = *out = calloc((size_t)count + 1, sizeof *values);
    bool           *live = calloc((size_t)count + 1, sizeof *live);
    strata_status   status = values && live ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "out of memory");
    if (status == STRATA_OK)
        strata_graph_mark_live(g, live);
    for (int i = 0; i < count && status == STRATA_OK; i++) {
        const strata_node *n = strata_graph_node(g, i);
        if (!live[i])
            continue;
        if (!is_row_major(n))
            status = strata_fail(err, STRATA_UNSUPPORTED, "%s: definitions are for row-major f32", n->name);
        else if (strata_node_is_source(n))
            status = source(g, n, in, &values[i], err);
        else
            status = evaluate(n, values, &values[i], err);
    }
    free(live);
    return status;
}

void reference_free(strata_tensor **values, const strata_graph *g)
{
    for (int i = 0; values && i < strata_graph_node_count(g); i++)
        strata_tensor_unref(values[i]);
    free(values);
}

double reference_difference(const strata_tensor *a, const strata_tensor *b)
{
    const float *x = strata_tensor_data(a), *y = strata_tensor_data(b);
    double       most = 0, scale = 0;
    for (int64_t i = 0, n = strata_count(strata_tensor_get_desc(a)); i < n; i++) {
        if (x[i] == y[i] || (isnan(x[i]) && isnan(y[i]))) {
            if (isfinite(x[i]))
                scale = fmax(scale, fabs((double)x[i]));
            continue;
        }
        if (!isfinite(x[i]) || !isfinite(y[i]))
            return INFINITY;
        most = fmax(most, fabs((double)x[i] - (double)y[i]));
        scale = fmax(scale, fabs((double)x[i]));
    }
    return most == 0 ? 0 : scale == 0 ? INFINITY : most / scale;
}

bool reference_is_finite(const strata_tensor *t)
{
    const float *x = strata_tensor_data(t);
    for (int64_t i = 0, n = strata_count(strata_tensor_get_desc(t)); i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}
