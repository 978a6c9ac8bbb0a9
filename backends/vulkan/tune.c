/* tune.c: measures what gemm.c can choose between, for each convolution of a part, and keeps what beats its estimate in the
 * table of tuning.h.
 *
 * All steps run, one at a time, once for each tile shape and split factor: so weights come from memory as they do in
 * earnest. Each step's time is the least of several runs. */
#include "tuning.h"

#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 5, SPLIT_FACTORS = 6 }; /* 1, 2, 4, ... */

/* GPUs slow down between two programs, and take a while to come back. */
static const double WARM_UP_MS = 150;
/* Two in a hundred are noise. */
static const double GAIN = 0.98;

typedef struct geometry {
    vk_conv conv;
    int     first, nodes; /* the first step with it, and how many have it */
    double  estimated_ms, best_ms;
    int     tile;         /* the best */
    uint32_t splits;
} geometry;

typedef struct tuner {
    strata_device     *dev;
    const strata_step *steps;
    strata_frame      *frames; /* with scratch memory of the tuner's own */
    int                count;
    strata_dtype       dtype;
    geometry          *kind;
    int                kinds;
    int               *kind_of; /* by step; -1: nothing to choose */
    double           (*ms)[2];
    strata_buffer      scratch;
} tuner;

/* Whether the implicit product computes the step, and how. */
static bool plan_of(const strata_step *s, vk_conv *c, vk_gemm *g)
{
    if (s->kernel != &vk_kernel_conv2d && s->kernel != &vk_kernel_conv2d_scaled && s->kernel != &vk_kernel_dense)
        return false;
    *c = vk_conv_of(s->node);
    return vk_gemm_plan(s->device, c, s->node->desc.dtype, g);
}

static void sort_steps(tuner *t)
{
    for (int i = 0; i < t->count; i++) {
        vk_conv c;
        vk_gemm g;
        t->kind_of[i] = -1;
        if (!plan_of(&t->steps[i], &c, &g))
            continue;
        int k = 0;
        while (k < t->kinds && memcmp(&t->kind[k].conv, &c, sizeof c) != 0)
            k++;
        if (k == t->kinds)
            t->kind[t->kinds++] = (geometry){ .conv = c, .first = i };
        t->kind[k].nodes++;
        t->kind_of[i] = k;
        t->dtype = t->steps[i].node->desc.dtype;
    }
}

/* Scratch memory for the largest step as the device is configured now. Steps share it: they run one at a time. */
static strata_status make_room(tuner *t, strata_error *err)
{
    size_t most = 0;
    for (int i = 0; i < t->count; i++) {
        vk_conv c;
        vk_gemm g;
        if (t->kind_of[i] >= 0 && plan_of(&t->steps[i], &c, &g) && vk_gemm_workspace(&c, &g) > most)
            most = vk_gemm_workspace(&c, &g);
    }
    vk_free(t->dev, &t->scratch.slice);
    t->scratch = (strata_buffer){ .device = t->dev };
    if (most > 0)
        STRATA_TRY(vk_alloc(t->dev, most, &t->scratch.slice, err));
    for (int i = 0; i < t->count; i++)
        if (t->kind_of[i] >= 0)
            t->frames[i].workspace = (strata_view){ .buffer = &t->scratch };
    return STRATA_OK;
}

static void lower(double *least, double ms)
{
    if (*least == 0 || ms < *least)
        *least = ms;
}

/* Runs all steps as the device is configured. tile -1: by the estimate. */
static strata_status measure(tuner *t, int tile, uint32_t splits, strata_error *err)
{
    void *recording;
    STRATA_TRY(make_room(t, err));
    STRATA_TRY(vk_record(t->dev, t->steps, t->frames, t->count, &recording, err));
    strata_status status = STRATA_OK;
    const double  begin = vk_now_ms();
    do
        status = vk_run(t->dev, recording, NULL, err);
    while (status == STRATA_OK && !t->dev->imitation && vk_now_ms() - begin < WARM_UP_MS);
    double *least = calloc((size_t)t->kinds + 1, sizeof *least);
    if (!least)
        status = strata_fail(err, STRATA_NOMEM, "vulkan: no memory to tune");
    for (int round = 0; round < ROUNDS && status == STRATA_OK; round++) {
        status = vk_run(t->dev, recording, t->ms, err);
        for (int i = 0; i < t->count && status == STRATA_OK; i++)
            if (t->kind_of[i] >= 0)
                lower(&least[t->kind_of[i]], t->ms[i][1]);
    }
    for (int k = 0; k < t->kinds && status == STRATA_OK; k++) {
        geometry *g = &t->kind[k];
        if (tile < 0)
            g->estimated_ms = least[k];
        else if (g->best_ms == 0 || least[k] < g->best_ms)
            g->best_ms = least[k], g->tile = tile, g->splits = splits;
    }
    free(least);
    vk_discard(t->dev, recording);
    return status;
}

static strata_status try_all(tuner *t, strata_error *err)
{
    vk_config *config = &t->dev->instance->config;
    const int  tiles = vk_gemm_tiles(t->dev, t->dtype), tile = config->tile, split = config->split;
    STRATA_TRY(measure(t, -1, 0, err));
    strata_status status = STRATA_OK;
    for (int i = 0; i < tiles * SPLIT_FACTORS && status == STRATA_OK; i++) {
        config->tile = 1 + i / SPLIT_FACTORS;
        config->split = 1 << i % SPLIT_FACTORS;
        status = measure(t, i / SPLIT_FACTORS, 1u << i % SPLIT_FACTORS, err);
    }
    config->tile = tile;
    config->split = split;
    return status;
}

static strata_status keep(const tuner *t, strata_tuned_fn fn, void *user, strata_error *err)
{
    vk_tuned *list = calloc((size_t)t->kinds + 1, sizeof *list);
    int       count = 0;
    if (!list)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory to tune");
    for (int k = 0; k < t->kinds; k++) {
        const geometry *g = &t->kind[k];
        const vk_tuned  best = vk_gemm_tuned(t->dev, &g->conv, t->dtype, g->tile, g->splits);
        char            choice[64];
        snprintf(choice, sizeof choice, "%ux%u pixels by channels, %u split%s", best.pixels, best.channels, g->splits,
                 g->splits == 1 ? "" : "s");
        const strata_tuned said = { .node = t->steps[g->first].node->name, .nodes = g->nodes, .choice = choice,
                                    .estimated_ms = g->estimated_ms, .best_ms = g->best_ms,
                                    .kept = g->best_ms < GAIN * g->estimated_ms };
        if (said.kept)
            list[count++] = best;
        if (fn)
            fn(user, &said);
    }
    const bool saved = count == 0 || vk_tuning_save(t->dev, list, count);
    free(list);
    return saved ? STRATA_OK : strata_fail(err, STRATA_IO, "vulkan: the table of tiles cannot be written to the cache folder; is "
                                           "$XDG_CACHE_HOME or $HOME set, and may be written to?");
}

strata_status vk_tune(strata_device *dev, const strata_step *steps, const strata_frame *frames, int count, strata_tuned_fn fn,
                      void *user, strata_error *err)
{
    const size_t  room = (size_t)count + 1;
    tuner         t = { .dev = dev, .steps = steps, .count = count, .frames = malloc(room * sizeof *t.frames),
                        .kind = calloc(room, sizeof *t.kind), .kind_of = calloc(room, sizeof *t.kind_of),
                        .ms = calloc(room, sizeof *t.ms) };
    strata_status status = t.frames && t.kind && t.kind_of && t.ms
                               ? STRATA_OK
                               : strata_fail(err, STRATA_NOMEM, "vulkan: no memory to tune");
    if (status == STRATA_OK) {
        memcpy(t.frames, frames, (size_t)count * sizeof *frames);
        sort_steps(&t);
        if (t.kinds > 0)
            status = try_all(&t, err);
    }
    if (status == STRATA_OK)
        status = keep(&t, fn, user, err);
    vk_free(dev, &t.scratch.slice);
    free(t.frames);
    free(t.kind);
    free(t.kind_of);
    free(t.ms);
    return status;
}
