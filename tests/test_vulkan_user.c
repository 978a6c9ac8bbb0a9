/* Kernels with shaders of their own, as SPIR-V and as text: what they compute, what memory they may see, and that a wrong
 * one is an error with a sentence, under the validation layers.
 *
 * usage: test_vulkan_user GLSL_MODULE: the compiler for texts; "" where the build has none */
#include "vulkan_net.h"

#include "../backends/vulkan/pipeline.h"

#include <strata/vulkan.h>

static const char *compiler;

/* y = a x + b by element, in two dispatches through the workspace: a from a specialization constant, b from a push
 * constant. The second one has a binding too much, which it leaves alone. */
static const char scale_text[] =
    "#version 450\n"
    "layout(local_size_x = 256) in;\n"
    "layout(constant_id = 0) const float FACTOR = 0;\n"
    "layout(push_constant) uniform Push { uint count; };\n"
    "layout(binding = 0) readonly buffer X { float x[]; };\n"
    "layout(binding = 1) writeonly buffer Y { float y[]; };\n"
    "void main() {\n"
    "    uint i = gl_GlobalInvocationID.x;\n"
    "    if (i < count) y[i] = FACTOR * x[i];\n"
    "}\n";
static const char shift_text[] =
    "#version 450\n"
    "layout(local_size_x = 256) in;\n"
    "layout(push_constant) uniform Push { uint count; float shift; };\n"
    "layout(binding = 0) readonly buffer X { float x[]; };\n"
    "layout(binding = 1) readonly buffer U { float unused[]; };\n"
    "layout(binding = 2) writeonly buffer Y { float y[]; };\n"
    "void main() {\n"
    "    uint i = gl_GlobalInvocationID.x;\n"
    "    if (i < count) y[i] = x[i] + shift;\n"
    "}\n";
static const strata_vk_shader scale = { .name = "scale", .bindings = 2, .glsl = scale_text };
static const strata_vk_shader shift = { .name = "shift", .bindings = 3, .glsl = shift_text };

static strata_status prepare_affine(strata_step *s, strata_error *e)
{
    s->workspace = (size_t)strata_count(&s->node->desc) * sizeof(float);
    return strata_vk_prepare(s, e);
}

static strata_status emit_affine(const strata_step *s, const strata_frame *f, strata_error *e)
{
    const strata_scalar_attrs *a = s->node->attrs;
    struct {
        uint32_t count;
        float    shift;
    } push = { (uint32_t)strata_count(f->out.desc), (float)a->value };
    const float two = 2;
    uint32_t    bits;
    memcpy(&bits, &two, sizeof bits);
    strata_vk_dispatch first = { .shader = &scale }, second = { .shader = &shift };
    strata_vk_read(&first, 0);
    strata_vk_scratch(&first, 0, s->workspace, false, true);
    strata_vk_spec(&first, bits);
    strata_vk_push(&first, &push, sizeof push.count);
    strata_vk_cover(&first, push.count);
    STRATA_TRY(strata_vk_emit(s, f, &first, e));
    strata_vk_scratch(&second, 0, s->workspace, true, false);
    strata_vk_unused(&second);
    strata_vk_write(&second);
    strata_vk_push(&second, &push, sizeof push);
    strata_vk_cover(&second, push.count);
    return strata_vk_emit(s, f, &second, e);
}

static const strata_kernel_def affine = { .name = "affine.user", .op = &strata_op_add_scalar,
                                          .layouts = 1 << STRATA_NHWC | 1 << STRATA_NCHW, .accepts = strata_vk_fits,
                                          .prepare = prepare_affine, .release = strata_vk_release, .emit = emit_affine };

/* ---- One node on the device ---------------------------------------------------------------------- */

enum { COUNT = 3 * 7 * 5 };

/* %y = add_scalar(%x) by `kernel`; the status of the first failure, with its text in err. */
static strata_status run_one(vk_config config, const strata_kernel_def *kernel, float *x, float *y)
{
    static const char text[] = "graph \"one\" { input %x : f32[1,3,7,5]  %y = add_scalar(%x) {value=0.5} : f32[1,3,7,5]  "
                               "output \"y\" = %y }";
    char              device[32];
    strata_graph     *g;
    strata_program   *program = NULL;
    strata_session   *session = NULL;
    strata_context   *ctx = vulkan_context_with(config);
    OK(strata_register_kernel(ctx, "vulkan", kernel, &err));
    OK(strata_graph_parse(ctx, "one", text, sizeof text - 1, &g, &err));
    strata_tensor *in = random_tensor(strata_graph_input(g, 0).desc, 5, -1, 1), *out = NULL;
    strata_status  status = strata_program_create(
         g, &(strata_program_options){ .device = vulkan_name(ctx, device), .threads = 1 }, &program, &err);
    if (status == STRATA_OK)
        status = strata_session_create(program, &session, &err);
    if (status == STRATA_OK)
        status = strata_session_alloc_outputs(session, &out, &err);
    for (int again = 0; again < 2 && status == STRATA_OK; again++)
        status = strata_session_run(session, &in, &out, &err);
    if (status == STRATA_OK) {
        memcpy(x, strata_tensor_data(in), COUNT * sizeof *x);
        memcpy(y, strata_tensor_data(out), COUNT * sizeof *y);
    }
    strata_session_destroy(session);
    strata_program_unref(program);
    strata_tensor_unref(in);
    strata_tensor_unref(out);
    strata_context_destroy(ctx);
    return status;
}

static void text_runs(void **state)
{
    (void)state;
    if (!*compiler)
        skip();
    float     x[COUNT], y[COUNT];
    const int before = vulkan_messages;
    OK(run_one((vk_config){ .glsl_library = compiler, .poison = true }, &affine, x, y));
    for (int i = 0; i < COUNT; i++)
        assert_true(y[i] == 2 * x[i] + 0.5f);
    assert_int_equal(vulkan_messages, before);
}

/* ---- SPIR-V: a built-in shader under another name ------------------------------------------------ */

static strata_vk_shader words = { .name = "words", .bindings = 2 };

static strata_status emit_words(const strata_step *s, const strata_frame *f, strata_error *e)
{
    struct {
        uint32_t count;
        float    value;
    } push = { (uint32_t)strata_count(f->out.desc), 0 };
    strata_vk_dispatch d = { .shader = &words };
    strata_vk_read(&d, 0);
    strata_vk_write(&d);
    strata_vk_spec(&d, STRATA_ACT_RELU);
    strata_vk_push(&d, &push, sizeof push);
    strata_vk_cover(&d, push.count);
    return strata_vk_emit(s, f, &d, e);
}

static const strata_kernel_def relu_words = { .name = "relu.words", .op = &strata_op_add_scalar,
                                              .layouts = 1 << STRATA_NHWC | 1 << STRATA_NCHW, .emit = emit_words };

static void words_run(void **state)
{
    (void)state;
    float     x[COUNT], y[COUNT];
    const int before = vulkan_messages;
    OK(run_one((vk_config){ 0 }, &relu_words, x, y));
    for (int i = 0; i < COUNT; i++)
        assert_true(y[i] == (x[i] > 0 ? x[i] : 0));
    assert_int_equal(vulkan_messages, before);
}

/* ---- What is wrong ------------------------------------------------------------------------------- */

static void refused(vk_config config, const strata_kernel_def *kernel, strata_status status, const char *text)
{
    float x[COUNT], y[COUNT];
    assert_int_equal(run_one(config, kernel, x, y), status);
    if (!strstr(err.text, text) || !strstr(err.text, kernel->name))
        fail_msg("no '%s' in: %s", text, err.text);
}

static void wrong_shaders(void **state)
{
    (void)state;
    static const uint32_t no_spirv[8] = { 1, 2, 3 };
    refused((vk_config){ .glsl_library = "/nowhere/libglsl.so" }, &affine, STRATA_UNSUPPORTED,
            "glslangValidator -V --target-env vulkan1.1");
    refused((vk_config){ .glsl_library = "libm.so.6" }, &affine, STRATA_UNSUPPORTED, "does not define 'strata_glsl'");
    words.code = no_spirv, words.bytes = sizeof no_spirv;
    refused((vk_config){ 0 }, &relu_words, STRATA_FORMAT, "shader words is no SPIR-V");
    words.code = vk_shader_unary.code, words.bytes = vk_shader_unary.bytes - 2;
    refused((vk_config){ 0 }, &relu_words, STRATA_FORMAT, "shader words is no SPIR-V");
    words.bytes = vk_shader_unary.bytes / 8 * 4;
    refused((vk_config){ 0 }, &relu_words, STRATA_FORMAT, "shader words is damaged: ");
    words.bytes = vk_shader_unary.bytes;
    if (!*compiler)
        return;
    words.code = NULL;
    words.glsl = "#version 450\nlayout(local_size_x = 1) in;\nvoid main() { int i = nothing; }\n";
    refused((vk_config){ .glsl_library = compiler }, &relu_words, STRATA_FORMAT, "0:3: 'nothing' : undeclared identifier");
    words.glsl = "";
    refused((vk_config){ .glsl_library = compiler }, &relu_words, STRATA_FORMAT, "shader words: its text does not compile");
    words.code = vk_shader_unary.code;
}

static void damage(uint32_t *code, size_t at, uint32_t word, const char *text)
{
    char           problem[128] = "";
    const uint32_t was = code[at];
    code[at] = word;
    assert_false(vk_spirv_check(code, vk_shader_unary.bytes, vk_shader_unary.bindings, problem, sizeof problem));
    if (!strstr(problem, text))
        fail_msg("no '%s' in: %s", text, problem);
    code[at] = was;
}

/* A module that is cut off anywhere, or whose structure was overwritten, does not reach the driver; all of ours do. */
static void damaged_words(void **state)
{
    (void)state;
    char      problem[128];
    uint32_t *code = malloc(vk_shader_unary.bytes);
    assert_non_null(code);
    memcpy(code, vk_shader_unary.code, vk_shader_unary.bytes);
    for (size_t bytes = 0; bytes < vk_shader_unary.bytes; bytes++)
        assert_false(vk_spirv_check(code, bytes, vk_shader_unary.bindings, problem, sizeof problem));
    for (int i = 0; vk_shaders[i]; i++)
        assert_true(vk_spirv_check(vk_shaders[i]->code, vk_shaders[i]->bytes, vk_shaders[i]->bindings, problem, sizeof problem));
    damage(code, 0, 0x03022307, "is no SPIR-V"); /* of the other byte order */
    damage(code, 1, 0x00010600, "of version 1.6");
    damage(code, 3, 0, "0 ids");
    damage(code, 4, 1, "schema 1");
    damage(code, 5, code[5] & 0xffff, "an instruction of 0 words at word 5");
    damage(code, 5, 0xffff0000 | code[5], "an instruction of 65535 words at word 5");
    for (size_t at = 5; at < vk_shader_unary.bytes / 4; at += code[at] >> 16)
        if ((code[at] & 0xffff) == 15) /* OpEntryPoint */
            damage(code, at + 1, 4, "no compute shader"); /* Fragment */
    assert_false(vk_spirv_check(code, vk_shader_unary.bytes, 1, problem, sizeof problem));
    assert_string_equal(problem, "has a binding 1, and is said to have 1");
    free(code);
}

static strata_vk_dispatch described; /* what emit_described emits */

static strata_status emit_described(const strata_step *s, const strata_frame *f, strata_error *e)
{
    return strata_vk_emit(s, f, &described, e);
}

static const strata_kernel_def wrong = { .name = "relu.described", .op = &strata_op_add_scalar,
                                         .layouts = 1 << STRATA_NHWC | 1 << STRATA_NCHW, .emit = emit_described };

static void wrong_descriptions(void **state)
{
    (void)state;
    described = (strata_vk_dispatch){ 0 };
    refused((vk_config){ 0 }, &wrong, STRATA_INVALID, "a dispatch needs a shader");
    described.shader = &words;
    strata_vk_read(&described, 0);
    refused((vk_config){ 0 }, &wrong, STRATA_INVALID, "shader words has 2 bindings and 1 are described");
    strata_vk_dispatch base = described;
    for (int i = 0; i < 20; i++)
        strata_vk_write(&described);
    refused((vk_config){ 0 }, &wrong, STRATA_INVALID, "21 are described");
    described = base;
    strata_vk_read(&described, 3); /* there is no such operand */
    refused((vk_config){ 0 }, &wrong, STRATA_INVALID, "nothing behind binding 1");
    described = base;
    strata_vk_scratch(&described, 0, 256, true, true); /* nor a workspace */
    refused((vk_config){ 0 }, &wrong, STRATA_INVALID, "nothing behind binding 1");
    described = base;
    strata_vk_write(&described);
    for (int i = 0; i < 17; i++)
        strata_vk_spec(&described, 1);
    refused((vk_config){ 0 }, &wrong, STRATA_INVALID, "17 specialization constants; 16 are possible");
    described.spec_count = 1;
    strata_vk_push(&described, described.push, 132);
    refused((vk_config){ 0 }, &wrong, STRATA_INVALID, "132 bytes of push constants");
    described.push_bytes = 6;
    refused((vk_config){ 0 }, &wrong, STRATA_INVALID, "6 bytes of push constants");
}

/* ---- Grids --------------------------------------------------------------------------------------- */

static void grids(void **state)
{
    (void)state;
    static const struct { uint64_t invocations; uint32_t x, y; } rows[] = {
        { 0, 0, 1 }, { 1, 1, 1 }, { 256, 1, 1 }, { 257, 2, 1 }, { 65535 * 256, 65535, 1 }, { 65535 * 256 + 1, 32768, 2 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        strata_vk_dispatch d = { 0 };
        strata_vk_cover(&d, rows[i].invocations);
        assert_int_equal(d.groups[0], rows[i].x);
        assert_int_equal(d.groups[1], rows[i].y);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids),         cmocka_unit_test(words_run),          cmocka_unit_test(text_runs),
        cmocka_unit_test(wrong_shaders), cmocka_unit_test(damaged_words), cmocka_unit_test(wrong_descriptions),
    };
    words.code = vk_shader_unary.code;
    words.bytes = vk_shader_unary.bytes;
    compiler = argc > 1 ? argv[1] : "";
    vulkan_need_device();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
