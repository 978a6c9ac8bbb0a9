/* talk.h: everything a person reads that is not data. Talk goes to stderr, data to stdout. */
#ifndef STRATA_TOOLS_TALK_H
#define STRATA_TOOLS_TALK_H

#include <strata/strata.h>

#include <jansson.h>

/* The exit codes that scripts rely on; see strata(1). */
enum exit_code {
    EXIT_DONE       = 0,
    EXIT_UNEXPECTED = 1,
    EXIT_USAGE      = 2,
    EXIT_REJECTED   = 3, /* finished, but some inputs were rejected */
    EXIT_WEIGHTS    = 4,
    EXIT_DEVICE     = 5,
    EXIT_FILES      = 6,
    EXIT_UNKNOWN    = 7  /* model or selector */
};

/* What was being done when a library call failed: the same status means another exit code at each. */
enum stage { STAGE_MODEL, STAGE_SELECT, STAGE_WEIGHTS, STAGE_DEVICE, STAGE_RUN, STAGE_FILES };

void talk_setup(bool quiet, bool verbose);
/* "strata: error: ..." and returns code. The text ends with the next step where there is one. */
int talk_error(int code, const char *fmt, ...) STRATA_PRINTF(2, 3);
/* The same for a failed call of the library; `next` (NULL: none) is appended after "; ". */
int  talk_failure(enum stage stage, const strata_error *err, const char *next);
void talk_warning(const char *fmt, ...) STRATA_PRINTF(1, 2);
/* A line of the transcript: the label in its column, then the text. Silent with --quiet. */
void talk_line(const char *label, const char *fmt, ...) STRATA_PRINTF(2, 3);
/* The log callback of every context. */
void talk_log(void *user, strata_log_level level, const char *text);
bool talk_is_quiet(void);

/* A line that is overwritten, with share, rate and time left; only on a terminal. */
void   talk_progress(size_t done, size_t total, double seconds);
double talk_seconds(void); /* monotonic */
/* "1.5 GiB" into buf; returns buf. */
const char *talk_bytes(double bytes, char *buf, size_t size);
/* "25.6 M" */
const char *talk_count(double count, char *buf, size_t size);

/* A JSON string of any bytes: where they are not UTF-8, as file names may be, those above 127 become "\\xNN".
 */
json_t *talk_json_text(const char *text);
/* Prints and frees `value`, a line or many; the error is noticed by talk_finish. NULL: out of memory. */
int talk_json(json_t *value);
/* Flushes stdout. A full disk or a closed pipe is an error: returns EXIT_FILES instead of EXIT_DONE. */
int talk_finish(int code);
/* Whether `path`, given with `option`, can become a file: not a folder, in a folder that can be written.
 * Says what is wrong and returns EXIT_FILES if not. */
int talk_check_target(const char *option, const char *path);

#endif
