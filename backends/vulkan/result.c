/* result.c: from codes of Vulkan to statuses and words. */
#include "instance.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct meaning {
    VkResult      code;
    strata_status status;
    const char   *name, *text;
} meaning;

static const meaning meanings[] = {
    { VK_ERROR_OUT_OF_HOST_MEMORY, STRATA_NOMEM, "VK_ERROR_OUT_OF_HOST_MEMORY",
      "the driver has no host memory left" },
    { VK_ERROR_OUT_OF_DEVICE_MEMORY, STRATA_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY",
      "the device has no memory left; try a smaller batch or image" },
    { VK_ERROR_OUT_OF_POOL_MEMORY, STRATA_NOMEM, "VK_ERROR_OUT_OF_POOL_MEMORY",
      "a descriptor pool is used up" },
    { VK_ERROR_MEMORY_MAP_FAILED, STRATA_NOMEM, "VK_ERROR_MEMORY_MAP_FAILED",
      "the driver cannot map memory" },
    { VK_ERROR_TOO_MANY_OBJECTS, STRATA_NOMEM, "VK_ERROR_TOO_MANY_OBJECTS",
      "the driver has no more objects to give" },
    { VK_ERROR_DEVICE_LOST, STRATA_DEVICE, "VK_ERROR_DEVICE_LOST",
      "the device stopped answering: it was reset, removed, or took too long" },
    { VK_ERROR_INITIALIZATION_FAILED, STRATA_DEVICE, "VK_ERROR_INITIALIZATION_FAILED",
      "the driver could not start" },
    { VK_ERROR_INCOMPATIBLE_DRIVER, STRATA_DEVICE, "VK_ERROR_INCOMPATIBLE_DRIVER",
      "no Vulkan driver is installed" },
    { VK_ERROR_LAYER_NOT_PRESENT, STRATA_DEVICE, "VK_ERROR_LAYER_NOT_PRESENT", "a layer is not installed" },
    { VK_ERROR_EXTENSION_NOT_PRESENT, STRATA_DEVICE, "VK_ERROR_EXTENSION_NOT_PRESENT",
      "the driver lacks an extension" },
    { VK_ERROR_FEATURE_NOT_PRESENT, STRATA_DEVICE, "VK_ERROR_FEATURE_NOT_PRESENT",
      "the driver lacks a feature" },
    { VK_ERROR_FRAGMENTED_POOL, STRATA_NOMEM, "VK_ERROR_FRAGMENTED_POOL", "a descriptor pool is fragmented" },
    { VK_ERROR_FRAGMENTATION, STRATA_NOMEM, "VK_ERROR_FRAGMENTATION", "a descriptor pool is fragmented" },
    { VK_ERROR_INVALID_SHADER_NV, STRATA_DEVICE, "VK_ERROR_INVALID_SHADER_NV",
      "the driver refuses a shader" },
    { VK_TIMEOUT, STRATA_DEVICE, "VK_TIMEOUT", "the device did not finish in time" },
};

static const meaning unknown = { VK_ERROR_UNKNOWN, STRATA_DEVICE, "VK_ERROR_UNKNOWN",
                                 "the driver does not say why" };

static const meaning *find(VkResult r)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].code == r)
            return &meanings[i];
    return &unknown;
}

const char *vk_result_name(VkResult r)
{
    return find(r)->name;
}

strata_status vk_fail(strata_error *err, VkResult r, const char *fmt, ...)
{
    const meaning *m = find(r);
    char           what[512];
    va_list        args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (m == &unknown)
        return strata_fail(err, m->status, "%s: Vulkan code %d: %s", what, (int)r, m->text);
    return strata_fail(err, m->status, "%s: %s: %s", what, m->name, m->text);
}
