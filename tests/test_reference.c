/* The definitions in numbers against MindCV (see golden.h): graphs as they were built, without any pass,
 * scheduler or kernel, evaluated node by node by op->eval. A few small models that have nearly every op between
 * them: when these agree and test_golden does not, the fault is in a pass or a kernel.
 *
 * Arguments: names of files to check instead. */
#include "golden.h"

static void evaluate(strata_graph *g, const strata_tensor *input, strata_tensor **value)
{
    strata_error err = { 0 };

    for (int i = 0; i < strata_graph_node_count(g); i++) {
        const strata_node *n = strata_graph_node(g, i);
        strata_view        in[STRATA_MAX_OPERANDS] = { { .desc = NULL } }, out = { .desc = &n->desc };

        if (strata_node_is_constant(n)) {
            value[i] = n->data ? strata_tensor_ref(n->data) : NULL;
        } else if (strata_node_is_source(n)) {
            OK(strata_tensor_wrap(&n->desc, strata_tensor_data(input), NULL, NULL, &value[i], &err));
        } else {
            for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
                if (n->in[k]) {
                    in[k].desc = &n->in[k]->desc;
                    in[k].data = strata_tensor_data(value[n->in[k]->id]);
                }
            OK(strata_tensor_create(&n->desc, &value[i], &err));
            out.data = strata_tensor_data(value[i]);
            OK(n->op->eval(n, in, &out));
        }
    }
}

static bool run(strata_context *ctx, const golden *g, strata_tensor **out)
{
    strata_graph   *graph = build_golden(ctx, g);
    strata_tensor  *input = golden_input(g);
    int             count = strata_graph_node_count(graph);
    strata_tensor **value = calloc((size_t)count, sizeof(strata_tensor *));

    assert_non_null(value);
    evaluate(graph, input, value);
    for (int i = 0; i < g->maps; i++)
        out[i] = strata_tensor_ref(value[strata_graph_output(graph, i).node->id]);
    for (int i = 0; i < count; i++)
        strata_tensor_unref(value[i]);
    free(value);
    strata_tensor_unref(input);
    strata_graph_destroy(graph);
    return false;
}

static void matches_mindcv(void **state) { check_golden(*state, run); }

static const char *const files[] = {
    "convnextv2_atto__2x96x128.golden", "mobilenet_v3_small_100__2x96x128.golden", "repvgg_a0__1x97x131.golden",
    "resnest14__2x96x128.golden",       "rexnet_10__1x97x131.golden",
};

int main(int argc, char **argv)
{
    return golden_group("reference", matches_mindcv, argc, argv, files, sizeof files / sizeof *files);
}
