/* commands.c: recordings: dispatches in command buffers, replayed for every run.
 *
 * The dispatches of a level stand side by side and a barrier follows each level. Command buffers are cut
 * where a budget of arithmetic is used up, for drivers kill work that takes seconds. The recorded work begins
 * behind a barrier that makes earlier transfers visible and ends with one that makes its results visible to
 * transfers and to the host.
 *
 * A profile comes from a second set of command buffers, recorded when first asked for: a barrier and a
 * timestamp on either side of each dispatch, so that what is measured is that dispatch alone. The sum is then
 * more than a run without.
 */
#include "record.h"

#include <stdlib.h>
#include <string.h>

struct vk_recorder {
    const strata_step *steps;
    int                step, step_first; /* the one that is being emitted; its first dispatch */
    vk_dispatch       *list;
    int                count, capacity;
    VkDeviceSize       counters; /* bytes of them */
};

typedef struct segment_set { /* command buffers for all dispatches */
    VkCommandBuffer *commands;
    int             *end; /* one past the last dispatch of each, in recorded order */
    int              count;
} segment_set;

typedef struct recording {
    const strata_step *steps;
    int                step_count;
    vk_dispatch       *list; /* in recorded order */
    int                count;
    vk_slice           counters; /* all 0 between runs */
    VkPipeline        *pipelines;
    VkDescriptorPool   descriptors;
    VkDescriptorSet   *sets;
    VkCommandPool      pool;
    segment_set        plain, profiled;
    uint64_t           last; /* number of the latest run on the timeline */
    VkQueryPool        queries;
} recording;

/* ---- The list ------------------------------------------------------------------------------------ */

static strata_status check_dispatch(const strata_device *dev, const vk_dispatch *d, strata_error *err)
{
    const VkPhysicalDeviceLimits *l = &dev->adapter->properties.limits;
    for (int i = 0; i < d->bindings; i++)
        if (d->binding[i].size > l->maxStorageBufferRange)
            return strata_fail(err, STRATA_UNSUPPORTED,
                               "a value of %llu MiB is larger than the %llu MiB that shaders of %s can "
                               "reach; try a smaller batch or image",
                               (unsigned long long)d->binding[i].size >> 20,
                               (unsigned long long)l->maxStorageBufferRange >> 20,
                               dev->adapter->properties.deviceName);
    for (int i = 0; i < 3; i++)
        if (d->groups[i] > l->maxComputeWorkGroupCount[i])
            return strata_fail(err, STRATA_UNSUPPORTED,
                               "%u workgroups along axis %d are more than the %u of %s; try a smaller "
                               "batch or image",
                               d->groups[i], i, l->maxComputeWorkGroupCount[i],
                               dev->adapter->properties.deviceName);
    return STRATA_OK;
}

strata_status vk_emit(vk_recorder *r, const vk_dispatch *d, strata_error *err)
{
    const strata_step *s = &r->steps[r->step];
    STRATA_TRY(check_dispatch(s->device, d, err));
    if (r->count == r->capacity) {
        int          capacity = r->capacity ? 2 * r->capacity : 64;
        vk_dispatch *grown = realloc(r->list, (size_t)capacity * sizeof *grown);
        if (!grown)
            return strata_fail(err, STRATA_NOMEM, "no memory to record");
        r->list = grown;
        r->capacity = capacity;
    }
    vk_dispatch *added = &r->list[r->count];
    *added = *d;
    added->step = r->step;
    if (r->count++ == r->step_first) /* the first one of a step counts for all */
        added->flops = s->node->op->macs ? 2.0 * (double)s->node->op->macs(s->node) : 0;
    return STRATA_OK;
}

/* Until all are known there is no buffer for them: a binding without one is of counters. */
void vk_use_counters(vk_recorder *r, vk_dispatch *d, uint32_t count)
{
    const VkDeviceSize bytes = count * sizeof(uint32_t), alignment = 256; /* the most that devices ask for */
    d->binding[d->bindings++] = (vk_binding){ VK_NULL_HANDLE, r->counters, bytes, true, true };
    r->counters += (bytes + alignment - 1) / alignment * alignment;
}

static strata_status make_counters(strata_device *dev, recording *r, VkDeviceSize bytes, strata_error *err)
{
    if (bytes == 0)
        return STRATA_OK;
    STRATA_TRY(vk_alloc(dev, bytes, &r->counters, err));
    STRATA_TRY(vk_fill(dev, &r->counters, 0, err));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->list[i].bindings; k++) {
            vk_binding *b = &r->list[i].binding[k];
            if (b->buffer == VK_NULL_HANDLE) {
                b->buffer = r->counters.buffer;
                b->offset += r->counters.offset;
            }
        }
    return STRATA_OK;
}

static strata_status emit_all(vk_recorder *r, strata_frame *frames, int count, strata_error *err)
{
    for (r->step = 0; r->step < count; r->step++) {
        const strata_step *s = &r->steps[r->step];
        r->step_first = r->count;
        frames[r->step].stream = r;
        strata_status status = s->kernel->emit(s, &frames[r->step], err);
        frames[r->step].stream = NULL;
        if (status != STRATA_OK)
            return strata_fail_in(err, status, "%s: %s", s->node->name, s->kernel->name);
    }
    return STRATA_OK;
}

/* Sorts by level; within one, as emitted. */
static strata_status order(vk_recorder *r, vk_dispatch **out, strata_error *err)
{
    int          levels = vk_find_levels(r->list, r->count), at = 0;
    vk_dispatch *sorted = malloc(((size_t)r->count + 1) * sizeof *sorted);
    if (!sorted)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory to record");
    for (int level = 0; level < levels; level++)
        for (int i = 0; i < r->count; i++)
            if (r->list[i].level == level)
                sorted[at++] = r->list[i];
    *out = sorted;
    return STRATA_OK;
}

/* ---- Descriptors --------------------------------------------------------------------------------- */

static strata_status make_sets(strata_device *dev, recording *r, strata_error *err)
{
    uint32_t bindings = 0;
    for (int i = 0; i < r->count; i++)
        bindings += (uint32_t)r->list[i].bindings;
    VkDescriptorPoolSize       size = { VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, bindings };
    VkDescriptorPoolCreateInfo pool = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                        .maxSets = (uint32_t)r->count,
                                        .poolSizeCount = 1,
                                        .pPoolSizes = &size };
    VkResult result = dev->fn.CreateDescriptorPool(dev->handle, &pool, NULL, &r->descriptors);
    if (result != VK_SUCCESS) {
        r->descriptors = VK_NULL_HANDLE;
        return vk_fail(err, result, "vulkan: no descriptor pool for %d dispatches", r->count);
    }
    for (int i = 0; i < r->count; i++) {
        const vk_dispatch    *d = &r->list[i];
        VkDescriptorSetLayout layout;
        VkPipelineLayout      unused;
        STRATA_TRY(vk_pipeline_layout(dev, d->bindings, &layout, &unused, err));
        VkDescriptorSetAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                             .descriptorPool = r->descriptors,
                                             .descriptorSetCount = 1,
                                             .pSetLayouts = &layout };
        result = dev->fn.AllocateDescriptorSets(dev->handle, &info, &r->sets[i]);
        if (result != VK_SUCCESS)
            return vk_fail(err, result, "vulkan: no descriptors for dispatch %d of %d", i, r->count);
        VkDescriptorBufferInfo buffer[VK_MAX_BINDINGS];
        VkWriteDescriptorSet   write[VK_MAX_BINDINGS];
        for (int k = 0; k < d->bindings; k++) {
            buffer[k] =
                (VkDescriptorBufferInfo){ d->binding[k].buffer, d->binding[k].offset, d->binding[k].size };
            write[k] = (VkWriteDescriptorSet){ .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                               .dstSet = r->sets[i],
                                               .dstBinding = (uint32_t)k,
                                               .descriptorCount = 1,
                                               .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                               .pBufferInfo = &buffer[k] };
        }
        dev->fn.UpdateDescriptorSets(dev->handle, (uint32_t)d->bindings, write, 0, NULL);
    }
    return STRATA_OK;
}

static strata_status make_pipelines(strata_device *dev, recording *r, strata_error *err)
{
    const vk_pipeline_key **keys = malloc(((size_t)r->count + 1) * sizeof *keys);
    if (!keys)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory to record");
    for (int i = 0; i < r->count; i++)
        keys[i] = &r->list[i].key;
    strata_status status = vk_pipelines_find(dev, keys, r->count, r->pipelines, err);
    free(keys);
    return status;
}

/* ---- Command buffers ----------------------------------------------------------------------------- */

static double segment_budget(const strata_device *dev)
{
    double given = dev->instance->config.segment_flops;
    if (given > 0)
        return given;
    return dev->adapter->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU ? 200e9 : 10e9;
}

static void put_barrier(strata_device *dev, VkCommandBuffer commands, VkPipelineStageFlags from,
                        VkAccessFlags written, VkPipelineStageFlags to, VkAccessFlags used)
{
    VkMemoryBarrier memory = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = written,
                               .dstAccessMask = used };
    dev->fn.CmdPipelineBarrier(commands, from, to, 0, 1, &memory, 0, NULL, 0, NULL);
}

static const VkPipelineStageFlags COMPUTE = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                  TRANSFER = VK_PIPELINE_STAGE_TRANSFER_BIT;
static const VkAccessFlags SHADER = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;

static strata_status put_dispatch(strata_device *dev, const recording *r, VkCommandBuffer commands, int i,
                                  strata_error *err)
{
    const vk_dispatch    *d = &r->list[i];
    VkDescriptorSetLayout set;
    VkPipelineLayout      layout;
    STRATA_TRY(vk_pipeline_layout(dev, d->bindings, &set, &layout, err));
    dev->fn.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, r->pipelines[i]);
    dev->fn.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &r->sets[i], 0,
                                  NULL);
    if (d->push_words > 0)
        dev->fn.CmdPushConstants(commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                 (uint32_t)d->push_words * 4, d->push);
    dev->fn.CmdDispatch(commands, d->groups[0], d->groups[1], d->groups[2]);
    return STRATA_OK;
}

/* Records dispatches [first, end) between the barriers that they need. */
static strata_status put_segment(strata_device *dev, const recording *r, VkCommandBuffer commands, int first,
                                 int end, VkQueryPool queries, strata_error *err)
{
    const bool barriers = !dev->instance->config.no_barriers;
    STRATA_TRY(vk_begin_commands(dev, commands, 0, err));
    if (queries)
        dev->fn.CmdResetQueryPool(commands, queries, 2 * (uint32_t)first, 2 * (uint32_t)(end - first));
    if (first == 0) /* what was written before this run, and what was still being read */
        put_barrier(dev, commands, COMPUTE | TRANSFER,
                    VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_SHADER_WRITE_BIT, COMPUTE, SHADER);
    for (int i = first; i < end; i++) {
        bool new_level = i > 0 && r->list[i].level != r->list[i - 1].level;
        if (barriers && (queries || new_level))
            put_barrier(dev, commands, COMPUTE, VK_ACCESS_SHADER_WRITE_BIT, COMPUTE, SHADER);
        if (queries)
            dev->fn.CmdWriteTimestamp(commands, COMPUTE, queries, 2 * (uint32_t)i);
        STRATA_TRY(put_dispatch(dev, r, commands, i, err));
        if (queries)
            dev->fn.CmdWriteTimestamp(commands, COMPUTE, queries, 2 * (uint32_t)i + 1);
    }
    if (end == r->count)
        put_barrier(dev, commands, COMPUTE, VK_ACCESS_SHADER_WRITE_BIT, TRANSFER | VK_PIPELINE_STAGE_HOST_BIT,
                    VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_HOST_READ_BIT);
    return vk_end_commands(dev, commands, err);
}

/* Where command buffers end, into ends[]; returns how many there are. */
static int cut_segments(const strata_device *dev, const recording *r, int *ends)
{
    const double budget = segment_budget(dev);
    double       used = 0;
    int          count = 0;
    for (int i = 0; i < r->count; i++) {
        if (used > 0 && used + r->list[i].flops > budget) {
            ends[count++] = i;
            used = 0;
        }
        used += r->list[i].flops;
    }
    ends[count++] = r->count;
    return count;
}

static strata_status record_set(strata_device *dev, recording *r, segment_set *set, VkQueryPool queries,
                                strata_error *err)
{
    set->end = malloc(((size_t)r->count + 1) * sizeof *set->end);
    if (!set->end)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory to record");
    int count = cut_segments(dev, r, set->end);
    set->commands = calloc((size_t)count, sizeof *set->commands);
    if (!set->commands)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory to record");
    STRATA_TRY(vk_allocate_commands(dev, r->pool, set->commands, count, err));
    for (int i = 0; i < count; i++)
        STRATA_TRY(put_segment(dev, r, set->commands[i], i ? set->end[i - 1] : 0, set->end[i], queries, err));
    set->count = count;
    return STRATA_OK;
}

static void drop_set(segment_set *set)
{
    free(set->commands);
    free(set->end);
    *set = (segment_set){ .count = 0 };
}

/* ---- Recording ----------------------------------------------------------------------------------- */

static strata_status build(strata_device *dev, recording *r, strata_frame *frames, strata_error *err)
{
    vk_recorder   recorder = { .steps = r->steps };
    strata_status status = emit_all(&recorder, frames, r->step_count, err);
    if (status == STRATA_OK)
        status = order(&recorder, &r->list, err);
    r->count = recorder.count;
    free(recorder.list);
    if (status != STRATA_OK)
        return status;
    STRATA_TRY(make_counters(dev, r, recorder.counters, err));
    r->pipelines = calloc((size_t)r->count + 1, sizeof *r->pipelines);
    r->sets = calloc((size_t)r->count + 1, sizeof *r->sets);
    if (!r->pipelines || !r->sets)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory to record");
    STRATA_TRY(make_pipelines(dev, r, err));
    STRATA_TRY(make_sets(dev, r, err));
    STRATA_TRY(vk_create_command_pool(dev, &r->pool, err));
    return record_set(dev, r, &r->plain, VK_NULL_HANDLE, err);
}

strata_status vk_record(strata_device *dev, const strata_step *steps, strata_frame *frames, int count,
                        void **out, strata_error *err)
{
    *out = NULL;
    recording *r = calloc(1, sizeof *r);
    if (!r)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory for a recording");
    r->steps = steps;
    r->step_count = count;
    strata_status status = build(dev, r, frames, err);
    if (status == STRATA_OK)
        *out = r;
    else
        vk_discard(dev, r);
    return status;
}

void vk_discard(strata_device *dev, void *recorded)
{
    recording *r = recorded;
    if (r->last) /* a run that failed may still be under way */
        vk_wait(dev, r->last, NULL);
    if (r->pool)
        dev->fn.DestroyCommandPool(dev->handle, r->pool, NULL);
    if (r->descriptors)
        dev->fn.DestroyDescriptorPool(dev->handle, r->descriptors, NULL);
    if (r->queries)
        dev->fn.DestroyQueryPool(dev->handle, r->queries, NULL);
    vk_free(dev, &r->counters);
    drop_set(&r->plain);
    drop_set(&r->profiled);
    free(r->list);
    free(r->pipelines);
    free(r->sets);
    free(r);
}

/* ---- Running ------------------------------------------------------------------------------------- */

/* After a failure: which nodes the device was at, by how far the timeline has come. */
static strata_status blame(strata_device *dev, const recording *r, const segment_set *set,
                           strata_status status, strata_error *err)
{
    uint64_t reached = 0;
    if (dev->fn.GetSemaphoreCounterValue(dev->handle, dev->timeline, &reached) != VK_SUCCESS)
        return status;
    uint64_t base = r->last - (uint64_t)set->count; /* reached before the first of them */
    uint64_t done = reached > base ? reached - base : 0;
    if (done >= (uint64_t)set->count)
        return status;
    int first = done ? set->end[done - 1] : 0, end = set->end[done];
    return strata_fail_in(err, status, "between %s and %s", r->steps[r->list[first].step].node->name,
                          r->steps[r->list[end - 1].step].node->name);
}

static strata_status run_set(strata_device *dev, recording *r, const segment_set *set, strata_error *err)
{
    STRATA_TRY(vk_submit(dev, set->commands, set->count, &r->last, err));
    strata_status status = vk_wait(dev, r->last, err);
    return status == STRATA_OK ? status : blame(dev, r, set, status, err);
}

static strata_status make_queries(strata_device *dev, recording *r, strata_error *err)
{
    VkQueryPoolCreateInfo info = { .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                   .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                   .queryCount = 2 * (uint32_t)r->count };
    VkResult              result = dev->fn.CreateQueryPool(dev->handle, &info, NULL, &r->queries);
    if (result != VK_SUCCESS) {
        r->queries = VK_NULL_HANDLE;
        return vk_fail(err, result, "vulkan: no pool for %d timestamps", 2 * r->count);
    }
    strata_status status = record_set(dev, r, &r->profiled, r->queries, err);
    if (status != STRATA_OK) {
        drop_set(&r->profiled);
        dev->fn.DestroyQueryPool(dev->handle, r->queries, NULL);
        r->queries = VK_NULL_HANDLE;
    }
    return status;
}

/* Durations by step. Device ticks are put on the host's clock by where the work began. */
static strata_status read_profile(strata_device *dev, const recording *r, double began, double (*ms)[2],
                                  strata_error *err)
{
    const size_t bytes = 2 * (size_t)r->count * sizeof(uint64_t);
    uint64_t    *ticks = malloc(bytes);
    if (!ticks)
        return strata_fail(err, STRATA_NOMEM, "vulkan: no memory for a profile");
    VkResult result =
        dev->fn.GetQueryPoolResults(dev->handle, r->queries, 0, 2 * (uint32_t)r->count, bytes, ticks,
                                    sizeof *ticks, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    const uint32_t bits = dev->adapter->timestamp_bits;
    const uint64_t mask = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
    const double   unit = (double)dev->adapter->properties.limits.timestampPeriod * 1e-6;
    for (int i = 0; result == VK_SUCCESS && i < r->count; i++) {
        double *at = ms[r->list[i].step], start = began + (double)((ticks[2 * i] - ticks[0]) & mask) * unit;
        if (at[1] == 0 || start < at[0])
            at[0] = start;
        at[1] += (double)((ticks[2 * i + 1] - ticks[2 * i]) & mask) * unit;
    }
    free(ticks);
    return result == VK_SUCCESS ? STRATA_OK : vk_fail(err, result, "vulkan: timestamps cannot be read");
}

strata_status vk_run(strata_device *dev, void *recorded, double (*ms)[2], strata_error *err)
{
    recording *r = recorded;
    if (!ms)
        return run_set(dev, r, &r->plain, err);
    double began = vk_now_ms();
    for (int i = 0; i < r->step_count; i++)
        ms[i][0] = began, ms[i][1] = 0;
    if (dev->adapter->timestamp_bits ==
        0) { /* then there is nothing to tell but the whole, on the first step */
        STRATA_TRY(run_set(dev, r, &r->plain, err));
        ms[0][1] = vk_now_ms() - began;
        return STRATA_OK;
    }
    if (!r->queries)
        STRATA_TRY(make_queries(dev, r, err));
    began = vk_now_ms();
    STRATA_TRY(run_set(dev, r, &r->profiled, err));
    return read_profile(dev, r, began, ms, err);
}
