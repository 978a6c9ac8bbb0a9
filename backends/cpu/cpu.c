/* cpu.c: the CPU as a backend: its device, buffers and recordings. Kernels are in k_*.c, listed in
 * kernels.def. */
#include "cpu.h"
#include "gemm.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_ALIGNMENT = 4096 };

struct strata_buffer {
    void  *bytes;
    size_t size;
};

typedef struct recording {
    const strata_step *steps;
    strata_frame      *frames;
    int                count;
} recording;

cpu_map cpu_map_of(const strata_tensor_desc *d)
{
    return (cpu_map){ d->dim[0], d->rank == 4 ? d->dim[2] * d->dim[3] : 1, d->dim[1] };
}

void strata_cpu_parallel(const strata_step *s, int count, void (*fn)(void *arg, int item, int slot), void *arg)
{
    cpu_parallel(s, count, fn, arg);
}

int strata_cpu_threads(const strata_step *s)
{
    return s->device->threads;
}

/* ---- Devices ---------------------------------------------------------------------------------- */

static int count_devices(strata_context *ctx)
{
    (void)ctx;
    return 1;
}

/* The processor's name as Linux tells it; "CPU" where it does not. */
static void processor_name(char *name, size_t size)
{
    snprintf(name, size, "CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (f == NULL)
        return;
    char line[256];
    while (fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon == NULL || strncmp(line, "model name", 10) != 0)
            continue;
        colon += strspn(colon, ": \t");
        snprintf(name, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    fclose(f);
}

static void describe(strata_context *ctx, int index, strata_device_info *out)
{
    (void)ctx;
    *out = (strata_device_info){ .backend = strata_backend_cpu.name, .index = index };
    char name[64];
    processor_name(name, sizeof name);
    snprintf(out->name, sizeof out->name, "%s (%s)", name, cpu_simd_select()->name);
    snprintf(out->type, sizeof out->type, "cpu");
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    out->memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

static strata_status open_device(strata_context *ctx, int index, const strata_device_options *options,
                                 strata_device **out, strata_error *err)
{
    *out = NULL;
    if (index != 0)
        return strata_fail(err, STRATA_NOT_FOUND, "cpu:%d: there is one device, cpu:0", index);
    strata_device *dev = calloc(1, sizeof *dev);
    if (dev == NULL)
        return strata_fail(err, STRATA_NOMEM, "cpu: no memory for a device");
    strata_status status = cpu_pool_create(options->threads, &dev->pool, err);
    if (status != STRATA_OK) {
        free(dev);
        return status;
    }
    dev->simd = cpu_simd_select();
    dev->threads = cpu_pool_threads(dev->pool);
    if (dev->threads < options->threads)
        strata_log(ctx, STRATA_LOG_WARNING, "cpu: only %d of %d threads could be started", dev->threads,
                   options->threads);
    cpu_gemm_init();
    *out = dev;
    return STRATA_OK;
}

static void close_device(strata_device *dev)
{
    if (dev == NULL)
        return;
    cpu_pool_destroy(dev->pool);
    cpu_free_blocks(dev);
    free(dev);
}

/* ---- Buffers ---------------------------------------------------------------------------------- */

static strata_status alloc_buffer(strata_device *dev, size_t bytes, strata_buffer **out, strata_error *err)
{
    (void)dev;
    *out = NULL;
    strata_buffer *buf = malloc(sizeof *buf);
    void *memory = buf != NULL ? cpu_alloc(BUFFER_ALIGNMENT, bytes) : NULL;
    if (memory == NULL) {
        free(buf);
        return strata_fail(err, STRATA_NOMEM, "cpu: no memory for a buffer of %zu bytes", bytes);
    }
    *buf = (strata_buffer){ memory, bytes };
    *out = buf;
    return STRATA_OK;
}

static void free_buffer(strata_device *dev, strata_buffer *buf)
{
    (void)dev;
    if (buf == NULL)
        return;
    free(buf->bytes);
    free(buf);
}

static void *map_buffer(strata_buffer *buf)
{
    return buf->bytes;
}

static bool inside(const strata_buffer *buf, size_t at, size_t n)
{
    return at <= buf->size && n <= buf->size - at;
}

static strata_status write_buffer(strata_buffer *dst, size_t at, const void *src, size_t n, strata_error *err)
{
    if (!inside(dst, at, n))
        return strata_fail(err, STRATA_INVALID,
                           "cpu: write of %zu bytes at %zu past the end of a buffer of %zu", n, at,
                           dst->size);
    memcpy((char *)dst->bytes + at, src, n);
    return STRATA_OK;
}

static strata_status read_buffer(const strata_buffer *src, size_t at, void *dst, size_t n, strata_error *err)
{
    if (!inside(src, at, n))
        return strata_fail(err, STRATA_INVALID,
                           "cpu: read of %zu bytes at %zu past the end of a buffer of %zu", n, at, src->size);
    memcpy(dst, (const char *)src->bytes + at, n);
    return STRATA_OK;
}

/* ---- Recordings --------------------------------------------------------------------------------- */

static strata_status record(strata_device *dev, const strata_step *steps, strata_frame *frames, int count,
                            void **out, strata_error *err)
{
    (void)dev;
    *out = NULL;
    recording *r = malloc(sizeof *r);
    if (r == NULL)
        return strata_fail(err, STRATA_NOMEM, "cpu: no memory for a recording");
    *r = (recording){ steps, frames, count };
    *out = r;
    return STRATA_OK;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static strata_status run(strata_device *dev, void *recorded, double (*ms)[2], strata_error *err)
{
    (void)dev;
    const recording *r = recorded;
    for (int i = 0; i < r->count; i++) {
        double start = ms != NULL ? now_ms() : 0;
        STRATA_TRY(r->steps[i].kernel->emit(&r->steps[i], &r->frames[i], err));
        if (ms != NULL) {
            ms[i][0] = start;
            ms[i][1] = now_ms() - start;
        }
    }
    return STRATA_OK;
}

static void discard(strata_device *dev, void *recorded)
{
    (void)dev;
    free(recorded);
}

/* Kernels compute with float32 only. */
static bool stores(const strata_device *dev, strata_dtype dtype)
{
    (void)dev;
    return dtype == STRATA_F32;
}

/* ---- The definition ----------------------------------------------------------------------------- */

#define KERNEL(name) &cpu_kernel_##name,
static const strata_kernel_def *const kernels[] = {
#include "kernels.def"
    NULL
};
#undef KERNEL

const strata_backend_def strata_backend_cpu = {
    .name = "cpu",
    .layout = STRATA_NHWC,
    .host_memory = true,
    .working_set = 8 << 20, /* a core's share of a last-level cache, measured on Zen 3: bench/pieces */
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
