/* pool.h: threads that share the items of a job with the thread that posted it.
 *
 * Threads claim items one by one with an atomic ticket, so nobody waits for a thread that has claimed
 * nothing: a worker that is asleep, or whose core is busy elsewhere, costs a job nothing. Each begins with its own
 * run of neighbouring items, so that it finds in its cache what it wrote in the step before. Several callers may
 * post jobs to one pool at the same time; each takes part in its own.
 */
#ifndef STRATA_CPU_POOL_H
#define STRATA_CPU_POOL_H

#include <strata/extend.h>

typedef struct cpu_pool cpu_pool;

/* Called once for each item 0..count-1, in any order. `slot` names the thread within the job: 0 is the
 * caller, 1..threads-1 are workers; no two threads in a job have the same, so it can pick scratch memory. */
typedef void (*cpu_pool_fn)(void *arg, int item, int slot);

/* `threads` counts the caller: a pool of one has no workers. Fewer threads than asked for are no error. */
strata_status cpu_pool_create(int threads, cpu_pool **out, strata_error *err);
void          cpu_pool_destroy(cpu_pool *pool); /* no job may be running; NULL is fine */
int           cpu_pool_threads(const cpu_pool *pool);
/* Returns when every item is done; what the items wrote is visible to the caller. Not from inside an item. */
void cpu_pool_run(cpu_pool *pool, int count, cpu_pool_fn fn, void *arg);

#endif
