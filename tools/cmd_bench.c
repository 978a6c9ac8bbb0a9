/* strata bench: how long whole inferences take. The input tensor is ready in memory, the outputs are read
 * back to the host: what a program that calls the library would see. */
#include "bench_profile.h"
#include "command.h"
#include "files.h"
#include "model_options.h"
#include "talk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { WARM_UP_RUNS = 2, LEAST_RUNS = 5, MOST_RUNS = 1000, PROFILED_RUNS = 5 };
static const double USUAL_SECONDS = 3;

struct bench {
    const struct options *o;
    struct model          model;
    strata_program       *program;
    strata_session       *session;
    strata_tensor        *input, **outputs;
    int                   output_count;
    strata_tensor_desc    input_desc;
    uint64_t              macs;
    double                load_ms, compile_ms;
    json_t               *tuned; /* rows; NULL without --tune */
    double               *ms; /* of each run, sorted by finish_times */
    int                   runs;
};

static int prepare(struct bench *b)
{
    const struct options *o = b->o;
    strata_graph         *g = NULL;
    strata_error          err = { 0 };
    uint64_t              params;
    double                start = talk_seconds();
    int                   code = model_build(&b->model, o->batch, o->size[0], o->size[1], false, &g);
    if (!code)
        code = model_bind(&b->model, g);
    if (code) {
        strata_graph_destroy(g);
        return code;
    }
    b->input_desc = *strata_graph_input(g, 0).desc;
    b->output_count = strata_graph_output_count(g);
    strata_graph_cost(g, &params, &b->macs);

    double loaded = talk_seconds();
    code = model_compile(&b->model, g, &b->program);
    if (code)
        return code;
    if (strata_session_create(b->program, &b->session, &err) != STRATA_OK)
        return talk_failure(STAGE_DEVICE, &err, NULL);
    b->compile_ms = (talk_seconds() - loaded) * 1e3;
    b->load_ms = (loaded - start) * 1e3;

    b->outputs = calloc((size_t)b->output_count, sizeof *b->outputs);
    if (!b->outputs)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    if (strata_tensor_create(&b->input_desc, &b->input, &err) != STRATA_OK ||
        strata_session_alloc_outputs(b->session, b->outputs, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    strata_random_input(o->random_weights.given ? o->random_weights.value : 1, strata_tensor_data(b->input),
                        (size_t)strata_count(&b->input_desc));
    return EXIT_DONE;
}

/* The program may be prepared again. */
static void put_away(struct bench *b)
{
    strata_session_destroy(b->session);
    strata_program_unref(b->program);
    strata_tensor_unref(b->input);
    for (int i = 0; b->outputs && i < b->output_count; i++)
        strata_tensor_unref(b->outputs[i]);
    free(b->outputs);
    b->session = NULL, b->program = NULL, b->input = NULL, b->outputs = NULL;
}

/* ---- Tuning ---------------------------------------------------------------------------------- */

static void note_tuned(void *user, const strata_tuned *t)
{
    struct bench *b = user;
    json_array_append_new(b->tuned, json_pack("{s:o, s:i, s:s, s:f, s:f, s:b}", "node", talk_json_text(t->node), "nodes",
                                              t->nodes, "choice", t->choice, "estimated_ms", t->estimated_ms, "best_ms",
                                              t->best_ms, "kept", t->kept));
    if (!b->o->json && t->kept)
        printf("tuned      %s (%d): %s, %.1f us for %.1f\n", t->node, t->nodes, t->choice, t->best_ms * 1e3,
               t->estimated_ms * 1e3);
}

/* Then prepares the program again, with what was kept. */
static int tune(struct bench *b)
{
    strata_error err = { 0 };
    b->tuned = json_array();
    if (strata_session_tune(b->session, note_tuned, b, &err) != STRATA_OK)
        return talk_failure(STAGE_DEVICE, &err, NULL);
    size_t kept = 0;
    for (size_t i = 0; i < json_array_size(b->tuned); i++)
        kept += json_is_true(json_object_get(json_array_get(b->tuned, i), "kept"));
    if (!b->o->json)
        printf("tuned      %zu of %zu kinds of steps are faster and kept\n", kept, json_array_size(b->tuned));
    put_away(b);
    return prepare(b);
}

/* ---- Times ----------------------------------------------------------------------------------- */

static int run_once(struct bench *b, double *ms)
{
    strata_error err = { 0 };
    double       start = talk_seconds();
    if (strata_session_run(b->session, &b->input, b->outputs, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    *ms = (talk_seconds() - start) * 1e3;
    return EXIT_DONE;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* As many runs as asked for, else as many as fit into the usual time. */
static int time_runs(struct bench *b)
{
    int    wanted = b->o->runs, most = wanted ? wanted : MOST_RUNS, code = EXIT_DONE;
    double ignored;
    b->ms = malloc((size_t)most * sizeof *b->ms);
    if (!b->ms)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    for (int i = 0; i < WARM_UP_RUNS && !code; i++)
        code = run_once(b, &ignored);
    double start = talk_seconds();
    while (!code && b->runs < most) {
        code = run_once(b, &b->ms[b->runs++]);
        if (!wanted && b->runs >= LEAST_RUNS && talk_seconds() - start > USUAL_SECONDS)
            break;
    }
    qsort(b->ms, (size_t)b->runs, sizeof *b->ms, by_value);
    return code;
}

static double quantile(const struct bench *b, double share)
{
    double place = share * (b->runs - 1);
    int    below = (int)place, above = below + 1 < b->runs ? below + 1 : below;
    return b->ms[below] + (place - below) * (b->ms[above] - b->ms[below]);
}

/* The kernel's own mark for this program (VmHWM). getrusage's, which is the fallback, also counts what the process was
 * before it became this program: a copy of its parent, which may be large. */
static double peak_rss_mb(void)
{
    char  line[128];
    long  kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && kb == 0 && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    if (f)
        fclose(f);
    struct rusage usage;
    if (kb == 0 && getrusage(RUSAGE_SELF, &usage) == 0)
        kb = usage.ru_maxrss;
    return (double)kb * 1024 / 1e6;
}

/* ---- Results --------------------------------------------------------------------------------- */

static int print_json(const struct bench *b, const struct profile *profile)
{
    strata_program_info info;
    const int64_t      *dim = b->input_desc.dim;
    double              median = quantile(b, 0.5);
    strata_program_get_info(b->program, &info);
    json_t *result =
        json_pack("{s:o, s:s, s:s, s:i, s:I, s:[I,I], s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:f}",
                  "model", talk_json_text(b->model.info.name), "device", info.device, "precision",
                  info.precision == STRATA_F16 ? "fp16" : "fp32", "threads", info.threads,
                  "batch", (json_int_t)dim[0], "size", (json_int_t)dim[2], (json_int_t)dim[3], "runs",
                  b->runs, "ms_min", b->ms[0], "ms_median", median, "ms_p95", quantile(b, 0.95), "load_ms",
                  b->load_ms, "compile_ms", b->compile_ms, "peak_rss_mb", peak_rss_mb(), "plan_mb",
                  (double)info.peak_bytes / 1e6, "arena_mb",
                  (double)info.arena_bytes / 1e6, "weights_mb", (double)info.weight_bytes / 1e6, "macs",
                  (json_int_t)b->macs, "gflops", median > 0 ? 2 * (double)b->macs / median / 1e6 : 0);
    if (result && b->tuned)
        json_object_set(result, "tuned", b->tuned);
    if (result && b->o->per_node)
        json_object_set_new(result, "nodes", profile_json(profile));
    return talk_json(result);
}

static int print_text(const struct bench *b, const struct profile *profile)
{
    strata_program_info info;
    const int64_t      *dim = b->input_desc.dim;
    double              median = quantile(b, 0.5);
    char                macs[32];
    strata_program_get_info(b->program, &info);
    printf("model      %s  %lldx%lldx%lldx%lld, %s MACs\n", b->model.info.name, (long long)dim[0],
           (long long)dim[1], (long long)dim[2], (long long)dim[3],
           talk_count((double)b->macs, macs, sizeof macs));
    printf("device     %s, %d threads%s\n", info.device, info.threads,
           info.precision == STRATA_F16 ? ", fp16" : "");
    printf("inference  median %.2f ms  min %.2f  p95 %.2f  (%d runs, %.1f images/s, %.1f GFLOP/s)\n", median,
           b->ms[0], quantile(b, 0.95), b->runs, median > 0 ? (double)dim[0] * 1e3 / median : 0,
           median > 0 ? 2 * (double)b->macs / median / 1e6 : 0);
    printf("start      load %.1f ms, compile %.1f ms\n", b->load_ms, b->compile_ms);
    printf("memory     planned %.1f MB: weights %.1f, activations %.1f, inputs and outputs %.1f; process peak %.1f MB\n",
           (double)info.peak_bytes / 1e6, (double)info.weight_bytes / 1e6, (double)info.arena_bytes / 1e6,
           (double)info.tensor_bytes / 1e6, peak_rss_mb());
    return b->o->per_node ? profile_table(profile, stdout) : EXIT_DONE;
}

static int take_profile(struct bench *b, struct profile *profile)
{
    int    code = EXIT_DONE;
    double ignored;
    strata_session_enable_profile(b->session, true);
    for (int i = 0; i < PROFILED_RUNS && !code; i++) {
        code = run_once(b, &ignored);
        if (!code)
            code = profile_add(profile, b->session);
    }
    return code;
}

static int report(struct bench *b)
{
    struct profile profile = { 0 };
    struct outfile trace = { 0 };
    int            code = EXIT_DONE;
    if (b->o->per_node || b->o->profile)
        code = take_profile(b, &profile);
    if (!code)
        code = b->o->json ? print_json(b, &profile) : print_text(b, &profile);
    if (!code && b->o->profile) {
        code = outfile_open("--profile", b->o->profile, &trace);
        if (!code)
            code = profile_trace(&profile, b->model.info.name, trace.stream);
        int closed = outfile_close(&trace, code == EXIT_DONE);
        code = code ? code : closed;
    }
    profile_free(&profile);
    return code;
}

static void clean_up(struct bench *b)
{
    put_away(b);
    json_decref(b->tuned);
    free(b->ms);
    model_close(&b->model);
}

static int run(const struct options *o)
{
    struct bench b = { .o = o };
    int          code = model_check_weights(o, true);
    if (!code && o->profile)
        code = talk_check_target("--profile", o->profile);
    if (!code)
        code = model_open(o, o->args[0], &b.model);
    if (!code)
        code = prepare(&b);
    if (!code && o->tune)
        code = tune(&b);
    if (!code)
        code = time_runs(&b);
    if (!code)
        code = report(&b);
    clean_up(&b);
    return code;
}

const struct command command_bench = {
    .name = "bench",
    .summary = "times a model",
    .usage = "MODEL (--random-weights SEED | --weights FILE) [options]",
    .about = "Warms up, then times whole inferences: input tensor ready in memory, outputs read back to\n"
             "the host.",
    .examples = "  strata bench resnet50 --random-weights 1\n"
                "  strata bench resnet50 --random-weights 1 --threads 1 --at stride:8 --json\n"
                "  strata bench resnet50 --random-weights 1 --per-node\n"
                "  strata bench resnet50 --random-weights 1 --profile trace.json\n"
                "  strata bench resnet50 --random-weights 1 --device vulkan --precision fp16 --tune\n",
    .bit = FOR_BENCH,
    .min_args = 1,
    .max_args = 1,
    .args_rule = "takes one model",
    .run = run,
};
