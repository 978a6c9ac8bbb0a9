/* hazard.c: which dispatches must wait for which, and how many barriers that takes.
 *
 * Dispatch b depends on an earlier a when a byte range of one overlaps one of the other and at least one of
 * the two is written: read after write, write after read (an arena uses bytes again), write after write. The
 * level of a dispatch is the length of the longest chain of dependences before it; all of one level may run
 * side by side, and one barrier between levels satisfies every dependence. No order has fewer barriers, for a
 * chain needs one per link.
 */
#include "record.h"

static bool overlap(const vk_binding *a, const vk_binding *b)
{
    return a->buffer == b->buffer && a->offset < b->offset + b->size && b->offset < a->offset + a->size;
}

static bool depends(const vk_dispatch *later, const vk_dispatch *earlier)
{
    for (int i = 0; i < later->bindings; i++)
        for (int k = 0; k < earlier->bindings; k++) {
            const vk_binding *a = &later->binding[i], *b = &earlier->binding[k];
            if (((a->written && (b->read || b->written)) || (a->read && b->written)) && overlap(a, b))
                return true;
        }
    return false;
}

int vk_find_levels(vk_dispatch *list, int count)
{
    int levels = 0;
    for (int i = 0; i < count; i++) {
        list[i].level = 0;
        for (int k = i - 1; k >= 0; k--)
            if (list[k].level >= list[i].level && depends(&list[i], &list[k]))
                list[i].level = list[k].level + 1;
        if (list[i].level + 1 > levels)
            levels = list[i].level + 1;
    }
    return levels;
}
