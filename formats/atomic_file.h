/* atomic_file.h: files that appear whole or not at all.
 *
 *     strata_atomic_file *f;
 *     STRATA_TRY(strata_atomic_open("out.npz", &f, err));
 *     ... write to strata_atomic_stream(f) ...
 *     return strata_atomic_commit(f, err);           (or strata_atomic_abort(f))
 *
 * The bytes go to a temporary file in the folder of the target, which commit renames over the target after
 * everything has reached the disk. Until then, and after an abort, the target is untouched. A target that is
 * no regular file (a pipe, /dev/null) is written directly: there is nothing to replace. */
#ifndef STRATA_FORMATS_ATOMIC_FILE_H
#define STRATA_FORMATS_ATOMIC_FILE_H

#include <strata/extend.h>

typedef struct strata_atomic_file strata_atomic_file;

strata_status strata_atomic_open(const char *path, strata_atomic_file **out, strata_error *err);
/* Binary, for reading and writing; seekable for regular files. The stream belongs to `f`. */
FILE *strata_atomic_stream(strata_atomic_file *f);
/* The name of the file that the stream writes to: for libraries that insist on a name. */
const char *strata_atomic_temp_path(const strata_atomic_file *f);
/* Both destroy `f`, whatever happens; abort takes NULL. Write errors that the stream remembers (ferror) and
 * those of flushing, syncing and renaming are IO errors, and then the target is untouched. */
strata_status strata_atomic_commit(strata_atomic_file *f, strata_error *err);
void          strata_atomic_abort(strata_atomic_file *f);

#endif
