/* Programs: passes, devices, placement, parts; and what can be asked about the result. */
#include "program.h"

#include "../graph/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static strata_status compile(strata_program *p, const strata_program_options *o, strata_error *err)
{
    strata_graph *g = p->graph;
    STRATA_TRY(strata_graph_run_passes(g, o->pipeline, o->after_pass, o->after_pass_user, err));
    double start   = now_ms();
    bool   changed = false;
    STRATA_TRY(strata_graph_refresh(g, err));
    strata_graph_prune(g, &changed);
    if (o->fallback_cpu)
        STRATA_TRY(strata_keep_spare(p, err));
    p->falls_back = o->fallback_cpu;
    STRATA_TRY(strata_open_devices(p, o->device, o->threads, o->precision, err));
    STRATA_TRY(strata_place_nodes(p, o->strict_device, err));
    STRATA_TRY(strata_graph_validate(g, err));
    if (o->after_pass)
        STRATA_TRY(o->after_pass(o->after_pass_user, "place", g, true, now_ms() - start, err));
    STRATA_TRY(strata_cut_batch(p, err));
    return strata_compile_parts(p, err);
}

strata_status strata_program_create(strata_graph *g, const strata_program_options *options, strata_program **out,
                                    strata_error *err)
{
    static const strata_program_options defaults = { 0 };
    strata_program                     *p        = calloc(1, sizeof *p);
    if (!p) {
        strata_graph_destroy(g);
        return strata_fail(err, STRATA_NOMEM, "no memory for a program");
    }
    atomic_init(&p->references, 1);
    pthread_mutex_init(&p->spare_lock, NULL);
    p->graph = p->piece  = g;
    p->pieces            = 1;
    p->exact             = options && options->exact;
    p->wanted_piece      = options ? options->piece : 0;
    p->ctx               = g->ctx;
    strata_error  why    = { 0 };
    strata_status status = compile(p, options ? options : &defaults, &why);
    if (status == STRATA_OK) {
        *out = p;
        return status;
    }
    if (strata_may_fall_back(p, status))
        status = strata_fall_back(p, why.text, out, err);
    else if (err)
        *err = why;
    strata_program_unref(p);
    return status;
}

strata_program *strata_program_ref(strata_program *p)
{
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void strata_program_unref(strata_program *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1)
        return;
    for (int i = 0; i < p->step_count; i++)
        if (p->steps[i].kernel->release)
            p->steps[i].kernel->release(&p->steps[i]);
    strata_close_devices(p);
    free(p->place);
    free(p->steps);
    free(p->workspace);
    free(p->parts);
    free(p->transfers);
    if (p->piece != p->graph)
        strata_graph_destroy(p->piece);
    strata_graph_destroy(p->graph);
    strata_graph_destroy(p->spare);
    strata_program_unref(p->instead);
    pthread_mutex_destroy(&p->spare_lock);
    free(p);
}

const strata_graph *strata_program_graph(const strata_program *p) { return p->graph; }

void strata_program_get_info(const strata_program *p, strata_program_info *out)
{
    *out = (strata_program_info){ .weight_bytes = p->weight_bytes, .parts = p->part_count, .steps = p->step_count,
                                  .fallback_steps = p->fallback_count, .pieces = p->pieces, .threads = p->threads,
                                  .precision = p->device[0].dtype };
    for (int i = 0; i < p->device_count; i++)
        out->arena_bytes += p->device[i].arena;
    const strata_graph *g = p->graph;
    for (int i = 0; i < g->inputs.count; i++)
        out->tensor_bytes += strata_bytes(&g->inputs.at[i]->desc);
    for (int i = 0; i < g->outputs.count; i++)
        out->tensor_bytes += strata_bytes(&g->outputs.at[i].node->desc);
    size_t running  = out->weight_bytes + out->arena_bytes + out->tensor_bytes + strata_spare_bytes(p);
    out->peak_bytes = (running > p->packing_peak ? running : p->packing_peak) + strata_arena_bytes(&g->arena);
    if (p->piece != g)
        out->peak_bytes += strata_arena_bytes(&p->piece->arena);
    snprintf(out->device, sizeof out->device, "%s:%d %s", p->device[0].info.backend, p->device[0].info.index,
             p->device[0].info.name);
}

/* ---- Printing ---------------------------------------------------------------------------------------------- */

typedef struct plan_comment {
    const strata_program *p;
    char                  text[256];
} plan_comment;

static size_t put_count(char *buf, size_t size, uint64_t n)
{
    static const char *const unit[] = { "", "k", "M", "G", "T" };
    double                   value  = (double)n;
    int                      u      = 0;
    while (value >= 1000 && u < 4)
        value /= 1000, u++;
    return (size_t)snprintf(buf, size, u ? " %.1f%s" : " %.0f%s", value, unit[u]);
}

static const char *comment(void *user, const strata_node *n)
{
    plan_comment      *c     = user;
    const value_place *place = &c->p->place[n->id];
    c->text[0]               = 0;
    if (strata_node_is_source(n))
        return c->text;
    size_t at = (size_t)snprintf(c->text, sizeof c->text, "%s %s", c->p->device[n->device].backend->name,
                                 strata_is_elided(n)      ? "view"
                                 : strata_is_transfer(n) ? "transfer"
                                                         : n->kernel->name);
    if (at < sizeof c->text && n->op->macs)
        at += put_count(c->text + at, sizeof c->text - at, n->op->macs(n));
    if (at < sizeof c->text && place->kind == PLACE_ARENA)
        snprintf(c->text + at, sizeof c->text - at, " @0x%06zx%s", place->offset,
                 place->root != (int)n->id && !strata_is_elided(n) ? " in place" : "");
    return c->text;
}

strata_status strata_program_print(const strata_program *p, FILE *to, strata_error *err)
{
    plan_comment c = { .p = p };
    if (p->pieces > 1)
        fprintf(to, "# A batch of %lld in %d pieces, one after the other: this is the graph of one.\n",
                (long long)p->graph->inputs.at[0]->desc.dim[0], p->pieces);
    return strata_print_text(p->piece, to, comment, &c, err);
}
