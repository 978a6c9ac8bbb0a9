/* simd.c: chooses the table of inner loops for the processor we run on. */
#include "simd.h"

extern const cpu_simd cpu_simd_baseline;
#if defined(__x86_64__)
extern const cpu_simd cpu_simd_avx2, cpu_simd_avx512;
#endif

const cpu_simd *const *cpu_simd_tables(void)
{
#if defined(__x86_64__) /* each includes what those after it need; the compiler's test asks the system too */
    static const cpu_simd *const tables[] = { &cpu_simd_avx512, &cpu_simd_avx2, &cpu_simd_baseline, NULL };
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return tables + 2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return tables + 1;
#else
    static const cpu_simd *const tables[] = { &cpu_simd_baseline, NULL };
#endif
    return tables;
}

const cpu_simd *cpu_simd_select(void)
{
    return cpu_simd_tables()[0];
}
