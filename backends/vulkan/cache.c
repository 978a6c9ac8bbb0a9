/* cache.c: compiled pipelines on disk, so that the second start is fast, and what was measured (tuning.c).
 *
 * A file holds what the driver gave us, behind a header of ours: magic, length, checksum. Drivers are known
 * to trust what they are given, so only whole files reach them. The name says for whom it is: adapter,
 * driver, cache version and a hash of all shaders; whatever changes, the old file is not found. Every failure
 * means a cold start and nothing more.
 */
#include "pipeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct header {
    char     magic[8];
    uint64_t size, sum;
} header;

static const char magic[8] = "strataVK";
static const long largest = 256l << 20;

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static const uint64_t seed = UINT64_C(0xcbf29ce484222325);

static bool user_folder(char *out, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int         n = -1;
    if (cache && *cache == '/')
        n = snprintf(out, size, "%s/strata", cache);
    else if (home && *home == '/')
        n = snprintf(out, size, "%s/.cache/strata", home);
    return n > 0 && (size_t)n < size;
}

bool vk_cache_path(const vk_adapter *a, const char *folder, const char *kind, char *path, size_t size)
{
    char own[1024];
    if (folder && !*folder)
        return false;
    if (!folder && !user_folder(own, sizeof own))
        return false;
    const VkPhysicalDeviceProperties *p = &a->properties;
    uint64_t                          shaders = seed, driver = seed;
    for (int i = 0; vk_shaders[i]; i++)
        shaders = hash(shaders, vk_shaders[i]->code, vk_shaders[i]->bytes);
    driver = hash(driver, &p->driverVersion, sizeof p->driverVersion);
    driver = hash(driver, p->pipelineCacheUUID, sizeof p->pipelineCacheUUID);
    driver = hash(driver, a->id.driverUUID, sizeof a->id.driverUUID);
    driver = hash(driver, a->id.deviceUUID, sizeof a->id.deviceUUID);
    int n = snprintf(path, size, "%s/vulkan-%04x-%04x-%016llx-%016llx.%s", folder ? folder : own,
                     p->vendorID, p->deviceID, (unsigned long long)driver, (unsigned long long)shaders, kind);
    return n > 0 && (size_t)n < size;
}

void *vk_cache_load(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    header h;
    void  *bytes = NULL;
    bool   good = fread(&h, sizeof h, 1, f) == 1 && memcmp(h.magic, magic, sizeof magic) == 0 && h.size > 0 &&
                h.size <= (uint64_t)largest;
    if (good && (bytes = malloc(h.size)))
        good = fread(bytes, 1, h.size, f) == h.size && fgetc(f) == EOF && hash(seed, bytes, h.size) == h.sum;
    fclose(f);
    if (!good || !bytes) {
        free(bytes);
        return NULL;
    }
    *size = h.size;
    return bytes;
}

static void make_folders(const char *path)
{
    char part[1200];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(part, 0700); /* what fails here fails again, and for good, when the file is opened */
        *slash = '/';
    }
}

bool vk_cache_save(const char *path, const void *bytes, size_t size)
{
    char   temporary[1200];
    header h = { .size = size, .sum = hash(seed, bytes, size) };
    memcpy(h.magic, magic, sizeof magic);
    int n = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof temporary || size == 0 || size > (size_t)largest)
        return false;
    make_folders(path);
    int fd = mkstemp(temporary);
    if (fd < 0)
        return false;
    FILE *f = fdopen(fd, "wb");
    bool  good = f && fwrite(&h, sizeof h, 1, f) == 1 && fwrite(bytes, 1, size, f) == size;
    if (f)
        good &= fclose(f) == 0;
    else
        close(fd);
    good = good && rename(temporary, path) == 0;
    if (!good)
        unlink(temporary);
    return good;
}
