/* tuning.h: tile shapes and splits that were measured on a device, in a file beside its compiled pipelines: what
 * vk_gemm_plan takes before it estimates. tune.c measures and saves them.
 *
 * The file is named by adapter, driver and shaders, and has a checksum; one that does not fit is as good as none. A device
 * reads it when it is opened, and keeps to what it has read. */
#ifndef STRATA_VULKAN_TUNING_H
#define STRATA_VULKAN_TUNING_H

#include "conv.h"

typedef struct vk_tuned {
    vk_conv  conv;   /* as vk_conv_of gives it */
    uint32_t dtype;  /* of values: strata_dtype */
    uint32_t pixels, channels, depth, own_pixels, own_channels; /* of the tile shape */
    uint32_t splits;
} vk_tuned;

struct vk_tuning { /* of a device */
    vk_tuned *at;
    int       count;
};

/* NULL: nobody has measured it. */
const vk_tuned *vk_tuning_find(const strata_device *dev, const vk_conv *c, strata_dtype dtype);
/* The entry for a shape of gemm.c by its index. */
vk_tuned vk_gemm_tuned(const strata_device *dev, const vk_conv *c, strata_dtype dtype, int tile, uint32_t splits);
/* Adds these to the file of the device, in place of what that has on the same convolutions. False: it cannot be written. */
bool vk_tuning_save(const strata_device *dev, const vk_tuned *list, int count);

/* The member of the backend. */
strata_status vk_tune(strata_device *dev, const strata_step *steps, const strata_frame *frames, int count, strata_tuned_fn fn,
                      void *user, strata_error *err);

#endif
