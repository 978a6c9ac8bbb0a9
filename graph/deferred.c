/* Tensors that are computed where they are read.
 *
 * The weights of a folded network are sums and products of parameters, element by element (and kernels with zeros
 * around them). Kernels read them once, to
 * pack them in an order of their own. Computed beforehand, each would be written to memory and read back for that one
 * time, and all of them together would be a second copy of the model. So such a tensor only remembers its
 * operation and operands: who reads it row by row gets the rows computed into a little memory of his own, and only
 * strata_tensor_data, for those who need it whole, keeps what it computes.
 *
 * The bits are the same either way: row i of such a result depends on rows i only.
 *
 * Computing the whole replaces the operands, hence a lock: readers of rows share it. */
#include "tensor.h"

#include <strata/ops.h>

#include <stdlib.h>
#include <string.h>

struct tensor_recipe {
    pthread_rwlock_t   lock;
    const strata_op_def *op;
    void              *attrs; /* a copy */
    strata_tensor     *in[STRATA_MAX_OPERANDS]; /* until the data is there */
};

bool strata_tensor_can_defer(const strata_node *n)
{
    const bool repeats = n->op->flags & STRATA_OP_ELEMENTWISE; /* operands of one row do */
    bool       can = (repeats || n->op->flags & STRATA_OP_ROWS) && n->op->eval && n->desc.rank > 0 && n->desc.dtype == STRATA_F32;
    for (int k = 0; k < STRATA_MAX_OPERANDS && can; k++) {
        const strata_tensor_desc *d = n->in[k] ? &n->in[k]->desc : NULL;
        can = !d || (!strata_operand_role(n, k) && n->in[k]->data && d->dtype == STRATA_F32 && d->rank == n->desc.rank &&
                     ((repeats && d->dim[0] == 1) || d->dim[0] == n->desc.dim[0]));
    }
    return can;
}

strata_status strata_tensor_defer(const strata_node *n, strata_tensor **out, strata_error *err)
{
    if (!strata_tensor_can_defer(n))
        return strata_fail(err, STRATA_INVALID, "%s: %s of these operands cannot be computed by rows", n->name, n->op->name);
    tensor_recipe *r = calloc(1, sizeof *r + n->op->attr_size);
    if (!r || strata_tensor_wrap(&n->desc, NULL, NULL, NULL, out, err) != STRATA_OK) {
        free(r);
        return strata_fail(err, STRATA_NOMEM, "no memory for a tensor");
    }
    pthread_rwlock_init(&r->lock, NULL); /* of the default kind: cannot fail */
    r->op    = n->op;
    r->attrs = n->op->attr_size ? memcpy(r + 1, n->attrs, n->op->attr_size) : NULL;
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        r->in[k] = n->in[k] ? strata_tensor_ref(n->in[k]->data) : NULL;
    (*out)->recipe = r;
    return STRATA_OK;
}

static void drop_operands(tensor_recipe *r)
{
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++) {
        strata_tensor_unref(r->in[k]);
        r->in[k] = NULL;
    }
}

void strata_tensor_recipe_free(tensor_recipe *r)
{
    if (!r)
        return;
    drop_operands(r);
    pthread_rwlock_destroy(&r->lock);
    free(r);
}

static size_t row_bytes(const strata_tensor_desc *d) { return d->dim[0] > 0 ? strata_bytes(d) / (size_t)d->dim[0] : 0; }

/* Computes rows [first, first + count) into `dst`: evaluates the operation on that part of the operands. */
static strata_status compute_rows(const strata_tensor *t, int64_t first, int64_t count, float *dst, strata_error *err)
{
    const tensor_recipe *r = t->recipe;
    strata_node          part = { .op = r->op, .name = "", .attrs = r->attrs, .desc = t->desc }, operand[STRATA_MAX_OPERANDS];
    strata_view          in[STRATA_MAX_OPERANDS] = { 0 }, out = { .desc = &part.desc, .data = dst };
    void                *scratch[STRATA_MAX_OPERANDS] = { 0 };
    strata_status        status = STRATA_OK;
    part.desc.dim[0] = count;
    for (int k = 0; k < STRATA_MAX_OPERANDS && status == STRATA_OK; k++) {
        const strata_tensor *x = r->in[k];
        if (!x)
            continue;
        bool         repeats = x->desc.dim[0] == 1;
        int64_t      rows = repeats ? 1 : count;
        const float *data = NULL;
        if (x->recipe && !(scratch[k] = malloc((size_t)rows * row_bytes(&x->desc) + 1)))
            status = strata_fail(err, STRATA_NOMEM, "no memory for %lld rows of weights", (long long)rows);
        if (status == STRATA_OK)
            status = strata_tensor_rows(x, repeats ? 0 : first, rows, scratch[k], &data, err);
        operand[k]             = (strata_node){ .op = &strata_op_const, .name = "", .desc = x->desc };
        operand[k].desc.dim[0] = rows;
        part.in[k]             = &operand[k];
        in[k]                  = (strata_view){ .desc = &operand[k].desc, .data = (float *)data };
    }
    if (status == STRATA_OK) {
        status = r->op->eval(&part, in, &out);
        if (status != STRATA_OK)
            strata_fail(err, status, "the definition of %s failed", r->op->name);
    }
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        free(scratch[k]);
    return status;
}

strata_status strata_tensor_rows(const strata_tensor *t, int64_t first, int64_t count, float *scratch,
                                 const float **rows, strata_error *err)
{
    if (t->desc.rank == 0 || t->desc.dtype != STRATA_F32 || first < 0 || count < 0 || first > t->desc.dim[0] - count)
        return strata_fail(err, STRATA_INVALID, "a tensor has no such f32 rows: %lld from %lld on", (long long)count,
                           (long long)first);
    if (t->recipe)
        pthread_rwlock_rdlock(&t->recipe->lock);
    const char   *data   = t->data;
    strata_status status = STRATA_OK;
    if (!data && t->recipe && count > 0)
        status = compute_rows(t, first, count, scratch, err);
    *rows = data ? (const float *)(const void *)(data + (size_t)first * row_bytes(&t->desc)) : scratch;
    if (t->recipe)
        pthread_rwlock_unlock(&t->recipe->lock);
    return status;
}

strata_status strata_tensor_compute(const strata_tensor *t, strata_error *err)
{
    if (!t->recipe)
        return STRATA_OK;
    strata_tensor *whole  = (strata_tensor *)t; /* its value does not change: it only becomes known */
    strata_status  status = STRATA_OK;
    void          *data = NULL, *block = NULL;
    pthread_rwlock_wrlock(&t->recipe->lock);
    if (!t->data) {
        status = strata_tensor_alloc(strata_bytes(&t->desc), &block, &data, err);
        if (status == STRATA_OK)
            status = compute_rows(t, 0, t->desc.dim[0], data, err);
        if (status == STRATA_OK) {
            whole->data = data, whole->release = strata_tensor_free, whole->user = block;
            drop_operands(t->recipe);
        } else {
            strata_tensor_free(block);
        }
    }
    pthread_rwlock_unlock(&t->recipe->lock);
    return status;
}

size_t strata_tensor_memory(const strata_tensor *t, bool borrowed)
{
    if (!t)
        return 0;
    if (t->recipe)
        pthread_rwlock_rdlock(&t->recipe->lock);
    size_t bytes = t->data && (borrowed || t->release == strata_tensor_free) ? strata_bytes(&t->desc) : 0;
    for (int k = 0; t->recipe && k < STRATA_MAX_OPERANDS; k++)
        bytes += strata_tensor_memory(t->recipe->in[k], borrowed);
    if (t->recipe)
        pthread_rwlock_unlock(&t->recipe->lock);
    return bytes;
}
