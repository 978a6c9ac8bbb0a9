/* All models on Vulkan against the CPU, every feature and the logits, at a size that a processor can do. Of giants the
 * outputs that ENOUGH parameters reach: what is behind them are more copies of blocks that smaller ones of their family
 * have, and gigabytes. Nothing may fall back. Arguments: names of models, instead of all. */
#include "vulkan.h"

#include <math.h>

/* Larger ones make the deepest networks chaotic: there, two pipelines on the CPU differ by percents. */
static const double GAIN = 1;

enum { SIZE = 32, MAX_MODELS = 200, MAX_OUTPUTS = 40, ENOUGH = 100 * 1000 * 1000 };

static strata_error err;
static char         device[32];

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != STRATA_OK)                                                                             \
            fail_msg("%s", err.text);                                                                        \
    } while (0)

/* All features and, if it has them at this size, the logits; or, where that is too much, so many of the first features. */
static strata_graph *build(strata_context *ctx, const char *model)
{
    const strata_model_def *def = strata_find_model_def(ctx, model, &err);
    strata_graph *g;
    char          selectors[512] = "";
    uint64_t      params, macs;
    assert_non_null(def);
    OK(strata_model_build(ctx, def, &(strata_model_args){ .height = SIZE, .width = SIZE }, &g, &err));
    const bool logits = strata_graph_declared_output(g, "logits"); /* some classifiers need larger images */
    for (int i = 0; i < strata_graph_feature_count(g) + logits; i++) {
        const size_t length = strlen(selectors);
        char next[16] = "logits";
        if (i < strata_graph_feature_count(g))
            snprintf(next, sizeof next, "%d", i);
        snprintf(selectors + length, sizeof selectors - length, "%s%s", i ? "," : "", next);
        OK(strata_graph_select(g, selectors, &err));
        strata_graph_cost(g, &params, &macs);
        if (params > ENOUGH) {
            selectors[length] = 0;
            break;
        }
    }
    OK(strata_graph_select(g, selectors, &err));
    return g;
}

/* The same model with the same tensors: making the numbers of a large model takes as long as running it. */
static strata_graph *build_again(strata_context *ctx, const char *model, const strata_graph *bound)
{
    strata_graph *g = build(ctx, model);
    for (int i = 0; i < strata_graph_node_count(bound); i++) {
        const strata_node *n = strata_graph_node(bound, i);
        if (n->data)
            strata_node_set_data(strata_graph_find(g, n->name), n->data);
    }
    return g;
}

static void run(strata_graph *g, const char *where, strata_tensor **out, int *count)
{
    strata_program *program;
    strata_session *session;
    strata_tensor  *in;
    *count = strata_graph_output_count(g);
    assert_in_range(*count, 1, MAX_OUTPUTS);
    OK(strata_tensor_create(strata_graph_input(g, 0).desc, &in, &err));
    strata_random_input(1, strata_tensor_data(in), (size_t)strata_count(strata_tensor_get_desc(in)));
    const strata_program_options how = { .device = where, .strict_device = true, .exact = true };
    OK(strata_program_create(g, &how, &program, &err));
    OK(strata_session_create(program, &session, &err));
    OK(strata_session_alloc_outputs(session, out, &err));
    OK(strata_session_run(session, &in, out, &err));
    strata_session_destroy(session);
    strata_program_unref(program);
    strata_tensor_unref(in);
}

/* The largest difference over the largest value; infinite for a NaN on one side only. */
static double difference(const strata_tensor *a, const strata_tensor *b)
{
    const float *x = strata_tensor_data(a), *y = strata_tensor_data(b);
    double       most = 0, scale = 0;
    for (int64_t i = 0, n = strata_count(strata_tensor_get_desc(a)); i < n; i++) {
        double d = fabs((double)x[i] - (double)y[i]);
        most = d <= most ? most : isnan(d) ? INFINITY : d;
        scale = fmax(scale, fabs((double)x[i]));
    }
    return most == 0 ? 0 : most / scale;
}

static strata_context *ctx;

static void agrees(void **state)
{
    const char    *model = *state;
    strata_tensor *want[MAX_OUTPUTS], *got[MAX_OUTPUTS];
    int            count;
    double         worst = 0;
    strata_graph *bound = build(ctx, model), *again;
    OK(strata_graph_bind_random(bound, 1, GAIN, &err));
    again = build_again(ctx, model, bound);
    run(bound, "cpu", want, &count);
    run(again, device, got, &count);
    for (int i = 0; i < count; i++) {
        worst = fmax(worst, difference(want[i], got[i]));
        strata_tensor_unref(want[i]);
        strata_tensor_unref(got[i]);
    }
    print_message("%-32s %.1e (%d outputs)\n", model, worst, count);
    if (!(worst < 1e-5))
        fail_msg("%s: off by %.2e of the largest value", model, worst);
    assert_int_equal(vulkan_messages, 0);
}

typedef struct list {
    struct CMUnitTest test[MAX_MODELS];
    size_t            count;
} list;

static void add_model(void *user, const strata_model_info *info)
{
    list *l = user;
    if (l->count < MAX_MODELS)
        l->test[l->count++] =
            (struct CMUnitTest){ info->name, agrees, NULL, NULL, (void *)(uintptr_t)info->name };
}

int main(int argc, char **argv)
{
    static list l;
    vulkan_need_device();
    ctx = vulkan_context_with((vk_config){ .poison = true });
    vulkan_name(ctx, device);
    if (argc > 1)
        for (int i = 1; i < argc; i++)
            strata_list_models(ctx, argv[i], false, add_model, &l);
    else
        strata_list_models(ctx, NULL, false, add_model, &l);
    int failed = _cmocka_run_group_tests("vulkan models", l.test, l.count, NULL, NULL);
    strata_context_destroy(ctx);
    return failed || l.count == 0;
}
