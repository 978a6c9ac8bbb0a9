/* blur_pool: a new op as a plug-in. Down-sampling without aliasing (Zhang, "Making Convolutional Networks Shift-Invariant
 * Again", 2019): each channel is blurred by [1,2,1]/4 in y and x, and only every stride-th result is computed; the map is
 * reflected at its edges.
 *
 *   y[i,j] = sum over r,s in 0..2 of tap[r] tap[s] x[reflect(i*stride + r - 1), reflect(j*stride + s - 1)] */
#include <strata/plugin.h>

#include <string.h>

typedef struct blur_attrs { int stride[2]; } blur_attrs;
static const strata_attr_def attrs[] = {
    { "stride", STRATA_ATTR_INT2, offsetof(blur_attrs, stride), 1, 8, 2, "step of the window in y and x" },
    { 0 }
};

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const blur_attrs *a = n->attrs;
    if (out->rank != 4 || out->dim[2] < 2 || out->dim[3] < 2)
        return strata_fail(err, STRATA_SHAPE, "x must be [N,C,H,W] with H and W of at least 2, to be reflected");
    for (int i = 0; i < 2; i++)
        out->dim[2 + i] = (out->dim[2 + i] - 1) / a->stride[i] + 1;
    return STRATA_OK;
}

static uint64_t macs(const strata_node *n) { return 9 * (uint64_t)strata_count(&n->desc); }

static void window(const strata_node *n, strata_window *w)
{
    const blur_attrs *a = n->attrs;
    *w = (strata_window){ .size = { 3, 3 }, .stride = { a->stride[0], a->stride[1] }, .pad = { 1, 1 } };
}

static const float tap[3] = { 0.25f, 0.5f, 0.25f };
static int64_t     reflect(int64_t i, int64_t n) { return i < 0 ? -i : i < n ? i : 2 * (n - 1) - i; }

/* The definition in numbers: naive, row-major, in double. */
static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    const blur_attrs *a = n->attrs;
    const int64_t    *x = in[0].desc->dim, *y = out->desc->dim;
    float            *dst = out->data;
    for (int64_t m = 0; m < y[0] * y[1]; m++)
    for (int64_t i = 0; i < y[2]; i++)
    for (int64_t j = 0; j < y[3]; j++) {
        double sum = 0;
        for (int r = 0; r < 3; r++)
            for (int s = 0; s < 3; s++)
                sum += (double)tap[r] * tap[s] * in[0].data[(m * x[2] + reflect(i * a->stride[0] + r - 1, x[2])) * x[3] +
                                                            reflect(j * a->stride[1] + s - 1, x[3])];
        *dst++ = (float)sum;
    }
    return STRATA_OK;
}

static const strata_op_def blur_pool = {
    .name = "blur_pool", .doc = "Every stride-th element of each map after a blur by [1,2,1]/4.", .operands = { { "x" } },
    .attrs = attrs, .attr_size = sizeof(blur_attrs), .infer = infer, .macs = macs, .window = window, .eval = eval,
};

/* ---- On the CPU: channels lie innermost, so a tap is a vector operation; a row of results is an item of work. */

typedef struct blur_job { const strata_frame *f; const blur_attrs *a; } blur_job;

static void blur_row(void *arg, int item, int slot)
{
    const blur_job *job = arg;
    const int64_t  *x = job->f->in[0].desc->dim, *y = job->f->out.desc->dim, channels = x[1];
    float          *dst = job->f->out.data + item * y[3] * channels;
    (void)slot; /* no scratch memory */
    for (int64_t j = 0; j < y[3]; j++, dst += channels) {
        memset(dst, 0, (size_t)channels * sizeof *dst);
        for (int t = 0; t < 9; t++) {
            int64_t      row = item / y[2] * x[2] + reflect(item % y[2] * job->a->stride[0] + t / 3 - 1, x[2]);
            const float *src = job->f->in[0].data +
                               (row * x[3] + reflect(j * job->a->stride[1] + t % 3 - 1, x[3])) * channels;
            for (int64_t c = 0; c < channels; c++)
                dst[c] += tap[t / 3] * tap[t % 3] * src[c];
        }
    }
}

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    strata_cpu_parallel(s, (int)(f->out.desc->dim[0] * f->out.desc->dim[2]), blur_row, &(blur_job){ f, s->node->attrs });
    return STRATA_OK;
}

static const strata_kernel_def blur_pool_cpu = {
    .name = "blur_pool.rows", .op = &blur_pool, .layouts = 1 << STRATA_NHWC, .emit = emit };

/* ---- The plug-in ------------------------------------------------------------------------------------------------ */

static strata_status init(strata_context *ctx, strata_error *err)
{
    STRATA_TRY(strata_register_op(ctx, &blur_pool, err));
    return strata_register_kernel(ctx, "cpu", &blur_pool_cpu, err);
}

static const char *const cases[] = { /* for strata doctor */
    "graph \"even\" { input %x : f32[2,5,8,14]  %y = blur_pool(%x) : f32[2,5,4,7]  output \"y\" = %y }",
    "graph \"odd\" { input %x : f32[1,3,2,11]  %y = blur_pool(%x) {stride=[1,3]} : f32[1,3,2,4]  output \"y\" = %y }",
    NULL
};

const strata_plugin_def strata_plugin = { .abi = STRATA_ABI, .name = "blur_pool", .doc = "Down-sampling without aliasing.",
                                          .init = init, .cases = cases };
