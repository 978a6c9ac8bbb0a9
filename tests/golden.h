/* Golden files: MindCV's own numbers, data/golden/MODEL__SIZE.golden. For every feature map and the logits
 * they hold some hundred sampled values, mean, standard deviation and largest absolute value, computed in
 * float64 with weights and input made from names and a seed (docs/random-weights.md).
 *
 *     mindcv-golden 1
 *     model NAME            ... further lines "key value": input N C H W, seed, gain
 *     feature I NAME reduction R shape D... mean M std S absmax A n K then K lines "index value"
 *     logits J shape D... mean M std S absmax A n K                   then K lines "value" or "index value"
 *     end
 *
 * A float32 run must agree within 2e-5 of a map's largest value; one with approximate kernels within 1e-4. */
#ifndef STRATA_TESTS_GOLDEN_H
#define STRATA_TESTS_GOLDEN_H

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <strata/extend.h>

#define GOLDEN_FOLDER STRATA_TEST_DATA "/golden"
#define GOLDEN_LIMIT  2e-5 /* of the largest absolute value of the map */
#define GOLDEN_APPROXIMATE_LIMIT 1e-4

enum { GOLDEN_MAPS = 32, GOLDEN_LINE = 512 };

typedef struct sample {
    int64_t index;
    double  value;
} sample;

typedef struct golden_map { /* what a file says of one output */
    char               selector[16]; /* "3" or "logits" */
    char               name[64];
    int                reduction;
    strata_tensor_desc desc;
    double             mean, std, absmax;
    sample            *samples;
    int                count;
} golden_map;

typedef struct golden {
    char       file[128], model[64];
    int        input[4];
    uint64_t   seed;
    double     gain;
    golden_map map[GOLDEN_MAPS];
    int        maps;
} golden;

/* ---- Reading ------------------------------------------------------------------------------------ */

static void read_samples(golden *g, golden_map *m, FILE *f)
{
    char line[GOLDEN_LINE];

    m->samples = malloc((size_t)m->count * sizeof *m->samples);
    assert_non_null(m->samples);
    for (int i = 0; i < m->count; i++) {
        double first, second;
        if (!fgets(line, sizeof line, f))
            fail_msg("%s: ends early", g->file);
        int numbers = sscanf(line, "%lf %lf", &first, &second);
        if (numbers < 1)
            fail_msg("%s: not a sample: %s", g->file, line);
        m->samples[i] = numbers == 2 ? (sample){ (int64_t)first, second } : (sample){ i, first };
    }
}

/* The part of a map's line from "shape" on. */
static void read_map(golden *g, const char *text, golden_map *m, FILE *f)
{
    const char *at = strstr(text, "shape ");
    int64_t     dim[STRATA_MAX_RANK];
    int         rank = 0, used;

    if (!at)
        fail_msg("%s: no shape: %s", g->file, text);
    for (at += 6; rank < STRATA_MAX_RANK && sscanf(at, "%" SCNd64 "%n", &dim[rank], &used) == 1; at += used)
        rank++;
    m->desc = strata_desc_f32(rank, dim);
    if (sscanf(at, " mean %lf std %lf absmax %lf n %d", &m->mean, &m->std, &m->absmax, &m->count) != 4)
        fail_msg("%s: not a map: %s", g->file, text);
    read_samples(g, m, f);
}

static void read_golden(golden *g, const char *file)
{
    char  path[1024], line[GOLDEN_LINE];
    FILE *f;

    *g = (golden){ .maps = 0 };
    snprintf(g->file, sizeof g->file, "%s", file);
    snprintf(path, sizeof path, GOLDEN_FOLDER "/%s", file);
    if (!(f = fopen(path, "r")))
        fail_msg("%s: cannot be opened", path);
    while (fgets(line, sizeof line, f) && strncmp(line, "end", 3) != 0) {
        golden_map *m = &g->map[g->maps];
        sscanf(line, "model %63s", g->model);
        sscanf(line, "input %d %d %d %d", &g->input[0], &g->input[1], &g->input[2], &g->input[3]);
        sscanf(line, "seed %" SCNu64, &g->seed);
        sscanf(line, "gain %lf", &g->gain);
        if (sscanf(line, "feature %15s %63s reduction %d", m->selector, m->name, &m->reduction) == 3 ||
            strncmp(line, "logits", 6) == 0) {
            assert_true(g->maps < GOLDEN_MAPS - 1);
            if (line[0] == 'l') {
                snprintf(m->selector, sizeof m->selector, "logits");
                snprintf(m->name, sizeof m->name, "logits");
            }
            read_map(g, line, m, f);
            g->maps++;
        }
    }
    fclose(f);
    assert_true(g->maps > 0 && g->model[0] && g->gain > 0);
}

static void free_golden(golden *g)
{
    for (int i = 0; i < g->maps; i++)
        free(g->map[i].samples);
}

/* ---- Running ------------------------------------------------------------------------------------- */

/* Fails the test with the text of the variable err. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != STRATA_OK)                                                                   \
            fail_msg("%s", err.text);                                                              \
    } while (0)

static void check_reduction(const strata_graph *graph, const golden_map *m)
{
    strata_feature f;
    strata_error   err = { 0 };

    if (m->reduction == 0) /* the logits */
        return;
    OK(strata_graph_feature(graph, atoi(m->selector), &f, &err));
    assert_int_equal(f.reduction, m->reduction);
}

/* The model of the file with its weights; its outputs are the file's maps in order. */
static strata_graph *build_golden(strata_context *ctx, const golden *g)
{
    strata_error            err = { 0 };
    char                    selectors[GOLDEN_LINE] = "";
    strata_graph           *graph;
    const strata_model_args args = { g->input[0], g->input[1], g->input[2], g->input[3], 0 };
    const strata_model_def *def = strata_find_model_def(ctx, g->model, &err);

    if (!def)
        fail_msg("%s", err.text);
    OK(strata_model_build(ctx, def, &args, &graph, &err));
    for (int i = 0; i < g->maps; i++)
        snprintf(selectors + strlen(selectors), sizeof selectors - strlen(selectors), "%s%s", i ? "," : "",
                 g->map[i].selector);
    OK(strata_graph_select(graph, selectors, &err));
    OK(strata_graph_bind_random(graph, g->seed, g->gain, &err));
    for (int i = 0; i < g->maps; i++) {
        assert_true(strata_same_shape(strata_graph_output(graph, i).desc, &g->map[i].desc));
        assert_string_equal(strata_graph_output(graph, i).name, g->map[i].name);
        check_reduction(graph, &g->map[i]);
    }
    return graph;
}

static strata_tensor *golden_input(const golden *g)
{
    const int64_t      dim[] = { g->input[0], g->input[1], g->input[2], g->input[3] };
    strata_tensor_desc desc = strata_desc_f32(4, dim);
    strata_tensor     *input;
    strata_error       err = { 0 };

    OK(strata_tensor_create(&desc, &input, &err));
    strata_random_input(g->seed, strata_tensor_data(input), (size_t)strata_count(&desc));
    return input;
}

/* ---- Comparing ----------------------------------------------------------------------------------- */

static double larger(double a, double b) /* a NaN is larger than anything */
{
    return a >= b ? a : b >= a ? b : NAN;
}

/* The largest of all differences, over the map's largest value. */
static double worst_error(const golden_map *m, const strata_tensor *t)
{
    const float *x = strata_tensor_data(t);
    int64_t      n = strata_count(&m->desc);
    double       sum = 0, squares = 0, absmax = 0, worst;

    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        absmax = fmax(absmax, fabs((double)x[i]));
    }
    for (int64_t i = 0; i < n; i++)
        squares += ((double)x[i] - sum / (double)n) * ((double)x[i] - sum / (double)n);

    worst = larger(fabs(sum / (double)n - m->mean), fabs(sqrt(squares / (double)n) - m->std));
    worst = larger(worst, fabs(absmax - m->absmax));
    for (int i = 0; i < m->count; i++) {
        assert_in_range(m->samples[i].index, 0, n - 1);
        worst = larger(worst, fabs((double)x[m->samples[i].index] - m->samples[i].value));
    }
    return worst / m->absmax;
}

/* Puts one tensor per map of the file into out. Returns whether approximate kernels took part. */
typedef bool golden_run(strata_context *ctx, const golden *g, strata_tensor **out);

/* Returns what run returns. */
static bool check_golden(const char *file, golden_run *run)
{
    golden          g;
    strata_context *ctx;
    strata_error    err = { 0 };
    strata_tensor  *out[GOLDEN_MAPS] = { NULL };
    double          worst = 0;
    const char     *where = "";

    read_golden(&g, file);
    OK(strata_context_create(&ctx, &err));
    const bool   approximate = run(ctx, &g, out);
    const double limit = approximate ? GOLDEN_APPROXIMATE_LIMIT : GOLDEN_LIMIT;
    for (int i = 0; i < g.maps; i++) {
        double e = worst_error(&g.map[i], out[i]);
        if (!(e <= worst)) {
            worst = e;
            where = g.map[i].name;
        }
        strata_tensor_unref(out[i]);
    }
    print_message("%-44s %9.2e at %s%s\n", file, worst, where, approximate ? ", approximate" : "");
    free_golden(&g);
    strata_context_destroy(ctx);
    if (!(worst <= limit))
        fail_msg("%s is off by %.2e of its largest value, more than %.0e", where, worst, limit);
    return approximate;
}

/* For main: runs `test` on each of the files that the arguments name, or else on `files`, its state being the name. */
static int golden_group(const char *group, CMUnitTestFunction test, int argc, char **argv, const char *const *files,
                        int count)
{
    const int          n = argc > 1 ? argc - 1 : count;
    struct CMUnitTest *tests = calloc((size_t)n, sizeof *tests);
    if (!tests)
        return 1;
    for (int i = 0; i < n; i++) {
        const char *name = argc > 1 ? argv[i + 1] : files[i];
        tests[i] = (struct CMUnitTest){ name, test, NULL, NULL, (void *)(uintptr_t)name };
    }
    int failed = _cmocka_run_group_tests(group, tests, (size_t)n, NULL, NULL);
    free(tests);
    return failed;
}

#endif
