/* Every kernel row of the Vulkan backend against the definition of its op, over random shapes, under
 * validation; what a kernel must write is full of NaN before. Convolutions go through the direct shader, and
 * through the implicit product in every tile shape with its sum in one and in several splits.
 *
 * With the argument "bounds" every operand has a buffer of its own and the layer checks each access of each
 * shader instead of the order of accesses. */
#include "kernel_cases.h"
#include "vulkan.h"

#include "../backends/vulkan/conv.h"

typedef struct fixture {
    strata_context *ctx;
    vk_instance    *instance;
    strata_device  *device;
    int             share; /* one in so many cases is tried */
    bool            bounds;
    bool            reached[64]; /* by row of the backend */
} fixture;

static strata_error err;

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != STRATA_OK)                                                                             \
            fail_msg("%s", err.text);                                                                        \
    } while (0)

static strata_view buffer_for(fixture *f, const strata_tensor_desc *desc, size_t bytes)
{
    strata_view v = { .desc = desc };
    OK(strata_backend_vulkan.alloc(f->device, bytes, &v.buffer, &err));
    return v;
}

/* The result in row-major order. */
static float *run_on_device(fixture *fix, placed_node *p, const op_run *r, const strata_kernel_def *k,
                            bool in_place)
{
    const strata_backend_def *backend = &strata_backend_vulkan;
    strata_step               step = { .node = &p->n, .kernel = k, .device = fix->device };
    strata_frame              frame = { .stream = NULL };
    void                     *recording;
    OK(k->prepare(&step, &err));
    for (int i = 0; i < STRATA_MAX_OPERANDS; i++) {
        if (!p->n.in[i] || (step.consumed >> i & 1))
            continue;
        const strata_tensor_desc *desc = &p->n.in[i]->desc;
        float                    *turned = malloc(strata_bytes(desc));
        assert_non_null(turned);
        turn_layout(desc, false, r->x[i], turned);
        frame.in[i] = buffer_for(fix, desc, strata_bytes(desc));
        OK(backend->write(frame.in[i].buffer, 0, turned, strata_bytes(desc), &err));
        free(turned);
    }
    const size_t bytes = strata_bytes(&p->n.desc);
    frame.out = in_place ? frame.in[0] : buffer_for(fix, &p->n.desc, bytes);
    if (step.workspace > 0)
        frame.workspace = buffer_for(fix, NULL, step.workspace);
    float *raw = malloc(bytes), *result = malloc(bytes);
    assert_true(raw && result);
    OK(backend->record(fix->device, &step, &frame, 1, &recording, &err));
    OK(backend->run(fix->device, recording, NULL, &err));
    OK(backend->read(frame.out.buffer, 0, raw, bytes, &err));
    turn_layout(&p->n.desc, true, raw, result);
    backend->discard(fix->device, recording);
    for (int i = 0; i < STRATA_MAX_OPERANDS; i++)
        backend->free(fix->device, frame.in[i].buffer);
    if (!in_place)
        backend->free(fix->device, frame.out.buffer);
    backend->free(fix->device, frame.workspace.buffer);
    k->release(&step);
    free(raw);
    return result;
}

static void check_kernel(fixture *f, const kernel_case *c, uint64_t seed, const op_run *r, const float *scale,
                         const strata_kernel_def *k, strata_layout layout, bool in_place)
{
    placed_node p;
    place(&p, r, layout);
    if (in_place &&
        (strata_bytes(&p.in[0].desc) != strata_bytes(&p.n.desc) || strata_node_is_constant(&p.in[0])))
        return;
    const vk_config *config = &f->instance->config;
    char             what[200];
    snprintf(what, sizeof what, "%s (seed %llu, %s%s, conv %d, tile %d, split %d)", k->name,
             (unsigned long long)seed, strata_layout_names[layout], in_place ? ", in place" : "",
             config->conv, config->tile, config->split);
    float *got = run_on_device(f, &p, r, k, in_place);
    check_result(what, r, got, scale, c->tolerance);
    free(got);
    if (vulkan_messages > 0)
        fail_msg("%s: the validation layer complains", what);
}

/* A case by all kernels that take it, in all their layouts. */
static void check_case(fixture *f, const kernel_case *c, uint64_t seed)
{
    op_run r;
    noise_state = seed;
    build_case(c, &r, 1 + (int)(seed % 3));
    op_eval(&r);
    float *scale = scales(&r);
    bool   taken = false;
    for (int row = 0; strata_backend_vulkan.kernels[row]; row++) {
        const strata_kernel_def *k = strata_backend_vulkan.kernels[row];
        if (k->op != c->op || (k->accepts && !k->accepts(&r.n)))
            continue;
        f->reached[row] = taken = true;
        for (int layout = 0; layout < STRATA_LAYOUT_COUNT; layout++)
            for (int in_place = 0; in_place <= (int)k->in_place && (k->layouts >> layout & 1); in_place++)
                check_kernel(f, c, seed, &r, scale, k, (strata_layout)layout, in_place);
    }
    if (!taken)
        fail_msg("no kernel takes a case of %s (seed %llu)", c->op->name, (unsigned long long)seed);
    free(scale);
    end_case(&r);
}

static void every_kernel(void **state)
{
    fixture *f = *state;
    noise_seed();
    uint64_t seed = noise_state;
    for (int i = 0; op_case_defs[i].op; i++)
        for (int time = 0; time < op_case_defs[i].times; time += f->share, seed += 1000003)
            check_case(f, &op_case_defs[i], seed);
    for (int row = 0; strata_backend_vulkan.kernels[row]; row++)
        if (!f->reached[row])
            fail_msg("no case reaches kernel %s", strata_backend_vulkan.kernels[row]->name);
}

/* Every tile shape, alone and with splits. Activations are few here: each is another pipeline to compile. */
static void every_tile(void **state)
{
    const kernel_case *const forms[] = { find_case(&strata_op_conv2d, "any"),
                                         find_case(&strata_op_conv2d, "pointwise"),
                                         find_case(&strata_op_dense, "any") };
    static const int         splits[] = { 3, 1, 8 };
    fixture                 *f = *state;
    vk_config               *config = &f->instance->config;
    noise_seed();
    uint64_t seed = noise_state;
    config->conv = VK_CONV_GEMM;
    for (config->tile = 1; config->tile <= vk_gemm_tiles(); config->tile++)
        for (size_t s = 0; s < (f->bounds ? 1 : sizeof splits / sizeof *splits); s++) {
            config->split = splits[s];
            for (size_t i = 0; i < sizeof forms / sizeof *forms; i++, seed += 1000003)
                check_case(f, forms[i], seed);
        }
    config->conv = VK_CONV_AUTO;
    config->tile = config->split = 0;
}

static bool bounds;

static int set_up(void **state)
{
    static fixture f;
    f.bounds = bounds;
    f.share = bounds ? 16 : 2;
    f.ctx = vulkan_context_with((vk_config){ .poison = true, .gpu_assisted = bounds, .separate = bounds });
    f.instance = vk_instance_of(f.ctx);
    *state = &f;
    return vk_device_open(f.instance, vulkan_index(f.ctx), 2, &f.device, NULL) == STRATA_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    vk_device_close(f->device);
    strata_context_destroy(f->ctx);
    return vulkan_messages;
}

int main(int argc, char **argv)
{
    bounds = argc > 1 && strcmp(argv[1], "bounds") == 0;
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_kernel), cmocka_unit_test(every_tile) };
    vulkan_need_device();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
