/* onnx_file.c: an ONNX file in memory, and its tensors.
 *
 * The file is mapped, its framing is checked (see wire.h), and protobuf-c unpacks it: one copy of the weights. Tensors
 * are views of that copy, which stays until the last of them goes.
 *
 * Weights outside the file are read from where it says, which is a place in its own folder: absolute paths, "..", and
 * links that lead out of the folder are refused. Nothing is allocated before the bytes are known to be there. */
#include "onnx_import.h"
#include "weights.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct onnx_file {
    atomic_int        references;
    char             *path;
    Onnx__ModelProto *model;
};

void onnx_file_unref(onnx_file *f)
{
    if (f == NULL || atomic_fetch_sub(&f->references, 1) != 1)
        return;
    if (f->model != NULL)
        onnx__model_proto__free_unpacked(f->model, NULL);
    free(f->path);
    free(f);
}

static void release(void *file) { onnx_file_unref(file); }

const Onnx__ModelProto *onnx_file_model(const onnx_file *f) { return f->model; }

static strata_status unpack(onnx_file *f, const void *bytes, size_t size, strata_error *err)
{
    strata_status status = wire_check(&onnx__model_proto__descriptor, bytes, size, err);
    if (status != STRATA_OK)
        return strata_fail_in(err, status, "%s", f->path);
    f->model = onnx__model_proto__unpack(NULL, size, bytes);
    if (f->model == NULL)
        return strata_fail(err, STRATA_FORMAT, "%s: damaged, or no ONNX model", f->path);
    return STRATA_OK;
}

strata_status onnx_file_open(const char *path, onnx_file **out, strata_error *err)
{
    onnx_file *f = calloc(1, sizeof *f);
    if (f == NULL || (f->path = strdup(path)) == NULL) {
        free(f);
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", path);
    }
    atomic_init(&f->references, 1);
    strata_status status = STRATA_OK;
    struct stat   st;
    int           fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        status = strata_fail(err, errno == ENOENT ? STRATA_NOT_FOUND : STRATA_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode) || st.st_size == 0)
        status = strata_fail(err, STRATA_FORMAT, "%s: empty, or no file", path);
    if (status == STRATA_OK) {
        size_t size = (size_t)st.st_size;
        void  *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            status = strata_fail(err, STRATA_IO, "%s: %s", path, strerror(errno));
        } else {
            status = unpack(f, bytes, size, err);
            munmap(bytes, size);
        }
    }
    if (fd >= 0)
        close(fd);
    if (status == STRATA_OK)
        *out = f;
    else
        onnx_file_unref(f);
    return status;
}

/* ---- Types --------------------------------------------------------------------------------------------------------- */

/* XX(ONNX's name, ours): what raw bytes hold. */
#define TYPE_MAP(XX)                                                                               \
    XX(FLOAT, F32) XX(DOUBLE, F64) XX(FLOAT16, F16) XX(BFLOAT16, BF16) XX(INT64, I64) XX(INT32, I32) XX(INT16, I16)  \
    XX(INT8, I8) XX(UINT8, U8) XX(UINT16, U16) XX(UINT32, U32) XX(UINT64, U64) XX(BOOL, BOOL)

static bool find_type(int type, strata_dtype *out)
{
    static const struct {
        int          onnx;
        strata_dtype ours;
    } types[] = {
#define XX(theirs, ours) { ONNX__TENSOR_PROTO__DATA_TYPE__##theirs, STRATA_##ours },
        TYPE_MAP(XX)
#undef XX
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].onnx == type) {
            *out = types[i].ours;
            return true;
        }
    return false;
}

static bool is_real(strata_dtype t) { return t == STRATA_F32 || t == STRATA_F64 || t == STRATA_F16 || t == STRATA_BF16; }

static int64_t integer_at(strata_dtype type, const unsigned char *p)
{
    union {
        int8_t   i8;
        int16_t  i16;
        int32_t  i32;
        int64_t  i64;
        uint16_t u16;
        uint32_t u32;
    } u = { 0 };
    memcpy(&u, p, strata_dtype_size(type));
    switch (type) {
    case STRATA_I8: return u.i8;
    case STRATA_I16: return u.i16;
    case STRATA_I32: return u.i32;
    case STRATA_U8:
    case STRATA_BOOL: return (uint8_t)u.i8;
    case STRATA_U16: return u.u16;
    case STRATA_U32: return u.u32;
    default: return u.i64;
    }
}

/* ---- Tensors ------------------------------------------------------------------------------------------------------- */

static const char *external_value(const Onnx__TensorProto *t, const char *key)
{
    for (size_t i = 0; i < t->n_external_data; i++)
        if (t->external_data[i]->key != NULL && strcmp(t->external_data[i]->key, key) == 0)
            return t->external_data[i]->value;
    return NULL;
}

static bool parse_size(const char *text, uint64_t fallback, uint64_t *out)
{
    char *end;
    *out = fallback;
    if (text == NULL)
        return true;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

/* Opens `location` in the folder of the model; -1 after saying why not. */
static int open_beside(const onnx_file *f, const char *name, const char *location, strata_error *err)
{
    const char *slash = strrchr(f->path, '/');
    char       *joined = NULL, *folder = slash != NULL ? strndup(f->path, (size_t)(slash + 1 - f->path)) : strdup("./");
    char        root[PATH_MAX], target[PATH_MAX];
    int         fd = -1;
    if (folder == NULL || asprintf(&joined, "%s%s", folder, location) < 0) {
        strata_fail(err, STRATA_NOMEM, "%s: out of memory", f->path);
    } else if (realpath(folder, root) == NULL || realpath(joined, target) == NULL) {
        strata_fail(err, STRATA_NOT_FOUND, "%s: %s: the weights are in '%.200s', which cannot be read: %s", f->path,
                    name, location, strerror(errno));
    } else {
        size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
        if (*location == '/' || strncmp(target, root, length) != 0 || target[length] != '/')
            strata_fail(err, STRATA_FORMAT, "%s: %s: the weights' place '%.200s' is outside the model's folder", f->path,
                        name, location);
        else if ((fd = open(target, O_RDONLY | O_CLOEXEC)) < 0)
            strata_fail(err, STRATA_IO, "%s: %s", joined, strerror(errno));
    }
    free(joined);
    free(folder);
    return fd;
}

static bool read_whole(int fd, void *to, size_t size, uint64_t at)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(fd, (char *)to + done, size - done, (off_t)(at + done));
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static strata_status read_external(const onnx_file *f, const Onnx__TensorProto *t, const char *name, size_t bytes,
                                   void **out, strata_error *err)
{
    const char *location = external_value(t, "location");
    uint64_t    at, length;
    struct stat st;
    if (location == NULL || *location == '\0' || !parse_size(external_value(t, "offset"), 0, &at) ||
        !parse_size(external_value(t, "length"), bytes, &length) || length != bytes)
        return strata_fail(err, STRATA_FORMAT, "%s: %s: where the weights are is damaged, or not %zu bytes", f->path, name,
                           bytes);
    int fd = open_beside(f, name, location, err);
    if (fd < 0)
        return err != NULL ? err->status : STRATA_FORMAT;
    strata_status status = STRATA_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || at > (uint64_t)st.st_size || bytes > (uint64_t)st.st_size - at)
        status = strata_fail(err, STRATA_FORMAT, "%s: %s: %zu bytes at %llu are not in '%.200s'", f->path, name, bytes,
                             (unsigned long long)at, location);
    else if ((*out = malloc(bytes + 1)) == NULL)
        status = strata_fail(err, STRATA_NOMEM, "%s: %s: no memory for %zu bytes", f->path, name, bytes);
    else if (!read_whole(fd, *out, bytes, at)) {
        status = strata_fail(err, STRATA_IO, "%s: %s: '%.200s': %s", f->path, name, location, strerror(errno));
        free(*out);
    }
    close(fd);
    return status;
}

/* Typed fields: float_data, int64_data and so on, in an array of the tensor's own type. */
static strata_status typed_fields(const onnx_file *f, const Onnx__TensorProto *t, const char *name, strata_dtype type,
                                  size_t count, void **out, strata_error *err)
{
    const size_t size = strata_dtype_size(type);
    const void  *from = NULL;
    size_t       held = 0, width = size;
    switch (type) {
    case STRATA_F32: from = t->float_data, held = t->n_float_data; break;
    case STRATA_F64: from = t->double_data, held = t->n_double_data; break;
    case STRATA_I64: from = t->int64_data, held = t->n_int64_data; break;
    case STRATA_U32:
    case STRATA_U64: from = t->uint64_data, held = t->n_uint64_data, width = 8; break;
    default: from = t->int32_data, held = t->n_int32_data, width = 4; break; /* the low bytes are the number */
    }
    if (held != count)
        return strata_fail(err, STRATA_FORMAT, "%s: %s: the tensor has %zu numbers, its shape %zu", f->path, name, held,
                           count);
    char *to = malloc(count * size + 1);
    if (to == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: %s: no memory for %zu numbers", f->path, name, count);
    for (size_t i = 0; i < count; i++)
        memcpy(to + i * size, (const char *)from + i * width, size);
    *out = to;
    return STRATA_OK;
}

/* `bytes` as f32 or i64. */
static strata_status convert(strata_tensor_desc desc, const void *bytes, strata_tensor **out, strata_error *err)
{
    const strata_dtype type = desc.dtype;
    desc.dtype = is_real(type) ? STRATA_F32 : STRATA_I64;
    STRATA_TRY(strata_tensor_create(&desc, out, err));
    const size_t count = (size_t)strata_count(&desc), size = strata_dtype_size(type);
    if (is_real(type))
        strata_convert_to_f32(type, bytes, strata_tensor_data(*out), count);
    else
        for (size_t i = 0; i < count; i++)
            ((int64_t *)strata_tensor_data(*out))[i] = integer_at(type, (const unsigned char *)bytes + i * size);
    return STRATA_OK;
}

strata_status onnx_file_tensor(onnx_file *f, const Onnx__TensorProto *t, strata_tensor **out, strata_error *err)
{
    const char        *name = t->name != NULL && *t->name ? t->name : "constant";
    strata_tensor_desc desc = { .rank = (int)(t->n_dims < STRATA_MAX_RANK + 1 ? t->n_dims : STRATA_MAX_RANK + 1) };
    if (!t->has_data_type || !find_type(t->data_type, &desc.dtype))
        return strata_fail(err, STRATA_UNSUPPORTED, "%s: %.200s: a tensor of ONNX's type %d", f->path, name, t->data_type);
    if (desc.rank > STRATA_MAX_RANK)
        return strata_fail(err, STRATA_UNSUPPORTED, "%s: %.200s: rank %zu is more than %d", f->path, name, t->n_dims,
                           STRATA_MAX_RANK);
    bool empty = false;
    for (int i = 0; i < desc.rank; i++) {
        desc.dim[i] = t->dims[i];
        empty |= t->dims[i] == 0;
    }
    *out = NULL;
    if (empty) /* Resize has empty operands in place of absent ones */
        return STRATA_OK;
    const int64_t count = strata_count(&desc);
    for (int i = 0; i < desc.rank; i++)
        if (desc.dim[i] < 0 || count < 0 || count > INT64_MAX / 64)
            return strata_fail(err, STRATA_FORMAT, "%s: %.200s: the shape makes no sense", f->path, name);

    const size_t bytes = strata_bytes(&desc);
    const bool   outside = t->has_data_location && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    void        *own = NULL;
    if (outside)
        STRATA_TRY(read_external(f, t, name, bytes, &own, err));
    else if (!t->has_raw_data)
        STRATA_TRY(typed_fields(f, t, name, desc.dtype, (size_t)count, &own, err));
    else if (t->raw_data.len != bytes)
        return strata_fail(err, STRATA_FORMAT, "%s: %.200s: the tensor has %zu bytes, its shape %zu", f->path, name,
                           t->raw_data.len, bytes);

    strata_status status;
    if (desc.dtype != STRATA_F32 && desc.dtype != STRATA_I64) {
        status = convert(desc, own != NULL ? own : t->raw_data.data, out, err);
        free(own);
    } else if (own != NULL) {
        status = strata_tensor_wrap(&desc, own, free, own, out, err);
        if (status != STRATA_OK)
            free(own);
    } else {
        atomic_fetch_add(&f->references, 1);
        status = strata_tensor_wrap(&desc, t->raw_data.data, release, f, out, err);
        if (status != STRATA_OK)
            onnx_file_unref(f);
    }
    return status;
}
