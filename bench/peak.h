/* peak.h: what the arithmetic of this processor can do at best. */
#ifndef STRATA_BENCH_PEAK_H
#define STRATA_BENCH_PEAK_H

/* GFLOP/s of `threads` threads that do nothing but fused multiply-adds in registers, best of several tries.
 * Negative when threads cannot be started. */
double peak_rate(int threads);

#endif
