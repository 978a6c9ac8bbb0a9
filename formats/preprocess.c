/* preprocess.c: from a photo to the pixels, and the numbers, that a network was evaluated with.
 *
 * For a record of height x width and crop_pct, the image is resized until it just covers a frame of
 * floor(height / crop_pct) x floor(width / crop_pct), keeping its proportions, and the middle is cut out. The
 * side that meets the frame exactly is the tight one: for square records, the shorter side of the image. The
 * flavours differ in the arithmetic:
 *
 *              other side, from size = tight side of the frame         resize
 *     mindcv   lround(float(other) / tight * size), in float           OpenCV, no antialias
 *     pillow   trunc(size * other / tight), in double                  Pillow, antialias
 *
 * Both crop at floor((resized - wanted) / 2); where the image is smaller than the crop (crop_pct above 1) the
 * offset is negative, floored just so, and what lies outside is zero. Only the crop is ever computed.
 *
 * (torchvision's CenterCrop rounds that half to even instead: a quarter of all sizes start one pixel later.)
 */
#include "image.h"

#include <math.h>

typedef struct frame { /* of the resized image, x and y */
    int64_t full[2], crop[2];
} frame;

static int64_t floor_half(int64_t v)
{
    return v >= 0 ? v / 2 : -((1 - v) / 2);
}

static int64_t other_side(int other, int tight, int size, strata_flavour flavour)
{
    int64_t side = flavour == STRATA_PREPROCESS_MINDCV
                       ? llroundf((float)other / (float)tight * (float)size)
                       : (int64_t)((double)((int64_t)size * other) / (double)tight);
    return side < 1 ? 1 : side;
}

static frame place(const strata_image *img, const int cover[2], const int wanted[2], strata_flavour flavour)
{
    const int side[2] = { img->width, img->height };
    frame f;
    /* x is the tight side when width / cover[0] <= height / cover[1] */
    int tight = (int64_t)side[0] * cover[1] <= (int64_t)side[1] * cover[0] ? 0 : 1, other = 1 - tight;
    f.full[tight] = cover[tight];
    f.full[other] = other_side(side[other], side[tight], cover[tight], flavour);
    for (int i = 0; i < 2; i++)
        f.crop[i] = floor_half(f.full[i] - wanted[i]);
    return f;
}

static strata_status check_flavour(strata_flavour flavour, strata_interpolation how, strata_error *err)
{
    if (flavour != STRATA_PREPROCESS_MINDCV && flavour != STRATA_PREPROCESS_PILLOW)
        return strata_fail(err, STRATA_INVALID, "preprocess: no such flavour: %d", (int)flavour);
    if (how != STRATA_BILINEAR && how != STRATA_BICUBIC)
        return strata_fail(err, STRATA_INVALID, "preprocess: no such interpolation: %d", (int)how);
    return STRATA_OK;
}

/* Fills the sides of the crop and of the frame to cover, x and y. */
static strata_status check_record(const strata_input_record *r, int wanted[2], int cover[2],
                                  strata_error *err)
{
    wanted[0] = r->width;
    wanted[1] = r->height;
    if (!(r->crop_pct > 0))
        return strata_fail(err, STRATA_INVALID, "preprocess: crop_pct must be above 0, not %g", r->crop_pct);
    for (int i = 0; i < 2; i++) {
        double side = floor(wanted[i] / r->crop_pct);
        if (wanted[i] < 1 || !(side >= 1 && side <= STRATA_IMAGE_MAX_SIDE))
            return strata_fail(err, STRATA_INVALID, "preprocess: %s %d at crop_pct %g: sides must be 1 to %d",
                               i == 0 ? "width" : "height", wanted[i], r->crop_pct, STRATA_IMAGE_MAX_SIDE);
        cover[i] = (int)side;
    }
    return STRATA_OK;
}

static strata_status resize(const strata_resize *r, strata_flavour flavour, strata_error *err)
{
    return flavour == STRATA_PREPROCESS_MINDCV ? strata_resize_opencv(r, err) : strata_resize_pillow(r, err);
}

strata_status strata_image_resize(const strata_image *img, int width, int height, strata_interpolation how,
                                  strata_flavour flavour, strata_image **out, strata_error *err)
{
    *out = NULL;
    STRATA_TRY(check_flavour(flavour, how, err));
    strata_image *result;
    STRATA_TRY(strata_image_create(width, height, NULL, &result, err));
    strata_resize r = { .src = img, .how = how, .full = { width, height }, .size = { width, height },
                        .dst = result->pixels, .stride = (size_t)width * 3 };
    strata_status status = resize(&r, flavour, err);
    if (status != STRATA_OK) {
        strata_image_destroy(result);
        return status;
    }
    *out = result;
    return STRATA_OK;
}

strata_status strata_image_preprocess(const strata_image *img, const strata_input_record *record,
                                      strata_flavour flavour, strata_image **out, strata_error *err)
{
    *out = NULL;
    int wanted[2], cover[2];
    STRATA_TRY(check_flavour(flavour, record->interpolation, err));
    STRATA_TRY(check_record(record, wanted, cover, err));
    strata_image *result;
    STRATA_TRY(strata_image_create(wanted[0], wanted[1], NULL, &result, err));

    frame f = place(img, cover, wanted, flavour);
    strata_resize r = { .src = img, .how = record->interpolation, .full = { f.full[0], f.full[1] },
                        .stride = (size_t)wanted[0] * 3 };
    int64_t margin[2]; /* zeros before the image, where it is smaller than the crop */
    for (int i = 0; i < 2; i++) {
        margin[i] = f.crop[i] < 0 ? -f.crop[i] : 0;
        r.at[i] = f.crop[i] < 0 ? 0 : f.crop[i];
        r.size[i] = (int)(f.full[i] < wanted[i] ? f.full[i] : wanted[i]);
    }
    r.dst = result->pixels + (size_t)margin[1] * r.stride + (size_t)margin[0] * 3;
    strata_status status = resize(&r, flavour, err);
    if (status != STRATA_OK) {
        strata_image_destroy(result);
        return status;
    }
    *out = result;
    return STRATA_OK;
}

/* (v / 255 - mean) / std for each byte v. */
static void make_table(float table[256], double mean, double std)
{
    for (int v = 0; v < 256; v++)
        table[v] = (float)((v / 255.0 - mean) / std);
}

/* ITU-R BT.601 luma, the gray that photo software means, with 16-bit weights that sum to one. */
enum { LUMA_RED = 19595, LUMA_GREEN = 38470, LUMA_BLUE = 7471 };

static double luma_of(const double v[3])
{
    return (LUMA_RED * v[0] + LUMA_GREEN * v[1] + LUMA_BLUE * v[2]) / 65536.0;
}

/* Luma is linear, so the mean of luma is the luma of the mean; for the deviation the same mix is a fair
 * stand-in. */
static void normalize_luma(const uint8_t *p, size_t n, const strata_input_record *record, float *dst)
{
    float table[256];
    make_table(table, luma_of(record->mean), luma_of(record->std));
    for (size_t i = 0; i < n; i++, p += 3)
        dst[i] = table[(LUMA_RED * p[0] + LUMA_GREEN * p[1] + LUMA_BLUE * p[2] + 32768) >> 16];
}

void strata_image_normalize(const strata_image *img, const strata_input_record *record, float *dst)
{
    size_t n = (size_t)img->width * (size_t)img->height;
    if (record->channels == 1) {
        normalize_luma(img->pixels, n, record, dst);
        return;
    }
    float table[3][256];
    for (int c = 0; c < 3; c++)
        make_table(table[c], record->mean[c], record->std[c]);
    for (int c = 0; c < record->channels; c++) {
        const uint8_t *p = img->pixels + c % 3;
        const float *of = table[c % 3];
        for (size_t i = 0; i < n; i++, p += 3)
            *dst++ = of[*p];
    }
}
