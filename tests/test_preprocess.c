/* Preprocessing: the same bytes as the chain of cv2 or Pillow calls in tests/data/make_images.py; normalising
 * against its formula; pictures of feature maps. */
#include "image_data.h"

#include <math.h>

static strata_input_record record_of(int height, int width, double crop_pct, strata_interpolation how)
{
    return (strata_input_record){ .height = height,
                                  .width = width,
                                  .channels = 3,
                                  .mean = { 0.485, 0.456, 0.406 },
                                  .std = { 0.229, 0.224, 0.225 },
                                  .interpolation = how,
                                  .crop_pct = crop_pct };
}

static void same_bytes_as_the_libraries(void **state)
{
    (void)state;
    strata_error err;
    strata_image *scene;
    assert_ok(strata_image_load(SCENE, false, &scene, &err));
    FILE *table = fopen(IMAGES "preprocess.txt", "r");
    assert_non_null(table);
    char line[256];
    int rows = 0;
    while (fgets(line, sizeof line, table) != NULL) {
        char flavour[16], how[16];
        int x, y, w, h, height, width;
        double crop_pct;
        unsigned long long hash;
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%15s %15s %d %d %d %d %d %d %lf %llx", flavour, how, &x, &y, &w, &h,
                                &height, &width, &crop_pct, &hash),
                         10);
        strata_image *part = part_of(scene, x, y, w, h), *result;
        strata_input_record r = record_of(height, width, crop_pct,
                                          strcmp(how, "bicubic") == 0 ? STRATA_BICUBIC : STRATA_BILINEAR);
        assert_ok(strata_image_preprocess(
            part, &r, strcmp(flavour, "pillow") == 0 ? STRATA_PREPROCESS_PILLOW : STRATA_PREPROCESS_MINDCV,
            &result, &err));
        assert_int_equal(strata_image_width(result), width);
        assert_int_equal(strata_image_height(result), height);
        if (hash_image(result) != hash)
            fail_msg("other pixels: %s", line);
        strata_image_destroy(result);
        strata_image_destroy(part);
        rows++;
    }
    assert_true(rows >= 70);
    fclose(table);
    strata_image_destroy(scene);
}

/* 1 x 20000 covers 224 x 224 at 4.5 million rows, of which 224 are wanted. */
static void thin_images_need_no_room(void **state)
{
    (void)state;
    uint64_t seed = new_seed();
    strata_image *img = random_image(&seed, 1, 20000);
    for (int k = 0; k < 4; k++) {
        strata_error err;
        strata_image *result;
        strata_input_record r = record_of(224, 224, 0.875, (strata_interpolation)(k % 2));
        assert_ok(strata_image_preprocess(img, &r, (strata_flavour)(k / 2), &result, &err));
        const uint8_t *p = strata_image_pixels(result);
        for (int y = 0; y < 224; y++) /* rows are of one colour, but for the last bit of OpenCV's weights */
            for (int x = 1; x < 224; x++)
                for (int c = 0; c < 3; c++)
                    assert_true(abs(p[(y * 224 + x) * 3 + c] - p[y * 224 * 3 + c]) <= 1);
        strata_image_destroy(result);
    }
    strata_image_destroy(img);
}

static void wrong_records_are_refused(void **state)
{
    (void)state;
    strata_error err;
    strata_image *img, *out;
    assert_ok(strata_image_create(4, 4, NULL, &img, &err));
    const strata_input_record wrong[] = {
        record_of(0, 8, 0.9, STRATA_BILINEAR),   record_of(8, -1, 0.9, STRATA_BILINEAR),
        record_of(8, 8, 0, STRATA_BILINEAR),     record_of(8, 8, -1, STRATA_BILINEAR),
        record_of(8, 8, (double)NAN, STRATA_BILINEAR), record_of(8, 8, 1e-300, STRATA_BILINEAR),
        record_of(8, 8, 100, STRATA_BILINEAR),   record_of(8, 8, 0.9, (strata_interpolation)5),
        record_of(1 << 30, 8, 0.9, STRATA_BILINEAR), record_of(60000, 60000, 1, STRATA_BILINEAR),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(strata_image_preprocess(img, &wrong[i], STRATA_PREPROCESS_MINDCV, &out, &err),
                         STRATA_INVALID);
        assert_null(out);
    }
    strata_image_destroy(img);
}

static void normalising_follows_its_formula(void **state)
{
    (void)state;
    uint64_t seed = new_seed();
    strata_image *img = random_image(&seed, 9, 7);
    const uint8_t *p = strata_image_pixels(img);
    strata_input_record r = record_of(7, 9, 1, STRATA_BILINEAR);
    static const int channels[] = { 3, 1, 2, 5 };
    for (int k = 0; k < 4; k++) {
        float out[5 * 63];
        r.channels = channels[k];
        strata_image_normalize(img, &r, out);
        for (int c = 0; c < r.channels; c++)
            for (int i = 0; i < 63; i++) {
                double v = p[3 * i + c % 3], mean = r.mean[c % 3], std = r.std[c % 3], slack = 1e-6;
                if (r.channels == 1) {
                    v = 0.299 * p[3 * i] + 0.587 * p[3 * i + 1] + 0.114 * p[3 * i + 2];
                    mean = 0.299 * r.mean[0] + 0.587 * r.mean[1] + 0.114 * r.mean[2];
                    std = 0.299 * r.std[0] + 0.587 * r.std[1] + 0.114 * r.std[2];
                    slack = 0.51 / 255 / std; /* luma is rounded to a level */
                }
                double want = (v / 255 - mean) / std;
                if (!(fabs((double)out[c * 63 + i] - want) <= slack))
                    fail_msg("%d channels, channel %d, pixel %d: %g, not %g", r.channels, c, i,
                             (double)out[c * 63 + i], want);
            }
    }
    strata_image_destroy(img);
}

/* ---- Pictures ---------------------------------------------------------------------------------- */

static strata_tensor *new_map(int channels, int height, int width)
{
    strata_error err;
    strata_tensor *t;
    strata_tensor_desc d = strata_desc_f32(4, (int64_t[]){ 1, channels, height, width });
    assert_ok(strata_tensor_create(&d, &t, &err));
    return t;
}

static int count_color(const strata_image *img, int red, int green, int blue)
{
    const uint8_t *p = strata_image_pixels(img);
    int n = 0;
    for (int i = 0; i < strata_image_width(img) * strata_image_height(img); i++)
        n += p[3 * i] == red && p[3 * i + 1] == green && p[3 * i + 2] == blue;
    return n;
}

static void heat_maps_show_mean_range_and_nan(void **state)
{
    (void)state;
    strata_error err;
    strata_image *img, *picture;
    assert_ok(strata_image_create(64, 64, NULL, &img, &err));
    strata_tensor *map = new_map(2, 2, 2);
    /* The means: lowest, highest, one finite channel at the highest, nothing finite. */
    const float values[8] = { -3, 4, 5, NAN, 1, 6, INFINITY, NAN };
    memcpy(strata_tensor_data(map), values, sizeof values);
    assert_ok(strata_picture(img, 1, &map, (const char *[]){ "layer1" }, &picture, &err));
    const int quarter = 128 * 128; /* cells have 256 pixels a side */
    assert_int_equal(count_color(picture, 62, 6, 82), quarter);
    assert_int_equal(count_color(picture, 252, 231, 50), 2 * quarter);
    assert_int_equal(count_color(picture, 214, 40, 57), quarter);
    assert_true(count_color(picture, 236, 238, 242) > 200); /* the writing */
    strata_image_destroy(picture);

    memset(strata_tensor_data(map), 0, sizeof values); /* a constant map has no range */
    assert_ok(strata_picture(img, 1, &map, (const char *[]){ "constant" }, &picture, &err));
    assert_int_equal(count_color(picture, 62, 6, 82), 4 * quarter);
    strata_image_destroy(picture);
    strata_tensor_unref(map);
    strata_image_destroy(img);
}

static void pictures_of_any_shape_work(void **state)
{
    (void)state;
    uint64_t seed = new_seed();
    for (int i = 0; i < 12; i++) {
        strata_error err;
        strata_image *img = random_image(&seed, random_in(&seed, 1, 300), random_in(&seed, 1, 9)), *picture;
        strata_tensor *maps[20];
        const char *names[20];
        int n = random_in(&seed, 0, 20);
        for (int k = 0; k < n; k++) {
            maps[k] = new_map(random_in(&seed, 1, 5), random_in(&seed, 1, 40), random_in(&seed, 1, 40));
            names[k] = k % 2 ? "a.name.much.too.long.for.the.cell.that.it.labels.as.paths.often.are"
                             : "\xc3\xa9t\xc3\xa9";
        }
        assert_ok(strata_picture(img, n, maps, names, &picture, &err));
        for (int k = 0; k < n; k++)
            strata_tensor_unref(maps[k]);
        strata_image_destroy(picture);
        strata_image_destroy(img);
    }
}

static void only_maps_can_be_drawn(void **state)
{
    (void)state;
    strata_error err;
    strata_image *img, *picture;
    strata_tensor *logits;
    strata_tensor_desc d = strata_desc_f32(2, (int64_t[]){ 1, 1000 });
    assert_ok(strata_image_create(8, 8, NULL, &img, &err));
    assert_ok(strata_tensor_create(&d, &logits, &err));
    assert_int_equal(strata_picture(img, 1, &logits, (const char *[]){ "logits" }, &picture, &err),
                     STRATA_SHAPE);
    assert_non_null(strstr(err.text, "'logits' is f32 [1,1000]"));
    assert_int_equal(strata_picture(img, -1, NULL, NULL, &picture, &err), STRATA_INVALID);
    strata_tensor_unref(logits);
    strata_image_destroy(img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_as_the_libraries),
        cmocka_unit_test(thin_images_need_no_room),
        cmocka_unit_test(wrong_records_are_refused),
        cmocka_unit_test(normalising_follows_its_formula),
        cmocka_unit_test(heat_maps_show_mean_range_and_nan),
        cmocka_unit_test(pictures_of_any_shape_work),
        cmocka_unit_test(only_maps_can_be_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
