/* auto_map_modules.h: the modules of a network or of a file, for the comparison of their structure. */
#ifndef STRATA_FORMATS_AUTO_MAP_MODULES_H
#define STRATA_FORMATS_AUTO_MAP_MODULES_H

#include "bind.h"

enum { MAX_PARTS = 16 };

typedef struct part { /* between the dots of a name; "features_0" counts as two */
    const char *at;
    int         length;
} part;

typedef struct module {
    bind_name *names;   /* sorted by role */
    int        count;
    part       parts[MAX_PARTS];
    int        part_count;
    int        order;   /* in the graph, or in the file */
    uint64_t   signature;
    int        partner; /* index on the other side, or -1 */
    bool       fixed;   /* names have paired members of it already */
    bool       outside; /* has been matched outside of any block */
} module;

typedef struct side {
    module    *modules; /* by order */
    int        count;
    bind_name *names;
} side;

/* All modules of both sides; those that names have paired are partners already. False when out of memory;
 * clear in any case. */
bool strata_collect_modules(const binding *b, side *own, side *file);
void strata_clear_modules(side *s);
/* -1 or 1 when the names first differ in a number behind equal words; 0 when their order means nothing. */
int strata_compare_numbers(const module *a, const module *b);
/* "layer1.conv1" and "layer2.conv1": named alike, and yet not the same. */
bool strata_same_but_numbers(const module *a, const module *b);
/* Whether the first `depth` parts of both names are equal, and both have so many. */
bool strata_same_start(const module *a, const module *b, int depth);
/* FNV-1a, 64 bits. What it takes for equal is compared in full before anything is paired. */
uint64_t strata_hash_bytes(uint64_t h, const void *bytes, size_t size);

#endif
