/* safetensors.h: writing of .safetensors, shared by converted checkpoints and feature files. */
#ifndef STRATA_FORMATS_SAFETENSORS_H
#define STRATA_FORMATS_SAFETENSORS_H

#include <strata/extend.h>

#include <jansson.h>

typedef struct strata_safetensors_item {
    const char        *name; /* UTF-8 */
    strata_tensor_desc desc; /* row-major */
} strata_safetensors_item;

/* Writes the bytes of item i. */
typedef strata_status (*strata_safetensors_fill)(void *user, int i, FILE *to, strata_error *err);

/* Writes a whole file to `to`. `metadata` is a JSON object of strings, or NULL for none. Wider types come
 * first, so that every tensor is aligned to its type. */
strata_status strata_safetensors_write(FILE *to, const strata_safetensors_item *items, int count,
                                       json_t *metadata, strata_safetensors_fill fill, void *user,
                                       strata_error *err);

#endif
