/* The Vulkan backend around its kernels: what is said when there is no loader, no driver, no such device;
 * transfers with and without staging, segments, profiles, several sessions at once; hazards and barriers. */
#include "vulkan_net.h"

#include "../backends/vulkan/kernel.h"

#include <pthread.h>

/* ---- Keeping objects with a context (strata_context_keep) ---------------------------------------- */

static int order[4], destroyed;

static void *make_kept(void *arg)
{
    return arg;
}

static void destroy_kept(void *kept)
{
    order[destroyed++] = *(int *)kept;
}

static void kept_objects(void **state)
{
    (void)state;
    int             one = 1, two = 2, other = 3;
    strata_context *ctx;
    OK(strata_context_create(&ctx, &err));
    assert_null(strata_context_keep(ctx, &one, make_kept, NULL, destroy_kept)); /* not made: asked again */
    assert_ptr_equal(strata_context_keep(ctx, &one, make_kept, &one, destroy_kept), &one);
    assert_ptr_equal(strata_context_keep(ctx, &one, make_kept, &other, destroy_kept), &one);
    assert_ptr_equal(strata_context_keep(ctx, &two, make_kept, &two, destroy_kept), &two);
    strata_context_destroy(ctx);
    assert_int_equal(destroyed, 2);
    assert_true(order[0] == 2 && order[1] == 1);
}

/* ---- Selection ----------------------------------------------------------------------------------- */

static void refuses(strata_context *ctx, const char *device, const char *words)
{
    strata_program *program;
    assert_int_equal(
        strata_program_create(net(ctx, 1), &(strata_program_options){ .device = device }, &program, &err),
        STRATA_DEVICE);
    if (!strstr(err.text, words))
        fail_msg("--device %s: '%s' does not say '%s'", device, err.text, words);
}

static void takes(strata_context *ctx, const char *device, const char *words)
{
    strata_program     *program;
    strata_program_info info;
    OK(strata_program_create(net(ctx, 1), &(strata_program_options){ .device = device }, &program, &err));
    strata_program_get_info(program, &info);
    if (!strstr(info.device, words))
        fail_msg("--device %s is %s, not %s", device, info.device, words);
    strata_program_unref(program);
}

static void without_loader(void **state)
{
    (void)state;
    strata_context *ctx;
    OK(strata_context_create(&ctx, &err));
    vk_instance_with(ctx, &(vk_config){ .library = "libvulkan-that-is-not-there.so" });
    refuses(ctx, "vulkan", "the Vulkan loader libvulkan-that-is-not-there.so was not found");
    refuses(ctx, "vulkan:0", "was not found; install it");
    takes(ctx, "auto", "cpu:0");
    strata_tensor *out[NET_OUTPUTS]; /* by the user's policy, the CPU takes over from what is not there */
    OK(run_net_with(ctx, &(strata_program_options){ .device = "vulkan:0", .fallback_cpu = true }, 1, false, out));
    release(out, NET_OUTPUTS);
    strata_context_destroy(ctx);

    OK(strata_context_create(&ctx, &err));
    vk_instance_with(ctx, &(vk_config){ .library = "libm.so.6" });
    refuses(ctx, "vulkan", "libm.so.6 is no Vulkan loader");
    strata_context_destroy(ctx);
}

static void without_driver(void **state)
{
    (void)state;
    const char *files = getenv("VK_DRIVER_FILES"), *names = getenv("VK_ICD_FILENAMES");
    setenv("VK_DRIVER_FILES", "/nowhere/icd.json", 1);
    setenv("VK_ICD_FILENAMES", "/nowhere/icd.json", 1);
    strata_context *ctx;
    OK(strata_context_create(&ctx, &err));
    refuses(ctx, "vulkan", "no Vulkan driver is installed");
    takes(ctx, "auto", "cpu:0");
    strata_context_destroy(ctx);
    files ? setenv("VK_DRIVER_FILES", files, 1) : unsetenv("VK_DRIVER_FILES");
    names ? setenv("VK_ICD_FILENAMES", names, 1) : unsetenv("VK_ICD_FILENAMES");
}

/* A driver with two adapters "Twin GPU": the first one of the real driver, twice. */
static vk_functions         real;
static VkPhysicalDeviceType twin_type;
static uint32_t             twin_range;
static int                  twins_seen;

static VKAPI_ATTR VkResult VKAPI_CALL two_adapters(VkInstance instance, uint32_t *count,
                                                   VkPhysicalDevice *out)
{
    VkPhysicalDevice first[8];
    uint32_t         n = 8;
    VkResult         r = real.EnumeratePhysicalDevices(instance, &n, first);
    if (out)
        out[0] = out[1] = first[0];
    *count = 2;
    return r == VK_INCOMPLETE ? VK_SUCCESS : r;
}

static VKAPI_ATTR void VKAPI_CALL twin_properties(VkPhysicalDevice adapter, VkPhysicalDeviceProperties2 *out)
{
    real.GetPhysicalDeviceProperties2(adapter, out);
    out->properties.deviceType = twin_type;
    snprintf(out->properties.deviceName, sizeof out->properties.deviceName, "Twin GPU %d", twins_seen);
    if (twin_range)
        out->properties.limits.maxStorageBufferRange = twin_range;
    for (VkBaseOutStructure *s = out->pNext; s; s = s->pNext)
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES)
            ((VkPhysicalDeviceIDProperties *)(void *)s)->deviceUUID[15] = (uint8_t)(0x40 + twins_seen++);
}

static void make_twins(void *user, vk_functions *fn)
{
    (void)user;
    if (!fn->EnumeratePhysicalDevices || fn->EnumeratePhysicalDevices == two_adapters)
        return;
    real = *fn;
    fn->EnumeratePhysicalDevices = two_adapters;
    fn->GetPhysicalDeviceProperties2 = twin_properties;
    twins_seen = 0;
}

static void selection(void **state)
{
    (void)state;
    twin_range = 0;
    for (twin_type = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU; twin_type <= VK_PHYSICAL_DEVICE_TYPE_CPU;
         twin_type++) {
        strata_context *ctx = vulkan_context_with((vk_config){ .wrap = make_twins });
        const bool      gpu = twin_type != VK_PHYSICAL_DEVICE_TYPE_CPU;
        refuses(ctx, "vulkan:2", "no device fits 'vulkan:2'. There is: vulkan:0 Twin GPU 0");
        refuses(ctx, "vulkan:twin", "fits 2 devices");
        refuses(ctx, "vulkan:quadro", "no device fits");
        takes(ctx, "vulkan:twin gpu 1", "vulkan:1 Twin GPU 1");
        takes(ctx, "vulkan:1", "vulkan:1");
        char               uuid[64] = "vulkan:", *at = uuid + strlen(uuid);
        strata_device_info info;
        strata_backend_vulkan.describe(ctx, 1, &info);
        strcpy(at, info.uuid);
        takes(ctx, uuid, "vulkan:1");
        takes(ctx, "auto", gpu ? "vulkan:0" : "cpu:0");
        if (gpu)
            takes(ctx, "vulkan", "vulkan:0");
        else
            refuses(ctx, "vulkan", "Twin GPU 0, a processor and no GPU: used only when named");
        strata_context_destroy(ctx);
    }
}

/* ---- Whole programs ------------------------------------------------------------------------------ */

static void programs(void **state)
{
    (void)state;
    static const vk_config configs[] = { { .poison = true },
                                         { .poison = true, .staging = true },
                                         { .poison = true, .staging = true, .window = true },
                                         { .poison = true, .segment_flops = 1 },
                                         { .poison = true, .conv = VK_CONV_GEMM, .split = 2 } };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        for (int profile = 0; profile <= 1; profile++)
            assert_int_equal(check_net(configs[i], 1 + profile, profile), 0);
}

/* Values of float16 against the CPU: 2^-11 of rounding in each of some ten layers. */
static void programs_in_half(void **state)
{
    (void)state;
    static const vk_config configs[] = { { .poison = true }, { .poison = true, .conv = VK_CONV_GEMM, .split = 2 } };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        char            device[32];
        strata_context *ctx = vulkan_context_with(configs[i]);
        strata_tensor  *got[NET_OUTPUTS], *want[NET_OUTPUTS];
        const strata_program_options options = { .device = vulkan_name(ctx, device), .strict_device = true,
                                                 .threads = 2, .precision = STRATA_F16 };
        if (!vk_instance_of(ctx)->adapters[vulkan_index(ctx)].half) {
            strata_context_destroy(ctx);
            skip();
        }
        OK(run_net(ctx, "cpu", 2, false, want));
        OK(run_net_with(ctx, &options, 2, false, got));
        for (int k = 0; k < NET_OUTPUTS; k++) {
            const double apart = difference(want[k], got[k]);
            if (!(apart < 1e-2 && apart > 1e-6)) /* float it is not */
                fail_msg("output %d differs by %g", k, apart);
        }
        release(got, NET_OUTPUTS);
        release(want, NET_OUTPUTS);
        strata_context_destroy(ctx);
        assert_int_equal(vulkan_messages, 0);
    }
}

/* A value that fills the staging ring several times, there and back; and one that is no whole number of words. */
static void transfer_there_and_back(vk_config config)
{
    enum { COUNT = 9 << 20, AT = 256 };
    strata_context *ctx = vulkan_context_with(config);
    strata_device  *dev;
    strata_buffer  *buffer;
    OK(vk_device_open(vk_instance_of(ctx), vulkan_index(ctx), 1, &dev, &err));
    OK(strata_backend_vulkan.alloc(dev, COUNT + AT, &buffer, &err));
    unsigned char *from = malloc(COUNT), *to = calloc(1, COUNT);
    assert_true(from && to);
    for (int i = 0; i < COUNT; i++)
        from[i] = (unsigned char)(i * 7 + i / 251);
    OK(strata_backend_vulkan.write(buffer, AT, from, COUNT, &err));
    OK(strata_backend_vulkan.read(buffer, AT, to, COUNT, &err));
    assert_memory_equal(from, to, COUNT);
    assert_int_equal(strata_backend_vulkan.write(buffer, AT + 1, from, COUNT, &err), STRATA_INVALID);
    assert_int_equal(strata_backend_vulkan.read(buffer, COUNT + AT + 1, to, 0, &err), STRATA_INVALID);
    assert_null(strata_backend_vulkan.map(buffer));
    strata_backend_vulkan.free(dev, buffer);
    OK(strata_backend_vulkan.alloc(dev, 6, &buffer, &err)); /* filled with NaN first, which the write must not overtake */
    OK(strata_backend_vulkan.write(buffer, 0, from + 1, 6, &err));
    OK(strata_backend_vulkan.read(buffer, 0, to, 6, &err));
    assert_memory_equal(from + 1, to, 6);
    strata_backend_vulkan.free(dev, buffer);
    free(from);
    free(to);
    vk_device_close(dev);
    strata_context_destroy(ctx);
    assert_int_equal(vulkan_messages, 0);
}

static void transfers(void **state)
{
    (void)state;
    transfer_there_and_back((vk_config){ .staging = true, .poison = true });
    transfer_there_and_back((vk_config){ .staging = true, .window = true, .poison = true });
}

typedef struct worker {
    strata_program *program;
    strata_tensor  *in, *out[NET_OUTPUTS];
} worker;

static void *work(void *arg)
{
    worker         *w = arg;
    strata_session *s;
    if (strata_session_create(w->program, &s, NULL) != STRATA_OK)
        abort();
    for (int i = 0; i < 20; i++)
        if (strata_session_run(s, &w->in, w->out, NULL) != STRATA_OK)
            abort();
    strata_session_destroy(s);
    return NULL;
}

/* Two programs on one device, two sessions of each, all at once; mapped, staged, and with sums of several workgroups, which
 * count each other anew in every run. All come to the same bits. */
static void side_by_side(void **state)
{
    (void)state;
    static const vk_config configs[] = { { .poison = true },
                                         { .poison = true, .staging = true },
                                         { .poison = true, .staging = true, .conv = VK_CONV_GEMM, .split = 3 } };
    for (size_t c = 0; c < sizeof configs / sizeof *configs; c++) {
        char            device[32];
        strata_context *ctx = vulkan_context_with(configs[c]);
        strata_program *program[2];
        worker          workers[4];
        pthread_t       thread[4];
        strata_tensor  *want[NET_OUTPUTS];
        OK(run_net(ctx, "cpu", 1, false, want));
        for (int i = 0; i < 2; i++)
            OK(strata_program_create(net(ctx, 1),
                                     &(strata_program_options){ .device = vulkan_name(ctx, device) },
                                     &program[i], &err));
        for (int i = 0; i < 4; i++) {
            workers[i] = (worker){ .program = program[i % 2], .in = net_input(1) };
            for (int k = 0; k < NET_OUTPUTS; k++)
                OK(strata_tensor_create(strata_tensor_get_desc(want[k]), &workers[i].out[k], &err));
        }
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, work, &workers[i]), 0);
        for (int i = 0; i < 4; i++) {
            pthread_join(thread[i], NULL);
            for (int k = 0; k < NET_OUTPUTS; k++) {
                const strata_tensor *got = workers[i].out[k], *first = workers[0].out[k];
                assert_true(difference(want[k], got) < 1e-5);
                assert_memory_equal(strata_tensor_data(got), strata_tensor_data(first),
                                    strata_bytes(strata_tensor_get_desc(got)));
            }
        }
        for (int i = 0; i < 4; i++) {
            release(workers[i].out, NET_OUTPUTS);
            strata_tensor_unref(workers[i].in);
        }
        for (int i = 0; i < 2; i++)
            strata_program_unref(program[i]);
        release(want, NET_OUTPUTS);
        strata_context_destroy(ctx);
    }
    assert_int_equal(vulkan_messages, 0);
}

/* What shaders cannot reach is refused with the node and both sizes. */
static void too_large(void **state)
{
    (void)state;
    strata_tensor  *out[NET_OUTPUTS];
    strata_context *ctx = vulkan_context_with((vk_config){ .wrap = make_twins });
    strata_context_destroy(ctx);
    twin_type = VK_PHYSICAL_DEVICE_TYPE_CPU;
    twin_range = 1 << 20;
    ctx = vulkan_context_with((vk_config){ .wrap = make_twins });
    assert_int_equal(run_net(ctx, "vulkan:0", 1000, false, out), STRATA_UNSUPPORTED);
    assert_non_null(strstr(err.text, "is larger than the 1 MiB that shaders of Twin GPU 0 can reach"));
    strata_context_destroy(ctx);
    twin_range = 0;
}

/* ---- Hazards ------------------------------------------------------------------------------------- */

static vk_dispatch touching(int from, int from_size, int to, int to_size)
{
    VkBuffer    buffer = (VkBuffer)(uintptr_t)16;
    vk_dispatch d = { .bindings = 2 };
    d.binding[0] = (vk_binding){ buffer, (VkDeviceSize)from, (VkDeviceSize)from_size, true, false };
    d.binding[1] = (vk_binding){ buffer, (VkDeviceSize)to, (VkDeviceSize)to_size, false, true };
    return d;
}

static void hazards(void **state)
{
    (void)state;
    vk_dispatch list[] = {
        touching(0, 100, 100, 50),  /* a: 0 */
        touching(0, 100, 200, 50),  /* reads with a: 0 */
        touching(100, 50, 300, 50), /* after a: 1 */
        touching(149, 1, 400, 50),  /* a's last byte: 1 */
        touching(150, 50, 450, 50), /* beside a: 0 */
        touching(500, 1, 0, 1),     /* writes what the first two read: 1 */
        touching(600, 50, 300, 10), /* writes what was written at 1: 2 */
        touching(0, 1, 700, 1),     /* reads what was written at 1: 2 */
        touching(700, 1, 700, 1),   /* in place: 3 */
    };
    static const int levels[] = { 0, 0, 1, 1, 0, 1, 2, 2, 3 };
    enum { COUNT = sizeof list / sizeof *list };
    assert_int_equal(vk_find_levels(list, COUNT), 4);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(list[i].level, levels[i]);
    list[2].binding[0].buffer = (VkBuffer)(uintptr_t)32; /* another buffer: no longer after a */
    vk_find_levels(list, COUNT);
    assert_int_equal(list[2].level, 0);
    list[8].binding[0].read = list[8].binding[1].written = false; /* bound and not touched */
    vk_find_levels(list, COUNT);
    assert_int_equal(list[8].level, 0);
    assert_int_equal(vk_find_levels(list, 0), 0);
}

/* The guards are awake: work without barriers, and a shader that writes past its buffer, are both reported.
 */
static int reports;

static void count_report(void *user, const char *text)
{
    (void)user;
    reports += strstr(text, "SYNC-HAZARD") || strstr(text, "access out of bounds") ? 1 : 0;
}

static void missing_barriers_are_seen(void **state)
{
    (void)state;
    strata_context *ctx = vulkan_context_with((vk_config){ 0 });
    bool            validates = vulkan_validates(ctx);
    strata_context_destroy(ctx);
    if (!validates)
        skip();
    reports = 0;
    char            device[32];
    strata_tensor  *out[NET_OUTPUTS]; /* which a GPU gets wrong, and a processor may not */
    strata_context *without = vulkan_context_with((vk_config){ .no_barriers = true, .message = count_report });
    OK(run_net(without, vulkan_name(without, device), 1, false, out));
    release(out, NET_OUTPUTS);
    strata_context_destroy(without);
    assert_true(reports > 0);
}

static strata_status write_too_much(const strata_step *s, const strata_frame *f, strata_error *e)
{
    struct {
        uint32_t count;
        float    value;
    } push = { vk_count(f->out.desc) + 100000, 0 };
    vk_dispatch d = vk_shader_dispatch(&vk_shader_unary);
    vk_read_operand(&d, s, f, 0);
    vk_write_result(&d, f);
    vk_spec(&d, STRATA_ACT_RELU);
    vk_push(&d, &push, sizeof push);
    vk_cover(&d, push.count);
    return vk_emit(f->stream, &d, e);
}

static const strata_kernel_def overflowing_relu = {
    .name = "relu.wrong", .op = &strata_op_relu, .layouts = VK_ANY_LAYOUT, .emit = write_too_much
};

static void wrong_writes_are_seen(void **state)
{
    (void)state;
    char            device[32];
    strata_tensor  *out[NET_OUTPUTS];
    strata_context *ctx =
        vulkan_context_with((vk_config){ .gpu_assisted = true, .separate = true, .message = count_report });
    for (int wrong = 0; wrong <= 1 && vulkan_validates(ctx); wrong++) {
        reports = 0;
        if (wrong)
            OK(strata_register_kernel(ctx, "vulkan", &overflowing_relu, &err));
        strata_graph   *g = net(ctx, 1);
        strata_program *program;
        strata_session *session;
        strata_tensor  *in = net_input(1);
        OK(strata_program_create(
            g, &(strata_program_options){ .device = vulkan_name(ctx, device), .pipeline = "" }, &program,
            &err));
        OK(strata_session_create(program, &session, &err));
        OK(strata_session_alloc_outputs(session, out, &err));
        OK(strata_session_run(session, &in, out, &err));
        strata_session_destroy(session);
        strata_program_unref(program);
        strata_tensor_unref(in);
        release(out, NET_OUTPUTS);
        assert_int_equal(reports > 0, wrong);
    }
    strata_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest always[] = { cmocka_unit_test(kept_objects), cmocka_unit_test(without_loader),
                                         cmocka_unit_test(hazards) };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_driver),
        cmocka_unit_test(selection),
        cmocka_unit_test(programs),
        cmocka_unit_test(programs_in_half),
        cmocka_unit_test(transfers),
        cmocka_unit_test(side_by_side),
        cmocka_unit_test(too_large),
        cmocka_unit_test(missing_barriers_are_seen),
        cmocka_unit_test(wrong_writes_are_seen),
    };
    int failed = cmocka_run_group_tests(always, NULL, NULL);
    if (failed)
        return failed;
    vulkan_need_device();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
