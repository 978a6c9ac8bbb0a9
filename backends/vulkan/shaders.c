/* shaders.c: the compiled shaders as data: shaders_spv.h is made by the build, an array NAME_spv for each. */
#include "pipeline.h"

#include "shaders_spv.h"

#define SHADER(name, count)                                                                                  \
    const vk_shader vk_shader_##name = { #name, name##_spv, sizeof name##_spv, count };
#include "shaders.def"
#undef SHADER

#define SHADER(name, count) &vk_shader_##name,
const vk_shader *const vk_shaders[] = {
#include "shaders.def"
    NULL
};
#undef SHADER
