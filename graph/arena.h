/* A bump allocator: many small objects that die together. A graph is one arena. */
#ifndef STRATA_GRAPH_ARENA_H
#define STRATA_GRAPH_ARENA_H

#include <stddef.h>

typedef struct strata_arena {
    struct arena_block *block; /* newest first */
} strata_arena;

/* Zero-filled, aligned for any object; NULL when out of memory. */
void *strata_arena_alloc(strata_arena *a, size_t size);
char *strata_arena_strdup(strata_arena *a, const char *text);
size_t strata_arena_bytes(const strata_arena *a); /* of memory that it holds */
void   strata_arena_free(strata_arena *a);

#endif
