/* shaders.c: the compiled shaders as data: shaders_spv.h is made by the build, an array NAME_spv for each, and
 * NAME_half_spv for the builds of float16. */
#include "pipeline.h"

#include "shaders_spv.h"

#define SINGLE(name, count)                                                                                  \
    const vk_shader vk_shader_##name = { #name, name##_spv, sizeof name##_spv, count, NULL };
#define SHADER(name, count)                                                                                  \
    static const vk_shader half_##name = { #name " of float16", name##_half_spv, sizeof name##_half_spv, count,   \
                                           NULL };                                                           \
    const vk_shader        vk_shader_##name = { #name, name##_spv, sizeof name##_spv, count, &half_##name };
#include "shaders.def"

#define SINGLE(name, count) &vk_shader_##name,
#define SHADER(name, count) &vk_shader_##name, &half_##name,
const vk_shader *const vk_shaders[] = {
#include "shaders.def"
    NULL
};
