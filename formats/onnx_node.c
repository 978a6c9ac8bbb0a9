/* onnx_node.c: what the readers of ONNX nodes ask of a node, and how they give its results. See onnx_import.h. */
#include "onnx_import.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- Names ------------------------------------------------------------------------------------------------------------- */

void onnx_clean_text(const char *name, char text[ONNX_LONGEST_NAME + 1])
{
    size_t length = 0;
    for (; *name != '\0' && length < ONNX_LONGEST_NAME; name++)
        text[length++] = (unsigned char)*name <= ' ' || *name == 0x7f || strchr("\"\\,%", *name) ? '_' : *name;
    if (length == 0)
        text[length++] = '_';
    text[length] = '\0';
}

const char *onnx_clean_name(onnx_importer *im, const char *name, const char *suffix)
{
    char text[ONNX_LONGEST_NAME + 1], whole[ONNX_LONGEST_NAME + 32];
    onnx_clean_text(name, text);
    snprintf(whole, sizeof whole, "%s%s", text, suffix);
    const char *unique = strata_graph_unique_name(strata_builder_graph(im->b), whole);
    if (unique == NULL)
        strata_builder_fail(im->b, STRATA_NOMEM, "%s: out of memory", im->path);
    return unique;
}

/* ---- For readers: attributes and operands ---------------------------------------------------------------------------- */

bool onnx_reject(onnx_op *op, const char *fmt, ...)
{
    char    text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (op->problem == NULL)
        op->problem = onnx_keep(op->im, "%s", text);
    return false;
}

const Onnx__AttributeProto *onnx_attr(const onnx_op *op, const char *name)
{
    for (size_t i = 0; i < op->node->n_attribute; i++)
        if (op->node->attribute[i]->name != NULL && strcmp(op->node->attribute[i]->name, name) == 0)
            return op->node->attribute[i];
    return NULL;
}

int64_t onnx_int(const onnx_op *op, const char *name, int64_t fallback)
{
    const Onnx__AttributeProto *a = onnx_attr(op, name);
    return a != NULL && a->has_i ? a->i : fallback;
}

double onnx_float(const onnx_op *op, const char *name, double fallback)
{
    const Onnx__AttributeProto *a = onnx_attr(op, name);
    if (a == NULL || !a->has_f)
        return fallback;
    char text[32]; /* 1e-5 was meant, not the float next to it: the shortest decimal of that float */
    for (int digits = 1; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)a->f);
        if (strtof(text, NULL) == a->f)
            return strtod(text, NULL);
    }
    return (double)a->f;
}

const char *onnx_string(onnx_op *op, const char *name, const char *fallback)
{
    const Onnx__AttributeProto *a = onnx_attr(op, name);
    if (a == NULL || !a->has_s)
        return fallback;
    return onnx_keep(op->im, "%.*s", (int)(a->s.len < 200 ? a->s.len : 200), (const char *)a->s.data);
}

bool onnx_has(const onnx_op *op, int i) { return i < op->in_count && op->in[i] != NULL; }

int onnx_ints(onnx_op *op, const char *name, int i, int64_t *at, int max)
{
    const Onnx__AttributeProto *a = onnx_attr(op, name);
    const int64_t              *from = a != NULL ? a->ints : NULL;
    size_t                      count = a != NULL ? a->n_ints : 0;
    if (a == NULL && i >= 0 && onnx_has(op, i)) {
        const strata_tensor *t = op->in[i]->constant;
        if (t == NULL || strata_tensor_get_desc(t)->dtype != STRATA_I64) {
            onnx_reject(op, "%s is not constant", name);
            return -1;
        }
        from = strata_tensor_data(t);
        count = (size_t)strata_count(strata_tensor_get_desc(t));
    }
    if (count > (size_t)max) {
        onnx_reject(op, "%s has %zu numbers; at most %d are possible", name, count, max);
        return -1;
    }
    if (count > 0)
        memcpy(at, from, count * sizeof *at);
    return (int)count;
}

void onnx_shape(const onnx_val *v, strata_tensor_desc *out)
{
    if (v->constant != NULL) {
        *out = *strata_tensor_get_desc(v->constant);
    } else if (v->node != NULL) {
        *out = v->node->desc;
    } else {
        *out = v->base->desc;
        for (int i = 0; i < out->rank; i++)
            out->dim[i] = v->base->desc.dim[v->perm[i]];
    }
}

bool onnx_scalar_of(const onnx_val *v, double *out)
{
    const strata_tensor_desc *d = v != NULL && v->constant != NULL ? strata_tensor_get_desc(v->constant) : NULL;
    if (d == NULL || strata_count(d) != 1)
        return false;
    const void *data = strata_tensor_data(v->constant);
    *out = d->dtype == STRATA_F32 ? (double)*(const float *)data : (double)*(const int64_t *)data;
    return true;
}

strata_node *onnx_val_node(const onnx_op *op, onnx_val *v)
{
    if (v->node != NULL)
        return v->node;
    const char *name = onnx_clean_name(op->im, v->name, "");
    if (v->constant != NULL) {
        const strata_tensor_desc *d = strata_tensor_get_desc(v->constant);
        if (d->dtype != STRATA_F32) {
            return NULL;
        }
        if (v->given) {
            v->node = strata_emit_param(op->b, name, d);
            if (!strata_builder_failed(op->b))
                strata_node_set_data(v->node, v->constant);
        } else {
            v->node = strata_emit_const(op->b, name, d, v->constant);
        }
    } else {
        strata_transpose_attrs a = { .perm = { .count = v->base->desc.rank } };
        for (int i = 0; i < a.perm.count; i++)
            a.perm.at[i] = v->perm[i];
        v->node = strata_emit(op->b, &strata_op_transpose, name, &a, v->base);
    }
    return v->node;
}

strata_node *onnx_operand(onnx_op *op, int i)
{
    if (!onnx_has(op, i)) {
        onnx_reject(op, "operand %d is missing", i);
        return NULL;
    }
    strata_node *n = onnx_val_node(op, op->in[i]);
    if (n == NULL)
        onnx_reject(op, "operand %d holds integers, which no value of a graph is", i);
    return n;
}

strata_tensor *onnx_as_f32(onnx_op *op, strata_tensor *t)
{
    strata_tensor_desc desc = *strata_tensor_get_desc(t);
    if (desc.dtype == STRATA_F32)
        return strata_tensor_ref(t);
    strata_tensor *out = NULL;
    desc.dtype = STRATA_F32;
    if (strata_tensor_create(&desc, &out, NULL) != STRATA_OK) {
        strata_builder_fail(op->b, STRATA_NOMEM, "%s: out of memory", op->im->path);
        return NULL;
    }
    for (int64_t i = 0; i < strata_count(&desc); i++)
        ((float *)strata_tensor_data(out))[i] = (float)((const int64_t *)strata_tensor_data(t))[i];
    return out;
}

void onnx_channels_base(onnx_op *op, onnx_val *v, strata_node **base, int perm[STRATA_MAX_RANK])
{
    if (v->base != NULL && v->perm[v->base->desc.rank - 1] == 1) {
        *base = v->base;
        memcpy(perm, v->perm, sizeof v->perm);
        return;
    }
    strata_node *x = onnx_val_node(op, v);
    const int    rank = x != NULL ? x->desc.rank : 0;
    int64_t      order[STRATA_MAX_RANK] = { 0 };
    for (int i = 0; i < rank; i++) { /* dim i of the base is dim order[i] of v */
        order[i] = i == 0 ? 0 : i == 1 ? rank - 1 : i - 1;
        perm[order[i]] = i;
    }
    *base = rank > 2 ? nn_transpose_n(op->b, x, rank, order) : x;
}

/* ---- For readers: results ------------------------------------------------------------------------------------------------ */

onnx_val *onnx_out(const onnx_op *op, int k)
{
    if (k >= (int)op->node->n_output || *op->node->output[k] == '\0')
        return NULL;
    return onnx_find(op->im, op->node->output[k]);
}

const char *onnx_name(onnx_op *op, int k, bool base)
{
    onnx_val *v = onnx_out(op, k);
    const char *name = v != NULL ? v->name : op->name != NULL ? op->name : op->node->op_type;
    return onnx_clean_name(op->im, name, base ? "/base" : "");
}

void onnx_give(onnx_op *op, int k, strata_node *n)
{
    onnx_val *v = onnx_out(op, k);
    if (v != NULL && n != NULL)
        v->node = n;
}

void onnx_give_turned(onnx_op *op, int k, strata_node *base, const int *perm)
{
    onnx_val *v = onnx_out(op, k);
    if (v == NULL || base == NULL)
        return;
    bool turned = false;
    for (int i = 0; i < base->desc.rank; i++) {
        v->perm[i] = perm[i];
        turned |= perm[i] != i;
    }
    v->base = turned ? base : NULL;
    v->node = turned ? NULL : base;
}

void onnx_give_constant(onnx_op *op, int k, strata_tensor *t)
{
    onnx_val *v = onnx_out(op, k);
    if (t == NULL)
        strata_builder_fail(op->b, STRATA_NOMEM, "%s: out of memory", op->im->path);
    if (v != NULL)
        v->constant = t;
    else
        strata_tensor_unref(t);
}

void onnx_give_same(onnx_op *op, int k, const onnx_val *from)
{
    onnx_val *v = onnx_out(op, k);
    if (v == NULL)
        return;
    v->node = from->node;
    v->base = from->base;
    memcpy(v->perm, from->perm, sizeof v->perm);
    if (from->constant != NULL)
        v->constant = strata_tensor_ref(from->constant);
}
