/* See names.h. */
#include "names.h"

#include <stdlib.h>
#include <string.h>

static size_t hash(const char *name)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001B3u;
    return (size_t)(h ^ h >> 32);
}

/* The slot of `name`, or the empty one where it would go. The map has room. */
static name_slot *find(const name_map *m, const char *name)
{
    size_t at = hash(name) & (m->size - 1);
    while (m->slot[at].name && strcmp(m->slot[at].name, name) != 0)
        at = (at + 1) & (m->size - 1);
    return &m->slot[at];
}

static bool grow(name_map *m)
{
    name_map bigger = { .size = m->size ? 2 * m->size : 256 };
    bigger.slot     = calloc(bigger.size, sizeof *bigger.slot);
    if (!bigger.slot)
        return false;
    for (size_t i = 0; i < m->size; i++)
        if (m->slot[i].node) {
            *find(&bigger, m->slot[i].name) = m->slot[i];
            bigger.used++;
        }
    free(m->slot);
    *m = bigger;
    return true;
}

strata_node *name_map_get(const name_map *m, const char *name)
{
    return m->size ? find(m, name)->node : NULL;
}

bool name_map_put(name_map *m, const char *name, strata_node *node)
{
    if (m->used * 3 >= m->size * 2 && !grow(m))
        return false;
    name_slot *slot = find(m, name);
    if (!slot->name)
        m->used++;
    *slot = (name_slot){ name, node };
    return true;
}

void name_map_remove(name_map *m, const char *name)
{
    if (m->size && find(m, name)->name)
        find(m, name)->node = NULL;
}

void name_map_free(name_map *m)
{
    free(m->slot);
    *m = (name_map){ 0 };
}
