/* Speed of the CPU kernels within well-known networks, on every layer shape that these have, beside OpenBLAS and oneDNN.
 *
 *     kernels [--threads N] [--rounds N] [--model NAME]... [--exact] [--alone] [PATTERN]
 *
 * Each model is run as any program is, batch 1, with random weights. A row is a kernel on a shape: how many steps
 * of the model that is, the best time of one, and for multiply-adds
 *
 *     GFLOP/s    of the definition: Winograd's kernels, which do fewer operations, can be above the peak
 *     % peak     of multiply-adds in registers, the best measured in the run so far
 *     OpenBLAS   GFLOP/s of cblas_sgemm alone on the matrices that the convolution, the first of two, is a product of;
 *                where these are not what lies in memory, it would have to gather them first
 *     oneDNN     GFLOP/s of oneDNN's convolution with the same bias, residual and activation, alone; of both, one after
 *                the other, where a step is two. Where the build has found oneDNN
 *
 * Other kernels have GB/s of what they read and write. Times are those within the network: weights come from where
 * they are then. PATTERN: only rows that contain it, in the name of the kernel or in the shape.
 *
 * With --alone a row is a convolution or dense layer that is a program by itself, in turns with oneDNN's: the least times
 * of both and their ratio, above 1 where ours is the faster. A depthwise convolution that is the second in a step has a
 * row of its own as well. */
#include "alone.h"
#include "clock.h"
#include "onednn.h"
#include "peak.h"

#include <strata/extend.h>
#include <strata/ops.h>

#include <cblas.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_MODELS = 32, SHAPE_TEXT = 96, MOST_TAPS = 49 };

static const char *const canonical[] = { "resnet50",        "mobilenet_v3_large_100", "convnext_tiny", "resnest50",
                                         "efficientnet_b0", "repvgg_a0",              "hrnet_w32",     "rexnet_10" };

typedef struct settings {
    int         threads, rounds;
    bool        exact, alone;
    const char *pattern;
    double      peak;
} settings;

/* The product that a convolution or dense layer is: of `groups` pairs of matrices, rows x k and k x columns. */
typedef struct product {
    int groups, rows, columns, k; /* groups 0: no product */
} product;

typedef struct row {
    char        kernel[64], shape[SHAPE_TEXT];
    int         steps;
    double      ms;
    uint64_t    macs, bytes;
    product     product;
    const strata_node *first, *node; /* of a layer: the convolution or two that the step is */
} row;

/* ---- Shapes ------------------------------------------------------------------------------------------ */

static const strata_node *find_node(const strata_graph *g, const char *name)
{
    for (int i = 0; i < strata_graph_node_count(g); i++)
        if (strcmp(strata_graph_node(g, i)->name, name) == 0)
            return strata_graph_node(g, i);
    return NULL;
}

static product product_of(const strata_node *n)
{
    const int64_t *y = n->desc.dim;
    int            pixels = n->desc.rank == 4 ? (int)(y[2] * y[3]) : 1;
    if (n->op != &strata_op_conv2d && n->op != &strata_op_dense)
        return (product){ 0 };
    const int64_t *w = n->in[1]->desc.dim;
    int            groups = n->op == &strata_op_conv2d ? ((const strata_conv2d_attrs *)n->attrs)->groups : 1;
    int            taps = n->op == &strata_op_conv2d ? (int)(w[2] * w[3]) : 1;
    return (product){ groups, pixels, (int)w[0] / groups, (int)w[1] * taps };
}

/* The first node of a step: its own, or the one that its kernel computes on the way. */
static const strata_node *first_of(const strata_node *n)
{
    return n->kernel != NULL && n->kernel->absorbs ? n->in[0] : n;
}

/* "3x3/2 " */
static size_t put_window(const strata_node *n, char *text, size_t size)
{
    if (n->op != &strata_op_conv2d)
        return 0;
    const strata_conv2d_attrs *a = n->attrs;
    const int64_t             *w = n->in[1]->desc.dim;
    int used = a->stride[0] > 1 ? snprintf(text, size, "%dx%d/%d ", (int)w[2], (int)w[3], a->stride[0])
                                : snprintf(text, size, "%dx%d ", (int)w[2], (int)w[3]);
    return (size_t)used;
}

/* "3x3/2 64-128 @56 g2": kernel and stride, channels, map of the operand, groups; "1x1 3x3/2 16-96-96 @112" where a step
 * is two convolutions, the second being depthwise. */
static void shape_text(const strata_node *first, const strata_node *n, char *text, size_t size)
{
    const strata_tensor_desc *x = &first->in[0]->desc;
    size_t used = first != n ? put_window(first, text, size) : 0;
    used += put_window(n, text + used, size - used);
    used += (size_t)snprintf(text + used, size - used, "%d-", (int)x->dim[1]);
    if (first != n)
        used += (size_t)snprintf(text + used, size - used, "%d-", (int)first->desc.dim[1]);
    used += (size_t)snprintf(text + used, size - used, "%d", (int)n->desc.dim[1]);
    if (x->rank == 4)
        used += (size_t)snprintf(text + used, size - used, " @%d", (int)x->dim[2]);
    product p = product_of(n);
    if (p.groups > 1 && first == n)
        snprintf(text + used, size - used, " g%d", p.groups);
}

/* ---- OpenBLAS ---------------------------------------------------------------------------------------- */

/* GFLOP/s on the product, best of some tries; 0 without memory. One group stands for all. */
static double library_rate(product p)
{
    size_t x = (size_t)p.rows * (size_t)p.k, w = (size_t)p.columns * (size_t)p.k, y = (size_t)p.rows * (size_t)p.columns;
    float *m = calloc(x + w + y, sizeof *m);
    if (m == NULL)
        return 0;
    for (size_t i = 0; i < x + w; i++)
        m[i] = (float)(i % 17) * 0.1f;
    double best = INFINITY, end = seconds() + 0.02;
    for (int i = 0; i < 3 || seconds() < end; i++) {
        double start = seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, p.rows, p.columns, p.k, 1, m, p.k, m + x, p.columns, 0,
                    m + x + w, p.columns);
        best = fmin(best, seconds() - start);
    }
    free(m);
    return 2e-9 * (double)p.rows * (double)p.columns * (double)p.k / best;
}

/* ---- oneDNN ------------------------------------------------------------------------------------------ */

/* Seconds that it takes, best of some tries; 0 without it or memory. */
static double onednn_seconds(const row *r, const settings *s)
{
    size_t  x = (size_t)strata_count(&r->first->in[0]->desc), y = (size_t)strata_count(&r->node->desc);
    float  *data = calloc(x + 2 * y, sizeof *data);
    onednn *o = data != NULL ? onednn_create(r->first, r->node, s->threads) : NULL;
    double  best = 0;
    if (o != NULL) {
        strata_random_input(2, data, x + y);
        double end = seconds() + 0.02;
        best       = onednn_run(o, data, data + x, data + x + y);
        for (int i = 1; i < 3 || seconds() < end; i++)
            best = fmin(best, onednn_run(o, data, data + x, data + x + y));
    }
    onednn_destroy(o);
    free(data);
    return fmax(best, 0);
}

/* ---- Rows -------------------------------------------------------------------------------------------- */

static row *row_of(row *rows, int *count, const char *kernel, const char *shape)
{
    for (int i = 0; i < *count; i++)
        if (strcmp(rows[i].kernel, kernel) == 0 && strcmp(rows[i].shape, shape) == 0)
            return &rows[i];
    row *r = &rows[(*count)++];
    *r     = (row){ .ms = INFINITY };
    snprintf(r->kernel, sizeof r->kernel, "%s", kernel);
    snprintf(r->shape, sizeof r->shape, "%s", shape);
    return r;
}

static void print_row(const row *r, const settings *s)
{
    if (strstr(r->kernel, s->pattern) == NULL && strstr(r->shape, s->pattern) == NULL)
        return;
    printf("%-24s %-26s %3d %10.1f", r->kernel, r->shape, r->steps, r->ms * 1e3);
    if (r->product.groups == 0) {
        printf(" %8.1f GB/s\n", 1e-6 * (double)r->bytes / r->ms);
        return;
    }
    double rate = 2e-6 * (double)r->macs / r->ms, onednn_time = onednn_seconds(r, s);
    printf(" %8.1f %5.0f %%", rate, 100 * rate / s->peak);
    if (r->product.k > MOST_TAPS) /* else depthwise: nobody would */
        printf(" %8.1f", library_rate(r->product));
    else
        printf(" %8s", "");
    if (onednn_time > 0)
        printf(" %8.1f", 2e-9 * (double)r->macs / onednn_time);
    printf("\n");
}

static void print_rows(const row *rows, int count, const settings *s)
{
    printf("%-24s %-26s %3s %10s %8s %7s %8s %8s\n", "kernel", "shape", "n", "us", "GFLOP/s", "% peak", "OpenBLAS",
           "oneDNN");
    for (int i = 0; i < count; i++)
        print_row(&rows[i], s);
}

static strata_status print_alone(strata_context *ctx, const row *r, settings *s, strata_error *err)
{
    alone found;
    if (r->product.groups == 0 || (strstr(r->kernel, s->pattern) == NULL && strstr(r->shape, s->pattern) == NULL))
        return STRATA_OK;
    alone_options how = { .threads = s->threads, .rounds = s->rounds, .exact = s->exact };
    STRATA_TRY(alone_compare(ctx, r->first, r->node, &how, &found, err));
    s->peak = fmax(s->peak, peak_rate(s->threads));
    double rate = 2e-6 * (double)found.macs / found.ms;
    printf("%-24s %-26s %3d %10.1f %8.1f %5.0f %%", found.kernel, r->shape, r->steps, found.ms * 1e3, rate,
           100 * rate / s->peak);
    if (found.onednn_ms > 0)
        printf(" %10.1f %6.2f  %s", found.onednn_ms * 1e3, found.onednn_ms / found.ms, found.choice);
    printf("\n");
    fflush(stdout);
    return STRATA_OK;
}

static strata_status print_rows_alone(strata_context *ctx, const row *rows, int count, settings *s,
                                      strata_error *err)
{
    printf("%-24s %-26s %3s %10s %8s %7s %10s %6s\n", "kernel", "shape", "n", "us", "GFLOP/s", "% peak", "oneDNN, us",
           "ratio");
    for (int i = 0; i < count; i++)
        STRATA_TRY(print_alone(ctx, &rows[i], s, err));
    return STRATA_OK;
}

/* The best time of each step of the session. */
static strata_status time_steps(strata_session *session, int rounds, strata_tensor *x, strata_tensor *y, double *ms,
                                strata_error *err)
{
    strata_session_enable_profile(session, true);
    for (int i = 0; i < strata_session_step_count(session); i++)
        ms[i] = INFINITY;
    for (int round = 0; round < rounds; round++) {
        STRATA_TRY(strata_session_run(session, &x, &y, err));
        for (int i = 0; i < strata_session_step_count(session); i++)
            ms[i] = fmin(ms[i], strata_session_step(session, i).ms);
    }
    return STRATA_OK;
}

/* The row of a layer, or of another step, in a network. */
static row *add_row(row *rows, int *count, const char *kernel, const strata_node *first, const strata_node *n)
{
    char shape[SHAPE_TEXT];
    shape_text(first, n, shape, sizeof shape);
    row *r = row_of(rows, count, kernel, shape);
    r->steps++;
    r->product = product_of(first);
    r->first   = first;
    r->node    = n;
    return r;
}

static strata_status show_steps(strata_context *ctx, const strata_graph *g, const strata_session *session,
                                const double *ms, settings *s, strata_error *err)
{
    int  steps = strata_session_step_count(session), count = 0;
    row *rows = calloc(2 * (size_t)steps + 1, sizeof *rows);
    if (rows == NULL)
        return strata_fail(err, STRATA_NOMEM, "no memory for %d rows", steps);
    for (int i = 0; i < steps; i++) {
        strata_step_profile step = strata_session_step(session, i);
        const strata_node  *n = find_node(g, step.node);
        if (n == NULL)
            continue;
        row *r   = add_row(rows, &count, step.kernel, first_of(n), n);
        r->ms    = fmin(r->ms, ms[i]);
        r->macs  = step.macs;
        r->bytes = step.bytes;
        if (s->alone && first_of(n) != n)
            add_row(rows, &count, "conv2d.depthwise", n, n);
    }
    strata_status status = STRATA_OK;
    if (s->alone)
        status = print_rows_alone(ctx, rows, count, s, err);
    else
        print_rows(rows, count, s);
    free(rows);
    return status;
}

static strata_status run_model(strata_context *ctx, const char *name, settings *s, strata_error *err)
{
    strata_graph   *g;
    strata_program *p = NULL;
    strata_session *session = NULL;
    strata_tensor  *x = NULL, *y = NULL;
    double         *ms = NULL;
    STRATA_TRY(strata_create_model(ctx, name, NULL, &g, err));
    strata_status status = strata_graph_bind_random(g, 1, 2, err);
    if (status != STRATA_OK) {
        strata_graph_destroy(g);
        return status;
    }
    status = strata_program_create(g, &(strata_program_options){ .threads = s->threads, .exact = s->exact }, &p, err);
    if (status == STRATA_OK)
        status = strata_session_create(p, &session, err);
    if (status == STRATA_OK)
        status = strata_tensor_create(strata_graph_input(strata_program_graph(p), 0).desc, &x, err);
    if (status == STRATA_OK)
        status = strata_session_alloc_outputs(session, &y, err);
    if (status == STRATA_OK) {
        strata_random_input(2, strata_tensor_data(x), (size_t)strata_count(strata_tensor_get_desc(x)));
        ms = calloc((size_t)strata_session_step_count(session) + 1, sizeof *ms);
        status = ms != NULL ? time_steps(session, s->alone ? 1 : s->rounds, x, y, ms, err)
                            : strata_fail(err, STRATA_NOMEM, "no memory for times");
    }
    if (status == STRATA_OK) {
        printf("\n%s\n", name);
        status = show_steps(ctx, strata_program_graph(p), session, ms, s, err);
    }
    free(ms);
    strata_tensor_unref(x);
    strata_tensor_unref(y);
    strata_session_destroy(session);
    strata_program_unref(p);
    return status;
}

/* ---- The command ------------------------------------------------------------------------------------- */

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
    settings    s = { .threads = 1, .rounds = 20, .pattern = "" };
    const char *model[MOST_MODELS];
    int         models = 0;
    for (int i = 1; i < argc; i++) {
        int *flag = strcmp(argv[i], "--threads") == 0 ? &s.threads : strcmp(argv[i], "--rounds") == 0 ? &s.rounds : NULL;
        if (flag != NULL && (*flag = number(argv[++i])) < 0)
            return fprintf(stderr, "kernels: %s needs a number\n", argv[i - 1]), 2;
        if (flag != NULL)
            continue;
        if (strcmp(argv[i], "--exact") == 0)
            s.exact = true;
        else if (strcmp(argv[i], "--alone") == 0)
            s.alone = true;
        else if (strcmp(argv[i], "--model") == 0 && argv[i + 1] != NULL && models < MOST_MODELS)
            model[models++] = argv[++i];
        else if (argv[i][0] == '-')
            return fprintf(stderr, "kernels: %s is no option, or lacks its value\n", argv[i]), 2;
        else
            s.pattern = argv[i];
    }
    for (size_t i = 0; models == 0 && i < sizeof canonical / sizeof *canonical; i++)
        model[i] = canonical[i];
    models = models == 0 ? (int)(sizeof canonical / sizeof *canonical) : models;

    strata_error    err;
    strata_context *ctx;
    if (strata_context_create(&ctx, &err) != STRATA_OK)
        return fprintf(stderr, "kernels: %s\n", err.text), 1;
    openblas_set_num_threads(s.threads);
    int failed = 0;
    for (int i = 0; i < models; i++) {
        s.peak = fmax(s.peak, peak_rate(s.threads)); /* again: a busy machine has slow moments */
        if (run_model(ctx, model[i], &s, &err) != STRATA_OK) {
            fprintf(stderr, "kernels: %s: %s\n", model[i], err.text);
            failed = 1;
        }
    }
    printf("\npeak of multiply-adds in registers, %d thread%s: %.1f GFLOP/s; cblas_sgemm 2048^3: %.1f GFLOP/s\n",
           s.threads, s.threads > 1 ? "s" : "", s.peak, library_rate((product){ 1, 2048, 2048, 2048 }));
    strata_context_destroy(ctx);
    return failed;
}
