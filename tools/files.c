/* files.c: see the header. What is written goes to a temporary file in the same folder, renamed when it is
 * whole. */
#include "files.h"

#include "talk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

bool has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), k = strlen(suffix);
    return n >= k && strcasecmp(path + n - k, suffix) == 0;
}

int read_stream(FILE *from, const char *name, char **text, size_t *size)
{
    size_t capacity = 0;
    *text = NULL;
    *size = 0;
    do {
        if (capacity - *size < 4096) {
            capacity = capacity ? 2 * capacity : 65536;
            char *grown = realloc(*text, capacity);
            if (!grown)
                return talk_error(EXIT_UNEXPECTED, "out of memory");
            *text = grown;
        }
        *size += fread(*text + *size, 1, capacity - *size, from);
    } while (!feof(from) && !ferror(from));
    if (ferror(from))
        return talk_error(EXIT_FILES, "'%s': %s", name, strerror(errno));
    return EXIT_DONE;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static bool written_in_place(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

/* mkstemp makes files that only we may read; this gives the file the rights of any other new file. */
static void usual_rights(int fd)
{
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(fd, 0666 & ~mask);
}

static int open_scratch(struct outfile *out)
{
    if (asprintf(&out->scratch, "%s.XXXXXX", out->path) < 0) {
        out->scratch = NULL;
        errno = ENOMEM;
        return -1;
    }
    int fd = mkstemp(out->scratch);
    if (fd < 0)
        return -1;
    usual_rights(fd);
    out->stream = fdopen(fd, "w");
    if (!out->stream)
        close(fd);
    return out->stream ? 0 : -1;
}

int outfile_open(const char *option, const char *path, struct outfile *out)
{
    *out = (struct outfile){ .stream = stdout, .path = path };
    if (!path)
        return EXIT_DONE;
    out->stream = NULL;
    int code = talk_check_target(option, path);
    if (code)
        return code;
    if (written_in_place(path))
        out->stream = fopen(path, "w");
    else if (open_scratch(out) != 0)
        out->stream = NULL;
    return out->stream ? EXIT_DONE : talk_error(EXIT_FILES, "%s: '%s': %s", option, path, strerror(errno));
}

int outfile_close(struct outfile *out, bool keep)
{
    int code = EXIT_DONE;
    if (out->path && out->stream) {
        bool failed = ferror(out->stream) != 0;
        failed = fclose(out->stream) != 0 || failed;
        if (!failed && keep && out->scratch)
            failed = rename(out->scratch, out->path) != 0;
        if (failed)
            code = talk_error(EXIT_FILES, "'%s': %s; it is as it was before", out->path, strerror(errno));
        if ((failed || !keep) && out->scratch)
            unlink(out->scratch);
    }
    free(out->scratch);
    *out = (struct outfile){ 0 };
    return code;
}
