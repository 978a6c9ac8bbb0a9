/* When the device of a program fails, and the user's policy allows it, the CPU does the work: when the program or a session
 * is created, or in the middle of a run, whose request is then computed anew.
 *
 * For that a program keeps the optimised graph again, with its weights: placement adds copies to the first one, and kernels
 * let go of the constants that they have packed. */
#include "../graph/context.h"
#include "../graph/tensor.h"
#include "session.h"

#include <strata/ops.h>

#include <stdlib.h>
#include <string.h>

strata_status strata_keep_spare(strata_program *p, strata_error *err)
{
    return strata_copy_graph(p->graph, 0, &p->spare, err);
}

/* Whether the program keeps the constant in any case: its kernels read it where it lies. */
static bool is_kept(const strata_program *p, const strata_node *constant)
{
    const strata_node *own = strata_graph_find(p->piece, constant->name);
    return own && own->data == constant->data;
}

size_t strata_spare_bytes(const strata_program *p)
{
    size_t bytes = 0;
    pthread_mutex_lock((pthread_mutex_t *)&p->spare_lock);
    if (p->spare) {
        bytes = strata_arena_bytes(&p->spare->arena);
        for (int i = 0; i < p->spare->nodes.count; i++) {
            const strata_node *n = p->spare->nodes.at[i];
            if (strata_node_is_constant(n) && n->data && !is_kept(p, n))
                bytes += strata_tensor_memory(n->data, true);
        }
    }
    pthread_mutex_unlock((pthread_mutex_t *)&p->spare_lock);
    return bytes;
}

bool strata_may_fall_back(strata_program *p, strata_status status)
{
    return p->falls_back && (status == STRATA_DEVICE || status == STRATA_NOMEM || status == STRATA_UNSUPPORTED);
}

strata_status strata_fall_back(strata_program *p, const char *why, strata_program **out, strata_error *err)
{
    strata_status status = STRATA_OK;
    pthread_mutex_lock(&p->spare_lock);
    if (!p->instead && !p->spare)
        status = strata_fail(err, STRATA_DEVICE, "%s, and the CPU could not take over", why);
    else if (!p->instead) {
        const strata_program_options on_cpu = { .device = "cpu", .threads = p->threads, .pipeline = "",
                                                .exact = p->exact, .piece = p->wanted_piece };
        strata_graph                *g = p->spare;
        strata_log(p->ctx, STRATA_LOG_WARNING, "%s; the CPU takes over (--fallback cpu)", why);
        p->spare = NULL;
        status   = strata_program_create(g, &on_cpu, &p->instead, err);
    }
    if (status == STRATA_OK)
        *out = strata_program_ref(p->instead);
    pthread_mutex_unlock(&p->spare_lock);
    return status;
}

strata_status strata_session_run_instead(strata_session *s, const char *why, strata_error *err)
{
    if (!s->instead) {
        strata_program *cpu;
        STRATA_TRY(strata_fall_back(s->p, why, &cpu, err));
        strata_status status = strata_session_create(cpu, &s->instead, err);
        strata_program_unref(cpu);
        STRATA_TRY(status);
        strata_session_enable_profile(s->instead, s->profile);
    }
    return strata_session_run(s->instead, s->in, s->out, err);
}
