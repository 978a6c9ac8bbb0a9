/* Arrays on disk: .npy in every form numpy writes, and the files of strata_writer, read back by other code:
 * .npz by libzip and our .npy reader here, and by numpy in check_arrays.py; .safetensors by the checkpoint
 * reader. */
#include "fixture.h"

#include <strata/extend.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <zip.h>

static strata_tensor *ramp(int rank, const int64_t *dim, float start)
{
    strata_tensor_desc desc = strata_desc_f32(rank, dim);
    strata_tensor *t;
    assert_int_equal(strata_tensor_create(&desc, &t, NULL), STRATA_OK);
    float *x = strata_tensor_data(t);
    for (int64_t i = 0; i < strata_count(&desc); i++)
        x[i] = start + (float)i;
    return t;
}

/* ---- .npy ---------------------------------------------------------------------------------------------- */

/* An .npy of that version and literal; `n` bytes of data. */
static size_t make_npy(int version, const char *text, const void *data, size_t n, unsigned char *out)
{
    size_t length = strlen(text), at = version == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version;
    out[7] = 0;
    for (size_t i = 8; i < at; i++)
        out[i] = (unsigned char)(length >> 8 * (i - 8));
    memcpy(out + at, text, length);
    memcpy(out + at + length, data, n);
    return at + length + n;
}

static strata_status read_bytes(const void *bytes, size_t size, strata_tensor **t, strata_error *err)
{
    *err = (strata_error){ 0 };
    strata_status status = strata_npy_read(memory_file(bytes, size), t, err);
    assert_true((status == STRATA_OK) == (*t != NULL));
    assert_true(status == STRATA_OK || strlen(err->text) > 0);
    return status;
}

static void test_npy_forms(void **state)
{
    (void)state;
    const float data[6] = { 1, 2, 3, 4, 5, 6 };
    unsigned char bytes[1024], swapped[24];
    for (int i = 0; i < 24; i++)
        swapped[i] = ((const unsigned char *)data)[i / 4 * 4 + 3 - i % 4];
    const struct {
        int version;
        const char *text;
        const void *data;
        float expected[6];
    } cases[] = {
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", data, { 1, 2, 3, 4, 5, 6 } },
        { 2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", data, { 1, 2, 3, 4, 5, 6 } },
        { 3, "{\"shape\":(2L,3L),\"descr\":\"<f4\",\"fortran_order\":False}", data, { 1, 2, 3, 4, 5, 6 } },
        { 1, "{'descr': '=f4', 'fortran_order': False, 'shape': (2, 3)}", data, { 1, 2, 3, 4, 5, 6 } },
        { 1, "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }\n", swapped, { 1, 2, 3, 4, 5, 6 } },
        { 1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", data, { 1, 3, 5, 2, 4, 6 } },
        { 1, "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }\n", swapped, { 1, 3, 5, 2, 4, 6 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strata_tensor *t;
        strata_error err;
        size_t size = make_npy(cases[i].version, cases[i].text, cases[i].data, 24, bytes);
        if (read_bytes(bytes, size, &t, &err) != STRATA_OK)
            fail_msg("%s: %s", cases[i].text, err.text);
        const strata_tensor_desc *d = strata_tensor_get_desc(t);
        assert_true(d->rank == 2 && d->dim[0] == 2 && d->dim[1] == 3 && d->dtype == STRATA_F32);
        assert_memory_equal(strata_tensor_data(t), cases[i].expected, 24);
        strata_tensor_unref(t);
    }
}

/* Three dims in Fortran order: element (i,j,k) lies at i + 2j + 6k. */
static void test_npy_transposes(void **state)
{
    (void)state;
    uint16_t data[24];
    unsigned char bytes[1024];
    for (int i = 0; i < 24; i++)
        data[i] = (uint16_t)i;
    strata_tensor *t;
    strata_error err;
    size_t size =
        make_npy(1, "{'descr': '<u2', 'fortran_order': True, 'shape': (2, 3, 4), }", data, 48, bytes);
    assert_int_equal(read_bytes(bytes, size, &t, &err), STRATA_OK);
    const uint16_t *x = strata_tensor_data(t);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++)
                assert_int_equal(*x++, i + 2 * j + 6 * k);
    strata_tensor_unref(t);
}

static void test_npy_refusals(void **state)
{
    (void)state;
    const float data[6] = { 0 };
    unsigned char bytes[1024];
    static const struct {
        const char *text, *phrase;
    } cases[] = {
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }", "needs 28 bytes" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }", "needs 20 bytes" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,2), }", "absurd" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,), }", "absurd" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
          "shape is damaged" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }", "shape is damaged" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,6), }", "more than 6" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "'|O'" },
        { "{'descr': '<U6', 'fortran_order': False, 'shape': (1,), }", "'<U6'" },
        { "{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }", "'<c8'" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }", "structured" },
        { "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (6,), }", "neither True" },
        { "{'descr': '<f4', 'fortran_order': False}", "no descr" },
        { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", "unexpected" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)", "damaged" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (6", "damaged" },
        { "{'descr': '<f4", "damaged" },
        { "", "not a dictionary" },
    };
    strata_tensor *t;
    strata_error err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = make_npy(1, cases[i].text, data, 24, bytes);
        assert_int_equal(read_bytes(bytes, size, &t, &err), STRATA_FORMAT);
        if (strstr(err.text, cases[i].phrase) == NULL)
            fail_msg("'%s' does not say '%s'", err.text, cases[i].phrase);
    }
    size_t size = make_npy(9, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", data, 24, bytes);
    assert_int_equal(read_bytes(bytes, size, &t, &err), STRATA_FORMAT);
    assert_int_equal(strata_npy_read("/nonexistent/x.npy", &t, &err), STRATA_NOT_FOUND);
    assert_int_equal(strata_npy_read("/tmp", &t, &err), STRATA_IO);

    /* every cut, every byte */
    size = make_npy(2, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", data, 24, bytes);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(read_bytes(bytes, cut, &t, &err), STRATA_FORMAT);
    for (size_t i = 0; i < size; i++) {
        unsigned char old = bytes[i];
        const unsigned char changed[] = { 0, 0xff, 0x80, '9', '(', (unsigned char)(old + 1) };
        for (size_t k = 0; k < sizeof changed; k++) {
            bytes[i] = changed[k];
            if (read_bytes(bytes, size, &t, &err) == STRATA_OK)
                assert_true(strata_bytes(strata_tensor_get_desc(t)) <= size);
            strata_tensor_unref(t);
        }
        bytes[i] = old;
    }
}

static void test_npy_round_trip(void **state)
{
    (void)state;
    for (int type = 0; type < STRATA_DTYPE_COUNT; type++)
        for (int rank = 0; rank <= STRATA_MAX_RANK; rank++) {
            strata_tensor_desc desc = { .dtype = (strata_dtype)type,
                                        .rank = rank,
                                        .dim = { 2, 3, 1, 2, 1, 2 } };
            strata_tensor *t, *back;
            assert_int_equal(strata_tensor_create(&desc, &t, NULL), STRATA_OK);
            for (size_t i = 0; i < strata_bytes(&desc); i++)
                ((unsigned char *)strata_tensor_data(t))[i] = (unsigned char)(i % 2);
            strata_status status = strata_npy_write(scratch_path(&tmp, "t.npy"), t, NULL);
            assert_int_equal(status, type == STRATA_BF16 ? STRATA_INVALID : STRATA_OK);
            if (status == STRATA_OK) {
                assert_int_equal(strata_npy_read(tmp.path, &back, NULL), STRATA_OK);
                assert_int_equal(strata_tensor_get_desc(back)->dtype, type);
                assert_true(strata_same_shape(strata_tensor_get_desc(back), &desc));
                assert_memory_equal(strata_tensor_data(back), strata_tensor_data(t), strata_bytes(&desc));
                strata_tensor_unref(back);
                unlink(tmp.path);
            }
            strata_tensor_unref(t);
        }
}

/* ---- The writer ---------------------------------------------------------------------------------------- */

static const char record[] = "{\"model\":\"r\xc3\xa9seau\",\"note\":\"a \\\"b\\\" \xf0\x9f\x98\x80\"}";
static const char *const names[3] = { "a.jpg", "bad \xff\xc3(.jpg", "\xe5\x9b\xbe.png" };

/* Three rows in two appends, two arrays, a text, names. */
static strata_writer *fill(const char *path, strata_dtype dtype)
{
    strata_writer *w;
    strata_error err = { 0 };
    if (strata_writer_create(path, dtype, &w, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    strata_tensor *one = ramp(4, (int64_t[]){ 1, 2, 3, 3 }, 0), *two = ramp(4, (int64_t[]){ 2, 2, 3, 3 }, 18);
    strata_tensor *flat = ramp(2, (int64_t[]){ 3, 5 }, 0.5f);
    assert_int_equal(strata_writer_append(w, "layer1", one, &err), STRATA_OK);
    assert_int_equal(strata_writer_append(w, "logits", flat, &err), STRATA_OK);
    assert_int_equal(strata_writer_append(w, "layer1", two, &err), STRATA_OK);
    assert_int_equal(strata_writer_set_text(w, "record", record, &err), STRATA_OK);
    assert_int_equal(strata_writer_set_names(w, names, 3, &err), STRATA_OK);
    strata_tensor_unref(one);
    strata_tensor_unref(two);
    strata_tensor_unref(flat);
    return w;
}

static strata_tensor *read_member(zip_t *zip, const char *name)
{
    static unsigned char bytes[8192];
    zip_file_t *file = zip_fopen(zip, name, 0);
    assert_non_null(file);
    zip_int64_t n = zip_fread(file, bytes, sizeof bytes);
    assert_true(n > 0);
    zip_fclose(file);
    strata_tensor *t;
    strata_error err;
    if (read_bytes(bytes, (size_t)n, &t, &err) != STRATA_OK)
        fail_msg("%s: %s", name, err.text);
    return t;
}

static void test_npz(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path(&tmp, "out.npz"));
    strata_writer *w = fill(path, STRATA_F32);
    assert_int_equal(scratch_count(&tmp), 0); /* nothing to see before commit */
    strata_error err = { 0 };
    if (strata_writer_commit(w, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    assert_int_equal(strata_writer_commit(w, &err), STRATA_INVALID);
    strata_writer_destroy(w);
    assert_int_equal(scratch_count(&tmp), 1);

    int code;
    zip_t *zip = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    assert_non_null(zip);
    assert_int_equal(zip_get_num_entries(zip, 0), 4);
    for (int i = 0; i < 4; i++) {
        zip_stat_t st;
        assert_int_equal(zip_stat_index(zip, (zip_uint64_t)i, 0, &st), 0);
        assert_int_equal(st.comp_method, ZIP_CM_STORE);
    }
    strata_tensor *t = read_member(zip, "layer1.npy");
    const strata_tensor_desc *d = strata_tensor_get_desc(t);
    assert_true(d->rank == 4 && d->dim[0] == 3 && d->dim[1] == 2 && d->dim[3] == 3);
    for (int i = 0; i < 54; i++)
        assert_true(((float *)strata_tensor_data(t))[i] == (float)i);
    strata_tensor_unref(t);
    t = read_member(zip, "logits.npy");
    assert_true(((float *)strata_tensor_data(t))[14] == 14.5f);
    strata_tensor_unref(t);
    zip_discard(zip);
    unlink(path);
}

static void test_npz_is_reproducible(void **state)
{
    (void)state;
    unsigned char *bytes[2];
    size_t size[2];
    for (int i = 0; i < 2; i++) {
        strata_writer *w = fill(scratch_path(&tmp, "same.npz"), STRATA_F16);
        assert_int_equal(strata_writer_commit(w, NULL), STRATA_OK);
        strata_writer_destroy(w);
        bytes[i] = read_file(scratch_path(&tmp, "same.npz"), &size[i]);
        unlink(tmp.path);
        if (i == 0)
            sleep(1);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    free(bytes[0]);
    free(bytes[1]);
}

static void test_safetensors(void **state)
{
    (void)state;
    for (int half = 0; half < 2; half++) {
        strata_writer *w = fill(scratch_path(&tmp, "out.safetensors"), half ? STRATA_F16 : STRATA_F32);
        strata_error err = { 0 };
        if (strata_writer_commit(w, &err) != STRATA_OK)
            fail_msg("%s", err.text);
        strata_writer_destroy(w);
        strata_weights *s;
        assert_int_equal(strata_weights_load(ctx, scratch_path(&tmp, "out.safetensors"), &s, &err),
                         STRATA_OK);
        assert_int_equal(strata_weights_count(s), 2);
        strata_tensor *t;
        assert_int_equal(strata_weights_tensor(s, 0, &t, &err), STRATA_OK);
        const strata_tensor_desc *d = strata_tensor_get_desc(t);
        assert_string_equal(strata_weights_get(s, 0).name, "layer1");
        assert_true(d->dtype == (half ? STRATA_F16 : STRATA_F32) && d->dim[0] == 3);
        float x[54];
        strata_convert_to_f32(d->dtype, strata_tensor_data(t), x, 54);
        for (int i = 0; i < 54; i++)
            assert_true(x[i] == (float)i);
        strata_tensor_unref(t);
        strata_weights_destroy(s);
        unlink(tmp.path);
    }
}

static void test_nothing_left_behind(void **state)
{
    (void)state;
    strata_error err;
    write_file(scratch_path(&tmp, "old.npz"), "old", 3);
    strata_writer *w = fill(scratch_path(&tmp, "old.npz"), STRATA_F32);
    strata_writer_destroy(w); /* without commit */
    assert_int_equal(scratch_count(&tmp), 1);

    /* a commit that fails: rows of different count */
    w = fill(scratch_path(&tmp, "old.npz"), STRATA_F32);
    strata_tensor *more = ramp(2, (int64_t[]){ 1, 5 }, 0);
    assert_int_equal(strata_writer_append(w, "logits", more, &err), STRATA_OK);
    assert_int_equal(strata_writer_commit(w, &err), STRATA_INVALID);
    assert_non_null(strstr(err.text, "4 rows"));
    strata_writer_destroy(w);
    strata_tensor_unref(more);
    size_t size;
    unsigned char *bytes = read_file(scratch_path(&tmp, "old.npz"), &size);
    assert_true(size == 3 && memcmp(bytes, "old", 3) == 0);
    free(bytes);
    unlink(scratch_path(&tmp, "old.npz"));
    assert_int_equal(scratch_count(&tmp), 0);
}

/* No more room: why, in the system's words, though the write that met it was one of many into a stream's buffer. */
static void test_no_room(void **state)
{
    (void)state;
    strata_error   err;
    struct rlimit  all, little;
    strata_tensor *t = ramp(1, (int64_t[]){ 100 * 1000 }, 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
    little = (struct rlimit){ .rlim_cur = 50 * 1000, .rlim_max = all.rlim_max };
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    const strata_status status = strata_npy_write(scratch_path(&tmp, "large.npy"), t, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    signal(SIGXFSZ, before);
    assert_int_equal(status, STRATA_IO);
    if (!strstr(err.text, "large.npy: cannot write: ") || !strstr(err.text, strerror(EFBIG)))
        fail_msg("'%s' does not say '%s'", err.text, strerror(EFBIG));
    assert_int_equal(scratch_count(&tmp), 0);
    strata_tensor_unref(t);
}

static void test_writer_refusals(void **state)
{
    (void)state;
    strata_writer *w;
    strata_error err;
    assert_int_equal(strata_writer_create("x.h5", STRATA_F32, &w, &err), STRATA_INVALID);
    assert_non_null(strstr(err.text, ".npz"));
    assert_int_equal(strata_writer_create(".npz", STRATA_F32, &w, &err), STRATA_INVALID);
    assert_int_equal(strata_writer_create("x.npz", STRATA_I32, &w, &err), STRATA_INVALID);
    assert_int_equal(strata_writer_create("/nonexistent/x.npz", STRATA_F32, &w, &err), STRATA_IO);
    assert_null(w);

    w = fill(scratch_path(&tmp, "x.npz"), STRATA_F32);
    strata_tensor *wide = ramp(2, (int64_t[]){ 1, 6 }, 0), *none = ramp(0, (int64_t[]){ 0 }, 0);
    assert_int_equal(strata_writer_append(w, "logits", wide, &err), STRATA_SHAPE);
    assert_int_equal(strata_writer_append(w, "names", wide, &err), STRATA_INVALID);
    assert_int_equal(strata_writer_append(w, "record", wide, &err), STRATA_INVALID);
    assert_int_equal(strata_writer_append(w, "", wide, &err), STRATA_INVALID);
    assert_int_equal(strata_writer_append(w, "new", none, &err), STRATA_INVALID);
    assert_int_equal(strata_writer_set_text(w, "record", "again", &err), STRATA_INVALID);
    assert_int_equal(strata_writer_set_text(w, "layer1", "taken", &err), STRATA_INVALID);
    assert_int_equal(strata_writer_set_names(w, names, 2, &err), STRATA_INVALID);
    assert_int_equal(strata_writer_commit(w, &err), STRATA_OK); /* refusals did no harm */
    strata_writer_destroy(w);
    unlink(scratch_path(&tmp, "x.npz"));
    strata_tensor_unref(wide);
    strata_tensor_unref(none);
}

/* For check_arrays.py: one file of each kind in that folder. */
static int write_samples(const char *dir)
{
    snprintf(tmp.dir, sizeof tmp.dir, "%s", dir);
    static const char *const files[] = { "f32.npz", "f16.npz", "f32.safetensors" };
    for (int i = 0; i < 3; i++) {
        strata_writer *w = fill(scratch_path(&tmp, files[i]), i == 1 ? STRATA_F16 : STRATA_F32);
        assert_int_equal(strata_writer_commit(w, NULL), STRATA_OK);
        strata_writer_destroy(w);
    }
    strata_tensor *t = ramp(4, (int64_t[]){ 1, 2, 3, 4 }, 0);
    assert_int_equal(strata_npy_write(scratch_path(&tmp, "one.npy"), t, NULL), STRATA_OK);
    strata_tensor_unref(t);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return write_samples(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy_forms),
        cmocka_unit_test(test_npy_transposes),
        cmocka_unit_test(test_npy_refusals),
        cmocka_unit_test(test_npy_round_trip),
        cmocka_unit_test(test_npz),
        cmocka_unit_test(test_npz_is_reproducible),
        cmocka_unit_test(test_safetensors),
        cmocka_unit_test(test_nothing_left_behind),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_writer_refusals),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
