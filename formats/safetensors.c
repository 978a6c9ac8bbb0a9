/* safetensors.c: reads and writes .safetensors.
 *
 *     8 bytes   N, little-endian
 *     N bytes   JSON, padded with blanks: { "__metadata__": {text: text},
 *               NAME: {"dtype", "shape", "data_offsets": [begin, end]}, ... }
 *     the rest  the tensors' bytes; offsets count from here
 *
 * Rules, all checked: the tensors cover the rest without gaps, overlaps or leftovers, each has exactly the
 * bytes of its type and shape, and no key occurs twice. */
#include "safetensors.h"
#include "atomic_file.h"
#include "weights.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100 * 1000 * 1000 }; /* the format's own limit */

static const char *const dtype_names[STRATA_DTYPE_COUNT] = {
    [STRATA_F32] = "F32",   [STRATA_F16] = "F16", [STRATA_BF16] = "BF16", [STRATA_F64] = "F64",
    [STRATA_I8] = "I8",     [STRATA_I16] = "I16", [STRATA_I32] = "I32",   [STRATA_I64] = "I64",
    [STRATA_U8] = "U8",     [STRATA_U16] = "U16", [STRATA_U32] = "U32",   [STRATA_U64] = "U64",
    [STRATA_BOOL] = "BOOL",
};

/* ---- Reading ------------------------------------------------------------------------------------------- */

typedef struct located {
    const char        *name; /* the JSON's memory */
    strata_tensor_desc desc;
    uint64_t           begin, end;
} located;

static uint64_t read_u64(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static bool sniff_safetensors(const unsigned char *bytes, size_t size)
{
    return size >= 9 && bytes[8] == '{' && read_u64(bytes) <= MAX_HEADER;
}

static strata_status parse_tensor(const char *name, const json_t *row, located *out, strata_error *err)
{
    const json_t *dtype = json_object_get(row, "dtype"), *shape = json_object_get(row, "shape");
    const json_t *offsets = json_object_get(row, "data_offsets");
    if (!json_is_string(dtype) || !json_is_array(shape) || !json_is_array(offsets) ||
        json_object_size(row) != 3 || json_array_size(offsets) != 2)
        return strata_fail(err, STRATA_FORMAT, "%s: needs dtype, shape and two data_offsets", name);

    *out = (located){ .name = name };
    int type = 0;
    while (type < STRATA_DTYPE_COUNT && strcmp(json_string_value(dtype), dtype_names[type]) != 0)
        type++;
    if (type == STRATA_DTYPE_COUNT)
        return strata_fail(err, STRATA_FORMAT, "%s: the type \"%.32s\" is not supported", name,
                           json_string_value(dtype));
    out->desc.dtype = (strata_dtype)type;

    if (json_array_size(shape) > STRATA_MAX_RANK)
        return strata_fail(err, STRATA_FORMAT, "%s: %zu dims, but at most %d are supported", name,
                           json_array_size(shape), STRATA_MAX_RANK);
    out->desc.rank = (int)json_array_size(shape);
    for (int i = 0; i < out->desc.rank; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim))
            return strata_fail(err, STRATA_FORMAT, "%s: dim %d is not an integer", name, i);
        out->desc.dim[i] = json_integer_value(dim);
    }
    for (int i = 0; i < 2; i++) {
        const json_t *offset = json_array_get(offsets, (size_t)i);
        if (!json_is_integer(offset) || json_integer_value(offset) < 0)
            return strata_fail(err, STRATA_FORMAT, "%s: data_offsets are not two counts of bytes", name);
        *(i == 0 ? &out->begin : &out->end) = (uint64_t)json_integer_value(offset);
    }
    if (out->end < out->begin)
        return strata_fail(err, STRATA_FORMAT, "%s: the data ends at byte %llu, before it begins at %llu",
                           name, (unsigned long long)out->end, (unsigned long long)out->begin);
    return strata_check_extent(name, &out->desc, out->end - out->begin, err);
}

static strata_status check_metadata(const json_t *metadata, strata_error *err)
{
    const char *key;
    json_t *text;
    bool ok = json_is_object(metadata);
    if (ok)
        json_object_foreach((json_t *)metadata, key, text)
            ok = ok && json_is_string(text);
    return ok ? STRATA_OK : strata_fail(err, STRATA_FORMAT, "__metadata__ is not an object of texts");
}

static int compare_offsets(const void *a, const void *b)
{
    const located *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end != y->end ? (x->end < y->end ? -1 : 1) : strcmp(x->name, y->name);
}

/* Tensors in the order of their bytes, which must follow one another from 0 to `size`. */
static strata_status add_all(strata_weights *w, located *rows, size_t count, const unsigned char *data,
                             size_t size, strata_error *err)
{
    uint64_t at = 0;
    if (count > 0)
        qsort(rows, count, sizeof *rows, compare_offsets);
    for (size_t i = 0; i < count; i++) {
        const located *r = &rows[i];
        if (r->begin != at)
            return strata_fail(err, STRATA_FORMAT,
                               "%s: the data begins at byte %llu, but the tensor before ends at %llu",
                               r->name, (unsigned long long)r->begin, (unsigned long long)at);
        if (r->end > size)
            return strata_fail(err, STRATA_FORMAT,
                               "%s: the data ends at byte %llu, but the file has only %zu; was it "
                               "downloaded completely?",
                               r->name, (unsigned long long)r->end, size);
        STRATA_TRY(strata_weights_add(w, r->name, strlen(r->name), &r->desc, data + r->begin,
                                      (size_t)(r->end - r->begin), err));
        at = r->end;
    }
    if (at != size)
        return strata_fail(err, STRATA_FORMAT, "%llu bytes belong to no tensor",
                           (unsigned long long)(size - at));
    return STRATA_OK;
}

static strata_status read_header(strata_weights *w, json_t *header, const unsigned char *data, size_t size,
                                 strata_error *err)
{
    size_t count = 0;
    located *rows = calloc(json_object_size(header) + 1, sizeof *rows);
    if (rows == NULL)
        return strata_fail(err, STRATA_NOMEM, "out of memory for %zu tensors", json_object_size(header));
    strata_status status = STRATA_OK;
    const char *key;
    json_t *row;
    json_object_foreach(header, key, row) {
        status = strcmp(key, "__metadata__") == 0 ? check_metadata(row, err)
                                                  : parse_tensor(key, row, &rows[count++], err);
        if (status != STRATA_OK)
            break;
    }
    if (status == STRATA_OK)
        status = add_all(w, rows, count, data, size, err);
    free(rows);
    return status;
}

static strata_status read_safetensors(strata_weights *w, const unsigned char *bytes, size_t size,
                                      strata_error *err)
{
    uint64_t length = read_u64(bytes);
    if (length > size - 8)
        return strata_fail(err, STRATA_FORMAT, "the header has %llu bytes, but the file has only %zu; was it "
                           "downloaded completely?", (unsigned long long)length, size);
    json_error_t why;
    json_t *header = json_loadb((const char *)bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &why);
    if (header == NULL)
        return strata_fail(err, STRATA_FORMAT, "the header is damaged at byte %d: %s", why.position,
                           why.text);
    strata_status status = read_header(w, header, bytes + 8 + length, (size_t)(size - 8 - length), err);
    json_decref(header);
    return status;
}

const strata_weights_reader strata_safetensors_reader = {
    "safetensors", sniff_safetensors, read_safetensors
};

/* ---- Writing ------------------------------------------------------------------------------------------- */

/* Appends {"dtype", "shape", "data_offsets"} of every item of that element width. */
static int add_rows(json_t *header, const strata_safetensors_item *items, int count, size_t width,
                    uint64_t *at)
{
    for (int i = 0; i < count; i++) {
        const strata_tensor_desc *d = &items[i].desc;
        if (strata_dtype_size(d->dtype) != width)
            continue;
        uint64_t end = *at + strata_bytes(d);
        json_t *shape = json_array();
        for (int k = 0; k < d->rank; k++)
            json_array_append_new(shape, json_integer(d->dim[k]));
        json_t *row = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_names[d->dtype], "shape", shape,
                                "data_offsets", (json_int_t)*at, (json_int_t)end);
        /* Fails when the name is not UTF-8. */
        if (row == NULL || json_object_set_new(header, items[i].name, row) != 0)
            return i;
        *at = end;
    }
    return -1;
}

static strata_status write_header(FILE *to, const strata_safetensors_item *items, int count, json_t *metadata,
                                  strata_error *err)
{
    json_t *header = json_object();
    if (metadata != NULL)
        json_object_set(header, "__metadata__", metadata);
    uint64_t at = 0;
    int bad = -1;
    for (size_t width = 8; width > 0 && bad < 0; width /= 2)
        bad = add_rows(header, items, count, width, &at);
    char *text = bad < 0 ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (bad >= 0)
        return strata_fail(err, STRATA_INVALID, "%s: the name cannot be written: it is not UTF-8",
                           items[bad].name);
    if (text == NULL)
        return strata_fail(err, STRATA_NOMEM, "out of memory for the header");

    strata_status status = STRATA_OK;
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)(padded >> 8 * i);
    if (padded > MAX_HEADER) {
        status = strata_fail(err, STRATA_INVALID,
                             "the header would have %zu bytes, more than .safetensors allows; write .npz",
                             padded);
    } else {
        fwrite(size, 1, sizeof size, to);
        fwrite(text, 1, length, to);
        fprintf(to, "%*s", (int)(padded - length), "");
    }
    free(text);
    return status;
}

strata_status strata_safetensors_write(FILE *to, const strata_safetensors_item *items, int count,
                                       json_t *metadata, strata_safetensors_fill fill, void *user,
                                       strata_error *err)
{
    STRATA_TRY(write_header(to, items, count, metadata, err));
    for (size_t width = 8; width > 0; width /= 2)
        for (int i = 0; i < count; i++)
            if (strata_dtype_size(items[i].desc.dtype) == width)
                STRATA_TRY(fill(user, i, to, err));
    return STRATA_OK; /* write errors stay with the stream: whoever closes it reports them */
}

/* ---- Converting a checkpoint --------------------------------------------------------------------------- */

static bool write_piece(void *user, const void *at, size_t size)
{
    return fwrite(at, 1, size, user) == size;
}

static strata_status fill_from_weights(void *user, int i, FILE *to, strata_error *err)
{
    (void)err; /* the stream remembers */
    strata_weights_each_piece(user, i, write_piece, to);
    return STRATA_OK;
}

/* A whole file under its name, or nothing. */
static strata_status save(const char *path, const strata_safetensors_item *items, int count,
                          strata_safetensors_fill fill, void *user, strata_error *err)
{
    strata_atomic_file *file;
    STRATA_TRY(strata_atomic_open(path, &file, err));
    strata_status status =
        strata_safetensors_write(strata_atomic_stream(file), items, count, NULL, fill, user, err);
    if (status == STRATA_OK)
        return strata_atomic_commit(file, err);
    strata_atomic_abort(file);
    return strata_fail_in(err, status, "%s", path);
}

strata_status strata_weights_save(const strata_weights *w, const char *path, strata_error *err)
{
    int count = strata_weights_count(w);
    strata_safetensors_item *items = calloc((size_t)count + 1, sizeof *items);
    if (items == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", path);
    for (int i = 0; i < count; i++) {
        strata_weights_entry e = strata_weights_get(w, i);
        items[i] = (strata_safetensors_item){ e.name, e.desc };
    }
    strata_status status = save(path, items, count, fill_from_weights, (void *)w, err);
    free(items);
    return status;
}

/* ---- The constants of a graph -------------------------------------------------------------------------- */

static strata_status fill_from_tensors(void *user, int i, FILE *to, strata_error *err)
{
    const strata_tensor *t = ((strata_tensor *const *)user)[i];
    (void)err; /* the stream remembers */
    fwrite(strata_tensor_data(t), 1, strata_bytes(strata_tensor_get_desc(t)), to);
    return STRATA_OK;
}

strata_status strata_graph_save_weights(const strata_graph *g, const char *path, strata_error *err)
{
    const int                nodes = strata_graph_node_count(g);
    strata_safetensors_item *items = calloc((size_t)nodes + 1, sizeof *items);
    strata_tensor          **data = calloc((size_t)nodes + 1, sizeof *data);
    bool                    *live = calloc((size_t)nodes + 1, sizeof *live);
    int                      count = 0;
    strata_status status = items && data && live ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "%s: out of memory", path);
    if (status == STRATA_OK)
        strata_graph_mark_live(g, live);
    for (int i = 0; i < nodes && status == STRATA_OK; i++) {
        const strata_node *n = strata_graph_node(g, i);
        if (!live[i] || !strata_node_is_constant(n))
            continue;
        if (!n->data)
            status = strata_fail(err, STRATA_WEIGHTS, "%s: %s has no numbers; bind weights first", path, n->name);
        items[count] = (strata_safetensors_item){ n->name, n->desc };
        data[count++] = n->data;
    }
    if (status == STRATA_OK)
        status = save(path, items, count, fill_from_tensors, data, err);
    free(items);
    free(data);
    free(live);
    return status;
}
