/* Plug-ins: shared objects that register what they define.
 *
 * The order of steps makes a refusal harmless. The object is opened with all its symbols resolved; what it says about
 * the headers it was built with is compared before any of its code is called; the registries are copied, then its init
 * fills them; when init fails the copies are put back. What an init has added is the difference between the two, so
 * nobody has to keep books while registering. */
#include "context.h"

#include <strata/plugin.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define XX(type) #type,
static const char *const struct_names[] = { STRATA_ABI_MAP(XX) };
#undef XX

static strata_status check_abi(const char *path, const strata_abi *theirs, strata_error *err)
{
    static const strata_abi ours = STRATA_ABI;
    if (theirs->version != ours.version || theirs->structs != ours.structs)
        return strata_fail(err, STRATA_FORMAT, "plug-in %s was built with headers of Strata %.32s, plug-in interface %u.%u; "
                           "this library is Strata %s, interface %u.%u. Build the plug-in again with its headers", path,
                           theirs->headers, theirs->version, theirs->structs, strata_version(), ours.version, ours.structs);
    for (int i = 0; i < STRATA_ABI_STRUCTS; i++)
        if (theirs->size[i] != ours.size[i])
            return strata_fail(err, STRATA_FORMAT, "plug-in %s was built with other headers, of Strata %.32s: its %s has %u "
                               "bytes, that of this library, Strata %s, has %u. Build the plug-in again with its headers",
                               path, theirs->headers, struct_names[i], theirs->size[i], strata_version(), ours.size[i]);
    return STRATA_OK;
}

/* A plug-in that is linked with another copy of the library would register there, under other addresses. */
static strata_status check_library(const char *path, void *handle, strata_error *err)
{
    static const char here = 0;
    Dl_info           theirs, ours;
    void             *symbol = dlsym(handle, "strata_register_op");
    if (!symbol || !dladdr(symbol, &theirs) || !dladdr(&here, &ours) || theirs.dli_fbase == ours.dli_fbase)
        return STRATA_OK;
    return strata_fail(err, STRATA_FORMAT, "plug-in %s uses the library %s, but it is loaded by %s", path, theirs.dli_fname,
                       ours.dli_fname);
}

static strata_status check_plugin(const char *path, void *handle, const strata_plugin_def **out, strata_error *err)
{
    const strata_plugin_def *def = dlsym(handle, "strata_plugin");
    if (!def)
        return strata_fail(err, STRATA_FORMAT, "%s is no plug-in of Strata: it defines no 'strata_plugin'", path);
    STRATA_TRY(check_abi(path, &def->abi, err));
    STRATA_TRY(check_library(path, handle, err));
    if (!def->name || !def->init)
        return strata_fail(err, STRATA_FORMAT, "plug-in %s needs a name and init", path);
    *out = def;
    return STRATA_OK;
}

/* ---- Registries before and after -------------------------------------------------------------------------- */

enum { REGISTRIES = 4 };
static const strata_part_kind kinds[REGISTRIES] = { STRATA_PART_OP, STRATA_PART_PASS, STRATA_PART_MODEL,
                                                    STRATA_PART_BACKEND };

typedef struct snapshot {
    strata_registry registry[REGISTRIES];
    int             kernel_count, plugin_count;
    strata_log_fn   log;
    void           *log_user;
} snapshot;

static strata_registry *registry_of(strata_context *ctx, int i)
{
    strata_registry *const all[REGISTRIES] = { &ctx->ops, &ctx->passes, &ctx->models, &ctx->backends };
    return all[i];
}

static void free_snapshot(snapshot *before)
{
    for (int i = 0; i < REGISTRIES; i++)
        free(before->registry[i].def);
}

static strata_status take_snapshot(strata_context *ctx, snapshot *out, strata_error *err)
{
    *out = (snapshot){ .kernel_count = ctx->kernel_count, .plugin_count = ctx->plugin_count, .log = ctx->log,
                       .log_user = ctx->log_user };
    for (int i = 0; i < REGISTRIES; i++) {
        const strata_registry *r = registry_of(ctx, i);
        const void           **def = malloc(((size_t)r->count + 1) * sizeof *def);
        if (!def) {
            free_snapshot(out);
            return strata_fail(err, STRATA_NOMEM, "no memory to load a plug-in");
        }
        if (r->count > 0)
            memcpy(def, r->def, (size_t)r->count * sizeof *def);
        out->registry[i] = (strata_registry){ def, r->count, r->count + 1 };
    }
    return STRATA_OK;
}

static void close_from(strata_context *ctx, int first)
{
    while (ctx->plugin_count > first) {
        strata_loaded_plugin *p = &ctx->plugins[--ctx->plugin_count];
        free(p->parts);
        free(p->path);
        dlclose(p->handle);
    }
}

/* Takes the snapshot. A plug-in that loads others takes them along. */
static void roll_back(strata_context *ctx, snapshot *before)
{
    for (int i = 0; i < REGISTRIES; i++) {
        strata_registry *r = registry_of(ctx, i);
        free(r->def);
        *r = before->registry[i];
    }
    ctx->kernel_count = before->kernel_count;
    ctx->log          = before->log;
    ctx->log_user     = before->log_user;
    close_from(ctx, before->plugin_count);
}

/* What is in the context and not in the snapshot. Both are sorted, so one walk finds it. */
static strata_status find_parts(strata_context *ctx, const snapshot *before, strata_loaded_plugin *p, strata_error *err)
{
    int count = ctx->kernel_count - before->kernel_count;
    for (int i = 0; i < REGISTRIES; i++)
        count += registry_of(ctx, i)->count - before->registry[i].count;
    p->parts = calloc((size_t)count + 1, sizeof *p->parts);
    if (!p->parts)
        return strata_fail(err, STRATA_NOMEM, "no memory to load a plug-in");
    for (int i = 0; i < REGISTRIES; i++) {
        const strata_registry *now = registry_of(ctx, i), *then = &before->registry[i];
        for (int k = 0, old = 0; k < now->count; k++) {
            if (old < then->count && now->def[k] == then->def[old])
                old++;
            else
                p->parts[p->info.part_count++] = (strata_plugin_part){
                    .kind = kinds[i], .name = *(const char *const *)now->def[k], .def = now->def[k] };
        }
    }
    for (int i = before->kernel_count; i < ctx->kernel_count; i++)
        p->parts[p->info.part_count++] = (strata_plugin_part){
            .kind = STRATA_PART_KERNEL, .name = ctx->kernels[i].kernel->name, .backend = ctx->kernels[i].backend->name,
            .def = ctx->kernels[i].kernel };
    p->info.parts = p->parts;
    return STRATA_OK;
}

/* ---- Loading ------------------------------------------------------------------------------------------------ */

/* Registers, and adds *p to the context; both or nothing. */
static strata_status add_plugin(strata_context *ctx, const strata_plugin_def *def, strata_loaded_plugin *p,
                                strata_error *err)
{
    snapshot              before;
    STRATA_TRY(take_snapshot(ctx, &before, err));
    strata_error  own    = { .status = STRATA_OK }; /* of init, which may fail without filling it */
    strata_status status = def->init(ctx, &own);
    if (status != STRATA_OK)
        status = strata_fail(err, status, "plug-in %s: %s", p->path, *own.text ? own.text : strata_status_text(status));
    if (status == STRATA_OK)
        status = find_parts(ctx, &before, p, err);
    if (status == STRATA_OK) {
        size_t                size  = ((size_t)ctx->plugin_count + 1) * sizeof *ctx->plugins;
        strata_loaded_plugin *grown = realloc(ctx->plugins, size);
        if (grown) {
            ctx->plugins                      = grown;
            ctx->plugins[ctx->plugin_count++] = *p;
            free_snapshot(&before);
            return STRATA_OK;
        }
        status = strata_fail(err, STRATA_NOMEM, "no memory to load a plug-in");
    }
    free(p->parts);
    roll_back(ctx, &before);
    return status;
}

static bool is_loaded(const strata_context *ctx, const void *handle)
{
    for (int i = 0; i < ctx->plugin_count; i++)
        if (ctx->plugins[i].handle == handle)
            return true;
    return false;
}

strata_status strata_load_plugin(strata_context *ctx, const char *path, strata_error *err)
{
    if (!ctx || !path || !*path)
        return strata_fail(err, STRATA_INVALID, "a plug-in needs a path");
    strata_loaded_plugin p    = { .path = NULL };
    size_t               size = strlen(path) + 3; /* dlopen would look elsewhere for a name without '/' */
    p.path                    = malloc(size);
    if (!p.path)
        return strata_fail(err, STRATA_NOMEM, "no memory to load plug-in %s", path);
    snprintf(p.path, size, "%s%s", strchr(path, '/') ? "" : "./", path);
    p.handle = dlopen(p.path, RTLD_NOW | RTLD_LOCAL);
    if (!p.handle) {
        const char   *why    = dlerror();
        strata_status status = strata_fail(err, STRATA_IO, "cannot load plug-in %s: %s", path, why ? why : "unknown reason");
        free(p.path);
        return status;
    }
    const strata_plugin_def *def = NULL;
    const bool               again = is_loaded(ctx, p.handle);
    strata_status            status = again ? STRATA_OK : check_plugin(path, p.handle, &def, err);
    if (status == STRATA_OK && !again) {
        p.info = (strata_plugin_info){ .path = p.path, .name = def->name, .doc = def->doc, .cases = def->cases };
        status = add_plugin(ctx, def, &p, err);
    }
    if (status != STRATA_OK || again) { /* dlopen counts: the first handle stays */
        free(p.path);
        dlclose(p.handle);
    }
    return status;
}

void strata_close_plugins(strata_context *ctx)
{
    close_from(ctx, 0);
    free(ctx->plugins);
    ctx->plugins = NULL;
}

int strata_list_plugins(const strata_context *ctx, void (*fn)(void *user, const strata_plugin_info *info), void *user)
{
    for (int i = 0; fn && i < ctx->plugin_count; i++)
        fn(user, &ctx->plugins[i].info);
    return ctx->plugin_count;
}
