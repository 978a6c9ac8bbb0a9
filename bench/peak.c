/* peak.c: independent multiply-adds in registers, as wide as the processor has them. See peak.h.
 *
 * A multiply-add takes four or five cycles and two begin in each: twelve sums keep every unit busy. */
#include "peak.h"

#include "clock.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { TRIES = 9, ROUNDS = 300000, SUMS = 12 };

/* name() does ROUNDS * SUMS multiply-adds of `lanes` floats. The empty assembly holds the sums in registers from round
 * to round, so that nothing is computed ahead or left out. */
#define RATE_LOOP(name, attributes, lanes, keep)                                                               \
    attributes static void name(void)                                                                         \
    {                                                                                                          \
        typedef float vec __attribute__((vector_size(4 * (lanes))));                                           \
        vec factor = (vec){ 0 } + 0.999999f, term = (vec){ 0 } + 1e-6f;                                        \
        vec a = term, b = term, c = term, d = term, e = term, f = term;                                        \
        vec g = term, h = term, i = term, j = term, k = term, l = term;                                        \
        for (int round = 0; round < ROUNDS; round++) {                                                         \
            a = a * factor + term, b = b * factor + term, c = c * factor + term, d = d * factor + term;        \
            e = e * factor + term, f = f * factor + term, g = g * factor + term, h = h * factor + term;        \
            i = i * factor + term, j = j * factor + term, k = k * factor + term, l = l * factor + term;        \
            __asm__ volatile("" : keep(a), keep(b), keep(c), keep(d), keep(e), keep(f));                       \
            __asm__ volatile("" : keep(g), keep(h), keep(i), keep(j), keep(k), keep(l));                       \
        }                                                                                                      \
    }

#if defined(__x86_64__)
#define KEEP(v) "+x"(v)
RATE_LOOP(loop4, , 4, KEEP)
RATE_LOOP(loop8, __attribute__((target("avx2,fma"))), 8, KEEP)
#undef KEEP
#define KEEP(v) "+v"(v)
RATE_LOOP(loop16, __attribute__((target("avx512f"))), 16, KEEP)
#elif defined(__ARM_NEON)
#define KEEP(v) "+w"(v)
RATE_LOOP(loop4, , 4, KEEP)
#else
#define KEEP(v) "+m"(v)
RATE_LOOP(loop4, , 4, KEEP)
#endif

static int lanes(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return 16;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 8;
#endif
    return 4;
}

static void *loop(void *arg)
{
    (void)arg;
#if defined(__x86_64__)
    if (lanes() == 16)
        loop16();
    else if (lanes() == 8)
        loop8();
    else
#endif
        loop4();
    return NULL;
}

double peak_rate(int threads)
{
    pthread_t *thread = calloc((size_t)threads, sizeof *thread);
    double     best = -1;
    for (int try = 0; thread != NULL && try < TRIES; try++) {
        double start = seconds();
        int    started = 1;
        while (started < threads && pthread_create(&thread[started], NULL, loop, NULL) == 0)
            started++;
        loop(NULL);
        for (int i = 1; i < started; i++)
            pthread_join(thread[i], NULL);
        double rate = 2e-9 * ROUNDS * SUMS * lanes() * threads / (seconds() - start);
        if (started == threads && rate > best)
            best = rate;
    }
    free(thread);
    return best;
}
