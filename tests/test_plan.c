/* The memory that a plan promises is the memory that loading, compiling and running take: measured in a process of its
 * own for each model, as the growth of what is resident, and within five percent.
 *
 * Skipped (77) where the system does not tell, and with sanitizers, whose memory is not ours. */
#include "../formats/safetensors.h"
#include "scratch.h"

#include <strata/ops.h>

#include <malloc.h>
#include <sys/wait.h>

enum { SKIPPED = 77 };

static const struct {
    const char *model;
    int         batch;
    bool        random; /* weights made in memory, not mapped from a file */
    bool        spare;  /* --fallback cpu: the graph is kept again, with its weights */
} cases[] = {
    { "resnet50", 1, false }, { "resnet50", 1, true }, { "mobilenet_v3_large_100", 1, false },
    { "efficientnet_b0", 4, false }, { "repvgg_a0", 1, false }, { "convnext_tiny", 1, false },
    { "mobilenet_v3_large_100", 1, true, .spare = true },
};

/* A figure of /proc/self/status in bytes; 0 where there is none. */
static size_t status_bytes(const char *key)
{
    char   line[256];
    size_t kilobytes = 0;
    FILE  *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            sscanf(line + strlen(key), ": %zu", &kilobytes);
    if (f != NULL)
        fclose(f);
    return kilobytes * 1024;
}

/* From here on the peak is that of what follows. */
static bool forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    bool  done = f != NULL && fputs("5", f) >= 0;
    return f != NULL && fclose(f) == 0 && done;
}

static bool ok(strata_status status, const strata_error *err)
{
    if (status != STRATA_OK)
        fprintf(stderr, "%s\n", err->text);
    return status == STRATA_OK;
}

/* ---- A checkpoint ------------------------------------------------------------------------------------------- */

static strata_status fill(void *user, int i, FILE *to, strata_error *err)
{
    (void)err;
    strata_node *const *parameter = user;
    fwrite(strata_tensor_data(parameter[i]->data), 1, strata_bytes(&parameter[i]->desc), to);
    return STRATA_OK;
}

static bool write_checkpoint(strata_context *ctx, const char *model, const char *path)
{
    strata_error  err = { 0 };
    strata_graph *g;
    if (!ok(strata_create_model(ctx, model, NULL, &g, &err), &err) || !ok(strata_graph_bind_random(g, 1, 2, &err), &err))
        return false;
    int                      count = 0, nodes = strata_graph_node_count(g);
    strata_node            **parameter = calloc((size_t)nodes, sizeof(strata_node *));
    strata_safetensors_item *item = calloc((size_t)nodes, sizeof *item);
    for (int i = 0; i < nodes; i++) {
        strata_node *n = strata_graph_node(g, i);
        if (n->op == &strata_op_param)
            parameter[count] = n, item[count++] = (strata_safetensors_item){ n->name, n->desc };
    }
    FILE *to = fopen(path, "wb");
    bool  written = to && ok(strata_safetensors_write(to, item, count, NULL, fill, parameter, &err), &err);
    written = to && fclose(to) == 0 && written;
    free(parameter);
    free(item);
    strata_graph_destroy(g);
    return written;
}

/* ---- A run ---------------------------------------------------------------------------------------------------- */

static bool run(strata_context *ctx, const char *model, int batch, const char *path, bool spare, strata_program_info *info)
{
    strata_error          err = { 0 };
    strata_graph         *g;
    strata_program       *p;
    strata_session       *s;
    strata_tensor        *in, *out[16];
    strata_create_options options = { .batch = batch, .checkpoint_path = path, .features_only = true };
    strata_program_options how = { .threads = 2, .fallback_cpu = spare };
    if (!ok(strata_create_model(ctx, model, &options, &g, &err), &err) ||
        (!path && !ok(strata_graph_bind_random(g, 1, 2, &err), &err)))
        return false;
    const strata_tensor_desc input = *strata_graph_input(g, 0).desc;
    const int                outputs = strata_graph_output_count(g);
    if (!ok(strata_program_create(g, &how, &p, &err), &err) || !ok(strata_session_create(p, &s, &err), &err) ||
        !ok(strata_tensor_create(&input, &in, &err), &err) || !ok(strata_session_alloc_outputs(s, out, &err), &err))
        return false;
    strata_program_get_info(p, info);
    strata_random_input(1, strata_tensor_data(in), (size_t)strata_count(&input));
    bool done = ok(strata_session_run(s, &in, out, &err), &err);
    for (int i = 0; i < outputs; i++)
        strata_tensor_unref(out[i]);
    strata_tensor_unref(in);
    strata_session_destroy(s);
    strata_program_unref(p);
    return done;
}

/* In a process of its own: 0 when the plan was right. */
static int measure(const char *model, int batch, const char *path, bool spare)
{
    strata_context     *ctx;
    strata_program_info info;
    strata_error        err;
    /* Once before: code, tables of the C library and of the system's loader come into memory. */
    if (!ok(strata_context_create(&ctx, &err), &err) || !run(ctx, "mobilenet_v3_small_100", 1, NULL, false, &info))
        return 1;
    malloc_trim(0);
    if (!forget_peak())
        return SKIPPED;
    size_t before = status_bytes("VmRSS");
    if (!run(ctx, model, batch, path, spare, &info))
        return 1;
    double grown = (double)(status_bytes("VmHWM") - before) / 1e6, planned = (double)info.peak_bytes / 1e6;
    printf("%-24s batch %d, %-8s planned %6.1f MB, measured %6.1f MB (%+.1f %%): weights %.1f, arena %.1f, tensors %.1f\n",
           model, batch, spare ? "spare" : path ? "file" : "random", planned, grown, 100 * (planned / grown - 1),
           (double)info.weight_bytes / 1e6, (double)info.arena_bytes / 1e6, (double)info.tensor_bytes / 1e6);
    fflush(stdout);
    return planned > 0.95 * grown && planned < 1.05 * grown ? 0 : 2;
}

static int in_child(const char *model, int batch, const char *path, bool spare, bool write)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        strata_context *ctx;
        if (!write)
            _exit(measure(model, batch, path, spare));
        _exit(strata_context_create(&ctx, NULL) != STRATA_OK || !write_checkpoint(ctx, model, path));
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void test_planned_is_measured(void **state)
{
    (void)state;
    scratch s;
    bool    right = true;
    scratch_open(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = cases[i].random ? NULL : scratch_path(&s, "weights.safetensors");
        if (path)
            assert_int_equal(in_child(cases[i].model, 1, path, false, true), 0);
        int result = in_child(cases[i].model, cases[i].batch, path, cases[i].spare, false);
        if (result == SKIPPED) {
            scratch_close(&s);
            skip();
        }
        right &= result == 0;
    }
    scratch_close(&s);
    assert_true(right);
}

int main(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return SKIPPED;
#else
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_planned_is_measured) };
    return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
