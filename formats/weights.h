/* weights.h: what the readers of checkpoint formats and the container of their entries agree on.
 *
 * A reader walks the mapped file, checks it, and reports each tensor with strata_weights_add: name, type,
 * shape and where its bytes are. No bytes are copied at that time. A new format is one reader and one row of
 * the table in weights.c. */
#ifndef STRATA_FORMATS_WEIGHTS_H
#define STRATA_FORMATS_WEIGHTS_H

#include <strata/extend.h>

/* Readers fail with texts that need no path: strata_weights_load puts it in front. */
typedef struct strata_weights_reader {
    const char *name;
    bool (*sniff)(const unsigned char *bytes, size_t size); /* whether the file claims to be of this format */
    strata_status (*open)(strata_weights *w, const unsigned char *bytes, size_t size, strata_error *err);
} strata_weights_reader;

extern const strata_weights_reader strata_mindspore_reader, strata_encrypted_reader,
    strata_safetensors_reader;

/* Adds an entry; its bytes begin with `size` bytes at `at`, inside the file. The name is copied. */
strata_status strata_weights_add(strata_weights *w, const char *name, size_t length,
                                 const strata_tensor_desc *desc, const unsigned char *at, size_t size,
                                 strata_error *err);
/* More bytes of the last entry. */
strata_status strata_weights_continue(strata_weights *w, const unsigned char *at, size_t size,
                                      strata_error *err);
/* A rule of the format by which binding ignores the last entry. */
void strata_weights_skip_last(strata_weights *w, const char *rule);
/* The last entry, or NULL. */
const strata_weights_entry *strata_weights_last(const strata_weights *w);

/* Fails unless rank and dims are sane, the element count fits in memory, and the bytes are `size`. */
strata_status strata_check_extent(const char *name, const strata_tensor_desc *desc, uint64_t size,
                                  strata_error *err);

/* Index of the entry of that name, or -1. */
int strata_weights_find(const strata_weights *w, const char *name);
const char *strata_weights_path(const strata_weights *w);
/* Calls fn with the pieces of entry i in order; stops when it returns false, and returns what it returned. */
bool strata_weights_each_piece(const strata_weights *w, int i,
                               bool (*fn)(void *user, const void *at, size_t size), void *user);

#endif
