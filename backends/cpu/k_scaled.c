/* k_scaled.c: a 1x1 convolution and the gate on the channels that it reads, as at the end of squeeze-excite (Hu et al.,
 * "Squeeze-and-Excitation Networks", 2018).
 *
 *     Y[p][o] = act(bias[o] + sum over k of a(X[p][k] gate[k]) W[k][o] + residual[p][o])
 *
 * a is the product's own activation. A band of pixels is scaled into scratch memory that stays in the second cache, and its
 * products are taken from there: the scaled map is neither written nor read as a whole. The bits are those of the two steps.
 * On small maps several items would share the pixels of a band, and each would have to scale them: there both are steps.
 */
#include "direct.h"

enum { MAP, GATE }; /* operands of the product */

enum {
    BAND_FLOATS = 64 << 10, /* of scaled pixels */
    BAND_LEAST = 48,        /* pixels: below, weights pass by too often */
    BANDS_WANTED = 16       /* in an image: as many items as threads want, with all of the channels */
};

typedef struct scaled_job {
    const strata_frame *frame;
    cpu_direct          direct;
    cpu_cut             cut;
    strata_act          act; /* of the product */
    size_t              pointer_bytes, slot_bytes;
} scaled_job;

static scaled_job plan(const strata_node *n, const cpu_simd *simd, const float *packed)
{
    scaled_job job = { .direct = cpu_direct_of(n, simd, packed) };
    const strata_binary_attrs *product = n->in[CONV_X]->attrs;
    job.act = (strata_act)product->act;
    const cpu_conv *c = &job.direct.conv;
    int64_t most = cpu_min(BAND_FLOATS / c->c, cpu_ceil_div((int64_t)c->oh * c->ow, BANDS_WANTED));
    job.cut = cpu_cut_conv(c, cpu_max(BAND_LEAST, most), job.direct.block);
    job.pointer_bytes = cpu_direct_pointer_bytes(&job.direct, job.cut.band);
    job.slot_bytes = job.pointer_bytes + cpu_round64((size_t)job.cut.band * (size_t)job.direct.conv.c * sizeof(float));
    return job;
}

/* A gate is a pixel for each image. */
static bool is_gated(const strata_node *product)
{
    if (product->op != &strata_op_mul)
        return false;
    const strata_node *map = product->in[MAP], *gate = product->in[GATE];
    return !strata_node_is_constant(map) && !strata_node_is_constant(gate) &&
           strata_count(&map->desc) == strata_count(&product->desc) && gate->desc.dim[0] == map->desc.dim[0] &&
           gate->desc.dim[1] == map->desc.dim[1] && gate->desc.dim[2] * gate->desc.dim[3] == 1;
}

static bool accepts(const strata_node *n)
{
    const cpu_simd *simd = cpu_simd_select();
    if (!simd->fused || !cpu_conv_fits(n) || n->desc.rank != 4 || !is_gated(n->in[CONV_X]))
        return false;
    cpu_conv c = cpu_conv_of(n);
    return cpu_conv_is_pointwise(&c) && c.oh * c.ow > 1 && plan(n, simd, NULL).cut.ranges == 1;
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    scaled_job job = plan(s->node, s->device->simd, NULL);
    s->workspace = (size_t)s->device->threads * job.slot_bytes;
    return cpu_direct_prepare(&job.direct, s, err);
}

static void scaled_item(void *arg, int item, int slot)
{
    const scaled_job *job = arg;
    const cpu_direct *d = &job->direct;
    const cpu_conv *c = &d->conv;
    cpu_cut_item at = cpu_cut_at(c, &job->cut, item);
    const float **pointers = (const float **)(void *)cpu_scratch(job->frame, slot, job->slot_bytes);
    float *band = (float *)(void *)((char *)pointers + job->pointer_bytes);

    const float *x = job->frame->in[CONV_X].data + at.image * cpu_conv_x_image(c) + (int64_t)at.pixel * c->c;
    cpu_rows pixels = { x, c->c, 1 }, gate = { job->frame->beside[GATE].data + at.image * c->c, 0, 1 };
    d->simd->binary(band, c->c, pixels, gate, at.pixels, c->c, CPU_MUL, job->act);
    cpu_direct_point(d, band, 0, at.pixels, pointers, NULL); /* a 1x1 convolution finds pixel p at p channels */
    cpu_direct_apply_item(d, job->frame, &at, pointers, 0, d->chunks);
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    scaled_job job = plan(s->node, s->device->simd, s->state);
    job.frame = f;
    cpu_parallel(s, job.cut.items, scaled_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_conv2d_scaled = {
    .name = "conv2d.scaled", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .by_rows = true, .absorbs = true,
    .in_place = 1u << CONV_RESIDUAL, .accepts = accepts, .prepare = prepare, .release = cpu_release_state, .emit = emit };
