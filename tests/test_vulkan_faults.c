/* Failing drivers. The functions of Vulkan that can fail are put behind ones that fail at the n-th call, for
 * every function and every n until a run needs no more of them: each time the caller must get a status and a
 * text that names the code, nothing may leak (the validation layer lists what is left when a device or the
 * instance goes), and the next run, with a driver that works again, must be right. */
#include "vulkan_net.h"

#include <sched.h>

typedef enum fault_kind {
    F_CreateInstance,
    F_EnumeratePhysicalDevices,
    F_CreateDevice,
    F_CreateSemaphore,
    F_AllocateMemory,
    F_MapMemory,
    F_CreateBuffer,
    F_BindBufferMemory,
    F_CreateShaderModule,
    F_CreateDescriptorSetLayout,
    F_CreatePipelineLayout,
    F_CreatePipelineCache,
    F_CreateComputePipelines,
    F_CreateDescriptorPool,
    F_AllocateDescriptorSets,
    F_CreateQueryPool,
    F_GetQueryPoolResults,
    F_CreateCommandPool,
    F_AllocateCommandBuffers,
    F_BeginCommandBuffer,
    F_EndCommandBuffer,
    F_ResetCommandBuffer,
    F_QueueSubmit,
    F_WaitSemaphores,
    F_KINDS
} fault_kind;

static vk_functions real;
static fault_kind   failing;   /* which function */
static int          countdown; /* fails when this reaches zero; negative: never */
static VkResult     code;
static bool         all_fail;  /* whatever countdown says */
static int          failures;

static bool fails(fault_kind kind)
{
    if (kind != failing || (--countdown != 0 && !all_fail))
        return false;
    failures++;
    return true;
}

/* A function of the same type that fails in its turn: FAULT(name, parameters, arguments). */
#define FAULT(name, parameters, arguments)                                                                   \
    static VKAPI_ATTR VkResult VKAPI_CALL faulty_##name parameters                                           \
    {                                                                                                        \
        return fails(F_##name) ? code : real.name arguments;                                                 \
    }
#define FAULT_CREATE(name, info, handle)                                                                     \
    FAULT(name, (VkDevice d, const info *i, const VkAllocationCallbacks *a, handle *out), (d, i, a, out))

FAULT(CreateInstance, (const VkInstanceCreateInfo *i, const VkAllocationCallbacks *a, VkInstance *out),
      (i, a, out))
FAULT(EnumeratePhysicalDevices, (VkInstance i, uint32_t *n, VkPhysicalDevice *out), (i, n, out))
FAULT(CreateDevice,
      (VkPhysicalDevice p, const VkDeviceCreateInfo *i, const VkAllocationCallbacks *a, VkDevice *out),
      (p, i, a, out))
FAULT_CREATE(CreateSemaphore, VkSemaphoreCreateInfo, VkSemaphore)
FAULT_CREATE(AllocateMemory, VkMemoryAllocateInfo, VkDeviceMemory)
FAULT(MapMemory,
      (VkDevice d, VkDeviceMemory m, VkDeviceSize at, VkDeviceSize n, VkMemoryMapFlags f, void **out),
      (d, m, at, n, f, out))
FAULT_CREATE(CreateBuffer, VkBufferCreateInfo, VkBuffer)
FAULT(BindBufferMemory, (VkDevice d, VkBuffer b, VkDeviceMemory m, VkDeviceSize at), (d, b, m, at))
FAULT_CREATE(CreateShaderModule, VkShaderModuleCreateInfo, VkShaderModule)
FAULT_CREATE(CreateDescriptorSetLayout, VkDescriptorSetLayoutCreateInfo, VkDescriptorSetLayout)
FAULT_CREATE(CreatePipelineLayout, VkPipelineLayoutCreateInfo, VkPipelineLayout)
FAULT_CREATE(CreatePipelineCache, VkPipelineCacheCreateInfo, VkPipelineCache)
FAULT(CreateComputePipelines,
      (VkDevice d, VkPipelineCache c, uint32_t n, const VkComputePipelineCreateInfo *i,
       const VkAllocationCallbacks *a, VkPipeline *out),
      (d, c, n, i, a, out))
FAULT_CREATE(CreateDescriptorPool, VkDescriptorPoolCreateInfo, VkDescriptorPool)
FAULT(AllocateDescriptorSets, (VkDevice d, const VkDescriptorSetAllocateInfo *i, VkDescriptorSet *out),
      (d, i, out))
FAULT_CREATE(CreateQueryPool, VkQueryPoolCreateInfo, VkQueryPool)
FAULT(GetQueryPoolResults,
      (VkDevice d, VkQueryPool p, uint32_t first, uint32_t n, size_t size, void *out, VkDeviceSize stride,
       VkQueryResultFlags f),
      (d, p, first, n, size, out, stride, f))
FAULT_CREATE(CreateCommandPool, VkCommandPoolCreateInfo, VkCommandPool)
FAULT(AllocateCommandBuffers, (VkDevice d, const VkCommandBufferAllocateInfo *i, VkCommandBuffer *out),
      (d, i, out))
FAULT(BeginCommandBuffer, (VkCommandBuffer c, const VkCommandBufferBeginInfo *i), (c, i))
FAULT(EndCommandBuffer, (VkCommandBuffer c), (c))
FAULT(ResetCommandBuffer, (VkCommandBuffer c, VkCommandBufferResetFlags f), (c, f))
FAULT(QueueSubmit, (VkQueue q, uint32_t n, const VkSubmitInfo *i, VkFence f), (q, n, i, f))

/* A device that is lost has no work under way; ours has, which is waited for before the wait fails. */
static VKAPI_ATTR VkResult VKAPI_CALL faulty_WaitSemaphores(VkDevice d, const VkSemaphoreWaitInfo *i, uint64_t timeout)
{
    VkResult r = real.WaitSemaphores(d, i, timeout);
    return fails(F_WaitSemaphores) ? code : r;
}

/* No looking at the clock where the wait is to fail: on a GPU it would see the end of the work and not wait. */
static VKAPI_ATTR VkResult VKAPI_CALL faulty_GetSemaphoreCounterValue(VkDevice d, VkSemaphore semaphore, uint64_t *out)
{
    return failing == F_WaitSemaphores ? VK_ERROR_DEVICE_LOST : real.GetSemaphoreCounterValue(d, semaphore, out);
}

/* Small heaps, and with them blocks of 2 MiB instead of 64: malloc, as Meson sets it, fills every block of a driver that is a
 * processor, for each of some hundred runs of a network of kilobytes. */
static VKAPI_ATTR void VKAPI_CALL faulty_GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice                   p,
                                                                            VkPhysicalDeviceMemoryProperties2 *out)
{
    real.GetPhysicalDeviceMemoryProperties2(p, out);
    for (uint32_t i = 0; i < out->memoryProperties.memoryHeapCount; i++)
        out->memoryProperties.memoryHeaps[i].size = 16 << 20;
}

/* Called after each stage of loading; what is there already is wrapped once. */
static void wrap(void *user, vk_functions *fn)
{
    (void)user;
#define WRAP(name)                                                                                           \
    if (fn->name && fn->name != faulty_##name) {                                                             \
        real.name = fn->name;                                                                                \
        fn->name = faulty_##name;                                                                            \
    }
    /* clang-format off */
    WRAP(CreateInstance)
    WRAP(EnumeratePhysicalDevices)
    WRAP(GetPhysicalDeviceMemoryProperties2)
    WRAP(CreateDevice)
    WRAP(CreateSemaphore)
    WRAP(AllocateMemory)
    WRAP(MapMemory)
    WRAP(CreateBuffer)
    WRAP(BindBufferMemory)
    WRAP(CreateShaderModule)
    WRAP(CreateDescriptorSetLayout)
    WRAP(CreatePipelineLayout)
    WRAP(CreatePipelineCache)
    WRAP(CreateComputePipelines)
    WRAP(CreateDescriptorPool)
    WRAP(AllocateDescriptorSets)
    WRAP(CreateQueryPool)
    WRAP(GetQueryPoolResults)
    WRAP(CreateCommandPool)
    WRAP(AllocateCommandBuffers)
    WRAP(BeginCommandBuffer)
    WRAP(EndCommandBuffer)
    WRAP(ResetCommandBuffer)
    WRAP(QueueSubmit)
    WRAP(WaitSemaphores)
    WRAP(GetSemaphoreCounterValue)
    /* clang-format on */
#undef WRAP
}

static strata_tensor *want[NET_OUTPUTS];

static void run_right(strata_context *ctx, const char *device)
{
    strata_tensor *got[NET_OUTPUTS];
    OK(run_net(ctx, device, 1, true, got));
    for (int i = 0; i < NET_OUTPUTS; i++)
        assert_true(difference(want[i], got[i]) < 1e-5);
    release(got, NET_OUTPUTS);
}

/* Fails call n of a function. False when the run ended before that. */
static bool fail_at(fault_kind kind, int n, bool staging)
{
    strata_tensor *got[NET_OUTPUTS];
    failing = F_KINDS;
    vk_config config = {
        .wrap = wrap, .staging = staging, .validation = true, .message = vulkan_message, .cache_folder = ""
    };
    strata_context *ctx;
    OK(strata_context_create(&ctx, &err));
    failing = kind;
    countdown = n;
    failures = 0;
    err.text[0] = 0;
    vk_instance_with(ctx, &config);
    strata_status status = run_net(ctx, "vulkan:0", 1, true, got);
    if (status == STRATA_OK)
        release(got, NET_OUTPUTS);
    const bool failed = failures > 0;
    /* Where memory fails a smaller block is tried, and waiting before something is freed has nobody to tell.
     */
    const bool may_pass =
        (kind >= F_AllocateMemory && kind <= F_BindBufferMemory) || (kind == F_WaitSemaphores && n > 1);
    if (failed && (status != STRATA_OK || !may_pass)) {
        if (status == STRATA_OK)
            fail_msg("call %d of function %d failed, and nobody noticed", n, kind);
        if (!strstr(err.text, vk_result_name(code)))
            fail_msg("call %d of function %d: '%s' does not name %s", n, kind, err.text,
                     vk_result_name(code));
    }
    failing = F_KINDS;
    if (failed && kind > F_EnumeratePhysicalDevices) /* the instance is whole: try again */
        run_right(ctx, "vulkan:0");
    strata_context_destroy(ctx);
    if (vulkan_messages > 0)
        fail_msg("call %d of function %d: the validation layer complains", n, kind);
    return failed;
}

static void fail_all(VkResult with, fault_kind first, fault_kind last)
{
    static const int stride = 3; /* of the calls beyond the first few: those are much alike */
    code = with;
    for (fault_kind kind = first; kind <= last; kind++)
        for (int staging = 0; staging <= 1; staging++) {
            int n = 1;
            while (fail_at(kind, n, staging))
                n += n < 3 ? 1 : stride * n;
            if (n == 1 && !(kind == F_ResetCommandBuffer && !staging))
                fail_msg("function %d was never called", kind);
        }
}

static void out_of_memory(void **state)
{
    (void)state;
    fail_all(VK_ERROR_OUT_OF_DEVICE_MEMORY, F_CreateInstance, F_ResetCommandBuffer);
}

static void device_lost(void **state)
{
    (void)state;
    fail_all(VK_ERROR_DEVICE_LOST, F_GetQueryPoolResults, F_GetQueryPoolResults);
    fail_all(VK_ERROR_DEVICE_LOST, F_QueueSubmit, F_WaitSemaphores);
}

/* What stopped answering is named: device, code, and the nodes it was at. */
static void lost_in_a_node(void **state)
{
    (void)state;
    strata_tensor  *got[NET_OUTPUTS];
    strata_context *ctx = vulkan_context_with((vk_config){ .wrap = wrap });
    failing = F_WaitSemaphores;
    countdown = 1; /* mapped memory: the first wait is that for the work */
    code = VK_ERROR_DEVICE_LOST;
    assert_int_equal(run_net(ctx, "vulkan:0", 1, false, got), STRATA_DEVICE);
    assert_non_null(strstr(err.text, "VK_ERROR_DEVICE_LOST"));
    failing = F_KINDS;
    run_right(ctx, "vulkan:0");
    strata_context_destroy(ctx);
}

/* ---- --fallback cpu ------------------------------------------------------------------------------ */

typedef struct warnings {
    int  count;
    char text[512]; /* the last one */
} warnings;

static void count_warning(void *user, strata_log_level level, const char *text)
{
    warnings *w = user;
    if (level == STRATA_LOG_WARNING) {
        w->count++;
        snprintf(w->text, sizeof w->text, "%s", text);
    }
}

/* Whatever fails, and whenever: the CPU gives the numbers, and one warning says why. */
static void falls_back(void **state)
{
    static const struct {
        fault_kind kind;
        VkResult   code;
    } faults[] = {
        { F_CreateDevice, VK_ERROR_INITIALIZATION_FAILED },     /* the program cannot be created */
        { F_CreateBuffer, VK_ERROR_OUT_OF_DEVICE_MEMORY },      /* ... for its weights */
        { F_CreateComputePipelines, VK_ERROR_OUT_OF_HOST_MEMORY }, /* the session cannot be recorded */
        { F_QueueSubmit, VK_ERROR_DEVICE_LOST },                /* a run cannot be begun */
        { F_WaitSemaphores, VK_ERROR_DEVICE_LOST },             /* ... or not be finished */
    };
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        strata_tensor  *got[NET_OUTPUTS];
        warnings        w = { 0 };
        strata_context *ctx = vulkan_context_with((vk_config){ .wrap = wrap });
        strata_set_log(ctx, count_warning, &w);
        failing = faults[i].kind;
        code = faults[i].code;
        countdown = 1;
        failures = 0;
        const strata_program_options how = { .device = "vulkan:0", .threads = 2, .fallback_cpu = true };
        /* a block of memory is tried again at a smaller size: so all of them fail */
        all_fail = failing == F_CreateBuffer;
        OK(run_net_with(ctx, &how, 1, true, got));
        all_fail = false;
        assert_true(failures > 0);
        for (int k = 0; k < NET_OUTPUTS; k++)
            assert_true(difference(want[k], got[k]) < 1e-5);
        release(got, NET_OUTPUTS);
        assert_int_equal(w.count, 1);
        if (!strstr(w.text, vk_result_name(code)) || !strstr(w.text, "the CPU takes over"))
            fail_msg("fault %zu: the warning is '%s'", i, w.text);
        failing = F_KINDS;
        strata_context_destroy(ctx);
    }
}

/* In the middle of the work, and for good: requests before the failure are the GPU's, those after it the CPU's, and in the
 * background as well. */
static void on_done(void *user, strata_status status, const strata_error *e)
{
    (void)e;
    atomic_store((atomic_int *)user, status == STRATA_OK ? 1 : 2);
}

static void falls_back_later(void **state)
{
    (void)state;
    warnings        w = { 0 };
    strata_context *ctx = vulkan_context_with((vk_config){ .wrap = wrap });
    strata_program *program;
    strata_session *session;
    strata_tensor  *in = net_input(1), *got[NET_OUTPUTS];
    strata_program_options how = { .device = "vulkan:0", .threads = 2, .fallback_cpu = true };
    failing = F_KINDS;
    strata_set_log(ctx, count_warning, &w);
    OK(strata_program_create(net(ctx, 1), &how, &program, &err));
    OK(strata_session_create(program, &session, &err));
    OK(strata_session_alloc_outputs(session, got, &err));
    for (int run = 0; run < 4; run++) {
        atomic_int over = 0;
        if (run == 1) { /* from now on */
            failing = F_WaitSemaphores;
            code = VK_ERROR_DEVICE_LOST;
            countdown = 1;
        }
        for (int k = 0; k < NET_OUTPUTS; k++)
            memset(strata_tensor_data(got[k]), 0xff, strata_bytes(strata_tensor_get_desc(got[k])));
        OK(strata_session_submit(session, &in, got, on_done, &over, &err));
        while (!atomic_load(&over))
            sched_yield();
        assert_int_equal(over, 1);
        for (int k = 0; k < NET_OUTPUTS; k++)
            assert_true(difference(want[k], got[k]) < 1e-5);
        assert_int_equal(w.count, run > 0);
    }
    failing = F_KINDS;
    strata_session *second; /* the device is gone: its first run finds that out, without another word */
    OK(strata_session_create(program, &second, &err));
    OK(strata_session_run(second, &in, got, &err));
    assert_true(difference(want[0], got[0]) < 1e-5);
    assert_int_equal(w.count, 1);
    strata_session_destroy(second);
    release(got, NET_OUTPUTS);
    strata_tensor_unref(in);
    strata_session_destroy(session);
    strata_program_unref(program);
    strata_context_destroy(ctx);
}

/* Memory that is not there: said with the node whose weights, or the values whose arena, wanted it, and how much. */
static void names_what_was_wanted(void **state)
{
    (void)state;
    strata_tensor  *got[NET_OUTPUTS];
    strata_context *ctx = vulkan_context_with((vk_config){ .wrap = wrap });
    failing = F_CreateBuffer;
    code = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    all_fail = true;
    assert_int_equal(run_net(ctx, "vulkan:0", 1, false, got), STRATA_NOMEM);
    all_fail = false;
    failing = F_KINDS;
    if (!strstr(err.text, "conv2d") || !strstr(err.text, " MiB wanted"))
        fail_msg("'%s' names no node", err.text);
    strata_context_destroy(ctx);

    static const int64_t huge[] = { 1, 64, 512, 512 };
    strata_builder      *b;
    strata_graph        *g;
    strata_program      *program;
    strata_session      *session;
    ctx = vulkan_context_with((vk_config){ .wrap = wrap });
    OK(strata_builder_create(ctx, "huge", &b, &err));
    strata_tensor_desc desc = strata_desc_f32(4, huge);
    strata_node       *x = strata_emit_input(b, "x", &desc);
    x = nn_relu(b, x);
    strata_emit_output(b, "y", nn_global_avg_pool(b, x));
    OK(strata_builder_finish(b, &g, &err));
    OK(strata_program_create(g, &(strata_program_options){ .device = "vulkan:0" }, &program, &err));
    if (strata_session_create(program, &session, &err) == STRATA_OK)
        fail_msg("128 MiB fit into a heap of 16");
    /* x as it came and x with its channels innermost: 64 MiB each */
    if (!strstr(err.text, "128 MiB for the values of 'huge', the largest of which is ") ||
        !strstr(err.text, "[1,64,512,512]") || !strstr(err.text, "128 MiB wanted"))
        fail_msg("'%s' has no names and sizes", err.text);
    strata_program_unref(program);
    strata_context_destroy(ctx);
}

static int set_up(void **state)
{
    (void)state;
    strata_context *ctx;
    OK(strata_context_create(&ctx, &err));
    OK(run_net(ctx, "cpu", 1, false, want));
    strata_context_destroy(ctx);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    release(want, NET_OUTPUTS);
    return vulkan_messages;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(out_of_memory), cmocka_unit_test(device_lost),
                                        cmocka_unit_test(lost_in_a_node), cmocka_unit_test(falls_back),
                                        cmocka_unit_test(falls_back_later), cmocka_unit_test(names_what_was_wanted) };
    vulkan_need_device();
    strata_context *ctx = vulkan_context_with((vk_config){ 0 });
    bool            validates = vulkan_validates(ctx) && vulkan_index(ctx) == 0;
    strata_context_destroy(ctx);
    if (!validates)
        return VULKAN_SKIP;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
