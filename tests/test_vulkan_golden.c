/* Whole models on Vulkan against MindCV's own numbers (see golden.h): a file for each kind of block, under
 * validation; nothing may fall back to the CPU, and memory is full of NaN before it is used. VGG, whose ops the others
 * have too, and ResNet of basic blocks are left to test_vulkan_models.c.
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

static const char *const files[] = {
    "convnext_tiny__1x97x131.golden",    "convnextv2_atto__2x96x128.golden",
    "efficientnet_b0__1x97x131.golden",  "hrnet_w32__1x97x131.golden",
    "mobilenet_v2_100__1x97x131.golden", "mobilenet_v3_small_100__2x96x128.golden",
    "repvgg_a0__1x97x131.golden",        "resnest14__2x96x128.golden",
    "resnet50__1x97x131.golden",         "rexnet_10__1x97x131.golden",
};

int main(int argc, char **argv)
{
    vulkan_need_device();
    return golden_group("vulkan golden", matches_mindcv, argc, argv, files, sizeof files / sizeof *files);
}
