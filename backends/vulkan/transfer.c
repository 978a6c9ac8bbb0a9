/* transfer.c: bytes between the host and the device.
 *
 * Where the device's memory is mapped that is a copy. Elsewhere bytes pass through a ring of staging slots,
 * each with a command buffer of its own. Writes do not wait: a slot is used again once the timeline has
 * passed its copy, and work that is submitted later finds the bytes in place, for the queue keeps the order
 * and the recorded work begins with a barrier behind transfers. One thread fills slots more slowly than the bus
 * empties them, so for large writes several do, each with slots of its own. Reads keep two copies under way and
 * wait for each. A short write to memory that is mapped over a bus goes straight there: on an H200 the input of
 * one image takes 40 us that way, and 90 through the ring.
 */
#include "device.h"

#include <string.h>

static const size_t SLOT = 2 << 20, MOST_DIRECT = 1 << 20;

static strata_status prepare_ring(strata_device *dev, strata_error *err)
{
    if (!dev->staging_pool)
        STRATA_TRY(vk_create_command_pool(dev, &dev->staging_pool, err));
    for (int i = 0; i < VK_STAGING_SLOTS; i++) {
        vk_staging_slot *s = &dev->staging[i];
        if (!s->slice.block)
            STRATA_TRY(vk_alloc_host(dev, SLOT, &s->slice, err));
        if (!s->commands)
            STRATA_TRY(vk_allocate_commands(dev, dev->staging_pool, &s->commands, 1, err));
    }
    return STRATA_OK;
}

/* The next slot of the ring, once its last copy has ended. */
static strata_status claim(strata_device *dev, vk_staging_slot **out, strata_error *err)
{
    STRATA_TRY(prepare_ring(dev, err));
    *out = &dev->staging[dev->next_slot];
    dev->next_slot = (dev->next_slot + 1) % VK_STAGING_SLOTS;
    return vk_wait(dev, (*out)->busy_until, err);
}

/* Until no copy is under way that a write past the ring could overtake. */
static strata_status wait_for_ring(strata_device *dev, strata_error *err)
{
    uint64_t last = 0;
    for (int i = 0; i < VK_STAGING_SLOTS; i++)
        if (dev->staging[i].busy_until > last)
            last = dev->staging[i].busy_until;
    return vk_wait(dev, last, err);
}

/* Its commands, whatever became of them the last time. */
static strata_status begin(strata_device *dev, vk_staging_slot *s, strata_error *err)
{
    VkResult r = dev->fn.ResetCommandBuffer(s->commands, 0);
    if (r != VK_SUCCESS)
        return vk_fail(err, r, "vulkan: a command buffer cannot be reset");
    return vk_begin_commands(dev, s->commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, err);
}

static void barrier(strata_device *dev, VkCommandBuffer commands, VkPipelineStageFlags from,
                    VkAccessFlags written, VkPipelineStageFlags to, VkAccessFlags used)
{
    VkMemoryBarrier memory = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = written,
                               .dstAccessMask = used };
    dev->fn.CmdPipelineBarrier(commands, from, to, 0, 1, &memory, 0, NULL, 0, NULL);
}

/* Submits a copy of n bytes between the slot and the device. */
static strata_status copy(strata_device *dev, vk_staging_slot *s, const vk_slice *device, VkDeviceSize at,
                          VkDeviceSize n, bool to_device, strata_error *err)
{
    STRATA_TRY(begin(dev, s, err));
    const VkPipelineStageFlags compute = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                               transfer = VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkBufferCopy region = { .srcOffset = to_device ? s->slice.offset : device->offset + at,
                            .dstOffset = to_device ? device->offset + at : s->slice.offset,
                            .size = n };
    barrier(dev, s->commands, compute | transfer, VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
            transfer, VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
    dev->fn.CmdCopyBuffer(s->commands, to_device ? s->slice.buffer : device->buffer,
                          to_device ? device->buffer : s->slice.buffer, 1, &region);
    if (!to_device)
        barrier(dev, s->commands, transfer, VK_ACCESS_TRANSFER_WRITE_BIT, VK_PIPELINE_STAGE_HOST_BIT,
                VK_ACCESS_HOST_READ_BIT);
    STRATA_TRY(vk_end_commands(dev, s->commands, err));
    return vk_submit(dev, &s->commands, 1, &s->busy_until, err);
}

enum { WRITERS = VK_STAGING_SLOTS / 2 }; /* two slots each: one is filled while the other is emptied */

typedef struct writing {
    strata_device  *dev;
    const vk_slice *to;
    VkDeviceSize    at;
    const char     *src;
    size_t          n;
    int             first; /* of the two slots */
    atomic_size_t   next; /* chunk */
    pthread_mutex_t lock; /* over the command buffers, which share a pool; and what follows */
    strata_status   status;
    strata_error   *err; /* of the first failure */
} writing;

typedef struct writer {
    writing  *all;
    int       index;
    pthread_t thread;
} writer;

static strata_status write_chunk(writing *w, vk_staging_slot *s, size_t from, strata_error *err)
{
    const size_t size = w->n - from < SLOT ? w->n - from : SLOT;
    STRATA_TRY(vk_wait(w->dev, s->busy_until, err));
    memcpy(s->slice.host, w->src + from, size);
    pthread_mutex_lock(&w->lock);
    strata_status status = copy(w->dev, s, w->to, w->at + from, size, true, err);
    pthread_mutex_unlock(&w->lock);
    return status;
}

static void *write_chunks(void *arg)
{
    writer       *me = arg;
    writing      *w = me->all;
    strata_error  err = { 0 };
    strata_status status = STRATA_OK;
    size_t        from;
    for (int turn = 0; status == STRATA_OK && (from = atomic_fetch_add(&w->next, 1) * SLOT) < w->n; turn++)
        status = write_chunk(w, &w->dev->staging[2 * me->index + (w->first + turn) % 2], from, &err);
    if (status != STRATA_OK) {
        atomic_store(&w->next, w->n / SLOT + 1); /* the others may stop */
        pthread_mutex_lock(&w->lock);
        if (w->status == STRATA_OK && w->err)
            *w->err = err;
        w->status = status;
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

static strata_status write_staged(strata_device *dev, const vk_slice *to, VkDeviceSize at, const char *src,
                                  size_t n, strata_error *err)
{
    writing      w = { .dev = dev, .to = to, .at = at, .src = src, .n = n, .first = dev->next_slot, .err = err };
    writer       all[WRITERS];
    const size_t chunks = (n + SLOT - 1) / SLOT;
    int          wanted = WRITERS < dev->threads ? WRITERS : dev->threads, helpers = 0;
    STRATA_TRY(prepare_ring(dev, err));
    dev->next_slot = (dev->next_slot + 1) % VK_STAGING_SLOTS;
    atomic_init(&w.next, 0);
    pthread_mutex_init(&w.lock, NULL);
    for (int i = 0; i < WRITERS; i++)
        all[i] = (writer){ .all = &w, .index = i };
    while (helpers + 1 < wanted && 2 * ((size_t)helpers + 2) <= chunks &&
           pthread_create(&all[helpers + 1].thread, NULL, write_chunks, &all[helpers + 1]) == 0)
        helpers++;
    write_chunks(&all[0]);
    while (helpers > 0)
        pthread_join(all[helpers--].thread, NULL);
    pthread_mutex_destroy(&w.lock);
    return w.status;
}

static strata_status read_staged(strata_device *dev, const vk_slice *from, VkDeviceSize at, char *dst,
                                 size_t n, strata_error *err)
{
    vk_staging_slot *slot[2];
    size_t           chunks = (n + SLOT - 1) / SLOT;
    for (size_t i = 0; i < chunks + 1; i++) { /* chunk i is on its way while i - 1 is taken out */
        if (i < chunks) {
            size_t chunk = i + 1 < chunks ? SLOT : n - i * SLOT;
            STRATA_TRY(claim(dev, &slot[i % 2], err));
            STRATA_TRY(copy(dev, slot[i % 2], from, at + i * SLOT, chunk, false, err));
        }
        if (i > 0) {
            size_t chunk = i < chunks ? SLOT : n - (i - 1) * SLOT;
            STRATA_TRY(vk_wait(dev, slot[(i - 1) % 2]->busy_until, err));
            memcpy(dst + (i - 1) * SLOT, slot[(i - 1) % 2]->slice.host, chunk);
        }
    }
    return STRATA_OK;
}

static strata_status check(const vk_slice *s, VkDeviceSize at, size_t n, strata_error *err)
{
    if (at <= s->size && n <= s->size - at)
        return STRATA_OK;
    return strata_fail(err, STRATA_INVALID, "vulkan: %zu bytes at %llu are not inside a buffer of %llu", n,
                       (unsigned long long)at, (unsigned long long)s->size);
}

strata_status vk_write(strata_device *dev, const vk_slice *to, VkDeviceSize at, const void *src, size_t n,
                       strata_error *err)
{
    STRATA_TRY(check(to, at, n, err));
    if (dev->mapped) {
        memcpy((char *)to->host + at, src, n);
        return STRATA_OK;
    }
    const bool    direct = dev->window && n <= MOST_DIRECT;
    strata_status status;
    pthread_mutex_lock(&dev->staging_lock);
    if (!direct)
        status = write_staged(dev, to, at, src, n, err);
    else if ((status = wait_for_ring(dev, err)) == STRATA_OK)
        memcpy((char *)to->host + at, src, n);
    pthread_mutex_unlock(&dev->staging_lock);
    return status;
}

strata_status vk_read(strata_device *dev, const vk_slice *from, VkDeviceSize at, void *dst, size_t n,
                      strata_error *err)
{
    STRATA_TRY(check(from, at, n, err));
    if (dev->mapped) {
        memcpy(dst, (const char *)from->host + at, n);
        return STRATA_OK;
    }
    pthread_mutex_lock(&dev->staging_lock);
    strata_status status = read_staged(dev, from, at, dst, n, err);
    pthread_mutex_unlock(&dev->staging_lock);
    return status;
}

strata_status vk_fill(strata_device *dev, const vk_slice *to, uint32_t word, strata_error *err)
{
    if (dev->mapped) {
        memset(to->host, (int)(word & 0xff), to->size);
        return STRATA_OK;
    }
    vk_staging_slot *s;
    pthread_mutex_lock(&dev->staging_lock);
    strata_status status = claim(dev, &s, err);
    if (status == STRATA_OK)
        status = begin(dev, s, err);
    if (status == STRATA_OK) {
        const VkDeviceSize words = to->size / 4; /* half of one may remain behind them */
        if (words > 0)
            dev->fn.CmdFillBuffer(s->commands, to->buffer, to->offset, words * 4, word);
        status = vk_end_commands(dev, s->commands, err);
    }
    if (status == STRATA_OK)
        status = vk_submit(dev, &s->commands, 1, &s->busy_until, err);
    pthread_mutex_unlock(&dev->staging_lock);
    return status;
}

void vk_transfer_destroy(strata_device *dev)
{
    for (int i = 0; i < VK_STAGING_SLOTS; i++)
        vk_free(dev, &dev->staging[i].slice);
    if (dev->staging_pool)
        dev->fn.DestroyCommandPool(dev->handle, dev->staging_pool, NULL);
}
