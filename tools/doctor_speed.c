/* doctor_speed.c: what a device moves and computes in a second: two graphs of a few nodes, made larger until a step takes
 * long enough to be measured, and timed by the device's own clock where it has one. */
#include "doctor.h"
#include "talk.h"

#include <string.h>

enum { RUNS = 3 };
static const double ENOUGH_MS = 4;
/* GPUs slow down while nothing runs, and take a while to come back. */
static const double WARM_UP_SECONDS = 0.15;

/* The least time of the step of node "y", ms. */
static strata_status time_step(strata_context *ctx, const char *text, const char *device, double warm_up, double *ms,
                               strata_error *err)
{
    strata_graph   *g;
    strata_program *p = NULL;
    strata_session *s = NULL;
    strata_tensor  *in = NULL, *out = NULL;
    *ms = 0;
    STRATA_TRY(strata_graph_parse(ctx, "speed", text, strlen(text), &g, err));
    strata_status status = strata_graph_bind_random(g, 1, 2, err);
    if (status != STRATA_OK) {
        strata_graph_destroy(g);
        return status;
    }
    strata_tensor_desc desc = *strata_graph_input(g, 0).desc;
    status = strata_program_create(g, &(strata_program_options){ .device = device, .pipeline = "" }, &p, err);
    if (status == STRATA_OK)
        status = strata_session_create(p, &s, err);
    if (status == STRATA_OK)
        status = strata_tensor_create(&desc, &in, err);
    if (status == STRATA_OK)
        status = strata_session_alloc_outputs(s, &out, err);
    if (status == STRATA_OK)
        strata_session_enable_profile(s, true);
    const double begin = talk_seconds();
    do
        status = status == STRATA_OK ? strata_session_run(s, &in, &out, err) : status;
    while (status == STRATA_OK && talk_seconds() - begin < warm_up);
    for (int i = 0; i < RUNS && status == STRATA_OK; i++) {
        status = strata_session_run(s, &in, &out, err);
        for (int k = 0; status == STRATA_OK && k < strata_session_step_count(s); k++) {
            strata_step_profile step = strata_session_step(s, k);
            if (strcmp(step.node, "y") == 0 && (*ms == 0 || step.ms < *ms))
                *ms = step.ms;
        }
    }
    strata_tensor_unref(in);
    strata_tensor_unref(out);
    strata_session_destroy(s);
    strata_program_unref(p);
    return status;
}

strata_status doctor_speed(strata_context *ctx, const strata_device_info *info, struct speed *out, strata_error *err)
{
    char         device[96], text[512];
    double       ms = 0;
    const double warm_up = strcmp(info->type, "cpu") == 0 ? 0 : WARM_UP_SECONDS;
    int          side = 64;
    snprintf(device, sizeof device, "%s:%d", info->backend, info->index);
    for (; side <= 512; side *= 2) { /* 64 maps of side x side, read and written: 2 to 134 MB */
        snprintf(text, sizeof text,
                 "graph \"stream\" { input %%x : f32[1,64,%d,%d]  %%y = neg(%%x) : f32[1,64,%d,%d]"
                 "  %%z = global_avg_pool(%%y) : f32[1,64,1,1]  output \"z\" = %%z }",
                 side, side, side, side);
        STRATA_TRY(time_step(ctx, text, device, warm_up, &ms, err));
        if (ms > 0)
            out->gbps = 2.0 * 64 * side * side * 4 / ms / 1e6;
        if (ms > ENOUGH_MS)
            break;
    }
    for (side = 8; side <= 64; side *= 2) { /* [n,n] times [n,n], n = side^2: 64 to 4096 */
        const int n = side * side;
        snprintf(text, sizeof text,
                 "graph \"product\" { input %%x : f32[1,%d,%d,%d]  param @weight : f32[%d,%d,1,1]"
                 "  %%y = conv2d(%%x, @weight) : f32[1,%d,%d,%d]  %%z = global_avg_pool(%%y) : f32[1,%d,1,1]"
                 "  output \"z\" = %%z }",
                 n, side, side, n, n, n, side, side, n);
        STRATA_TRY(time_step(ctx, text, device, warm_up, &ms, err));
        if (ms > 0)
            out->gflops = 2.0 * n * n * n / ms / 1e6;
        snprintf(out->what, sizeof out->what, "f32, %d x %d x %d", n, n, n);
        if (ms > ENOUGH_MS)
            break;
    }
    return STRATA_OK;
}
