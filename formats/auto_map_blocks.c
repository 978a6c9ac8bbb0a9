/* auto_map_blocks.c: pairs networks that are built alike and named differently, such as timm's and MindCV's.
 *
 * Nothing is read into words here; what counts is structure. A module is what shares a name up to the leaf (a
 * convolution's weight and bias, a norm's four vectors); its signature is the set of its roles and shapes. A
 * block is what shares a longer part of the name ("layer1.0", "blocks.2"), and its signature is that of its
 * modules.
 *
 *     1. Larger blocks first: blocks of one signature, equally many on both sides, go together. If there are
 *        several, their names must be numbered ("blocks.2.1", "blocks.2.2"): number order is network order.
 *     2. Inside a pair of blocks the same again, down to modules. Equal modules inside a block are told
 *        apart by their numbers too ("bn1", "bn2").
 *     3. Outside of any block numbers prove nothing: a module must be the only one of its signature.
 *
 * The result is taken only if it is complete (everything the outputs need has a tensor) and contradicts
 * neither the numbers in the names, nor the neighbourhood (modules that share a block in the network share
 * one in the file), nor the order of the file: equal modules come in network order there, and so do those of
 * point 3. (Files sorted by name have no order to contradict.) Otherwise nothing is taken. */
#include "auto_map_modules.h"

#include <stdlib.h>
#include <string.h>

/* More modules than any network has; comparing each with each must not take for ever. */
enum { MAX_MODULES = 8192 };

typedef struct matcher {
    binding *b;
    side     own, file;
} matcher;

/* ---- Blocks ------------------------------------------------------------------------------------------ */

typedef struct block {
    int      first; /* its first member */
    int      depth; /* how many parts of the members' names make the block */
    int      size;
    uint64_t signature;
} block;

/* Some modules of one side, and the blocks that they form among themselves, larger first. */
typedef struct set {
    const side *side;
    int        *at;
    int         count;
    block      *blocks;
    int         block_count;
} set;

static void set_close(set *s)
{
    free(s->at);
    free(s->blocks);
}

/* The members of a block are the modules of the set whose names start like its first. */
static int members_of(const set *s, const block *k, int *members)
{
    const module *all = s->side->modules;
    int found = 0;
    for (int i = 0; i < s->count; i++)
        if (strata_same_start(&all[k->first], &all[s->at[i]], k->depth))
            members[found++] = s->at[i];
    return found;
}

static int compare_signatures(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

static void sign_block(const side *s, const int *members, uint64_t *signatures, block *k)
{
    for (int i = 0; i < k->size; i++)
        signatures[i] = s->modules[members[i]].signature;
    qsort(signatures, (size_t)k->size, sizeof *signatures, compare_signatures);
    k->signature = strata_hash_bytes((uint64_t)k->size, signatures, (size_t)k->size * sizeof *signatures);
}

/* Larger first, equal ones side by side. */
static int compare_kinds(const block *a, const block *b)
{
    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    return (a->signature > b->signature) - (a->signature < b->signature);
}

static int compare_blocks(const void *x, const void *y)
{
    const block *a = x, *b = y;
    int order = compare_kinds(a, b);
    return order != 0 ? order : (a->first > b->first) - (a->first < b->first);
}

static bool add_block(set *s, block k)
{
    if (s->block_count % 64 == 0) {
        block *blocks = realloc(s->blocks, ((size_t)s->block_count + 64) * sizeof *blocks);
        if (blocks == NULL)
            return false;
        s->blocks = blocks;
    }
    s->blocks[s->block_count++] = k;
    return true;
}

/* Of blocks with the same members, one within the other, only the innermost counts; the whole set is none. */
static bool find_blocks(set *s)
{
    int *members = calloc((size_t)s->count + 1, sizeof *members);
    uint64_t *signatures = calloc((size_t)s->count + 1, sizeof *signatures);
    bool ok = members != NULL && signatures != NULL;
    for (int i = 0; ok && i < s->count; i++) {
        int inner = 1; /* members of the block found last, one level deeper */
        int depth = s->side->modules[s->at[i]].part_count - 1;
        for (; ok && depth > 0 && inner < s->count; depth--) {
            block k = { .first = s->at[i], .depth = depth };
            k.size = members_of(s, &k, members);
            bool first = members[0] == s->at[i]; /* else its first member has added it */
            if (k.size > inner && k.size < s->count && first) {
                sign_block(s->side, members, signatures, &k);
                ok = add_block(s, k);
            }
            inner = k.size;
        }
    }
    if (ok && s->block_count > 0)
        qsort(s->blocks, (size_t)s->block_count, sizeof *s->blocks, compare_blocks);
    free(members);
    free(signatures);
    return ok;
}

/* ---- Matching ---------------------------------------------------------------------------------------- */

/* Sorts items, each of which starts with the index of a module, by the numbers in the modules' names. False
 * when two of them have no such order. */
static bool sort_by_numbers(const side *s, void *items, size_t size, int count)
{
    char *at = items, held[sizeof(block)];
#define MODULE(i) (&s->modules[*(const int *)(const void *)(at + (size_t)(i) * size)])
    for (int i = 1; i < count; i++)
        for (int k = i; k > 0 && strata_compare_numbers(MODULE(k - 1), MODULE(k)) > 0; k--) {
            memcpy(held, at + (size_t)k * size, size);
            memcpy(at + (size_t)k * size, at + (size_t)(k - 1) * size, size);
            memcpy(at + (size_t)(k - 1) * size, held, size);
        }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            if (strata_compare_numbers(MODULE(k), MODULE(i)) >= 0)
                return false;
#undef MODULE
    return true;
}

static int open_of_signature(const set *s, uint64_t signature, int *found)
{
    int count = 0;
    for (int i = 0; i < s->count; i++) {
        const module *m = &s->side->modules[s->at[i]];
        if (m->signature == signature && m->partner < 0)
            found[count++] = s->at[i];
    }
    return count;
}

/* The modules that no block has taken. */
static bool match_modules(matcher *m, const set *own, const set *file, bool inside)
{
    int *a = calloc((size_t)own->count + 1, sizeof *a), *f = calloc((size_t)file->count + 1, sizeof *f);
    for (int i = 0; a != NULL && f != NULL && i < own->count; i++) {
        const module *first = &m->own.modules[own->at[i]];
        if (first->partner >= 0)
            continue;
        int as = open_of_signature(own, first->signature, a),
            fs = open_of_signature(file, first->signature, f);
        /* Outside of blocks, "conv1" and "conv3" are different even if nothing else is of that shape. */
        bool alone =
            as == 1 && fs == 1 && (inside || !strata_same_but_numbers(first, &m->file.modules[f[0]]));
        bool numbered = as == fs && as > 1 && inside && sort_by_numbers(&m->file, f, sizeof *f, fs);
        for (int k = 0; (alone || numbered) && k < as; k++) {
            m->own.modules[a[k]].partner = f[k];
            m->own.modules[a[k]].outside = !inside;
            m->file.modules[f[k]].partner = a[k];
        }
    }
    bool ok = a != NULL && f != NULL;
    free(a);
    free(f);
    return ok;
}

/* The members of block k that are free still, as a set of its own. */
static bool open_block(const set *s, const block *k, set *inner)
{
    *inner = (set){ .side = s->side, .at = calloc((size_t)s->count + 1, sizeof *inner->at) };
    if (inner->at == NULL)
        return false;
    int members = members_of(s, k, inner->at);
    for (int i = 0; i < members; i++)
        if (s->side->modules[inner->at[i]].partner < 0)
            inner->at[inner->count++] = inner->at[i];
    return true;
}

static bool match_sets(matcher *m, set *own, set *file, bool inside);

/* Two blocks go together if nothing of either has gone with others. */
static bool match_pair(matcher *m, const set *own, const block *a, const set *file, const block *f)
{
    set x, y = { 0 };
    bool ok = open_block(own, a, &x) && open_block(file, f, &y);
    if (ok && x.count == a->size && y.count == a->size)
        ok = match_sets(m, &x, &y, true);
    set_close(&x);
    set_close(&y);
    return ok;
}

static int same_kind(const set *s, int begin, const block *kind)
{
    int end = begin;
    while (end < s->block_count && compare_kinds(&s->blocks[end], kind) == 0)
        end++;
    return end - begin;
}

static bool match_blocks(matcher *m, set *own, set *file)
{
    bool ok = true;
    for (int i = 0, j = 0, n; ok && i < own->block_count; i += n) {
        const block *kind = &own->blocks[i];
        n = same_kind(own, i, kind);
        while (j < file->block_count && compare_kinds(&file->blocks[j], kind) < 0)
            j++;
        if (same_kind(file, j, kind) != n || !sort_by_numbers(&m->file, &file->blocks[j], sizeof(block), n))
            continue;
        for (int k = 0; ok && k < n; k++)
            ok = match_pair(m, own, &own->blocks[i + k], file, &file->blocks[j + k]);
    }
    return ok;
}

static bool match_sets(matcher *m, set *own, set *file, bool inside)
{
    return find_blocks(own) && find_blocks(file) && match_blocks(m, own, file) &&
           match_modules(m, own, file, inside);
}

/* ---- Taking or leaving it ------------------------------------------------------------------------------ */

/* A numbering of the file that runs against the network; or equal modules, or one outside of any block, at
 * another place than in the file. */
static bool is_out_of_order(const matcher *m, bool file_is_sorted)
{
    for (int i = 0; i < m->own.count; i++)
        for (int k = i + 1; k < m->own.count; k++) {
            const module *a = &m->own.modules[i], *b = &m->own.modules[k];
            if (a->partner < 0 || b->partner < 0 || a->fixed || b->fixed)
                continue;
            const module *x = &m->file.modules[a->partner], *y = &m->file.modules[b->partner];
            bool ordered = !file_is_sorted && (a->signature == b->signature || a->outside || b->outside);
            if (strata_compare_numbers(x, y) > 0 || (ordered && x->order > y->order))
                return true;
        }
    return false;
}

/* Whether the partners of all others that share the first `depth` parts of their names with `one` lie in a
 * block of which its own partner is no member. Sets `alone` when there are no such others. */
static bool has_strayed(const matcher *m, const module *one, int depth, bool *alone)
{
    const module *first = NULL;
    int common = 0;
    for (int i = 0; i < m->own.count; i++) {
        const module *other = &m->own.modules[i];
        if (other == one || other->partner < 0 || !strata_same_start(one, other, depth))
            continue;
        const module *partner = &m->file.modules[other->partner];
        if (first == NULL) {
            first = partner;
            common = partner->part_count - 1;
        }
        while (common > 0 && !strata_same_start(first, partner, common))
            common--;
        if (common == 0)
            return false;
    }
    *alone = first == NULL;
    return first != NULL && !strata_same_start(first, &m->file.modules[one->partner], common);
}

/* Modules that live together in the network must do so in the file. Those matched inside a block do. */
static bool is_out_of_place(const matcher *m)
{
    for (int i = 0; i < m->own.count; i++) {
        const module *one = &m->own.modules[i];
        bool alone = one->outside;
        for (int depth = one->part_count - 1; alone && depth > 0; depth--) {
            alone = false;
            if (has_strayed(m, one, depth, &alone))
                return true;
        }
    }
    return false;
}

/* Whether the file lists its tensors by name, as libraries do that sort dictionaries: then order says
 * nothing. */
static bool is_sorted(const binding *b)
{
    const char *last = "";
    for (int i = 0; i < b->tensor_count; i++) {
        if (!b->tensors[i].eligible)
            continue;
        if (strcmp(last, b->tensors[i].full) > 0)
            return false;
        last = b->tensors[i].full;
    }
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
        if (m->file.modules[i].signature == own->signature && !m->file.modules[i].fixed) {
            if (count < 2)
                rivals[count] = &m->file.modules[i];
            count++;
        }
    for (int i = 0; count > 0 && i < own->count; i++) {
        bind_parameter *p = &m->b->parameters[own->names[i].index];
        const char *one = m->b->tensors[rivals[0]->names[i].index].full;
        p->kind = STRATA_BIND_AMBIGUOUS;
        if (count == 1)
            strata_bind_note(p, "%s is of that role and shape, but no name or place says that it is the one",
                             one);
        else
            strata_bind_note(p, "%s, %s%s are alike", one, m->b->tensors[rivals[1]->names[i].index].full,
                             count > 2 ? " and more" : "");
    }
}

static void settle_blocks(matcher *m)
{
    bool doubtful = is_out_of_order(m, is_sorted(m->b)) || is_out_of_place(m);
    for (int i = 0; !doubtful && i < m->own.count; i++)
        if (m->own.modules[i].partner >= 0 && !m->own.modules[i].fixed)
            pair_module(m->b, &m->own.modules[i], &m->file.modules[m->own.modules[i].partner]);
    if (is_complete(m->b))
        return;
    for (int i = 0; i < m->own.count; i++) {
        const module *own = &m->own.modules[i];
        if (own->fixed)
            continue;
        for (int k = 0; k < own->count; k++)
            if (m->b->parameters[own->names[k].index].tensor >= 0)
                strata_bind_unpair(m->b, own->names[k].index);
        note_rivals(m, own);
    }
}

/* All modules of a side that names have not touched. */
static bool open_side(const side *s, set *whole)
{
    *whole = (set){ .side = s, .at = calloc((size_t)s->count + 1, sizeof *whole->at) };
    for (int i = 0; whole->at != NULL && i < s->count; i++)
        if (!s->modules[i].fixed)
            whole->at[whole->count++] = i;
    return whole->at != NULL;
}

strata_status strata_auto_map_blocks(binding *b, strata_error *err)
{
    matcher m = { .b = b };
    set own = { 0 }, file = { 0 };
    bool ok =
        strata_collect_modules(b, &m.own, &m.file) && open_side(&m.own, &own) && open_side(&m.file, &file);
    if (m.own.count <= MAX_MODULES && m.file.count <= MAX_MODULES) {
        ok = ok && match_sets(&m, &own, &file, false);
        if (ok)
            settle_blocks(&m);
    }
    set_close(&own);
    set_close(&file);
    strata_clear_modules(&m.own);
    strata_clear_modules(&m.file);
    return ok ? STRATA_OK : strata_fail(err, STRATA_NOMEM, "out of memory");
}
