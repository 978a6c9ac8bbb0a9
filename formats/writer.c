/* writer.c: named arrays, row by row, into one .npz or .safetensors.
 *
 * Neither format can be written before the number of rows is known, and feature maps of many images are
 * larger than memory. So the rows of each array go to a spool file in the target's folder, and commit copies
 * the spools into the target. Spool files have no name: the kernel frees them however the program ends. The
 * target itself is written beside its place and renamed when whole.
 *
 * Texts are made valid UTF-8 when they arrive (file names may be anything): bad bytes become U+FFFD. */
#include "writer.h"
#include "atomic_file.h"
#include "npy.h"
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_ARRAYS = 1024, MAX_NAME = 1024 };

static strata_status write_safetensors(strata_bundle *b, FILE *to, strata_error *err);

static const struct writer_format {
    const char *suffix;
    strata_status (*write)(strata_bundle *b, FILE *to, strata_error *err);
} formats[] = {
    { ".npz", strata_bundle_to_npz },
    { ".safetensors", write_safetensors },
};

struct strata_writer {
    const struct writer_format *format;
    char                       *path, *folder;
    strata_dtype                dtype;
    strata_bundle               bundle;
    strata_status               failed; /* of an append: rows may be torn, so commit refuses */
    bool                        committed;
};

/* ---- UTF-8 --------------------------------------------------------------------------------------------- */

/* Reads one character, or one bad byte, which counts as U+FFFD. Refuses overlong forms and surrogates. */
static uint32_t decode(const unsigned char **at)
{
    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    unsigned char lead = *(*at)++;
    int more = lead < 0x80 ? 0 : lead >> 5 == 6 ? 1 : lead >> 4 == 14 ? 2 : lead >> 3 == 30 ? 3 : -1;
    if (more <= 0)
        return more == 0 ? lead : 0xfffd;
    uint32_t c = lead & (0x3fu >> more);
    for (int i = 0; i < more; i++) {
        if ((*at)[i] >> 6 != 2)
            return 0xfffd;
        c = c << 6 | ((*at)[i] & 0x3f);
    }
    if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0xfffd;
    *at += more;
    return c;
}

uint32_t strata_utf8_next(const char **at)
{
    const unsigned char *bytes = (const unsigned char *)*at;
    uint32_t c = decode(&bytes);
    *at = (const char *)bytes;
    return c;
}

/* A copy in valid UTF-8; NULL when out of memory. */
static char *clean_copy(const char *text)
{
    char *copy = malloc(strlen(text) * 3 + 1), *to = copy; /* a bad byte becomes three */
    if (copy == NULL)
        return NULL;
    while (*text != '\0') {
        const char *from = text;
        uint32_t c = strata_utf8_next(&text);
        bool bad = c == 0xfffd;
        size_t length = bad ? 3 : (size_t)(text - from);
        memcpy(to, bad ? "\xef\xbf\xbd" : from, length);
        to += length;
    }
    *to = '\0';
    return copy;
}

/* ---- Creating ------------------------------------------------------------------------------------------ */

strata_status strata_spool_open(const char *folder, FILE **out, strata_error *err)
{
    *out = NULL;
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    bool unsupported = fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL);
    if (unsupported) {
        char *name = malloc(strlen(folder) + 32);
        if (name == NULL)
            return strata_fail(err, STRATA_NOMEM, "out of memory");
        sprintf(name, "%s/.strata-spool.XXXXXX", folder);
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0)
            unlink(name);
        free(name);
    }
    int code = errno;
    *out = fd >= 0 ? fdopen(fd, "w+b") : NULL;
    if (*out == NULL) {
        if (fd >= 0)
            close(fd);
        return strata_fail(err, STRATA_IO, "cannot write in the folder %s: %s", folder, strerror(code));
    }
    return STRATA_OK;
}

static bool has_suffix(const char *path, const char *suffix)
{
    size_t length = strlen(path), tail = strlen(suffix);
    return length > tail && strcmp(path + length - tail, suffix) == 0;
}

/* Finds out now, not after hours of work, that the target cannot be written. */
static strata_status check_target(const strata_writer *w, strata_error *err)
{
    struct stat st;
    FILE *spool;
    if (stat(w->path, &st) == 0 && S_ISDIR(st.st_mode))
        return strata_fail(err, STRATA_IO, "%s: is a folder", w->path);
    strata_status status = strata_spool_open(w->folder, &spool, err);
    if (status != STRATA_OK)
        return strata_fail_in(err, status, "%s", w->path);
    fclose(spool);
    return STRATA_OK;
}

strata_status strata_writer_create(const char *path, strata_dtype dtype, strata_writer **out,
                                   strata_error *err)
{
    *out = NULL;
    const struct writer_format *format = NULL;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (has_suffix(path, formats[i].suffix))
            format = &formats[i];
    if (format == NULL)
        return strata_fail(err, STRATA_INVALID,
                           "%s: arrays are written to .npz or .safetensors; the name must end in one of them",
                           path);
    if (dtype != STRATA_F32 && dtype != STRATA_F16)
        return strata_fail(err, STRATA_INVALID, "%s: arrays are written as f32 or f16, not as %s", path,
                           strata_dtype_name(dtype));

    strata_writer *w = calloc(1, sizeof *w);
    const char *slash = strrchr(path, '/');
    if (w != NULL) {
        w->format = format;
        w->dtype = dtype;
        w->path = strdup(path);
        w->folder = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    }
    if (w == NULL || w->path == NULL || w->folder == NULL) {
        strata_writer_destroy(w);
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", path);
    }
    w->bundle.folder = w->folder;
    strata_status status = check_target(w, err);
    if (status != STRATA_OK) {
        strata_writer_destroy(w);
        return status;
    }
    *out = w;
    return STRATA_OK;
}

void strata_writer_destroy(strata_writer *w)
{
    if (w == NULL)
        return;
    strata_bundle *b = &w->bundle;
    for (int i = 0; i < b->array_count; i++) {
        if (b->arrays[i].spool != NULL)
            fclose(b->arrays[i].spool);
        free(b->arrays[i].name);
    }
    for (int i = 0; i < b->text_count; i++) {
        free(b->texts[i].key);
        free(b->texts[i].value);
    }
    for (int i = 0; i < b->name_count; i++)
        free(b->names[i]);
    free(b->arrays);
    free(b->texts);
    free(b->names);
    free(w->path);
    free(w->folder);
    free(w);
}

/* ---- Filling ------------------------------------------------------------------------------------------- */

/* A new name of an array or text: not empty, not taken, fit for a zip member and a JSON key. */
static strata_status check_name(const strata_writer *w, const char *name, strata_error *err)
{
    const strata_bundle *b = &w->bundle;
    bool taken = strcmp(name, "names") == 0 || strcmp(name, "__metadata__") == 0;
    for (int i = 0; i < b->array_count; i++)
        taken = taken || strcmp(b->arrays[i].name, name) == 0;
    for (int i = 0; i < b->text_count; i++)
        taken = taken || strcmp(b->texts[i].key, name) == 0;
    if (taken)
        return strata_fail(err, STRATA_INVALID, "%s: the name %s is taken", w->path, name);
    if (*name == '\0' || strlen(name) > MAX_NAME)
        return strata_fail(err, STRATA_INVALID, "%s: a name must have 1 to %d bytes", w->path, MAX_NAME);
    for (const char *at = name; *at != '\0';)
        if (strata_utf8_next(&at) == 0xfffd)
            return strata_fail(err, STRATA_INVALID, "%s: the name %s is not UTF-8", w->path, name);
    return STRATA_OK;
}

static strata_status declare(strata_writer *w, const char *name, const strata_tensor_desc *rows,
                             strata_spooled **out, strata_error *err)
{
    static const char room[STRATA_NPY_HEADER];
    strata_bundle *b = &w->bundle;
    STRATA_TRY(check_name(w, name, err));
    if (b->array_count == MAX_ARRAYS)
        return strata_fail(err, STRATA_INVALID, "%s: more than %d arrays", w->path, MAX_ARRAYS);
    strata_spooled *arrays = realloc(b->arrays, ((size_t)b->array_count + 1) * sizeof *arrays);
    if (arrays == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", w->path);
    b->arrays = arrays;
    strata_spooled *a = &arrays[b->array_count];
    *a = (strata_spooled){ .name = strdup(name), .desc = *rows };
    if (a->name == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", w->path);
    a->desc.dtype = w->dtype;
    a->desc.dim[0] = 0;
    strata_status status = strata_spool_open(w->folder, &a->spool, err);
    if (status != STRATA_OK) {
        free(a->name);
        return strata_fail_in(err, status, "%s", w->path);
    }
    fwrite(room, 1, sizeof room, a->spool);
    b->array_count++;
    *out = a;
    return STRATA_OK;
}

/* Writes n floats in the writer's type. */
static bool write_floats(FILE *to, strata_dtype dtype, const float *src, size_t n)
{
    if (dtype == STRATA_F32)
        return fwrite(src, sizeof *src, n, to) == n;
    uint16_t chunk[2048];
    for (size_t at = 0; at < n; at += 2048) {
        size_t count = n - at < 2048 ? n - at : 2048;
        strata_convert_from_f32(src + at, dtype, chunk, count);
        if (fwrite(chunk, sizeof *chunk, count, to) != count)
            return false;
    }
    return true;
}

strata_status strata_writer_append(strata_writer *w, const char *name, const strata_tensor *rows,
                                   strata_error *err)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(rows);
    char shape[2][128];
    if (desc->dtype != STRATA_F32 || desc->layout != STRATA_NCHW || desc->rank < 1)
        return strata_fail(err, STRATA_INVALID, "%s: %s: rows are row-major f32 with at least one dim",
                           w->path, name);
    if (w->committed)
        return strata_fail(err, STRATA_INVALID, "%s: already committed", w->path);

    strata_spooled *a = NULL;
    for (int i = 0; i < w->bundle.array_count; i++)
        if (strcmp(w->bundle.arrays[i].name, name) == 0)
            a = &w->bundle.arrays[i];
    if (a == NULL)
        STRATA_TRY(declare(w, name, desc, &a, err));
    strata_tensor_desc expected = a->desc;
    expected.dim[0] = desc->dim[0];
    if (!strata_same_shape(&expected, desc))
        return strata_fail(err, STRATA_SHAPE, "%s: %s: rows of shape %s do not continue an array of %s",
                           w->path, name, strata_shape_text(desc, shape[0], sizeof shape[0]),
                           strata_shape_text(&expected, shape[1], sizeof shape[1]));
    if (!write_floats(a->spool, w->dtype, strata_tensor_data(rows), (size_t)strata_count(desc)))
        return w->failed = strata_fail(err, STRATA_IO, "%s: %s: cannot write to a temporary file: %s",
                                       w->path, name, strerror(errno));
    a->desc.dim[0] += desc->dim[0];
    return STRATA_OK;
}

strata_status strata_writer_set_text(strata_writer *w, const char *key, const char *text, strata_error *err)
{
    strata_bundle *b = &w->bundle;
    STRATA_TRY(check_name(w, key, err));
    strata_text *texts = realloc(b->texts, ((size_t)b->text_count + 1) * sizeof *texts);
    if (texts != NULL)
        b->texts = texts;
    strata_text added = { strdup(key), clean_copy(text) };
    if (texts == NULL || added.key == NULL || added.value == NULL) {
        free(added.key);
        free(added.value);
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", w->path);
    }
    texts[b->text_count++] = added;
    return STRATA_OK;
}

strata_status strata_writer_set_names(strata_writer *w, const char *const *names, int count,
                                      strata_error *err)
{
    strata_bundle *b = &w->bundle;
    if (b->names != NULL || count < 0)
        return strata_fail(err, STRATA_INVALID, "%s: names can be set once", w->path);
    b->names = calloc((size_t)count + 1, sizeof *b->names);
    if (b->names == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", w->path);
    for (; b->name_count < count; b->name_count++)
        if ((b->names[b->name_count] = clean_copy(names[b->name_count])) == NULL)
            return w->failed = strata_fail(err, STRATA_NOMEM, "%s: out of memory", w->path);
    return STRATA_OK;
}

/* ---- Committing ---------------------------------------------------------------------------------------- */

static strata_status copy_spool(void *user, int i, FILE *to, strata_error *err)
{
    strata_spooled *a = &((strata_bundle *)user)->arrays[i];
    char chunk[1 << 16];
    size_t got;
    if (fseeko(a->spool, STRATA_NPY_HEADER, SEEK_SET) != 0)
        return strata_fail(err, STRATA_IO, "%s: cannot read a temporary file: %s", a->name, strerror(errno));
    while ((got = fread(chunk, 1, sizeof chunk, a->spool)) > 0)
        fwrite(chunk, 1, got, to); /* the target's stream remembers errors */
    if (ferror(a->spool))
        return strata_fail(err, STRATA_IO, "%s: cannot read a temporary file: %s", a->name, strerror(errno));
    return STRATA_OK;
}

/* The texts as metadata; `names` as one text, a JSON array. */
static json_t *make_metadata(const strata_bundle *b)
{
    json_t *metadata = json_object(), *names = json_array();
    int failed = 0;
    for (int i = 0; i < b->text_count; i++)
        failed |= json_object_set_new(metadata, b->texts[i].key, json_string(b->texts[i].value));
    for (int i = 0; i < b->name_count; i++)
        failed |= json_array_append_new(names, json_string(b->names[i]));
    if (b->names != NULL) {
        char *text = json_dumps(names, JSON_COMPACT);
        failed |= text == NULL || json_object_set_new(metadata, "names", json_string(text));
        free(text);
    }
    json_decref(names);
    if (!failed)
        return metadata;
    json_decref(metadata);
    return NULL;
}

static strata_status write_safetensors(strata_bundle *b, FILE *to, strata_error *err)
{
    strata_safetensors_item *items = calloc((size_t)b->array_count + 1, sizeof *items);
    json_t *metadata = make_metadata(b);
    strata_status status = STRATA_OK;
    if (items == NULL || metadata == NULL) {
        status = strata_fail(err, STRATA_NOMEM, "out of memory for the header");
    } else {
        for (int i = 0; i < b->array_count; i++)
            items[i] = (strata_safetensors_item){ b->arrays[i].name, b->arrays[i].desc };
        status = strata_safetensors_write(
            to, items, b->array_count, json_object_size(metadata) > 0 ? metadata : NULL, copy_spool, b, err);
    }
    json_decref(metadata);
    free(items);
    return status;
}

static strata_status check_rows(const strata_writer *w, strata_error *err)
{
    const strata_bundle *b = &w->bundle;
    if (w->committed || w->failed != STRATA_OK)
        return strata_fail(err, STRATA_INVALID, "%s: %s", w->path,
                           w->committed ? "already committed" : "an earlier write failed");
    for (int i = 1; i < b->array_count; i++)
        if (b->arrays[i].desc.dim[0] != b->arrays[0].desc.dim[0])
            return strata_fail(err, STRATA_INVALID, "%s: %s has %lld rows, but %s has %lld", w->path,
                               b->arrays[i].name, (long long)b->arrays[i].desc.dim[0], b->arrays[0].name,
                               (long long)b->arrays[0].desc.dim[0]);
    if (b->names != NULL && b->array_count > 0 && b->name_count != b->arrays[0].desc.dim[0])
        return strata_fail(err, STRATA_INVALID, "%s: %d names for %lld rows", w->path, b->name_count,
                           (long long)b->arrays[0].desc.dim[0]);
    for (int i = 0; i < b->array_count; i++)
        if (fflush(b->arrays[i].spool) != 0)
            return strata_fail(err, STRATA_IO, "%s: cannot write to a temporary file: %s", w->path,
                               strerror(errno));
    return STRATA_OK;
}

strata_status strata_writer_commit(strata_writer *w, strata_error *err)
{
    STRATA_TRY(check_rows(w, err));
    strata_atomic_file *file;
    STRATA_TRY(strata_atomic_open(w->path, &file, err));
    w->committed = true; /* formats use up the spools */
    strata_status status = w->format->write(&w->bundle, strata_atomic_stream(file), err);
    if (status == STRATA_OK)
        return strata_atomic_commit(file, err);
    strata_atomic_abort(file);
    return strata_fail_in(err, status, "%s", w->path);
}
