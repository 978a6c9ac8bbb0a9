/* vulkan.c: Vulkan as a backend: its devices, buffers and recordings. Kernels are in k_*.c, listed in
 * kernels.def. */
#include "kernel.h"
#include "tuning.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *make_nothing(void *arg)
{
    (void)arg;
    return NULL;
}

/* Drivers of real GPUs open one of these; without any of them there are only processors that pose as GPUs, whose compiler
 * alone takes longer to load than most networks. An instance that is there already is asked in any case. */
static bool may_have_gpu(strata_context *ctx)
{
    static const char *const nodes[] = { "/dev/dri/renderD*", "/dev/nvidia*", "/dev/dxg", "/dev/kgsl*", "/dev/mali*", "/dev/pvr*" };
    bool                     found = strata_context_keep(ctx, &strata_backend_vulkan, make_nothing, NULL, NULL) != NULL;
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes && !found; i++) {
        glob_t names;
        found = glob(nodes[i], GLOB_NOSORT, NULL, &names) == 0;
        if (found)
            globfree(&names);
    }
    return found;
}

static int count_devices(strata_context *ctx)
{
    const vk_instance *v = vk_instance_of(ctx);
    return v ? v->count : 0;
}

static const char *type_name(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return "cpu";
    default: return "other";
    }
}

static void describe(strata_context *ctx, int index, strata_device_info *out)
{
    const vk_instance *v = vk_instance_of(ctx);
    *out = (strata_device_info){ .backend = strata_backend_vulkan.name, .index = index };
    if (!v || index < 0 || index >= v->count)
        return;
    const vk_adapter *a = &v->adapters[index];
    snprintf(out->unusable, sizeof out->unusable, "%s", a->unusable);
    if (!a->handle) {
        snprintf(out->name, sizeof out->name, "no adapter");
        snprintf(out->type, sizeof out->type, "none");
        return;
    }
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, a->properties.deviceName);
    snprintf(out->type, sizeof out->type, "%s", type_name(a->properties.deviceType));
    const uint8_t *u = a->id.deviceUUID;
    snprintf(out->uuid, sizeof out->uuid,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3],
             u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
    snprintf(out->driver, sizeof out->driver, "%s", a->driver);
    const VkPhysicalDeviceLimits *l = &a->properties.limits;
    out->max_allocation = a->max_allocation;
    out->max_value = l->maxStorageBufferRange;
    out->shared_memory = l->maxComputeSharedMemorySize;
    out->workgroup = (int)l->maxComputeWorkGroupInvocations;
    out->subgroup = (int)a->subgroup.subgroupSize;
    for (uint32_t i = 0; i < a->memory.memoryHeapCount; i++)
        if ((a->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) &&
            a->memory.memoryHeaps[i].size > out->memory)
            out->memory = a->memory.memoryHeaps[i].size;
}

static strata_status open_device(strata_context *ctx, int index, const strata_device_options *options,
                                 strata_device **out, strata_error *err)
{
    vk_instance *v = vk_instance_of(ctx);
    if (!v)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory to look for devices");
    return vk_device_open(v, index, options->threads, out, err);
}

static bool stores(const strata_device *dev, strata_dtype dtype)
{
    return dtype == STRATA_F32 || (dtype == STRATA_F16 && dev->adapter->half);
}

static strata_status alloc_buffer(strata_device *dev, size_t bytes, strata_buffer **out, strata_error *err)
{
    strata_buffer *b = calloc(1, sizeof *b);
    if (!b)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory for a buffer");
    b->device = dev;
    strata_status status = vk_alloc(dev, bytes, &b->slice, err);
    if (status == STRATA_OK)
        *out = b;
    else
        free(b);
    return status;
}

static void free_buffer(strata_device *dev, strata_buffer *b)
{
    if (b)
        vk_free(dev, &b->slice);
    free(b);
}

static void *map_buffer(strata_buffer *b)
{
    (void)b;
    return NULL;
}

static strata_status write_buffer(strata_buffer *to, size_t at, const void *src, size_t n, strata_error *err)
{
    return vk_write(to->device, &to->slice, at, src, n, err);
}

static strata_status read_buffer(const strata_buffer *from, size_t at, void *dst, size_t n, strata_error *err)
{
    return vk_read(from->device, &from->slice, at, dst, n, err);
}

#define KERNEL(name) &vk_kernel_##name,
static const strata_kernel_def *const kernels[] = {
#include "kernels.def"
    NULL
};
#undef KERNEL

const strata_backend_def strata_backend_vulkan = {
    .name = "vulkan",
    .layout = STRATA_NHWC,
    .host_memory = false,
    .side_by_side = true,
    .kernels = kernels,
    .may_have_gpu = may_have_gpu,
    .count = count_devices,
    .describe = describe,
    .open = open_device,
    .close = vk_device_close,
    .stores = stores,
    .alloc = alloc_buffer,
    .free = free_buffer,
    .map = map_buffer,
    .write = write_buffer,
    .read = read_buffer,
    .record = vk_record,
    .run = vk_run,
    .discard = vk_discard,
    .tune = vk_tune,
};
