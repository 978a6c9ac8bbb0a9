/* abilities.c: what a device can do beyond what Vulkan 1.2 promises, and how that is asked for: values of float16 in
 * memory, products of matrices, the number of processors. */
#include "device.h"

#include <stdlib.h>
#include <string.h>

/* VK_KHR_cooperative_matrix, for headers older than it. */
#ifndef VK_KHR_cooperative_matrix
#define VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR ((VkStructureType)1000506000)
#define VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR               ((VkStructureType)1000506001)
typedef struct VkPhysicalDeviceCooperativeMatrixFeaturesKHR {
    VkStructureType sType;
    void           *pNext;
    VkBool32        cooperativeMatrix, cooperativeMatrixRobustBufferAccess;
} VkPhysicalDeviceCooperativeMatrixFeaturesKHR;
typedef struct VkCooperativeMatrixPropertiesKHR {
    VkStructureType sType;
    void           *pNext;
    uint32_t        MSize, NSize, KSize, AType, BType, CType, ResultType;
    VkBool32        saturatingAccumulation;
    uint32_t        scope;
} VkCooperativeMatrixPropertiesKHR;
#endif

static const char nv_matrix[] = "VK_NV_cooperative_matrix", khr_matrix[] = "VK_KHR_cooperative_matrix",
                  nv_processors[] = "VK_NV_shader_sm_builtins";

enum { MATRIX = 16, FLOAT16 = 0, FLOAT32 = 1, SUBGROUP = 3 }; /* as both extensions number types and scopes */

/* ---- What there is ------------------------------------------------------------------------------- */

static bool listed(const VkExtensionProperties *list, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].extensionName, name) == 0)
            return true;
    return false;
}

/* Both functions say whether sums in float of products of float16, 16 by 16 by 16, are there. An entry that the
 * driver does not have must not even be called: loaders give an address all the same. */
static bool nv_has_shape(const vk_instance *v, const vk_adapter *a)
{
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV get = v->fn.GetPhysicalDeviceCooperativeMatrixPropertiesNV;
    uint32_t                                             count = 0;
    bool                                                 found = false;
    if (!get || get(a->handle, &count, NULL) != VK_SUCCESS || count == 0)
        return false;
    VkCooperativeMatrixPropertiesNV *p = calloc(count, sizeof *p);
    for (uint32_t i = 0; p && i < count; i++)
        p[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_NV;
    if (p && get(a->handle, &count, p) == VK_SUCCESS)
        for (uint32_t i = 0; i < count; i++)
            found |= p[i].MSize == MATRIX && p[i].NSize == MATRIX && p[i].KSize == MATRIX &&
                     (int)p[i].AType == FLOAT16 && (int)p[i].BType == FLOAT16 && (int)p[i].CType == FLOAT32 &&
                     (int)p[i].DType == FLOAT32 && (int)p[i].scope == SUBGROUP;
    free(p);
    return found;
}

static bool khr_has_shape(const vk_instance *v, const vk_adapter *a)
{
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR get =
        v->fn.GetPhysicalDeviceCooperativeMatrixPropertiesKHR;
    uint32_t count = 0;
    bool     found = false;
    if (!get || get(a->handle, &count, NULL) != VK_SUCCESS || count == 0)
        return false;
    VkCooperativeMatrixPropertiesKHR *p = calloc(count, sizeof *p);
    for (uint32_t i = 0; p && i < count; i++)
        p[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (p && get(a->handle, &count, p) == VK_SUCCESS)
        for (uint32_t i = 0; i < count; i++)
            found |= p[i].MSize == MATRIX && p[i].NSize == MATRIX && p[i].KSize == MATRIX &&
                     (int)p[i].AType == FLOAT16 && (int)p[i].BType == FLOAT16 && (int)p[i].CType == FLOAT32 &&
                     (int)p[i].ResultType == FLOAT32 && (int)p[i].scope == SUBGROUP;
    free(p);
    return found;
}

static uint32_t count_processors(const vk_instance *v, const vk_adapter *a, bool told)
{
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV sm = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV
    };
    VkPhysicalDeviceProperties2 properties = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                               .pNext = told ? &sm : NULL };
    v->fn.GetPhysicalDeviceProperties2(a->handle, &properties);
    if (sm.shaderSMCount > 0)
        return sm.shaderSMCount;
    return a->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU ? 64 : 8;
}

void vk_find_abilities(const vk_instance *v, vk_adapter *a)
{
    uint32_t               count = 0;
    VkExtensionProperties *list = NULL;
    if (v->fn.EnumerateDeviceExtensionProperties(a->handle, NULL, &count, NULL) == VK_SUCCESS && count > 0)
        list = calloc(count, sizeof *list);
    if (!list || v->fn.EnumerateDeviceExtensionProperties(a->handle, NULL, &count, list) != VK_SUCCESS)
        count = 0;

    VkPhysicalDeviceCooperativeMatrixFeaturesKHR khr = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR
    };
    VkPhysicalDeviceCooperativeMatrixFeaturesNV nv = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV
    };
    VkPhysicalDeviceVulkan11Features features11 = { .sType =
                                                        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES };
    VkPhysicalDeviceVulkan12Features features12 = { .sType =
                                                        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                                    .pNext = &features11 };
    VkPhysicalDeviceFeatures2 features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                           .pNext = &features12 };
    void                    **last = &features11.pNext;
    if (listed(list, count, khr_matrix))
        *last = &khr, last = &khr.pNext;
    if (listed(list, count, nv_matrix))
        *last = &nv;
    v->fn.GetPhysicalDeviceFeatures2(a->handle, &features);

    a->half = features11.storageBuffer16BitAccess;
    a->processors = count_processors(v, a, listed(list, count, nv_processors));
    /* With the memory model, which shaders with matrices want, every shader may only count workgroups with DeviceScope. */
    const bool may = a->half && features12.shaderFloat16 && features12.vulkanMemoryModel &&
                     features12.vulkanMemoryModelDeviceScope;
#ifdef STRATA_VULKAN_KHR_MATRIX
    if (may && khr.cooperativeMatrix && khr_has_shape(v, a))
        a->matrix = VK_MATRIX_KHR;
#else
    (void)khr_has_shape;
#endif
    if (may && a->matrix == VK_MATRIX_NONE && nv.cooperativeMatrix && nv_has_shape(v, a))
        a->matrix = VK_MATRIX_NV;
    free(list);
}

/* ---- Asking for it ------------------------------------------------------------------------------- */

VkResult vk_create_device(const vk_functions *fn, const vk_adapter *a, const VkDeviceQueueCreateInfo *queue,
                          VkDevice *out)
{
    const char *const names[] = { [VK_MATRIX_NONE] = "", [VK_MATRIX_NV] = nv_matrix, [VK_MATRIX_KHR] = khr_matrix };
    const VkBool32    matrix = a->matrix != VK_MATRIX_NONE;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR khr = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR, .cooperativeMatrix = VK_TRUE
    };
    VkPhysicalDeviceCooperativeMatrixFeaturesNV nv = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV, .cooperativeMatrix = VK_TRUE
    };
    VkPhysicalDeviceVulkan11Features features11 = { .sType =
                                                        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                                    .pNext = a->matrix == VK_MATRIX_KHR  ? (void *)&khr
                                                             : a->matrix == VK_MATRIX_NV ? (void *)&nv
                                                                                         : NULL,
                                                    .storageBuffer16BitAccess = a->half };
    VkPhysicalDeviceVulkan12Features features12 = { .sType =
                                                        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                                    .pNext = &features11,
                                                    .timelineSemaphore = VK_TRUE,
                                                    .shaderFloat16 = matrix,
                                                    .vulkanMemoryModel = matrix,
                                                    .vulkanMemoryModelDeviceScope = matrix };
    VkDeviceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                .pNext = &features12,
                                .queueCreateInfoCount = 1,
                                .pQueueCreateInfos = queue,
                                .enabledExtensionCount = matrix,
                                .ppEnabledExtensionNames = &names[a->matrix] };
    return fn->CreateDevice(a->handle, &info, NULL, out);
}
