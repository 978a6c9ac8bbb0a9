/* Every kernel row of the Vulkan backend against the definition of its op, over random shapes, under
 * validation; what a kernel must write is full of NaN before. Convolutions go through the direct shader,
 * through the implicit product in every tile shape with its sum in one and in several splits, and through that for few
 * pixels. All of it once with
 * values of float and once with values of float16, where the device stores these.
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
    strata_dtype    dtype;       /* of values */
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

/* The result in row-major order; on the device over operand `over`, or NOWHERE. */
static float *run_on_device(fixture *fix, placed_node *p, const op_run *r, const strata_kernel_def *k,
                            int over)
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
        const size_t              size = strata_bytes(desc), elements = (size_t)strata_count(desc);
        float                    *turned = malloc(elements * sizeof *turned);
        void                     *stored = malloc(size);
        assert_true(turned && stored);
        turn_layout(desc, false, r->x[i], turned);
        strata_convert_from_f32(turned, desc->dtype, stored, elements);
        frame.in[i] = buffer_for(fix, desc, size);
        OK(backend->write(frame.in[i].buffer, 0, stored, size, &err));
        free(stored);
        free(turned);
    }
    const size_t bytes = strata_bytes(&p->n.desc), count = (size_t)strata_count(&p->n.desc);
    frame.out = over != NOWHERE ? frame.in[over] : buffer_for(fix, &p->n.desc, bytes);
    if (step.workspace > 0)
        frame.workspace = buffer_for(fix, NULL, step.workspace);
    void  *raw = malloc(bytes);
    float *wide = malloc(count * sizeof *wide), *result = malloc(count * sizeof *result);
    assert_true(raw && wide && result);
    OK(backend->record(fix->device, &step, &frame, 1, &recording, &err));
    OK(backend->run(fix->device, recording, NULL, &err));
    OK(backend->read(frame.out.buffer, 0, raw, bytes, &err));
    strata_convert_to_f32(p->n.desc.dtype, raw, wide, count);
    turn_layout(&p->n.desc, true, wide, result);
    backend->discard(fix->device, recording);
    for (int i = 0; i < STRATA_MAX_OPERANDS; i++)
        backend->free(fix->device, frame.in[i].buffer);
    if (over == NOWHERE)
        backend->free(fix->device, frame.out.buffer);
    backend->free(fix->device, frame.workspace.buffer);
    k->release(&step);
    free(raw);
    free(wide);
    return result;
}

static void place_as(placed_node *p, const op_run *r, strata_layout layout, strata_dtype dtype)
{
    place(p, r, layout);
    for (int k = 0; k < r->count; k++)
        if (p->n.in[k] && !strata_node_is_constant(p->n.in[k]))
            p->in[k].desc.dtype = dtype;
    p->n.desc.dtype = dtype;
    if (r->n.op == &strata_op_copy)
        ((strata_copy_attrs *)p->n.attrs)->dtype = dtype;
}

static void check_kernel(fixture *f, const kernel_case *c, uint64_t seed, const op_run *r, const float *scale,
                         const strata_kernel_def *k, strata_layout layout, int over)
{
    placed_node p;
    place_as(&p, r, layout, f->dtype);
    if (!may_write_over(k, &p.n, over))
        return;
    const vk_config *config = &f->instance->config;
    char             what[200];
    snprintf(what, sizeof what, "%s (seed %llu, %s, %s%s, conv %d, tile %d, split %d)", k->name,
             (unsigned long long)seed, strata_dtype_name(f->dtype), strata_layout_names[layout],
             over != NOWHERE ? ", in place" : "", config->conv, config->tile, config->split);
    float *got = run_on_device(f, &p, r, k, over);
    check_result(what, r, got, scale, c->tolerance);
    free(got);
    if (vulkan_messages > 0)
        fail_msg("%s: the validation layer complains", what);
}

/* What float16 can hold of the operands, so that only results are rounded. */
static void round_operands(op_run *r)
{
    for (int k = 0; k < r->count; k++)
        for (int64_t i = 0; r->n.in[k] && i < strata_count(&r->in[k].desc); i++) {
            uint16_t half;
            strata_convert_from_f32(&r->x[k][i], STRATA_F16, &half, 1);
            strata_convert_to_f32(STRATA_F16, &half, &r->x[k][i], 1);
        }
}

/* Adds half of a last place of float16 to what is tolerated, and what lies below its smallest numbers; where nothing
 * is tolerated, results are operands. */
static void widen_scales(const op_run *r, float *scale, double tolerance)
{
    for (int64_t i = 0; tolerance > 0 && i < strata_count(&r->n.desc); i++)
        scale[i] += (float)((fabs((double)r->y[i]) * 0x1.1p-11 + 0x1p-24) / tolerance);
}

/* A case by all kernels that take it, in all their layouts. */
static void check_case(fixture *f, const kernel_case *c, uint64_t seed)
{
    op_run r;
    noise_state = seed;
    build_case(c, &r, 1 + (int)(seed % 3));
    if (f->dtype == STRATA_F16)
        round_operands(&r);
    op_eval(&r);
    float *scale = scales(&r);
    if (f->dtype == STRATA_F16)
        widen_scales(&r, scale, c->tolerance);
    bool   taken = false;
    for (int row = 0; strata_backend_vulkan.kernels[row]; row++) {
        const strata_kernel_def *k = strata_backend_vulkan.kernels[row];
        if (k->op != c->op || k->absorbs || (f->dtype == STRATA_F16 && !k->half) || (k->accepts && !k->accepts(&r.n)))
            continue;
        f->reached[row] = taken = true;
        for (int layout = 0; layout < STRATA_LAYOUT_COUNT; layout++)
            for (int over = NOWHERE; over < STRATA_MAX_OPERANDS && (k->layouts >> layout & 1); over++)
                check_kernel(f, c, seed, &r, scale, k, (strata_layout)layout, over);
    }
    if (!taken)
        fail_msg("no kernel takes a case of %s (seed %llu)", c->op->name, (unsigned long long)seed);
    free(scale);
    end_case(&r);
}

static void every_kernel(void **state)
{
    fixture *f = *state;
    memset(f->reached, 0, sizeof f->reached);
    noise_seed();
    uint64_t seed = noise_state;
    for (int i = 0; op_case_defs[i].op; i++)
        for (int time = 0; time < op_case_defs[i].times; time += f->share, seed += 1000003)
            check_case(f, &op_case_defs[i], seed);
    for (int row = 0; strata_backend_vulkan.kernels[row]; row++)
        if (!f->reached[row] && !strata_backend_vulkan.kernels[row]->absorbs) /* test_vulkan_absorb.c */
            fail_msg("no case reaches kernel %s", strata_backend_vulkan.kernels[row]->name);
}

/* Every tile shape, alone and with splits. A case is another pipeline to compile, for seconds where all accesses are
 * checked: the forms take turns over the shapes, and with bounds the two types of values share the shapes. */
static void every_tile(void **state)
{
    const kernel_case *const forms[] = { find_case(&strata_op_conv2d, "any"),
                                         find_case(&strata_op_conv2d, "pointwise"),
                                         find_case(&strata_op_dense, "any") };
    static const int         splits[] = { 3, 1 };
    fixture                 *f = *state;
    vk_config               *config = &f->instance->config;
    const int                half = f->dtype == STRATA_F16, tiles = vk_gemm_tiles(f->device, f->dtype);
    noise_seed();
    uint64_t seed = noise_state;
    config->conv = VK_CONV_GEMM;
    for (int tile = 0; tile < tiles; tile++) {
        config->tile = tile + 1;
        for (int i = 0; i < 2; i++, seed += 1000003) {
            config->split = splits[i];
            if (!f->bounds || (tile % 2 == half && tile / 2 % 2 == i))
                check_case(f, forms[(tile + i + half) % 3], seed);
        }
    }
    config->conv = VK_CONV_AUTO;
    config->tile = config->split = 0;
}

/* The same with values of float16. */
static void in_half(void **state, void (*test)(void **))
{
    fixture *f = *state;
    if (!strata_backend_vulkan.stores(f->device, STRATA_F16))
        skip();
    f->dtype = STRATA_F16;
    f->share *= 2; /* what differs is how values are loaded and stored */
    test(state);
    f->share /= 2;
    f->dtype = STRATA_F32;
}

static void every_kernel_in_half(void **state) { in_half(state, every_kernel); }
static void every_tile_in_half(void **state) { in_half(state, every_tile); }

static bool bounds;

static int set_up(void **state)
{
    static fixture f;
    f.bounds = bounds;
    f.share = bounds ? 48 : 2;
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_kernel), cmocka_unit_test(every_tile),
                                        cmocka_unit_test(every_kernel_in_half),
                                        cmocka_unit_test(every_tile_in_half) };
    vulkan_need_device();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
