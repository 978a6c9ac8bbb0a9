/* A squeeze-excite block, for tests of kernels that absorb parts of it. */
#ifndef STRATA_TESTS_GATED_NET_H
#define STRATA_TESTS_GATED_NET_H

#include "interpret.h"

#include <strata/nn.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct gated {
    int          batch, channels, height, width, hidden, outputs;
    bool         activated, residual; /* between product and projection, as in ReXNet; of the projection */
    bool         kept;                /* what the projection reads is an output as well, so that nothing absorbs it */
} gated;

/* y = project(act(x gate)) + x', gate = sigmoid(conv(relu(conv(mean of x)))) */
static inline strata_graph *squeeze_excite(strata_context *ctx, const gated *s)
{
    strata_builder *b;
    strata_graph   *g;
    strata_error    err;
    assert_int_equal(strata_builder_create(ctx, "squeeze_excite", &b, &err), STRATA_OK);
    strata_node *in = nn_image(b, &(strata_model_args){ s->batch, 3, s->height, s->width, 1 });
    strata_node *x = nn_relu(b, nn_conv2d(b, in, "expand", s->channels, 1));
    strata_node *a = nn_relu(b, nn_conv2d(b, nn_global_avg_pool(b, x), "reduce", s->hidden, 1, .bias = true));
    a = nn_sigmoid(b, nn_conv2d(b, a, "gate", s->channels, 1, .bias = true));
    x = nn_mul(b, x, a);
    if (s->activated)
        x = nn_relu6(b, x);
    strata_node *product = x;
    x = nn_conv2d(b, x, "project", s->outputs, 1, .bias = true);
    if (s->residual)
        x = nn_add(b, x, nn_conv2d(b, in, "shortcut", s->outputs, 1));
    nn_output(b, x, "y");
    if (s->kept)
        nn_output(b, product, "product");
    assert_int_equal(strata_builder_finish(b, &g, &err), STRATA_OK);
    fill_constants(g, 7);
    return g;
}

static inline int count_steps(const strata_session *s, const char *kernel)
{
    int count = 0;
    for (int i = 0; i < strata_session_step_count(s); i++)
        count += strcmp(strata_session_step(s, i).kernel, kernel) == 0;
    return count;
}

#endif
