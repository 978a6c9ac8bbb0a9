/* The loader: everything in order, whatever it is; no more images ahead than asked for; early ends. */
#include "context_state.h"
#include "image_data.h"

#include <unistd.h>

static const strata_loader_options options = {
    .record = { .height = 20,
                .width = 24,
                .channels = 3,
                .mean = { 0.5, 0.4, 0.3 },
                .std = { 0.2, 0.3, 0.25 },
                .interpolation = STRATA_BICUBIC,
                .crop_pct = 0.9 },
    .flavour = STRATA_PREPROCESS_PILLOW,
};

static const char *const some[] = {
    IMAGES "rgb.jpg", IMAGES "none.jpg", IMAGES "rgba.png", IMAGES "rgb.jpg.ppm", IMAGES "exif6.jpg",
    IMAGES "lossy.webp", SCENE,
};
enum { SOME = sizeof some / sizeof *some };

/* What the loader must give for a path, had without the loader. */
typedef struct expected {
    strata_status status;
    float         numbers[3 * 20 * 24];
    uint64_t      hash; /* of the image */
} expected;

static void load_directly(const char *path, expected *e)
{
    strata_error err;
    strata_image *photo, *pixels;
    *e = (expected){ .status = strata_image_load(path, options.ignore_exif, &photo, &err) };
    if (e->status != STRATA_OK)
        return;
    assert_ok(strata_image_preprocess(photo, &options.record, options.flavour, &pixels, &err));
    strata_image_normalize(pixels, &options.record, e->numbers);
    e->hash = hash_image(pixels);
    strata_image_destroy(pixels);
    strata_image_destroy(photo);
}

static void results_come_in_order(void **state)
{
    enum { COUNT = 4 * SOME };
    static expected all[SOME];
    const char *paths[COUNT];
    for (int i = 0; i < SOME; i++)
        load_directly(some[i], &all[i]);
    for (int i = 0; i < COUNT; i++)
        paths[i] = some[i * 5 % SOME];
    for (int ahead = 0; ahead < 9; ahead += ahead < 2 ? 1 : 3) {
        strata_loader_options o = options;
        strata_error err, item_err;
        strata_loader *l;
        strata_tensor *tensor;
        strata_image *image;
        strata_status status;
        int index, next = 0;
        o.ahead = ahead;
        assert_ok(strata_loader_create(*state, paths, COUNT, &o, &l, &err));
        while (strata_loader_next(l, &index, &tensor, &image, &status, &item_err)) {
            const expected *want = &all[index * 5 % SOME];
            assert_int_equal(index, next++);
            assert_int_equal(status, want->status);
            if (status == STRATA_OK) {
                const strata_tensor_desc *d = strata_tensor_get_desc(tensor);
                assert_int_equal(strata_bytes(d), sizeof want->numbers);
                assert_int_equal(d->rank, 4);
                assert_int_equal(d->dim[1], 3);
                assert_memory_equal(strata_tensor_data(tensor), want->numbers, sizeof want->numbers);
                assert_int_equal(hash_image(image), want->hash);
            } else {
                assert_null(tensor);
                assert_null(image);
                assert_non_null(strstr(item_err.text, paths[index]));
            }
            strata_tensor_unref(tensor);
            strata_image_destroy(image);
        }
        assert_int_equal(next, COUNT);
        assert_false(strata_loader_next(l, &index, &tensor, &image, &status, &item_err));
        strata_loader_destroy(l);
    }
}

static void arrays_pass_through(void **state)
{
    char dir[] = "/tmp/strata-test-XXXXXX", path[3][64];
    assert_non_null(mkdtemp(dir));
    strata_error err;
    const strata_tensor_desc descs[3] = {
        strata_desc_f32(4, (int64_t[]){ 2, 3, 4, 5 }),
        strata_desc_f32(3, (int64_t[]){ 3, 6, 7 }),
        strata_desc_f32(2, (int64_t[]){ 4, 4 }),
    };
    const char *paths[4] = { path[0], SCENE, path[1], path[2] };
    for (int i = 0; i < 3; i++) {
        strata_tensor *t;
        assert_ok(strata_tensor_create(&descs[i], &t, &err));
        for (int64_t k = 0; k < strata_count(&descs[i]); k++)
            ((float *)strata_tensor_data(t))[k] = (float)k / 8;
        snprintf(path[i], sizeof path[i], "%s/%d.npy", dir, i);
        assert_ok(strata_npy_write(path[i], t, &err));
        strata_tensor_unref(t);
    }

    strata_loader *l;
    assert_ok(strata_loader_create(*state, paths, 4, &options, &l, &err));
    static const int64_t shapes[4][4] = { { 2, 3, 4, 5 }, { 1, 3, 20, 24 }, { 1, 3, 6, 7 }, { 0 } };
    strata_tensor *tensor;
    strata_image *image;
    strata_status status;
    int index;
    while (strata_loader_next(l, &index, &tensor, &image, &status, &err)) {
        assert_int_equal(status, index == 3 ? STRATA_FORMAT : STRATA_OK);
        if (index == 3) {
            assert_non_null(strstr(err.text, "2.npy"));
            continue;
        }
        const strata_tensor_desc *d = strata_tensor_get_desc(tensor);
        assert_int_equal(d->rank, 4);
        for (int k = 0; k < 4; k++)
            assert_int_equal(d->dim[k], shapes[index][k]);
        if (index != 1) {
            assert_null(image);
            assert_true(((const float *)strata_tensor_data(tensor))[9] == 9.0f / 8);
        }
        strata_tensor_unref(tensor);
        strata_image_destroy(image);
    }
    assert_int_equal(index, 3);
    strata_loader_destroy(l);
    for (int i = 0; i < 3; i++)
        unlink(path[i]);
    rmdir(dir);
}

/* The files vanish before the first result is taken: only those that were read ahead can still be had. */
static void no_more_is_read_ahead_than_asked(void **state)
{
    enum { COUNT = 40, AHEAD = 3 };
    char dir[] = "/tmp/strata-test-XXXXXX", names[COUNT][64];
    const char *paths[COUNT];
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%s/%d.png", dir, i);
        assert_int_equal(symlink(SCENE, names[i]), 0);
        paths[i] = names[i];
    }
    strata_loader_options o = options;
    strata_error err;
    strata_loader *l;
    o.ahead = AHEAD;
    assert_ok(strata_loader_create(*state, paths, COUNT, &o, &l, &err));
    usleep(300 * 1000);
    for (int i = 0; i < COUNT; i++)
        unlink(names[i]);
    rmdir(dir);

    int index, good = 0, missing = 0;
    strata_tensor *tensor;
    strata_status status;
    while (strata_loader_next(l, &index, &tensor, NULL, &status, &err)) {
        good += status == STRATA_OK;
        missing += status == STRATA_NOT_FOUND;
        strata_tensor_unref(tensor);
    }
    assert_true(good <= AHEAD);
    assert_int_equal(good + missing, COUNT);
    strata_loader_destroy(l);
}

static void loaders_may_end_early(void **state)
{
    enum { COUNT = 50 };
    const char *paths[COUNT];
    for (int i = 0; i < COUNT; i++)
        paths[i] = i % 3 ? some[i % SOME] : SCENE;
    for (int take = 0; take < 12; take += take < 4 ? 1 : 3) {
        strata_error err;
        strata_loader *l;
        assert_ok(strata_loader_create(*state, paths, COUNT, &options, &l, &err));
        for (int i = 0; i < take; i++) {
            int index;
            strata_tensor *tensor;
            strata_status status;
            assert_true(strata_loader_next(l, &index, &tensor, NULL, &status, &err));
            assert_int_equal(index, i);
            strata_tensor_unref(tensor);
        }
        strata_loader_destroy(l);
    }
    strata_loader_destroy(NULL);
}

static void wrong_options_are_refused(void **state)
{
    strata_error err;
    strata_loader *l;
    strata_loader_options o = options;
    o.record.height = 0;
    assert_int_equal(strata_loader_create(*state, some, SOME, &o, &l, &err), STRATA_INVALID);
    assert_null(l);
    o = options;
    o.record.std[1] = 0;
    assert_int_equal(strata_loader_create(*state, some, SOME, &o, &l, &err), STRATA_INVALID);
    o = options;
    o.ahead = -1;
    assert_int_equal(strata_loader_create(*state, some, SOME, &o, &l, &err), STRATA_INVALID);

    int index; /* nothing to load is fine */
    strata_tensor *tensor;
    strata_status status;
    assert_ok(strata_loader_create(*state, NULL, 0, &options, &l, &err));
    assert_false(strata_loader_next(l, &index, &tensor, NULL, &status, &err));
    strata_loader_destroy(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_come_in_order), cmocka_unit_test(arrays_pass_through),
        cmocka_unit_test(no_more_is_read_ahead_than_asked), cmocka_unit_test(loaders_may_end_early),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
