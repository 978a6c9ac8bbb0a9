/* A session: the working memory of a program, and the state of its one request. */
#ifndef STRATA_SCHEDULER_SESSION_H
#define STRATA_SCHEDULER_SESSION_H

#include "program.h"

typedef struct tensor_slot { /* a pointer of a frame that follows the caller's tensors */
    float    **data;
    place_kind kind; /* PLACE_INPUT or PLACE_OUTPUT */
    int        index;
    int64_t    count; /* elements of one piece */
} tensor_slot;

typedef struct strata_dispatcher strata_dispatcher;

struct strata_session {
    strata_program *p;
    strata_buffer  *arena[PROGRAM_MAX_DEVICES];
    strata_frame   *frames; /* by step */
    tensor_slot    *slots;
    int             slot_count;
    void          **recordings; /* by part; NULL where a part has no steps */
    void           *staging;    /* for transfers between devices that both have memory of their own */
    strata_tensor **in, **out;  /* of the running request */
    double (*ms)[2];            /* by piece and step: start and duration in the last run */
    bool               profile;
    atomic_bool        busy;
    strata_dispatcher *dispatcher; /* from the first request that needs one */
    strata_session    *instead;    /* on the CPU, after a failure of the device; see fallback.c */
};

/* Runs part i of the current request; from any thread, parts in an order that the plan allows. */
strata_status strata_session_run_part(strata_session *s, int i, strata_error *err);
/* The current request, which has failed, on the CPU. */
strata_status strata_session_run_instead(strata_session *s, const char *why, strata_error *err);

/* ---- dispatch.c: parts side by side, requests in the background; the one place that knows libuv ---------------- */

strata_status strata_dispatcher_create(strata_session *s, strata_dispatcher **out, strata_error *err);
/* Starts the current request of the session. `done` is called on the dispatcher's thread. */
void strata_dispatcher_start(strata_dispatcher *d, strata_done_fn done, void *user);
/* Waits for a running request, then for the thread. NULL is fine. */
void strata_dispatcher_destroy(strata_dispatcher *d);

#endif
