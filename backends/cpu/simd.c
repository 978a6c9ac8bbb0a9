/* simd.c: chooses the table of inner loops for the processor we run on. */
#include "simd.h"

extern const cpu_simd cpu_simd_baseline;
#if defined(__x86_64__)
extern const cpu_simd cpu_simd_avx2;
#endif

const cpu_simd *const *cpu_simd_tables(void)
{
    static const cpu_simd *const plain[] = { &cpu_simd_baseline, NULL };
#if defined(__x86_64__)
    static const cpu_simd *const with_avx2[] = { &cpu_simd_avx2, &cpu_simd_baseline, NULL };
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return with_avx2;
#endif
    return plain;
}

const cpu_simd *cpu_simd_select(void)
{
    return cpu_simd_tables()[0];
}
