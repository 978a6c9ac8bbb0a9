/* extract.h: the parts of 'strata extract', in the order in which an image meets them.
 *
 *     inputs.c           what to read
 *     extract_sizes.c    a compiled program per input size
 *     extract_pump.c     loader -> two buffers -> session -> writer, all at once
 *     extract_sides.c    --picture and --dump-input
 *     extract_values.c   --dump-values
 *     extract_stats.c    --stats and --check-finite
 *     extract_record.c   how the arrays were made
 *     cmd_extract.c      the order of it all, and the transcript
 */
#ifndef STRATA_TOOLS_EXTRACT_H
#define STRATA_TOOLS_EXTRACT_H

#include "inputs.h"
#include "model_options.h"

#include <strata/strata.h>

#include <jansson.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

/* ---- extract_values.c ------------------------------------------------------------------------------ */

struct value_file {
    char              *path, *scratch; /* scratch: the temporary file; NULL once it has its name */
    strata_tensor_desc desc;           /* of all rows so far */
};

struct values {
    const char        *glob, *folder; /* NULL: none are wanted */
    struct value_file *at;
    int                count;
    bool               told;
};

/* Runs the options' passes over g and makes what matches an output too. Returns an exit code. */
int values_select(struct values *v, const struct model *m, strata_graph *g, int64_t batch);
/* The next rows of the i-th value, called `name`. */
int  values_append(struct values *v, int i, const char *name, const strata_tensor *rows);
int  values_write(struct values *v); /* gives the files their names */
void values_free(struct values *v);

/* ---- extract_stats.c ------------------------------------------------------------------------------- */

struct array_stats {
    char    *name, *first; /* first: the row where something is not finite; NULL: none */
    uint64_t finite, nans, infs;
    double   min, max, mean, m2; /* of the finite values; m2: the sum of squares around the mean */
};

struct stats {
    bool                wanted; /* else only what is not finite is counted */
    struct array_stats *at;
    int                 count;
};

/* More rows of an output; row_names has one for each. Outputs come in order the first time. */
int     stats_add(struct stats *all, int output, const char *name, const strata_tensor *rows,
                  const char *const *row_names);
json_t *stats_json(const struct stats *all);
int     stats_print(const struct stats *all, FILE *to);
/* Warns of NaN and Inf; with `strict`, there being any is an error. Returns an exit code. */
int  stats_check(const struct stats *all, bool strict);
void stats_free(struct stats *all);

/* ---- extract_sizes.c ------------------------------------------------------------------------------- */

/* A batch on its way: filled by us, then read and written by the session, then read by the writer. */
struct slot {
    strata_tensor  *input; /* [batch,C,H,W] */
    strata_tensor **outputs;
    int             rows; /* filled so far; the rest is padding */
    sem_t           done;
    bool            has_done; /* the semaphore exists */
    strata_status   status; /* of the run, once done */
    strata_error    err;
};

struct sized {
    int64_t         height, width;
    uint64_t        used; /* when, by the set's clock */
    strata_program *program;
    strata_session *session;
    struct slot     slots[2];
    int             batch;
    int             output_count, kept; /* the first `kept` are the arrays, the rest values to dump */
};

/* Weights are loaded once; graphs are built, bound and compiled for each size that comes along. The least
 * recently used goes when there are more than a few. */
enum { SIZES_KEPT = 4, MOST_OUTPUTS = 4096 };
struct size_set {
    struct model *model;
    struct values values;
    int           batch; /* halved as long as that many images do not fit into the device */
    uint64_t      clock;
    struct sized  at[SIZES_KEPT];
};

/* The program for this size; `g` (NULL: built here) is the graph of that size, taken in any case. Pointers
 * got earlier may be gone. Returns an exit code; EXIT_USAGE: the model cannot be built at this size. */
int  sizes_get(struct size_set *set, int64_t height, int64_t width, strata_graph *g, struct sized **out);
void sizes_free(struct size_set *set);

/* ---- extract_sides.c ------------------------------------------------------------------------- */

struct sides {
    const struct options *options;
    strata_input_record   record;
    strata_image         *pixels; /* of the first row, until the picture is made */
    strata_image         *picture;
    float                *inputs; /* every row, when they are to be dumped */
    size_t                used, capacity;
    strata_tensor_desc    input_desc;
};

/* Of each row that was accepted, in order. `image` NULL: a tensor; taken in any case. */
int  sides_input(struct sides *s, const strata_tensor *rows, strata_image *image, bool first);
int  sides_outputs(struct sides *s, const strata_graph *g,
                   strata_tensor *const *outputs); /* of the first batch */
int  sides_write(struct sides *s);
void sides_free(struct sides *s);

/* ---- extract_pump.c -------------------------------------------------------------------------- */

struct pump {
    struct size_set     sizes;
    struct sides        sides;
    struct stats         stats;
    strata_writer      *writer;
    const char         *out; /* its path */
    const struct inputs *inputs;
    struct sized       *current; /* NULL before the first image */
    int                 filling; /* which slot */
    struct slot        *running; /* NULL: none */
    char              **names;   /* one per row */
    int rows, name_capacity, written, rejected, pictured; /* rows that have a name; those written */
    strata_tensor_desc  shapes[MOST_OUTPUTS]; /* of the outputs of the first program */
    int64_t             first_size[2];
};

/* Runs everything the loader gives. Rejected inputs are told and counted. Returns an exit code. */
int  pump_run(struct pump *p, strata_loader *loader, const volatile sig_atomic_t *stop);
void pump_free(struct pump *p);

/* ---- extract_record.c ------------------------------------------------------------------------ */

/* Reads the weights file once more in the background, to hash it. */
struct file_hash {
    const char *path;
    pthread_t   thread;
    bool        started;
    char        hex[65]; /* "" when the file could not be read */
};
int         file_hash_start(struct file_hash *h, const char *path);
const char *file_hash_wait(struct file_hash *h);

/* The text that goes with the arrays; the caller frees it. NULL: out of memory. `record` has the size used.
 */
char *record_text(const struct model *m, const strata_program *program, const strata_input_record *record,
                  const char *sha256, const struct stats *stats);

#endif
