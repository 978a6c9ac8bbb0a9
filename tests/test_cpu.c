/* The CPU as a backend: its device, its buffers, and recordings that run steps in order and time them. */
#include "kernel_run.h"

static strata_device *open_device(int threads)
{
    strata_device *device;
    strata_device_options options = { .threads = threads };
    assert_int_equal(strata_backend_cpu.open(NULL, 0, &options, &device, NULL), STRATA_OK);
    return device;
}

static void one_device(void **state)
{
    (void)state;
    strata_device_info info;
    strata_device *device;
    strata_error err;
    assert_int_equal(strata_backend_cpu.count(NULL), 1);
    strata_backend_cpu.describe(NULL, 0, &info);
    assert_string_equal(info.backend, "cpu");
    assert_string_equal(info.type, "cpu");
    assert_string_equal(info.unusable, "");
    assert_true(info.name[0] != 0 && info.memory > 0);
    strata_device_options options = { .threads = 1 };
    assert_int_equal(strata_backend_cpu.open(NULL, 1, &options, &device, &err), STRATA_NOT_FOUND);
    strata_backend_cpu.close(open_device(2));
    strata_backend_cpu.close(NULL);
}

static void buffers_keep_their_bounds(void **state)
{
    (void)state;
    const strata_backend_def *cpu = &strata_backend_cpu;
    strata_device *device = open_device(1);
    strata_buffer *buf;
    strata_error err;
    char bytes[8];
    assert_int_equal(cpu->alloc(device, 100, &buf, &err), STRATA_OK);
    assert_int_equal((uintptr_t)cpu->map(buf) % 64, 0);
    assert_int_equal(cpu->write(buf, 92, "abcdefg", 8, &err), STRATA_OK);
    assert_int_equal(cpu->read(buf, 92, bytes, 8, &err), STRATA_OK);
    assert_string_equal(bytes, "abcdefg");
    assert_memory_equal((char *)cpu->map(buf) + 92, "abcdefg", 8);
    assert_int_equal(cpu->write(buf, 93, "abcdefg", 8, &err), STRATA_INVALID);
    assert_string_equal(err.text, "cpu: write of 8 bytes at 93 past the end of a buffer of 100");
    assert_int_equal(cpu->read(buf, SIZE_MAX, bytes, 8, &err), STRATA_INVALID);
    cpu->free(device, buf);

    assert_int_equal(cpu->alloc(device, 0, &buf, &err), STRATA_OK); /* an empty arena is an arena */
    assert_int_equal(cpu->read(buf, 0, bytes, 0, &err), STRATA_OK);
    cpu->free(device, buf);
    assert_int_equal(cpu->alloc(device, SIZE_MAX - 10, &buf, &err), STRATA_NOMEM);
    assert_int_equal(cpu->alloc(device, (size_t)1 << 62, &buf, &err), STRATA_NOMEM);
    assert_null(buf);
    cpu->close(device);
}

static const strata_kernel_def *kernel_named(const char *name)
{
    for (int i = 0; strata_backend_cpu.kernels[i] != NULL; i++)
        if (strcmp(strata_backend_cpu.kernels[i]->name, name) == 0)
            return strata_backend_cpu.kernels[i];
    fail_msg("there is no kernel %s", name);
    return NULL;
}

/* y = relu(-x), as two steps; x may change between runs. */
static void steps_run_in_order(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    const strata_backend_def *cpu = &strata_backend_cpu;
    strata_device *device = open_device(2);
    op_run neg, relu;
    op_begin(&neg, &strata_op_neg, NULL);
    ARG(&neg, COUNT);
    op_eval(&neg);
    op_begin(&relu, &strata_op_relu, NULL);
    ARG(&relu, COUNT);
    op_eval(&relu);
    float *y = nan_floats(COUNT);
    const strata_step steps[] = {
        { .node = &neg.n, .kernel = kernel_named("neg.flat"), .device = device },
        { .node = &relu.n, .kernel = kernel_named("relu.flat"), .device = device }
    };
    strata_frame frames[2] = { { .in = { neg.view[0] }, .out = { &neg.n.desc, .data = neg.y } },
                               { .in = { { &relu.n.desc, .data = neg.y } }, .out = { &relu.n.desc, y } } };
    strata_error err;
    void *recording;
    double ms[2][2];
    assert_int_equal(cpu->record(device, steps, frames, 2, &recording, &err), STRATA_OK);
    for (int run = 0; run < 3; run++) {
        for (int i = 0; i < COUNT; i++)
            neg.x[0][i] = noise();
        memset(ms, 0xff, sizeof ms);
        assert_int_equal(cpu->run(device, recording, run == 0 ? NULL : ms, &err), STRATA_OK);
        for (int i = 0; i < COUNT; i++)
            assert_true(y[i] == (neg.x[0][i] < 0 ? -neg.x[0][i] : 0));
        if (run > 0)
            assert_true(ms[0][0] > 0 && ms[0][1] >= 0 && ms[1][1] >= 0 && ms[1][0] >= ms[0][0] + ms[0][1]);
    }
    cpu->discard(device, recording);
    free(y);
    op_end(&neg);
    op_end(&relu);
    cpu->close(device);
}

/* The vector activations over their whole range, with each table of inner loops. */
static void activations_are_accurate(void **state)
{
    (void)state;
    enum { STEPS = 20001 };
    static float x[STEPS], y[STEPS];
    for (int i = 0; i < STEPS; i++)
        x[i] = (float)(i - STEPS / 2) * 40 / (STEPS / 2);
    for (const cpu_simd *const *table = cpu_simd_tables(); *table != NULL; table++)
        for (int act = 0; act < STRATA_ACT_COUNT; act++) {
            (*table)->activate(y, x, STEPS, (strata_act)act);
            for (int i = 0; i < STEPS; i++) {
                /* gelu's 1 + tanh(u) itself cancels where x is below -4; x / (1 + exp(-2u)) does not */
                double v = (double)x[i], u = 0.79788456080286535588 * (v + 0.044715 * v * v * v);
                bool gelu = act == STRATA_ACT_GELU;
                double want = gelu ? v / (1 + exp(-2 * u)) : strata_activate((strata_act)act, v);
                double slack = gelu ? 4e-7 * (1 + fabs(2 * u)) : 1e-6;
                if (!(fabs((double)y[i] - want) <= slack * fabs(want) + 2e-37))
                    fail_msg("%s, %s(%.9g) is %.9g, not %.9g", (*table)->name,
                             strata_act_name((strata_act)act), v, (double)y[i], want);
            }
        }
}

/* Infinities do what the limit does, and what is not a number stays so: nothing hides a broken network. */
static void odd_numbers_survive(void **state)
{
    (void)state;
    for (const cpu_simd *const *table = cpu_simd_tables(); *table != NULL; table++) {
        for (int act = 0; act < STRATA_ACT_COUNT; act++) {
            float x[3] = { NAN, INFINITY, 1 }, y[3];
            (*table)->activate(y, x, 3, (strata_act)act);
            assert_true(isnan(y[0]));
            assert_true(y[1] == (float)strata_activate((strata_act)act, (double)INFINITY));
        }
        float a[2] = { NAN, 3 }, b[2] = { 1, NAN }, c[2] = { 2, 4 }, m[2];
        const float *const rows[3] = { a, b, c };
        (*table)->max_rows(m, rows, 3, 2);
        assert_true(isnan(m[0]) && isnan(m[1]));
    }
}

/* Every number of whole and broken blocks and lines, within the caches and past them; nothing beside the result. */
static void transposes_are_exact(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 1, 1 }, { 3, 50 }, { 16, 8 }, { 48, 24 }, { 49, 33 }, { 71, 16 }, { 30, 7 } };
    enum { MOST = 80 * 64 };
    static float x[MOST], y[MOST] __attribute__((aligned(64)));
    for (int i = 0; i < MOST; i++)
        x[i] = (float)i + 1;
    for (const cpu_simd *const *table = cpu_simd_tables(); *table != NULL; table++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            for (int way = 0; way < 4; way++) {
                int rows = sizes[k][0], columns = sizes[k][1], y_step = way & 1 ? 80 : rows, x_step = columns + 3;
                memset(y, 0, sizeof y);
                (*table)->transpose(y, y_step, x, x_step, rows, columns, way & 2);
                for (int i = 0; i < MOST; i++) {
                    int c = i / y_step, r = i % y_step;
                    float wanted = c < columns && r < rows ? x[r * x_step + c] : 0;
                    if (y[i] != wanted)
                        fail_msg("%s: %d x %d, step %d, way %d: [%d][%d] is %g, not %g", (*table)->name, rows, columns, y_step,
                                 way, c, r, (double)y[i], (double)wanted);
                }
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_device),
        cmocka_unit_test(buffers_keep_their_bounds),
        cmocka_unit_test(steps_run_in_order),
        cmocka_unit_test(activations_are_accurate),
        cmocka_unit_test(odd_numbers_survive),
        cmocka_unit_test(transposes_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
