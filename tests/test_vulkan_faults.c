/* Failing drivers. The functions of Vulkan that can fail are put behind ones that fail at the n-th call, for
 * every function and every n until a run needs no more of them: each time the caller must get a status and a
 * text that names the code, nothing may leak (the validation layer lists what is left when a device or the
 * instance goes), and the next run, with a driver that works again, must be right. */
#include "vulkan_net.h"

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
static int          failures;

static bool fails(fault_kind kind)
{
    if (kind != failing || --countdown != 0)
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
FAULT(WaitSemaphores, (VkDevice d, const VkSemaphoreWaitInfo *i, uint64_t timeout), (d, i, timeout))

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
                                        cmocka_unit_test(lost_in_a_node) };
    vulkan_need_device();
    strata_context *ctx = vulkan_context_with((vk_config){ 0 });
    bool            validates = vulkan_validates(ctx) && vulkan_index(ctx) == 0;
    strata_context_destroy(ctx);
    if (!validates)
        return VULKAN_SKIP;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
