/* A hash map from the names of a graph to its nodes: open addressing, linear probing, FNV-1a. Keys are borrowed. */
#ifndef STRATA_GRAPH_NAMES_H
#define STRATA_GRAPH_NAMES_H

#include <strata/extend.h>

typedef struct name_slot {
    const char  *name; /* NULL: never used */
    strata_node *node; /* NULL: removed */
} name_slot;

typedef struct name_map {
    name_slot *slot;
    size_t     size, used; /* size: a power of two; used counts removed slots too */
} name_map;

strata_node *name_map_get(const name_map *m, const char *name);
bool         name_map_put(name_map *m, const char *name, strata_node *node); /* false: out of memory */
void         name_map_remove(name_map *m, const char *name);
void         name_map_free(name_map *m);

#endif
