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

/* With the largest and the smallest batch the most threads and the least, with those between the others: each with each
 * would tell nothing more. */
static bool is_tried(int batch, int thread)
{
    return (batch + thread) % 2 == 0;
}

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

/* One kernel, in one layout, with one table of inner loops: batches and thread counts. `largest` is the
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
            if (!is_tried(b, t))
                continue;
            strata_device *device = &f->device[table * f->threads + t];
            for (int over = NOWHERE; over < STRATA_MAX_OPERANDS; over++) {
                placed_node p;
                place(&p, &r, layout);
                if (!may_write_over(k, &p.n, over))
                    continue;
                char what[160];
                snprintf(what, sizeof what, "%s (seed %llu, batch %d, %d threads, %s%s)", k->name,
                         (unsigned long long)seed, batches[b], device->threads, device->simd->name,
                         over != NOWHERE ? ", in place" : "");
                float *got = run_placed(&p, &r, k, device, over);
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
        if (k->op != c->op || k->absorbs || !can(k, &r.n))
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
        if (ours && !strata_backend_cpu.kernels[row]->absorbs && f->runs[row] == 0 && share == 1)
            fail_msg("no case reaches kernel %s", name);
    }
}

/* ---- A convolution and the depthwise one that reads it -------------------------------------------------- */

typedef struct conv_pair {
    op_run expand, depthwise;
} conv_pair;

static void fill(op_run *r, int k, uint64_t seed)
{
    noise_state = seed;
    for (int64_t i = 0; i < strata_count(&r->in[k].desc); i++)
        r->x[k][i] = noise();
}

static void make_constant(op_run *r, int k, uint64_t seed)
{
    fill(r, k, seed);
    r->in[k].op = &strata_op_const;
    assert_int_equal(strata_tensor_wrap(&r->in[k].desc, r->x[k], NULL, NULL, &r->in[k].data, &r->err), STRATA_OK);
}

static int pick_act(void)
{
    return pick(0, STRATA_ACT_COUNT - 1);
}

/* Every kernel size, stride, dilation and padding, also such that see nothing but padding; one in four begins with a 3x3
 * convolution of few channels, as networks do; one in eight is larger than a band. */
static void build_pair(conv_pair *p, uint64_t seed, int batch)
{
    noise_state = seed;
    bool stem = pick(0, 3) == 0, large = pick(0, 7) == 0;
    int channels = stem ? pick(1, 4) : pick(1, 40), out = large ? pick(1, 20) : pick(1, 70), side = stem ? 3 : 1;
    int h = large ? pick(60, 90) : pick(1, 20), w = large ? pick(20, 40) : pick(1, 20);
    strata_conv2d_attrs e, d;
    strata_attrs_set_defaults(&strata_op_conv2d, &e);
    d = e;
    e.act = pick_act();
    e.stride[0] = e.stride[1] = stem ? pick(1, 2) : 1;
    for (int i = 0; i < 4; i++)
        e.pad[i] = stem ? 1 : pick(0, 3) == 0;
    op_begin(&p->expand, &strata_op_conv2d, &e);
    ARG(&p->expand, batch, channels, h, w);
    ARG(&p->expand, out, channels, side, side);
    ARG(&p->expand, out);
    assert_int_equal(op_infer(&p->expand), STRATA_OK);

    noise_state = seed + 1;
    const int64_t *map = p->expand.n.desc.dim;
    int size[2];
    d.act = pick_act();
    d.groups = out;
    for (int i = 0; i < 2; i++) {
        d.stride[i] = pick(1, 3);
        d.dilation[i] = pick(0, 3) == 0 ? 2 : 1;
        size[i] = 2 * pick(0, 3) + 1;
        d.pad[i] = pick(0, 3) == 0 ? pick(0, 4) : size[i] / 2;
        d.pad[i + 2] = pick(0, 3) == 0 ? pick(0, 4) : size[i] / 2;
        if ((size[i] - 1) * d.dilation[i] + 1 > map[2 + i] + d.pad[i] + d.pad[i + 2])
            size[i] = 1;
    }
    if (pick(0, 1) == 0) { /* what networks have, and the inner loops know */
        d.stride[1] = d.stride[0] = pick(1, 2);
        size[1] = size[0] = size[0] < size[1] ? size[0] : size[1];
    }
    op_begin(&p->depthwise, &strata_op_conv2d, &d);
    ARG(&p->depthwise, batch, out, map[2], map[3]);
    ARG(&p->depthwise, out, 1, size[0], size[1]);
    ARG(&p->depthwise, out);
    fill(&p->expand, 0, seed + 2);
    for (int k = 1; k < 3; k++) {
        make_constant(&p->expand, k, seed + 3 + (uint64_t)k);
        make_constant(&p->depthwise, k, seed + 5 + (uint64_t)k);
    }
    assert_int_equal(op_infer(&p->depthwise), STRATA_OK);
}

static void end_pair(conv_pair *p)
{
    end_case(&p->expand);
    end_case(&p->depthwise);
}

/* The depthwise result in row-major order, by a kernel that absorbs the other convolution. */
static float *run_pair(const conv_pair *p, const strata_kernel_def *k, strata_device *device)
{
    placed_node expand, depthwise;
    place(&expand, &p->expand, STRATA_NHWC);
    place(&depthwise, &p->depthwise, STRATA_NHWC);
    depthwise.n.in[0] = &expand.n;
    assert_true(k->accepts(&depthwise.n));
    strata_step  step  = { .node = &depthwise.n, .kernel = k, .device = device };
    strata_frame frame = { 0 };
    strata_error err;
    assert_int_equal(k->prepare(&step, &err), STRATA_OK);
    assert_int_equal(step.consumed, 1u << 1 | 1u << 2);
    int64_t count = strata_count(&depthwise.n.desc);
    float *x = nan_floats(strata_count(&expand.in[0].desc)), *y = nan_floats(count);
    turn_layout(&expand.in[0].desc, false, p->expand.x[0], x);
    frame.in[0] = (strata_view){ .desc = &expand.in[0].desc, .data = x };
    frame.out = (strata_view){ .desc = &depthwise.n.desc, .data = y };
    frame.workspace = (strata_view){ .data = nan_floats((int64_t)(step.workspace / sizeof(float))) };
    assert_int_equal(k->emit(&step, &frame, &err), STRATA_OK);
    k->release(&step);
    float *result = malloc((size_t)count * sizeof *result);
    assert_non_null(result);
    turn_layout(&depthwise.n.desc, true, y, result);
    free(x);
    free(y);
    free(frame.workspace.data);
    return result;
}

/* Against the definitions of both, one after the other; then the same bits for all batches and threads. */
static void check_pair(fixture *f, uint64_t seed, int table)
{
    float *first = NULL;
    for (int b = 0; b < batch_count; b++) {
        conv_pair p;
        build_pair(&p, seed, batches[b]);
        for (int t = 0; t < f->threads; t++) {
            if (!is_tried(b, t))
                continue;
            strata_device *device = &f->device[table * f->threads + t];
            char what[96];
            snprintf(what, sizeof what, "expand_depthwise (seed %llu, batch %d, %d threads, %s)", (unsigned long long)seed,
                     batches[b], device->threads, device->simd->name);
            float *got = run_pair(&p, &cpu_kernel_conv2d_expand_depthwise, device);
            if (first == NULL) {
                size_t bytes = strata_bytes(&p.depthwise.in[0].desc);
                memcpy(p.depthwise.x[0], op_eval(&p.expand), bytes);
                const float *want = op_eval(&p.depthwise);
                int64_t count = strata_count(&p.depthwise.n.desc);
                float *scale = malloc((size_t)count * sizeof *scale), largest = 1;
                for (int64_t i = 0; i < count; i++)
                    largest = fmaxf(largest, fabsf(want[i]));
                for (int64_t i = 0; i < count; i++)
                    scale[i] = largest;
                check_result(what, &p.depthwise, got, scale, 5e-6);
                free(scale);
                first = got;
                continue;
            }
            check_bits(what, &p.depthwise, got, first);
            free(got);
        }
        end_pair(&p);
    }
    free(first);
}

static void every_pair(void **state)
{
    fixture *f = *state;
    if (!cpu_simd_select()->fused)
        return;
    noise_seed();
    uint64_t seed = noise_state;
    for (int time = 0; time < 32; time += share, seed += 1000003)
        for (int table = 0; table < f->tables; table++)
            check_pair(f, seed, table);
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_case), cmocka_unit_test(every_pair) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
