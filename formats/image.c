/* image.c: the image object, and loading: read the file, tell what it is by its first bytes, decode.
 *
 * Nothing is guessed from a file's name, and nothing is repaired: an image is whole, or the error says why it
 * is not. The kind is told before the rest of the file is read, so a folder full of other things is cheap. */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEAD = 64,                /* bytes that tell every kind of file */
    FIRST_BUFFER = 64 << 10,  /* for files that do not tell their size */
    MAX_FILE = 1 << 30,       /* an image at the limit of pixels is smaller than that, even uncompressed */
};

strata_status strata_image_check_size(uint64_t width, uint64_t height, strata_error *err)
{
    if (width == 0 || height == 0)
        return strata_fail(err, STRATA_FORMAT, "the image is empty: %llu x %llu pixels",
                           (unsigned long long)width, (unsigned long long)height);
    if (width > STRATA_IMAGE_MAX_SIDE || height > STRATA_IMAGE_MAX_SIDE
        || width * height > STRATA_IMAGE_MAX_PIXELS)
        return strata_fail(err, STRATA_FORMAT,
                           "%llu x %llu pixels are too many: at most %d a side, %d megapixels; scale it down",
                           (unsigned long long)width, (unsigned long long)height, STRATA_IMAGE_MAX_SIDE,
                           STRATA_IMAGE_MAX_PIXELS / 1000000);
    return STRATA_OK;
}

strata_status strata_image_alloc(uint64_t width, uint64_t height, strata_image **out, strata_error *err)
{
    *out = NULL;
    STRATA_TRY(strata_image_check_size(width, height, err));
    strata_image *img = malloc(sizeof *img);
    uint8_t *pixels = calloc((size_t)width * (size_t)height, 3); /* large blocks cost nothing until touched */
    if (img == NULL || pixels == NULL) {
        free(img);
        free(pixels);
        return strata_fail(err, STRATA_NOMEM, "out of memory for %d x %d pixels", (int)width, (int)height);
    }
    *img = (strata_image){ .width = (int)width, .height = (int)height, .pixels = pixels };
    *out = img;
    return STRATA_OK;
}

strata_status strata_image_create(int width, int height, const uint8_t *rgb, strata_image **out,
                                  strata_error *err)
{
    *out = NULL;
    if (width < 1 || height < 1 || width > STRATA_IMAGE_MAX_SIDE || height > STRATA_IMAGE_MAX_SIDE
        || (int64_t)width * height > STRATA_IMAGE_MAX_PIXELS)
        return strata_fail(err, STRATA_INVALID,
                           "image: %d x %d: sides must be 1 to %d, and not above %d megapixels", width,
                           height, STRATA_IMAGE_MAX_SIDE, STRATA_IMAGE_MAX_PIXELS / 1000000);
    STRATA_TRY(strata_image_alloc((uint64_t)width, (uint64_t)height, out, err));
    if (rgb != NULL)
        memcpy((*out)->pixels, rgb, (size_t)width * (size_t)height * 3);
    return STRATA_OK;
}

void strata_image_destroy(strata_image *img)
{
    if (img == NULL)
        return;
    free(img->pixels);
    free(img);
}

int strata_image_width(const strata_image *img)
{
    return img->width;
}

int strata_image_height(const strata_image *img)
{
    return img->height;
}

uint8_t *strata_image_pixels(const strata_image *img)
{
    return img->pixels;
}

void strata_image_blend_black(const uint8_t *rgba, uint8_t *rgb, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++, rgba += 4, rgb += 3) {
        unsigned a = rgba[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = strata_mul_255(rgba[c], a);
    }
}

/* ---- What kind of file ----------------------------------------------------------------------- */

typedef strata_status (*decode_fn)(const uint8_t *bytes, size_t size, bool ignore_exif, strata_image **out,
                                   strata_error *err);

typedef struct magic {
    size_t      at, size;
    const char *bytes;
    const char *kind;
    decode_fn   decode; /* NULL: known, but not read */
} magic;

static const magic magics[] = {
    { 0, 3, "\xff\xd8\xff", "a JPEG", strata_image_decode_jpeg },
    { 0, 8, "\x89PNG\r\n\x1a\n", "a PNG", strata_image_decode_png },
    { 8, 4, "WEBP", "a WebP", strata_image_decode_webp },
    { 0, 4, "GIF8", "a GIF", NULL },
    { 0, 4, "II*\0", "a TIFF", NULL },
    { 0, 4, "MM\0*", "a TIFF", NULL },
    { 4, 8, "ftypavif", "an AVIF image", NULL },
    { 4, 7, "ftyphei", "an HEIC image", NULL },
    { 4, 8, "ftypmif1", "a HEIF image", NULL },
    { 4, 4, "ftyp", "an MP4 or QuickTime file", NULL },
    { 0, 12, "\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL", NULL },
    { 0, 2, "\xff\x0a", "a JPEG XL", NULL },
    { 0, 12, "\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000", NULL },
    { 0, 4, "8BPS", "a Photoshop file", NULL },
    { 0, 4, "%PDF", "a PDF", NULL },
    { 0, 6, "\x93NUMPY", "a NumPy array", NULL },
    { 0, 4, "PK\3\4", "a ZIP archive", NULL },
    { 0, 2, "\x1f\x8b", "gzip data", NULL },
    { 0, 2, "BM", "a BMP", NULL },
};

static const magic *find_magic(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        const magic *m = &magics[i];
        if (size >= m->at + m->size && memcmp(bytes + m->at, m->bytes, m->size) == 0)
            return m;
    }
    return NULL;
}

/* How many printable characters a text starts with; 0 when it is no text. */
static int text_length(const uint8_t *bytes, size_t size)
{
    int shown = -1;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] < 32 && bytes[i] != '\t' && bytes[i] != '\n' && bytes[i] != '\r')
            return 0;
        if (shown < 0 && (bytes[i] < 32 || bytes[i] > 126))
            shown = (int)i;
    }
    return shown < 0 ? (int)size : shown;
}

/* The decoder for a file that starts so, or the reason why there is none. */
static strata_status choose_decoder(const uint8_t *bytes, size_t size, decode_fn *out, strata_error *err)
{
    if (size == 0)
        return strata_fail(err, STRATA_FORMAT, "the file is empty");
    if (size > HEAD)
        size = HEAD;
    const magic *m = find_magic(bytes, size);
    if (m != NULL && m->decode != NULL) {
        *out = m->decode;
        return STRATA_OK;
    }
    if (m != NULL)
        return strata_fail(err, STRATA_FORMAT, "this is %s; JPEG, PNG and WebP are read: convert it first",
                           m->kind);
    /* A few bytes of a signature are a cut file, not an unknown one. */
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (magics[i].decode != NULL && magics[i].at == 0 && size < magics[i].size
            && memcmp(bytes, magics[i].bytes, size) == 0)
            return strata_fail(err, STRATA_FORMAT, "%s cut off after %zu bytes", magics[i].kind, size);
    int shown = text_length(bytes, size);
    if (shown > 0)
        return strata_fail(err, STRATA_FORMAT, "not an image: text that starts \"%.*s\"",
                           shown < 24 ? shown : 24, (const char *)bytes);
    char hex[3 * 8 + 1] = "";
    for (size_t i = 0; i < 8 && i < size; i++)
        snprintf(hex + 3 * i, 4, " %02x", bytes[i]);
    return strata_fail(err, STRATA_FORMAT, "not an image: JPEG, PNG and WebP do not start with the bytes%s",
                       hex);
}

strata_status strata_image_decode(const void *bytes, size_t size, bool ignore_exif, strata_image **out,
                                  strata_error *err)
{
    *out = NULL;
    decode_fn decode;
    STRATA_TRY(choose_decoder(bytes, size, &decode, err));
    return decode(bytes, size, ignore_exif, out, err);
}

/* ---- Reading files ----------------------------------------------------------------------------- */

typedef struct buffer {
    uint8_t *bytes;
    size_t   size, room;
} buffer;

/* Reads on until b->size is `want` or the file ends. */
static strata_status read_until(int fd, buffer *b, size_t want, strata_error *err)
{
    while (b->size < want) {
        ssize_t n = read(fd, b->bytes + b->size, want - b->size);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return strata_fail(err, STRATA_IO, "cannot read: %s", strerror(errno));
        if (n > 0)
            b->size += (size_t)n;
    }
    return STRATA_OK;
}

static strata_status reserve(buffer *b, size_t room, strata_error *err)
{
    uint8_t *bytes = realloc(b->bytes, room);
    if (bytes == NULL)
        return strata_fail(err, STRATA_NOMEM, "out of memory for %zu bytes of file", room);
    b->bytes = bytes;
    b->room = room;
    return STRATA_OK;
}

/* Head first: what is no image is not read to its end. `expected` is the file's size; 0: it tells none. */
static strata_status read_image_file(int fd, uint64_t expected, buffer *b, decode_fn *decode,
                                     strata_error *err)
{
    bool known = expected >= HEAD && expected <= MAX_FILE;
    STRATA_TRY(reserve(b, known ? (size_t)expected + 1 : FIRST_BUFFER, err));
    STRATA_TRY(read_until(fd, b, HEAD, err));
    STRATA_TRY(choose_decoder(b->bytes, b->size, decode, err));
    while (expected <= MAX_FILE && b->size <= MAX_FILE) {
        STRATA_TRY(read_until(fd, b, b->room, err));
        if (b->size < b->room)
            return STRATA_OK;
        STRATA_TRY(reserve(b, b->room * 2, err));
    }
    return strata_fail(err, STRATA_FORMAT, "the file is longer than %d MiB", MAX_FILE >> 20);
}

static strata_status load(const char *path, bool ignore_exif, buffer *b, strata_image **out,
                          strata_error *err)
{
    /* O_NONBLOCK: opening a pipe that nobody writes to must not hang. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return strata_fail(err, errno == ENOENT ? STRATA_NOT_FOUND : STRATA_IO, "cannot open: %s",
                           strerror(errno));
    struct stat st;
    strata_status status = STRATA_OK;
    decode_fn decode = NULL;
    if (fstat(fd, &st) != 0 || fcntl(fd, F_SETFL, 0) != 0)
        status = strata_fail(err, STRATA_IO, "cannot read: %s", strerror(errno));
    else if (S_ISDIR(st.st_mode))
        status = strata_fail(err, STRATA_IO, "is a folder, not an image");
    else
        status = read_image_file(fd, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0, b, &decode, err);
    close(fd);
    if (status == STRATA_OK)
        status = decode(b->bytes, b->size, ignore_exif, out, err);
    return status;
}

strata_status strata_image_load(const char *path, bool ignore_exif, strata_image **out, strata_error *err)
{
    *out = NULL;
    buffer b = { 0 };
    strata_status status = load(path, ignore_exif, &b, out, err);
    free(b.bytes);
    return status == STRATA_OK ? STRATA_OK : strata_fail_in(err, status, "%s", path);
}
