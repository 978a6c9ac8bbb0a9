/* How long each convolution of a model takes on a Vulkan device, by tile shape and number of splits of the implicit
 * matrix product: what the choice in backends/vulkan/gemm.c is made from.
 *
 *     vulkan_tiles MODEL [--batch N] [--size N] [--device N] [--fp16] [--splits 1,2,4,...] [--rounds N] [--save]
 *
 * With --save what beats the free choice goes to the table of the device in the user's cache folder
 * (backends/vulkan/tuning.h), from which every program takes it from then on.
 *
 * A line for each distinct convolution: pixels, channels out and products of a group, groups; the time by the free
 * choice; then the best tile and split, and after them all others. Times are of the device, in microseconds, the least
 * of all rounds and nodes. */
#include "../backends/vulkan/tuning.h"
#include "../scheduler/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_SHAPES = 400, MOST_CHOICES = 160 };

typedef struct geometry {
    vk_conv conv;
    int     nodes;
    double  free_us, us[MOST_CHOICES];
} geometry;

typedef struct bench {
    strata_context *ctx;
    const char     *model;
    int             batch, size, rounds;
    bool            half;
    char            device[32];
    geometry        g[MOST_SHAPES];
    int             count;
} bench;

static geometry *find(bench *b, const vk_conv *c)
{
    for (int i = 0; i < b->count; i++)
        if (memcmp(&b->g[i].conv, c, sizeof *c) == 0)
            return &b->g[i];
    if (b->count == MOST_SHAPES)
        return NULL;
    geometry *g = &b->g[b->count++];
    *g = (geometry){ .conv = *c };
    return g;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* GPUs slow down between two programs, and take a while to come back. */
static const double WARM_UP = 0.15;

/* Runs the model as the instance is configured; least times go to us[choice], or to free_us when that is -1. */
static strata_status measure(bench *b, int choice, strata_error *err)
{
    const strata_model_def *def = strata_find_model_def(b->ctx, b->model, err);
    strata_graph           *graph;
    strata_program         *p = NULL;
    strata_session         *s = NULL;
    strata_tensor          *in = NULL, *out[8] = { NULL };
    if (!def)
        return STRATA_NOT_FOUND;
    STRATA_TRY(strata_model_build(b->ctx, def, &(strata_model_args){ .batch = b->batch, .height = b->size, .width = b->size }, &graph, err));
    STRATA_TRY(strata_graph_select(graph, "logits", err));
    STRATA_TRY(strata_graph_bind_random(graph, 1, 2, err));
    STRATA_TRY(strata_program_create(
        graph, &(strata_program_options){ .device = b->device, .precision = b->half ? STRATA_F16 : STRATA_F32 }, &p,
        err));
    strata_status status = strata_session_create(p, &s, err);
    if (status == STRATA_OK)
        status = strata_tensor_create(strata_graph_input(strata_program_graph(p), 0).desc, &in, err);
    if (status == STRATA_OK)
        status = strata_session_alloc_outputs(s, out, err);
    if (status == STRATA_OK)
        strata_random_input(1, strata_tensor_data(in), (size_t)strata_count(strata_tensor_get_desc(in)));
    if (status == STRATA_OK)
        strata_session_enable_profile(s, true);
    const double begin = seconds();
    while (status == STRATA_OK && seconds() - begin < WARM_UP)
        status = strata_session_run(s, &in, out, err);
    for (int round = 0; round < b->rounds && status == STRATA_OK; round++) {
        status = strata_session_run(s, &in, out, err);
        for (int i = 0; i < p->step_count && round > 0 && status == STRATA_OK; i++) {
            if (p->steps[i].kernel != &vk_kernel_conv2d && p->steps[i].kernel != &vk_kernel_dense)
                continue;
            const vk_conv c = vk_conv_of(p->steps[i].node);
            geometry     *g = find(b, &c);
            if (!g)
                continue;
            double *us = choice < 0 ? &g->free_us : &g->us[choice], t = strata_session_step(s, i).ms * 1e3;
            if (*us == 0 || t < *us)
                *us = t;
        }
    }
    strata_tensor_unref(in);
    for (int i = 0; i < 8; i++)
        strata_tensor_unref(out[i]);
    strata_session_destroy(s);
    strata_program_unref(p);
    return status;
}

static int best_choice(const geometry *g, int choices)
{
    int best = 0;
    for (int k = 1; k < choices; k++)
        if (g->us[k] > 0 && (g->us[best] == 0 || g->us[k] < g->us[best]))
            best = k;
    return best;
}

static void print(const bench *b, int tiles, const int *split, int splits)
{
    for (int i = 0; i < b->count; i++) {
        const geometry *g = &b->g[i];
        const int       best = best_choice(g, tiles * splits);
        printf("%u %u %u %u kernel %ux%u free %.1f best %.1f tile %d split %d all", g->conv.pixels, g->conv.og, g->conv.k,
               g->conv.groups, g->conv.kh, g->conv.kw, g->free_us, g->us[best], best / splits, split[best % splits]);
        for (int k = 0; k < tiles * splits; k++)
            printf(" %d/%d:%.1f", k / splits, split[k % splits], g->us[k]);
        printf("\n");
    }
}

/* Two in a hundred are noise. */
static bool save(const bench *b, const strata_device *dev, int tiles, const int *split, int splits)
{
    static vk_tuned list[MOST_SHAPES];
    int             count = 0;
    for (int i = 0; i < b->count; i++) {
        const geometry *g = &b->g[i];
        const int       best = best_choice(g, tiles * splits);
        if (g->us[best] > 0 && g->us[best] < 0.98 * g->free_us)
            list[count++] = vk_gemm_tuned(dev, &g->conv, b->half ? STRATA_F16 : STRATA_F32, best / splits,
                                          (uint32_t)split[best % splits]);
    }
    printf("%d of %d saved\n", count, b->count);
    return count == 0 || vk_tuning_save(dev, list, count);
}

int main(int argc, char **argv)
{
    static bench b = { .batch = 1, .rounds = 5, .device = "vulkan:0" };
    int          split[16] = { 1, 2, 4, 8, 16, 32 }, splits = 6;
    bool         keep = false;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--fp16") == 0)
            b.half = true;
        else if (strcmp(argv[i], "--save") == 0)
            keep = true;
        else if (i + 1 < argc && strcmp(argv[i], "--batch") == 0)
            b.batch = atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--size") == 0)
            b.size = atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0)
            b.rounds = atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--device") == 0)
            snprintf(b.device, sizeof b.device, "vulkan:%d", atoi(argv[++i]));
        else if (i + 1 < argc && strcmp(argv[i], "--splits") == 0) {
            splits = 0;
            for (char *at = argv[++i]; at && *at && splits < 16; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
                split[splits++] = atoi(at);
        } else
            b.model = argv[i];
    strata_error   err = { 0 };
    strata_device *dev = NULL;
    if (!b.model || b.rounds < 2 || strata_context_create(&b.ctx, NULL) != STRATA_OK) {
        fprintf(stderr, "usage: vulkan_tiles MODEL [--batch N] [--size N] [--device N] [--fp16] [--splits 1,2,...] [--rounds N] [--save]\n");
        return 2;
    }
    vk_instance  *v = vk_instance_of(b.ctx);
    strata_status status = v ? vk_device_open(v, atoi(b.device + strlen("vulkan:")), 1, &dev, &err) : STRATA_NOMEM;
    const int     tiles = dev ? vk_gemm_tiles(dev, b.half ? STRATA_F16 : STRATA_F32) : 0;
    if (status == STRATA_OK)
        status = measure(&b, -1, &err);
    for (int k = 0; k < tiles * splits && k < MOST_CHOICES && status == STRATA_OK; k++) {
        v->config.conv = VK_CONV_GEMM;
        v->config.tile = 1 + k / splits;
        v->config.split = split[k % splits];
        status = measure(&b, k, &err);
    }
    if (status == STRATA_OK)
        print(&b, tiles, split, splits);
    if (status == STRATA_OK && keep && !save(&b, dev, tiles, split, splits))
        status = strata_fail(&err, STRATA_IO, "the table cannot be written");
    if (status != STRATA_OK)
        fprintf(stderr, "vulkan_tiles: %s\n", err.text);
    if (dev)
        vk_device_close(dev);
    strata_context_destroy(b.ctx);
    return status == STRATA_OK ? 0 : 1;
}
