/* loader.c: reads and preprocesses images ahead of the caller, in order.
 *
 *     caller                     loop thread                  libuv's workers
 *     next: waits for the        keeps at most `ahead`        decode, resize, crop, normalise
 *     oldest slot, takes it  ->  slots busy, queues work  ->  into the slot
 *          ^------------------------- slot ready <------------------'
 *
 * Image i lives in slot i % ahead. A slot is free until its image is queued and again once the caller has
 * taken it; that is the back-pressure. Results are handed out in the order of the paths because the caller
 * always waits for the oldest image, however the workers finish.
 *
 * One mutex guards the counters and the `ready` marks. The rest of a slot belongs to whoever holds it: the
 * loop thread until it queues the work, then a worker, then, once ready, the caller. Only the loop thread
 * calls libuv, except for uv_async_send, which any thread may. */
#include <strata/extend.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

typedef struct slot {
    uv_work_t       work;
    strata_loader  *loader;
    int             index; /* of the image in it */
    bool            ready;
    strata_status   status;
    strata_error    err;
    strata_tensor  *tensor;
    strata_image   *image;
} slot;

struct strata_loader {
    strata_loader_options options;
    char          **paths;
    int             count, ahead;
    slot           *slots;

    uv_loop_t       loop;
    uv_async_t      wake; /* a slot became free, or it is time to stop */
    bool            has_loop, has_wake, has_thread;
    pthread_t       thread;

    pthread_mutex_t lock;
    pthread_cond_t  some_ready;
    int             queued, taken; /* images, from the first on */
    bool            stopping;
};

/* ---- One image, on a worker -------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void unref(void *tensor)
{
    strata_tensor_unref(tensor);
}

/* An array that is used as it is: f32, [N,C,H,W], or [C,H,W], which becomes [1,C,H,W]. */
static strata_status load_array(const char *path, strata_tensor **out, strata_error *err)
{
    strata_tensor *t;
    STRATA_TRY(strata_npy_read(path, &t, err));
    const strata_tensor_desc *d = strata_tensor_get_desc(t);
    char shape[128];
    if (d->dtype != STRATA_F32 || (d->rank != 3 && d->rank != 4) || strata_count(d) < 1) {
        strata_fail(err, STRATA_FORMAT, "%s: an input array must be f32 [N,C,H,W] or [C,H,W], not %s %s",
                    path, strata_dtype_name(d->dtype), strata_shape_text(d, shape, sizeof shape));
        strata_tensor_unref(t);
        return STRATA_FORMAT;
    }
    if (d->rank == 4) {
        *out = t;
        return STRATA_OK;
    }
    strata_tensor_desc batch = strata_desc_f32(4, (int64_t[]){ 1, d->dim[0], d->dim[1], d->dim[2] });
    strata_status status = strata_tensor_wrap(&batch, strata_tensor_data(t), unref, t, out, err);
    if (status != STRATA_OK)
        strata_tensor_unref(t);
    return status;
}

static strata_status load_image(const char *path, const strata_loader_options *o, strata_tensor **tensor,
                                strata_image **image, strata_error *err)
{
    const strata_input_record *r = &o->record;
    strata_image *photo;
    STRATA_TRY(strata_image_load(path, o->ignore_exif, &photo, err));
    strata_status status = strata_image_preprocess(photo, r, o->flavour, image, err);
    strata_image_destroy(photo);
    if (status != STRATA_OK)
        return strata_fail_in(err, status, "%s", path);

    strata_tensor_desc desc = strata_desc_f32(4, (int64_t[]){ 1, r->channels, r->height, r->width });
    status = strata_tensor_create(&desc, tensor, err);
    if (status != STRATA_OK) {
        strata_image_destroy(*image);
        *image = NULL;
        return strata_fail_in(err, status, "%s", path);
    }
    strata_image_normalize(*image, r, strata_tensor_data(*tensor));
    return STRATA_OK;
}

static void do_work(uv_work_t *work)
{
    slot *s = work->data;
    const char *path = s->loader->paths[s->index];
    s->status = ends_with(path, ".npy")
                    ? load_array(path, &s->tensor, &s->err)
                    : load_image(path, &s->loader->options, &s->tensor, &s->image, &s->err);
}

/* ---- The loop thread --------------------------------------------------------------------------- */

static void set_ready(slot *s)
{
    strata_loader *l = s->loader;
    pthread_mutex_lock(&l->lock);
    s->ready = true;
    pthread_cond_signal(&l->some_ready);
    pthread_mutex_unlock(&l->lock);
}

static void after_work(uv_work_t *work, int status)
{
    if (status != UV_ECANCELED) /* only destroy cancels, and then nobody waits */
        set_ready(work->data);
}

static void queue(strata_loader *l, int index)
{
    slot *s = &l->slots[index % l->ahead];
    s->index = index;
    s->status = STRATA_OK;
    s->tensor = NULL;
    s->image = NULL;
    s->work.data = s;
    int code = uv_queue_work(&l->loop, &s->work, do_work, after_work);
    if (code != 0) {
        s->status =
            strata_fail(&s->err, STRATA_NOMEM, "%s: cannot queue: %s", l->paths[index], uv_strerror(code));
        set_ready(s);
    }
}

static void on_wake(uv_async_t *wake)
{
    strata_loader *l = wake->data;
    pthread_mutex_lock(&l->lock);
    bool stopping = l->stopping;
    int from = l->queued, to = l->taken + l->ahead < l->count ? l->taken + l->ahead : l->count;
    if (!stopping)
        l->queued = to;
    pthread_mutex_unlock(&l->lock);

    if (stopping) {
        for (int i = 0; i < l->ahead; i++)
            if (l->slots[i].work.data != NULL)
                uv_cancel((uv_req_t *)&l->slots[i].work); /* what runs already is waited for */
        uv_close((uv_handle_t *)wake, NULL);
        return;
    }
    for (int i = from; i < to; i++)
        queue(l, i);
}

static void *run_loop(void *loader)
{
    strata_loader *l = loader;
    uv_run(&l->loop, UV_RUN_DEFAULT); /* until `wake` is closed and all work is done */
    return NULL;
}

/* ---- The caller -------------------------------------------------------------------------------- */

static strata_status start(strata_loader *l, strata_error *err)
{
    int code = uv_loop_init(&l->loop);
    l->has_loop = code == 0;
    if (code == 0) {
        code = uv_async_init(&l->loop, &l->wake, on_wake);
        l->has_wake = code == 0;
        l->wake.data = l;
    }
    if (code != 0)
        return strata_fail(err, STRATA_IO, "loader: cannot start: %s", uv_strerror(code));
    uv_async_send(&l->wake);
    code = pthread_create(&l->thread, NULL, run_loop, l);
    l->has_thread = code == 0;
    if (code != 0)
        return strata_fail(err, STRATA_IO, "loader: cannot start a thread: %s", strerror(code));
    return STRATA_OK;
}

static strata_status copy_paths(strata_loader *l, const char *const *paths, int count, strata_error *err)
{
    l->paths = calloc((size_t)count + 1, sizeof *l->paths);
    l->slots = calloc((size_t)l->ahead, sizeof *l->slots);
    bool ok = l->paths != NULL && l->slots != NULL;
    for (int i = 0; ok && i < count; i++) {
        l->paths[i] = strdup(paths[i]);
        ok = l->paths[i] != NULL;
    }
    if (!ok)
        return strata_fail(err, STRATA_NOMEM, "loader: out of memory");
    for (int i = 0; i < l->ahead; i++)
        l->slots[i].loader = l;
    return STRATA_OK;
}

/* Preprocesses one pixel, so that a wrong record is one error now and not one for each image. */
static strata_status check_options(const strata_loader_options *o, strata_error *err)
{
    if (o->record.channels < 1)
        return strata_fail(err, STRATA_INVALID, "loader: channels must be positive, not %d",
                           o->record.channels);
    for (int c = 0; c < 3; c++)
        if (!(o->record.std[c] > 0))
            return strata_fail(err, STRATA_INVALID, "loader: std[%d] must be positive, not %g", c,
                               o->record.std[c]);
    strata_image *pixel, *result;
    STRATA_TRY(strata_image_create(1, 1, NULL, &pixel, err));
    strata_status status = strata_image_preprocess(pixel, &o->record, o->flavour, &result, err);
    strata_image_destroy(pixel);
    strata_image_destroy(result);
    return status;
}

strata_status strata_loader_create(strata_context *ctx, const char *const *paths, int count,
                                   const strata_loader_options *options, strata_loader **out,
                                   strata_error *err)
{
    *out = NULL;
    if (count < 0 || options->ahead < 0)
        return strata_fail(err, STRATA_INVALID, "loader: count %d and ahead %d must not be negative", count,
                           options->ahead);
    STRATA_TRY(check_options(options, err));
    strata_loader *l = calloc(1, sizeof *l);
    if (l == NULL)
        return strata_fail(err, STRATA_NOMEM, "loader: out of memory");
    l->options = *options;
    l->count = count;
    l->ahead = options->ahead != 0 ? options->ahead : 2 * (int)uv_available_parallelism();
    if (l->ahead > count)
        l->ahead = count > 0 ? count : 1;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->some_ready, NULL);
    strata_status status = copy_paths(l, paths, count, err);
    if (status == STRATA_OK)
        status = start(l, err);
    if (status != STRATA_OK) {
        strata_loader_destroy(l);
        return status;
    }
    strata_log(ctx, STRATA_LOG_DEBUG, "loader: %d inputs, %d at once", count, l->ahead);
    *out = l;
    return STRATA_OK;
}

bool strata_loader_next(strata_loader *l, int *index, strata_tensor **tensor, strata_image **image,
                        strata_status *item_status, strata_error *item_err)
{
    *tensor = NULL;
    if (image != NULL)
        *image = NULL;
    pthread_mutex_lock(&l->lock);
    if (l->taken == l->count) {
        pthread_mutex_unlock(&l->lock);
        return false;
    }
    slot *s = &l->slots[l->taken % l->ahead];
    while (!s->ready)
        pthread_cond_wait(&l->some_ready, &l->lock);
    *index = s->index;
    *item_status = s->status;
    *tensor = s->tensor;
    if (s->status != STRATA_OK && item_err != NULL)
        *item_err = s->err;
    strata_image *pixels = s->image;
    s->tensor = NULL;
    s->image = NULL;
    s->ready = false;
    l->taken++;
    pthread_mutex_unlock(&l->lock);

    uv_async_send(&l->wake);
    if (image != NULL)
        *image = pixels;
    else
        strata_image_destroy(pixels);
    return true;
}

void strata_loader_destroy(strata_loader *l)
{
    if (l == NULL)
        return;
    if (l->has_thread) {
        pthread_mutex_lock(&l->lock);
        l->stopping = true;
        pthread_mutex_unlock(&l->lock);
        uv_async_send(&l->wake);
        pthread_join(l->thread, NULL);
    } else if (l->has_wake) {
        uv_close((uv_handle_t *)&l->wake, NULL);
        uv_run(&l->loop, UV_RUN_DEFAULT);
    }
    if (l->has_loop)
        uv_loop_close(&l->loop);
    for (int i = 0; l->slots != NULL && i < l->ahead; i++) {
        strata_tensor_unref(l->slots[i].tensor);
        strata_image_destroy(l->slots[i].image);
    }
    for (int i = 0; l->paths != NULL && i < l->count; i++)
        free(l->paths[i]);
    free(l->slots);
    free(l->paths);
    pthread_cond_destroy(&l->some_ready);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
