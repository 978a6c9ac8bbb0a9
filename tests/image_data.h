/* image_data.h: what the tests of images share: files, expected pixels, hashes, random numbers. */
#ifndef STRATA_TESTS_IMAGE_DATA_H
#define STRATA_TESTS_IMAGE_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <strata/extend.h>

#define IMAGES STRATA_TEST_DATA "/images/"
#define SCENE  STRATA_TEST_DATA "/../../examples/scene.png"

/* Ends the test with err's text unless the call succeeds. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != STRATA_OK)                                                                   \
            fail_msg("%s: %s", #call, err.text);                                                   \
    } while (0)

static inline uint8_t *read_whole_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("%s: cannot open", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    bytes[*size] = 0;
    fclose(f);
    return bytes;
}

/* FNV-1a of the pixels, as tests/data/make_images.py writes it. */
static inline uint64_t hash_image(const strata_image *img)
{
    size_t n = (size_t)strata_image_width(img) * (size_t)strata_image_height(img) * 3;
    const uint8_t *p = strata_image_pixels(img);
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static inline strata_image *part_of(const strata_image *img, int x, int y, int width, int height)
{
    strata_error err;
    strata_image *part;
    assert_ok(strata_image_create(width, height, NULL, &part, &err));
    size_t pitch = (size_t)strata_image_width(img) * 3;
    for (int i = 0; i < height; i++)
        memcpy(strata_image_pixels(part) + (size_t)i * (size_t)width * 3,
               strata_image_pixels(img) + (size_t)(y + i) * pitch + (size_t)x * 3, (size_t)width * 3);
    return part;
}

/* A fresh seed for each run, printed, so that a failure can be repeated with STRATA_TEST_SEED. */
static inline uint64_t new_seed(void)
{
    const char *wanted = getenv("STRATA_TEST_SEED");
    uint64_t seed =
        wanted != NULL ? strtoull(wanted, NULL, 0) : (uint64_t)time(NULL) * 1000003u ^ (uint64_t)clock();
    print_message("STRATA_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* xorshift*, S. Vigna 2014. */
static inline uint32_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)(*state * 0x2545f4914f6cdd1du >> 32);
}

static inline int random_in(uint64_t *state, int lo, int hi)
{
    return lo + (int)(next_random(state) % (uint32_t)(hi - lo + 1));
}

static inline strata_image *random_image(uint64_t *state, int width, int height)
{
    strata_error err;
    strata_image *img;
    assert_ok(strata_image_create(width, height, NULL, &img, &err));
    uint8_t *p = strata_image_pixels(img);
    for (size_t i = 0; i < (size_t)width * (size_t)height * 3; i++)
        p[i] = (uint8_t)(next_random(state) >> 24);
    return img;
}

#endif
