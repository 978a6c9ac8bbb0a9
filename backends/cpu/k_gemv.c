/* k_gemv.c: convolutions and dense layers over maps of one pixel, that is matrix-vector products: the gates of
 * squeeze-excite and classifiers.
 *
 *     Y[o] = act(bias[o] + sum over k of X[k] W[k][o])
 *
 * It is memory that takes the time: each weight is wanted once, and no cache holds those of a whole network. So they are
 * packed in panels, one after the other in the order they are read in: one stream, which the processor sees coming, where
 * rows of W side by side would be as many short ones.
 */
#include "direct.h"

enum {
    ITEM_WEIGHTS = 8192,     /* about so many in one item: microseconds of memory's time, where a claim of an item takes a
                                tenth of one */
    SHARING_IMAGES = 8       /* images that share the weights of an item while they are in the cache */
};

typedef struct gemv_job {
    const strata_frame *frame;
    cpu_direct          direct;
    int64_t             panels, ranges; /* panels in an item; such items for some images */
} gemv_job;

static bool accepts(const strata_node *n)
{
    if (!cpu_conv_fits(n) || (n->op == &strata_op_conv2d && n->in[CONV_RESIDUAL] != NULL))
        return false;
    cpu_conv c = cpu_conv_of(n);
    return cpu_conv_is_pointwise(&c) && c.oh * c.ow == 1;
}

static strata_status prepare(strata_step *s, strata_error *err)
{
    cpu_direct d = cpu_direct_of(s->node, s->device->simd, NULL);
    return cpu_direct_prepare(&d, s, err);
}

static void gemv_item(void *arg, int item, int slot)
{
    (void)slot;
    const gemv_job *job = arg;
    const cpu_direct *d = &job->direct;
    const cpu_conv *c = &d->conv;
    int64_t panel = item % job->ranges * job->panels, first = panel * d->block;
    int64_t outputs = cpu_min(job->panels * d->block, c->o - first);
    int64_t image = item / job->ranges * SHARING_IMAGES, end = cpu_min(image + SHARING_IMAGES, c->images);
    for (; image < end; image++)
        d->simd->gemv(job->frame->out.data + image * c->o + first, d->weight + first * c->k,
                      job->frame->in[CONV_X].data + image * c->c, d->bias + first, outputs, c->k, c->act);
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    gemv_job job = { .frame = f, .direct = cpu_direct_of(s->node, s->device->simd, s->state) };
    const cpu_conv *c = &job.direct.conv;
    job.panels = cpu_units_per_item(job.direct.panels, (int64_t)c->k * job.direct.block, ITEM_WEIGHTS);
    job.ranges = cpu_ceil_div(job.direct.panels, job.panels);
    cpu_parallel(s, job.ranges * cpu_ceil_div(c->images, SHARING_IMAGES), gemv_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_conv2d_gemv = {
    .name = "conv2d.gemv", .op = &strata_op_conv2d, .layouts = CPU_NHWC, .by_rows = true, .accepts = accepts,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };

const strata_kernel_def cpu_kernel_dense_gemv = {
    .name = "dense.gemv", .op = &strata_op_dense, .layouts = CPU_NHWC, .by_rows = true, .accepts = accepts,
    .prepare = prepare, .release = cpu_release_state, .emit = emit };
