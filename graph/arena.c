/* Blocks of doubling size in a chain; an object larger than a block gets one of its own. */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK = 16 * 1024, LARGEST_BLOCK = 1024 * 1024 };

struct arena_block {
    struct arena_block       *next;
    size_t                    used, size;
    alignas(max_align_t) char bytes[];
};

void *strata_arena_alloc(strata_arena *a, size_t size)
{
    const size_t unit = alignof(max_align_t);
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + unit - 1) / unit * unit;

    struct arena_block *block = a->block;
    if (!block || block->size - block->used < size) {
        size_t room = !block ? FIRST_BLOCK : block->size < LARGEST_BLOCK ? 2 * block->size : LARGEST_BLOCK;
        if (room < size)
            room = size;
        block = calloc(1, sizeof *block + room);
        if (!block)
            return NULL;
        block->size = room;
        block->next = a->block;
        a->block    = block;
    }
    void *object = block->bytes + block->used;
    block->used += size;
    return object;
}

char *strata_arena_strdup(strata_arena *a, const char *text)
{
    size_t size = strlen(text) + 1;
    char  *copy = strata_arena_alloc(a, size);
    return copy ? memcpy(copy, text, size) : NULL;
}

size_t strata_arena_bytes(const strata_arena *a)
{
    size_t bytes = 0;
    for (const struct arena_block *block = a->block; block; block = block->next)
        bytes += sizeof *block + block->size;
    return bytes;
}

void strata_arena_free(strata_arena *a)
{
    for (struct arena_block *block = a->block, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    a->block = NULL;
}
