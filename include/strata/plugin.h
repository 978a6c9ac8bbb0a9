/* strata/plugin.h: what a shared object says of itself so that strata_load_plugin and --plugin take it.
 *
 *     #include <strata/plugin.h>
 *
 *     static strata_status init(strata_context *ctx, strata_error *err)
 *     {
 *         STRATA_TRY(strata_register_op(ctx, &blur_pool, err));
 *         return strata_register_kernel(ctx, "cpu", &blur_pool_cpu, err);
 *     }
 *
 *     const strata_plugin_def strata_plugin = {
 *         .abi = STRATA_ABI, .name = "blur_pool", .doc = "Anti-aliased pooling.", .init = init, .cases = cases,
 *     };
 *
 *     cc -shared -fPIC blur_pool.c $(pkg-config --cflags --libs strata) -o blur_pool.so
 *
 * A plug-in fits the library whose headers it was built with: STRATA_ABI writes down which these were, and another
 * library refuses it before calling anything. docs/adding-an-op.md and its neighbours walk through examples.
 */
#ifndef STRATA_PLUGIN_H
#define STRATA_PLUGIN_H

#include <strata/nn.h>
#include <strata/vulkan.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when something in these headers changes its meaning; what changes its size is noticed by itself. */
#define STRATA_ABI_VERSION 1

/* Every struct that a plug-in and the library both look into. XX(type) */
#define STRATA_ABI_MAP(XX)                                                                         \
    XX(strata_error) XX(strata_tensor_desc) XX(strata_input_record) XX(strata_model_info)          \
    XX(strata_create_options) XX(strata_feature) XX(strata_output) XX(strata_device_info)          \
    XX(strata_program_options) XX(strata_program_info) XX(strata_step_profile) XX(strata_node)     \
    XX(strata_operand_def) XX(strata_attr_def) XX(strata_ints) XX(strata_window) XX(strata_view)   \
    XX(strata_op_def) XX(strata_pass_def) XX(strata_model_args) XX(strata_model_def)               \
    XX(strata_step) XX(strata_frame) XX(strata_kernel_def) XX(strata_device_options)               \
    XX(strata_backend_def) XX(strata_conv2d_attrs) XX(strata_dense_attrs) XX(strata_pool_attrs)    \
    XX(strata_binary_attrs) XX(strata_reshape_attrs) XX(strata_transpose_attrs)                    \
    XX(strata_slice_attrs) XX(strata_pad_attrs) XX(strata_resize_attrs) XX(nn_conv2d_args)         \
    XX(nn_dense_args) XX(nn_norm_args) XX(nn_pool_args) XX(strata_vk_shader)                       \
    XX(strata_vk_binding) XX(strata_vk_dispatch)

#define XX(type) +1
enum { STRATA_ABI_STRUCTS = STRATA_ABI_MAP(XX) };
#undef XX

typedef struct strata_abi {  /* the first three members keep their places for ever */
    uint32_t    version;     /* STRATA_ABI_VERSION */
    uint32_t    structs;     /* STRATA_ABI_STRUCTS */
    const char *headers;     /* STRATA_VERSION_TEXT */
    uint32_t    size[STRATA_ABI_STRUCTS];
} strata_abi;

#define STRATA_ABI_SIZE_(type) (uint32_t)sizeof(type),
#define STRATA_ABI                                                                                 \
    { STRATA_ABI_VERSION, STRATA_ABI_STRUCTS, STRATA_VERSION_TEXT, { STRATA_ABI_MAP(STRATA_ABI_SIZE_) } }

typedef struct strata_plugin_def {
    strata_abi  abi;
    const char *name, *doc; /* doc: one sentence */
    /* Registers what the plug-in has. When it fails, what it has registered so far is taken back. */
    strata_status (*init)(strata_context *ctx, strata_error *err);
    /* Graph texts that `strata doctor` tries every part of the plug-in on: each op in a few shapes, each kernel, each
     * pattern that a pass looks for. Small ones: they run by the ops' definitions too. Parameters get noise, so there
     * may be no constants. NULL-terminated; NULL: none. */
    const char *const *cases;
} strata_plugin_def;

/* The entry point: every plug-in defines this. */
extern STRATA_API const strata_plugin_def strata_plugin;

#ifdef __cplusplus
}
#endif
#endif
