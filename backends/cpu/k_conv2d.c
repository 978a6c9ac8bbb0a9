/* k_conv2d.c: convolutions and dense layers as matrix products of the library.
 *
 *     Y[p][o] = act(bias[o] + sum over k of X[p][k] W[k][o] + residual[p][o])
 *
 * with a row of X per pixel: the pixel's channels themselves where the kernel is 1x1 (pointwise), else the
 * channels of all its taps, gathered for a band of pixels at a time (im2col; Chellapilla et al., "High
 * Performance Convolutional Neural Networks for Document Processing", 2006). The rest of the formula is
 * applied to the band while it is in the cache. A band is long, for the library packs all weights again in
 * every call.
 */
#include "conv.h"
#include "gemm.h"

#include <string.h>

enum {
    BAND_BYTES = 1 << 20,    /* of im2col */
    RESULT_BYTES = 1 << 18,  /* of a band of results */
    BAND_LEAST = 96,         /* pixels: fewer spend more on packing weights than on products */
    GEMM_UNIT = 32           /* columns of a product are cut in multiples of these */
};

typedef struct product_job {
    const strata_step  *step;
    const strata_frame *frame;
    cpu_conv            conv;
    cpu_cut             cut;
} product_job;

static cpu_cut cut_product(const cpu_conv *c, int64_t floats_per_pixel)
{
    int64_t most = cpu_min(BAND_BYTES / 4 / cpu_max(1, floats_per_pixel), RESULT_BYTES / 4 / c->og);
    return cpu_cut_conv(c, cpu_max(most, BAND_LEAST), GEMM_UNIT);
}

static void finish(const product_job *job, const cpu_cut_item *at, float *y)
{
    const cpu_conv *c = &job->conv;
    const strata_view *in = job->frame->in;
    const float *bias = in[CONV_BIAS].data, *residual = in[CONV_RESIDUAL].data;
    if (bias == NULL && residual == NULL && c->act == STRATA_ACT_NONE)
        return;
    int channel = at->group * c->og + at->channel;
    if (bias != NULL)
        bias += channel;
    if (residual != NULL)
        residual += at->image * cpu_conv_y_image(c) + (int64_t)at->pixel * c->o + channel;
    job->step->device->simd->finish(y, c->o, at->pixels, at->channels, bias, residual, c->o, c->act);
}

static float *result_at(const product_job *job, const cpu_cut_item *at)
{
    const cpu_conv *c = &job->conv;
    return job->frame->out.data + at->image * cpu_conv_y_image(c) + (int64_t)at->pixel * c->o +
           at->group * c->og + at->channel;
}

/* ---- 1x1 ---------------------------------------------------------------------------------------- */

static void pointwise_item(void *arg, int item, int slot)
{
    (void)slot;
    const product_job *job = arg;
    const cpu_conv *c = &job->conv;
    cpu_cut_item at = cpu_cut_at(c, &job->cut, item);
    const float *x = job->frame->in[CONV_X].data + at.image * cpu_conv_x_image(c) + (int64_t)at.pixel * c->c;
    const float *w = job->frame->in[CONV_WEIGHT].data + (int64_t)at.channel * c->c;
    float *y = result_at(job, &at);
    cpu_gemm(at.pixels, at.channels, c->c, x, c->c, w, c->c, true, y, c->o);
    finish(job, &at, y);
}

static bool pointwise_accepts(const strata_node *n)
{
    if (!cpu_conv_fits(n))
        return false;
    cpu_conv c = cpu_conv_of(n);
    return cpu_conv_is_pointwise(&c);
}

static strata_status pointwise_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    product_job job = { .step = s, .frame = f, .conv = cpu_conv_of(s->node) };
    job.cut = cut_product(&job.conv, job.conv.c);
    cpu_parallel(s, job.cut.items, pointwise_item, &job);
    return STRATA_OK;
}

/* ---- im2col --------------------------------------------------------------------------------------- */

static size_t band_bytes(const cpu_conv *c)
{
    cpu_cut cut = cut_product(c, c->k);
    return cpu_round64((size_t)cut.band * (size_t)c->k * sizeof(float));
}

/* weight[o][ci][kh][kw] to [group][kh][kw][ci][o of the group]. */
static strata_status im2col_prepare(strata_step *s, strata_error *err)
{
    cpu_conv c = cpu_conv_of(s->node);
    STRATA_TRY(cpu_alloc_state(s, (size_t)c.o * (size_t)c.k * sizeof(float), err));
    const float *w = strata_tensor_data(s->node->in[CONV_WEIGHT]->data);
    float *packed = s->state;
    for (int o = 0; o < c.o; o++)
        for (int ci = 0; ci < c.cg; ci++)
            for (int t = 0; t < c.taps; t++)
                packed[((int64_t)(o / c.og) * c.k + t * c.cg + ci) * c.og + o % c.og] = *w++;
    s->workspace = (size_t)s->device->threads * band_bytes(&c);
    s->consumed = 1u << CONV_WEIGHT;
    return STRATA_OK;
}

static void im2col_item(void *arg, int item, int slot)
{
    const product_job *job = arg;
    const cpu_conv *c = &job->conv;
    cpu_cut_item at = cpu_cut_at(c, &job->cut, item);
    const float *x = job->frame->in[CONV_X].data + at.image * cpu_conv_x_image(c) + at.group * c->cg;
    float *band = cpu_scratch(job->frame, slot, band_bytes(c));
    cpu_im2col(c, x, at.pixel, at.pixels, band);
    const float *w = (const float *)job->step->state + (int64_t)at.group * c->k * c->og + at.channel;
    float *y = result_at(job, &at);
    cpu_gemm(at.pixels, at.channels, c->k, band, c->k, w, c->og, false, y, c->o);
    finish(job, &at, y);
}

static strata_status im2col_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    product_job job = { .step = s, .frame = f, .conv = cpu_conv_of(s->node) };
    job.cut = cut_product(&job.conv, job.conv.k);
    cpu_parallel(s, job.cut.items, im2col_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_conv2d_pointwise = {
    .name = "conv2d.pointwise", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .accepts = pointwise_accepts,
    .emit = pointwise_emit };

const strata_kernel_def cpu_kernel_conv2d_im2col = {
    .name = "conv2d.im2col", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .accepts = cpu_conv_fits,
    .prepare = im2col_prepare, .release = cpu_release_state, .emit = im2col_emit };

const strata_kernel_def cpu_kernel_dense_gemm = {
    .name = "dense.gemm", .op = &strata_op_dense, .layouts = CPU_NHWC, .accepts = pointwise_accepts,
    .emit = pointwise_emit };
