/* pipeline.h: shaders and the pipelines made of them: a shader with values for its specialization constants.
 *
 * All shaders have the same interface: storage buffers at bindings 0 and up of set 0, and up to VK_MAX_PUSH
 * bytes of push constants. A user's kernel may bring a shader of its own in that form.
 */
#ifndef STRATA_VULKAN_PIPELINE_H
#define STRATA_VULKAN_PIPELINE_H

#include "device.h"

enum { VK_MAX_SPEC = 16 };

typedef struct vk_shader { /* lives as long as the device */
    const char             *name;
    const uint32_t         *code;
    size_t                  bytes;
    int                     bindings;
    const struct vk_shader *half; /* the build for values of float16; NULL: none */
} vk_shader;

/* vk_shader_NAME: every line of shaders.def. */
#define SHADER(name, bindings) extern const vk_shader vk_shader_##name;
#define SINGLE(name, bindings) extern const vk_shader vk_shader_##name;
#include "shaders.def"
/* All of them, NULL-terminated. */
extern const vk_shader *const vk_shaders[];

typedef struct vk_pipeline_key {
    const vk_shader *shader;
    int              spec_count;
    uint32_t         spec[VK_MAX_SPEC]; /* of constant_id 0, 1, ... */
} vk_pipeline_key;

/* Gives each key its pipeline; those that are new are created side by side on the device's threads. */
strata_status vk_pipelines_find(strata_device *dev, const vk_pipeline_key *const *keys, int count,
                                VkPipeline *out, strata_error *err);
/* The layouts that go with a number of bindings. */
strata_status vk_pipeline_layout(strata_device *dev, int bindings, VkDescriptorSetLayout *set,
                                 VkPipelineLayout *pipeline, strata_error *err);

/* ---- spirv.c ---- */
/* Whether this is a whole module with a compute shader "main" of so many bindings; else `problem` says "is ..." or "has ...". */
bool vk_spirv_check(const uint32_t *code, size_t bytes, int bindings, char *problem, size_t size);

/* ---- cache.c: files of a device on disk ---- */

/* The file of a device for "pipelines", or another kind: in `folder` (NULL: the user's cache folder), named by device,
 * driver and shaders. False when there is no such folder. */
bool vk_cache_path(const vk_adapter *a, const char *folder, const char *kind, char *path, size_t size);
/* Its content, whole and unchanged since it was written, or NULL. The caller frees it. */
void *vk_cache_load(const char *path, size_t *size);
/* Replaces the file at once or not at all; makes the folders. */
bool vk_cache_save(const char *path, const void *bytes, size_t size);

#endif
