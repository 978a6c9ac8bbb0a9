/* tuning.c: see tuning.h. The file of cache.c holds an array of vk_tuned as it lies in memory: it never leaves the machine. */
#include "tuning.h"

#include "pipeline.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(vk_tuned) % sizeof(uint32_t) == 0 && sizeof(vk_tuned) == sizeof(vk_conv) + 7 * sizeof(uint32_t),
               "entries are compared and written whole");

static bool path_of(const strata_device *dev, char *path, size_t size)
{
    return vk_cache_path(dev->adapter, dev->instance->config.cache_folder, "tiles", path, size);
}

static bool same(const vk_tuned *t, const vk_conv *c, strata_dtype dtype)
{
    return t->dtype == (uint32_t)dtype && memcmp(&t->conv, c, sizeof *c) == 0;
}

/* What the file has, or NULL. */
static vk_tuned *read_file(const strata_device *dev, int *count)
{
    char      path[1100];
    size_t    size = 0;
    vk_tuned *list = path_of(dev, path, sizeof path) ? vk_cache_load(path, &size) : NULL;
    *count         = (int)(size / sizeof *list);
    if (size % sizeof *list == 0)
        return list;
    free(list);
    *count = 0;
    return NULL;
}

void vk_tuning_load(strata_device *dev)
{
    dev->tuning = calloc(1, sizeof *dev->tuning); /* without memory there is no table */
    if (dev->tuning)
        dev->tuning->at = read_file(dev, &dev->tuning->count);
}

void vk_tuning_drop(strata_device *dev)
{
    if (dev->tuning)
        free(dev->tuning->at);
    free(dev->tuning);
    dev->tuning = NULL;
}

const vk_tuned *vk_tuning_find(const strata_device *dev, const vk_conv *c, strata_dtype dtype)
{
    for (int i = 0; dev->tuning && i < dev->tuning->count; i++)
        if (same(&dev->tuning->at[i], c, dtype))
            return &dev->tuning->at[i];
    return NULL;
}

bool vk_tuning_save(const strata_device *dev, const vk_tuned *list, int count)
{
    char      path[1100];
    int       old_count, all_count = 0;
    vk_tuned *old = read_file(dev, &old_count), *all = malloc(((size_t)old_count + (size_t)count + 1) * sizeof *all);
    for (int i = 0; all && i < old_count; i++) {
        bool again = false;
        for (int k = 0; k < count; k++)
            again |= same(&old[i], &list[k].conv, (strata_dtype)list[k].dtype);
        if (!again)
            all[all_count++] = old[i];
    }
    if (all)
        memcpy(all + all_count, list, (size_t)count * sizeof *all);
    const bool done = all && path_of(dev, path, sizeof path) &&
                      vk_cache_save(path, all, (size_t)(all_count + count) * sizeof *all);
    free(old);
    free(all);
    return done;
}
