/* Registration and look-up. Every definition starts with its name, so one sorted array serves them all. */
#include "context.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *name_of(const void *def) { return *(const char *const *)def; }

/* The place of `name`, or where it would go. */
static int lower_bound(const strata_registry *r, const char *name)
{
    int low = 0, high = r->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (strcmp(name_of(r->def[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const void *strata_registry_find(const strata_registry *r, const char *name)
{
    int at = lower_bound(r, name);
    return at < r->count && strcmp(name_of(r->def[at]), name) == 0 ? r->def[at] : NULL;
}

const char *strata_registry_nearest(const strata_registry *r, const char *wanted, char *buf, size_t size)
{
    const char **names = calloc((size_t)r->count + 1, sizeof *names);
    if (size)
        buf[0] = 0;
    if (!names)
        return buf;
    for (int i = 0; i < r->count; i++)
        names[i] = name_of(r->def[i]);
    strata_nearest(wanted, names, r->count, 5, buf, size);
    free(names);
    return buf;
}

static bool good_name(const char *name)
{
    if (!name || !*name || strlen(name) > 90)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == strlen(name);
}

static strata_status add(strata_registry *r, const char *kind, const void *def, strata_error *err)
{
    if (!good_name(name_of(def)))
        return strata_fail(err, STRATA_INVALID, "the name of the %s '%s' must be of letters, digits, '_', '.' and '-', at most 90", kind, name_of(def));
    int at = lower_bound(r, name_of(def));
    if (at < r->count && strcmp(name_of(r->def[at]), name_of(def)) == 0)
        return strata_fail(err, STRATA_INVALID, "%s '%s' is registered already", kind, name_of(def));
    if (r->count == r->capacity) {
        int          capacity = r->capacity ? 2 * r->capacity : 64;
        const void **grown    = realloc(r->def, (size_t)capacity * sizeof *grown);
        if (!grown)
            return strata_fail(err, STRATA_NOMEM, "no memory to register %s '%s'", kind, name_of(def));
        r->def = grown, r->capacity = capacity;
    }
    memmove(r->def + at + 1, r->def + at, (size_t)(r->count - at) * sizeof *r->def);
    r->def[at] = def;
    r->count++;
    return STRATA_OK;
}

strata_status strata_context_create_empty(strata_context **out, strata_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return strata_fail(err, STRATA_NOMEM, "no memory for a context");
    pthread_mutex_init(&(*out)->lock, NULL); /* of the default kind: cannot fail */
    return STRATA_OK;
}

void *strata_context_keep(strata_context *ctx, const void *key, void *(*make)(void *arg), void *arg,
                          void (*destroy)(void *kept))
{
    pthread_mutex_lock(&ctx->lock);
    strata_kept *k = ctx->kept;
    while (k && k->key != key)
        k = k->before;
    if (!k && (k = malloc(sizeof *k))) {
        *k = (strata_kept){ ctx->kept, key, make(arg), destroy };
        if (k->object) {
            ctx->kept = k;
        } else {
            free(k);
            k = NULL;
        }
    }
    void *object = k ? k->object : NULL;
    pthread_mutex_unlock(&ctx->lock);
    return object;
}

void strata_context_destroy(strata_context *ctx)
{
    if (!ctx)
        return;
    while (ctx->kept) {
        strata_kept *k = ctx->kept;
        ctx->kept      = k->before;
        k->destroy(k->object);
        free(k);
    }
    pthread_mutex_destroy(&ctx->lock);
    free(ctx->ops.def);
    free(ctx->passes.def);
    free(ctx->models.def);
    free(ctx->backends.def);
    free(ctx->kernels);
    strata_close_plugins(ctx);
    free(ctx);
}

void strata_set_log(strata_context *ctx, strata_log_fn fn, void *user)
{
    ctx->log      = fn;
    ctx->log_user = user;
}

void strata_log(const strata_context *ctx, strata_log_level level, const char *fmt, ...)
{
    if (!ctx->log)
        return;
    char    text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ctx->log(ctx->log_user, level, text);
}

strata_status strata_register_op(strata_context *ctx, const strata_op_def *def, strata_error *err)
{
    STRATA_TRY(strata_check_op_def(def, err));
    return add(&ctx->ops, "op", def, err);
}

strata_status strata_register_pass(strata_context *ctx, const strata_pass_def *def, strata_error *err)
{
    STRATA_TRY(strata_check_pass_def(def, err));
    return add(&ctx->passes, "pass", def, err);
}

strata_status strata_register_model(strata_context *ctx, const strata_model_def *def, strata_error *err)
{
    STRATA_TRY(strata_check_model_def(def, err));
    return add(&ctx->models, "model", def, err);
}

strata_status strata_register_backend(strata_context *ctx, const strata_backend_def *def, strata_error *err)
{
    STRATA_TRY(strata_check_backend_def(def, err));
    return add(&ctx->backends, "backend", def, err);
}

strata_status strata_register_kernel(strata_context *ctx, const char *backend, const strata_kernel_def *def,
                                     strata_error *err)
{
    const strata_backend_def *owner = strata_registry_find(&ctx->backends, backend);
    if (!owner)
        return strata_fail(err, STRATA_NOT_FOUND, "no backend is named '%s'", backend);
    STRATA_TRY(strata_check_kernel_def(def, err));
    size_t               size  = ((size_t)ctx->kernel_count + 1) * sizeof *ctx->kernels;
    strata_extra_kernel *grown = realloc(ctx->kernels, size);
    if (!grown)
        return strata_fail(err, STRATA_NOMEM, "no memory to register kernel '%s'", def->name);
    ctx->kernels                      = grown;
    ctx->kernels[ctx->kernel_count++] = (strata_extra_kernel){ owner, def };
    return STRATA_OK;
}

const strata_op_def *strata_find_op(const strata_context *ctx, const char *name)
{
    return strata_registry_find(&ctx->ops, name);
}

const strata_model_def *strata_find_model_def(const strata_context *ctx, const char *name, strata_error *err)
{
    const strata_model_def *def = strata_registry_find(&ctx->models, name);
    if (!def) {
        char near[512];
        strata_registry_nearest(&ctx->models, name, near, sizeof near);
        strata_fail(err, STRATA_NOT_FOUND, "no model is named '%s'%s%s; `strata models` lists them all", name,
                    *near ? ". Nearest: " : "", near);
    }
    return def;
}

static strata_model_info info_of(const strata_model_def *def)
{
    return (strata_model_info){ def->name, def->family, def->doc, def->input, def->classes, def->has_features };
}

strata_status strata_find_model(const strata_context *ctx, const char *name, strata_model_info *out, strata_error *err)
{
    const strata_model_def *def = strata_find_model_def(ctx, name, err);
    if (!def)
        return STRATA_NOT_FOUND;
    *out = info_of(def);
    return STRATA_OK;
}

int strata_list_models(const strata_context *ctx, const char *pattern, bool features_only,
                       void (*fn)(void *user, const strata_model_info *info), void *user)
{
    int count = 0;
    for (int i = 0; i < ctx->models.count; i++) {
        const strata_model_def *def = ctx->models.def[i];
        if ((pattern && fnmatch(pattern, def->name, 0) != 0) || (features_only && !def->has_features))
            continue;
        strata_model_info info = info_of(def);
        if (fn)
            fn(user, &info);
        count++;
    }
    return count;
}

int strata_list_passes(const strata_context *ctx, void (*fn)(void *user, const char *name, const char *doc), void *user)
{
    for (int i = 0; fn && i < ctx->passes.count; i++) {
        const strata_pass_def *def = ctx->passes.def[i];
        fn(user, def->name, def->doc);
    }
    return ctx->passes.count;
}
