/* pool.c: the claim-based thread pool of pool.h.
 *
 * A pool has a few places for jobs. The items of a job are cut into as many runs as the pool has threads, and each
 * thread begins with its own, then helps with the others'. Neighbouring items work on neighbouring memory, so what a
 * thread has written in one step of a network is mostly what it reads in the next, from its own cache.
 *
 * Each run has a ticket, the number of its items not claimed yet, under a generation that changes with every job:
 * (generation << 32) | left. A claim is a compare-and-swap that takes one off. Whoever claimed may read the job's other
 * fields, for the caller cannot leave before that item is counted in `done`; whoever failed to claim has read nothing but
 * tickets. So no lock is needed, and a job may live on its caller's stack. The generation keeps a slow compare-and-swap
 * from succeeding on a later job whose ticket happens to look the same.
 *
 * Idle workers spin for some tens of microseconds, the gap between two steps of a network, then sleep on a
 * condition variable. `posted` counts jobs: a worker sleeps only while it still has the value read before it
 * looked for work, and a caller that sees no sleeper after raising it need not take the lock. Both sides
 * write first and read the other's word second with sequential consistency, so one of them sees the other.
 *
 * A caller whose last items are with workers spins as long as such an item may take, then sleeps in the same way. Then
 * its processor has nothing to run, and may take over a worker that lost its own to another program in the middle of
 * an item: offering it again and again would keep it occupied.
 */
#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLACES = 8,          /* jobs at once that workers can see; further callers do their jobs alone */
    SPINS_IDLE = 2000,   /* looks for work before a worker sleeps */
    SPINS_FINISH = 5000, /* looks at `done` before the caller sleeps */
};

/* On a cache line of its own: tickets are what threads fight for. */
typedef struct run {
    _Alignas(64) _Atomic uint64_t ticket;
} run;

typedef struct place {
    _Alignas(64) atomic_int done;
    atomic_bool waiting; /* the caller sleeps until all is done */
    atomic_bool taken; /* by a caller */
    atomic_bool open;  /* all tickets are there: before, a worker might find another's run and miss its own */
    run        *runs;  /* [pool->runs] */
    int         count; /* from here: written by the caller before the tickets, read after a claim */
    cpu_pool_fn fn;
    void       *arg;
} place;

typedef struct worker {
    cpu_pool *pool;
    pthread_t thread;
    int       slot;
} worker;

struct cpu_pool {
    place           places[PLACES];
    _Atomic uint64_t posted;
    atomic_int      sleepers;
    atomic_bool     quit;
    pthread_mutex_t mutex;
    pthread_cond_t  wake, finished; /* for workers; for callers */
    int             threads; /* workers and the caller */
    int             runs;    /* of a job: the threads asked for */
    run            *tickets; /* [PLACES][runs] */
    worker         *workers; /* threads - 1 */
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* How many of `count` items come before run `r`. */
static int first_item(const cpu_pool *pool, int count, int r)
{
    return (int)((int64_t)count * r / pool->runs);
}

/* Takes one from a ticket: how many there were, or 0. */
static uint32_t claim(run *r)
{
    uint64_t t = atomic_load_explicit(&r->ticket, memory_order_relaxed);
    while ((uint32_t)t != 0)
        if (atomic_compare_exchange_weak_explicit(&r->ticket, &t, t - 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return (uint32_t)t;
    return 0;
}

/* Works at a job until nothing is left to claim. */
static bool help(cpu_pool *pool, place *p, int slot)
{
    int finished = 0, count = 0;
    for (int i = 0, r = slot; i < pool->runs; i++, r = r + 1 < pool->runs ? r + 1 : 0)
        for (uint32_t left; (left = claim(&p->runs[r])) != 0; finished++) {
            count = p->count;
            p->fn(p->arg, first_item(pool, count, r + 1) - (int)left, slot);
        }
    if (finished == 0)
        return false;
    /* From here the caller may be gone, the place another's: who then waits is woken too early and looks again. */
    if (atomic_fetch_add(&p->done, finished) + finished == count && atomic_load(&p->waiting)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->finished);
        pthread_mutex_unlock(&pool->mutex);
    }
    return true;
}

static void wait_until_done(cpu_pool *pool, place *p)
{
    for (int spins = 0; spins < SPINS_FINISH; spins++) {
        if (atomic_load_explicit(&p->done, memory_order_acquire) == p->count)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&p->waiting, true);
    while (atomic_load(&p->done) != p->count)
        pthread_cond_wait(&pool->finished, &pool->mutex);
    atomic_store(&p->waiting, false);
    pthread_mutex_unlock(&pool->mutex);
}

static void sleep_until_posted(cpu_pool *pool, uint64_t seen)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->posted) == seen && !atomic_load(&pool->quit))
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *arg)
{
    worker *w = arg;
    cpu_pool *pool = w->pool;
    int spins = 0;
    while (!atomic_load_explicit(&pool->quit, memory_order_relaxed)) {
        uint64_t seen = atomic_load(&pool->posted);
        bool found = false;
        for (int i = 0; i < PLACES; i++) { /* each worker begins elsewhere, so that callers get equal help */
            place *p = &pool->places[(i + w->slot) % PLACES];
            found |= atomic_load_explicit(&p->open, memory_order_acquire) && help(pool, p, w->slot);
        }
        if (found) {
            spins = 0;
        } else if (++spins < SPINS_IDLE) {
            relax();
        } else {
            sleep_until_posted(pool, seen);
            spins = 0;
        }
    }
    return NULL;
}

static place *take_place(cpu_pool *pool)
{
    for (int i = 0; i < PLACES; i++)
        if (!atomic_load_explicit(&pool->places[i].taken, memory_order_relaxed) &&
            !atomic_exchange_explicit(&pool->places[i].taken, true, memory_order_acquire))
            return &pool->places[i];
    return NULL;
}

void cpu_pool_run(cpu_pool *pool, int count, cpu_pool_fn fn, void *arg)
{
    place *p = count > 1 && pool->threads > 1 ? take_place(pool) : NULL;
    if (p == NULL) {
        for (int i = 0; i < count; i++)
            fn(arg, i, 0);
        return;
    }
    p->count = count;
    p->fn = fn;
    p->arg = arg;
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    for (int r = 0; r < pool->runs; r++) {
        uint64_t generation = (atomic_load_explicit(&p->runs[r].ticket, memory_order_relaxed) >> 32) + 1;
        uint32_t items = (uint32_t)(first_item(pool, count, r + 1) - first_item(pool, count, r));
        atomic_store_explicit(&p->runs[r].ticket, generation << 32 | items, memory_order_release);
    }
    atomic_store_explicit(&p->open, true, memory_order_release);

    atomic_fetch_add(&pool->posted, 1);
    if (atomic_load(&pool->sleepers) != 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }

    help(pool, p, 0);
    atomic_store_explicit(&p->open, false, memory_order_relaxed); /* nothing is left to claim */
    wait_until_done(pool, p);
    atomic_store_explicit(&p->taken, false, memory_order_release);
}

int cpu_pool_threads(const cpu_pool *pool)
{
    return pool->threads;
}

strata_status cpu_pool_create(int threads, cpu_pool **out, strata_error *err)
{
    *out = NULL;
    cpu_pool *pool = aligned_alloc(64, sizeof *pool);
    if (pool == NULL)
        return strata_fail(err, STRATA_NOMEM, "cpu: no memory for a thread pool");
    *pool = (cpu_pool){ .threads = 1, .runs = threads };
    size_t ticket_bytes = PLACES * (size_t)threads * sizeof *pool->tickets;
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    pool->tickets = aligned_alloc(64, ticket_bytes);
    if (pool->workers == NULL || pool->tickets == NULL) {
        free(pool->workers);
        free(pool->tickets);
        free(pool);
        return strata_fail(err, STRATA_NOMEM, "cpu: no memory for %d threads", threads);
    }
    memset(pool->tickets, 0, ticket_bytes);
    for (int i = 0; i < PLACES; i++)
        pool->places[i].runs = pool->tickets + (size_t)i * (size_t)threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->finished, NULL);
    /* `threads` is read by callers only, so it may grow while the first workers are looking for work. */
    for (int i = 1; i < threads; i++) {
        worker *w = &pool->workers[i - 1];
        *w = (worker){ .pool = pool, .slot = i };
        if (pthread_create(&w->thread, NULL, work, w) != 0)
            break;
        pool->threads++;
    }
    *out = pool;
    return STRATA_OK;
}

void cpu_pool_destroy(cpu_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->quit, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i + 1 < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->finished);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->tickets);
    free(pool->workers);
    free(pool);
}
