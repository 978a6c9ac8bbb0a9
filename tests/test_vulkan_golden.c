/* Whole models on Vulkan against MindCV's own numbers (see golden.h): a file for each family, under
 * validation; nothing may fall back to the CPU, and memory is full of NaN before it is used.
 *
 * Arguments: names of files to check instead, for work on one model. */
#include "golden.h"
#include "vulkan.h"

static bool run(strata_context *ctx, const golden *g, strata_tensor **out)
{
    strata_error    err = { 0 };
    strata_graph   *graph = build_golden(ctx, g);
    strata_tensor  *input = golden_input(g);
    strata_program *program;
    strata_session *session;
    char            device[32];

    assert_non_null(vk_instance_with(
        ctx,
        &(vk_config){ .validation = true, .poison = true, .cache_folder = "", .message = vulkan_message }));
    if (vulkan_layer_missing(vk_instance_of(ctx)))
        skip();
    strata_program_options options = { .device = vulkan_name(ctx, device), .strict_device = true };
    OK(strata_program_create(graph, &options, &program, &err));
    OK(strata_session_create(program, &session, &err));
    OK(strata_session_alloc_outputs(session, out, &err));
    OK(strata_session_run(session, &input, out, &err));
    strata_session_destroy(session);
    strata_program_unref(program);
    strata_tensor_unref(input);
    return false;
}

static void matches_mindcv(void **state)
{
    check_golden(*state, run);
    assert_int_equal(vulkan_messages, 0);
}

static char *const files[] = {
    (char[]){ "convnext_tiny__1x97x131.golden" },    (char[]){ "convnextv2_atto__2x96x128.golden" },
    (char[]){ "efficientnet_b0__1x97x131.golden" },  (char[]){ "hrnet_w32__1x97x131.golden" },
    (char[]){ "mobilenet_v2_100__1x97x131.golden" }, (char[]){ "mobilenet_v3_small_100__2x96x128.golden" },
    (char[]){ "repvgg_a0__1x97x131.golden" },        (char[]){ "resnest14__2x96x128.golden" },
    (char[]){ "resnet18__2x96x128.golden" },         (char[]){ "resnet50__1x97x131.golden" },
    (char[]){ "rexnet_10__1x97x131.golden" },        (char[]){ "vgg11__2x96x128.golden" },
};

enum { FILES = sizeof files / sizeof *files };

int main(int argc, char **argv)
{
    struct CMUnitTest tests[64];
    int               count = argc > 1 ? argc - 1 : FILES;

    vulkan_need_device();
    for (int i = 0; i < count && i < 64; i++) {
        char *name = argc > 1 ? argv[i + 1] : files[i];
        tests[i] = (struct CMUnitTest){ name, matches_mindcv, NULL, NULL, name };
    }
    return _cmocka_run_group_tests("vulkan golden", tests, (size_t)count, NULL, NULL);
}
