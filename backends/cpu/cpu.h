/* cpu.h: what the files of the CPU backend share: the device, and the helpers that its kernels are built
 * from.
 *
 * Rank-4 values lie as NHWC wherever a kernel has a choice: every channel loop is then contiguous, a 1x1
 * convolution is a plain matrix product, and concat, squeeze-excite and layer norm become loops over rows.
 *
 * Results are the same bits for any batch size and any number of threads: kernels cut their work into items
 * by the geometry of one image only, and every sum is taken in an order that depends on nothing else.
 */
#ifndef STRATA_CPU_H
#define STRATA_CPU_H

#include "pool.h"
#include "simd.h"

#include <strata/ops.h>

typedef struct cpu_block cpu_block;

struct strata_device {
    cpu_pool       *pool;
    const cpu_simd *simd;
    int             threads;
    cpu_block      *blocks; /* of packed weights, the one being filled first */
    size_t          packed; /* bytes of them */
};

extern const strata_backend_def strata_backend_cpu;

/* cpu_kernel_NAME: every kernel row of kernels.def. */
#define KERNEL(name) extern const strata_kernel_def cpu_kernel_##name;
#include "kernels.def"
#undef KERNEL

enum { CPU_NHWC = 1 << STRATA_NHWC, CPU_ANY_LAYOUT = 1 << STRATA_NHWC | 1 << STRATA_NCHW };

static inline int64_t cpu_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t cpu_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t cpu_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Runs fn over `count` items on the device's pool. count is at most INT_MAX. */
static inline void cpu_parallel(const strata_step *s, int64_t count, cpu_pool_fn fn, void *arg)
{
    cpu_pool_run(s->device->pool, (int)count, fn, arg);
}

/* The workspace of `slot` when each thread has bytes_per_slot (a multiple of 64). */
static inline float *cpu_scratch(const strata_frame *f, int slot, size_t bytes_per_slot)
{
    return (float *)(void *)((char *)f->workspace.data + (size_t)slot * bytes_per_slot);
}

static inline size_t cpu_round64(size_t n) { return (n + 63) & ~(size_t)63; }

/* At least `bytes` at a multiple of `alignment`, a power of two; for free(). NULL when there is no memory. */
void *cpu_alloc(size_t alignment, size_t bytes);
/* Memory for packed weights, aligned to 64: into s->state, and into s->state_bytes by how much the device's memory grows.
 * All of it goes when the device is closed; before, release gives back only what was allocated last. For prepare, which is
 * called for one step at a time. */
strata_status cpu_alloc_state(strata_step *s, size_t bytes, strata_error *err);
void          cpu_release_state(strata_step *s);
void          cpu_free_blocks(strata_device *dev);

/* For prepare: calls fn(arg, rows, first, count) with all rows of dim 0 of constant n, up to `unit` at a time, on all
 * threads. `rows` is there for the call only. The kernel is marked by_rows. */
typedef void (*cpu_rows_fn)(void *arg, const float *rows, int64_t first, int64_t count);
strata_status cpu_each_rows(const strata_step *s, const strata_node *n, int unit, cpu_rows_fn fn, void *arg,
                            strata_error *err);

/* Work on rows of the innermost dimension: images, rows and channels of a value in the order they lie. A
 * rank-2 value counts as maps of one pixel. */
typedef struct cpu_map {
    int64_t images, pixels, channels;
} cpu_map;
cpu_map cpu_map_of(const strata_tensor_desc *d);

/* Cuts `total` units of `cost` elements each into items of about `target` elements: how many units an item
 * has. */
static inline int64_t cpu_units_per_item(int64_t total, int64_t cost, int64_t target)
{
    return cpu_max(1, cpu_min(total, target / cpu_max(1, cost)));
}

#endif
