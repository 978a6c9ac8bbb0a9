/* Decoding: every kind of file gives the expected pixels (of Pillow, OpenCV, or what went into the file),
 * every damaged one an error with a reason. Writing PNG files whole or not at all. */
#include "image_data.h"

#include "../formats/atomic_file.h"
#include "../formats/image.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

/* Lossy decoders of other versions may round otherwise; the rest is exact. */
static const struct {
    const char *name;
    int         tolerance;
} files[] = {
    { "rgb.jpg", 1 }, { "rgb444.jpg", 1 }, { "progressive.jpg", 1 }, { "gray.jpg", 1 },
    { "rgb_adobe.jpg", 1 }, { "cmyk_adobe.jpg", 1 }, { "cmyk_plain.jpg", 1 }, { "ycck.jpg", 1 },
    { "exif1.jpg", 1 }, { "exif2.jpg", 1 }, { "exif3.jpg", 1 }, { "exif4.jpg", 1 }, { "exif5.jpg", 1 },
    { "exif6.jpg", 1 }, { "exif7.jpg", 1 }, { "exif8.jpg", 1 }, { "rgb.png", 0 },
    { "rgb_interlaced.png", 0 }, { "gray1.png", 0 }, { "gray2.png", 0 }, { "gray4_interlaced.png", 0 },
    { "gray8.png", 0 }, { "gray16.png", 0 }, { "rgb16.png", 0 }, { "rgba16.png", 0 }, { "rgba.png", 0 },
    { "rgba_interlaced.png", 0 }, { "gray_alpha.png", 0 }, { "palette4.png", 0 },
    { "palette_alpha.png", 0 }, { "rgb_key.png", 0 }, { "exif6.png", 0 }, { "lossy.webp", 1 },
    { "lossless.webp", 0 }, { "lossless_alpha.webp", 0 }, { "lossy_alpha.webp", 1 }, { "exif8.webp", 0 },
    { "animated.webp", 0 },
};
enum { FILES = sizeof files / sizeof *files };

static uint8_t *read_file(const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, IMAGES "%s", name);
    return read_whole_file(path, size);
}

static void compare_with_ppm(const char *name, const strata_image *img, int tolerance)
{
    char ppm[128];
    snprintf(ppm, sizeof ppm, "%s.ppm", name);
    size_t size;
    uint8_t *bytes = read_file(ppm, &size);
    int width, height, start;
    assert_int_equal(sscanf((const char *)bytes, "P6 %d %d 255%n", &width, &height, &start), 2);
    if (strata_image_width(img) != width || strata_image_height(img) != height)
        fail_msg("%s: %d x %d pixels, not %d x %d", name, strata_image_width(img), strata_image_height(img),
                 width, height);
    const uint8_t *want = bytes + start + 1, *got = strata_image_pixels(img);
    for (int i = 0; i < width * height * 3; i++)
        if (abs(got[i] - want[i]) > tolerance)
            fail_msg("%s: pixel (%d, %d), channel %d: %d, not %d", name, i / 3 % width, i / 3 / width, i % 3,
                     got[i], want[i]);
    free(bytes);
}

static void every_kind_decodes(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++) {
        char path[512];
        strata_error err;
        strata_image *img;
        snprintf(path, sizeof path, IMAGES "%s", files[i].name);
        assert_ok(strata_image_load(path, false, &img, &err));
        compare_with_ppm(files[i].name, img, files[i].tolerance);
        strata_image_destroy(img);
    }
}

static void exif_can_be_ignored(void **state)
{
    (void)state;
    static const char *const turned[] = { "exif6.jpg", "exif6.png", "exif8.webp" };
    for (int i = 0; i < 3; i++) {
        char path[512];
        strata_error err;
        strata_image *img;
        snprintf(path, sizeof path, IMAGES "%s", turned[i]);
        assert_ok(strata_image_load(path, true, &img, &err));
        assert_int_equal(strata_image_width(img), 29);
        assert_int_equal(strata_image_height(img), 19);
        strata_image_destroy(img);
    }
}

/* Fails unless the bytes are refused as a FORMAT error whose text contains `reason`. */
static void refuse(const void *bytes, size_t size, const char *what, const char *reason)
{
    strata_error err = { 0 };
    strata_image *img = (strata_image *)&err;
    strata_status status = strata_image_decode(bytes, size, false, &img, &err);
    if (status != STRATA_FORMAT || img != NULL)
        fail_msg("%s: status %s instead of FORMAT", what, strata_status_name(status));
    if (strstr(err.text, reason) == NULL)
        fail_msg("%s: the text '%s' does not say '%s'", what, err.text, reason);
}

static void other_files_are_named(void **state)
{
    (void)state;
    refuse("", 0, "nothing", "empty");
    refuse("hello, this is text\n", 20, "text", "text that starts \"hello, this is text\"");
    refuse("GIF89a\1\0\1\0", 10, "a GIF", "a GIF");
    refuse("\0\0\0\x1c" "ftypavif", 12, "an AVIF", "an AVIF");
    refuse("%PDF-1.7", 8, "a PDF", "a PDF");
    refuse("\x89PN", 3, "three bytes", "a PNG cut off after 3 bytes");
    refuse("\xff\xd8", 2, "two bytes", "a JPEG cut off after 2 bytes");
    refuse("\1\2\3", 3, "binary", "01 02 03");
    refuse("RIFF\0\0\0\0WEBP", 12, "a bare WebP", "WebP");

    strata_error err;
    strata_image *img;
    assert_int_equal(strata_image_load(IMAGES "none.jpg", false, &img, &err), STRATA_NOT_FOUND);
    assert_non_null(strstr(err.text, "none.jpg"));
    assert_int_equal(strata_image_load(IMAGES, false, &img, &err), STRATA_IO);
    assert_non_null(strstr(err.text, "folder"));
}

/* Each proper beginning of a file is damaged, and said to be. */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++) {
        size_t size;
        uint8_t *whole = read_file(files[i].name, &size);
        for (size_t n = 0; n < size; n++) {
            uint8_t *cut = malloc(n > 0 ? n : 1); /* of its own, so that reading past the end is seen */
            assert_non_null(cut);
            memcpy(cut, whole, n);
            char what[128];
            snprintf(what, sizeof what, "%s cut to %zu of %zu bytes", files[i].name, n, size);
            refuse(cut, n, what, "");
            free(cut);
        }
        free(whole);
    }
}

/* A changed byte gives an error or some image, never anything worse. */
static void changed_bytes_do_no_harm(void **state)
{
    (void)state;
    static const uint8_t flips[] = { 0xff, 0x01, 0x80, 0x10 };
    for (int i = 0; i < FILES; i++) {
        size_t size;
        uint8_t *bytes = read_file(files[i].name, &size);
        bool png = strstr(files[i].name, ".png") != NULL;
        for (size_t at = 0; at < size; at++)
            for (size_t k = 0; k < sizeof flips; k++) {
                strata_error err;
                strata_image *img;
                bytes[at] ^= flips[k];
                strata_status status = strata_image_decode(bytes, size, false, &img, &err);
                bytes[at] ^= flips[k];
                if (status == STRATA_OK) {
                    assert_in_range(strata_image_width(img), 1, STRATA_IMAGE_MAX_SIDE);
                    if (png) /* its checksums protect the pixels; only remarks may differ */
                        assert_int_equal(strata_image_width(img) * strata_image_height(img), 29 * 19);
                    strata_image_destroy(img);
                } else if (status != STRATA_FORMAT && status != STRATA_NOMEM) {
                    fail_msg("%s, byte %zu: status %s: %s", files[i].name, at, strata_status_name(status),
                             err.text);
                }
            }
        free(bytes);
    }
}

static void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void absurd_sizes_cost_nothing(void **state)
{
    (void)state;
    size_t size;
    uint8_t *png = read_file("rgb.png", &size);
    static const struct {
        uint32_t    width, height;
        const char *reason;
    } claims[] = {
        { 70000, 1, "65535 a side" },
        { 60000, 60000, "megapixels" },
        { 0x7fffffff, 0x7fffffff, "65535 a side" },
        { 16000, 16000, "cannot hold" },
        { 0, 5, "" },
    };
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        put_u32(png + 16, claims[i].width);
        put_u32(png + 20, claims[i].height);
        put_u32(png + 29, crc32_of(png + 12, 17));
        refuse(png, size, "a PNG of absurd size", claims[i].reason);
    }
    free(png);

    uint8_t *jpeg = read_file("rgb.jpg", &size);
    for (size_t i = 0; i + 9 < size; i++)
        if (jpeg[i] == 0xff && jpeg[i + 1] == 0xc0) {
            memset(jpeg + i + 5, 0xff, 4); /* height and width */
            break;
        }
    refuse(jpeg, size, "a JPEG of absurd size", "");
    free(jpeg);

    strata_error err;
    strata_image *img;
    assert_int_equal(strata_image_create(0, 3, NULL, &img, &err), STRATA_INVALID);
    assert_int_equal(strata_image_create(3, -1, NULL, &img, &err), STRATA_INVALID);
    assert_int_equal(strata_image_create(1 << 30, 1 << 30, NULL, &img, &err), STRATA_INVALID);
    assert_int_equal(strata_image_create(60000, 60000, NULL, &img, &err), STRATA_INVALID);
}

static void jpeg_damage_is_told_from_harmless_surplus(void **state)
{
    (void)state;
    size_t size;
    uint8_t *jpeg = read_file("rgb.jpg", &size);
    uint8_t *longer = malloc(size + 64);
    strata_error err;
    strata_image *img;

    memcpy(longer, jpeg, size - 2); /* zeros before the end marker */
    memset(longer + size - 2, 0, 5);
    memcpy(longer + size + 3, jpeg + size - 2, 2);
    assert_ok(strata_image_decode(longer, size + 5, false, &img, &err));
    compare_with_ppm("rgb.jpg", img, 1);
    strata_image_destroy(img);

    memcpy(longer, jpeg, size); /* anything after it */
    memset(longer + size, 'x', 64);
    assert_ok(strata_image_decode(longer, size + 64, false, &img, &err));
    compare_with_ppm("rgb.jpg", img, 1);
    strata_image_destroy(img);

    memcpy(longer, jpeg, size); /* the last third is missing, the end marker is not */
    memcpy(longer + size - size / 3, jpeg + size - 2, 2);
    refuse(longer, size - size / 3 + 2, "a JPEG without its last third", "premature end of data");
    free(longer);
    free(jpeg);
}

/* ---- Writing ----------------------------------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/strata-test-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int count_entries(void)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    int n = 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2; /* . and .. */
}

static void png_files_are_written_whole(void **state)
{
    (void)state;
    uint64_t seed = new_seed();
    char path[128];
    snprintf(path, sizeof path, "%s/out.png", folder);
    for (int i = 0; i < 20; i++) { /* the second and later ones replace a file */
        strata_error err;
        strata_image *img = random_image(&seed, random_in(&seed, 1, 70), random_in(&seed, 1, 70)), *back;
        assert_ok(strata_image_write_png(img, path, &err));
        assert_ok(strata_image_load(path, false, &back, &err));
        assert_int_equal(strata_image_width(back), strata_image_width(img));
        assert_int_equal(hash_image(back), hash_image(img));
        assert_int_equal(count_entries(), 1);
        strata_image_destroy(back);
        strata_image_destroy(img);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
    unlink(path);
}

static void failed_writes_leave_nothing(void **state)
{
    (void)state;
    strata_error err;
    strata_image *img;
    assert_ok(strata_image_create(300, 300, NULL, &img, &err));
    char path[128];
    snprintf(path, sizeof path, "%s/none/out.png", folder);
    assert_int_equal(strata_image_write_png(img, path, &err), STRATA_IO);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(strata_image_write_png(img, folder, &err), STRATA_IO);
    if (access("/dev/full", W_OK) == 0)
        assert_int_equal(strata_image_write_png(img, "/dev/full", &err), STRATA_IO);
    assert_int_equal(count_entries(), 0);
    strata_image_destroy(img);
}

static void an_aborted_file_keeps_the_old_one(void **state)
{
    (void)state;
    char path[128], link[128];
    snprintf(path, sizeof path, "%s/old", folder);
    snprintf(link, sizeof link, "%s/link", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("old", f);
    fclose(f);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink("old", link), 0);

    strata_error err;
    strata_atomic_file *a;
    assert_ok(strata_atomic_open(link, &a, &err));
    fputs("new", strata_atomic_stream(a));
    assert_int_equal(count_entries(), 3);
    strata_atomic_abort(a);
    assert_int_equal(count_entries(), 2);
    size_t size;
    uint8_t *bytes = read_whole_file(path, &size);
    assert_string_equal((char *)bytes, "old");
    free(bytes);

    /* The file behind the link is replaced, and keeps its permissions. */
    assert_ok(strata_atomic_open(link, &a, &err));
    fputs("new", strata_atomic_stream(a));
    assert_ok(strata_atomic_commit(a, &err));
    bytes = read_whole_file(path, &size);
    assert_string_equal((char *)bytes, "new");
    free(bytes);
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    unlink(link);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_decodes),
        cmocka_unit_test(exif_can_be_ignored),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(absurd_sizes_cost_nothing),
        cmocka_unit_test(jpeg_damage_is_told_from_harmless_surplus),
        cmocka_unit_test_setup_teardown(png_files_are_written_whole, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(failed_writes_leave_nothing, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(an_aborted_file_keeps_the_old_one, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
