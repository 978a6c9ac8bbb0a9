/* Speed of the CPU kernels on the layers of well-known networks, in GFLOP/s, beside cblas_sgemm on 2048 x
 * 2048 matrices measured in the same run: that is what the machine can do, however busy it is.
 *
 *     kernels [--threads N] [--rounds N] [PATTERN]        layers whose name contains PATTERN
 *
 * Each layer is a graph of one node, compiled and run as any program is; the time is that of the node's own
 * step, the best of all rounds. Layers without multiply-adds are in GB/s of what they read and write. */
#include <strata/nn.h>

#include <cblas.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct layer {
    const char *name;
    int         c, h, out, kernel, stride, groups;
    strata_act  act;
    strata_node *(*build)(strata_builder *b, strata_node *x, const struct layer *l); /* NULL: a convolution */
} layer;

static strata_node *conv(strata_builder *b, strata_node *x, const layer *l)
{
    int          pad   = l->kernel / 2;
    strata_conv2d_attrs a = { .stride = { l->stride, l->stride }, .pad = { pad, pad, pad, pad },
                              .dilation = { 1, 1 }, .groups = l->groups ? l->groups : 1, .act = l->act };
    strata_node *weight = nn_param(b, "weight", l->out, l->c / a.groups, l->kernel, l->kernel);
    strata_node *bias   = nn_param(b, "bias", l->out);
    return strata_emit(b, &strata_op_conv2d, "layer", &a, x, weight, bias);
}

static strata_node *dense(strata_builder *b, strata_node *x, const layer *l)
{
    strata_dense_attrs a = { l->act };
    strata_node *weight  = nn_param(b, "weight", l->out, l->c);
    strata_node *bias    = nn_param(b, "bias", l->out);
    return strata_emit(b, &strata_op_dense, "layer", &a, x, weight, bias);
}

static strata_node *classifier(strata_builder *b, strata_node *x, const layer *l)
{
    return dense(b, nn_flatten(b, x), l);
}

static strata_node *max_pool(strata_builder *b, strata_node *x, const layer *l)
{
    return nn_max_pool(b, x, l->kernel, .stride = l->stride, .pad = l->kernel / 2);
}

static strata_node *global_pool(strata_builder *b, strata_node *x, const layer *l)
{
    (void)l;
    return nn_global_avg_pool(b, x);
}

static strata_node *layer_norm(strata_builder *b, strata_node *x, const layer *l)
{
    (void)l;
    return nn_layer_norm(b, x, "norm");
}

static strata_node *activation(strata_builder *b, strata_node *x, const layer *l)
{
    return nn_act(b, x, l->act);
}

static strata_node *scale(strata_builder *b, strata_node *x, const layer *l)
{
    (void)l;
    strata_node *s = nn_global_avg_pool(b, x);
    return nn_mul(b, x, s);
}

#define RELU .act = STRATA_ACT_RELU
static const layer layers[] = {
    { "resnet50 stem 7x7/2", 3, 224, 64, 7, 2, RELU },
    { "resnet50 pool 3x3/2", 64, 112, 64, 3, 2, .build = max_pool },
    { "resnet50 1x1 64-64 @56", 64, 56, 64, 1, 1, RELU },
    { "resnet50 3x3 64 @56", 64, 56, 64, 3, 1, RELU },
    { "resnet50 1x1 64-256 @56", 64, 56, 256, 1, 1, RELU },
    { "resnet50 1x1 256-64 @56", 256, 56, 64, 1, 1, RELU },
    { "resnet50 3x3/2 128 @56", 128, 56, 128, 3, 2, RELU },
    { "resnet50 1x1/2 256-512 @56", 256, 56, 512, 1, 2 },
    { "resnet50 3x3 128 @28", 128, 28, 128, 3, 1, RELU },
    { "resnet50 1x1 128-512 @28", 128, 28, 512, 1, 1, RELU },
    { "resnet50 3x3 256 @14", 256, 14, 256, 3, 1, RELU },
    { "resnet50 1x1 256-1024 @14", 256, 14, 1024, 1, 1, RELU },
    { "resnet50 1x1 1024-256 @14", 1024, 14, 256, 1, 1, RELU },
    { "resnet50 3x3 512 @7", 512, 7, 512, 3, 1, RELU },
    { "resnet50 1x1 512-2048 @7", 512, 7, 2048, 1, 1, RELU },
    { "resnet50 1x1 2048-512 @7", 2048, 7, 512, 1, 1, RELU },
    { "resnet50 global pool", 2048, 7, 2048, .build = global_pool },
    { "resnet50 classifier", 2048, 1, 1000, .build = classifier },
    { "mobilenet_v3 stem 3x3/2", 3, 224, 16, 3, 2, .act = STRATA_ACT_HSWISH },
    { "mobilenet_v3 dw3 16 @112", 16, 112, 16, 3, 1, 16, STRATA_ACT_RELU },
    { "mobilenet_v3 1x1 16-64 @112", 16, 112, 64, 1, 1, RELU },
    { "mobilenet_v3 dw3/2 64 @112", 64, 112, 64, 3, 2, 64, STRATA_ACT_RELU },
    { "mobilenet_v3 dw5 120 @28", 120, 28, 120, 5, 1, 120, STRATA_ACT_RELU },
    { "mobilenet_v3 1x1 80-480 @14", 80, 14, 480, 1, 1, .act = STRATA_ACT_HSWISH },
    { "mobilenet_v3 1x1 672-112 @14", 672, 14, 112, 1, 1 },
    { "mobilenet_v3 dw5 960 @7", 960, 7, 960, 5, 1, 960, STRATA_ACT_HSWISH },
    { "mobilenet_v3 1x1 160-960 @7", 160, 7, 960, 1, 1, .act = STRATA_ACT_HSWISH },
    { "mobilenet_v3 squeeze 960-240", 960, 1, 240, 1, 1, RELU },
    { "mobilenet_v3 scale 672 @14", 672, 14, 672, .build = scale },
    { "efficientnet silu 144 @56", 144, 56, 144, .act = STRATA_ACT_SILU, .build = activation },
    { "efficientnet 1x1 24-144 @56", 24, 56, 144, 1, 1, .act = STRATA_ACT_SILU },
    { "convnext_tiny stem 4x4/4", 3, 224, 96, 4, 4 },
    { "convnext_tiny dw7 96 @56", 96, 56, 96, 7, 1, 96 },
    { "convnext_tiny dw7 768 @7", 768, 7, 768, 7, 1, 768 },
    { "convnext_tiny norm 96 @56", 96, 56, 96, .build = layer_norm },
    { "convnext_tiny dense 96-384 @56", 96, 56, 384, .act = STRATA_ACT_GELU, .build = dense },
    { "convnext_tiny dense 3072-768 @7", 3072, 7, 768, .build = dense },
    { "hrnet 3x3 32 @56", 32, 56, 32, 3, 1, RELU },
    { "resnext50 3x3 128 g32 @56", 128, 56, 128, 3, 1, 32, STRATA_ACT_RELU },
    { "resnest50 3x3 64-128 g2 @56", 64, 56, 128, 3, 1, 2, STRATA_ACT_RELU },
    { "rexnet 1x1 61-366 @28", 61, 28, 366, 1, 1, .act = STRATA_ACT_SILU },
    { "rexnet dw3 366 @28", 366, 28, 366, 3, 1, 366 },
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GFLOP/s of the library with `threads` threads. */
static double library_rate(int threads)
{
    enum { N = 2048 };
    float *m = calloc((size_t)3 * N * N, sizeof *m);
    if (m == NULL)
        return 0;
    for (int i = 0; i < 2 * N * N; i++)
        m[i] = (float)(i % 17) * 0.1f;
    openblas_set_num_threads(threads);
    double best = INFINITY;
    for (int round = 0; round < 4; round++) {
        double start = seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, m, N, m + (size_t)N * N, N, 0,
                    m + (size_t)2 * N * N, N);
        best = fmin(best, seconds() - start);
    }
    openblas_set_num_threads(1);
    free(m);
    return 2.0 * N * N * N / best * 1e-9;
}

/* The best time, in milliseconds, of the last step that is not a copy: the layer's own. Negative: failure. */
static double best_time(strata_session *s, int rounds, strata_tensor *const *in, strata_tensor *const *out,
                        strata_step_profile *step, strata_error *err)
{
    double best = INFINITY;
    strata_session_enable_profile(s, true);
    for (int round = 0; round < rounds; round++) {
        if (strata_session_run(s, in, out, err) != STRATA_OK)
            return -1;
        for (int i = 0; i < strata_session_step_count(s); i++) {
            strata_step_profile p = strata_session_step(s, i);
            if (strcmp(p.op, "copy") != 0)
                *step = p;
        }
        best = fmin(best, step->ms);
    }
    return best;
}

static strata_status build_layer(strata_context *ctx, const layer *l, strata_graph **out, strata_error *err)
{
    strata_builder   *b;
    strata_model_args args = { 1, l->c, l->h, l->h, 1 };
    STRATA_TRY(strata_builder_create(ctx, "layer", &b, err));
    strata_node *x = nn_image(b, &args);
    nn_output(b, (l->build != NULL ? l->build : conv)(b, x, l), "y");
    STRATA_TRY(strata_builder_finish(b, out, err));
    strata_status status = strata_graph_bind_random(*out, 1, 1, err);
    if (status != STRATA_OK)
        strata_graph_destroy(*out);
    return status;
}

static strata_status run_layer(strata_context *ctx, const layer *l, int threads, int rounds, double library,
                               strata_error *err)
{
    strata_graph   *g;
    strata_program *p = NULL;
    strata_session *s = NULL;
    strata_tensor  *x = NULL, *y = NULL;
    STRATA_TRY(build_layer(ctx, l, &g, err));
    strata_status status = strata_program_create(g, &(strata_program_options){ .threads = threads }, &p, err);
    if (status == STRATA_OK)
        status = strata_session_create(p, &s, err);
    if (status == STRATA_OK)
        status = strata_tensor_create(strata_graph_input(strata_program_graph(p), 0).desc, &x, err);
    if (status == STRATA_OK)
        status = strata_session_alloc_outputs(s, &y, err);
    if (status == STRATA_OK) {
        strata_random_input(2, strata_tensor_data(x), (size_t)strata_count(strata_tensor_get_desc(x)));
        strata_step_profile step = { 0 };
        double              ms   = best_time(s, rounds, &x, &y, &step, err);
        if (ms < 0)
            status = err->status;
        else if (step.macs > 0)
            printf("%-34s %-18s %9.1f us %7.1f GFLOP/s %4.0f %%\n", l->name, step.kernel, ms * 1e3,
                   2e-6 * (double)step.macs / ms, 2e-4 * (double)step.macs / ms / library);
        else
            printf("%-34s %-18s %9.1f us %7.1f GB/s\n", l->name, step.kernel, ms * 1e3,
                   1e-6 * (double)step.bytes / ms);
    }
    strata_tensor_unref(x);
    strata_tensor_unref(y);
    strata_session_destroy(s);
    strata_program_unref(p);
    return status;
}

/* The number after a flag, or -1. */
static int number(const char *text)
{
    char *end;
    errno  = 0;
    long n = text != NULL ? strtol(text, &end, 10) : -1;
    return text != NULL && *end == 0 && errno == 0 && n > 0 && n <= 1 << 20 ? (int)n : -1;
}

int main(int argc, char **argv)
{
    int         threads = 1, rounds = 50;
    const char *pattern = "";
    for (int i = 1; i < argc; i++) {
        int *flag = NULL;
        if (strcmp(argv[i], "--threads") == 0)
            flag = &threads;
        else if (strcmp(argv[i], "--rounds") == 0)
            flag = &rounds;
        if (flag == NULL)
            pattern = argv[i];
        else if ((*flag = number(argv[++i])) < 0)
            return fprintf(stderr, "kernels: %s needs a number\n", argv[i - 1]), 2;
    }
    strata_error    err;
    strata_context *ctx;
    if (strata_context_create(&ctx, &err) != STRATA_OK)
        return fprintf(stderr, "kernels: %s\n", err.text), 1;
    double library = library_rate(threads);
    printf("cblas_sgemm 2048^3, %d threads: %.1f GFLOP/s, best of 4\n", threads, library);
    int failed = 0;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (strstr(layers[i].name, pattern) != NULL &&
            run_layer(ctx, &layers[i], threads, rounds, library, &err) != STRATA_OK) {
            fprintf(stderr, "kernels: %s: %s\n", layers[i].name, err.text);
            failed = 1;
        }
    strata_context_destroy(ctx);
    return failed;
}
