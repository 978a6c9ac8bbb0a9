/* Resizing: the same bytes as OpenCV's and Pillow's (by hash, from tests/data/make_images.py), and what must
 * hold for any size. tests/live_resize.py compares random sizes with the libraries themselves. */
#include "image_data.h"

#include "../formats/image.h"

static const char *const flavours[] = { "mindcv", "pillow" }, *const ways[] = { "bilinear", "bicubic" };

static int index_of(const char *const names[2], const char *name)
{
    assert_true(strcmp(names[0], name) == 0 || strcmp(names[1], name) == 0);
    return strcmp(names[0], name) == 0 ? 0 : 1;
}

static void same_bytes_as_the_libraries(void **state)
{
    (void)state;
    strata_error err;
    strata_image *scene;
    assert_ok(strata_image_load(SCENE, false, &scene, &err));
    FILE *table = fopen(IMAGES "resize.txt", "r");
    assert_non_null(table);
    char line[256];
    int rows = 0;
    while (fgets(line, sizeof line, table) != NULL) {
        char flavour[16], how[16];
        int x, y, width, height, to_width, to_height;
        unsigned long long hash;
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%15s %15s %d %d %d %d %d %d %llx", flavour, how, &x, &y, &width,
                                &height, &to_width, &to_height, &hash),
                         9);
        strata_image *part = part_of(scene, x, y, width, height), *result;
        assert_ok(strata_image_resize(part, to_width, to_height, (strata_interpolation)index_of(ways, how),
                                      (strata_flavour)index_of(flavours, flavour), &result, &err));
        if (hash_image(result) != hash)
            fail_msg("other pixels: %s", line);
        strata_image_destroy(result);
        strata_image_destroy(part);
        rows++;
    }
    assert_true(rows >= 90);
    fclose(table);
    strata_image_destroy(scene);
}

static void same_size_changes_nothing(void **state)
{
    (void)state;
    uint64_t seed = new_seed();
    for (int i = 0; i < 60; i++) {
        int width = random_in(&seed, 1, 90), height = random_in(&seed, 1, 90);
        strata_image *img = random_image(&seed, width, height);
        for (int k = 0; k < 4; k++) {
            strata_error err;
            strata_image *same;
            assert_ok(strata_image_resize(img, width, height, (strata_interpolation)(k % 2),
                                          (strata_flavour)(k / 2), &same, &err));
            assert_int_equal(hash_image(same), hash_image(img));
            strata_image_destroy(same);
        }
        strata_image_destroy(img);
    }
}

/* OpenCV's rounded cubic weights may miss one in sum by 2/2048 per axis: still less than half a level. */
static void one_colour_stays_one_colour(void **state)
{
    (void)state;
    uint64_t seed = new_seed();
    for (int i = 0; i < 200; i++) {
        int width = random_in(&seed, 1, 80), height = random_in(&seed, 1, 80),
            level = random_in(&seed, 0, 255);
        strata_error err;
        strata_image *img, *result;
        assert_ok(strata_image_create(width, height, NULL, &img, &err));
        memset(strata_image_pixels(img), level, (size_t)width * (size_t)height * 3);
        int to_width = random_in(&seed, 1, 120), to_height = random_in(&seed, 1, 120),
            k = random_in(&seed, 0, 3);
        assert_ok(strata_image_resize(img, to_width, to_height, (strata_interpolation)(k % 2),
                                      (strata_flavour)(k / 2), &result, &err));
        const uint8_t *p = strata_image_pixels(result);
        for (int j = 0; j < to_width * to_height * 3; j++)
            if (p[j] != level)
                fail_msg("%d x %d of level %d to %d x %d, %s %s: level %d", width, height, level, to_width,
                         to_height, flavours[k / 2], ways[k % 2], p[j]);
        strata_image_destroy(result);
        strata_image_destroy(img);
    }
}

/* A window is the same part of the whole result. */
static void windows_agree_with_the_whole(void **state)
{
    (void)state;
    uint64_t seed = new_seed();
    for (int i = 0; i < 200; i++) {
        strata_image *img = random_image(&seed, random_in(&seed, 1, 60), random_in(&seed, 1, 60)), *whole,
                     *want, *got;
        int width = random_in(&seed, 1, 80), height = random_in(&seed, 1, 80), k = random_in(&seed, 0, 3);
        if (i % 10 == 0 && img->width % 2 == 0 && img->height % 2 == 0) {
            width = img->width / 2;
            height = img->height / 2;
        }
        strata_error err;
        assert_ok(strata_image_resize(img, width, height, (strata_interpolation)(k % 2),
                                      (strata_flavour)(k / 2), &whole, &err));
        int x = random_in(&seed, 0, width - 1), y = random_in(&seed, 0, height - 1);
        int w = random_in(&seed, 1, width - x), h = random_in(&seed, 1, height - y);
        want = part_of(whole, x, y, w, h);
        assert_ok(strata_image_create(w, h, NULL, &got, &err));
        strata_resize r = { .src = img, .how = (strata_interpolation)(k % 2), .full = { width, height },
                            .at = { x, y }, .size = { w, h }, .dst = got->pixels, .stride = (size_t)w * 3 };
        assert_ok(k / 2 == STRATA_PREPROCESS_MINDCV ? strata_resize_opencv(&r, &err)
                                                    : strata_resize_pillow(&r, &err));
        if (hash_image(want) != hash_image(got))
            fail_msg("%d x %d to %d x %d, %s %s: window %d,%d %d x %d", img->width, img->height, width,
                     height, flavours[k / 2], ways[k % 2], x, y, w, h);
        strata_image_destroy(img);
        strata_image_destroy(whole);
        strata_image_destroy(want);
        strata_image_destroy(got);
    }
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    strata_error err;
    strata_image *img, *out;
    assert_ok(strata_image_create(4, 4, NULL, &img, &err));
    assert_int_equal(strata_image_resize(img, 0, 4, STRATA_BILINEAR, STRATA_PREPROCESS_PILLOW, &out, &err),
                     STRATA_INVALID);
    assert_null(out);
    assert_int_equal(
        strata_image_resize(img, 4, 4, (strata_interpolation)7, STRATA_PREPROCESS_PILLOW, &out, &err),
        STRATA_INVALID);
    assert_int_equal(strata_image_resize(img, 4, 4, STRATA_BILINEAR, (strata_flavour)9, &out, &err),
                     STRATA_INVALID);
    assert_int_equal(
        strata_image_resize(img, 1 << 30, 1 << 30, STRATA_BILINEAR, STRATA_PREPROCESS_PILLOW, &out, &err),
        STRATA_INVALID);
    strata_image_destroy(img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_as_the_libraries), cmocka_unit_test(same_size_changes_nothing),
        cmocka_unit_test(one_colour_stays_one_colour), cmocka_unit_test(windows_agree_with_the_whole),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
