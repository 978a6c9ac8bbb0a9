/* atomic_file.c: write to a temporary file beside the target, sync, rename.
 *
 * rename(2) replaces the target in one step, so a reader sees the old file or the new one, never half of it.
 * fsync before the rename keeps that true over a power cut: file systems may otherwise write the name before
 * the bytes. A target that is a symbolic link stays one: the file that it points to is replaced. */
#include "atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct strata_atomic_file {
    FILE *stream;
    char *target; /* links resolved */
    char *temp;   /* NULL: the target is no regular file and is written directly */
};

enum { MAX_ATTEMPTS = 100 };

static void destroy(strata_atomic_file *f)
{
    if (f == NULL)
        return;
    if (f->stream != NULL)
        fclose(f->stream);
    free(f->target);
    free(f->temp);
    free(f);
}

/* Creates "DIR/.BASE.XXXXXX.tmp" with the permissions that the umask gives, or those of the file to be
 * replaced. (mkstemp would make it private, and so the result.) Returns a descriptor, or -1 with errno
 * set. */
static int create_temp(strata_atomic_file *f, const struct stat *old)
{
    const char *slash = strrchr(f->target, '/');
    int dir = slash != NULL ? (int)(slash + 1 - f->target) : 0;
    /* A file name may have 255 bytes: long ones are cut to leave room for the rest of the temporary name. */
    size_t size = strlen(f->target) + 48;
    f->temp = malloc(size);
    if (f->temp == NULL) {
        errno = ENOMEM;
        return -1;
    }
    for (unsigned attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        unsigned tag = (unsigned)now.tv_nsec * 2654435761u ^ (unsigned)getpid() * 40503u ^ attempt * 97u;
        snprintf(f->temp, size, "%.*s.%.200s.%08x.tmp", dir, f->target, f->target + dir, tag);
        int fd = open(f->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 && old != NULL)
            (void)fchmod(fd, old->st_mode & 0777); /* a courtesy: failure changes nothing that matters */
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

strata_status strata_atomic_open(const char *path, strata_atomic_file **out, strata_error *err)
{
    *out = NULL;
    strata_atomic_file *f = calloc(1, sizeof *f);
    if (f == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", path);

    struct stat old;
    bool exists = stat(path, &old) == 0;
    int fd = -1;
    if (exists && S_ISDIR(old.st_mode)) {
        errno = EISDIR;
        goto fail;
    }
    f->target = exists && S_ISREG(old.st_mode) ? realpath(path, NULL) : strdup(path);
    if (f->target == NULL)
        goto fail;
    if (exists && !S_ISREG(old.st_mode)) {
        fd = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        fd = create_temp(f, exists ? &old : NULL);
    }
    if (fd < 0)
        goto fail;
    f->stream = fdopen(fd, f->temp != NULL ? "w+b" : "wb");
    if (f->stream == NULL)
        goto fail;
    *out = f;
    return STRATA_OK;

fail:;
    int code = errno;
    if (fd >= 0) {
        close(fd);
        if (f->temp != NULL)
            unlink(f->temp);
    }
    destroy(f);
    return strata_fail(err, code == ENOMEM ? STRATA_NOMEM : STRATA_IO, "%s: cannot write: %s", path,
                       strerror(code));
}

FILE *strata_atomic_stream(strata_atomic_file *f)
{
    return f->stream;
}

const char *strata_atomic_temp_path(const strata_atomic_file *f)
{
    return f->temp != NULL ? f->temp : f->target;
}

/* Makes the new name itself durable. The file is whole either way, so failure is not an error. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd = dir != NULL ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(dir);
}

/* A stream remembers that a write failed, not why. The temporary file is lost, and what stopped it (a full disk, a limit)
 * stops another write at its end. 0: nothing does any more. */
static int why_a_write_failed(const strata_atomic_file *f)
{
    static const char zeros[1 << 16];
    if (f->temp == NULL || lseek(fileno(f->stream), 0, SEEK_END) < 0)
        return 0;
    ssize_t written = 0;
    for (int i = 0; i < 16 && written >= 0; i++) /* the rest of the room may still be taken */
        written = write(fileno(f->stream), zeros, sizeof zeros);
    return written < 0 ? errno : 0;
}

strata_status strata_atomic_commit(strata_atomic_file *f, strata_error *err)
{
    errno = 0;
    const bool failed_before = ferror(f->stream);
    bool ok = !failed_before && fflush(f->stream) == 0;
    ok = ok && (f->temp == NULL || fsync(fileno(f->stream)) == 0);
    int code = failed_before ? why_a_write_failed(f) : errno;
    if (fclose(f->stream) != 0 && ok) {
        ok = false;
        code = errno;
    }
    f->stream = NULL;
    if (ok && f->temp != NULL && rename(f->temp, f->target) != 0) {
        ok = false;
        code = errno;
    }
    strata_status status = STRATA_OK;
    if (ok && f->temp != NULL) {
        sync_folder(f->target);
    } else if (!ok) {
        status = strata_fail(err, STRATA_IO, "%s: cannot write: %s", f->target,
                             code != 0 ? strerror(code) : "an earlier write failed");
        if (f->temp != NULL)
            unlink(f->temp);
    }
    destroy(f);
    return status;
}

void strata_atomic_abort(strata_atomic_file *f)
{
    if (f != NULL && f->temp != NULL)
        unlink(f->temp);
    destroy(f);
}
