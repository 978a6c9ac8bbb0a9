/* Every kernel row of the CPU backend against the definition of its op, over random shapes; and against
 * itself: the same bits for any batch size, number of threads, and in place.
 *
 * A case is a function that picks a shape and makes the operands. It is called with the same seed for batches
 * of 1, 2 and 7, whose first images are equal, so the results must begin with the same bits.
 *
 * With the argument "sparse", for instrumented builds: an eighth of the cases. With "brief", for emulated processors:
 * each case once, one image, two threads. */
#include "kernel_cases.h"
#include "kernel_run.h"

#include "../backends/cpu/conv.h"

#include <limits.h>

enum { MAX_ROWS = 64, MAX_DEVICES = 16 };
static const int all_batches[] = { 7, 2, 1 }, all_threads[] = { 3, 2, 1 };
static const int *batches = all_batches, *thread_counts = all_threads;
static int        batch_count = 3, thread_count = 3;
static int        share = 1; /* one case in so many, and at least one of each kind */

typedef struct fixture {
    strata_device device[MAX_DEVICES];
    int           tables, threads; /* device[table * threads + i] */
    int           runs[MAX_ROWS];  /* by row of the backend */
} fixture;

/* ---- Checks -------------------------------------------------------------------------------------- */

static void check_bits(const char *what, const op_run *r, const float *got, const float *want)
{
    int64_t count = strata_count(&r->n.desc);
    for (int64_t i = 0; i < count; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s: element %lld is %.9g here and %.9g there", what, (long long)i, (double)got[i],
                     (double)want[i]);
}

/* One kernel, in one layout, with one table of inner loops: all batches and thread counts. `largest` is the
 * case in the largest batch, evaluated; its first result by the kernel is what all others must begin like. */
static void check_kernel(fixture *f, const kernel_case *c, uint64_t seed, const op_run *largest,
                         const float *scale, const strata_kernel_def *k, strata_layout layout, int table)
{
    float *first = NULL;
    for (int b = 0; b < batch_count; b++) {
        op_run r;
        noise_state = seed;
        build_case(c, &r, batches[b]);
        assert_int_equal(op_infer(&r), STRATA_OK);
        for (int t = 0; t < f->threads; t++) {
            strata_device *device = &f->device[table * f->threads + t];
            for (int in_place = 0; in_place <= (int)k->in_place; in_place++) {
                placed_node p;
                place(&p, &r, layout);
                if (in_place && strata_bytes(&p.in[0].desc) != strata_bytes(&p.n.desc))
                    continue;
                char what[160];
                snprintf(what, sizeof what, "%s (seed %llu, batch %d, %d threads, %s%s)", k->name,
                         (unsigned long long)seed, batches[b], device->threads, device->simd->name,
                         in_place ? ", in place" : "");
                float *got = run_placed(&p, &r, k, device, in_place);
                if (first == NULL) {
                    check_result(what, largest, got, scale, c->tolerance);
                    first = got;
                    continue;
                }
                check_bits(what, &r, got, first);
                free(got);
            }
        }
        end_case(&r);
    }
    free(first);
}

/* Approximate kernels refuse what does not pay; here they do all they can. */
static bool can(const strata_kernel_def *k, const strata_node *n)
{
    return k->approximate ? cpu_winograd_fits(n) : k->accepts == NULL || k->accepts(n);
}

static void check_case(fixture *f, const kernel_case *c, uint64_t seed)
{
    op_run r;
    noise_state = seed;
    build_case(c, &r, batches[0]);
    op_eval(&r);
    float *scale = scales(&r), *same = NULL;
    for (int row = 0; strata_backend_cpu.kernels[row] != NULL; row++) {
        const strata_kernel_def *k = strata_backend_cpu.kernels[row];
        if (k->op != c->op || !can(k, &r.n))
            continue;
        f->runs[row]++;
        if (k->approximate && same == NULL)
            same = spread_scales(&r, scale);
        for (int layout = 0; layout < STRATA_LAYOUT_COUNT; layout++)
            for (int table = 0; table < f->tables && (k->layouts >> layout & 1); table++)
                check_kernel(f, c, seed, &r, k->approximate ? same : scale, k, (strata_layout)layout, table);
    }
    free(same);
    free(scale);
    end_case(&r);
}

static void every_case(void **state)
{
    fixture *f = *state;
    noise_seed();
    uint64_t seed = noise_state;
    for (int i = 0; op_case_defs[i].op; i++)
        for (int time = 0; time < op_case_defs[i].times; time += share, seed += 1000003)
            check_case(f, &op_case_defs[i], seed);
    for (int row = 0; strata_backend_cpu.kernels[row] != NULL; row++) {
        const char *name = strata_backend_cpu.kernels[row]->name;
        bool ours = strstr(name, ".direct") == NULL || cpu_simd_select()->fused; /* else it takes nothing */
        if (ours && f->runs[row] == 0 && share == 1)
            fail_msg("no case reaches kernel %s", name);
    }
}

static int set_up(void **state)
{
    static fixture f;
    const cpu_simd *const *table = cpu_simd_tables();
    f.threads = thread_count;
    for (; table[f.tables] != NULL; f.tables++)
        for (int t = 0; t < f.threads; t++) {
            strata_device *d = &f.device[f.tables * f.threads + t];
            *d = (strata_device){ .simd = table[f.tables], .threads = thread_counts[t] };
            if (cpu_pool_create(d->threads, &d->pool, NULL) != STRATA_OK)
                return -1;
        }
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < f->tables * f->threads; i++)
        cpu_pool_destroy(f->device[i].pool);
    return 0;
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    share = strcmp(how, "sparse") == 0 ? 8 : 1;
    if (strcmp(how, "brief") == 0) {
        share = INT_MAX / 2; /* cases are counted with it */
        batches += 2, thread_counts += 1;
        batch_count = thread_count = 1;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_case) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
