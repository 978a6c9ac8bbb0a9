/* image_exif.c: the orientation tag of EXIF, and turning images upright.
 *
 * Tag 0x0112 of IFD 0 says how the stored rows and columns relate to the scene:
 *
 *     1 as it is          2 mirrored left-right    3 half a turn        4 mirrored top-bottom
 *     5 transposed        6 turn right to see it   7 transposed over    8 turn left to see it
 *                                                    the other diagonal
 */
#include "image.h"

#include <libexif/exif-data.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER = 6, MAX_BLOCK = 1 << 20, TILE = 32 };

static const uint8_t header[HEADER] = { 'E', 'x', 'i', 'f', 0, 0 };

static int find_orientation(const uint8_t *bytes, unsigned size)
{
    ExifData *data = exif_data_new_from_data(bytes, size);
    if (data == NULL)
        return 1;
    int orientation = 1;
    const ExifEntry *e = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
    if (e != NULL && e->format == EXIF_FORMAT_SHORT && e->components >= 1 && e->size >= 2)
        orientation = exif_get_short(e->data, exif_data_get_byte_order(data));
    exif_data_unref(data);
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

int strata_exif_orientation(const uint8_t *bytes, size_t size)
{
    if (size < HEADER || size > MAX_BLOCK)
        return 1;
    if (memcmp(bytes, header, HEADER) == 0)
        return find_orientation(bytes, (unsigned)size);
    /* PNG and WebP hold the block bare; libexif wants the header that JPEG has. */
    uint8_t *block = malloc(HEADER + size);
    if (block == NULL)
        return 1;
    memcpy(block, header, HEADER);
    memcpy(block + HEADER, bytes, size);
    int orientation = find_orientation(block, (unsigned)(HEADER + size));
    free(block);
    return orientation;
}

/* Pixel (x, y) of the result is the one at origin + x * right + y * down of the source. In tiles, because one
 * of the two walks the source in columns. */
static void copy_turned(const uint8_t *origin, ptrdiff_t right, ptrdiff_t down, strata_image *dst)
{
    for (int top = 0; top < dst->height; top += TILE)
        for (int left = 0; left < dst->width; left += TILE)
            for (int y = top; y < top + TILE && y < dst->height; y++) {
                const uint8_t *from = origin + left * right + y * down;
                uint8_t *to = dst->pixels + ((size_t)y * (size_t)dst->width + (size_t)left) * 3;
                for (int x = left; x < left + TILE && x < dst->width; x++, from += right, to += 3) {
                    to[0] = from[0];
                    to[1] = from[1];
                    to[2] = from[2];
                }
            }
}

strata_status strata_image_orient(strata_image **img, int orientation, strata_error *err)
{
    static const struct {
        bool swap, flip_x, flip_y; /* the source is read by columns, from its right side, from its bottom */
    } turns[9] = {
        [2] = { 0, 1, 0 }, [3] = { 0, 1, 1 }, [4] = { 0, 0, 1 }, [5] = { 1, 0, 0 },
        [6] = { 1, 0, 1 }, [7] = { 1, 1, 1 }, [8] = { 1, 1, 0 },
    };
    if (orientation < 2 || orientation > 8)
        return STRATA_OK;
    const strata_image *src = *img;
    bool swap = turns[orientation].swap;
    strata_image *dst;
    STRATA_TRY(strata_image_alloc((uint64_t)(swap ? src->height : src->width),
                                  (uint64_t)(swap ? src->width : src->height), &dst, err));
    ptrdiff_t x_step = 3, y_step = (ptrdiff_t)src->width * 3;
    const uint8_t *origin = src->pixels;
    if (turns[orientation].flip_x) {
        origin += (src->width - 1) * x_step;
        x_step = -x_step;
    }
    if (turns[orientation].flip_y) {
        origin += (src->height - 1) * y_step;
        y_step = -y_step;
    }
    copy_turned(origin, swap ? y_step : x_step, swap ? x_step : y_step, dst);
    strata_image_destroy(*img);
    *img = dst;
    return STRATA_OK;
}
