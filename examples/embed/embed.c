/* embed: an application with an event loop of its own (libuv) that extracts features without ever blocking it.
 *
 *     embed resnet18 a.png b.jpg ...     (random weights; a real program names a checkpoint)
 *
 *        the application's loop                      libuv's workers          threads of the session
 *        next photo -> uv_queue_work ------------->  decode, normalise
 *        decoded    -> strata_session_submit ------------------------------>  compute
 *        finished   <- uv_async_send <--------------------------------------  done
 *
 * The session calls `done` on a thread of its own, and uv_async_send is the one call of libuv that any thread may make:
 * everything else happens on the loop. A timer ticks meanwhile, to show that the loop is free. */
#define _POSIX_C_SOURCE 200809L /* for uv.h */
#include <strata/strata.h>

#include <math.h>
#include <stdlib.h>
#include <uv.h>

typedef struct app {
    uv_loop_t       loop;
    uv_work_t       decode;
    uv_async_t      finished;
    uv_timer_t      timer;
    char          **paths; /* NULL-terminated: those still to come */
    strata_context *ctx;
    strata_session *session;
    strata_input_record record;
    const strata_graph *graph;
    strata_tensor  *in, **out;
    strata_status   status; /* of the photo under way, with err */
    strata_error    err;
    int             ticks, rejected, failed;
} app;

static void next_photo(app *a);

/* ---- A photo's way ------------------------------------------------------------------------------------------------ */

static void decode(uv_work_t *work) /* on a worker */
{
    app          *a = work->data;
    strata_image *photo = NULL, *pixels = NULL;
    a->status = strata_image_load(*a->paths, false, &photo, &a->err);
    if (a->status == STRATA_OK)
        a->status = strata_image_preprocess(photo, &a->record, STRATA_PREPROCESS_MINDCV, &pixels, &a->err);
    if (a->status == STRATA_OK)
        strata_image_normalize(pixels, &a->record, strata_tensor_data(a->in));
    strata_image_destroy(photo);
    strata_image_destroy(pixels);
}

static void done(void *user, strata_status status, const strata_error *err) /* on a thread of the session */
{
    app *a = user;
    a->status = status;
    if (status != STRATA_OK)
        a->err = *err;
    uv_async_send(&a->finished); /* happens before the callback: what was written above is seen there */
}

static void decoded(uv_work_t *work, int status) /* on the loop, like all that follows */
{
    app *a = work->data;
    (void)status; /* nobody cancels */
    if (a->status == STRATA_OK)
        a->status = strata_session_submit(a->session, &a->in, a->out, done, a, &a->err);
    if (a->status == STRATA_OK)
        return;
    fprintf(stderr, "%s\n", a->err.text);
    a->rejected++;
    a->paths++;
    next_photo(a);
}

static double norm(const strata_tensor *t)
{
    const float *x = strata_tensor_data(t);
    double       sum = 0;
    for (int64_t i = 0, n = strata_count(strata_tensor_get_desc(t)); i < n; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum);
}

static void on_finished(uv_async_t *async)
{
    app *a = async->data;
    if (a->status != STRATA_OK) {
        fprintf(stderr, "%s: %s\n", *a->paths, a->err.text);
        a->failed++;
    } else {
        printf("%s\n", *a->paths);
        for (int i = 0; i < strata_graph_output_count(a->graph); i++) {
            char shape[64];
            printf("  %-8s %-16s norm %.6g\n", strata_graph_output(a->graph, i).name,
                   strata_shape_text(strata_tensor_get_desc(a->out[i]), shape, sizeof shape), norm(a->out[i]));
        }
    }
    a->paths++;
    next_photo(a);
}

static void on_tick(uv_timer_t *timer) { ((app *)timer->data)->ticks++; }

static void next_photo(app *a)
{
    if (!*a->paths) { /* nothing is under way: the loop ends when its handles are closed */
        uv_close((uv_handle_t *)&a->finished, NULL);
        uv_close((uv_handle_t *)&a->timer, NULL);
        return;
    }
    if (uv_queue_work(&a->loop, &a->decode, decode, decoded) != 0) {
        fprintf(stderr, "%s: cannot queue\n", *a->paths++);
        a->failed++;
        next_photo(a);
    }
}

/* ---- Before and after ---------------------------------------------------------------------------------------------- */

static strata_status prepare(app *a, const char *model)
{
    const strata_create_options how = { .features_only = true };
    strata_graph   *graph;
    strata_program *program;
    strata_status   status = strata_create_model(a->ctx, model, &how, &graph, &a->err);
    if (status != STRATA_OK)
        return status;
    status = strata_graph_bind_random(graph, 1, 2, &a->err);
    if (status != STRATA_OK) {
        strata_graph_destroy(graph);
        return status;
    }
    a->record = *strata_graph_input_record(graph);
    status = strata_program_create(graph, NULL, &program, &a->err); /* takes the graph */
    if (status != STRATA_OK)
        return status;
    status = strata_session_create(program, &a->session, &a->err);
    a->graph = strata_program_graph(program);
    if (status == STRATA_OK)
        status = strata_tensor_create(strata_graph_input(a->graph, 0).desc, &a->in, &a->err);
    a->out = calloc((size_t)strata_graph_output_count(a->graph), sizeof *a->out);
    if (status == STRATA_OK && a->out)
        status = strata_session_alloc_outputs(a->session, a->out, &a->err);
    strata_program_unref(program); /* the session keeps it */
    return a->out ? status : STRATA_NOMEM;
}

static void start(app *a)
{
    uv_loop_init(&a->loop);
    uv_async_init(&a->loop, &a->finished, on_finished);
    uv_timer_init(&a->loop, &a->timer);
    a->decode.data = a->finished.data = a->timer.data = a;
    uv_timer_start(&a->timer, on_tick, 1, 1);
    next_photo(a);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    uv_loop_close(&a->loop);
}

int main(int argc, char **argv)
{
    app a = { 0 };
    if (argc < 3)
        return fprintf(stderr, "usage: embed MODEL PHOTO...\n"), 2;
    a.paths = argv + 2;
    if (strata_context_create(&a.ctx, &a.err) != STRATA_OK || prepare(&a, argv[1]) != STRATA_OK) {
        fprintf(stderr, "%s\n", a.err.text);
        a.failed = 1;
    } else {
        start(&a);
        printf("%d rejected, %d failed; the loop %s\n", a.rejected, a.failed, a.ticks > 0 ? "kept ticking" : "stood still");
    }
    for (int i = 0; a.session && a.out && i < strata_graph_output_count(a.graph); i++)
        strata_tensor_unref(a.out[i]);
    free(a.out);
    strata_tensor_unref(a.in);
    strata_session_destroy(a.session);
    strata_context_destroy(a.ctx);
    return a.failed || a.rejected ? 1 : 0;
}
