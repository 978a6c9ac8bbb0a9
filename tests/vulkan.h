/* What the tests of the Vulkan backend share: a context whose Vulkan instance has the validation layer, with
 * every message counted. Without a driver the tests are skipped (77). They run on the first adapter that can
 * be used, a processor as well: STRATA_TEST_VULKAN=INDEX names another. */
#ifndef STRATA_TESTS_VULKAN_H
#define STRATA_TESTS_VULKAN_H

#include "../backends/vulkan/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VULKAN_SKIP = 77 };

static int vulkan_messages; /* of the validation layer, since the start */

static inline void vulkan_message(void *user, const char *text)
{
    (void)user;
    if (vulkan_messages++ < 10)
        fprintf(stderr, "validation: %s\n", text);
}

static inline bool vulkan_layer_missing(const vk_instance *v)
{
    return strstr(v->adapters[0].unusable, "VK_LAYER") != NULL;
}

/* A context with this configuration, under validation where the layer is installed; no cache on disk. */
static inline strata_context *vulkan_context_with(vk_config config)
{
    for (int validation = 1; validation >= 0; validation--) {
        strata_context *ctx;
        if (strata_context_create(&ctx, NULL) != STRATA_OK)
            abort();
        config.validation = validation;
        config.message = config.message ? config.message : vulkan_message;
        if (!config.cache_folder)
            config.cache_folder = "";
        const vk_instance *v = vk_instance_with(ctx, &config);
        if (!v)
            abort();
        if (!validation || !vulkan_layer_missing(v))
            return ctx;
        strata_context_destroy(ctx);
    }
    abort();
}

static inline bool vulkan_validates(strata_context *ctx)
{
    return vk_instance_of(ctx)->messenger != VK_NULL_HANDLE;
}

/* The adapter to test on; -1: none. */
static inline int vulkan_index(strata_context *ctx)
{
    const char        *named = getenv("STRATA_TEST_VULKAN");
    const vk_instance *v = vk_instance_of(ctx);
    if (named)
        return atoi(named);
    for (int i = 0; i < v->count; i++)
        if (!*v->adapters[i].unusable)
            return i;
    return -1;
}

/* For main: says why and exits when there is nothing to test on. The context stays: it keeps the driver in memory, and
 * NVIDIA's can be loaded some thirty times in one process, after which there is none (580.159). */
static inline void vulkan_need_device(void)
{
    static strata_context *ctx;
    ctx = vulkan_context_with((vk_config){ 0 });
    int index = vulkan_index(ctx);
    if (index < 0)
        fprintf(stderr, "skipped: %s\n", vk_instance_of(ctx)->adapters[0].unusable);
    else if (!vulkan_validates(ctx))
        fprintf(stderr, "the validation layer is not installed: testing without it\n");
    if (index < 0) {
        strata_context_destroy(ctx);
        exit(VULKAN_SKIP);
    }
}

/* "vulkan:0" of the adapter to test on. */
static inline const char *vulkan_name(strata_context *ctx, char buf[32])
{
    snprintf(buf, 32, "vulkan:%d", vulkan_index(ctx));
    return buf;
}

#endif
