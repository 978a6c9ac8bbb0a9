/* outfile.h: a text file that appears under its name only when it is whole. */
#ifndef STRATA_TOOLS_OUTFILE_H
#define STRATA_TOOLS_OUTFILE_H

#include <stdbool.h>
#include <stdio.h>

struct outfile {
    FILE       *stream;
    const char *path;    /* NULL: stdout */
    char       *scratch; /* the temporary file; NULL when written in place */
};

/* `path` NULL is stdout; devices and pipes are written as they are. Returns an exit code, after saying what is
 * wrong with `option`. */
int outfile_open(const char *option, const char *path, struct outfile *out);
/* With `keep`, the file takes its name; without, nothing is left behind. Returns an exit code. */
int outfile_close(struct outfile *out, bool keep);

#endif
