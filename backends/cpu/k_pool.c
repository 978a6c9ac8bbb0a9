/* k_pool.c: max_pool, avg_pool and global_avg_pool.
 *
 * A result pixel is the maximum or the mean of rows of channels: those of the pixels in its window. Windows
 * are collected as pointers and reduced in registers, whatever their size.
 */
#include "cpu.h"

enum {
    ITEM_ELEMENTS = 8192,
    CHUNK = 256, /* pixels in one partial sum of a global mean; also bounds the rounding error */
};

/* ---- Windows ------------------------------------------------------------------------------------ */

typedef struct pool_job {
    const strata_step       *step;
    const strata_frame      *frame;
    strata_pool_attrs        attrs;
    int64_t                  channels, h, w, oh, ow;
    int64_t                  rows, bands; /* rows of results in an item, items in an image */
    size_t                   slot_bytes;
    bool                     max;
} pool_job;

static bool window_accepts(const strata_node *n)
{
    const strata_pool_attrs *a = n->attrs;
    return n->desc.rank == 4 && !strata_node_is_constant(n->in[0]) &&
           (int64_t)a->kernel[0] * a->kernel[1] <= 1 << 16;
}

static size_t pointer_bytes(const strata_pool_attrs *a)
{
    return cpu_round64((size_t)a->kernel[0] * (size_t)a->kernel[1] * sizeof(float *));
}

static strata_status window_prepare(strata_step *s, strata_error *err)
{
    (void)err;
    s->workspace = (size_t)s->device->threads * pointer_bytes(s->node->attrs);
    return STRATA_OK;
}

static void window_item(void *arg, int item, int slot)
{
    const pool_job *job = arg;
    const strata_pool_attrs *a = &job->attrs;
    const cpu_simd *simd = job->step->device->simd;
    int64_t c = job->channels, image = item / job->bands, first = item % job->bands * job->rows;
    const float *x = job->frame->in[0].data + image * job->h * job->w * c;
    float *y = job->frame->out.data + (image * job->oh + first) * job->ow * c;
    int area = a->kernel[0] * a->kernel[1];
    const float **window = (const float **)(void *)cpu_scratch(job->frame, slot, job->slot_bytes);

    for (int64_t oy = first; oy < cpu_min(first + job->rows, job->oh); oy++) {
        int64_t top = oy * a->stride[0] - a->pad[0];
        int64_t y0 = cpu_max(0, top), y1 = cpu_min(job->h, top + a->kernel[0]);
        for (int64_t ox = 0; ox < job->ow; ox++, y += c) {
            int64_t left = ox * a->stride[1] - a->pad[1];
            int64_t x0 = cpu_max(0, left), x1 = cpu_min(job->w, left + a->kernel[1]);
            int count = 0;
            for (int64_t iy = y0; iy < y1; iy++)
                for (int64_t ix = x0; ix < x1; ix++)
                    window[count++] = x + (iy * job->w + ix) * c;
            if (job->max)
                simd->max_rows(y, window, count, c);
            else
                simd->sum_rows(y, window, count, c, 1.0f / (float)(a->count_pad ? area : count));
        }
    }
}

static void run_windows(const strata_step *s, const strata_frame *f, bool max)
{
    const int64_t *x = f->in[0].desc->dim, *y = f->out.desc->dim;
    const strata_pool_attrs *a = s->node->attrs;
    pool_job job = { .step = s, .frame = f, .attrs = *a, .channels = x[1], .h = x[2], .w = x[3], .oh = y[2],
                     .ow = y[3], .slot_bytes = pointer_bytes(a), .max = max };
    job.rows = cpu_units_per_item(job.oh, job.ow * job.channels, ITEM_ELEMENTS);
    job.bands = cpu_ceil_div(job.oh, job.rows);
    cpu_parallel(s, y[0] * job.bands, window_item, &job);
}

static strata_status max_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    run_windows(s, f, true);
    return STRATA_OK;
}

static strata_status avg_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    run_windows(s, f, false);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_max_pool = {
    .name = "max_pool.rows", .op = &strata_op_max_pool, .layouts = CPU_NHWC, .accepts = window_accepts,
    .prepare = window_prepare, .emit = max_emit };

const strata_kernel_def cpu_kernel_avg_pool = {
    .name = "avg_pool.rows", .op = &strata_op_avg_pool, .layouts = CPU_NHWC, .accepts = window_accepts,
    .prepare = window_prepare, .emit = avg_emit };

/* ---- The whole map --------------------------------------------------------------------------------- */

typedef struct global_job {
    const strata_step  *step;
    const strata_frame *frame;
    cpu_map             map;
    int64_t             chunks;
    float              *sums; /* [image][chunk][channels] */
} global_job;

static bool global_accepts(const strata_node *n)
{
    return n->desc.rank == 4 && !strata_node_is_constant(n->in[0]);
}

static strata_status global_prepare(strata_step *s, strata_error *err)
{
    (void)err;
    cpu_map m = cpu_map_of(&s->node->in[0]->desc);
    s->workspace = (size_t)(m.images * cpu_ceil_div(m.pixels, CHUNK) * m.channels) * sizeof(float);
    return STRATA_OK;
}

static void global_item(void *arg, int item, int slot)
{
    (void)slot;
    const global_job *job = arg;
    int64_t image = item / job->chunks, first = item % job->chunks * CHUNK, c = job->map.channels;
    job->step->device->simd->column_sums(job->sums + item * c,
                                         job->frame->in[0].data + (image * job->map.pixels + first) * c,
                                         cpu_min(CHUNK, job->map.pixels - first), c, c);
}

static strata_status global_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    global_job job = { .step = s, .frame = f, .map = cpu_map_of(f->in[0].desc), .sums = f->workspace.data };
    job.chunks = cpu_ceil_div(job.map.pixels, CHUNK);
    cpu_parallel(s, job.map.images * job.chunks, global_item, &job);

    int64_t c = job.map.channels;
    for (int64_t image = 0; image < job.map.images; image++) {
        float *y = f->out.data + image * c;
        const float *sums = job.sums + image * job.chunks * c;
        s->device->simd->column_sums(y, sums, job.chunks, c, c);
        s->device->simd->unary(y, y, c, CPU_MUL_SCALAR, 1.0f / (float)job.map.pixels);
    }
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_global_avg_pool = {
    .name = "global_avg_pool.rows", .op = &strata_op_global_avg_pool, .layouts = CPU_NHWC,
    .accepts = global_accepts, .prepare = global_prepare, .emit = global_emit };
