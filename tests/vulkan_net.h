/* A small network with most ops for tests of whole programs on Vulkan: branches, a gate, a view, several
 * outputs. */
#ifndef STRATA_TESTS_VULKAN_NET_H
#define STRATA_TESTS_VULKAN_NET_H

#include "interpret.h"
#include "vulkan.h"

#include <strata/nn.h>

enum { NET_OUTPUTS = 3 };

static strata_error err;

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != STRATA_OK)                                                                             \
            fail_msg("%s", err.text);                                                                        \
    } while (0)

static inline strata_graph *net(strata_context *ctx, int batch)
{
    strata_builder *b;
    strata_graph   *g;
    OK(strata_builder_create(ctx, "net", &b, &err));
    strata_node *x = nn_image(b, &(strata_model_args){ batch, 3, 19, 23, 10 });
    strata_node *y =
        nn_relu(b, nn_batch_norm(b, nn_conv2d(b, x, "conv1", 8, 3, .stride = 2, .same = true), "bn1"));
    strata_node *p = nn_silu(b, nn_conv2d(b, y, "left", 12, 1));
    strata_node *q = nn_relu(b, nn_conv2d(b, y, "right", 12, 3, .pad = 1, .groups = 4, .bias = true));
    strata_node *z = nn_add(b, p, q);
    strata_node *s = nn_sigmoid(b, nn_conv2d(b, nn_global_avg_pool(b, z), "gate", 12, 1, .bias = true));
    z = nn_relu(b, nn_conv2d(b, nn_mul(b, z, s), "last", 6, 3, .same = true));
    nn_output(b, z, "map");
    nn_output(b, y, "stem");
    nn_output(b, nn_dense(b, nn_flatten(b, nn_global_avg_pool(b, z)), "classifier", 10), "logits");
    OK(strata_builder_finish(b, &g, &err));
    fill_constants(g, 7);
    return g;
}

static inline strata_tensor *net_input(int batch)
{
    const int64_t      dim[] = { batch, 3, 19, 23 };
    strata_tensor_desc desc = strata_desc_f32(4, dim);
    return random_tensor(&desc, 5, -1, 1);
}

static inline void release(strata_tensor **t, int n)
{
    for (int i = 0; i < n; i++)
        strata_tensor_unref(t[i]);
}

/* The outputs of the network; the status of the first failure, with its text in err. */
static inline strata_status run_net_with(strata_context *ctx, const strata_program_options *options,
                                         int batch, bool profile, strata_tensor **out)
{
    strata_program *program = NULL;
    strata_session *session = NULL;
    strata_tensor  *in = net_input(batch);
    bool            filled = false;
    strata_status   status = strata_program_create(net(ctx, batch), options, &program, &err);
    if (status == STRATA_OK)
        status = strata_session_create(program, &session, &err);
    if (status == STRATA_OK) {
        strata_session_enable_profile(session, profile);
        status = strata_session_alloc_outputs(session, out, &err);
        filled = status == STRATA_OK;
    }
    if (status == STRATA_OK)
        status = strata_session_run(session, &in, out, &err);
    for (int i = 0; profile && status == STRATA_OK && i < strata_session_step_count(session); i++) {
        strata_step_profile step = strata_session_step(session, i);
        assert_true(step.ms >= 0 && step.ms < 60e3 && step.start_ms > 0);
    }
    if (filled && status != STRATA_OK)
        release(out, NET_OUTPUTS);
    strata_session_destroy(session);
    strata_program_unref(program);
    strata_tensor_unref(in);
    return status;
}

/* On a device ("cpu", "vulkan:0"). */
static inline strata_status run_net(strata_context *ctx, const char *device, int batch, bool profile,
                                    strata_tensor **out)
{
    return run_net_with(ctx, &(strata_program_options){ .device = device, .threads = 2 }, batch, profile,
                        out);
}

/* Runs with this configuration and compares with the CPU. Returns how many messages that gave. */
static inline int check_net(vk_config config, int batch, bool profile)
{
    char            device[32];
    int             before = vulkan_messages;
    strata_context *ctx = vulkan_context_with(config);
    strata_tensor  *got[NET_OUTPUTS], *want[NET_OUTPUTS];
    OK(run_net(ctx, "cpu", batch, false, want));
    OK(run_net(ctx, vulkan_name(ctx, device), batch, profile, got));
    for (int i = 0; i < NET_OUTPUTS; i++)
        if (!(difference(want[i], got[i]) < 1e-5))
            fail_msg("output %d differs by %g", i, difference(want[i], got[i]));
    release(got, NET_OUTPUTS);
    release(want, NET_OUTPUTS);
    strata_context_destroy(ctx);
    return vulkan_messages - before;
}

#endif
