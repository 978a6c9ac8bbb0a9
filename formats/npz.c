/* npz.c: writes the archives of numpy.savez: a zip file with a member NAME.npy per array, not compressed.
 *
 * Feature maps are noise to a compressor, and stored members can be mapped by readers. Texts become arrays of
 * numpy's type <U (UTF-32, padded with zeros): `names` with one element per row, the others with no dims. All
 * members bear zip's oldest date, so equal content makes equal files. libzip writes through a source of our
 * own, since the target is a stream that somebody else commits; it uses zip64 where sizes ask for it. */
#include "npy.h"
#include "writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

/* ---- The archive's bytes go to a FILE ------------------------------------------------------------------ */

typedef struct target {
    FILE       *file;
    zip_error_t error;
} target;

static zip_int64_t target_fail(target *t, int code)
{
    zip_error_set(&t->error, code, errno);
    return -1;
}

static zip_int64_t target_seek(target *t, void *data, zip_uint64_t length)
{
    zip_source_args_seek_t *args = ZIP_SOURCE_GET_ARGS(zip_source_args_seek_t, data, length, &t->error);
    if (args == NULL)
        return -1;
    return fseeko(t->file, args->offset, args->whence) == 0 ? 0 : target_fail(t, ZIP_ER_SEEK);
}

static zip_int64_t target_tell(target *t)
{
    off_t at = ftello(t->file);
    return at >= 0 ? at : target_fail(t, ZIP_ER_TELL);
}

static zip_int64_t target_command(void *user, void *data, zip_uint64_t length, zip_source_cmd_t command)
{
    target *t = user;
    switch (command) {
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
            ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, ZIP_SOURCE_BEGIN_WRITE,
            ZIP_SOURCE_COMMIT_WRITE, ZIP_SOURCE_ROLLBACK_WRITE, ZIP_SOURCE_WRITE, ZIP_SOURCE_SEEK_WRITE,
            ZIP_SOURCE_TELL_WRITE, ZIP_SOURCE_REMOVE, -1);
    case ZIP_SOURCE_STAT: {
        struct stat st;
        if (fflush(t->file) != 0 || fstat(fileno(t->file), &st) != 0)
            return target_fail(t, ZIP_ER_READ);
        zip_stat_init(data);
        ((zip_stat_t *)data)->size = (zip_uint64_t)st.st_size;
        ((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
        return sizeof(zip_stat_t);
    }
    case ZIP_SOURCE_READ: {
        size_t got = fread(data, 1, length, t->file);
        return got > 0 || !ferror(t->file) ? (zip_int64_t)got : target_fail(t, ZIP_ER_READ);
    }
    case ZIP_SOURCE_WRITE:
        return fwrite(data, 1, length, t->file) == length ? (zip_int64_t)length
                                                          : target_fail(t, ZIP_ER_WRITE);
    case ZIP_SOURCE_SEEK:
    case ZIP_SOURCE_SEEK_WRITE: return target_seek(t, data, length);
    case ZIP_SOURCE_TELL:
    case ZIP_SOURCE_TELL_WRITE: return target_tell(t);
    case ZIP_SOURCE_OPEN:
    case ZIP_SOURCE_BEGIN_WRITE: return fseeko(t->file, 0, SEEK_SET) == 0 ? 0 : target_fail(t, ZIP_ER_SEEK);
    case ZIP_SOURCE_COMMIT_WRITE: return fflush(t->file) == 0 ? 0 : target_fail(t, ZIP_ER_WRITE);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_ROLLBACK_WRITE: /* the owner of the file throws it away */
    case ZIP_SOURCE_REMOVE:
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&t->error, data, length);
    default: return target_fail(t, ZIP_ER_OPNOTSUPP);
    }
}

/* ---- Members ------------------------------------------------------------------------------------------- */

/* Adds NAME.npy: writes its header over the room at the start of the spool, which then goes to libzip. */
static strata_status add_member(zip_t *archive, const char *name, const char *descr,
                                const strata_tensor_desc *desc, FILE **spool, strata_error *err)
{
    char header[STRATA_NPY_HEADER], member[1100];
    strata_npy_make_header(header, descr, desc->rank, desc->dim);
    if (fseeko(*spool, 0, SEEK_SET) != 0 || fwrite(header, 1, sizeof header, *spool) != sizeof header ||
        fflush(*spool) != 0 || ferror(*spool) || fseeko(*spool, 0, SEEK_SET) != 0) /* libzip starts here */
        return strata_fail(err, STRATA_IO, "%s: cannot write to a temporary file: %s", name, strerror(errno));

    zip_source_t *source = zip_source_filep(archive, *spool, 0, -1);
    if (source == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: %s", name, zip_strerror(archive));
    *spool = NULL; /* closed with the source */
    snprintf(member, sizeof member, "%s.npy", name);
    zip_int64_t index = zip_file_add(archive, member, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source);
        return strata_fail(err, STRATA_INVALID, "%s: %s", name, zip_strerror(archive));
    }
    enum { DOS_1980_01_01 = 1 << 5 | 1 };
    if (zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive, (zip_uint64_t)index, 0, DOS_1980_01_01, 0) != 0)
        return strata_fail(err, STRATA_IO, "%s: %s", name, zip_strerror(archive));
    return STRATA_OK;
}

static int text_length(const char *text)
{
    int length = 0;
    while (*text != '\0') {
        strata_utf8_next(&text);
        length++;
    }
    return length;
}

/* `text` in UTF-32, little-endian, filled up to `width` characters. */
static void write_utf32(FILE *to, const char *text, int width)
{
    for (int i = 0; i < width; i++) {
        uint32_t c = *text != '\0' ? strata_utf8_next(&text) : 0;
        for (int k = 0; k < 4; k++)
            putc((int)(c >> 8 * k & 0xff), to);
    }
}

/* Adds an array of texts; rank 0 stands for the single text. */
static strata_status add_texts(zip_t *archive, const char *folder, const char *name, char *const *texts,
                               int count, int rank, strata_error *err)
{
    static const char room[STRATA_NPY_HEADER];
    int width = 1;
    for (int i = 0; i < count; i++) {
        int length = text_length(texts[i]);
        width = length > width ? length : width;
    }
    FILE *spool;
    STRATA_TRY(strata_spool_open(folder, &spool, err));
    fwrite(room, 1, sizeof room, spool);
    for (int i = 0; i < count; i++)
        write_utf32(spool, texts[i], width);

    char descr[16];
    snprintf(descr, sizeof descr, "<U%d", width);
    strata_tensor_desc desc = { .rank = rank, .dim = { count } };
    strata_status status = add_member(archive, name, descr, &desc, &spool, err);
    if (spool != NULL)
        fclose(spool);
    return status;
}

static strata_status add_all(strata_bundle *b, zip_t *archive, strata_error *err)
{
    for (int i = 0; i < b->array_count; i++) {
        strata_spooled *a = &b->arrays[i];
        STRATA_TRY(add_member(archive, a->name, strata_npy_descr(a->desc.dtype), &a->desc, &a->spool, err));
    }
    for (int i = 0; i < b->text_count; i++)
        STRATA_TRY(add_texts(archive, b->folder, b->texts[i].key, &b->texts[i].value, 1, 0, err));
    if (b->names != NULL)
        STRATA_TRY(add_texts(archive, b->folder, "names", b->names, b->name_count, 1, err));
    return STRATA_OK;
}

strata_status strata_bundle_to_npz(strata_bundle *b, FILE *to, strata_error *err)
{
    target t = { .file = to };
    zip_error_t error;
    zip_error_init(&error);
    zip_error_init(&t.error);
    zip_source_t *sink = zip_source_function_create(target_command, &t, &error);
    zip_t *archive = sink != NULL ? zip_open_from_source(sink, ZIP_CREATE | ZIP_TRUNCATE, &error) : NULL;
    strata_status status = STRATA_OK;
    if (archive == NULL) {
        status = strata_fail(err, STRATA_IO, "cannot start the archive: %s", zip_error_strerror(&error));
        zip_source_free(sink);
    } else {
        status = add_all(b, archive, err);
        if (status == STRATA_OK && zip_close(archive) != 0)
            status = strata_fail(err, STRATA_IO, "cannot write the archive: %s", zip_strerror(archive));
        if (status != STRATA_OK)
            zip_discard(archive);
    }
    zip_error_fini(&error);
    zip_error_fini(&t.error);
    return status;
}
