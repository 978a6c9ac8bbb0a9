/* glsl_module.c: glslang as the module that glsl.h describes. */
#include "glsl.h"

#include <glslang/Include/glslang_c_interface.h>
#include <glslang/Public/resource_limits_c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const glslang_messages_t RULES = (glslang_messages_t)(GLSLANG_MSG_SPV_RULES_BIT | GLSLANG_MSG_VULKAN_RULES_BIT);

/* The lines of glslang that say what is wrong, without the last one, which counts them. */
static void say(char *log, size_t size, const char *text)
{
    static const char last[] = " compilation errors.";
    size_t            used = 0;
    while (*text && used < size) {
        const size_t length = strcspn(text, "\n");
        if (length > 0 && !memmem(text, length, last, sizeof last - 1))
            used += (size_t)snprintf(log + used, size - used, "%s%.*s", used ? "\n" : "", (int)length, text);
        text += length + (text[length] != '\0');
    }
}

static uint32_t *generate(glslang_shader_t *shader, size_t *bytes, char *log, size_t log_size)
{
    glslang_program_t *program = glslang_program_create();
    uint32_t          *words = NULL;
    glslang_program_add_shader(program, shader);
    if (glslang_program_link(program, RULES)) {
        glslang_program_SPIRV_generate(program, GLSLANG_STAGE_COMPUTE);
        *bytes = glslang_program_SPIRV_get_size(program) * sizeof *words;
        words = malloc(*bytes);
        if (words)
            glslang_program_SPIRV_get(program, words);
        else
            snprintf(log, log_size, "no memory for %zu bytes", *bytes);
    } else {
        say(log, log_size, glslang_program_get_info_log(program));
    }
    glslang_program_delete(program);
    return words;
}

static uint32_t *compile(const char *text, size_t *bytes, char *log, size_t log_size)
{
    const glslang_input_t input = { .language = GLSLANG_SOURCE_GLSL,
                                    .stage = GLSLANG_STAGE_COMPUTE,
                                    .client = GLSLANG_CLIENT_VULKAN,
                                    .client_version = GLSLANG_TARGET_VULKAN_1_1,
                                    .target_language = GLSLANG_TARGET_SPV,
                                    .target_language_version = GLSLANG_TARGET_SPV_1_3,
                                    .code = text,
                                    .default_version = 450,
                                    .default_profile = GLSLANG_NO_PROFILE,
                                    .messages = RULES,
                                    .resource = glslang_default_resource() };
    glslang_shader_t *shader = glslang_shader_create(&input);
    uint32_t         *words = NULL;
    *log = '\0';
    if (glslang_shader_preprocess(shader, &input) && glslang_shader_parse(shader, &input))
        words = generate(shader, bytes, log, log_size);
    else
        say(log, log_size, glslang_shader_get_info_log(shader));
    glslang_shader_delete(shader);
    if (!words && !*log)
        snprintf(log, log_size, "glslang gives no reason");
    return words;
}

static bool open(void) { return glslang_initialize_process() != 0; }
static void close(void) { glslang_finalize_process(); }

extern const vk_glsl_module strata_glsl;
__attribute__((visibility("default"))) const vk_glsl_module strata_glsl = {
    .version = STRATA_VERSION, .open = open, .close = close, .compile = compile
};
