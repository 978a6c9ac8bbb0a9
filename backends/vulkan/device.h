/* device.h: one opened adapter and what lives on it: memory in blocks, transfers, submissions, pipelines.
 *
 * A device is opened once per context and shared by all programs on it. Everything here may be called by any
 * thread; each part has its own lock. Work is submitted to one queue, in order; every submission signals a
 * number on one timeline semaphore, and waiting for work means waiting for its number.
 */
#ifndef STRATA_VULKAN_DEVICE_H
#define STRATA_VULKAN_DEVICE_H

#include "instance.h"

#include <stdatomic.h>

enum {
    VK_MAX_BINDINGS = 9, /* storage buffers of a shader: eight operands and the result */
    VK_MAX_PUSH = 128,   /* bytes of push constants: what every driver has */
    VK_WORKGROUP = 256,  /* invocations of a workgroup, at most */
    VK_STAGING_SLOTS = 16,
};

typedef struct vk_block vk_block;

/* Bytes on the device. */
typedef struct vk_slice {
    vk_block    *block;
    VkBuffer     buffer;
    VkDeviceSize offset, size;
    void        *host; /* where they can be reached, perhaps over a bus only, or NULL */
} vk_slice;

/* A piece of host memory and the copies to or from it that may still be under way. */
typedef struct vk_staging_slot {
    vk_slice        slice;
    VkCommandBuffer commands;
    uint64_t        busy_until;
} vk_staging_slot;

typedef struct vk_pipelines vk_pipelines; /* see pipeline.c */

struct strata_device {
    vk_instance *instance;
    vk_adapter  *adapter;
    vk_functions fn;
    VkDevice     handle;
    uint32_t     family;
    int          users, threads; /* under instance->lock */
    bool         imitation;      /* a processor behind the interface of a GPU */
    atomic_bool  lost;

    pthread_mutex_t queue_lock;
    VkQueue         queue;
    VkSemaphore     timeline;
    uint64_t        submitted; /* the last number that will be signalled */

    pthread_mutex_t memory_lock;
    vk_block       *blocks;
    VkDeviceSize    block_size, allocated; /* bytes of one block; of all of them */
    uint32_t        memory_type, staging_type;
    bool            mapped; /* blocks can be reached from the host */
    bool            window; /* ... over a bus: short writes go that way, which no one has to wait for */

    pthread_mutex_t staging_lock;
    VkCommandPool   staging_pool;
    vk_staging_slot staging[VK_STAGING_SLOTS];
    int             next_slot;

    vk_pipelines     *pipelines;
    struct vk_tuning *tuning; /* NULL: no memory for it */
};

struct strata_buffer { /* an arena */
    strata_device *device;
    vk_slice       slice;
};

/* ---- device.c ---- */
strata_status vk_device_open(vk_instance *v, int index, int threads, strata_device **out, strata_error *err);
void vk_device_close(strata_device *dev); /* it stays open for the next program; its pipelines are saved */
void vk_device_destroy(strata_device *dev);
/* Submits command buffers, each to be finished before the next begins counting: the last one signals *number,
 * the one before it *number - 1, and so on. */
strata_status vk_submit(strata_device *dev, const VkCommandBuffer *commands, int count, uint64_t *number,
                        strata_error *err);
strata_status vk_wait(strata_device *dev, uint64_t number, strata_error *err);
double        vk_now_ms(void); /* of a clock that is never set back */
strata_status vk_create_command_pool(strata_device *dev, VkCommandPool *pool, strata_error *err);
/* `count` primary command buffers from the pool. */
strata_status vk_allocate_commands(strata_device *dev, VkCommandPool pool, VkCommandBuffer *out, int count,
                                   strata_error *err);
strata_status vk_begin_commands(strata_device *dev, VkCommandBuffer commands, VkCommandBufferUsageFlags usage,
                                strata_error *err);
strata_status vk_end_commands(strata_device *dev, VkCommandBuffer commands, strata_error *err);

/* ---- memory.c ---- */
/* Chooses memory types and sizes, for vk_device_open. */
strata_status vk_memory_choose(strata_device *dev, strata_error *err);
strata_status vk_alloc(strata_device *dev, VkDeviceSize size, vk_slice *out, strata_error *err);
/* The same in memory that the host can reach. */
strata_status vk_alloc_host(strata_device *dev, VkDeviceSize size, vk_slice *out, strata_error *err);
void          vk_free(strata_device *dev, vk_slice *slice); /* an empty slice is fine */
void          vk_memory_destroy(strata_device *dev);        /* with all slices */

/* ---- transfer.c ---- */
strata_status vk_write(strata_device *dev, const vk_slice *to, VkDeviceSize at, const void *src, size_t n,
                       strata_error *err);
strata_status vk_read(strata_device *dev, const vk_slice *from, VkDeviceSize at, void *dst, size_t n,
                      strata_error *err);
strata_status vk_fill(strata_device *dev, const vk_slice *to, uint32_t word, strata_error *err);
void          vk_transfer_destroy(strata_device *dev);

/* ---- pipeline.c ---- */
strata_status vk_pipelines_create(strata_device *dev, strata_error *err);
void          vk_pipelines_save(strata_device *dev);
void          vk_pipelines_destroy(strata_device *dev);

/* ---- tuning.c ---- */
void vk_tuning_load(strata_device *dev);
void vk_tuning_drop(strata_device *dev);

#endif
