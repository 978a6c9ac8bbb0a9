/* glsl.c: finds the module that compiles shaders given as text, and asks it. See glsl.h. */
#include "glsl.h"
#include "instance.h"

#include <dlfcn.h>
#include <string.h>

/* The library `name` in the folder of this one, which is where both are installed; then where the system looks. */
static void *open_library(const char *name)
{
    static const char here = 0;
    Dl_info           ours;
    char              path[1200];
    void             *library = NULL;
    if (!strchr(name, '/') && dladdr(&here, &ours) && ours.dli_fname && strchr(ours.dli_fname, '/')) {
        const int folder = (int)(strrchr(ours.dli_fname, '/') - ours.dli_fname);
        if (snprintf(path, sizeof path, "%.*s/%s", folder, ours.dli_fname, name) < (int)sizeof path)
            library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return library ? library : dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

static strata_status find_module(vk_instance *v, strata_error *err)
{
    const char *name = v->config.glsl_library ? v->config.glsl_library : VK_GLSL_LIBRARY;
    if (v->glsl)
        return STRATA_OK;
    void *library = open_library(name);
    if (!library) {
        const char *why = dlerror();
        return strata_fail(err, STRATA_UNSUPPORTED, "there is no compiler for GLSL text here (%s). Install that module of "
                           "Strata, or give the shader as SPIR-V: glslangValidator -V --target-env vulkan1.1 --vn NAME_spv "
                           "NAME.comp -o NAME.spv.h", why ? why : name);
    }
    const vk_glsl_module *module = dlsym(library, VK_GLSL_SYMBOL);
    strata_status         status = STRATA_OK;
    if (!module)
        status = strata_fail(err, STRATA_UNSUPPORTED, "%s does not define '%s'", name, VK_GLSL_SYMBOL);
    else if (strcmp(module->version, strata_version()) != 0)
        status = strata_fail(err, STRATA_UNSUPPORTED, "%s is of Strata %s, this library of %s; install them together", name,
                             module->version, strata_version());
    else if (!module->open())
        status = strata_fail(err, STRATA_UNSUPPORTED, "%s: the compiler does not start", name);
    if (status != STRATA_OK) {
        dlclose(library);
        return status;
    }
    v->glsl = module;
    v->glsl_library = library;
    return STRATA_OK;
}

strata_status vk_glsl_compile(vk_instance *v, const char *text, uint32_t **words, size_t *bytes, strata_error *err)
{
    char log[1024];
    STRATA_TRY(find_module(v, err));
    *words = v->glsl->compile(text, bytes, log, sizeof log);
    return *words ? STRATA_OK : strata_fail(err, STRATA_FORMAT, "its text does not compile:\n%s", log);
}

void vk_glsl_close(vk_instance *v)
{
    if (!v->glsl)
        return;
    v->glsl->close();
    dlclose(v->glsl_library);
    v->glsl = NULL;
}
