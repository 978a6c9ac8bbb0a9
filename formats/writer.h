/* writer.h: what a file of named arrays is made from, shared by the writer and its formats. */
#ifndef STRATA_FORMATS_WRITER_H
#define STRATA_FORMATS_WRITER_H

#include <strata/extend.h>

/* An array whose rows lie in a file without a name: STRATA_NPY_HEADER bytes of room, then the data. */
typedef struct strata_spooled {
    char              *name;
    strata_tensor_desc desc; /* dim[0]: rows so far */
    FILE              *spool;
} strata_spooled;

typedef struct strata_text {
    char *key, *value; /* UTF-8 */
} strata_text;

typedef struct strata_bundle {
    strata_spooled *arrays;
    strata_text    *texts;
    char          **names; /* one per row; NULL when not given. UTF-8 */
    int             array_count, text_count, name_count;
    const char     *folder; /* where spool files go */
} strata_bundle;

/* A format writes the whole bundle to `to`. It may use up the spools. */
strata_status strata_bundle_to_npz(strata_bundle *b, FILE *to, strata_error *err);

/* A file in `folder` that has no name, so nothing is left behind however the program ends. */
strata_status strata_spool_open(const char *folder, FILE **out, strata_error *err);

/* The next character of valid UTF-8. */
uint32_t strata_utf8_next(const char **at);

#endif
