/* Places of values in one arena. */
#ifndef STRATA_SCHEDULER_PLAN_MEMORY_H
#define STRATA_SCHEDULER_PLAN_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct memory_item {
    size_t size;        /* bytes, in */
    int    first, last; /* steps between which the bytes are needed, both included, in */
    size_t offset;      /* out: a multiple of STRATA_ARENA_ALIGNMENT */
} memory_item;

enum { STRATA_ARENA_ALIGNMENT = 256 };

/* Gives every item an offset such that no two items that live at the same time overlap. *total is the size of the
 * arena. False when out of memory, or when the sizes do not add up in a size_t. */
bool strata_plan_memory(memory_item *items, int count, size_t *total);

#endif
