/* Requests in the background and parts side by side. One thread runs a libuv loop; parts are coarse pieces of work on
 * libuv's thread pool (what runs fast inside a part is the backend's own pool). When a part ends, the parts that
 * waited for it alone are queued. After a failure nothing new is started. */
#include "session.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

typedef struct part_work {
    uv_work_t          work;
    strata_dispatcher *d;
    int                part, waits_for;
    strata_status      status;
    strata_error       err;
} part_work;

struct strata_dispatcher {
    strata_session *session;
    uv_loop_t       loop;
    uv_thread_t     thread;
    uv_async_t      wake; /* a request or the end has come */
    uv_mutex_t      lock; /* over the next three */
    bool            started, closing;
    strata_done_fn  done;
    void           *user;
    part_work      *works; /* one per part; loop thread and, while queued, one worker */
    int             running; /* loop thread only, like the rest */
    strata_done_fn  current_done;
    void           *current_user;
    strata_status   status;
    strata_error    err;
};

static void start_part(strata_dispatcher *d, int part);

static void run_part(uv_work_t *work)
{
    part_work *w = work->data;
    w->status    = strata_session_run_part(w->d->session, w->part, &w->err);
}

static void finish_request(strata_dispatcher *d)
{
    strata_done_fn done = d->current_done;
    d->current_done     = NULL;
    strata_error err    = d->err; /* `done` may start the next request */
    done(d->current_user, d->status, &err);
}

static void after_part(uv_work_t *work, int cancelled)
{
    part_work          *w    = work->data;
    strata_dispatcher  *d    = w->d;
    const program_part *part = &d->session->p->parts[w->part];
    if (cancelled)
        w->status = strata_fail(&w->err, STRATA_INTERNAL, "part %d was cancelled", w->part);
    if (w->status != STRATA_OK && d->status == STRATA_OK)
        d->status = w->status, d->err = w->err;
    d->running--;
    for (int i = 0; d->status == STRATA_OK && i < part->successor_count; i++)
        if (--d->works[part->successors[i]].waits_for == 0)
            start_part(d, part->successors[i]);
    if (d->running == 0)
        finish_request(d);
}

static void start_part(strata_dispatcher *d, int part)
{
    part_work *w = &d->works[part];
    d->running++;
    w->work.data = w;
    int code     = uv_queue_work(&d->loop, &w->work, run_part, after_part);
    if (code != 0) {
        d->running--;
        d->status = strata_fail(&d->err, STRATA_NOMEM, "libuv cannot queue a part: %s", uv_strerror(code));
    }
}

static void start_request(strata_dispatcher *d)
{
    const strata_program *p = d->session->p;
    d->status               = STRATA_OK;
    for (int i = 0; i < p->part_count; i++)
        d->works[i] = (part_work){ .d = d, .part = i, .waits_for = p->parts[i].waits_for };
    for (int i = 0; i < p->part_count && d->status == STRATA_OK; i++)
        if (p->parts[i].waits_for == 0)
            start_part(d, i);
    if (d->running == 0)
        finish_request(d);
}

static void on_wake(uv_async_t *async)
{
    strata_dispatcher *d = async->data;
    uv_mutex_lock(&d->lock);
    bool started = d->started, closing = d->closing;
    d->started = false;
    if (started)
        d->current_done = d->done, d->current_user = d->user;
    uv_mutex_unlock(&d->lock);
    if (started)
        start_request(d);
    if (closing && !uv_is_closing((uv_handle_t *)async))
        uv_close((uv_handle_t *)async, NULL); /* the loop ends when the last part has */
}

static void run_loop(void *arg)
{
    strata_dispatcher *d = arg;
    uv_run(&d->loop, UV_RUN_DEFAULT);
}

strata_status strata_dispatcher_create(strata_session *s, strata_dispatcher **out, strata_error *err)
{
    int                code = UV_ENOMEM;
    strata_dispatcher *d    = calloc(1, sizeof *d);
    if (!d)
        goto no_dispatcher;
    d->session = s;
    d->works   = calloc((size_t)s->p->part_count + 1, sizeof *d->works);
    if (!d->works)
        goto no_works;
    code = uv_loop_init(&d->loop);
    if (code != 0)
        goto no_works;
    code = uv_mutex_init(&d->lock);
    if (code != 0)
        goto no_lock;
    code = uv_async_init(&d->loop, &d->wake, on_wake);
    if (code != 0)
        goto no_async;
    d->wake.data = d;
    code         = uv_thread_create(&d->thread, run_loop, d);
    if (code != 0)
        goto no_thread;
    *out = d;
    return STRATA_OK;

no_thread:
    uv_close((uv_handle_t *)&d->wake, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
no_async:
    uv_mutex_destroy(&d->lock);
no_lock:
    uv_loop_close(&d->loop);
no_works:
    free(d->works);
    free(d);
no_dispatcher:
    return strata_fail(err, STRATA_NOMEM, "libuv cannot start: %s", uv_strerror(code));
}

void strata_dispatcher_start(strata_dispatcher *d, strata_done_fn done, void *user)
{
    uv_mutex_lock(&d->lock);
    d->started = true;
    d->done    = done;
    d->user    = user;
    uv_mutex_unlock(&d->lock);
    uv_async_send(&d->wake);
}

void strata_dispatcher_destroy(strata_dispatcher *d)
{
    if (!d)
        return;
    uv_mutex_lock(&d->lock);
    d->closing = true;
    uv_mutex_unlock(&d->lock);
    uv_async_send(&d->wake);
    uv_thread_join(&d->thread);
    uv_loop_close(&d->loop);
    uv_mutex_destroy(&d->lock);
    free(d->works);
    free(d);
}
