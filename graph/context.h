/* The registries: what a program of the user knows. Filled once, then read by any thread. */
#ifndef STRATA_GRAPH_CONTEXT_H
#define STRATA_GRAPH_CONTEXT_H

#include <strata/extend.h>

#include <pthread.h>

typedef struct strata_registry { /* definitions that begin with a name, sorted by it */
    const void **def;
    int          count, capacity;
} strata_registry;

typedef struct strata_extra_kernel {
    const strata_backend_def *backend;
    const strata_kernel_def  *kernel;
} strata_extra_kernel;

typedef struct strata_loaded_plugin {
    void               *handle; /* of dlopen */
    char               *path;
    strata_plugin_part *parts;
    strata_plugin_info  info;
} strata_loaded_plugin;

typedef struct strata_kept { /* see strata_context_keep */
    struct strata_kept *before;
    const void         *key;
    void               *object;
    void              (*destroy)(void *object);
} strata_kept;

struct strata_context {
    strata_registry      ops, passes, models, backends;
    strata_extra_kernel *kernels; /* registered by users, in order */
    int                  kernel_count;
    strata_loaded_plugin *plugins;
    int                   plugin_count;
    strata_log_fn        log;
    void                *log_user;
    pthread_mutex_t      lock; /* over kept */
    strata_kept         *kept; /* the latest first */
};

/* A context that knows nothing yet. */
strata_status strata_context_create_empty(strata_context **out, strata_error *err);
/* NULL when there is none. */
const void *strata_registry_find(const strata_registry *r, const char *name);
/* Closes the shared objects; nothing of theirs is called after it. */
void strata_close_plugins(strata_context *ctx);
/* Whether a definition has all that the library relies on; names are checked by registration itself. */
strata_status strata_check_op_def(const strata_op_def *def, strata_error *err);
strata_status strata_check_pass_def(const strata_pass_def *def, strata_error *err);
strata_status strata_check_model_def(const strata_model_def *def, strata_error *err);
strata_status strata_check_kernel_def(const strata_kernel_def *def, strata_error *err);
strata_status strata_check_backend_def(const strata_backend_def *def, strata_error *err);
/* The nearest names as text in buf. */
const char *strata_registry_nearest(const strata_registry *r, const char *wanted, char *buf, size_t size);

#endif
