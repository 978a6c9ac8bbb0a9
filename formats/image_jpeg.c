/* image_jpeg.c: JPEG by libjpeg-turbo, at its defaults (accurate integer DCT, smooth chroma upsampling),
 * which are those of OpenCV, MindSpore and Pillow: all give the same pixels.
 *
 * libjpeg fills what it cannot read with gray and warns; such warnings are errors here. Warnings about
 * surplus bytes or odd headers lose no pixel and are ignored. */
#include "image.h"

#include <setjmp.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* Ordinary progressive files have about ten scans. Each, even an empty one, walks over the whole image. */
enum { MAX_SCANS = 100 };

typedef struct reader {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr         errors;
    struct jpeg_progress_mgr      progress;
    jmp_buf                       escape;
    const uint8_t                *bytes;
    size_t                        size;
    bool                          ignore_exif;
    strata_image                 *img;
    strata_status                 status;
    strata_error                 *err;
} reader;

static void fail(j_common_ptr info)
{
    reader *r = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    if (info->err->msg_code == JERR_OUT_OF_MEMORY)
        r->status = strata_fail(r->err, STRATA_NOMEM, "JPEG: out of memory");
    else if (r->img == NULL)
        r->status = strata_fail(r->err, STRATA_FORMAT, "damaged JPEG: %s", text);
    else
        r->status = strata_fail(r->err, STRATA_FORMAT, "damaged JPEG: %s (at row %u of %u)", text,
                                r->info.output_scanline, r->info.output_height);
    longjmp(r->escape, 1);
}

static void warn(j_common_ptr info, int level)
{
    if (level >= 0)
        return; /* a trace message */
    switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA: /* bytes between two markers that belong to none */
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_ICC:
    case JWRN_NOT_SEQUENTIAL: /* a baseline scan that names the range of coefficients wrong; it means all */
        return;
    default:
        fail(info);
    }
}

static void be_silent(j_common_ptr info)
{
    (void)info;
}

static void watch(j_common_ptr info)
{
    reader *r = info->client_data;
    if (r->info.input_scan_number > MAX_SCANS) {
        r->status = strata_fail(r->err, STRATA_FORMAT,
                                "JPEG with more than %d scans: not read, it would take too long", MAX_SCANS);
        longjmp(r->escape, 1);
    }
}

/* Adobe's programs store ink inverted: 255 is bare paper. Others store 255 for full ink. */
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, unsigned pixels, bool inverted)
{
    uint8_t flip = inverted ? 0 : 255;
    for (unsigned i = 0; i < pixels; i++, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; c++)
            rgb[c] = strata_mul_255(cmyk[c] ^ flip, cmyk[3] ^ flip);
}

static int orientation(const struct jpeg_decompress_struct *info)
{
    for (const struct jpeg_marker_struct *m = info->marker_list; m != NULL; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && memcmp(m->data, "Exif\0", 6) == 0)
            return strata_exif_orientation(m->data, m->data_length);
    return 1;
}

/* Fills r->img, or r->status, or leaves through r->escape. */
static void read_image(reader *r)
{
    struct jpeg_decompress_struct *info = &r->info;
    jpeg_create_decompress(info);
    r->progress.progress_monitor = watch;
    info->progress = &r->progress;
    jpeg_mem_src(info, r->bytes, r->size);
    if (!r->ignore_exif)
        jpeg_save_markers(info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(info, TRUE);

    bool cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    if (!cmyk && info->jpeg_color_space != JCS_GRAYSCALE && info->jpeg_color_space != JCS_YCbCr
        && info->jpeg_color_space != JCS_RGB) {
        r->status = strata_fail(r->err, STRATA_FORMAT, "JPEG with %d components of unknown meaning",
                                info->num_components);
        return;
    }
    int turn = orientation(info); /* now: finishing forgets the markers */
    info->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    r->status = strata_image_alloc(info->image_width, info->image_height, &r->img, r->err);
    if (r->status != STRATA_OK)
        return;

    jpeg_start_decompress(info);
    JSAMPARRAY inks = NULL; /* one row of CMYK, from libjpeg's own pool */
    if (cmyk)
        inks = info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, info->output_width * 4, 1);
    while (info->output_scanline < info->output_height) {
        JSAMPROW row = r->img->pixels + (size_t)info->output_scanline * info->output_width * 3;
        jpeg_read_scanlines(info, cmyk ? inks : &row, 1);
        if (cmyk)
            cmyk_to_rgb(inks[0], row, info->output_width, info->saw_Adobe_marker);
    }
    jpeg_finish_decompress(info);
    r->status = strata_image_orient(&r->img, turn, r->err);
}

static void read_guarded(reader *r)
{
    if (setjmp(r->escape) == 0)
        read_image(r);
}

strata_status strata_image_decode_jpeg(const uint8_t *bytes, size_t size, bool ignore_exif,
                                       strata_image **out, strata_error *err)
{
    reader r = { .bytes = bytes, .size = size, .ignore_exif = ignore_exif, .err = err };
    r.info.err = jpeg_std_error(&r.errors);
    r.info.client_data = &r;
    r.errors.error_exit = fail;
    r.errors.emit_message = warn;
    r.errors.output_message = be_silent;
    read_guarded(&r);
    jpeg_destroy_decompress(&r.info);
    if (r.status != STRATA_OK) {
        strata_image_destroy(r.img);
        return r.status;
    }
    *out = r.img;
    return STRATA_OK;
}
