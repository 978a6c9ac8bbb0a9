/* memory.c: device memory in blocks, handed out in slices.
 *
 * Drivers allow few allocations (4096) of limited size, so memory comes in blocks of 64 MiB, each with one
 * buffer over all of it; larger wishes get a block of their own. A block keeps its free ranges sorted; a
 * slice is cut from the first that is large enough, and what comes back joins its neighbours.
 *
 * Types: the largest heap of device memory; where the host can reach it as well, coherently (integrated GPUs,
 * processors), slices are mapped and transfers are plain copies. Discrete GPUs use staging, for reading over the
 * bus is slow; where all their memory can be reached from the host (resizable BAR), it is mapped for short writes.
 */
#include "device.h"

#include <stdlib.h>

enum { ALIGNMENT = 256 /* the most that minStorageBufferOffsetAlignment may be */ };

static const VkDeviceSize BLOCK = 64 << 20;

typedef struct range {
    VkDeviceSize at, size;
} range;

struct vk_block {
    vk_block      *next;
    VkDeviceMemory memory;
    VkBuffer       buffer;
    VkDeviceSize   size;
    void          *host;
    bool           staging;
    range         *spare; /* sorted, never adjacent */
    int            spare_count, spare_capacity;
};

/* ---- Types --------------------------------------------------------------------------------------- */

/* The type with all of `wanted` in the largest heap; false when there is none. */
static bool find_type(const strata_device *dev, VkMemoryPropertyFlags wanted, uint32_t *out)
{
    const VkPhysicalDeviceMemoryProperties *m = &dev->adapter->memory;
    VkDeviceSize                            most = 0;
    for (uint32_t i = 0; i < m->memoryTypeCount; i++) {
        VkDeviceSize heap = m->memoryHeaps[m->memoryTypes[i].heapIndex].size;
        if ((m->memoryTypes[i].propertyFlags & wanted) == wanted && heap > most) {
            most = heap;
            *out = i;
        }
    }
    return most > 0;
}

strata_status vk_memory_choose(strata_device *dev, strata_error *err)
{
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
                                host = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                       VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const bool separate = dev->instance->config.staging ||
                          dev->adapter->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    dev->mapped = !separate && find_type(dev, local | host, &dev->memory_type);
    bool found =
        dev->mapped || find_type(dev, local, &dev->memory_type) || find_type(dev, host, &dev->memory_type);
    found &= find_type(dev, host | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, &dev->staging_type) ||
             find_type(dev, host, &dev->staging_type);
    if (!found)
        return strata_fail(err, STRATA_DEVICE, "vulkan: %s has no memory of a kind that can be used",
                           dev->adapter->properties.deviceName);
    const VkPhysicalDeviceMemoryProperties *m = &dev->adapter->memory;
    uint32_t                                reachable;
    if (separate && (dev->instance->config.window || !dev->instance->config.staging) &&
        find_type(dev, local | host, &reachable) &&
        m->memoryTypes[reachable].heapIndex == m->memoryTypes[dev->memory_type].heapIndex) {
        dev->memory_type = reachable;
        dev->window = true;
    }
    dev->block_size = m->memoryHeaps[m->memoryTypes[dev->memory_type].heapIndex].size / 8;
    if (dev->block_size > BLOCK)
        dev->block_size = BLOCK;
    dev->block_size = dev->block_size / ALIGNMENT * ALIGNMENT;
    return STRATA_OK;
}

/* ---- Blocks -------------------------------------------------------------------------------------- */

static void destroy_block(strata_device *dev, vk_block *b)
{
    if (b->buffer)
        dev->fn.DestroyBuffer(dev->handle, b->buffer, NULL);
    if (b->memory) {
        dev->fn.FreeMemory(dev->handle, b->memory, NULL);
        dev->allocated -= b->size;
    }
    free(b->spare);
    free(b);
}

static VkResult fill_block(strata_device *dev, vk_block *b)
{
    VkBufferCreateInfo buffer = { .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                  .size = b->size,
                                  .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                                           VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                           VK_BUFFER_USAGE_TRANSFER_DST_BIT };
    VkResult           r = dev->fn.CreateBuffer(dev->handle, &buffer, NULL, &b->buffer);
    if (r != VK_SUCCESS) {
        b->buffer = VK_NULL_HANDLE;
        return r;
    }
    VkMemoryRequirements needs;
    dev->fn.GetBufferMemoryRequirements(dev->handle, b->buffer, &needs);
    VkMemoryAllocateInfo memory = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                    .allocationSize = needs.size,
                                    .memoryTypeIndex = b->staging ? dev->staging_type : dev->memory_type };
    r = dev->fn.AllocateMemory(dev->handle, &memory, NULL, &b->memory);
    if (r != VK_SUCCESS) {
        b->memory = VK_NULL_HANDLE;
        return r;
    }
    dev->allocated += b->size;
    r = dev->fn.BindBufferMemory(dev->handle, b->buffer, b->memory, 0);
    if (r == VK_SUCCESS && (dev->mapped || dev->window || b->staging))
        r = dev->fn.MapMemory(dev->handle, b->memory, 0, VK_WHOLE_SIZE, 0, &b->host);
    return r;
}

static strata_status add_block(strata_device *dev, VkDeviceSize size, bool staging, vk_block **out,
                               strata_error *err)
{
    const VkPhysicalDeviceMemoryProperties *m = &dev->adapter->memory;
    VkDeviceSize                            heap =
        m->memoryHeaps[m->memoryTypes[staging ? dev->staging_type : dev->memory_type].heapIndex].size;
    vk_block *b = calloc(1, sizeof *b);
    if (b)
        b->spare = malloc(4 * sizeof *b->spare);
    if (!b || !b->spare) {
        free(b);
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory for a block");
    }
    b->size = size;
    b->staging = staging;
    b->spare_capacity = 4;
    b->spare[b->spare_count++] = (range){ 0, size };
    VkResult r = size > heap || size > dev->adapter->max_allocation ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                                                                    : fill_block(dev, b);
    if (r != VK_SUCCESS) {
        unsigned long long used = dev->allocated;
        destroy_block(dev, b);
        return vk_fail(
            err, r,
            "vulkan: %s: %llu MiB wanted, %llu MiB in use by this process, %llu MiB in all, %llu MiB "
            "at once",
            dev->adapter->properties.deviceName, (unsigned long long)size >> 20, used >> 20,
            (unsigned long long)heap >> 20, (unsigned long long)dev->adapter->max_allocation >> 20);
    }
    b->next = dev->blocks;
    dev->blocks = b;
    *out = b;
    return STRATA_OK;
}

static bool cut(vk_block *b, VkDeviceSize size, VkDeviceSize *at)
{
    for (int i = 0; i < b->spare_count; i++) {
        range *s = &b->spare[i];
        if (s->size < size)
            continue;
        *at = s->at;
        s->at += size;
        s->size -= size;
        if (s->size == 0) {
            for (int k = i; k + 1 < b->spare_count; k++)
                b->spare[k] = b->spare[k + 1];
            b->spare_count--;
        }
        return true;
    }
    return false;
}

static bool make_room(vk_block *b)
{
    if (b->spare_count < b->spare_capacity)
        return true;
    range *grown = realloc(b->spare, 2 * (size_t)b->spare_capacity * sizeof *grown);
    if (!grown)
        return false;
    b->spare = grown;
    b->spare_capacity *= 2;
    return true;
}

static void give_back(vk_block *b, VkDeviceSize at, VkDeviceSize size)
{
    int i = 0;
    while (i < b->spare_count && b->spare[i].at < at)
        i++;
    bool low = i > 0 && b->spare[i - 1].at + b->spare[i - 1].size == at;
    bool high = i < b->spare_count && at + size == b->spare[i].at;
    if (low) {
        b->spare[i - 1].size += size;
        if (high) {
            b->spare[i - 1].size += b->spare[i].size;
            for (int k = i; k + 1 < b->spare_count; k++)
                b->spare[k] = b->spare[k + 1];
            b->spare_count--;
        }
    } else if (high) {
        b->spare[i].at = at;
        b->spare[i].size += size;
    } else if (make_room(b)) { /* else out of host memory: the range stays unused until the block goes */
        for (int k = b->spare_count++; k > i; k--)
            b->spare[k] = b->spare[k - 1];
        b->spare[i] = (range){ at, size };
    }
}

/* ---- Slices -------------------------------------------------------------------------------------- */

/* What a slice takes of its block. */
static VkDeviceSize whole(const strata_device *dev, VkDeviceSize wanted)
{
    return dev->instance->config.separate ? wanted : (wanted + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static strata_status alloc(strata_device *dev, VkDeviceSize wanted, bool staging, vk_slice *out,
                           strata_error *err)
{
    *out = (vk_slice){ .size = wanted };
    const bool   separate = dev->instance->config.separate;
    VkDeviceSize size = whole(dev, wanted), at = 0;
    pthread_mutex_lock(&dev->memory_lock);
    vk_block *b = size == 0 || size < wanted || separate ? NULL : dev->blocks;
    while (b && (b->staging != staging || !cut(b, size, &at)))
        b = b->next;
    strata_status status = STRATA_OK;
    if (!b && (size == 0 || size < wanted))
        status =
            strata_fail(err, STRATA_INVALID, "vulkan: a slice of %llu bytes", (unsigned long long)wanted);
    else if (!b) {
        VkDeviceSize usual = staging || separate ? size : dev->block_size;
        status = add_block(dev, size > usual ? size : usual, staging, &b, err);
        if (status == STRATA_NOMEM && size < usual) /* a smaller block may still fit */
            status = add_block(dev, size, staging, &b, err);
        if (status == STRATA_OK)
            cut(b, size, &at);
    }
    pthread_mutex_unlock(&dev->memory_lock);
    if (status == STRATA_OK)
        *out = (vk_slice){ .block = b,
                           .buffer = b->buffer,
                           .offset = at,
                           .size = wanted,
                           .host = b->host ? (char *)b->host + at : NULL };
    return status;
}

strata_status vk_alloc(strata_device *dev, VkDeviceSize size, vk_slice *out, strata_error *err)
{
    STRATA_TRY(alloc(dev, size, false, out, err));
    strata_status status = dev->instance->config.poison ? vk_fill(dev, out, UINT32_MAX, err) : STRATA_OK;
    if (status != STRATA_OK)
        vk_free(dev, out);
    return status;
}

strata_status vk_alloc_host(strata_device *dev, VkDeviceSize size, vk_slice *out, strata_error *err)
{
    return alloc(dev, size, true, out, err);
}

void vk_free(strata_device *dev, vk_slice *slice)
{
    vk_block *b = slice->block;
    if (!b)
        return;
    pthread_mutex_lock(&dev->memory_lock);
    give_back(b, slice->offset, whole(dev, slice->size));
    if (b->spare_count == 1 &&
        b->spare[0].size == b->size) { /* nothing left: to the driver, when no copy is under way */
        pthread_mutex_lock(&dev->queue_lock);
        uint64_t last = dev->submitted;
        pthread_mutex_unlock(&dev->queue_lock);
        vk_wait(dev, last, NULL);
        vk_block **at = &dev->blocks;
        while (*at != b)
            at = &(*at)->next;
        *at = b->next;
        destroy_block(dev, b);
    }
    pthread_mutex_unlock(&dev->memory_lock);
    *slice = (vk_slice){ .block = NULL };
}

void vk_memory_destroy(strata_device *dev)
{
    while (dev->blocks) {
        vk_block *b = dev->blocks;
        dev->blocks = b->next;
        destroy_block(dev, b);
    }
}
