/* report_maps.c: pictures for the page, as data URIs: the image, and of each map the mean over the channels
 * and the channels that say most, which are those that vary most over the image: the greatest standard
 * deviations. */
#include "report.h"

#include "first_row.h"
#include "talk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_SIDE = 104, CHANNELS = 8 };

/* ---- Data URIs
 * --------------------------------------------------------------------------------------------- */

/* "data:image/png;base64,..." (RFC 4648); NULL when out of memory. */
static json_t *data_uri(const unsigned char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char lead[] = "data:image/png;base64,";
    char             *text = malloc(sizeof lead + (size + 2) / 3 * 4), *to = text;
    if (!text)
        return NULL;
    to += sprintf(to, "%s", lead);
    for (size_t i = 0; i < size; i += 3) {
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (i + k < size ? bytes[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            *to++ = i + k <= size ? digits[group >> (18 - 6 * k) & 63] : '=';
    }
    json_t *uri = json_stringn(text, (size_t)(to - text));
    free(text);
    return uri;
}

/* Large pictures are made smaller: a page full of them should stay small. Takes the image. */
static int picture(strata_image *img, int long_side, json_t **out)
{
    int           width = strata_image_width(img), height = strata_image_height(img);
    int           longer = width > height ? width : height;
    strata_image *small = NULL;
    strata_error  err = { 0 };
    void         *bytes = NULL;
    size_t        size = 0;
    bool          failed = false;
    if (longer > long_side) {
        int w = width * long_side / longer, h = height * long_side / longer;
        failed = strata_image_resize(img, w ? w : 1, h ? h : 1, STRATA_BILINEAR, STRATA_PREPROCESS_PILLOW,
                                     &small, &err) != STRATA_OK;
    }
    if (!failed)
        failed = strata_image_encode_png(small ? small : img, &bytes, &size, &err) != STRATA_OK;
    *out = failed ? NULL : data_uri(bytes, size);
    free(bytes);
    strata_image_destroy(small);
    strata_image_destroy(img);
    if (failed)
        return talk_failure(STAGE_RUN, &err, NULL);
    return *out ? EXIT_DONE : talk_error(EXIT_UNEXPECTED, "out of memory");
}

/* ---- Maps
 * ---------------------------------------------------------------------------------------------------- */

/* How much a channel varies over the image; NaN and Inf do not count. */
static double variation(const float *x, size_t n)
{
    double sum = 0, squares = 0;
    size_t finite = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]))
            sum += (double)x[i], finite++;
    double mean = finite ? sum / (double)finite : 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]))
            squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    return finite ? squares / (double)finite : 0;
}

/* The channels that vary most, greatest first; returns how many. */
static int best_channels(const strata_tensor *map, int best[CHANNELS])
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(map);
    const float              *x = strata_tensor_data(map);
    size_t                    plane = (size_t)(desc->dim[2] * desc->dim[3]);
    double                    value[CHANNELS];
    int                       count = 0;
    for (int c = 0; c < desc->dim[1]; c++) {
        double v = variation(x + (size_t)c * plane, plane);
        int    at = count;
        for (; at > 0 && v > value[at - 1]; at--)
            if (at < CHANNELS)
                value[at] = value[at - 1], best[at] = best[at - 1];
        if (at < CHANNELS)
            value[at] = v, best[at] = c;
        count += count < CHANNELS;
    }
    return count;
}

static int heat(const strata_tensor *map, int channel, json_t **out)
{
    strata_image *img = NULL;
    strata_error  err = { 0 };
    if (strata_heat_map(map, channel, &img, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    return picture(img, LONG_SIDE, out);
}

static int add_map(const char *name, const strata_tensor *map, json_t *maps)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(map);
    int                       best[CHANNELS] = { 0 }, count = best_channels(map, best);
    json_t                   *mean = NULL, *channels = json_array(), *one = NULL;
    int                       code = heat(map, -1, &mean);
    for (int i = 0; i < count && !code; i++) {
        code = heat(map, best[i], &one);
        if (!code)
            json_array_append_new(channels, json_pack("{s:i, s:o}", "index", best[i], "picture", one));
    }
    json_array_append_new(maps, json_pack("{s:o, s:[I,I,I,I], s:o, s:o}", "name", talk_json_text(name),
                                          "shape", (json_int_t)1, (json_int_t)desc->dim[1],
                                          (json_int_t)desc->dim[2], (json_int_t)desc->dim[3], "mean",
                                          mean ? mean : json_null(), "channels", channels));
    return code;
}

int report_maps(const struct report_run *r, const char *path, json_t **out)
{
    const strata_graph *g = strata_program_graph(r->program);
    strata_image       *copy = NULL;
    strata_error        err = { 0 };
    json_t             *maps = json_array(), *shown = NULL;
    int width = strata_image_width(r->pixels), height = strata_image_height(r->pixels), code = EXIT_DONE;
    if (strata_image_create(width, height, strata_image_pixels(r->pixels), &copy, &err) != STRATA_OK)
        code = talk_failure(STAGE_RUN, &err, NULL);
    if (!code)
        code = picture(copy, 2 * LONG_SIDE, &shown);
    for (int i = 0; i < r->output_count && !code; i++) {
        strata_output  o = strata_graph_output(g, i);
        strata_tensor *map = NULL;
        if (o.desc->rank != 4)
            continue;
        code = first_row(r->outputs[i], &map);
        if (!code)
            code = add_map(o.name, map, maps);
        strata_tensor_unref(map);
    }
    *out = json_pack("{s:o, s:[i,i], s:o, s:o}", "file", talk_json_text(path), "size", height, width,
                     "picture", shown ? shown : json_null(), "maps", maps);
    return code;
}
