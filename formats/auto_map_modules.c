/* auto_map_modules.c: splits parameters and tensors into modules, and modules' names into parts.
 *
 * A module is what shares a name up to the leaf: a convolution's weight and bias, a norm's four vectors. Its
 * signature is made of the roles and shapes of its members, as the file should have them. */
#include "auto_map_modules.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

uint64_t strata_hash_bytes(uint64_t h, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        h = (h ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001B3);
    return h;
}

/* Splits a module's name. A lone parameter ("block.gamma_") is a module of its own, named with its leaf. */
static void split(module *m)
{
    const char *at = m->names->name, *end = at + m->names->module;
    if (m->count == 1 && strcmp(m->names->role, "weight") != 0)
        end = m->names->leaf + strlen(m->names->leaf);
    while (at < end && m->part_count < MAX_PARTS) {
        int length = (int)strcspn(at, ".");
        if (length > end - at)
            length = (int)(end - at);
        int digits = length;
        while (digits > 0 && isdigit((unsigned char)at[digits - 1]))
            digits--;
        if (digits > 1 && digits < length && at[digits - 1] == '_' && m->part_count + 1 < MAX_PARTS) {
            m->parts[m->part_count++] = (part){ at, digits - 1 };
            m->parts[m->part_count++] = (part){ at + digits, length - digits };
        } else {
            m->parts[m->part_count++] = (part){ at, length };
        }
        at += length + 1;
    }
}

/* The shape that the file should have: vectors without dims of 1, a first convolution with three channels
 * unless the file has the network's own number. */
static void hash_shape(uint64_t *h, const strata_tensor_desc *d, bool weight, bool three_channels)
{
    for (int i = 0; i < d->rank; i++) {
        int64_t dim = three_channels && i == 1 ? 3 : d->dim[i];
        if (weight || dim != 1)
            *h = strata_hash_bytes(*h, &dim, sizeof dim);
    }
}

static bool file_has_shape(const binding *b, const strata_tensor_desc *d)
{
    for (int i = 0; i < b->tensor_count; i++)
        if (b->tensors[i].eligible && strata_same_shape(&b->tensors[i].desc, d))
            return true;
    return false;
}

static void sign(const binding *b, module *m, bool of_file)
{
    m->signature = UINT64_C(0xCBF29CE484222325);
    for (int i = 0; i < m->count; i++) {
        const bind_name *n = &m->names[i];
        const bind_parameter *p = of_file ? NULL : &b->parameters[n->index];
        const strata_tensor_desc *d = of_file ? &b->tensors[n->index].desc : &p->node->desc;
        bool weight = strcmp(n->role, "weight") == 0;
        m->signature = strata_hash_bytes(m->signature, n->role, strlen(n->role) + 1);
        hash_shape(&m->signature, d, weight, p != NULL && p->stem && !file_has_shape(b, d));
        m->signature = strata_hash_bytes(m->signature, ";", 1);
    }
}

static int compare_order(const void *x, const void *y)
{
    const module *a = x, *b = y;
    return (a->order > b->order) - (a->order < b->order);
}

static bool collect(const binding *b, bool of_file, side *s)
{
    int all = of_file ? b->tensor_count : b->parameter_count, count = 0;
    bool *wanted = calloc((size_t)all + 1, sizeof *wanted);
    if (wanted == NULL)
        return false;
    for (int i = 0; i < all; i++)
        wanted[i] = of_file ? b->tensors[i].eligible : true;
    s->names = strata_bind_names(b, of_file, wanted, &count);
    s->modules = calloc((size_t)count + 1, sizeof *s->modules);
    free(wanted);
    if (s->names == NULL || s->modules == NULL)
        return false;
    for (int i = 0, end; i < count; i = end) {
        const bind_name *first = &s->names[i];
        module *m = &s->modules[s->count++];
        *m = (module){ .names = &s->names[i], .order = first->index, .partner = -1 };
        for (end = i; end < count && s->names[end].module == first->module &&
                      memcmp(s->names[end].name, first->name, (size_t)first->module) == 0; end++) {
            int index = s->names[end].index;
            m->fixed = m->fixed || (of_file ? b->tensors[index].parameter : b->parameters[index].tensor) >= 0;
            m->order = index < m->order ? index : m->order;
            m->count++;
        }
        split(m);
        sign(b, m, of_file);
    }
    qsort(s->modules, (size_t)s->count, sizeof *s->modules, compare_order);
    return true;
}

/* Makes partners of modules whose members are paired. */
static bool link_fixed(const binding *b, side *own, side *file)
{
    int *module_of = calloc((size_t)b->tensor_count + 1, sizeof *module_of);
    if (module_of == NULL)
        return false;
    for (int i = 0; i < file->count; i++)
        for (int k = 0; k < file->modules[i].count; k++)
            module_of[file->modules[i].names[k].index] = i + 1;
    for (int i = 0; i < own->count; i++)
        for (int k = 0; k < own->modules[i].count; k++) {
            int tensor = b->parameters[own->modules[i].names[k].index].tensor;
            /* -1 as well for tensors that are not eligible; a saved map may name them. */
            int partner = tensor >= 0 ? module_of[tensor] - 1 : -1;
            if (partner >= 0) {
                own->modules[i].partner = partner;
                file->modules[partner].partner = i;
            }
        }
    free(module_of);
    return true;
}

bool strata_collect_modules(const binding *b, side *own, side *file)
{
    return collect(b, false, own) && collect(b, true, file) && link_fixed(b, own, file);
}

void strata_clear_modules(side *s)
{
    free(s->modules);
    free(s->names);
}

/* ---- Numbers in names ---------------------------------------------------------------------------------- */

/* "bn12" is the word "bn" and 12; "12" is no word and 12. False when there is no number, or a huge one. */
static bool number_of(part p, int *word, long *number)
{
    *word = p.length;
    while (*word > 0 && isdigit((unsigned char)p.at[*word - 1]))
        --*word;
    if (*word == p.length || p.length - *word > 6)
        return false;
    *number = strtol(p.at + *word, NULL, 10); /* parts end at a character that is no digit */
    return true;
}

int strata_compare_numbers(const module *a, const module *b)
{
    int common = a->part_count < b->part_count ? a->part_count : b->part_count;
    for (int i = 0; i < common; i++) {
        part x = a->parts[i], y = b->parts[i];
        if (x.length == y.length && memcmp(x.at, y.at, (size_t)x.length) == 0)
            continue;
        int word_x, word_y;
        long number_x, number_y;
        if (!number_of(x, &word_x, &number_x) || !number_of(y, &word_y, &number_y) || word_x != word_y ||
            memcmp(x.at, y.at, (size_t)word_x) != 0)
            return 0;
        return (number_x > number_y) - (number_x < number_y);
    }
    return 0;
}

bool strata_same_but_numbers(const module *a, const module *b)
{
    return a->part_count == b->part_count && strata_compare_numbers(a, b) != 0;
}

bool strata_same_start(const module *a, const module *b, int depth)
{
    if (a->part_count < depth || b->part_count < depth)
        return false;
    for (int i = 0; i < depth; i++)
        if (a->parts[i].length != b->parts[i].length ||
            memcmp(a->parts[i].at, b->parts[i].at, (size_t)a->parts[i].length) != 0)
            return false;
    return true;
}
