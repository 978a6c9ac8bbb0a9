/* Checkpoints: what the readers give for good files, and that no damaged one gets further than an error. The
 * good files and the numbers in tiny.txt come from MindSpore's format and MindCV's names, not from this
 * project. */
#include "scratch.h"

#include <strata/extend.h>

#include <math.h>

#include "checkpoint.pb-c.h"

static strata_context *ctx;
static scratch         tmp;

static const char *data_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/ckpt/%s", STRATA_TEST_DATA, name);
    return path;
}

static strata_weights *load(const char *path)
{
    strata_weights *w;
    strata_error err = { 0 };
    if (strata_weights_load(ctx, path, &w, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return w;
}

static int find(const strata_weights *w, const char *name)
{
    for (int i = 0; i < strata_weights_count(w); i++)
        if (strcmp(strata_weights_get(w, i).name, name) == 0)
            return i;
    fail_msg("no tensor %s", name);
    return -1;
}

static strata_tensor *tensor(const strata_weights *w, int i)
{
    strata_tensor *t;
    assert_int_equal(strata_weights_tensor(w, i, &t, NULL), STRATA_OK);
    return t;
}

/* Writes bytes to a file and loads it; true when that worked. A load that works must give all tensors too. */
static bool try_load(const void *bytes, size_t size, strata_error *err)
{
    strata_weights *w;
    *err = (strata_error){ 0 };
    strata_status status = strata_weights_load(ctx, memory_file(bytes, size), &w, err);
    if (status != STRATA_OK) {
        assert_null(w);
        assert_int_not_equal(status, STRATA_NOMEM); /* sizes are checked before memory is asked for */
        assert_int_equal(err->status, status);
        assert_true(strlen(err->text) > 0);
        return false;
    }
    for (int i = 0; i < strata_weights_count(w); i++) {
        strata_weights_entry e = strata_weights_get(w, i);
        strata_tensor *t = tensor(w, i);
        char hex[65];
        assert_true(strata_bytes(&e.desc) <= size);
        assert_int_equal(strata_weights_sha256(w, i, hex, NULL), STRATA_OK);
        strata_tensor_unref(t);
    }
    strata_weights_destroy(w);
    return true;
}

/* ---- Good files ---------------------------------------------------------------------------------------- */

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

/* ---- Refusals ------------------------------------------------------------------------------------------ */

static void expect_refusal(const void *bytes, size_t size, const char *phrase)
{
    strata_error err;
    if (try_load(bytes, size, &err))
        fail_msg("loaded, but should say: %s", phrase);
    if (strstr(err.text, phrase) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, phrase);
    assert_int_equal(err.status, STRATA_FORMAT);
}

static void test_files_of_other_kinds(void **state)
{
    (void)state;
    strata_weights *w;
    strata_error err;
    assert_int_equal(strata_weights_load(ctx, "/nonexistent/w.ckpt", &w, &err), STRATA_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nonexistent/w.ckpt"));
    assert_int_equal(strata_weights_load(ctx, "/tmp", &w, &err), STRATA_IO);
    assert_int_equal(strata_weights_load(ctx, "/dev/null", &w, &err), STRATA_IO);
    expect_refusal("", 0, "empty");
    expect_refusal("\xd8\x5e\x3a\x7f and so on", 14, "encrypted");
    expect_refusal("\x7f\x3a\x5e\xd9 and so on", 14, "encrypted");
    expect_refusal("PK\3\4 and so on", 14, "safetensors.torch");
    expect_refusal("\x80\2}q\0.", 6, "pickle");
    expect_refusal("hello, world", 12, "neither");
    expect_refusal("\x0a", 1, "");
}

/* A checkpoint of one value, made with protobuf-c. */
static size_t pack_value(const char *tag, const char *type, size_t dims, int64_t *dim, const void *content,
                         size_t n, unsigned char *out)
{
    Strata__Mindspore__TensorProto t = STRATA__MINDSPORE__TENSOR_PROTO__INIT;
    Strata__Mindspore__Value v = STRATA__MINDSPORE__VALUE__INIT, *values[] = { &v };
    Strata__Mindspore__Checkpoint c = STRATA__MINDSPORE__CHECKPOINT__INIT;
    t.n_dims = dims;
    t.dims = dim;
    t.tensor_type = (char *)type;
    t.has_tensor_content = 1;
    t.tensor_content = (ProtobufCBinaryData){ n, (uint8_t *)content };
    v.tag = (char *)tag;
    v.tensor = &t;
    c.n_value = 1;
    c.value = values;
    return strata__mindspore__checkpoint__pack(&c, out);
}

static void test_absurd_tensors(void **state)
{
    (void)state;
    unsigned char bytes[4096];
    float content[8] = { 1, 2, 3 };
    const struct {
        const char *type;
        size_t dims;
        int64_t dim[8];
        size_t n;
        const char *phrase;
    } cases[] = {
        { "Float32", 1, { 4 }, 12, "needs 16 bytes" },
        { "Float32", 1, { 2 }, 12, "needs 8 bytes" },
        { "Float32", 2, { INT64_MAX, INT64_MAX }, 12, "absurd" },
        { "Float32", 4, { 1 << 30, 1 << 30, 1 << 30, 1 << 30 }, 12, "absurd" },
        { "Float64", 1, { INT64_MAX / 4 }, 12, "absurd" },
        { "Float32", 2, { -1, -3 }, 12, "negative" },
        { "Float32", 7, { 1, 1, 1, 1, 1, 1, 3 }, 12, "at most 6" },
        { "Float33", 1, { 3 }, 12, "unknown type" },
        { "", 1, { 3 }, 12, "unknown type" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = pack_value("x", cases[i].type, cases[i].dims, (int64_t *)cases[i].dim, content,
                                 cases[i].n, bytes);
        expect_refusal(bytes, size, cases[i].phrase);
    }
    int64_t three = 3, two = 2;
    strata_error err;
    size_t size = pack_value("x", "Float32", 1, &three, content, 12, bytes);
    assert_true(try_load(bytes, size, &err));
    expect_refusal(bytes, size - 1, "not whole");
    size = pack_value("", "Float32", 1, &three, content, 12, bytes);
    expect_refusal(bytes, size, "name");
    size = pack_value("a\nb", "Float32", 1, &three, content, 12, bytes);
    expect_refusal(bytes, size, "control character");
    /* the same name again, later in the file */
    size = pack_value("x", "Float32", 1, &three, content, 12, bytes);
    size += pack_value("y", "Float32", 1, &three, content, 12, bytes + size);
    size += pack_value("x", "Float32", 1, &three, content, 12, bytes + size);
    expect_refusal(bytes, size, "two tensors have the name x");
    /* slices that disagree, and slices that are too many */
    size = pack_value("x", "Float32", 1, &three, content, 8, bytes);
    size += pack_value("x", "Float32", 1, &two, content, 4, bytes + size);
    expect_refusal(bytes, size, "differ");
    size = pack_value("x", "Float32", 1, &three, content, 12, bytes);
    size += pack_value("x", "Float32", 1, &three, content, 12, bytes + size);
    expect_refusal(bytes, size, "needs 12 bytes");
    /* a text, which is kept apart */
    size = pack_value("vocabulary", "str", 0, NULL, "abc", 3, bytes);
    write_file(scratch_path(&tmp, "text.ckpt"), bytes, size);
    strata_weights *w = load(tmp.path);
    assert_string_equal(strata_weights_get(w, 0).skipped, "text");
    strata_weights_destroy(w);
    unlink(tmp.path);
    /* lengths beyond any file */
    expect_refusal("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, "not whole");
    expect_refusal("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 13, "not whole");
}

/* A .safetensors with this header; `size` bytes of data. */
static size_t make_safetensors(const char *header, size_t data, unsigned char *out)
{
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(out + 8, header, length);
    memset(out + 8 + length, 1, data);
    return 8 + length + data;
}

static void test_safetensors_rules(void **state)
{
    (void)state;
    unsigned char bytes[1024];
    strata_error err;
    static const struct {
        const char *header;
        size_t data;
        const char *phrase; /* NULL: a good file */
    } cases[] = {
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ", 8, NULL },
        { "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
          NULL },
        { "{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]},"
          "\"a\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[0,1]},"
          "\"e\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[1,1]}}",
          4, NULL },
        { "{}", 0, NULL },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "belong to no tensor" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "downloaded" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "begins at byte 4" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
          "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
          12, "begins at byte 4" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "needs 8 bytes" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "before it begins" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "negative" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "not an integer" },
        { "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, "F8_E4M3" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "at most 6" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0,
          "absurd" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "absurd" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
          "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
          4, "duplicate" },
        { "{\"__metadata__\":{\"k\":1}}", 0, "__metadata__" },
        { "{\"a\":7}", 0, "needs dtype" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "needs dtype" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]} ", 4, "damaged" },
        { "{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "name" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = make_safetensors(cases[i].header, cases[i].data, bytes);
        if (cases[i].phrase != NULL) {
            expect_refusal(bytes, size, cases[i].phrase);
        } else if (!try_load(bytes, size, &err)) {
            fail_msg("%s: %s", cases[i].header, err.text);
        }
    }
    size_t size = make_safetensors("{}", 0, bytes);
    bytes[3] = 1; /* a header of 16 MB in a file of 10 bytes */
    expect_refusal(bytes, size, "downloaded");
    bytes[7] = 0x7f;
    expect_refusal(bytes, size, "neither");
}

/* Every cut, and every byte changed in several ways: a file loads or is refused. */
static void damage(const char *name, size_t step)
{
    strata_error err;
    size_t size;
    unsigned char *bytes = read_file(data_path(name), &size);
    for (size_t cut = 0; cut < size; cut++)
        try_load(bytes, cut, &err);
    for (size_t i = 0; i < size; i += i < 600 ? 1 : step) {
        unsigned char old = bytes[i];
        const unsigned char changed[] = {
            0x00, 0xff, 0x80, 0x7f, (unsigned char)(old ^ 1), (unsigned char)(old + 1), (unsigned char)~old
        };
        for (size_t k = 0; k < sizeof changed; k++) {
            bytes[i] = changed[k];
            try_load(bytes, size, &err);
        }
        bytes[i] = old;
    }
    free(bytes);
}

static void test_damaged_files(void **state)
{
    (void)state;
    damage("mixed.ckpt", 1);
    damage("tiny_sliced.ckpt", 11);
    damage("tiny_packed_dims.ckpt", 11);
    damage("tiny.safetensors", 11);
}

/* ---- Conversions --------------------------------------------------------------------------------------- */

/* The value of a half from its definition. */
static double half_value(unsigned half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double value = exponent == 31   ? (fraction ? NAN : INFINITY)
                   : exponent == 0 ? ldexp(fraction, -24)
                                   : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -value : value;
}

static void test_every_half(void **state)
{
    (void)state;
    static uint16_t half[65536], back[65536];
    static float value[65536];
    for (unsigned i = 0; i < 65536; i++)
        half[i] = (uint16_t)i;
    strata_convert_to_f32(STRATA_F16, half, value, 65536);
    strata_convert_from_f32(value, STRATA_F16, back, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        double expected = half_value(i);
        if (isnan(expected)) {
            assert_true(isnan(value[i]));
            assert_true((back[i] & 0x7c00) == 0x7c00 && (back[i] & 0x3ff) != 0);
        } else {
            assert_true((double)value[i] == expected && !signbit(value[i]) == !(i & 0x8000));
            assert_int_equal(back[i], i);
        }
    }
}

/* Between neighbouring halfs: the mid-point goes to the even one, its neighbours to the nearer one. */
static void test_rounding_to_half(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 0x7c00; i++) {
        double low = half_value(i), high = i == 0x7bff ? 65536 : half_value(i + 1);
        float middle = (float)((low + high) / 2);
        float in[6] = { nextafterf(middle, 0), middle, nextafterf(middle, INFINITY) };
        uint16_t out[6];
        for (int k = 0; k < 3; k++)
            in[k + 3] = -in[k];
        strata_convert_from_f32(in, STRATA_F16, out, 6);
        assert_int_equal(out[0], i);
        assert_int_equal(out[1], i + (i & 1));
        assert_int_equal(out[2], i + 1);
        for (int k = 0; k < 3; k++)
            assert_int_equal(out[k + 3], out[k] | 0x8000);
    }
    const float special[] = { INFINITY, -INFINITY, NAN, 1e30f, 0x1p-26f, 0x1p-149f, -0.0f };
    uint16_t out[7];
    strata_convert_from_f32(special, STRATA_F16, out, 7);
    assert_int_equal(out[0], 0x7c00);
    assert_int_equal(out[1], 0xfc00);
    assert_true((out[2] & 0x7fff) > 0x7c00);
    assert_int_equal(out[3], 0x7c00);
    assert_int_equal(out[4], 0);
    assert_int_equal(out[5], 0);
    assert_int_equal(out[6], 0x8000);
}

static void test_other_types(void **state)
{
    (void)state;
    unsigned char bytes[1 + 8 * 4];
    float out[4];
#define CHECK(dtype, type, a, b, c)                                                                \
    do {                                                                                           \
        const type in[] = { (type)(a), (type)(b), (type)(c) };                                     \
        memcpy(bytes + 1, in, sizeof in); /* unaligned on purpose */                               \
        strata_convert_to_f32(dtype, bytes + 1, out, 3);                                           \
        assert_true(out[0] == (float)in[0] && out[1] == (float)in[1] && out[2] == (float)in[2]);   \
    } while (0)
    CHECK(STRATA_F32, float, 1.5, -2, 1e-40);
    CHECK(STRATA_F64, double, 0.1, -1e300, 3);
    CHECK(STRATA_I8, int8_t, -128, 127, 0);
    CHECK(STRATA_U8, uint8_t, 255, 1, 0);
    CHECK(STRATA_I16, int16_t, -32768, 32767, 5);
    CHECK(STRATA_U16, uint16_t, 65535, 1, 0);
    CHECK(STRATA_I32, int32_t, INT32_MIN, 16777217, 3);
    CHECK(STRATA_U32, uint32_t, UINT32_MAX, 16777217, 3);
    CHECK(STRATA_I64, int64_t, INT64_MIN, 123456789012345, 3);
    CHECK(STRATA_U64, uint64_t, UINT64_MAX, 123456789012345, 3);
#undef CHECK
    const uint16_t bf16[] = { 0x3f80, 0xc000, 0x7f80, 0x0001 };
    strata_convert_to_f32(STRATA_BF16, bf16, out, 4);
    assert_true(out[0] == 1 && out[1] == -2 && isinf(out[2]) && out[3] == 0x1p-133f);
    strata_convert_to_f32(STRATA_BOOL, "\0\1\2", out, 3);
    assert_true(out[0] == 0 && out[1] == 1 && out[2] == 1);
}

static int setup(void **state)
{
    (void)state;
    scratch_open(&tmp);
    return strata_context_create(&ctx, NULL);
}

static int teardown(void **state)
{
    (void)state;
    strata_context_destroy(ctx);
    scratch_close(&tmp);
    return 0;
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
        cmocka_unit_test(test_files_of_other_kinds),
        cmocka_unit_test(test_absurd_tensors),
        cmocka_unit_test(test_safetensors_rules),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_rounding_to_half),
        cmocka_unit_test(test_other_types),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
