/* auto_map_blocks.c: pairs networks that are built alike and named differently, such as timm's and MindCV's.
 *
 * Nothing is read into words here; what counts is structure. A module is what shares a name up to the leaf (a
 * convolution's weight and bias, a norm's four vectors); its signature is the set of its roles and shapes. A block
 * is what shares a longer part of the name ("layer1.0", "blocks.2"), and its signature is that of its modules.
 *
 *     1. Larger blocks first: blocks of one signature, equally many on both sides, go together. If there are
 *        several, their names must be numbered ("blocks.2.1", "blocks.2.2"): then number order is network order.
 *     2. Inside a pair of blocks the same again, down to modules. Equal modules inside a block are told apart by
 *        their numbers too ("bn1", "bn2").
 *     3. Outside of any block numbers prove nothing: a module must be the only one of its signature.
 *
 * The result is taken only if it is complete (everything the outputs need has a tensor) and contradicts neither the
 * numbers in the names nor, among equal modules, the order of the file. Otherwise nothing is. */
#include "bind.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARTS = 16 };

/* ---- Modules ---------------------------------------------------------------------------------------------------- */

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
} module;

typedef struct side {
    module    *modules; /* by order */
    int        count;
    bind_name *names;
} side;

typedef struct matcher {
    binding *b;
    side     own, file;
} matcher;

/* FNV-1a, 64 bits. What it takes for equal is compared in full before anything is paired. */
static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t size)
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

/* The shape that the file should have: vectors without dims of 1, a first convolution with three channels unless the
 * file has the network's own number. */
static void hash_shape(uint64_t *h, const strata_tensor_desc *d, bool weight, bool three_channels)
{
    for (int i = 0; i < d->rank; i++) {
        int64_t dim = three_channels && i == 1 ? 3 : d->dim[i];
        if (weight || dim != 1)
            *h = hash_bytes(*h, &dim, sizeof dim);
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
        m->signature = hash_bytes(m->signature, n->role, strlen(n->role) + 1);
        hash_shape(&m->signature, d, weight, p != NULL && p->stem && !file_has_shape(b, d));
        m->signature = hash_bytes(m->signature, ";", 1);
    }
}

static int compare_order(const void *x, const void *y)
{
    const module *a = x, *b = y;
    return (a->order > b->order) - (a->order < b->order);
}

/* The modules of one side of which nothing is paired yet. */
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
        module *m = &s->modules[s->count];
        bool open = true;
        *m = (module){ .names = &s->names[i], .order = first->index, .partner = -1 };
        for (end = i; end < count && s->names[end].module == first->module &&
                      memcmp(s->names[end].name, first->name, (size_t)first->module) == 0; end++) {
            int index = s->names[end].index;
            open = open && (of_file ? b->tensors[index].parameter : b->parameters[index].tensor) < 0;
            m->order = index < m->order ? index : m->order;
            m->count++;
        }
        if (!open)
            continue;
        split(m);
        sign(b, m, of_file);
        s->count++;
    }
    if (s->count > 0)
        qsort(s->modules, (size_t)s->count, sizeof *s->modules, compare_order);
    return true;
}

/* ---- Numbers in names -------------------------------------------------------------------------------------------- */

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

/* -1 or 1 when the names first differ in a number behind equal words; 0 when their order means nothing. */
static int compare_numbers(const module *a, const module *b)
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

/* ---- Blocks --------------------------------------------------------------------------------------------------------- */

typedef struct block {
    int      first, depth, size; /* a member, how many parts of its name make the block, how many members */
    uint64_t signature;
} block;

static bool same_start(const module *a, const module *b, int depth)
{
    if (a->part_count < depth || b->part_count < depth)
        return false;
    for (int i = 0; i < depth; i++)
        if (a->parts[i].length != b->parts[i].length ||
            memcmp(a->parts[i].at, b->parts[i].at, (size_t)a->parts[i].length) != 0)
            return false;
    return true;
}

static int compare_signatures(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

/* The members of the block are the modules of `set` that start like its first. */
static int members_of(const side *s, const int *set, int count, const block *k, int *members)
{
    int found = 0;
    for (int i = 0; i < count; i++)
        if (same_start(&s->modules[k->first], &s->modules[set[i]], k->depth))
            members[found++] = set[i];
    return found;
}

static bool describe(const side *s, const int *members, int count, block *k)
{
    uint64_t *signatures = calloc((size_t)count + 1, sizeof *signatures);
    if (signatures == NULL)
        return false;
    for (int i = 0; i < count; i++)
        signatures[i] = s->modules[members[i]].signature;
    qsort(signatures, (size_t)count, sizeof *signatures, compare_signatures);
    k->signature = hash_bytes((uint64_t)count, signatures, (size_t)count * sizeof *signatures);
    k->size = count;
    free(signatures);
    return true;
}

static int compare_blocks(const void *x, const void *y)
{
    const block *a = x, *b = y;
    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    if (a->signature != b->signature)
        return a->signature < b->signature ? -1 : 1;
    return (a->first > b->first) - (a->first < b->first);
}

/* The blocks inside a set, larger first. Of blocks with the same members, one within the other, only the innermost
 * counts. NULL when out of memory. */
static block *find_blocks(const side *s, const int *set, int count, int *found)
{
    int space = 64;
    block *blocks = calloc((size_t)space, sizeof *blocks);
    int *members = calloc((size_t)count + 1, sizeof *members);
    *found = 0;
    for (int i = 0; blocks != NULL && members != NULL && i < count; i++) {
        const module *m = &s->modules[set[i]];
        int inner = 0; /* size of the block found last, one level deeper */
        for (int depth = m->part_count - 1; depth > 0; depth--) {
            block k = { set[i], depth, 0, 0 };
            int size = members_of(s, set, count, &k, members);
            if (size < 2 || size == inner)
                continue;
            inner = size;
            if (size == count)
                break;
            if (members[0] != set[i])
                continue; /* its first member has added it */
            block *more = *found < space ? blocks : realloc(blocks, (size_t)(space *= 2) * sizeof *blocks);
            if (more == NULL || !describe(s, members, size, &k)) {
                free(more != NULL ? more : blocks);
                free(members);
                return NULL;
            }
            blocks = more;
            blocks[(*found)++] = k;
        }
    }
    free(members);
    if (blocks != NULL && *found > 0)
        qsort(blocks, (size_t)*found, sizeof *blocks, compare_blocks);
    return blocks;
}

/* ---- Matching ----------------------------------------------------------------------------------------------------------- */

/* Sorts modules by the numbers in their names. False when some pair has no such order. */
static bool sort_by_numbers(const side *s, int *at, int count)
{
    for (int i = 1; i < count; i++)
        for (int k = i; k > 0; k--) {
            int order = compare_numbers(&s->modules[at[k - 1]], &s->modules[at[k]]);
            if (order == 0)
                return false;
            if (order < 0)
                break;
            int swap = at[k];
            at[k] = at[k - 1];
            at[k - 1] = swap;
        }
    for (int i = 0; i < count; i++) /* insertion has not compared all */
        for (int k = 0; k < i; k++)
            if (compare_numbers(&s->modules[at[k]], &s->modules[at[i]]) >= 0)
                return false;
    return true;
}

/* Keeps the modules without a partner. */
static int keep_open(const side *s, int *set, int count)
{
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (s->modules[set[i]].partner < 0)
            set[kept++] = set[i];
    return kept;
}

static void join(matcher *m, int own, int file)
{
    m->own.modules[own].partner = file;
    m->file.modules[file].partner = own;
}

/* Modules of one signature that are left on both sides. */
static void match_modules(matcher *m, const int *own, int own_count, const int *file, int file_count, bool inside,
                          int *a, int *f)
{
    for (int i = 0; i < own_count; i++) {
        const module *first = &m->own.modules[own[i]];
        int as = 0, fs = 0;
        if (first->partner >= 0)
            continue;
        for (int k = 0; k < own_count; k++)
            if (m->own.modules[own[k]].signature == first->signature && m->own.modules[own[k]].partner < 0)
                a[as++] = own[k];
        for (int k = 0; k < file_count; k++)
            if (m->file.modules[file[k]].signature == first->signature && m->file.modules[file[k]].partner < 0)
                f[fs++] = file[k];
        /* Outside of blocks, "conv1" and "conv3" are different modules even if nothing else is of that shape. */
        bool alone = as == 1 && fs == 1 && (inside || compare_numbers(first, &m->file.modules[f[0]]) == 0);
        bool numbered = as == fs && as > 1 && inside && sort_by_numbers(&m->file, f, fs);
        for (int k = 0; (alone || numbered) && k < as; k++)
            join(m, a[k], f[k]);
    }
}

static bool match_sets(matcher *m, const int *own, int own_count, const int *file, int file_count, bool inside);

/* Blocks of one signature: runs of the same length in both lists. */
static bool match_blocks(matcher *m, const block *own, int own_blocks, const block *file, int file_blocks,
                         const int *own_set, int own_count, const int *file_set, int file_count, int *a, int *f)
{
    int *order = calloc((size_t)file_blocks + 1, sizeof *order);
    if (order == NULL)
        return false;
    bool ok = true;
    for (int i = 0, end, j = 0, stop; ok && i < own_blocks; i = end) {
        for (end = i + 1; end < own_blocks && own[end].size == own[i].size && own[end].signature == own[i].signature;)
            end++;
        while (j < file_blocks && (file[j].size > own[i].size ||
                                   (file[j].size == own[i].size && file[j].signature < own[i].signature)))
            j++;
        for (stop = j; stop < file_blocks && file[stop].size == own[i].size && file[stop].signature == own[i].signature;)
            stop++;
        if (stop - j != end - i)
            continue;
        for (int k = j; k < stop; k++)
            order[k - j] = file[k].first;
        if (!sort_by_numbers(&m->file, order, stop - j))
            continue;
        for (int k = 0; ok && k < end - i; k++) {
            block other = file[j];
            other.first = order[k]; /* all blocks of the run have their own depth: look it up */
            for (int l = j; l < stop; l++)
                if (file[l].first == order[k])
                    other.depth = file[l].depth;
            int as = keep_open(&m->own, a, members_of(&m->own, own_set, own_count, &own[i + k], a));
            int fs = keep_open(&m->file, f, members_of(&m->file, file_set, file_count, &other, f));
            if (as == own[i].size && fs == as) /* untouched so far */
                ok = match_sets(m, a, as, f, fs, true);
        }
    }
    free(order);
    return ok;
}

static bool match_sets(matcher *m, const int *own, int own_count, const int *file, int file_count, bool inside)
{
    int own_blocks = 0, file_blocks = 0;
    block *ob = find_blocks(&m->own, own, own_count, &own_blocks);
    block *fb = find_blocks(&m->file, file, file_count, &file_blocks);
    int *a = calloc((size_t)own_count + 1, sizeof *a), *f = calloc((size_t)file_count + 1, sizeof *f);
    bool ok = ob != NULL && fb != NULL && a != NULL && f != NULL;
    if (ok)
        ok = match_blocks(m, ob, own_blocks, fb, file_blocks, own, own_count, file, file_count, a, f);
    if (ok)
        match_modules(m, own, own_count, file, file_count, inside, a, f);
    free(ob);
    free(fb);
    free(a);
    free(f);
    return ok;
}

/* ---- Taking or leaving it ------------------------------------------------------------------------------------------------- */

/* A numbering of the file that runs against the network, or equal modules in another order than in the file. */
static bool contradicts(const matcher *m, bool file_is_sorted, const module **first, const module **second)
{
    for (int i = 0; i < m->own.count; i++)
        for (int k = i + 1; k < m->own.count; k++) {
            const module *a = &m->own.modules[i], *b = &m->own.modules[k];
            if (a->partner < 0 || b->partner < 0)
                continue;
            *first = &m->file.modules[a->partner];
            *second = &m->file.modules[b->partner];
            if (compare_numbers(*first, *second) > 0 ||
                (!file_is_sorted && a->signature == b->signature && (*first)->order > (*second)->order))
                return true;
        }
    return false;
}

/* Whether the file lists its tensors by name, as libraries do that sort dictionaries: then order says nothing. */
static bool is_sorted(const binding *b)
{
    for (int i = 1; i < b->tensor_count; i++)
        if (strcmp(b->tensors[i - 1].full, b->tensors[i].full) > 0)
            return false;
    return true;
}

static void pair_module(binding *b, const module *own, const module *file)
{
    if (own->count != file->count)
        return;
    for (int i = 0; i < own->count; i++)
        if (strcmp(own->names[i].role, file->names[i].role) != 0 ||
            strata_bind_fit(b, &b->parameters[own->names[i].index], &b->tensors[file->names[i].index].desc) ==
                BIND_FIT_NONE)
            return;
    for (int i = 0; i < own->count; i++)
        strata_bind_pair(b, own->names[i].index, file->names[i].index, STRATA_BIND_MAPPED);
}

static bool is_complete(const binding *b)
{
    for (int i = 0; i < b->parameter_count; i++)
        if (b->parameters[i].live && b->parameters[i].tensor < 0)
            return false;
    return true;
}

/* Says for a module that stayed open which modules of the file look like it. */
static void note_rivals(matcher *m, const module *own)
{
    const module *rivals[2] = { NULL, NULL };
    int count = 0;
    for (int i = 0; i < m->file.count; i++)
        if (m->file.modules[i].signature == own->signature) {
            if (count < 2)
                rivals[count] = &m->file.modules[i];
            count++;
        }
    for (int i = 0; count > 0 && i < own->count; i++) {
        bind_parameter *p = &m->b->parameters[own->names[i].index];
        const char *one = m->b->tensors[rivals[0]->names[i].index].full;
        p->kind = STRATA_BIND_AMBIGUOUS;
        if (count == 1)
            strata_bind_note(p, "%s is of that role and shape, but no name or place says that it is the one", one);
        else
            strata_bind_note(p, "%s, %s%s are alike", one, m->b->tensors[rivals[1]->names[i].index].full,
                             count > 2 ? " and more" : "");
    }
}

static void settle_blocks(matcher *m)
{
    const module *first, *second;
    bool against = contradicts(m, is_sorted(m->b), &first, &second);
    if (!against)
        for (int i = 0; i < m->own.count; i++)
            if (m->own.modules[i].partner >= 0)
                pair_module(m->b, &m->own.modules[i], &m->file.modules[m->own.modules[i].partner]);
    if (!against && is_complete(m->b))
        return;
    for (int i = 0; i < m->own.count; i++) {
        const module *own = &m->own.modules[i];
        for (int k = 0; k < own->count; k++)
            if (m->b->parameters[own->names[k].index].tensor >= 0)
                strata_bind_unpair(m->b, own->names[k].index);
        note_rivals(m, own);
    }
}

strata_status strata_auto_map_blocks(binding *b, strata_error *err)
{
    matcher m = { .b = b };
    bool ok = collect(b, false, &m.own) && collect(b, true, &m.file);
    int most = m.own.count > m.file.count ? m.own.count : m.file.count;
    int *all = ok ? calloc((size_t)most + 1, sizeof *all) : NULL;
    ok = ok && all != NULL;
    for (int i = 0; ok && i < most; i++)
        all[i] = i;
    ok = ok && match_sets(&m, all, m.own.count, all, m.file.count, false);
    if (ok)
        settle_blocks(&m);
    free(all);
    free(m.own.modules);
    free(m.own.names);
    free(m.file.modules);
    free(m.file.names);
    return ok ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "out of memory");
}
