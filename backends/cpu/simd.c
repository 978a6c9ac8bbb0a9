/* simd.c: chooses the table of inner loops for the processor we run on. */
#include "simd.h"

extern const cpu_simd cpu_simd_baseline, cpu_simd_avx2, cpu_simd_avx512;

/* Each table includes what those after it need; the compiler's test asks the system too. */
const cpu_simd *const *cpu_simd_tables(void)
{
    static const cpu_simd *const tables[] = {
#ifdef STRATA_AVX512
        &cpu_simd_avx512,
#endif
#ifdef __x86_64__
        &cpu_simd_avx2,
#endif
        &cpu_simd_baseline, NULL
    };
    const cpu_simd *const *first = tables;
#ifdef STRATA_AVX512
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        first = tables + 1;
#endif
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        first = tables + sizeof tables / sizeof *tables - 2;
#endif
    return first;
}

const cpu_simd *cpu_simd_select(void)
{
    return cpu_simd_tables()[0];
}
