/* npy.c: numpy's file format for one array.
 *
 *     "\x93NUMPY"  major minor  length  text  data
 *
 * `length` has two bytes in version 1 and four in versions 2 and 3, little-endian; `text` is a Python literal
 * like {'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 224, 224), }. Arrays in Fortran order are
 * transposed to C order while they are read, bytes are swapped where needed. Structured, text, complex and
 * object arrays are refused: none is a tensor, and the last would run code in Python. */
#include "npy.h"
#include "atomic_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_TEXT = 1 << 16 };

static const struct element_type {
    const char   descr[4]; /* without the byte order */
    strata_dtype dtype;
} types[] = {
    { "f4", STRATA_F32 }, { "f2", STRATA_F16 }, { "f8", STRATA_F64 }, { "i1", STRATA_I8 },
    { "i2", STRATA_I16 }, { "i4", STRATA_I32 }, { "i8", STRATA_I64 }, { "u1", STRATA_U8 },
    { "u2", STRATA_U16 }, { "u4", STRATA_U32 }, { "u8", STRATA_U64 }, { "b1", STRATA_BOOL },
};

/* ---- Writing ------------------------------------------------------------------------------------------- */

const char *strata_npy_descr(strata_dtype dtype)
{
    static const char *const descr[STRATA_DTYPE_COUNT] = {
        [STRATA_F32] = "<f4", [STRATA_F16] = "<f2", [STRATA_F64] = "<f8", [STRATA_I8] = "|i1",
        [STRATA_I16] = "<i2", [STRATA_I32] = "<i4", [STRATA_I64] = "<i8", [STRATA_U8] = "|u1",
        [STRATA_U16] = "<u2", [STRATA_U32] = "<u4", [STRATA_U64] = "<u8", [STRATA_BOOL] = "|b1",
    };
    return descr[dtype];
}

void strata_npy_make_header(char header[STRATA_NPY_HEADER], const char *descr, int rank, const int64_t *dim)
{
    char shape[STRATA_MAX_RANK * 22 + 1] = "";
    size_t used = 0;
    for (int i = 0; i < rank; i++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%lld,%s", (long long)dim[i],
                                 i + 1 < rank ? " " : "");
    if (rank > 1)
        shape[used - 1] = '\0'; /* only a tuple of one needs the last comma */

    enum { PROLOGUE = 10, TEXT = STRATA_NPY_HEADER - PROLOGUE };
    memcpy(header, "\x93NUMPY\1\0", 8);
    header[8] = (char)(TEXT & 0xff);
    header[9] = (char)(TEXT >> 8);
    int length = snprintf(header + PROLOGUE, TEXT, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                          descr, shape);
    memset(header + PROLOGUE + length, ' ', (size_t)(TEXT - length));
    header[STRATA_NPY_HEADER - 1] = '\n';
}

strata_status strata_npy_write(const char *path, const strata_tensor *t, strata_error *err)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(t);
    const char *descr = strata_npy_descr(desc->dtype);
    if (descr == NULL)
        return strata_fail(err, STRATA_INVALID, "%s: numpy has no type %s", path,
                           strata_dtype_name(desc->dtype));
    if (desc->layout != STRATA_NCHW)
        return strata_fail(err, STRATA_INVALID, "%s: only row-major tensors can be written", path);

    char header[STRATA_NPY_HEADER];
    strata_npy_make_header(header, descr, desc->rank, desc->dim);
    strata_atomic_file *file;
    STRATA_TRY(strata_atomic_open(path, &file, err));
    fwrite(header, 1, sizeof header, strata_atomic_stream(file));
    fwrite(strata_tensor_data(t), 1, strata_bytes(desc), strata_atomic_stream(file));
    return strata_atomic_commit(file, err); /* reports failed writes too */
}

/* ---- The header's literal ------------------------------------------------------------------------------ */

typedef struct npy_header {
    strata_tensor_desc desc;
    bool               swapped, fortran;
} npy_header;

static void skip_blanks(const char **at)
{
    *at += strspn(*at, " \t\r\n\f");
}

static bool take(const char **at, const char *token)
{
    skip_blanks(at);
    size_t length = strlen(token);
    if (strncmp(*at, token, length) != 0)
        return false;
    *at += length;
    return true;
}

/* 'text' or "text" without escapes. */
static bool take_string(const char **at, char *out, size_t size)
{
    skip_blanks(at);
    char quote = **at;
    if (quote != '\'' && quote != '"')
        return false;
    const char *end = strchr(*at + 1, quote);
    if (end == NULL || (size_t)(end - *at) > size)
        return false;
    size_t length = (size_t)(end - *at - 1);
    memcpy(out, *at + 1, length);
    out[length] = '\0';
    *at = end + 1;
    return true;
}

static strata_status parse_shape(const char **at, strata_tensor_desc *desc, strata_error *err)
{
    if (!take(at, "("))
        return strata_fail(err, STRATA_FORMAT, "the shape is not a tuple");
    while (!take(at, ")")) {
        char *end;
        errno = 0;
        skip_blanks(at);
        long long dim = strtoll(*at, &end, 10);
        if (end == *at || errno != 0 || dim < 0)
            return strata_fail(err, STRATA_FORMAT, "the shape is damaged");
        if (desc->rank == STRATA_MAX_RANK)
            return strata_fail(err, STRATA_FORMAT, "more than %d dims are not supported", STRATA_MAX_RANK);
        desc->dim[desc->rank++] = dim;
        *at = end + (*end == 'L'); /* Python 2 wrote 224L */
        if (!take(at, ",") && (skip_blanks(at), **at != ')'))
            return strata_fail(err, STRATA_FORMAT, "the shape is damaged");
    }
    return STRATA_OK;
}

static strata_status parse_descr(const char **at, npy_header *h, strata_error *err)
{
    char descr[32];
    skip_blanks(at);
    if (**at == '[')
        return strata_fail(err, STRATA_FORMAT, "a structured array is no tensor");
    if (!take_string(at, descr, sizeof descr))
        return strata_fail(err, STRATA_FORMAT, "the element type is damaged");
    bool ordered = descr[0] != '\0' && strchr("<>|=", descr[0]) != NULL;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(descr + ordered, types[i].descr) == 0) {
            h->desc.dtype = types[i].dtype;
            h->swapped = descr[0] == '>';
            return STRATA_OK;
        }
    return strata_fail(err, STRATA_FORMAT, "elements of type '%s' are not supported; save float32", descr);
}

static strata_status parse_text(const char *at, npy_header *h, strata_error *err)
{
    unsigned seen = 0; /* bits: descr, fortran_order, shape */
    if (!take(&at, "{"))
        return strata_fail(err, STRATA_FORMAT, "the header is not a dictionary");
    while (!take(&at, "}")) {
        char key[16];
        if (!take_string(&at, key, sizeof key) || !take(&at, ":"))
            return strata_fail(err, STRATA_FORMAT, "the header is damaged");
        if (strcmp(key, "descr") == 0 && !(seen & 1)) {
            STRATA_TRY(parse_descr(&at, h, err));
            seen |= 1;
        } else if (strcmp(key, "fortran_order") == 0 && !(seen & 2)) {
            h->fortran = take(&at, "True");
            if (!h->fortran && !take(&at, "False"))
                return strata_fail(err, STRATA_FORMAT, "fortran_order is neither True nor False");
            seen |= 2;
        } else if (strcmp(key, "shape") == 0 && !(seen & 4)) {
            STRATA_TRY(parse_shape(&at, &h->desc, err));
            seen |= 4;
        } else {
            return strata_fail(err, STRATA_FORMAT, "the header has an unexpected key '%s'", key);
        }
        take(&at, ",");
    }
    return seen == 7 ? STRATA_OK
                     : strata_fail(err, STRATA_FORMAT, "the header has no descr, fortran_order or shape");
}

static strata_status read_header(FILE *file, uint64_t size, npy_header *h, strata_error *err)
{
    unsigned char start[12];
    if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0)
        return strata_fail(err, STRATA_FORMAT, "not an .npy file");
    uint64_t prologue = 10, length = start[8] | (uint64_t)start[9] << 8;
    if (start[6] < 1 || start[6] > 3)
        return strata_fail(err, STRATA_FORMAT, ".npy version %d.%d is not known", start[6], start[7]);
    if (start[6] > 1) {
        if (fread(start + 10, 1, 2, file) != 2)
            return strata_fail(err, STRATA_FORMAT, "the header is cut short");
        prologue = 12;
        length |= (uint64_t)start[10] << 16 | (uint64_t)start[11] << 24;
    }
    if (length > MAX_TEXT || length > size - prologue)
        return strata_fail(err, STRATA_FORMAT, "the header is cut short, or too long: %llu bytes",
                           (unsigned long long)length);
    char *text = malloc(length + 1);
    if (text == NULL)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    strata_status status = STRATA_OK;
    if (fread(text, 1, length, file) != length) {
        status = strata_fail(err, STRATA_IO, "cannot read the header");
    } else {
        text[length] = '\0';
        status = parse_text(text, h, err);
    }
    free(text);
    if (status != STRATA_OK)
        return status;

    char shape[128];
    int64_t count = strata_count(&h->desc), width = (int64_t)strata_dtype_size(h->desc.dtype);
    uint64_t held = size - prologue - length;
    strata_shape_text(&h->desc, shape, sizeof shape);
    if (count < 0 || count > INT64_MAX / width)
        return strata_fail(err, STRATA_FORMAT, "the shape %s is absurd", shape);
    if ((uint64_t)(count * width) != held)
        return strata_fail(err, STRATA_FORMAT, "%s of %s needs %lld bytes of data, but the file holds %llu",
                           shape, strata_dtype_name(h->desc.dtype), (long long)(count * width),
                           (unsigned long long)held);
    return STRATA_OK;
}

/* ---- Reading ------------------------------------------------------------------------------------------- */

static void swap_bytes(unsigned char *at, size_t count, size_t width)
{
    for (size_t i = 0; i < count; i++, at += width)
        for (size_t k = 0; k < width / 2; k++) {
            unsigned char byte = at[k];
            at[k] = at[width - 1 - k];
            at[width - 1 - k] = byte;
        }
}

/* dst in C order from src in Fortran order: walks dst, with the index of each dim as on an odometer. */
static void transpose(const strata_tensor_desc *desc, const unsigned char *src, unsigned char *dst)
{
    size_t width = strata_dtype_size(desc->dtype), count = (size_t)strata_count(desc);
    int64_t index[STRATA_MAX_RANK] = { 0 }, stride[STRATA_MAX_RANK] = { 1 }, at = 0;
    for (int k = 1; k < desc->rank; k++)
        stride[k] = stride[k - 1] * desc->dim[k - 1];
    for (size_t i = 0; i < count; i++) {
        memcpy(dst + i * width, src + (size_t)at * width, width);
        for (int k = desc->rank - 1; k >= 0; k--) {
            at += stride[k];
            if (++index[k] < desc->dim[k])
                break;
            at -= stride[k] * desc->dim[k];
            index[k] = 0;
        }
    }
}

static strata_status read_data(FILE *file, const npy_header *h, strata_tensor **out, strata_error *err)
{
    strata_tensor *t, *turned;
    size_t bytes = strata_bytes(&h->desc), width = strata_dtype_size(h->desc.dtype);
    STRATA_TRY(strata_tensor_create(&h->desc, &t, err));
    if (fread(strata_tensor_data(t), 1, bytes, file) != bytes) {
        strata_tensor_unref(t);
        return strata_fail(err, STRATA_IO, "cannot read the data");
    }
    if (h->swapped)
        swap_bytes(strata_tensor_data(t), bytes / width, width);
    if (h->fortran && h->desc.rank > 1) {
        strata_status status = strata_tensor_create(&h->desc, &turned, err);
        if (status == STRATA_OK)
            transpose(&h->desc, strata_tensor_data(t), strata_tensor_data(turned));
        strata_tensor_unref(t);
        if (status != STRATA_OK)
            return status;
        t = turned;
    }
    *out = t;
    return STRATA_OK;
}

strata_status strata_npy_read(const char *path, strata_tensor **out, strata_error *err)
{
    *out = NULL;
    FILE *file = fopen(path, "rbe");
    struct stat st;
    if (file == NULL || fstat(fileno(file), &st) != 0) {
        int code = errno;
        if (file != NULL)
            fclose(file);
        return strata_fail(err, code == ENOENT || code == ENOTDIR ? STRATA_NOT_FOUND : STRATA_IO,
                           "%s: cannot read: %s", path, strerror(code));
    }
    npy_header h = { 0 };
    strata_status status = S_ISREG(st.st_mode) ? read_header(file, (uint64_t)st.st_size, &h, err)
                                               : strata_fail(err, STRATA_IO, "not a regular file");
    if (status == STRATA_OK)
        status = read_data(file, &h, out, err);
    fclose(file);
    return status == STRATA_OK ? status : strata_fail_in(err, status, "%s", path);
}
