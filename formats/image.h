/* image.h: what the files behind strata_image share: the container, the decoders and the resizers. */
#ifndef STRATA_FORMATS_IMAGE_H
#define STRATA_FORMATS_IMAGE_H

#include <strata/extend.h>

struct strata_image {
    int      width, height;
    uint8_t *pixels; /* rows of RGB, no padding */
};

/* No side is longer (the limit of JPEG), and no image has more pixels (the limit of WebP: 16384 x 16384). */
enum { STRATA_IMAGE_MAX_SIDE = 65535, STRATA_IMAGE_MAX_PIXELS = 1 << 28 };

/* FORMAT when a file claims a size that is zero or beyond the limits. */
strata_status strata_image_check_size(uint64_t width, uint64_t height, strata_error *err);
/* Checked like that; black. */
strata_status strata_image_alloc(uint64_t width, uint64_t height, strata_image **out, strata_error *err);

/* One decoder per file format. `*out` is NULL on failure. Errors do not name the file. */
strata_status strata_image_decode_jpeg(const uint8_t *bytes, size_t size, bool ignore_exif,
                                       strata_image **out, strata_error *err);
strata_status strata_image_decode_png(const uint8_t *bytes, size_t size, bool ignore_exif, strata_image **out,
                                      strata_error *err);
strata_status strata_image_decode_webp(const uint8_t *bytes, size_t size, bool ignore_exif,
                                       strata_image **out, strata_error *err);

/* x * a / 255, rounded to nearest, for x and a in 0..255. */
static inline uint8_t strata_mul_255(unsigned x, unsigned a)
{
    unsigned t = x * a + 128;
    return (uint8_t)((t + (t >> 8)) >> 8);
}
/* Pixels of RGBA become RGB over black; dst may be src. */
void strata_image_blend_black(const uint8_t *rgba, uint8_t *rgb, size_t pixels);

/* The orientation, 1..8, in an EXIF block with or without its "Exif\0\0" header; 1 when there is none. */
int strata_exif_orientation(const uint8_t *bytes, size_t size);
/* Turns and mirrors *img so that it stands upright; *img may become another object. */
strata_status strata_image_orient(strata_image **img, int orientation, strata_error *err);

/* A resize of a whole image of which only a window is computed: what a crop throws away costs nothing, and
 * a thin image, blown up to millions of rows, needs no memory for them. */
typedef struct strata_resize {
    const strata_image  *src;
    strata_interpolation how;
    int64_t              full[2]; /* width and height of the whole result */
    int64_t              at[2];   /* where the window starts in it, x and y */
    int                  size[2]; /* of the window, width and height; inside the whole result */
    uint8_t             *dst;     /* first pixel of the window */
    size_t               stride;  /* bytes from row to row of dst */
} strata_resize;

strata_status strata_resize_opencv(const strata_resize *r, strata_error *err);
strata_status strata_resize_pillow(const strata_resize *r, strata_error *err);

#endif
