/* glsl.h: shaders given as text: how they become SPIR-V.
 *
 * The compiler, glslang, is C++ and has ten megabytes, so it is a module: a shared object beside the library, opened
 * when the first text has to be compiled (glsl.c). The module (glsl_module.c) exports one table.
 */
#ifndef STRATA_VULKAN_GLSL_H
#define STRATA_VULKAN_GLSL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VK_GLSL_LIBRARY "libstrata-glsl.so"
#define VK_GLSL_SYMBOL  "strata_glsl"

typedef struct vk_glsl_module {
    const char *version; /* of Strata: module and library fit when they are of one */
    bool (*open)(void);  /* before the first compile, and */
    void (*close)(void); /* after the last; they are counted */
    /* The words of a compute shader for Vulkan 1.1, from malloc; or NULL, and why in `log`. */
    uint32_t *(*compile)(const char *text, size_t *bytes, char *log, size_t log_size);
} vk_glsl_module;

#endif
