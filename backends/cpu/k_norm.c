/* k_norm.c: batch_norm with running statistics, layer_norm over channels, global response normalisation. */
#include "cpu.h"

#include <math.h>
#include <string.h>

enum { X, GAMMA, BETA, MEAN, VARIANCE, ITEM_ELEMENTS = 16384 };

/* Rows of channels: the pixels of all images in items of some rows. */
typedef struct rows_job {
    const strata_step  *step;
    const strata_frame *frame;
    int64_t             rows, channels, rows_per_item;
} rows_job;

static void run_rows(const strata_step *s, const strata_frame *f, cpu_pool_fn fn)
{
    cpu_map m = cpu_map_of(f->out.desc);
    rows_job job = { .step = s, .frame = f, .rows = m.images * m.pixels, .channels = m.channels };
    job.rows_per_item = cpu_units_per_item(job.rows, m.channels, ITEM_ELEMENTS);
    cpu_parallel(s, cpu_ceil_div(job.rows, job.rows_per_item), fn, &job);
}

static bool takes_rows(const strata_node *n)
{
    return (n->desc.rank == 2 || n->desc.rank == 4) && !strata_node_is_constant(n->in[X]);
}

/* ---- batch_norm: y = x s + t with s = gamma / sqrt(variance + epsilon), t = beta - mean s ----------- */

static bool batch_norm_accepts(const strata_node *n)
{
    for (int i = GAMMA; i <= VARIANCE; i++)
        if (!strata_node_is_constant(n->in[i]))
            return false;
    return takes_rows(n);
}

static strata_status batch_norm_prepare(strata_step *s, strata_error *err)
{
    const strata_node *n = s->node;
    size_t channels = (size_t)n->desc.dim[1];
    const strata_batch_norm_attrs *a = n->attrs;
    STRATA_TRY(cpu_alloc_state(s, 2 * channels * sizeof(float), err));
    float *scale = s->state, *shift = scale + channels;
    const float *gamma = strata_tensor_data(n->in[GAMMA]->data);
    const float *beta = strata_tensor_data(n->in[BETA]->data);
    const float *mean = strata_tensor_data(n->in[MEAN]->data);
    const float *variance = strata_tensor_data(n->in[VARIANCE]->data);
    for (size_t c = 0; c < channels; c++) {
        double by = gamma[c] / sqrt((double)variance[c] + a->epsilon);
        scale[c] = (float)by;
        shift[c] = (float)(beta[c] - mean[c] * by);
    }
    s->consumed = 1u << GAMMA | 1u << BETA | 1u << MEAN | 1u << VARIANCE;
    return STRATA_OK;
}

static void batch_norm_item(void *arg, int item, int slot)
{
    (void)slot;
    const rows_job *job = arg;
    int64_t first = item * job->rows_per_item, rows = cpu_min(job->rows_per_item, job->rows - first);
    const float *scale = job->step->state;
    job->step->device->simd->affine(job->frame->out.data + first * job->channels,
                                    job->frame->in[X].data + first * job->channels, rows, job->channels,
                                    scale, scale + job->channels);
}

static strata_status batch_norm_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    run_rows(s, f, batch_norm_item);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_batch_norm = {
    .name = "batch_norm.rows", .op = &strata_op_batch_norm, .layouts = CPU_NHWC, .in_place = 1u << 0,
    .accepts = batch_norm_accepts, .prepare = batch_norm_prepare, .release = cpu_release_state,
    .emit = batch_norm_emit };

/* ---- layer_norm: each pixel's channels to mean 0 and variance 1, then gamma and beta ------------------ */

static void layer_norm_item(void *arg, int item, int slot)
{
    (void)slot;
    const rows_job *job = arg;
    const strata_layer_norm_attrs *a = job->step->node->attrs;
    const strata_view *in = job->frame->in;
    int64_t first = item * job->rows_per_item, end = cpu_min(first + job->rows_per_item, job->rows);
    for (int64_t r = first; r < end; r++)
        job->step->device->simd->normalize(job->frame->out.data + r * job->channels,
                                           in[X].data + r * job->channels, job->channels, (float)a->epsilon,
                                           in[GAMMA].data, in[BETA].data);
}

static strata_status layer_norm_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    run_rows(s, f, layer_norm_item);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_layer_norm = {
    .name = "layer_norm.rows", .op = &strata_op_layer_norm, .layouts = CPU_NHWC, .in_place = 1u << 0,
    .accepts = takes_rows, .emit = layer_norm_emit };

/* ---- grn: g[c] = sqrt(sum over pixels of x^2); y = x (1 + gamma g / (mean of g + epsilon)) + beta ---- */

enum { GRN_CHUNK = 256 }; /* pixels whose squares are summed in one item */

typedef struct grn_job {
    const strata_step  *step;
    const strata_frame *frame;
    cpu_map             map;
    int64_t             chunks, rows_per_item, row_items;
    float              *sums;  /* [image][chunk][channels]; the first chunk becomes the scale */
} grn_job;

static void grn_sum_item(void *arg, int item, int slot)
{
    (void)slot;
    const grn_job *job = arg;
    int64_t image = item / job->chunks, first = item % job->chunks * GRN_CHUNK, channels = job->map.channels;
    int64_t rows = cpu_min(GRN_CHUNK, job->map.pixels - first);
    const float *x = job->frame->in[X].data + (image * job->map.pixels + first) * channels;
    job->step->device->simd->column_squares(job->sums + item * channels, x, rows, channels, channels);
}

static void grn_scale(const grn_job *job, int64_t image)
{
    const strata_grn_attrs *a = job->step->node->attrs;
    int64_t channels = job->map.channels;
    float *scale = job->sums + image * job->chunks * channels;
    const float *gamma = job->frame->in[GAMMA].data;
    double mean = 0;
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0;
        for (int64_t k = 0; k < job->chunks; k++)
            sum += scale[k * channels + c];
        scale[c] = (float)sqrt(sum);
        mean += scale[c];
    }
    mean /= (double)channels;
    for (int64_t c = 0; c < channels; c++)
        scale[c] = (float)(1.0 + gamma[c] * (scale[c] / (mean + a->epsilon)));
}

static void grn_apply_item(void *arg, int item, int slot)
{
    (void)slot;
    const grn_job *job = arg;
    int64_t image = item / job->row_items, first = item % job->row_items * job->rows_per_item;
    int64_t rows = cpu_min(job->rows_per_item, job->map.pixels - first), channels = job->map.channels;
    int64_t at = (image * job->map.pixels + first) * channels;
    job->step->device->simd->affine(job->frame->out.data + at, job->frame->in[X].data + at, rows, channels,
                                    job->sums + image * job->chunks * channels, job->frame->in[BETA].data);
}

static strata_status grn_prepare(strata_step *s, strata_error *err)
{
    (void)err;
    cpu_map m = cpu_map_of(&s->node->desc);
    s->workspace = (size_t)(m.images * cpu_ceil_div(m.pixels, GRN_CHUNK) * m.channels) * sizeof(float);
    return STRATA_OK;
}

static strata_status grn_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    grn_job job = { .step = s, .frame = f, .map = cpu_map_of(f->out.desc), .sums = f->workspace.data };
    job.chunks = cpu_ceil_div(job.map.pixels, GRN_CHUNK);
    job.rows_per_item = cpu_units_per_item(job.map.pixels, job.map.channels, ITEM_ELEMENTS);
    job.row_items = cpu_ceil_div(job.map.pixels, job.rows_per_item);
    cpu_parallel(s, job.map.images * job.chunks, grn_sum_item, &job);
    for (int64_t image = 0; image < job.map.images; image++)
        grn_scale(&job, image);
    cpu_parallel(s, job.map.images * job.row_items, grn_apply_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_grn = {
    .name = "grn.rows", .op = &strata_op_grn, .layouts = CPU_NHWC, .in_place = 1u << 0, .accepts = takes_rows,
    .prepare = grn_prepare, .emit = grn_emit };
