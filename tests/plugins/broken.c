/* Plug-ins that are wrong in one way each, chosen by -DBROKEN_<way>, for test_plugin.c and the tests of strata doctor:
 *
 *   ABI       built for another plug-in interface        HALF      fails after it has registered some parts
 *   SIZE      built with a struct of another size        SILENT    fails without a word
 *   SYMBOL    needs a function that Strata has not       NAMELESS  defines no entry point
 *   KERNEL    its kernel computes something else         CASELESS  has no case for its op
 *   TEXT      its case is no graph                       THREADS   its kernel depends on the number of threads
 *   PASS      its pass changes a value that keeps its name */
#include <strata/plugin.h>

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    (void)n, (void)out, (void)err;
    return STRATA_OK;
}

static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    for (int64_t i = 0; i < strata_count(out->desc); i++)
        out->data[i] = 2 * in[0].data[i];
    return STRATA_OK;
}

static const strata_op_def twice = {
    .name = "twice", .doc = "2x.", .operands = { { "x" } }, .infer = infer, .eval = eval };

static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    float factor = 2;
    (void)err;
#if defined BROKEN_KERNEL
    factor = 2.001f;
#elif defined BROKEN_THREADS
    factor += 1e-6f * (float)strata_cpu_threads(s);
#endif
    (void)s;
    for (int64_t i = 0; i < strata_count(f->out.desc); i++)
        f->out.data[i] = factor * f->in[0].data[i];
    return STRATA_OK;
}

static const strata_kernel_def twice_cpu = {
    .name = "twice.plain", .op = &twice, .layouts = 1 << STRATA_NCHW | 1 << STRATA_NHWC, .emit = emit };

static strata_node *rewrite(strata_builder *b, strata_node *n)
{
    return n->op == &twice ? nn_mul_scalar(b, n->in[0], 3) : n;
}

static const strata_pass_def thrice = { .name = "thrice", .doc = "Wrong.", .rewrite = rewrite };

static void build(strata_builder *b, const void *config, const strata_model_args *args)
{
    (void)config;
    nn_output(b, nn_image(b, args), "logits");
}

static const strata_model_def model = { .name = "nothing", .family = "nothing", .build = build,
                                        .input = { 8, 8, 3, { 0 }, { 1, 1, 1 }, STRATA_BILINEAR, 1 }, .classes = 1 };

static void mute(void *user, strata_log_level level, const char *text) { (void)user, (void)level, (void)text; }

static strata_status init(strata_context *ctx, strata_error *err)
{
    STRATA_TRY(strata_register_op(ctx, &twice, err));
    STRATA_TRY(strata_register_kernel(ctx, "cpu", &twice_cpu, err));
    STRATA_TRY(strata_register_pass(ctx, &thrice, err));
    STRATA_TRY(strata_register_model(ctx, &model, err));
    (void)mute;
#if defined BROKEN_HALF
    strata_set_log(ctx, mute, NULL);
    return strata_register_op(ctx, &strata_op_relu, err); /* the name is taken */
#elif defined BROKEN_SILENT
    return STRATA_NOMEM;
#elif defined BROKEN_SYMBOL
    extern strata_status strata_of_tomorrow(strata_context *);
    return strata_of_tomorrow(ctx);
#else
    return STRATA_OK;
#endif
}

#if defined BROKEN_CASELESS
#define CASE NULL
#elif defined BROKEN_TEXT
#define CASE "graph \"bad\" { input %x : f32[2,3]  %y = twice(%x) : f32[3,2]  output \"y\" = %y }"
#else
#define CASE "graph \"small\" { input %x : f32[2,3]  %y = twice(%x) : f32[2,3]  output \"y\" = %y }"
#endif
static const char *const cases[] = { CASE, NULL };

#define DEF { .abi = STRATA_ABI, .name = "broken", .init = init, .cases = cases }
#if defined BROKEN_NAMELESS
extern const strata_plugin_def strata_plug;
STRATA_API const strata_plugin_def strata_plug = DEF;
#elif defined BROKEN_ABI
const strata_plugin_def strata_plugin = { .abi = { STRATA_ABI_VERSION + 1, STRATA_ABI_STRUCTS, "9.9.9", { 0 } },
                                          .name = "broken", .init = init, .cases = cases };
#elif defined BROKEN_SIZE
#define SIZES(type) (uint32_t)sizeof(type),
const strata_plugin_def strata_plugin = { .abi = { STRATA_ABI_VERSION, STRATA_ABI_STRUCTS, "0.0.9",
                                                   { STRATA_ABI_MAP(SIZES)[0] = 12 } },
                                          .name = "broken", .init = init, .cases = cases };
#else
const strata_plugin_def strata_plugin = DEF;
#endif
