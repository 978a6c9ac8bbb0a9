/* image_webp.c: WebP by libwebp: lossy, lossless, with alpha (laid on black). Of an animation the first frame
 * is read, at its place on a black canvas, as Pillow and file managers do.
 *
 * The container is opened first: it knows whether the file is whole, which the bitstream does not. */
#include "image.h"

#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

static const char *reason(VP8StatusCode code)
{
    switch (code) {
    case VP8_STATUS_BITSTREAM_ERROR: return "the bitstream is wrong";
    case VP8_STATUS_NOT_ENOUGH_DATA: return "the bitstream ends too early";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "it uses an unknown feature";
    case VP8_STATUS_SUSPENDED: return "the bitstream is incomplete";
    default: return "its parameters are wrong";
    }
}

/* Decodes the frame into `to`, whose rows are `stride` bytes apart. */
static strata_status decode_frame(const WebPIterator *frame, WEBP_CSP_MODE mode, uint8_t *to, size_t stride,
                                  strata_error *err)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return strata_fail(err, STRATA_INTERNAL, "WebP: the library is another version than its header");
    VP8StatusCode code = WebPGetFeatures(frame->fragment.bytes, frame->fragment.size, &config.input);
    if (code == VP8_STATUS_OK && (config.input.width != frame->width || config.input.height != frame->height))
        return strata_fail(err, STRATA_FORMAT,
                           "damaged WebP: container says %d x %d pixels, bitstream %d x %d", frame->width,
                           frame->height, config.input.width, config.input.height);
    if (code == VP8_STATUS_OK) {
        config.output.colorspace = mode;
        config.output.is_external_memory = 1;
        config.output.u.RGBA.rgba = to;
        config.output.u.RGBA.stride = (int)stride;
        config.output.u.RGBA.size = stride * (size_t)(frame->height - 1)
                                    + (size_t)frame->width * (mode == MODE_RGBA ? 4 : 3);
        code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    }
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return strata_fail(err, STRATA_NOMEM, "WebP: out of memory");
    if (code != VP8_STATUS_OK)
        return strata_fail(err, STRATA_FORMAT, "damaged WebP: %s", reason(code));
    return STRATA_OK;
}

static strata_status place_frame(const WebPIterator *frame, strata_image *canvas, strata_error *err)
{
    size_t stride = (size_t)canvas->width * 3;
    uint8_t *at = canvas->pixels + (size_t)frame->y_offset * stride + (size_t)frame->x_offset * 3;
    if (!frame->has_alpha)
        return decode_frame(frame, MODE_RGB, at, stride, err);

    size_t pitch = (size_t)frame->width * 4;
    uint8_t *rgba = malloc(pitch * (size_t)frame->height);
    if (rgba == NULL)
        return strata_fail(err, STRATA_NOMEM, "out of memory for %d x %d pixels", frame->width,
                           frame->height);
    strata_status status = decode_frame(frame, MODE_RGBA, rgba, pitch, err);
    for (int y = 0; status == STRATA_OK && y < frame->height; y++)
        strata_image_blend_black(rgba + (size_t)y * pitch, at + (size_t)y * stride, (size_t)frame->width);
    free(rgba);
    return status;
}

static int orientation(const WebPDemuxer *demux)
{
    WebPChunkIterator chunk;
    int result = 1;
    if (WebPDemuxGetChunk(demux, "EXIF", 1, &chunk)) {
        result = strata_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    return result;
}

static strata_status decode_first(const WebPDemuxer *demux, strata_image **out, strata_error *err)
{
    uint32_t width = WebPDemuxGetI(demux, WEBP_FF_CANVAS_WIDTH),
             height = WebPDemuxGetI(demux, WEBP_FF_CANVAS_HEIGHT);
    STRATA_TRY(strata_image_check_size(width, height, err));
    WebPIterator frame;
    if (!WebPDemuxGetFrame(demux, 1, &frame))
        return strata_fail(err, STRATA_FORMAT, "damaged WebP: there is no image in it");
    bool inside = frame.x_offset >= 0 && frame.y_offset >= 0
                  && (int64_t)frame.x_offset + frame.width <= width
                  && (int64_t)frame.y_offset + frame.height <= height;
    strata_status status =
        inside ? strata_image_create((int)width, (int)height, NULL, out, err)
               : strata_fail(err, STRATA_FORMAT, "damaged WebP: the first frame lies outside the image");
    if (status == STRATA_OK)
        status = place_frame(&frame, *out, err);
    WebPDemuxReleaseIterator(&frame);
    return status;
}

strata_status strata_image_decode_webp(const uint8_t *bytes, size_t size, bool ignore_exif,
                                       strata_image **out, strata_error *err)
{
    WebPData data = { bytes, size };
    WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
    WebPDemuxer *demux = WebPDemuxPartial(&data, &state);
    strata_image *img = NULL;
    strata_status status;
    if (state == WEBP_DEMUX_PARSE_ERROR)
        status = strata_fail(err, STRATA_FORMAT, "damaged WebP: its chunks are wrong");
    else if (state != WEBP_DEMUX_DONE)
        status = strata_fail(err, STRATA_FORMAT, "damaged WebP: the file ends too early, at byte %zu", size);
    else if (demux == NULL)
        status = strata_fail(err, STRATA_NOMEM, "WebP: out of memory");
    else
        status = decode_first(demux, &img, err);
    if (status == STRATA_OK && !ignore_exif)
        status = strata_image_orient(&img, orientation(demux), err);
    WebPDemuxDelete(demux);
    if (status != STRATA_OK) {
        strata_image_destroy(img);
        return status;
    }
    *out = img;
    return STRATA_OK;
}
