/* Checkpoints: files of other kinds, absurd tensors, broken rules, cuts and changed bytes get no further than
 * an error. */
#include "weights_fixture.h"

#include "checkpoint.pb-c.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_of_other_kinds),
        cmocka_unit_test(test_absurd_tensors),
        cmocka_unit_test(test_safetensors_rules),
        cmocka_unit_test(test_damaged_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
