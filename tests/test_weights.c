/* Checkpoints: what the readers give for good files. The numbers in tiny.txt come from the writer of the
 * files. */
#include "weights_fixture.h"

#include <math.h>

static int find(const strata_weights *w, const char *name)
{
    for (int i = 0; i < strata_weights_count(w); i++)
        if (strcmp(strata_weights_get(w, i).name, name) == 0)
            return i;
    fail_msg("no tensor %s", name);
    return -1;
}

/* Compares every tensor with tiny.txt: shape, first and last element, sum. */
static void check_tiny(const strata_weights *w, const char *prefix)
{
    FILE *list = fopen(data_path("tiny.txt"), "r");
    assert_non_null(list);
    char name[128], shape[64], text[128];
    double first, last, sum;
    int rows = 0;
    while (fscanf(list, "%127s %63s first %lf last %lf sum %lf", name, shape, &first, &last, &sum) == 5) {
        char wanted[256];
        snprintf(wanted, sizeof wanted, "%s%s", prefix, name);
        int i = find(w, wanted);
        strata_weights_entry e = strata_weights_get(w, i);
        for (char *x = strchr(shape, 'x'); x != NULL; x = strchr(x, 'x'))
            *x = ',';
        strata_shape_text(&e.desc, text, sizeof text);
        text[strlen(text) - 1] = '\0';
        assert_string_equal(text + 1, shape);
        assert_int_equal(e.desc.dtype, STRATA_F32);

        strata_tensor *t = tensor(w, i);
        const float *x = strata_tensor_data(t);
        int64_t n = strata_count(&e.desc);
        double total = 0;
        for (int64_t k = 0; k < n; k++)
            total += (double)x[k];
        assert_true(fabs((double)x[0] - first) < 1e-7 && fabs((double)x[n - 1] - last) < 1e-7);
        assert_true(fabs(total - sum) < 1e-5);
        strata_tensor_unref(t);
        rows++;
    }
    fclose(list);
    assert_int_equal(rows, 8);
}

static void test_tiny_files(void **state)
{
    (void)state;
    static const char *const files[] = { "tiny.ckpt", "tiny_packed_dims.ckpt", "tiny_sliced.ckpt",
                                         "tiny.safetensors" };
    for (int f = 0; f < 4; f++) {
        strata_weights *w = load(data_path(files[f]));
        assert_string_equal(strata_weights_format(w), f == 3 ? "safetensors" : "mindspore");
        assert_int_equal(strata_weights_count(w), 8);
        check_tiny(w, "");
        for (int i = 0; i < 8; i++)
            assert_null(strata_weights_get(w, i).skipped);
        strata_weights_destroy(w);
    }
}

static void test_ema_and_order(void **state)
{
    (void)state;
    strata_weights *w = load(data_path("tiny_ema.ckpt"));
    assert_int_equal(strata_weights_count(w), 16);
    check_tiny(w, "");
    for (int i = 0; i < 16; i++) {
        strata_weights_entry e = strata_weights_get(w, i);
        if (strncmp(e.name, "ema.", 4) == 0)
            assert_string_equal(e.skipped, "EMA copy");
        else
            assert_null(e.skipped);
    }
    assert_string_equal(strata_weights_get(w, 0).name, "conv1.weight"); /* the order of the file */
    assert_null(strata_weights_get(w, 16).name);
    assert_null(strata_weights_get(w, -1).name);
    strata_weights_destroy(w);
}

static void test_types(void **state)
{
    (void)state;
    strata_weights *w = load(data_path("mixed.ckpt"));
    static const struct {
        const char *name;
        strata_dtype dtype;
        int rank, count;
        float values[6];
        const char *skipped;
    } expected[] = {
        { "f16", STRATA_F16, 2, 6, { 0, 1, 2, 3, 4, 5 }, NULL },
        { "f64", STRATA_F64, 1, 4, { 0, 1, 2, 3 }, NULL },
        { "i32", STRATA_I32, 1, 5, { 0, 1, 2, 3, 4 }, NULL },
        { "i64", STRATA_I64, 1, 2, { -1, 0x1p40f }, NULL },
        { "bool", STRATA_BOOL, 1, 3, { 1, 0, 1 }, NULL },
        { "scalar", STRATA_F32, 0, 1, { 3.5f }, "scalar" },
        { "global_step", STRATA_I32, 0, 1, { 7 }, "training state" },
    };
    assert_int_equal(strata_weights_count(w), 7);
    for (int i = 0; i < 7; i++) {
        strata_weights_entry e = strata_weights_get(w, i);
        assert_string_equal(e.name, expected[i].name);
        assert_int_equal(e.desc.dtype, expected[i].dtype);
        assert_int_equal(e.desc.rank, expected[i].rank);
        assert_int_equal(strata_count(&e.desc), expected[i].count);
        if (expected[i].skipped != NULL)
            assert_string_equal(e.skipped, expected[i].skipped);
        else
            assert_null(e.skipped);
        strata_tensor *t = tensor(w, i);
        float values[6];
        strata_convert_to_f32(e.desc.dtype, strata_tensor_data(t), values, (size_t)expected[i].count);
        if (strcmp(e.name, "i64") == 0)
            assert_true(values[0] == -1);
        else
            for (int k = 0; k < expected[i].count; k++)
                assert_true(values[k] == expected[i].values[k]);
        strata_tensor_unref(t);
    }
    strata_weights_destroy(w);
}

static void test_tensors_outlive_weights(void **state)
{
    (void)state;
    static const char *const files[] = { "tiny.ckpt", "tiny.safetensors", "tiny_sliced.ckpt" };
    for (int f = 0; f < 3; f++) {
        strata_weights *w = load(data_path(files[f]));
        strata_tensor *a = tensor(w, find(w, "bn1.gamma")), *b = tensor(w, find(w, "conv1.weight"));
        strata_weights_destroy(w);
        assert_true(fabsf(((float *)strata_tensor_data(a))[0] - 0.887531638f) < 1e-7f);
        assert_true(fabsf(((float *)strata_tensor_data(b))[0] - 0.0731815472f) < 1e-7f);
        strata_tensor_unref(a);
        strata_tensor_unref(b);
    }
}

/* In .safetensors the bytes lie aligned, so tensors must be views: the same address each time. */
static void test_no_second_copy(void **state)
{
    (void)state;
    strata_weights *w = load(data_path("tiny.safetensors"));
    strata_tensor *a = tensor(w, 0), *b = tensor(w, 0);
    assert_ptr_equal(strata_tensor_data(a), strata_tensor_data(b));
    strata_tensor_unref(a);
    strata_tensor_unref(b);
    strata_weights_destroy(w);
}

static void test_sha256(void **state)
{
    (void)state;
    /* sha256sum of the 32 bytes of bn1.gamma, by Python's hashlib */
    const char *expected = "5ee7d6dd1f58266db7990917e441be94f0e3a33bd7605a3061a9e6d85653417b";
    static const char *const files[] = { "tiny.ckpt", "tiny.safetensors", "tiny_sliced.ckpt" };
    char hex[65], conv[3][65];
    for (int f = 0; f < 3; f++) {
        strata_weights *w = load(data_path(files[f]));
        assert_int_equal(strata_weights_sha256(w, find(w, "bn1.gamma"), hex, NULL), STRATA_OK);
        assert_string_equal(hex, expected);
        assert_int_equal(strata_weights_sha256(w, find(w, "conv1.weight"), conv[f], NULL), STRATA_OK);
        assert_string_equal(conv[f], conv[0]); /* in one piece or in slices */
        assert_int_equal(strata_weights_sha256(w, 99, hex, NULL), STRATA_INVALID);
        strata_weights_destroy(w);
    }
}

static void test_save_keeps_everything(void **state)
{
    (void)state;
    static const char *const files[] = { "tiny_sliced.ckpt", "mixed.ckpt", "tiny_ema.ckpt",
                                         "tiny.safetensors" };
    for (int f = 0; f < 4; f++) {
        char a[65], b[65];
        strata_weights *w = load(data_path(files[f]));
        assert_int_equal(strata_weights_save(w, scratch_path(&tmp, "saved.safetensors"), NULL), STRATA_OK);
        strata_weights *s = load(tmp.path);
        assert_int_equal(strata_weights_count(s), strata_weights_count(w));
        for (int i = 0; i < strata_weights_count(w); i++) {
            strata_weights_entry e = strata_weights_get(w, i);
            int k = find(s, e.name);
            strata_weights_entry saved = strata_weights_get(s, k);
            assert_int_equal(saved.desc.dtype, e.desc.dtype);
            assert_true(strata_same_shape(&saved.desc, &e.desc));
            strata_weights_sha256(w, i, a, NULL);
            strata_weights_sha256(s, k, b, NULL);
            assert_string_equal(a, b);
        }
        strata_weights_destroy(w);
        strata_weights_destroy(s);
        unlink(tmp.path);
    }
    strata_error err;
    strata_weights *w = load(data_path("tiny.ckpt"));
    assert_int_equal(strata_weights_save(w, "/nonexistent/x.safetensors", &err), STRATA_IO);
    strata_weights_destroy(w);
    assert_int_equal(scratch_count(&tmp), 0);
}

static void test_tail_with_checksum(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = read_file(data_path("tiny.ckpt"), &size);
    bytes = realloc(bytes, size + 17);
    memcpy(bytes + size, "crc_num\0\0\0\0\0\0\x12\x34\x56\x78", 17);
    write_file(scratch_path(&tmp, "crc.ckpt"), bytes, size + 17);
    strata_weights *w = load(tmp.path);
    check_tiny(w, "");
    strata_weights_destroy(w);
    unlink(tmp.path);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiny_files),
        cmocka_unit_test(test_ema_and_order),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_tensors_outlive_weights),
        cmocka_unit_test(test_no_second_copy),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_save_keeps_everything),
        cmocka_unit_test(test_tail_with_checksum),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
