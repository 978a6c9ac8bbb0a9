/* extract_sides.c: what extract writes beside the arrays: a picture of the first image with its features, and
 * the input tensors. */
#include "extract.h"

#include "first_row.h"
#include "talk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The pixels that a normalised tensor came from, for inputs that are tensors: x * std + mean, in 0..255. */
static int pixels_of(const struct sides *s, const strata_tensor *rows, strata_image **out)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(rows);
    const float              *data = strata_tensor_data(rows);
    int64_t                   channels = desc->dim[1], plane = desc->dim[2] * desc->dim[3];
    strata_error              err = { 0 };
    if (strata_image_create((int)desc->dim[3], (int)desc->dim[2], NULL, out, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    uint8_t *pixel = strata_image_pixels(*out);
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < 3; c++) {
            int64_t from = channels >= 3 ? c : 0;
            double  value = 255 * (data[from * plane + i] * s->record.std[c] + s->record.mean[c]);
            pixel[3 * i + c] = value > 0 ? (uint8_t)lrint(fmin(value, 255)) : 0; /* not a number: black */
        }
    return EXIT_DONE;
}

static int keep_input(struct sides *s, const strata_tensor *rows)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(rows);
    size_t                    bytes = strata_bytes(desc);
    if (s->capacity - s->used < bytes) {
        size_t capacity = 2 * s->capacity > s->used + bytes ? 2 * s->capacity : s->used + bytes;
        float *grown = realloc(s->inputs, capacity);
        if (!grown)
            return talk_error(EXIT_UNEXPECTED,
                              "out of memory; --dump-input holds all input tensors in memory");
        s->inputs = grown;
        s->capacity = capacity;
    }
    memcpy((char *)s->inputs + s->used, strata_tensor_data(rows), bytes);
    s->used += bytes;
    if (s->input_desc.rank == 0)
        s->input_desc = *desc;
    else
        s->input_desc.dim[0] += desc->dim[0];
    return EXIT_DONE;
}

int sides_input(struct sides *s, const strata_tensor *rows, strata_image *image, bool first)
{
    int code = EXIT_DONE;
    if (s->options->picture && first && !image)
        code = pixels_of(s, rows, &image);
    if (s->options->picture && first)
        s->pixels = image;
    else
        strata_image_destroy(image);
    if (!code && s->options->dump_input)
        code = keep_input(s, rows);
    return code;
}

int sides_outputs(struct sides *s, const strata_graph *g, strata_tensor *const *outputs)
{
    strata_tensor *map[MOST_OUTPUTS];
    const char    *name[MOST_OUTPUTS];
    strata_error   err = { 0 };
    int            maps = 0, code = EXIT_DONE;
    if (!s->pixels)
        return code;
    for (int i = 0; i < strata_graph_output_count(g) && !code; i++) {
        strata_output out = strata_graph_output(g, i);
        if (out.desc->rank != 4 || out.name[0] == '%')
            continue;
        code = first_row(outputs[i], &map[maps]);
        name[maps] = out.name;
        maps += !code;
    }
    if (!code && strata_picture(s->pixels, maps, map, name, &s->picture, &err) != STRATA_OK)
        code = talk_failure(STAGE_RUN, &err, NULL);
    while (maps > 0)
        strata_tensor_unref(map[--maps]);
    strata_image_destroy(s->pixels);
    s->pixels = NULL;
    return code;
}

static int write_inputs(struct sides *s)
{
    strata_tensor *all = NULL;
    strata_error   err = { 0 };
    int            code = EXIT_DONE;
    if (strata_tensor_wrap(&s->input_desc, s->inputs, NULL, NULL, &all, &err) != STRATA_OK ||
        strata_npy_write(s->options->dump_input, all, &err) != STRATA_OK)
        code = talk_failure(STAGE_FILES, &err, NULL);
    strata_tensor_unref(all);
    return code;
}

int sides_write(struct sides *s)
{
    strata_error err = { 0 };
    if (s->picture && strata_image_write_png(s->picture, s->options->picture, &err) != STRATA_OK)
        return talk_failure(STAGE_FILES, &err, NULL);
    return s->inputs ? write_inputs(s) : EXIT_DONE;
}

void sides_free(struct sides *s)
{
    strata_image_destroy(s->pixels);
    strata_image_destroy(s->picture);
    free(s->inputs);
}
