/* instance.c: opens the loader, makes the instance, looks at the adapters. Nothing here is an error for its
 * caller: what is missing becomes the text of an adapter that cannot be used. */
#include "device.h"
#include "instance.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char validation_layer[] = "VK_LAYER_KHRONOS_validation";

/* ---- The loader ---------------------------------------------------------------------------------- */

static bool load_library(vk_instance *v, PFN_vkGetInstanceProcAddr *get, char *problem, size_t size)
{
    const char *name = v->config.library ? v->config.library : "libvulkan.so.1";
    v->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!v->library) {
        snprintf(problem, size, "the Vulkan loader %s was not found; install it with the driver of the GPU",
                 name);
        return false;
    }
    void *address = dlsym(v->library, "vkGetInstanceProcAddr");
    memcpy(get, &address, sizeof *get); /* ISO C has no cast from an object pointer to a function pointer */
    if (!address)
        snprintf(problem, size, "%s is no Vulkan loader: it has no vkGetInstanceProcAddr", name);
    return address != NULL;
}

/* Each entry as PFN_vkVoidFunction; false when a mandatory one is missing. */
static bool load_globals(vk_instance *v, PFN_vkGetInstanceProcAddr get)
{
    bool whole = true;
#define VK_GLOBAL(name) whole &= (v->fn.name = (PFN_vk##name)get(NULL, "vk" #name)) != NULL;
#define VK_INSTANCE(name)
#define VK_OPTIONAL(name)
#define VK_DEVICE(name)
#include "functions.def"
    return whole;
}

static bool load_instance(vk_instance *v, PFN_vkGetInstanceProcAddr get)
{
    bool whole = true;
#define VK_GLOBAL(name)
#define VK_INSTANCE(name) whole &= (v->fn.name = (PFN_vk##name)get(v->handle, "vk" #name)) != NULL;
#define VK_OPTIONAL(name) v->fn.name = (PFN_vk##name)get(v->handle, "vk" #name);
#define VK_DEVICE(name)
#include "functions.def"
    return whole;
}

/* ---- The instance -------------------------------------------------------------------------------- */

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT      severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT             types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    (void)severity, (void)types;
    const vk_instance *v = user;
    if (v->config.message)
        v->config.message(v->config.user, data->pMessage);
    else
        strata_log(v->context, STRATA_LOG_WARNING, "vulkan: %s", data->pMessage);
    return VK_FALSE;
}

static bool has_layer(const vk_instance *v, const char *name)
{
    uint32_t count = 0;
    if (v->fn.EnumerateInstanceLayerProperties(&count, NULL) != VK_SUCCESS || count == 0)
        return false;
    VkLayerProperties *all = calloc(count, sizeof *all);
    bool               found = false;
    if (all && v->fn.EnumerateInstanceLayerProperties(&count, all) == VK_SUCCESS)
        for (uint32_t i = 0; i < count; i++)
            found |= strcmp(all[i].layerName, name) == 0;
    free(all);
    return found;
}

static VkResult create_instance(vk_instance *v)
{
    const bool        validation = v->config.validation;
    const char *const extensions[] = { VK_EXT_DEBUG_UTILS_EXTENSION_NAME }, *const layers[] = {
        validation_layer
    };
    const VkValidationFeatureEnableEXT enabled[] = {
        v->config.gpu_assisted ? VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT
                               : VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,
        VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT,
    };
    VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType =
            VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = v,
    };
    VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = &messenger,
        .enabledValidationFeatureCount = v->config.gpu_assisted ? 2 : 1,
        .pEnabledValidationFeatures = enabled,
    };
    VkApplicationInfo    app = { .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                 .pApplicationName = "strata",
                                 .pEngineName = "strata",
                                 .apiVersion = VK_API_VERSION_1_2 };
    VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = validation ? &features : NULL,
        .pApplicationInfo = &app,
        .enabledLayerCount = validation,
        .ppEnabledLayerNames = layers,
        .enabledExtensionCount = validation,
        .ppEnabledExtensionNames = extensions,
    };
    VkResult r = v->fn.CreateInstance(&info, NULL, &v->handle);
    return r;
}

static bool open_messenger(vk_instance *v)
{
    VkDebugUtilsMessengerCreateInfoEXT info = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = v,
    };
    return v->fn.CreateDebugUtilsMessengerEXT &&
           v->fn.CreateDebugUtilsMessengerEXT(v->handle, &info, NULL, &v->messenger) == VK_SUCCESS;
}

static bool start(vk_instance *v, char *problem, size_t size)
{
    PFN_vkGetInstanceProcAddr get = NULL;
    uint32_t                  version = 0;
    if (!load_library(v, &get, problem, size))
        return false;
    if (!load_globals(v, get) || v->fn.EnumerateInstanceVersion(&version) != VK_SUCCESS ||
        version < VK_API_VERSION_1_2) {
        snprintf(problem, size, "the Vulkan loader is older than 1.2");
        return false;
    }
    if (v->config.validation && !has_layer(v, validation_layer)) {
        snprintf(problem, size, "%s is not installed", validation_layer);
        return false;
    }
    if (v->config.wrap)
        v->config.wrap(v->config.user, &v->fn);
    VkResult r = create_instance(v);
    if (r == VK_ERROR_INCOMPATIBLE_DRIVER)
        snprintf(problem, size, "no Vulkan driver is installed (%s)", vk_result_name(r));
    else if (r != VK_SUCCESS)
        snprintf(problem, size, "Vulkan does not start: %s", vk_result_name(r));
    if (r != VK_SUCCESS) {
        v->handle = NULL;
        return false;
    }
    if (!load_instance(v, get)) {
        snprintf(problem, size, "the Vulkan loader lacks functions of version 1.2");
        return false;
    }
    if (v->config.wrap)
        v->config.wrap(v->config.user, &v->fn);
    if (v->config.validation && !open_messenger(v)) {
        snprintf(problem, size, "messages of %s cannot be received", validation_layer);
        return false;
    }
    return true;
}

/* ---- Adapters ------------------------------------------------------------------------------------ */

static void find_queue_family(const vk_instance *v, vk_adapter *a)
{
    VkQueueFamilyProperties family[16];
    uint32_t                count = 16;
    v->fn.GetPhysicalDeviceQueueFamilyProperties(a->handle, &count, family);
    for (uint32_t i = 0; i < count; i++)
        if (family[i].queueFlags & VK_QUEUE_COMPUTE_BIT) {
            a->family = i;
            a->timestamp_bits = family[i].timestampValidBits;
            return;
        }
    snprintf(a->unusable, sizeof a->unusable, "it has no queue for compute");
}

static void check_limits(vk_adapter *a)
{
    const VkPhysicalDeviceLimits *l = &a->properties.limits;
    if (l->maxPerStageDescriptorStorageBuffers < VK_MAX_BINDINGS || l->maxPushConstantsSize < VK_MAX_PUSH)
        snprintf(a->unusable, sizeof a->unusable,
                 "it binds %u storage buffers and %u bytes of constants, fewer than %d and %d",
                 l->maxPerStageDescriptorStorageBuffers, l->maxPushConstantsSize, VK_MAX_BINDINGS,
                 VK_MAX_PUSH);
    else if (l->maxComputeWorkGroupInvocations < VK_WORKGROUP || l->maxComputeWorkGroupSize[0] < VK_WORKGROUP)
        snprintf(a->unusable, sizeof a->unusable, "its workgroups have %u invocations, fewer than %d",
                 l->maxComputeWorkGroupInvocations, VK_WORKGROUP);
}

static void inspect(const vk_instance *v, vk_adapter *a)
{
    a->id = (VkPhysicalDeviceIDProperties){ .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES };
    a->subgroup =
        (VkPhysicalDeviceSubgroupProperties){ .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES,
                                              .pNext = &a->id };
    VkPhysicalDeviceMaintenance3Properties most = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &a->subgroup
    };
    VkPhysicalDeviceDriverProperties driver = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES, .pNext = &most
    };
    VkPhysicalDeviceProperties2 properties = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                               .pNext = &driver };
    v->fn.GetPhysicalDeviceProperties2(a->handle, &properties);
    a->properties = properties.properties;
    a->max_allocation = most.maxMemoryAllocationSize;
    snprintf(a->driver, sizeof a->driver, "%.60s %.60s", driver.driverName, driver.driverInfo);
    a->id.pNext = NULL;
    a->subgroup.pNext = NULL; /* it pointed into this adapter, which may move */
    VkPhysicalDeviceMemoryProperties2 memory = { .sType =
                                                     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2 };
    v->fn.GetPhysicalDeviceMemoryProperties2(a->handle, &memory);
    a->memory = memory.memoryProperties;

    uint32_t version = a->properties.apiVersion;
    if (version < VK_API_VERSION_1_2) {
        snprintf(a->unusable, sizeof a->unusable, "its driver speaks Vulkan %u.%u, not 1.2",
                 VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
        return;
    }
    VkPhysicalDeviceVulkan12Features features12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES
    };
    VkPhysicalDeviceFeatures2 features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                           .pNext = &features12 };
    v->fn.GetPhysicalDeviceFeatures2(a->handle, &features);
    if (!features12.timelineSemaphore)
        snprintf(a->unusable, sizeof a->unusable, "its driver has no timeline semaphores");
    else
        check_limits(a);
    if (!*a->unusable)
        find_queue_family(v, a);
    vk_find_abilities(v, a);
}

/* Two drivers may offer the same GPU: the first one stays. */
static bool listed(const vk_instance *v, const vk_adapter *a)
{
    for (int i = 0; i < v->count; i++)
        if (memcmp(v->adapters[i].id.deviceUUID, a->id.deviceUUID, VK_UUID_SIZE) == 0)
            return true;
    return false;
}

static bool list_adapters(vk_instance *v, char *problem, size_t size)
{
    uint32_t          count = 0;
    VkPhysicalDevice *handle = NULL;
    VkResult          r = v->fn.EnumeratePhysicalDevices(v->handle, &count, NULL);
    if (r == VK_SUCCESS && count > 0) {
        handle = calloc(count, sizeof *handle);
        v->adapters = calloc(count, sizeof *v->adapters);
        r = handle && v->adapters ? v->fn.EnumeratePhysicalDevices(v->handle, &count, handle)
                                  : VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    if (r != VK_SUCCESS)
        snprintf(problem, size, "the Vulkan driver cannot list its devices: %s", vk_result_name(r));
    else if (count == 0)
        snprintf(problem, size, "the Vulkan drivers found no device");
    for (uint32_t i = 0; r == VK_SUCCESS && i < count; i++) {
        vk_adapter *a = &v->adapters[v->count];
        *a = (vk_adapter){ .handle = handle[i] };
        inspect(v, a);
        if (!listed(v, a))
            v->count++;
    }
    free(handle);
    return v->count > 0;
}

/* ---- Life ---------------------------------------------------------------------------------------- */

static void destroy(void *kept)
{
    vk_instance *v = kept;
    for (int i = 0; i < v->count; i++)
        vk_device_destroy(v->adapters[i].opened);
    if (v->messenger)
        v->fn.DestroyDebugUtilsMessengerEXT(v->handle, v->messenger, NULL);
    if (v->handle && v->fn.DestroyInstance)
        v->fn.DestroyInstance(v->handle, NULL);
    if (v->library)
        dlclose(v->library);
    vk_user_close(v);
    pthread_mutex_destroy(&v->lock);
    free(v->adapters);
    free(v);
}

typedef struct making {
    strata_context  *context;
    const vk_config *config;
} making;

static void *make(void *arg)
{
    const making *m = arg;
    vk_instance  *v = calloc(1, sizeof *v);
    char          problem[sizeof v->adapters->unusable];
    if (!v)
        return NULL;
    v->context = m->context;
    v->config = *m->config;
    pthread_mutex_init(&v->lock, NULL);
    if (start(v, problem, sizeof problem) && list_adapters(v, problem, sizeof problem))
        return v;
    free(v->adapters);
    v->count = 0;
    v->adapters = calloc(1, sizeof *v->adapters);
    if (!v->adapters) {
        destroy(v);
        return NULL;
    }
    v->count = 1;
    memcpy(v->adapters->unusable, problem, sizeof problem);
    return v;
}

vk_instance *vk_instance_with(strata_context *ctx, const vk_config *config)
{
    return strata_context_keep(ctx, &strata_backend_vulkan, make, &(making){ ctx, config }, destroy);
}

vk_instance *vk_instance_of(strata_context *ctx)
{
    static const vk_config usual = { 0 };
    return vk_instance_with(ctx, &usual);
}
