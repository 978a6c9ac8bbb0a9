/* no_vulkan.c: what stands for the backend "vulkan" in a build without it: one device that says so, and the functions of
 * <strata/vulkan.h>, so that a plug-in with kernels for it still loads. Kernels are never asked for anything here. */
#include <strata/vulkan.h>

static const char absent[] = "this build of Strata has no Vulkan";

static strata_status refuse(strata_error *err) { return strata_fail(err, STRATA_DEVICE, "%s", absent); }

static int count_devices(strata_context *ctx)
{
    (void)ctx;
    return 1;
}

static void describe(strata_context *ctx, int index, strata_device_info *out)
{
    (void)ctx;
    *out = (strata_device_info){ .backend = "vulkan", .index = index };
    snprintf(out->name, sizeof out->name, "no adapter");
    snprintf(out->type, sizeof out->type, "none");
    snprintf(out->unusable, sizeof out->unusable, "%s", absent);
}

static strata_status open_device(strata_context *ctx, int index, const strata_device_options *options, strata_device **out,
                                 strata_error *err)
{
    (void)ctx, (void)index, (void)options, (void)out;
    return refuse(err);
}

static void close_device(strata_device *dev) { (void)dev; }

static bool stores(const strata_device *dev, strata_dtype dtype)
{
    (void)dev, (void)dtype;
    return false;
}

static strata_status alloc_buffer(strata_device *dev, size_t bytes, strata_buffer **out, strata_error *err)
{
    (void)dev, (void)bytes, (void)out;
    return refuse(err);
}

static void free_buffer(strata_device *dev, strata_buffer *b) { (void)dev, (void)b; }

static void *map_buffer(strata_buffer *b)
{
    (void)b;
    return NULL;
}

static strata_status write_buffer(strata_buffer *to, size_t at, const void *src, size_t n, strata_error *err)
{
    (void)to, (void)at, (void)src, (void)n;
    return refuse(err);
}

static strata_status read_buffer(const strata_buffer *from, size_t at, void *dst, size_t n, strata_error *err)
{
    (void)from, (void)at, (void)dst, (void)n;
    return refuse(err);
}

static strata_status record(strata_device *dev, const strata_step *steps, strata_frame *frames, int count, void **out,
                            strata_error *err)
{
    (void)dev, (void)steps, (void)frames, (void)count, (void)out;
    return refuse(err);
}

static strata_status run(strata_device *dev, void *recording, double (*ms)[2], strata_error *err)
{
    (void)dev, (void)recording, (void)ms;
    return refuse(err);
}

static void discard(strata_device *dev, void *recording) { (void)dev, (void)recording; }

static const strata_kernel_def *const kernels[] = { NULL };

extern const strata_backend_def strata_backend_vulkan;
const strata_backend_def        strata_backend_vulkan = {
    .name = "vulkan",
    .layout = STRATA_NHWC,
    .kernels = kernels,
    .count = count_devices,
    .describe = describe,
    .open = open_device,
    .close = close_device,
    .stores = stores,
    .alloc = alloc_buffer,
    .free = free_buffer,
    .map = map_buffer,
    .write = write_buffer,
    .read = read_buffer,
    .record = record,
    .run = run,
    .discard = discard,
};

strata_status strata_vk_emit(const strata_step *s, const strata_frame *f, const strata_vk_dispatch *d, strata_error *err)
{
    (void)s, (void)f, (void)d;
    return refuse(err);
}

strata_status strata_vk_prepare(strata_step *s, strata_error *err)
{
    (void)s;
    return refuse(err);
}

strata_status strata_vk_upload(strata_step *s, int k, const float *data, size_t count, strata_error *err)
{
    (void)s, (void)k, (void)data, (void)count;
    return refuse(err);
}

void strata_vk_release(strata_step *s) { (void)s; }

bool strata_vk_fits(const strata_node *n)
{
    (void)n;
    return false;
}
