/* image_png.c: PNG by libpng, in and out.
 *
 * Every kind is expanded to RGB or RGBA of 8 bits. Of 16-bit samples the high byte is taken, as OpenCV (and
 * so MindSpore) does: a network sees what it saw in training, and the other way, rounding x * 255 / 65535,
 * differs by one level at most. Alpha is laid on black. Of an animated PNG the still is read.
 *
 * Wrong checksums and missing ends are errors; libpng's warnings concern chunks that carry no pixels. */
#include "atomic_file.h"
#include "image.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* What libpng's callbacks need, in both directions. */
typedef struct trap {
    jmp_buf       escape;
    strata_status status;
    strata_error *err;
} trap;

static void fail(png_structp png, png_const_charp text)
{
    trap *t = png_get_error_ptr(png);
    if (t->status == STRATA_OK)
        t->status = strata_fail(t->err, STRATA_FORMAT, "damaged PNG: %s", text);
    longjmp(t->escape, 1);
}

static void ignore(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

/* ---- Reading ----------------------------------------------------------------------------------- */

typedef struct reader {
    trap           trap;
    png_structp    png;
    png_infop      info;
    const uint8_t *bytes;
    size_t         size, at;
    bool           ignore_exif;
    uint8_t       *pixels; /* 8-bit RGB or RGBA */
    uint8_t      **rows;
    strata_image  *img;
} reader;

static void read_bytes(png_structp png, png_bytep to, size_t n)
{
    reader *r = png_get_io_ptr(png);
    if (n > r->size - r->at) {
        r->trap.status = strata_fail(r->trap.err, STRATA_FORMAT,
                                     "damaged PNG: the file ends too early, at byte %zu", r->size);
        longjmp(r->trap.escape, 1);
    }
    memcpy(to, r->bytes + r->at, n);
    r->at += n;
}

static int orientation(reader *r)
{
    png_uint_32 size = 0;
    png_bytep block = NULL;
    if (!r->ignore_exif && png_get_eXIf_1(r->png, r->info, &size, &block) != 0)
        return strata_exif_orientation(block, size);
    return 1;
}

/* Claims can be checked before memory is spent on them: deflate packs at most 1032 bytes into one. */
static strata_status check_claim(reader *r)
{
    enum { DEFLATE_MAX_RATIO = 1032 };
    uint64_t width = png_get_image_width(r->png, r->info), height = png_get_image_height(r->png, r->info);
    STRATA_TRY(strata_image_check_size(width, height, r->trap.err));
    if (png_get_rowbytes(r->png, r->info) * height / DEFLATE_MAX_RATIO > r->size)
        return strata_fail(r->trap.err, STRATA_FORMAT,
                           "damaged PNG: %zu bytes cannot hold %llu x %llu pixels", r->size,
                           (unsigned long long)width, (unsigned long long)height);
    return STRATA_OK;
}

/* RGBA becomes RGB in place; the surplus is given back. */
static void drop_alpha(reader *r)
{
    size_t count = (size_t)r->img->width * (size_t)r->img->height;
    strata_image_blend_black(r->pixels, r->pixels, count);
    uint8_t *smaller = realloc(r->pixels, count * 3);
    if (smaller != NULL)
        r->pixels = smaller;
}

/* Fills r->img, or the trap's status, or leaves through the trap. */
static void read_image(reader *r)
{
    png_structp png = r->png;
    png_set_read_fn(png, r, read_bytes);
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff); /* ours say more */
    png_read_info(png, r->info);
    r->trap.status = check_claim(r);
    if (r->trap.status != STRATA_OK)
        return;

    png_set_expand(png); /* palette, fewer than 8 bits, transparent colours */
    png_set_strip_16(png);
    png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, r->info);
    size_t width = png_get_image_width(png, r->info), height = png_get_image_height(png, r->info);
    size_t pitch = png_get_rowbytes(png, r->info);
    r->pixels = malloc(pitch * height);
    r->rows = malloc(sizeof *r->rows * height);
    r->img = malloc(sizeof *r->img);
    if (r->pixels == NULL || r->rows == NULL || r->img == NULL) {
        r->trap.status =
            strata_fail(r->trap.err, STRATA_NOMEM, "out of memory for %zu x %zu pixels", width, height);
        return;
    }
    for (size_t y = 0; y < height; y++)
        r->rows[y] = r->pixels + y * pitch;
    *r->img = (strata_image){ .width = (int)width, .height = (int)height };
    png_read_image(png, r->rows);
    png_read_end(png, r->info);

    if (png_get_channels(png, r->info) == 4)
        drop_alpha(r);
    r->img->pixels = r->pixels;
    r->pixels = NULL;
    r->trap.status = strata_image_orient(&r->img, orientation(r), r->trap.err);
}

static void read_guarded(reader *r)
{
    if (setjmp(r->trap.escape) == 0)
        read_image(r);
}

strata_status strata_image_decode_png(const uint8_t *bytes, size_t size, bool ignore_exif, strata_image **out,
                                      strata_error *err)
{
    reader r = { .trap.err = err, .bytes = bytes, .size = size, .ignore_exif = ignore_exif };
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r.trap, fail, ignore);
    if (r.png != NULL)
        r.info = png_create_info_struct(r.png);
    if (r.info != NULL)
        read_guarded(&r);
    else
        r.trap.status = strata_fail(err, STRATA_NOMEM, "PNG: out of memory");
    png_destroy_read_struct(&r.png, &r.info, NULL);
    free(r.rows);
    free(r.pixels);
    if (r.trap.status != STRATA_OK) {
        strata_image_destroy(r.img);
        return r.trap.status;
    }
    *out = r.img;
    return STRATA_OK;
}

/* ---- Writing ----------------------------------------------------------------------------------- */

typedef struct writer {
    trap                trap;
    png_structp         png;
    png_infop           info;
    const strata_image *img;
    FILE               *to;
} writer;

static void write_bytes(png_structp png, png_bytep from, size_t n)
{
    writer *w = png_get_io_ptr(png);
    /* The stream remembers the failure; commit reports it. */
    (void)fwrite(from, 1, n, w->to);
}

static void flush_bytes(png_structp png)
{
    (void)png;
}

static void write_image(writer *w)
{
    png_set_write_fn(w->png, w, write_bytes, flush_bytes);
    png_set_IHDR(w->png, w->info, (png_uint_32)w->img->width, (png_uint_32)w->img->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    for (int y = 0; y < w->img->height; y++)
        png_write_row(w->png, w->img->pixels + (size_t)y * (size_t)w->img->width * 3);
    png_write_end(w->png, w->info);
}

static void write_guarded(writer *w)
{
    if (setjmp(w->trap.escape) == 0)
        write_image(w);
}

/* `name` is for messages. */
static strata_status write_png(const strata_image *img, const char *name, FILE *to, strata_error *err)
{
    writer w = { .trap.err = err, .img = img, .to = to };
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w.trap, fail, ignore);
    if (w.png != NULL)
        w.info = png_create_info_struct(w.png);
    if (w.info != NULL)
        write_guarded(&w);
    else
        w.trap.status = strata_fail(err, STRATA_NOMEM, "%s: out of memory", name);
    png_destroy_write_struct(&w.png, &w.info);
    return w.trap.status;
}

strata_status strata_image_write_png(const strata_image *img, const char *path, strata_error *err)
{
    strata_atomic_file *file;
    STRATA_TRY(strata_atomic_open(path, &file, err));
    strata_status status = write_png(img, path, strata_atomic_stream(file), err);
    if (status != STRATA_OK) {
        strata_atomic_abort(file);
        return status;
    }
    return strata_atomic_commit(file, err);
}

strata_status strata_image_encode_png(const strata_image *img, void **bytes, size_t *size, strata_error *err)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, size);
    *bytes = NULL;
    if (to == NULL)
        return strata_fail(err, STRATA_NOMEM, "PNG: out of memory");
    strata_status status = write_png(img, "PNG", to, err);
    bool          failed = ferror(to) != 0;
    failed = fclose(to) != 0 || failed;
    if (status == STRATA_OK && failed)
        status = strata_fail(err, STRATA_NOMEM, "PNG: out of memory");
    if (status != STRATA_OK) {
        free(text);
        return status;
    }
    *bytes = text;
    return STRATA_OK;
}
