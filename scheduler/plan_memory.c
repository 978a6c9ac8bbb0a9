/* Largest first, each at the lowest place where it fits between those that live at the same time (greedy by size:
 * Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020). Within a few percent of the
 * lower bound on these networks, and a page that anybody can check. */
#include "plan_memory.h"

#include <stdint.h>
#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    const memory_item *x = *(memory_item *const *)a, *y = *(memory_item *const *)b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->first != y->first ? (x->first > y->first) - (x->first < y->first) : (x > y) - (x < y);
}

/* Puts `item` into placed[0..n), which is sorted by offset. */
static void place(memory_item *item, memory_item **placed, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        const memory_item *other = placed[i];
        if (other->first > item->last || other->last < item->first)
            continue;
        if (other->offset >= at + item->size)
            break; /* the gap below `other` is wide enough; later ones lie higher */
        if (other->offset + other->size > at)
            at = other->offset + other->size;
    }
    item->offset = at;
    int i        = n;
    for (; i > 0 && placed[i - 1]->offset > at; i--)
        placed[i] = placed[i - 1];
    placed[i] = item;
}

bool strata_plan_memory(memory_item *items, int count, size_t *total)
{
    size_t sum = 0;
    *total     = 0;
    if (count == 0)
        return true;
    memory_item **order = malloc(2 * (size_t)count * sizeof *order), **placed = order + count;
    if (!order)
        return false;
    bool fits = true;
    for (int i = 0; i < count; i++) {
        const size_t unit = STRATA_ARENA_ALIGNMENT;
        fits &= items[i].size <= SIZE_MAX - unit;
        items[i].size = (items[i].size + unit - 1) / unit * unit;
        fits &= !__builtin_add_overflow(sum, items[i].size, &sum);
        order[i] = &items[i];
    }
    qsort(order, (size_t)count, sizeof *order, by_size);
    for (int i = 0; fits && i < count; i++) {
        place(order[i], placed, i);
        if (order[i]->offset + order[i]->size > *total)
            *total = order[i]->offset + order[i]->size;
    }
    free(order);
    return fits;
}
