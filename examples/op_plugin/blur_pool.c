/* blur_pool: a new op as a plug-in, for the CPU and for Vulkan. Down-sampling without aliasing (Zhang, "Making Convolutional
 * Networks Shift-Invariant Again", 2019): each channel is blurred by [1,2,1]/4 in y and x, and only every stride-th result
 * is computed; the map is reflected at its edges.
 *   y[i,j] = sum over r,s in 0..2 of tap[r] tap[s] x[reflect(i*stride + r - 1), reflect(j*stride + s - 1)] */
#include <strata/plugin.h>

typedef struct blur_attrs { int stride[2]; } blur_attrs;
static const strata_attr_def attrs[] = {
    { "stride", STRATA_ATTR_INT2, offsetof(blur_attrs, stride), 1, 8, 2, "step of the window in y and x" }, { 0 } };
static const int *stride_of(const strata_node *n) { return ((const blur_attrs *)n->attrs)->stride; }

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    if (out->rank != 4 || out->dim[2] < 2 || out->dim[3] < 2)
        return strata_fail(err, STRATA_SHAPE, "x must be [N,C,H,W] with H and W of at least 2, to be reflected");
    for (int i = 0; i < 2; i++)
        out->dim[2 + i] = (out->dim[2 + i] - 1) / stride_of(n)[i] + 1;
    return STRATA_OK;
}
static uint64_t macs(const strata_node *n) { return 9 * (uint64_t)strata_count(&n->desc); }
static void window(const strata_node *n, strata_window *w)
{
    *w = (strata_window){ .size = { 3, 3 }, .stride = { stride_of(n)[0], stride_of(n)[1] }, .pad = { 1, 1 } };
}

static const float tap[] = { 0.25f, 0.5f, 0.25f };
static int64_t     reflect(int64_t i, int64_t n) { return i < 0 ? -i : i < n ? i : 2 * (n - 1) - i; }

/* The definition in numbers: naive, row-major, in double. */
static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    const int64_t *x = in[0].desc->dim, *y = out->desc->dim, count = strata_count(out->desc);
    for (int64_t k = 0; k < count; k++) {
        int64_t map = k / (y[2] * y[3]), i = k / y[3] % y[2] * stride_of(n)[0], j = k % y[3] * stride_of(n)[1];
        double  sum = 0;
        for (int r = 0; r < 3; r++)
            for (int s = 0; s < 3; s++)
                sum += (double)tap[r] * tap[s] *
                       in[0].data[(map * x[2] + reflect(i + r - 1, x[2])) * x[3] + reflect(j + s - 1, x[3])];
        out->data[k] = (float)sum;
    }
    return STRATA_OK;
}
static const strata_op_def blur_pool = {
    .name = "blur_pool", .doc = "Every stride-th element of each map after a blur by [1,2,1]/4.", .operands = { { "x" } },
    .attrs = attrs, .attr_size = sizeof(blur_attrs), .flags = STRATA_OP_ROWS,
    .infer = infer, .macs = macs, .window = window, .eval = eval };

/* On the CPU: channels lie innermost, so a tap is a vector operation; a row of results is an item of work. */
typedef struct blur_job { const strata_frame *f; const int *stride; } blur_job;
static void blur_row(void *arg, int item, int slot)
{
    const blur_job *job = arg;
    const int64_t  *x = job->f->in[0].desc->dim, *y = job->f->out.desc->dim, channels = x[1];
    float          *dst = job->f->out.data + item * y[3] * channels;
    (void)slot; /* no scratch memory */
    for (int64_t j = 0; j < y[3]; j++, dst += channels)
        for (int t = 0; t < 9; t++) {
            int64_t      row = item / y[2] * x[2] + reflect(item % y[2] * job->stride[0] + t / 3 - 1, x[2]);
            const float *src = job->f->in[0].data + (row * x[3] + reflect(j * job->stride[1] + t % 3 - 1, x[3])) * channels;
            for (int64_t c = 0; c < channels; c++)
                dst[c] = (t > 0 ? dst[c] : 0) + tap[t / 3] * tap[t % 3] * src[c];
        }
}
static strata_status emit_cpu(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    strata_cpu_parallel(s, (int)(f->out.desc->dim[0] * f->out.desc->dim[2]), blur_row, &(blur_job){ f, stride_of(s->node) });
    return STRATA_OK;
}
static const strata_kernel_def on_cpu = {
    .name = "blur_pool.rows", .op = &blur_pool, .layouts = 1 << STRATA_NHWC, .emit = emit_cpu };

/* On Vulkan: an invocation for each element of the result. The text is compiled when it is first used. */
static const strata_vk_shader shader = { .name = "blur_pool", .bindings = 2, .glsl =
    "#version 450\n"
    "layout(local_size_x = 256) in;\n"
    "layout(push_constant) uniform Push { int count, channels, h, w, oh, ow, stride_y, stride_x; };\n"
    "layout(binding = 0) readonly buffer X { float x[]; };\n"
    "layout(binding = 1) writeonly buffer Y { float y[]; };\n"
    "int reflected(int i, int n) { return n - 1 - abs(n - 1 - abs(i)); }\n"
    "void main() {\n"
    "    int k = int((gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 256 + gl_LocalInvocationID.x);\n"
    "    if (k >= count) return;\n"
    "    int c = k % channels, j = k / channels % ow * stride_x, i = k / channels / ow % oh * stride_y;\n"
    "    int image = k / channels / ow / oh * h;\n"
    "    float sum = 0;\n"
    "    for (int r = -1; r <= 1; r++) for (int s = -1; s <= 1; s++)\n"
    "        sum += float((2 - abs(r)) * (2 - abs(s))) *\n"
    "               x[((image + reflected(i + r, h)) * w + reflected(j + s, w)) * channels + c];\n"
    "    y[k] = sum / 16;\n"
    "}\n" };
static strata_status emit_vulkan(const strata_step *s, const strata_frame *f, strata_error *err)
{
    const int64_t     *x = f->in[0].desc->dim, *y = f->out.desc->dim;
    const int          push[] = { (int)strata_count(f->out.desc), (int)x[1], (int)x[2], (int)x[3], (int)y[2], (int)y[3],
                                  stride_of(s->node)[0], stride_of(s->node)[1] };
    strata_vk_dispatch d = { .shader = &shader };
    strata_vk_read(&d, 0);
    strata_vk_write(&d);
    strata_vk_push(&d, push, sizeof push);
    strata_vk_cover(&d, (uint64_t)push[0]);
    return strata_vk_emit(s, f, &d, err);
}
static const strata_kernel_def on_vulkan = { .name = "blur_pool.window", .op = &blur_pool, .layouts = 1 << STRATA_NHWC,
    .accepts = strata_vk_fits, .prepare = strata_vk_prepare, .release = strata_vk_release, .emit = emit_vulkan };

static strata_status init(strata_context *ctx, strata_error *err)
{
    STRATA_TRY(strata_register_op(ctx, &blur_pool, err));
    STRATA_TRY(strata_register_kernel(ctx, "cpu", &on_cpu, err));
    return strata_register_kernel(ctx, "vulkan", &on_vulkan, err);
}
static const char *const cases[] = { /* for strata doctor */
    "graph \"even\" { input %x : f32[2,5,8,14]  %y = blur_pool(%x) : f32[2,5,4,7]  output \"y\" = %y }",
    "graph \"odd\" { input %x : f32[1,3,2,11]  %y = blur_pool(%x) {stride=[1,3]} : f32[1,3,2,4]  output \"y\" = %y }", NULL };
const strata_plugin_def strata_plugin = { .abi = STRATA_ABI, .name = "blur_pool", .doc = "Down-sampling without aliasing.",
                                          .init = init, .cases = cases };
