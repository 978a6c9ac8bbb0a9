/* files.h: reading a whole file, and writing one that appears under its name only when it is whole. */
#ifndef STRATA_TOOLS_FILES_H
#define STRATA_TOOLS_FILES_H

#include <stdbool.h>
#include <stdio.h>

bool has_suffix(const char *path, const char *suffix); /* whatever the case */

/* Everything in `from`, into memory that the caller frees (also after an error). Returns an exit code, after
 * saying what is wrong with `name`. */
int read_stream(FILE *from, const char *name, char **text, size_t *size);

struct outfile {
    FILE       *stream;
    const char *path;    /* NULL: stdout */
    char       *scratch; /* the temporary file; NULL when written in place */
};

/* `path` NULL is stdout; devices and pipes are written as they are. Returns an exit code, after saying what
 * is wrong with `option`. */
int outfile_open(const char *option, const char *path, struct outfile *out);
/* With `keep`, the file takes its name; without, nothing is left behind. Returns an exit code. */
int outfile_close(struct outfile *out, bool keep);

#endif
