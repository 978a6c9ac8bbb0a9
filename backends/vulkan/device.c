/* device.c: opens an adapter, submits work to it, waits for that. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Opening ------------------------------------------------------------------------------------- */

static strata_status load_functions(strata_device *dev, strata_error *err)
{
    const vk_functions *fn = &dev->instance->fn;
    const char         *missing = NULL;
    dev->fn = *fn;
#define VK_GLOBAL(name)
#define VK_INSTANCE(name)
#define VK_OPTIONAL(name)
#define VK_DEVICE(name)                                                                                      \
    if (!(dev->fn.name = (PFN_vk##name)fn->GetDeviceProcAddr(dev->handle, "vk" #name)))                      \
        missing = "vk" #name;
#include "functions.def"
    if (missing)
        return strata_fail(err, STRATA_DEVICE, "vulkan: the driver of %s lacks %s",
                           dev->adapter->properties.deviceName, missing);
    if (dev->instance->config.wrap)
        dev->instance->config.wrap(dev->instance->config.user, &dev->fn);
    return STRATA_OK;
}

static strata_status create_device(strata_device *dev, strata_error *err)
{
    const float             priority = 1;
    VkDeviceQueueCreateInfo queue = { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                      .queueFamilyIndex = dev->family,
                                      .queueCount = 1,
                                      .pQueuePriorities = &priority };
    const char *name = dev->adapter->properties.deviceName;
    VkResult    r = vk_create_device(&dev->fn, dev->adapter, &queue, &dev->handle);
    if (r != VK_SUCCESS) {
        dev->handle = NULL;
        return vk_fail(err, r, "vulkan: %s cannot be opened", name);
    }
    STRATA_TRY(load_functions(dev, err));
    dev->fn.GetDeviceQueue(dev->handle, dev->family, 0, &dev->queue);

    VkSemaphoreTypeCreateInfo timeline = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                           .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE };
    VkSemaphoreCreateInfo     semaphore = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                            .pNext = &timeline };
    r = dev->fn.CreateSemaphore(dev->handle, &semaphore, NULL, &dev->timeline);
    if (r != VK_SUCCESS) {
        dev->timeline = VK_NULL_HANDLE;
        return vk_fail(err, r, "vulkan: %s gives no semaphore", name);
    }
    STRATA_TRY(vk_memory_choose(dev, err));
    vk_tuning_load(dev);
    return vk_pipelines_create(dev, err);
}

static strata_status create(vk_instance *v, vk_adapter *a, strata_device **out, strata_error *err)
{
    strata_device *dev = calloc(1, sizeof *dev);
    if (!dev)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory for a device");
    dev->instance = v;
    dev->adapter = a;
    dev->fn = v->fn;
    dev->family = a->family;
    dev->threads = 1;
    dev->imitation = a->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    atomic_init(&dev->lost, false);
    pthread_mutex_init(&dev->queue_lock, NULL);
    pthread_mutex_init(&dev->memory_lock, NULL);
    pthread_mutex_init(&dev->staging_lock, NULL);
    strata_status status = create_device(dev, err);
    if (status == STRATA_OK)
        *out = dev;
    else
        vk_device_destroy(dev);
    return status;
}

strata_status vk_device_open(vk_instance *v, int index, int threads, strata_device **out, strata_error *err)
{
    if (index < 0 || index >= v->count)
        return strata_fail(err, STRATA_DEVICE, "vulkan:%d: there are %d adapters", index, v->count);
    vk_adapter *a = &v->adapters[index];
    if (*a->unusable)
        return strata_fail(err, STRATA_DEVICE, "vulkan:%d cannot be used: %s", index, a->unusable);
    pthread_mutex_lock(&v->lock);
    strata_status status = STRATA_OK;
    if (a->opened && a->opened->users == 0 &&
        atomic_load(&a->opened->lost)) { /* what is lost may come back */
        vk_device_destroy(a->opened);
        a->opened = NULL;
    }
    if (!a->opened)
        status = create(v, a, &a->opened, err);
    if (status == STRATA_OK) {
        a->opened->users++;
        if (threads > a->opened->threads)
            a->opened->threads = threads;
        *out = a->opened;
    }
    pthread_mutex_unlock(&v->lock);
    return status;
}

void vk_device_close(strata_device *dev)
{
    vk_instance *v = dev->instance;
    pthread_mutex_lock(&v->lock);
    if (--dev->users == 0)
        vk_pipelines_save(dev);
    pthread_mutex_unlock(&v->lock);
}

void vk_device_destroy(strata_device *dev)
{
    if (!dev)
        return;
    if (dev->handle && dev->queue) {
        dev->fn.DeviceWaitIdle(dev->handle);
        vk_pipelines_destroy(dev);
        vk_tuning_drop(dev);
        vk_transfer_destroy(dev);
        vk_memory_destroy(dev);
        if (dev->timeline)
            dev->fn.DestroySemaphore(dev->handle, dev->timeline, NULL);
    }
    if (dev->handle && dev->fn.DestroyDevice)
        dev->fn.DestroyDevice(dev->handle, NULL);
    pthread_mutex_destroy(&dev->queue_lock);
    pthread_mutex_destroy(&dev->memory_lock);
    pthread_mutex_destroy(&dev->staging_lock);
    free(dev);
}

/* ---- Work ---------------------------------------------------------------------------------------- */

static strata_status failed(strata_device *dev, VkResult r, const char *what, strata_error *err)
{
    if (r == VK_ERROR_DEVICE_LOST)
        atomic_store(&dev->lost, true);
    return vk_fail(err, r, "vulkan: %s: %s", dev->adapter->properties.deviceName, what);
}

enum { MOST_SUBMITS = 64 };

strata_status vk_submit(strata_device *dev, const VkCommandBuffer *commands, int count, uint64_t *number,
                        strata_error *err)
{
    if (atomic_load(&dev->lost))
        return failed(dev, VK_ERROR_DEVICE_LOST, "no more work can be submitted", err);
    VkSubmitInfo                  submit[MOST_SUBMITS];
    VkTimelineSemaphoreSubmitInfo signal[MOST_SUBMITS];
    uint64_t                      value[MOST_SUBMITS];
    strata_status                 status = STRATA_OK;
    pthread_mutex_lock(&dev->queue_lock);
    for (int done = 0; done < count && status == STRATA_OK;) {
        int n = 0;
        for (; n < MOST_SUBMITS && done + n < count; n++) {
            value[n] = dev->submitted + 1 + (uint64_t)n;
            signal[n] =
                (VkTimelineSemaphoreSubmitInfo){ .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                                 .signalSemaphoreValueCount = 1,
                                                 .pSignalSemaphoreValues = &value[n] };
            submit[n] = (VkSubmitInfo){ .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                        .pNext = &signal[n],
                                        .commandBufferCount = 1,
                                        .pCommandBuffers = &commands[done + n],
                                        .signalSemaphoreCount = 1,
                                        .pSignalSemaphores = &dev->timeline };
        }
        VkResult r = dev->fn.QueueSubmit(dev->queue, (uint32_t)n, submit, VK_NULL_HANDLE);
        if (r == VK_SUCCESS)
            dev->submitted += (uint64_t)n;
        else
            status = failed(dev, r, "work could not be submitted", err);
        done += n;
    }
    *number = dev->submitted;
    pthread_mutex_unlock(&dev->queue_lock);
    return status;
}

double vk_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Looks at the timeline for a moment before it sleeps: to be woken takes longer than many a piece of work. A processor
 * that poses as a GPU needs the time itself. */
static bool seen_soon(strata_device *dev, uint64_t number)
{
    const double patience = 2, start = vk_now_ms(); /* ms */
    uint64_t     reached = 0;
    do {
        if (dev->fn.GetSemaphoreCounterValue(dev->handle, dev->timeline, &reached) != VK_SUCCESS)
            return false; /* the wait will say what is wrong */
        if (reached >= number)
            return true;
    } while (vk_now_ms() - start < patience);
    return false;
}

strata_status vk_wait(strata_device *dev, uint64_t number, strata_error *err)
{
    if (!dev->imitation && seen_soon(dev, number))
        return STRATA_OK;
    VkSemaphoreWaitInfo wait = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                 .semaphoreCount = 1,
                                 .pSemaphores = &dev->timeline,
                                 .pValues = &number };
    VkResult            r = dev->fn.WaitSemaphores(dev->handle, &wait, UINT64_MAX);
    return r == VK_SUCCESS ? STRATA_OK : failed(dev, r, "waiting for it failed", err);
}

strata_status vk_create_command_pool(strata_device *dev, VkCommandPool *pool, strata_error *err)
{
    VkCommandPoolCreateInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                     .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                     .queueFamilyIndex = dev->family };
    VkResult                r = dev->fn.CreateCommandPool(dev->handle, &info, NULL, pool);
    if (r == VK_SUCCESS)
        return STRATA_OK;
    *pool = VK_NULL_HANDLE;
    return vk_fail(err, r, "vulkan: no command pool");
}

strata_status vk_allocate_commands(strata_device *dev, VkCommandPool pool, VkCommandBuffer *out, int count,
                                   strata_error *err)
{
    VkCommandBufferAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                         .commandPool = pool,
                                         .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                         .commandBufferCount = (uint32_t)count };
    VkResult                    r = dev->fn.AllocateCommandBuffers(dev->handle, &info, out);
    return r == VK_SUCCESS ? STRATA_OK : vk_fail(err, r, "vulkan: no command buffers");
}

strata_status vk_begin_commands(strata_device *dev, VkCommandBuffer commands, VkCommandBufferUsageFlags usage,
                                strata_error *err)
{
    VkCommandBufferBeginInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, .flags = usage };
    VkResult                 r = dev->fn.BeginCommandBuffer(commands, &info);
    return r == VK_SUCCESS ? STRATA_OK : vk_fail(err, r, "vulkan: a command buffer cannot be begun");
}

strata_status vk_end_commands(strata_device *dev, VkCommandBuffer commands, strata_error *err)
{
    VkResult r = dev->fn.EndCommandBuffer(commands);
    return r == VK_SUCCESS ? STRATA_OK : vk_fail(err, r, "vulkan: a command buffer cannot be ended");
}
