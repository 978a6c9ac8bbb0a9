/* What there is to run on, and what the user meant by --device. */
#include "../graph/context.h"
#include "program.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_THREADS = 256 };

static int list_devices_of(strata_context *ctx, const strata_backend_def *backend,
                           void (*fn)(void *user, const strata_device_info *info), void *user)
{
    int count = backend->count(ctx);
    for (int k = 0; k < count; k++) {
        strata_device_info info = { .backend = backend->name, .index = k };
        backend->describe(ctx, k, &info);
        if (fn)
            fn(user, &info);
    }
    return count;
}

int strata_list_devices(strata_context *ctx, void (*fn)(void *user, const strata_device_info *info), void *user)
{
    int total = 0;
    for (int i = 0; i < ctx->backends.count; i++)
        total += list_devices_of(ctx, ctx->backends.def[i], fn, user);
    return total;
}

static int allowed_processors(void)
{
    cpu_set_t set;
    int       count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count;
}

typedef struct search {
    const char        *wanted;           /* index, name or UUID; NULL: the first usable one */
    bool               any_backend;      /* "auto" */
    bool               own_memory;       /* the backend's devices are not the processor itself */
    int                best_rank, matches;
    strata_device_info best;
    char               list[1024];
    size_t             used;
} search;

/* Real GPUs before everything, by kind and then memory; processors posing as GPUs never by themselves. */
static int rank_of(const strata_device_info *info)
{
    static const char *const order[] = { "virtual", "integrated", "discrete" };
    for (int i = 0; i < 3; i++)
        if (strcmp(info->type, order[i]) == 0)
            return 2 + i;
    return 1;
}

static bool is_number(const char *text) { return *text && strspn(text, "0123456789") == strlen(text); }

static bool matches(const search *s, const strata_device_info *info)
{
    if (!s->wanted)
        return true;
    if (is_number(s->wanted) && strlen(s->wanted) < 10)
        return info->index == atoi(s->wanted);
    return strcasecmp(s->wanted, info->uuid) == 0 || strcasestr(info->name, s->wanted);
}

/* A processor behind the interface of a GPU: right, and slow. Only for those who ask for it by name. */
static bool is_imitation(const search *s, const strata_device_info *info)
{
    return s->own_memory && strcmp(info->type, "cpu") == 0;
}

static void consider(void *user, const strata_device_info *info)
{
    search *s = user;
    if (s->any_backend && (strcmp(info->backend, "cpu") == 0 || rank_of(info) < 2))
        return;
    const char *note = *info->unusable       ? ", unusable: "
                       : is_imitation(s, info) ? ", a processor and no GPU: used only when named by index, name or UUID"
                                               : "";
    if (s->used < sizeof s->list)
        s->used += (size_t)snprintf(s->list + s->used, sizeof s->list - s->used, "%s%s:%d %s%s%s",
                                    s->used ? "; " : "", info->backend, info->index, info->name, note,
                                    info->unusable);
    if (!matches(s, info) || (!s->wanted && (*info->unusable || is_imitation(s, info))))
        return;
    int rank = rank_of(info);
    s->matches++;
    if (s->matches == 1 || rank > s->best_rank || (rank == s->best_rank && info->memory > s->best.memory))
        s->best = *info, s->best_rank = rank;
}

/* The device that the text means; a name that fits several is refused. Only the backend that is named is asked what it
 * has: loading a GPU's drivers takes longer than loading a network. */
static strata_status select_device(strata_context *ctx, const char *text, strata_device_info *out, strata_error *err)
{
    char   backend[64];
    size_t length = strcspn(text, ":");
    search s      = { .wanted = text[length] ? text + length + 1 : NULL };
    if (length == 0 || length >= sizeof backend)
        return strata_fail(err, STRATA_DEVICE, "'%s' is no device; `strata devices` lists what there is", text);
    memcpy(backend, text, length);
    backend[length] = 0;
    s.any_backend   = strcmp(text, "auto") == 0;
    if (s.any_backend) {
        for (int i = 0; i < ctx->backends.count; i++) {
            const strata_backend_def *def = ctx->backends.def[i];
            if (!def->may_have_gpu || def->may_have_gpu(ctx))
                list_devices_of(ctx, def, consider, &s);
        }
        if (s.matches > 0) {
            *out = s.best;
            return STRATA_OK;
        }
        return select_device(ctx, "cpu", out, err); /* no real GPU */
    }
    const strata_backend_def *def = strata_registry_find(&ctx->backends, backend);
    if (!def) {
        char   list[256];
        size_t used = 0;
        for (int i = 0; i < ctx->backends.count && used < sizeof list; i++)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                     *(const char *const *)ctx->backends.def[i]);
        return strata_fail(err, STRATA_DEVICE, "this build has no backend '%s'; it has: %s. Try --device cpu", backend, list);
    }
    s.own_memory = !def->host_memory;
    list_devices_of(ctx, def, consider, &s);
    if (s.matches == 0)
        return strata_fail(err, STRATA_DEVICE, "no device fits '%s'. There is: %s", text, s.used ? s.list : "none");
    if (s.matches > 1 && s.wanted)
        return strata_fail(err, STRATA_DEVICE, "'%s' fits %d devices: %s. Name one by index or UUID", text, s.matches, s.list);
    if (*s.best.unusable)
        return strata_fail(err, STRATA_DEVICE, "%s:%d (%s) cannot be used: %s", s.best.backend, s.best.index, s.best.name,
                           s.best.unusable);
    *out = s.best;
    return STRATA_OK;
}

static strata_status open_device(strata_program *p, const strata_device_info *info, strata_error *err)
{
    strata_context       *ctx     = p->graph->ctx;
    program_device       *d       = &p->device[p->device_count];
    strata_device_options options = { .threads = p->threads };
    *d = (program_device){ .backend = strata_registry_find(&ctx->backends, info->backend), .info = *info };
    STRATA_TRY(d->backend->open(ctx, info->index, &options, &d->device, err));
    p->device_count++;
    return STRATA_OK;
}

strata_status strata_open_devices(strata_program *p, const char *selector, int threads, strata_dtype precision,
                                  strata_error *err)
{
    strata_device_info chosen, cpu;
    if (threads < 0 || threads > MAX_THREADS)
        return strata_fail(err, STRATA_INVALID, "%d threads; 0 (all allowed) to %d are possible", threads, MAX_THREADS);
    p->threads = threads ? threads : allowed_processors();
    STRATA_TRY(select_device(p->graph->ctx, selector ? selector : "cpu", &chosen, err));
    STRATA_TRY(open_device(p, &chosen, err));
    program_device *first = &p->device[0];
    if (precision != STRATA_F32 && !first->backend->stores(first->device, precision))
        return strata_fail(err, STRATA_DEVICE, "%s:%d (%s) has no values of %s; leave out --precision", chosen.backend,
                           chosen.index, chosen.name, strata_dtype_name(precision));
    first->dtype = precision;
    if (strcmp(chosen.backend, "cpu") == 0)
        return STRATA_OK;
    STRATA_TRY(select_device(p->graph->ctx, "cpu", &cpu, err));
    return open_device(p, &cpu, err);
}

void strata_close_devices(strata_program *p)
{
    for (int i = p->device_count - 1; i >= 0; i--)
        p->device[i].backend->close(p->device[i].device);
    p->device_count = 0;
}
