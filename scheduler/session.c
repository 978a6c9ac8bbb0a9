/* Sessions: memory for one run at a time. A program of a single part runs on the caller's thread; what has several
 * parts, or runs in the background, goes through the dispatcher. */
#include "session.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- Frames ------------------------------------------------------------------------------------------------- */

/* Host address of a value on `device`; NULL when it is not in host memory, or belongs to a tensor of the caller. */
static void *host_address(const strata_session *s, const strata_node *n, int device)
{
    const value_place    *place = &s->p->place[n->id];
    const program_device *d     = &s->p->device[device];
    if (place->kind == PLACE_DATA) {
        const strata_node *root = s->p->piece->nodes.at[place->root];
        return root->data ? strata_tensor_data(root->data) : NULL;
    }
    if (place->kind == PLACE_ARENA && d->backend->host_memory)
        return (char *)d->backend->map(s->arena[device]) + place->offset;
    return NULL;
}

static void fill_view(strata_session *s, strata_view *view, const strata_node *n, int device)
{
    const value_place *place = &s->p->place[n->id];
    *view = (strata_view){ .desc = &n->desc, .data = host_address(s, n, device) };
    if (place->kind == PLACE_ARENA) {
        view->buffer = s->arena[device];
        view->offset = place->offset;
    } else if (place->kind == PLACE_INPUT || place->kind == PLACE_OUTPUT) {
        s->slots[s->slot_count++] = (tensor_slot){ &view->data, place->kind, place->index, strata_count(&n->desc) };
    }
}

static void fill_frames(strata_session *s)
{
    const strata_program *p = s->p;
    for (int i = 0; i < p->part_count; i++)
        for (int k = p->parts[i].first_step; k < p->parts[i].first_step + p->parts[i].step_count; k++) {
            const int             device = p->parts[i].device;
            const program_device *d      = &p->device[device];
            const strata_node    *n      = p->steps[k].node;
            strata_frame         *f      = &s->frames[k];
            for (int j = 0; j < STEP_OPERANDS; j++)
                if (strata_step_operand(&p->steps[k], j))
                    fill_view(s, j < STRATA_MAX_OPERANDS ? &f->in[j] : &f->beside[j - STRATA_MAX_OPERANDS],
                              strata_step_operand(&p->steps[k], j), device);
            fill_view(s, &f->out, n, device);
            if (p->steps[k].workspace > 0) {
                f->workspace = (strata_view){ .buffer = s->arena[device], .offset = p->workspace[k] };
                if (d->backend->host_memory)
                    f->workspace.data = (float *)(void *)((char *)d->backend->map(s->arena[device]) + p->workspace[k]);
            }
        }
}

static strata_status record_parts(strata_session *s, strata_error *err)
{
    const strata_program *p = s->p;
    for (int i = 0; i < p->part_count; i++) {
        const program_part   *part = &p->parts[i];
        const program_device *d    = &p->device[part->device];
        if (part->step_count > 0)
            STRATA_TRY(d->backend->record(d->device, p->steps + part->first_step, s->frames + part->first_step,
                                          part->step_count, &s->recordings[i], err));
    }
    return STRATA_OK;
}

/* ---- Life --------------------------------------------------------------------------------------------------- */

/* Puts before an error that the arena of a device could not be had: how large it is, and for what mostly. */
static void blame_largest(const strata_program *p, int device, strata_status status, strata_error *err)
{
    const strata_node *largest = NULL;
    char               shape[96];
    for (int i = 0; i < p->step_count; i++) {
        const strata_node *n = p->steps[i].node;
        if (n->device == device && p->place[n->id].kind == PLACE_ARENA &&
            (!largest || strata_bytes(&n->desc) > strata_bytes(&largest->desc)))
            largest = n;
    }
    if (largest)
        strata_fail_in(err, status, "%s: %zu MiB for the values of '%s', the largest of which is %s %s", p->device[device].backend->name,
                       p->device[device].arena >> 20, p->graph->name, largest->name,
                       strata_shape_text(&largest->desc, shape, sizeof shape));
}

static strata_status allocate(strata_session *s, strata_error *err)
{
    const strata_program *p = s->p;
    size_t staging = 0, slots = (size_t)p->step_count * (STEP_OPERANDS + 1);
    for (int i = 0; i < p->transfer_count; i++)
        if (strata_bytes(&p->transfers[i].to->desc) > staging)
            staging = strata_bytes(&p->transfers[i].to->desc);
    s->frames     = calloc((size_t)p->step_count + 1, sizeof *s->frames);
    s->slots      = calloc(slots + 1, sizeof *s->slots);
    s->recordings = calloc((size_t)p->part_count + 1, sizeof *s->recordings);
    s->ms         = calloc((size_t)p->step_count * (size_t)p->pieces + 1, sizeof *s->ms);
    s->staging    = malloc(staging + 1);
    s->in         = calloc((size_t)p->graph->inputs.count + 1, sizeof *s->in);
    s->out        = calloc((size_t)p->graph->outputs.count + 1, sizeof *s->out);
    if (!s->frames || !s->slots || !s->recordings || !s->ms || !s->staging || !s->in || !s->out)
        return strata_fail(err, STRATA_NOMEM, "no memory for a session of '%s'", p->graph->name);
    strata_status status = STRATA_OK;
    for (int i = 0; i < p->device_count && status == STRATA_OK; i++)
        if (p->device[i].arena > 0) {
            status = p->device[i].backend->alloc(p->device[i].device, p->device[i].arena, &s->arena[i], err);
            if (status != STRATA_OK)
                blame_largest(p, i, status, err);
        }
    return status;
}

strata_status strata_session_create(strata_program *p, strata_session **out, strata_error *err)
{
    strata_session *s = calloc(1, sizeof *s);
    if (!s)
        return strata_fail(err, STRATA_NOMEM, "no memory for a session of '%s'", p->graph->name);
    s->p = strata_program_ref(p);
    atomic_init(&s->busy, false);
    strata_error  why    = { 0 };
    strata_status status = allocate(s, &why);
    if (status == STRATA_OK) {
        fill_frames(s);
        status = record_parts(s, &why);
    }
    if (status == STRATA_OK) {
        *out = s;
        return status;
    }
    strata_session_destroy(s);
    if (err)
        *err = why;
    if (!strata_may_fall_back(p, status))
        return status;
    strata_program *cpu;
    STRATA_TRY(strata_fall_back(p, why.text, &cpu, err));
    status = strata_session_create(cpu, out, err);
    strata_program_unref(cpu);
    return status;
}

void strata_session_destroy(strata_session *s)
{
    if (!s)
        return;
    const strata_program *p = s->p;
    strata_dispatcher_destroy(s->dispatcher);
    strata_session_destroy(s->instead);
    for (int i = 0; s->recordings && i < p->part_count; i++)
        if (s->recordings[i])
            p->device[p->parts[i].device].backend->discard(p->device[p->parts[i].device].device, s->recordings[i]);
    for (int i = 0; i < p->device_count; i++)
        if (s->arena[i])
            p->device[i].backend->free(p->device[i].device, s->arena[i]);
    free(s->frames);
    free(s->slots);
    free(s->recordings);
    free(s->ms);
    free(s->staging);
    free(s->in);
    free(s->out);
    strata_program_unref(s->p);
    free(s);
}

strata_status strata_session_alloc_outputs(const strata_session *s, strata_tensor **out, strata_error *err)
{
    const strata_graph *g = s->p->graph;
    for (int i = 0; i < g->outputs.count; i++) {
        strata_status status = strata_tensor_create(&g->outputs.at[i].node->desc, &out[i], err);
        if (status != STRATA_OK) {
            while (i-- > 0)
                strata_tensor_unref(out[i]);
            return status;
        }
    }
    return STRATA_OK;
}

/* ---- Parts -------------------------------------------------------------------------------------------------- */

/* Where the caller's tensors or host memory hold the value, or NULL. */
static void *reachable(const strata_session *s, const strata_node *n)
{
    const value_place *place = &s->p->place[n->id];
    if (place->kind == PLACE_INPUT)
        return strata_tensor_data(s->in[place->index]);
    if (place->kind == PLACE_OUTPUT)
        return strata_tensor_data(s->out[place->index]);
    return host_address(s, n, n->device);
}

static strata_status transfer(strata_session *s, const program_transfer *t, strata_error *err)
{
    const strata_program *p     = s->p;
    const size_t          bytes = strata_bytes(&t->to->desc);
    const program_device *a = &p->device[t->from->device], *b = &p->device[t->to->device];
    void *from = reachable(s, t->from), *to = reachable(s, t->to);
    void *host = from ? from : to ? to : s->staging;
    if (!from)
        STRATA_TRY(a->backend->read(s->arena[t->from->device], p->place[t->from->id].offset, host, bytes, err));
    if (!to)
        return b->backend->write(s->arena[t->to->device], p->place[t->to->id].offset, host, bytes, err);
    if (from)
        memcpy(to, from, bytes);
    return STRATA_OK;
}

/* Points the frames at a piece's rows of the request's tensors. Where there are several pieces there is one part, so that
 * nobody else looks at the frames. */
static void aim(strata_session *s, int piece)
{
    for (int i = 0; i < s->slot_count; i++) {
        const tensor_slot *slot = &s->slots[i];
        float *rows = strata_tensor_data(slot->kind == PLACE_INPUT ? s->in[slot->index] : s->out[slot->index]);
        *slot->data = rows + piece * slot->count;
    }
}

strata_status strata_session_run_part(strata_session *s, int i, strata_error *err)
{
    const program_part   *part = &s->p->parts[i];
    const program_device *d    = &s->p->device[part->device];
    for (int k = 0; k < part->transfer_count; k++)
        STRATA_TRY(transfer(s, &s->p->transfers[part->first_transfer + k], err));
    for (int piece = 0; piece < s->p->pieces && part->step_count > 0; piece++) {
        double (*ms)[2] = s->ms + piece * s->p->step_count + part->first_step;
        if (piece > 0)
            aim(s, piece);
        STRATA_TRY(d->backend->run(d->device, s->recordings[i], s->profile ? ms : NULL, err));
    }
    return STRATA_OK;
}

/* ---- Requests ----------------------------------------------------------------------------------------------- */

static strata_status check_tensor(const strata_tensor *t, const char *kind, const char *name,
                                  const strata_tensor_desc *wanted, strata_error *err)
{
    char one[128], two[128];
    if (!t)
        return strata_fail(err, STRATA_INVALID, "%s '%s' is NULL", kind, name);
    const strata_tensor_desc *desc = strata_tensor_get_desc(t);
    if (desc->dtype != wanted->dtype || desc->layout != STRATA_NCHW || !strata_same_shape(desc, wanted))
        return strata_fail(err, STRATA_SHAPE, "%s '%s' is %s%s, the program wants %s%s", kind, name,
                           strata_dtype_name(desc->dtype), strata_shape_text(desc, one, sizeof one),
                           strata_dtype_name(wanted->dtype), strata_shape_text(wanted, two, sizeof two));
    return STRATA_OK;
}

static strata_status check_tensors(const strata_session *s, strata_tensor *const *in, strata_tensor *const *out,
                                   strata_error *err)
{
    const strata_graph *g = s->p->graph;
    for (int i = 0; i < g->inputs.count; i++)
        STRATA_TRY(check_tensor(in[i], "input", g->inputs.at[i]->name, &g->inputs.at[i]->desc, err));
    for (int i = 0; i < g->outputs.count; i++) {
        STRATA_TRY(check_tensor(out[i], "output", g->outputs.at[i].name, &g->outputs.at[i].node->desc, err));
        for (int k = 0; k < i; k++)
            if (strata_tensor_data(out[k]) == strata_tensor_data(out[i]))
                return strata_fail(err, STRATA_INVALID, "outputs '%s' and '%s' share one tensor", g->outputs.at[k].name,
                                   g->outputs.at[i].name);
        for (int k = 0; k < g->inputs.count; k++)
            if (strata_tensor_data(in[k]) == strata_tensor_data(out[i]))
                return strata_fail(err, STRATA_INVALID, "output '%s' is an input's tensor", g->outputs.at[i].name);
    }
    return STRATA_OK;
}

/* Makes the session busy with these tensors, with references to them. */
static strata_status begin(strata_session *s, strata_tensor *const *in, strata_tensor *const *out, strata_error *err)
{
    const strata_graph *g = s->p->graph;
    STRATA_TRY(check_tensors(s, in, out, err));
    if (atomic_exchange(&s->busy, true))
        return strata_fail(err, STRATA_BUSY, "the session is running another request; use a session per thread");
    for (int i = 0; i < g->inputs.count; i++)
        s->in[i] = strata_tensor_ref(in[i]);
    for (int i = 0; i < g->outputs.count; i++)
        s->out[i] = strata_tensor_ref(out[i]);
    aim(s, 0);
    return STRATA_OK;
}

static void end(strata_session *s)
{
    const strata_graph *g = s->p->graph;
    for (int i = 0; i < g->inputs.count; i++)
        strata_tensor_unref(s->in[i]);
    for (int i = 0; i < g->outputs.count; i++)
        strata_tensor_unref(s->out[i]);
    atomic_store(&s->busy, false);
}

typedef struct request { /* of submit: what to call when the session is free again */
    strata_session *session;
    strata_done_fn  done;
    void           *user;
} request;

static void finish(void *user, strata_status status, const strata_error *err)
{
    request      r = *(request *)user;
    strata_error other;
    free(user);
    if (strata_may_fall_back(r.session->p, status)) {
        status = strata_session_run_instead(r.session, err->text, &other);
        err    = &other;
    }
    end(r.session);
    r.done(r.user, status, err);
}

strata_status strata_session_submit(strata_session *s, strata_tensor *const *in, strata_tensor *const *out,
                                    strata_done_fn done, void *user, strata_error *err)
{
    if (s->instead)
        return strata_session_submit(s->instead, in, out, done, user, err);
    STRATA_TRY(begin(s, in, out, err));
    request      *r      = malloc(sizeof *r);
    strata_status status = r ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "no memory for a request");
    if (status == STRATA_OK && !s->dispatcher)
        status = strata_dispatcher_create(s, &s->dispatcher, err);
    if (status != STRATA_OK) {
        free(r);
        end(s);
        return status;
    }
    *r = (request){ s, done, user };
    strata_dispatcher_start(s->dispatcher, finish, r);
    return STRATA_OK;
}

typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t  ended;
    bool            over;
    strata_status   status;
    strata_error   *err;
} waiter;

static void wake(void *user, strata_status status, const strata_error *err)
{
    waiter *w = user;
    pthread_mutex_lock(&w->lock);
    w->status = status;
    if (status != STRATA_OK && w->err)
        *w->err = *err;
    w->over = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

strata_status strata_session_run(strata_session *s, strata_tensor *const *in, strata_tensor *const *out, strata_error *err)
{
    if (s->instead)
        return strata_session_run(s->instead, in, out, err);
    if (s->p->part_count == 1) {
        STRATA_TRY(begin(s, in, out, err));
        strata_error  why    = { 0 };
        strata_status status = strata_session_run_part(s, 0, &why);
        if (strata_may_fall_back(s->p, status))
            status = strata_session_run_instead(s, why.text, &why);
        if (status != STRATA_OK && err)
            *err = why;
        end(s);
        return status;
    }
    waiter w = { .lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER, .err = err };
    STRATA_TRY(strata_session_submit(s, in, out, wake, &w, err));
    pthread_mutex_lock(&w.lock);
    while (!w.over)
        pthread_cond_wait(&w.ended, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.ended);
    pthread_mutex_destroy(&w.lock);
    return w.status;
}

/* ---- Tuning ------------------------------------------------------------------------------------------------- */

strata_status strata_session_tune(strata_session *s, strata_tuned_fn fn, void *user, strata_error *err)
{
    if (s->instead)
        return strata_session_tune(s->instead, fn, user, err);
    const strata_program *p = s->p;
    const program_device *d = &p->device[0];
    if (!d->backend->tune)
        return strata_fail(err, STRATA_UNSUPPORTED, "there is nothing to tune on %s:%d %s; --device names another",
                           d->backend->name, d->info.index, d->info.name);
    if (atomic_exchange(&s->busy, true))
        return strata_fail(err, STRATA_BUSY, "the session is running a request");
    strata_status status = STRATA_OK;
    for (int i = 0; i < p->part_count && status == STRATA_OK; i++) {
        const program_part *part = &p->parts[i];
        if (part->device == 0 && part->step_count > 0)
            status = d->backend->tune(d->device, p->steps + part->first_step, s->frames + part->first_step,
                                      part->step_count, fn, user, err);
    }
    atomic_store(&s->busy, false);
    return status;
}

/* ---- Profile ------------------------------------------------------------------------------------------------ */

void strata_session_enable_profile(strata_session *s, bool on)
{
    s->profile = on;
    if (s->instead)
        strata_session_enable_profile(s->instead, on);
}

int strata_session_step_count(const strata_session *s)
{
    return s->instead ? strata_session_step_count(s->instead) : s->p->step_count;
}

int strata_session_piece_count(const strata_session *s)
{
    return s->instead ? strata_session_piece_count(s->instead) : s->p->pieces;
}

strata_step_profile strata_session_piece_step(const strata_session *s, int piece, int i)
{
    if (s->instead)
        return strata_session_piece_step(s->instead, piece, i);
    const strata_program *p = s->p;
    const strata_node    *n = p->steps[i].node;
    const double         *ms = s->ms[piece * p->step_count + i];
    strata_step_profile   profile = { .node = n->name, .op = n->op->name, .kernel = n->kernel->name,
                                      .device = p->device[n->device].backend->name, .start_ms = ms[0], .ms = ms[1],
                                      .macs = n->op->macs ? n->op->macs(n) : 0 };
    profile.bytes = strata_bytes(&n->desc);
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        if (strata_step_operand(&p->steps[i], k))
            profile.bytes += strata_bytes(&strata_step_operand(&p->steps[i], k)->desc);
    const strata_node *absorbed = strata_step_first(&p->steps[i]);
    for (int k = 1; k < STRATA_MAX_OPERANDS && absorbed != n; k++)
        if (absorbed->in[k])
            profile.bytes += strata_bytes(&absorbed->in[k]->desc);
    if (absorbed != n && absorbed->op->macs)
        profile.macs += absorbed->op->macs(absorbed);
    return profile;
}

strata_step_profile strata_session_step(const strata_session *s, int i)
{
    strata_step_profile all = strata_session_piece_step(s, 0, i);
    for (int piece = 1; piece < strata_session_piece_count(s); piece++) {
        const strata_step_profile one = strata_session_piece_step(s, piece, i);
        all.ms += one.ms;
        all.macs += one.macs;
        all.bytes += one.bytes;
    }
    return all;
}
