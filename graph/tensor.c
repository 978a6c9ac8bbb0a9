/* Dtypes, shapes and counted tensors. */
#include "tensor.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64, LARGE = 128 << 10 };

static const struct {
    size_t      size;
    const char *name;
} dtypes[STRATA_DTYPE_COUNT] = {
#define XX(name, bytes, text) [STRATA_##name] = { bytes, text },
    STRATA_DTYPE_MAP(XX)
#undef XX
};

const char *const strata_layout_names[] = { [STRATA_NCHW] = "nchw", [STRATA_NHWC] = "nhwc", [STRATA_LAYOUT_COUNT] = NULL };

size_t      strata_dtype_size(strata_dtype dtype) { return dtypes[dtype].size; }
const char *strata_dtype_name(strata_dtype dtype) { return dtypes[dtype].name; }

int64_t strata_count(const strata_tensor_desc *desc)
{
    int64_t count = 1;
    for (int i = 0; i < desc->rank; i++)
        if (desc->dim[i] < 0 || __builtin_mul_overflow(count, desc->dim[i], &count))
            return -1;
    return count;
}

size_t strata_bytes(const strata_tensor_desc *desc)
{
    return (size_t)strata_count(desc) * strata_dtype_size(desc->dtype);
}

strata_tensor_desc strata_desc_f32(int rank, const int64_t *dim)
{
    strata_tensor_desc desc = { .dtype = STRATA_F32, .layout = STRATA_NCHW, .rank = rank };
    for (int i = 0; i < rank; i++) /* dim may be NULL for a scalar */
        desc.dim[i] = dim[i];
    return desc;
}

bool strata_same_shape(const strata_tensor_desc *a, const strata_tensor_desc *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

bool strata_layout_free(const strata_tensor_desc *desc)
{
    return desc->rank != 4 || desc->dim[2] * desc->dim[3] == 1 || desc->dim[1] == 1;
}

const char *strata_shape_text(const strata_tensor_desc *desc, char *buf, size_t size)
{
    size_t at = (size_t)snprintf(buf, size, "[");
    for (int i = 0; i < desc->rank && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s%lld", i ? "," : "", (long long)desc->dim[i]);
    if (at < size)
        snprintf(buf + at, size - at, "]");
    return buf;
}

static strata_status check_desc(const strata_tensor_desc *desc, strata_error *err)
{
    if (desc->rank < 0 || desc->rank > STRATA_MAX_RANK)
        return strata_fail(err, STRATA_SHAPE, "a tensor has 0 to %d dims, not %d", STRATA_MAX_RANK, desc->rank);
    int64_t count = strata_count(desc);
    if (count < 0 || (uint64_t)count > (uint64_t)PTRDIFF_MAX / strata_dtype_size(desc->dtype)) {
        char shape[128];
        return strata_fail(err, STRATA_SHAPE, "a tensor of shape %s does not fit in memory",
                           strata_shape_text(desc, shape, sizeof shape));
    }
    return STRATA_OK;
}

strata_status strata_tensor_wrap(const strata_tensor_desc *desc, void *data, void (*release)(void *user), void *user,
                                 strata_tensor **out, strata_error *err)
{
    STRATA_TRY(check_desc(desc, err));
    strata_tensor *t = calloc(1, sizeof *t);
    if (!t)
        return strata_fail(err, STRATA_NOMEM, "no memory for a tensor");
    atomic_init(&t->references, 1);
    t->desc = *desc, t->data = data, t->release = release, t->user = user;
    *out = t;
    return STRATA_OK;
}

/* Before the data of a tensor, in a line of its own. */
typedef struct block_head {
    void  *start;
    size_t mapped; /* bytes; 0: from calloc */
} block_head;

/* Large tensors are the weights of networks, let go one by one while others are being packed. A heap would keep their
 * pages; mapped ones go back to the system. Pages that nobody touches stay unbacked either way. */
strata_status strata_tensor_alloc(size_t bytes, void **block, void **data, strata_error *err)
{
    block_head head = { 0 };
    if (bytes < SIZE_MAX / 2) {
        size_t whole = bytes + 2 * ALIGNMENT;
        head.mapped  = bytes >= LARGE ? whole : 0;
        head.start   = head.mapped ? mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                   : calloc(1, whole);
    }
    if (!head.start || head.start == MAP_FAILED)
        return strata_fail(err, STRATA_NOMEM, "no memory for a tensor of %zu bytes", bytes);
    char *line = (char *)head.start + (ALIGNMENT - (uintptr_t)head.start % ALIGNMENT) % ALIGNMENT;
    *block     = memcpy(line, &head, sizeof head);
    *data      = line + ALIGNMENT;
    return STRATA_OK;
}

void strata_tensor_free(void *block)
{
    if (!block)
        return;
    block_head head = *(const block_head *)block;
    if (head.mapped)
        munmap(head.start, head.mapped);
    else
        free(head.start);
}

strata_status strata_tensor_create(const strata_tensor_desc *desc, strata_tensor **out, strata_error *err)
{
    void *block = NULL, *data = NULL;
    STRATA_TRY(check_desc(desc, err));
    STRATA_TRY(strata_tensor_alloc(strata_bytes(desc), &block, &data, err));
    strata_status status = strata_tensor_wrap(desc, data, strata_tensor_free, block, out, err);
    if (status != STRATA_OK)
        strata_tensor_free(block);
    return status;
}

strata_tensor *strata_tensor_ref(strata_tensor *t)
{
    atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed);
    return t;
}

void strata_tensor_unref(strata_tensor *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) != 1)
        return;
    if (t->release)
        t->release(t->user);
    strata_tensor_recipe_free(t->recipe);
    free(t);
}

const strata_tensor_desc *strata_tensor_get_desc(const strata_tensor *t) { return &t->desc; }

void *strata_tensor_data(const strata_tensor *t)
{
    return strata_tensor_compute(t, NULL) == STRATA_OK ? t->data : NULL;
}
