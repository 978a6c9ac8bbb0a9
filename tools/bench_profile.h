/* bench_profile.h: where the time of an inference goes, step by step. */
#ifndef STRATA_TOOLS_BENCH_PROFILE_H
#define STRATA_TOOLS_BENCH_PROFILE_H

#include <strata/strata.h>

#include <jansson.h>

struct profile {
    strata_step_profile *steps; /* of whole batches; ms is the least of all runs */
    strata_step_profile *last;  /* of the last run added, a piece of the batch after the other */
    int                  count, pieces;
};

/* The last finished run of a session whose profile is enabled. The session must outlive the profile: names
 * are borrowed. Returns an exit code. */
int     profile_add(struct profile *p, const strata_session *s);
void    profile_free(struct profile *p);
int     profile_table(const struct profile *p, FILE *to); /* the slowest first; an exit code */
json_t *profile_json(const struct profile *p);            /* in order of execution */
/* Trace events of the last run for chrome://tracing and ui.perfetto.dev, a track per device. An exit code. */
int     profile_trace(const struct profile *p, const char *title, FILE *to);

#endif
