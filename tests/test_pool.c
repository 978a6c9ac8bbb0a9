/* The thread pool: every item once, whatever the number of threads, callers and jobs. Meant to be run under
 * the thread sanitizer too: items add to plain memory of their own, read by callers after the job. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../backends/cpu/pool.h"

enum { MOST_ITEMS = 300, MOST_THREADS = 8 };

typedef struct job {
    int      seen[MOST_ITEMS];
    uint64_t per_slot[MOST_THREADS]; /* plain memory: no two threads of a job may have the same slot */
    int      threads;
} job;

static void count_item(void *arg, int item, int slot)
{
    job *j = arg;
    j->seen[item]++;
    j->per_slot[slot]++;
}

/* Runs jobs of 0, 1, 2, ... items and checks each. */
static bool jobs_are_right(cpu_pool *pool, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        job j     = { .threads = cpu_pool_threads(pool) };
        int count = round % MOST_ITEMS;
        cpu_pool_run(pool, count, count_item, &j);
        uint64_t total = 0;
        for (int i = 0; i < MOST_ITEMS; i++)
            if (j.seen[i] != (i < count))
                return false;
        for (int s = 0; s < MOST_THREADS; s++)
            total += s < j.threads ? j.per_slot[s] : 0;
        if (total != (uint64_t)count)
            return false;
    }
    return true;
}

static void every_item_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        cpu_pool *pool;
        assert_int_equal(cpu_pool_create(threads, &pool, NULL), STRATA_OK);
        assert_int_equal(cpu_pool_threads(pool), threads);
        assert_true(jobs_are_right(pool, 2000));
        cpu_pool_destroy(pool);
    }
}

typedef struct caller {
    pthread_t thread;
    cpu_pool *pool;
    bool      right;
} caller;

static void *call(void *arg)
{
    caller *c = arg;
    c->right  = jobs_are_right(c->pool, 1500);
    return NULL;
}

/* More callers than the pool has places for jobs. */
static void many_callers(void **state)
{
    (void)state;
    enum { CALLERS = 12 };
    for (int threads = 1; threads <= 4; threads++) {
        caller    c[CALLERS];
        cpu_pool *pool;
        assert_int_equal(cpu_pool_create(threads, &pool, NULL), STRATA_OK);
        for (int i = 0; i < CALLERS; i++) {
            c[i] = (caller){ .pool = pool };
            assert_int_equal(pthread_create(&c[i].thread, NULL, call, &c[i]), 0);
        }
        for (int i = 0; i < CALLERS; i++) {
            pthread_join(c[i].thread, NULL);
            assert_true(c[i].right);
        }
        cpu_pool_destroy(pool);
    }
}

static void create_and_destroy(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        cpu_pool *pool;
        assert_int_equal(cpu_pool_create(1 + round % 4, &pool, NULL), STRATA_OK);
        if (round % 3 != 0)
            assert_true(jobs_are_right(pool, round % 7));
        cpu_pool_destroy(pool);
    }
    cpu_pool_destroy(NULL);
}

/* Workers that went to sleep between jobs come back. */
static void sleepers_wake(void **state)
{
    (void)state;
    cpu_pool *pool;
    assert_int_equal(cpu_pool_create(3, &pool, NULL), STRATA_OK);
    for (int round = 0; round < 30; round++) {
        nanosleep(&(struct timespec){ 0, 3000000 }, NULL);
        assert_true(jobs_are_right(pool, 5));
    }
    cpu_pool_destroy(pool);
}

typedef struct meeting {
    pthread_mutex_t mutex;
    pthread_cond_t  all;
    int             wanted, present;
    int             slot[MOST_THREADS]; /* who took each item */
} meeting;

static meeting meeting_of(int wanted)
{
    return (meeting){ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, .wanted = wanted };
}

static void wait_for_all(void *arg, int item, int slot)
{
    meeting *m    = arg;
    m->slot[item] = slot;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&m->mutex);
    m->present++;
    pthread_cond_broadcast(&m->all);
    while (m->present < m->wanted && pthread_cond_timedwait(&m->all, &m->mutex, &until) == 0)
        ;
    pthread_mutex_unlock(&m->mutex);
}

/* Two items that wait for each other need two threads: workers do take part, asleep or not. */
static void workers_take_part(void **state)
{
    (void)state;
    cpu_pool *pool;
    assert_int_equal(cpu_pool_create(2, &pool, NULL), STRATA_OK);
    for (int round = 0; round < 20; round++) {
        meeting m = meeting_of(2);
        if (round % 2)
            nanosleep(&(struct timespec){ 0, 3000000 }, NULL);
        cpu_pool_run(pool, 2, wait_for_all, &m);
        assert_int_equal(m.present, 2);
    }
    cpu_pool_destroy(pool);
}

/* Neighbouring items go to the same thread, in each job to the same one. */
static void threads_begin_with_their_own(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 4; threads++) {
        cpu_pool *pool;
        assert_int_equal(cpu_pool_create(threads, &pool, NULL), STRATA_OK);
        for (int round = 0; round < 5; round++) {
            meeting m = meeting_of(threads);
            nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
            cpu_pool_run(pool, threads, wait_for_all, &m);
            for (int i = 0; i < threads; i++)
                assert_int_equal(m.slot[i], i);
        }
        cpu_pool_destroy(pool);
    }
}

static void wait_for_all_then_be_late(void *arg, int item, int slot)
{
    wait_for_all(arg, item, slot);
    if (slot != 0)
        nanosleep(&(struct timespec){ 0, 60000000 }, NULL);
}

/* A caller whose worker is late (its processor may have gone to another program) leaves its own processor free. */
static void caller_sleeps_for_late_worker(void **state)
{
    (void)state;
    cpu_pool *pool;
    assert_int_equal(cpu_pool_create(2, &pool, NULL), STRATA_OK);
    struct timespec before, after;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    for (int round = 0; round < 3; round++) {
        meeting m = meeting_of(2);
        cpu_pool_run(pool, 2, wait_for_all_then_be_late, &m);
        assert_int_equal(m.present, 2);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) * 1e-6;
    if (ms > 90) /* of 180 that it waited */
        fail_msg("the caller was busy for %.1f ms while its worker was late", ms);
    cpu_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_once),    cmocka_unit_test(many_callers),
        cmocka_unit_test(create_and_destroy), cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(workers_take_part),  cmocka_unit_test(threads_begin_with_their_own),
        cmocka_unit_test(caller_sleeps_for_late_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
