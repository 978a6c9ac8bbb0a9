/* trace: a new backend as a plug-in. It runs every op by its definition in numbers, one after the other, and tells the log
 * about each value: shape, time, smallest, mean and largest number. Slow and easy to trust: a second opinion on any
 * kernel, and the way to find the layer in which the first NaN appears.
 *
 *     strata extract resnet18 photo.png --plugin ./trace.so --device trace --verbose --random-weights 1 -o x.npz
 *
 * Every backend has these parts: kernels; devices; buffers; recordings, which are a part of a program made ready to run
 * many times. This one uses plain memory (host_memory), so views carry pointers and nothing is copied. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <strata/plugin.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct strata_device { strata_context *ctx; /* for the log */ };
struct strata_buffer { char *bytes; size_t size; };
typedef struct recording { const strata_step *steps; strata_frame *frames; int count; } recording;

/* ---- Kernels: one for every built-in op ------------------------------------------------------------------------ */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void tell(const strata_context *ctx, const strata_node *n, const float *x, double ms)
{
    double  low = INFINITY, high = -INFINITY, sum = 0;
    int64_t count = strata_count(&n->desc), odd = 0; /* odd: NaN or infinite */
    char    shape[128];
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) {
            odd++;
            continue;
        }
        sum += x[i], low = fmin(low, x[i]), high = fmax(high, x[i]);
    }
    strata_log(ctx, odd ? STRATA_LOG_WARNING : STRATA_LOG_INFO,
               "trace: %s = %s %s  %.3f ms  min %.6g  mean %.6g  max %.6g%s", n->name, n->op->name,
               strata_shape_text(&n->desc, shape, sizeof shape), ms, low, sum / (double)(count - odd), high,
               odd ? "  NOT ALL FINITE" : "");
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    strata_view   out    = f->out;
    double        start  = now_ms();
    strata_status status = s->node->op->eval(s->node, f->in, &out);
    if (status != STRATA_OK)
        return strata_fail(err, status, "trace: %s failed", s->node->name);
    tell(s->device->ctx, s->node, out.data, now_ms() - start);
    return STRATA_OK;
}

#define OP(id)                                                                                     \
    static const strata_kernel_def kernel_##id = {                                                 \
        .name = "trace." #id, .op = &strata_op_##id, .layouts = 1 << STRATA_NCHW, .emit = emit };
#include <strata/ops.def>
#undef OP

#define OP(id) &kernel_##id,
static const strata_kernel_def *const kernels[] = {
#include <strata/ops.def>
    NULL
};
#undef OP

/* ---- Devices ---------------------------------------------------------------------------------------------------- */

static int count_devices(strata_context *ctx)
{
    (void)ctx;
    return 1;
}

static void describe(strata_context *ctx, int index, strata_device_info *out)
{
    (void)ctx, (void)index;
    snprintf(out->name, sizeof out->name, "definitions, traced");
    snprintf(out->type, sizeof out->type, "software"); /* so "auto" never takes it */
}

static strata_status open_device(strata_context *ctx, int index, const strata_device_options *options, strata_device **out,
                          strata_error *err)
{
    (void)options;
    if (index != 0)
        return strata_fail(err, STRATA_NOT_FOUND, "trace:%d: there is one device, trace:0", index);
    *out = malloc(sizeof **out);
    if (!*out)
        return strata_fail(err, STRATA_NOMEM, "trace: no memory for a device");
    (*out)->ctx = ctx;
    return STRATA_OK;
}

static void close_device(strata_device *dev) { free(dev); }

/* The kernels compute with float32. */
static bool stores(const strata_device *dev, strata_dtype dtype) { return (void)dev, dtype == STRATA_F32; }

/* ---- Buffers: all values of a program, and its constants --------------------------------------------------------- */

static strata_status alloc_buffer(strata_device *dev, size_t bytes, strata_buffer **out, strata_error *err)
{
    (void)dev;
    size_t whole = (bytes / 64 + 1) * 64; /* a multiple of the alignment, never zero */
    *out = malloc(sizeof **out);
    if (*out)
        (*out)->bytes = aligned_alloc(64, whole), (*out)->size = bytes;
    if (*out && (*out)->bytes)
        return STRATA_OK;
    free(*out);
    return strata_fail(err, STRATA_NOMEM, "trace: no memory for %zu bytes", bytes);
}

static void free_buffer(strata_device *dev, strata_buffer *buf)
{
    (void)dev;
    if (buf)
        free(buf->bytes);
    free(buf);
}

static void *map_buffer(strata_buffer *buf) { return buf->bytes; }

static strata_status write_buffer(strata_buffer *dst, size_t at, const void *src, size_t n, strata_error *err)
{
    if (at > dst->size || n > dst->size - at)
        return strata_fail(err, STRATA_INVALID, "trace: %zu bytes at %zu do not fit into %zu", n, at, dst->size);
    memcpy(dst->bytes + at, src, n);
    return STRATA_OK;
}

static strata_status read_buffer(const strata_buffer *src, size_t at, void *dst, size_t n, strata_error *err)
{
    if (at > src->size || n > src->size - at)
        return strata_fail(err, STRATA_INVALID, "trace: %zu bytes at %zu are not within %zu", n, at, src->size);
    memcpy(dst, src->bytes + at, n);
    return STRATA_OK;
}

/* ---- Recordings: here nothing is to be recorded --------------------------------------------------------------------- */

static strata_status record(strata_device *dev, const strata_step *steps, strata_frame *frames, int n, void **out,
                            strata_error *err)
{
    (void)dev;
    recording *r = malloc(sizeof *r);
    if (!r)
        return strata_fail(err, STRATA_NOMEM, "trace: no memory for a recording");
    *r = (recording){ steps, frames, n };
    *out = r;
    return STRATA_OK;
}

static strata_status run(strata_device *dev, void *recorded, double (*ms)[2], strata_error *err)
{
    const recording *r = recorded;
    (void)dev;
    for (int i = 0; i < r->count; i++) {
        double start = now_ms();
        STRATA_TRY(r->steps[i].kernel->emit(&r->steps[i], &r->frames[i], err));
        if (ms)
            ms[i][0] = start, ms[i][1] = now_ms() - start;
    }
    return STRATA_OK;
}

static void discard(strata_device *dev, void *recorded)
{
    (void)dev;
    free(recorded);
}

/* ---- The definition --------------------------------------------------------------------------------------------------- */

static const strata_backend_def backend = {
    .name = "trace", .layout = STRATA_NCHW, .host_memory = true, .kernels = kernels,
    .count = count_devices, .describe = describe, .open = open_device, .close = close_device,
    .stores = stores, .alloc = alloc_buffer, .free = free_buffer, .map = map_buffer, .write = write_buffer, .read = read_buffer,
    .record = record, .run = run, .discard = discard,
};

static strata_status init(strata_context *ctx, strata_error *err) { return strata_register_backend(ctx, &backend, err); }

static const char *const cases[] = { /* for strata doctor: shared values, a view, a value that two parts want */
    "graph \"two branches\" {"
    "  input %x : f32[2,3,9,7]"
    "  param @a.weight : f32[6,3,3,3]"
    "  %a = conv2d(%x, @a.weight) {pad=1, act=relu} : f32[2,6,9,7]"
    "  %left = max_pool(%a) {kernel=3, stride=2, pad=1} : f32[2,6,5,4]"
    "  %right = avg_pool(%a) {kernel=3, stride=2, pad=1} : f32[2,6,5,4]"
    "  %both = concat(%left, %right) {axis=1} : f32[2,12,5,4]"
    "  %mean = global_avg_pool(%both) : f32[2,12,1,1]"
    "  %row = reshape(%mean) {shape=[2,12]} : f32[2,12]"
    "  %odds = softmax(%row) {axis=1} : f32[2,12]"
    "  output \"both\" = %both"
    "  output \"odds\" = %odds"
    "}",
    NULL
};

const strata_plugin_def strata_plugin = { .abi = STRATA_ABI, .name = "trace", .doc = "Tells the log about every value.",
                                          .init = init, .cases = cases };
