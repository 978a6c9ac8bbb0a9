/* pipeline.c: creates pipelines when they are first needed, and keeps them with the device.
 *
 * Drivers compile a pipeline in milliseconds to seconds, each on one thread: so those that a recording still
 * lacks are created by several threads at once. What the driver compiled is kept on disk, see cache.c.
 */
#include "pipeline.h"

#include <stdlib.h>
#include <string.h>

typedef struct pipeline {
    vk_pipeline_key key;
    VkPipeline      handle;
} pipeline;

typedef struct module {
    const vk_shader *shader;
    VkShaderModule   handle;
} module;

struct vk_pipelines {
    pthread_mutex_t       lock;
    VkPipelineCache       cache;
    bool                  changed; /* since the cache was saved */
    VkDescriptorSetLayout set[VK_MAX_BINDINGS + 1];
    VkPipelineLayout      layout[VK_MAX_BINDINGS + 1];
    module               *modules;
    int                   module_count, module_capacity;
    pipeline             *made;
    int                   count, capacity;
};

static const size_t EMPTY_CACHE = 32; /* bytes of the header that Vulkan prescribes */

/* ---- Parts --------------------------------------------------------------------------------------- */

static strata_status make_layout(strata_device *dev, int bindings, strata_error *err)
{
    vk_pipelines                *p = dev->pipelines;
    VkDescriptorSetLayoutBinding binding[VK_MAX_BINDINGS];
    if (p->layout[bindings])
        return STRATA_OK;
    for (int i = 0; i < bindings; i++)
        binding[i] = (VkDescriptorSetLayoutBinding){ .binding = (uint32_t)i,
                                                     .descriptorCount = 1,
                                                     .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                     .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT };
    VkDescriptorSetLayoutCreateInfo set = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                            .bindingCount = (uint32_t)bindings,
                                            .pBindings = binding };
    if (!p->set[bindings]) {
        VkResult r = dev->fn.CreateDescriptorSetLayout(dev->handle, &set, NULL, &p->set[bindings]);
        if (r != VK_SUCCESS) {
            p->set[bindings] = VK_NULL_HANDLE;
            return vk_fail(err, r, "vulkan: no layout for %d buffers", bindings);
        }
    }
    VkPushConstantRange        push = { .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = VK_MAX_PUSH };
    VkPipelineLayoutCreateInfo layout = { .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                          .setLayoutCount = 1,
                                          .pSetLayouts = &p->set[bindings],
                                          .pushConstantRangeCount = 1,
                                          .pPushConstantRanges = &push };
    VkResult r = dev->fn.CreatePipelineLayout(dev->handle, &layout, NULL, &p->layout[bindings]);
    if (r == VK_SUCCESS)
        return STRATA_OK;
    p->layout[bindings] = VK_NULL_HANDLE;
    return vk_fail(err, r, "vulkan: no layout for %d buffers", bindings);
}

strata_status vk_pipeline_layout(strata_device *dev, int bindings, VkDescriptorSetLayout *set,
                                 VkPipelineLayout *out, strata_error *err)
{
    pthread_mutex_lock(&dev->pipelines->lock);
    strata_status status = make_layout(dev, bindings, err);
    *set = dev->pipelines->set[bindings];
    *out = dev->pipelines->layout[bindings];
    pthread_mutex_unlock(&dev->pipelines->lock);
    return status;
}

static strata_status find_module(strata_device *dev, const vk_shader *shader, VkShaderModule *out,
                                 strata_error *err)
{
    vk_pipelines *p = dev->pipelines;
    for (int i = 0; i < p->module_count; i++)
        if (p->modules[i].shader == shader) {
            *out = p->modules[i].handle;
            return STRATA_OK;
        }
    if (p->module_count == p->module_capacity) {
        int     capacity = p->module_capacity ? 2 * p->module_capacity : 16;
        module *grown = realloc(p->modules, (size_t)capacity * sizeof *grown);
        if (!grown)
            return strata_fail(err, STRATA_NOMEM, "vulkan: no memory for shader %s", shader->name);
        p->modules = grown;
        p->module_capacity = capacity;
    }
    VkShaderModuleCreateInfo info = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                      .codeSize = shader->bytes,
                                      .pCode = shader->code };
    VkResult                 r = dev->fn.CreateShaderModule(dev->handle, &info, NULL, out);
    if (r != VK_SUCCESS)
        return vk_fail(err, r, "vulkan: shader %s", shader->name);
    p->modules[p->module_count++] = (module){ shader, *out };
    return STRATA_OK;
}

/* ---- Pipelines ----------------------------------------------------------------------------------- */

static bool same_key(const vk_pipeline_key *a, const vk_pipeline_key *b)
{
    return a->shader == b->shader && a->spec_count == b->spec_count &&
           memcmp(a->spec, b->spec, (size_t)a->spec_count * sizeof *a->spec) == 0;
}

static pipeline *find(vk_pipelines *p, const vk_pipeline_key *key)
{
    for (int i = 0; i < p->count; i++)
        if (same_key(&p->made[i].key, key))
            return &p->made[i];
    return NULL;
}

typedef struct job { /* pipelines[next..count) are still to be created */
    strata_device  *dev;
    pipeline       *pipelines;
    VkShaderModule *modules;
    int             count;
    atomic_int      next;
    VkResult       *results;
} job;

static VkResult compile(strata_device *dev, pipeline *made, VkShaderModule code)
{
    const vk_pipeline_key   *key = &made->key;
    VkSpecializationMapEntry entry[VK_MAX_SPEC];
    for (int i = 0; i < key->spec_count; i++)
        entry[i] = (VkSpecializationMapEntry){ (uint32_t)i, (uint32_t)i * 4, 4 };
    VkSpecializationInfo        special = { (uint32_t)key->spec_count, entry, (size_t)key->spec_count * 4,
                                            key->spec };
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                   .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                   .module = code,
                   .pName = "main",
                   .pSpecializationInfo = &special },
        .layout = dev->pipelines->layout[key->shader->bindings],
    };
    VkResult r =
        dev->fn.CreateComputePipelines(dev->handle, dev->pipelines->cache, 1, &info, NULL, &made->handle);
    if (r != VK_SUCCESS)
        made->handle = VK_NULL_HANDLE;
    return r;
}

static void *work(void *arg)
{
    job *j = arg;
    for (int i; (i = atomic_fetch_add(&j->next, 1)) < j->count;)
        j->results[i] = compile(j->dev, &j->pipelines[i], j->modules[i]);
    return NULL;
}

/* Creates the last `fresh` entries of p->made; those that fail are removed. */
static strata_status create_all(strata_device *dev, int fresh, strata_error *err)
{
    enum { MOST_THREADS = 16 };
    vk_pipelines *p = dev->pipelines;
    int           first = p->count - fresh;
    job           j = { .dev = dev, .pipelines = p->made + first, .count = fresh };
    atomic_init(&j.next, 0);
    j.modules = calloc((size_t)fresh, sizeof *j.modules);
    j.results = calloc((size_t)fresh, sizeof *j.results);
    strata_status status = j.modules && j.results
                               ? STRATA_OK
                               : strata_fail(err, STRATA_NOMEM, "vulkan: no memory for pipelines");
    for (int i = 0; i < fresh && status == STRATA_OK; i++) {
        const vk_shader *shader = j.pipelines[i].key.shader;
        status = make_layout(dev, shader->bindings, err);
        if (status == STRATA_OK)
            status = find_module(dev, shader, &j.modules[i], err);
    }
    if (status == STRATA_OK) {
        pthread_t helper[MOST_THREADS];
        int       helpers = 0, wanted = dev->threads < fresh ? dev->threads - 1 : fresh - 1;
        while (helpers < wanted && helpers < MOST_THREADS &&
               pthread_create(&helper[helpers], NULL, work, &j) == 0)
            helpers++;
        work(&j);
        while (helpers > 0)
            pthread_join(helper[--helpers], NULL);
        for (int i = 0; i < fresh && status == STRATA_OK; i++)
            if (j.results[i] != VK_SUCCESS)
                status = vk_fail(err, j.results[i], "vulkan: %s cannot compile shader %s",
                                 dev->adapter->properties.deviceName, j.pipelines[i].key.shader->name);
        p->changed = true;
    }
    int kept = first; /* a failure must not leave empty entries behind */
    for (int i = first; i < p->count; i++)
        if (p->made[i].handle)
            p->made[kept++] = p->made[i];
    p->count = kept;
    free(j.modules);
    free(j.results);
    return status;
}

static strata_status find_all(strata_device *dev, const vk_pipeline_key *const *keys, int count,
                              VkPipeline *out, strata_error *err)
{
    vk_pipelines *p = dev->pipelines;
    if (p->count + count > p->capacity) {
        int       capacity = 2 * p->capacity + count;
        pipeline *grown = realloc(p->made, (size_t)capacity * sizeof *grown);
        if (!grown)
            return strata_fail(err, STRATA_NOMEM, "vulkan: no memory for %d pipelines", count);
        p->made = grown;
        p->capacity = capacity;
    }
    int fresh = 0;
    for (int i = 0; i < count; i++)
        if (!find(p, keys[i])) {
            p->made[p->count++] = (pipeline){ .key = *keys[i] };
            fresh++;
        }
    if (fresh > 0)
        STRATA_TRY(create_all(dev, fresh, err));
    for (int i = 0; i < count; i++)
        out[i] = find(p, keys[i])->handle;
    return STRATA_OK;
}

strata_status vk_pipelines_find(strata_device *dev, const vk_pipeline_key *const *keys, int count,
                                VkPipeline *out, strata_error *err)
{
    pthread_mutex_lock(&dev->pipelines->lock);
    strata_status status = find_all(dev, keys, count, out, err);
    pthread_mutex_unlock(&dev->pipelines->lock);
    return status;
}

/* ---- Life ---------------------------------------------------------------------------------------- */

strata_status vk_pipelines_create(strata_device *dev, strata_error *err)
{
    vk_pipelines *p = calloc(1, sizeof *p);
    char          path[1100];
    size_t        size = 0;
    void         *bytes = NULL;
    if (!p)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory for pipelines");
    dev->pipelines = p;
    pthread_mutex_init(&p->lock, NULL);
    if (vk_cache_path(dev->adapter, dev->instance->config.cache_folder, "pipelines", path, sizeof path))
        bytes = vk_cache_load(path, &size);
    VkPipelineCacheCreateInfo info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                       .initialDataSize = size,
                                       .pInitialData = bytes };
    VkResult                  r = dev->fn.CreatePipelineCache(dev->handle, &info, NULL, &p->cache);
    free(bytes);
    if (r == VK_SUCCESS)
        return STRATA_OK;
    p->cache = VK_NULL_HANDLE;
    return vk_fail(err, r, "vulkan: no pipeline cache");
}

void vk_pipelines_save(strata_device *dev)
{
    vk_pipelines *p = dev->pipelines;
    char          path[1100];
    size_t        size = 0;
    if (!p->changed || !vk_cache_path(dev->adapter, dev->instance->config.cache_folder, "pipelines", path, sizeof path))
        return;
    p->changed = false;
    if (dev->fn.GetPipelineCacheData(dev->handle, p->cache, &size, NULL) != VK_SUCCESS || size <= EMPTY_CACHE)
        return;
    void *bytes = malloc(size);
    if (bytes && dev->fn.GetPipelineCacheData(dev->handle, p->cache, &size, bytes) == VK_SUCCESS)
        vk_cache_save(path, bytes, size);
    free(bytes);
}

void vk_pipelines_destroy(strata_device *dev)
{
    vk_pipelines *p = dev->pipelines;
    if (!p)
        return;
    for (int i = 0; i < p->count; i++)
        dev->fn.DestroyPipeline(dev->handle, p->made[i].handle, NULL);
    for (int i = 0; i < p->module_count; i++)
        dev->fn.DestroyShaderModule(dev->handle, p->modules[i].handle, NULL);
    for (int i = 0; i <= VK_MAX_BINDINGS; i++) {
        if (p->layout[i])
            dev->fn.DestroyPipelineLayout(dev->handle, p->layout[i], NULL);
        if (p->set[i])
            dev->fn.DestroyDescriptorSetLayout(dev->handle, p->set[i], NULL);
    }
    if (p->cache)
        dev->fn.DestroyPipelineCache(dev->handle, p->cache, NULL);
    pthread_mutex_destroy(&p->lock);
    free(p->modules);
    free(p->made);
    free(p);
}
