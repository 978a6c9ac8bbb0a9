/* record.h: from the steps of a part to command buffers that are replayed.
 *
 * Kernels do not touch command buffers: their emit adds dispatches to the list of a recorder (frame->stream).
 * When all steps have spoken, the list is put into an order with few barriers (hazard.c), its pipelines are
 * created, its descriptors written, and everything is recorded once (commands.c).
 */
#ifndef STRATA_VULKAN_RECORD_H
#define STRATA_VULKAN_RECORD_H

#include "pipeline.h"

typedef struct vk_binding {
    VkBuffer     buffer;
    VkDeviceSize offset, size;
    bool         read, written;
} vk_binding;

typedef struct vk_dispatch {
    vk_pipeline_key key;
    vk_binding      binding[VK_MAX_BINDINGS];
    int             bindings;
    uint32_t        push[VK_MAX_PUSH / 4];
    int             push_words;
    uint32_t        groups[3];
    int             step; /* of the part; set by vk_emit, as are the next two */
    double          flops;
    int             level; /* of hazards: no two dispatches of one level depend on each other */
} vk_dispatch;

typedef struct vk_recorder vk_recorder;

/* Adds a dispatch of the step that is being emitted. */
strata_status vk_emit(vk_recorder *r, const vk_dispatch *d, strata_error *err);

/* Binds `count` words of the recorder's own that are 0 before each run of the dispatch, which must leave them so. */
void vk_use_counters(vk_recorder *r, vk_dispatch *d, uint32_t count);

/* Sets the level of each: one more than the highest among the earlier ones that it depends on. Two dispatches
 * depend on each other when they touch the same bytes and one of them writes. Returns the number of levels.
 */
int vk_find_levels(vk_dispatch *list, int count);

/* The members of the backend. */
strata_status vk_record(strata_device *dev, const strata_step *steps, strata_frame *frames, int count,
                        void **out, strata_error *err);
strata_status vk_run(strata_device *dev, void *recording, double (*ms)[2], strata_error *err);
void          vk_discard(strata_device *dev, void *recording);

#endif
