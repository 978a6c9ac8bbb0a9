/* outfile.c: a temporary file in the same folder, renamed when it is whole. */
#include "outfile.h"

#include "talk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
