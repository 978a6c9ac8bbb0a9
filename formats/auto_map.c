/* auto_map.c: pairs parameters with tensors of other names, when there is one way only.
 *
 * A wrong guess gives features that look right and are not, so every rule here pairs role with role and shape
 * with shape, one to one, and where two tensors would do, neither is taken and the report says so.
 *
 * First stage, here: names that say the same thing in other words. A name is a module and a leaf. The leaf
 * gives a role (gamma, or a one-dimensional weight, is "scale"; running_var and moving_variance are
 * "variance"). The module is reduced to words and numbers (features_0 = features.0, down_sample = downsample)
 * with a few synonyms. A prefix that wrappers add (module., backbone., student.encoder.) is found by
 * counting: the one under which most parameters of the network have a tensor. If two prefixes do about
 * equally well, as teacher and student do, both are refused.
 *
 * Second stage: networks whose modules are named otherwise altogether; auto_map_blocks.c. It runs only when
 * the names have paired less than half of what is needed: where names work, a parameter without a partner is
 * missing, and some other tensor of its shape is not it. */
#include "bind.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- Roles --------------------------------------------------------------------------------------------- */

static const struct leaf_role {
    const char *leaf, *role;
} leaf_roles[] = {
    { "weight", "weight" },          { "kernel", "weight" },
    { "bias", "bias" },              { "gamma", "scale" },
    { "scale", "scale" },            { "beta", "shift" },
    { "moving_mean", "mean" },       { "running_mean", "mean" },
    { "moving_variance", "variance" }, { "running_var", "variance" },
    { "moving_var", "variance" },    { "running_variance", "variance" },
    { "gamma_", "layer scale" },     { "layer_scale", "layer scale" },
    { "layer_scale_parameter", "layer scale" },
};

/* A number per channel: [C], or [1,1,1,C] as ConvNeXt V2 has it. */
static bool is_per_channel(const strata_tensor_desc *d)
{
    for (int i = 0; i + 1 < d->rank; i++)
        if (d->dim[i] != 1)
            return false;
    return d->rank == 1 || d->rank >= 3;
}

/* What the leaf alone means; a leaf that says nothing is a role of its own. */
static const char *leaf_role(const char *leaf, const strata_tensor_desc *d)
{
    for (size_t i = 0; i < sizeof leaf_roles / sizeof leaf_roles[0]; i++)
        if (strcmp(leaf, leaf_roles[i].leaf) == 0)
            return strcmp(leaf_roles[i].role, "weight") == 0 && is_per_channel(d) ? "scale"
                                                                                  : leaf_roles[i].role;
    return leaf;
}

/* The leaves of one module explain each other: beside a scale, a bias is the shift; a scale alone is no
 * norm's. */
static void settle_roles(bind_name *names, int count)
{
    bool scale = false, norm = false;
    for (int i = 0; i < count; i++) {
        scale = scale || strcmp(names[i].role, "scale") == 0;
        norm = norm || strcmp(names[i].role, "bias") == 0 || strcmp(names[i].role, "shift") == 0 ||
               strcmp(names[i].role, "mean") == 0;
    }
    for (int i = 0; i < count; i++) {
        if (scale && strcmp(names[i].role, "bias") == 0)
            names[i].role = "shift";
        if (!norm && strcmp(names[i].role, "scale") == 0)
            names[i].role = "layer scale";
    }
}

static int compare_modules(const bind_name *a, const bind_name *b)
{
    int shorter = a->module < b->module ? a->module : b->module;
    int order = memcmp(a->name, b->name, (size_t)shorter);
    return order != 0 ? order : (a->module > b->module) - (a->module < b->module);
}

static int compare_names(const void *x, const void *y)
{
    const bind_name *a = x, *b = y;
    int order = compare_modules(a, b);
    if (order == 0)
        order = strcmp(a->role, b->role);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

bind_name *strata_bind_names(const binding *b, bool of_tensors, const bool *wanted, int *count)
{
    int all = of_tensors ? b->tensor_count : b->parameter_count;
    bind_name *names = calloc((size_t)all + 1, sizeof *names);
    *count = 0;
    if (names == NULL)
        return NULL;
    for (int i = 0; i < all; i++) {
        if (!wanted[i])
            continue;
        const bind_parameter *p = of_tensors ? NULL : &b->parameters[i];
        const char *name = of_tensors ? b->tensors[i].name : p->name, *dot = strrchr(name, '.');
        const char *leaf = dot != NULL ? dot + 1 : name;
        const strata_tensor_desc *d = of_tensors ? &b->tensors[i].desc : &p->node->desc;
        const char *used_as = p != NULL && p->role != NULL ? p->role : leaf_role(leaf, d);
        names[(*count)++] = (bind_name){ i, name, dot != NULL ? (int)(dot - name) : 0, leaf, used_as };
    }
    qsort(names, (size_t)*count, sizeof *names, compare_names);
    for (int i = 0, end; i < *count; i = end) {
        for (end = i + 1; end < *count && compare_modules(&names[i], &names[end]) == 0;)
            end++;
        settle_roles(names + i, end - i);
    }
    qsort(names, (size_t)*count, sizeof *names, compare_names); /* roles have changed */
    return names;
}

/* ---- Names in other words ------------------------------------------------------------------------------ */

enum { MAX_KEY = 512 };

static const char *synonym(const char *word)
{
    static const char *const groups[][4] = {
        { "downsample", "shortcut" },
        { "bn", "norm", "batchnorm" },
    };
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++)
        for (int i = 1; i < 4 && groups[g][i] != NULL; i++)
            if (strcmp(word, groups[g][i]) == 0)
                return groups[g][0];
    return word;
}

/* Classifiers have many names, and a network has one classifier. */
static bool is_classifier(const char *words)
{
    static const char *const names[] = {
        "classifier", "fc", "head", "head.fc", "linear", "logits", "mlphead"
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(words, names[i]) == 0)
            return true;
    return false;
}

/* The next word (letters) or number of a module's name; "_" between letters belongs to neither. */
static bool next_word(const char **at, const char *end, char word[64])
{
    int length = 0;
    while (*at < end && (**at == '.' || **at == '_'))
        ++*at;
    bool number = *at < end && isdigit((unsigned char)**at);
    for (; *at < end && length < 63; ++*at) {
        if (**at == '_' && !number && *at + 1 < end && isalpha((unsigned char)(*at)[1]))
            continue;
        if (**at == '.' || **at == '_' || !isdigit((unsigned char)**at) == number)
            break;
        word[length++] = (char)tolower((unsigned char)**at);
    }
    word[length] = '\0';
    return length > 0;
}

/* "words.of.the.module role" into key; false when it does not fit. */
static bool make_key(const char *module, const char *end, const char *role, char key[MAX_KEY])
{
    char word[64];
    size_t used = 0;
    key[0] = '\0';
    while (next_word(&module, end, word)) {
        int length = snprintf(key + used, MAX_KEY - used, "%s%s", used > 0 ? "." : "", synonym(word));
        used += (size_t)length;
        if (used >= MAX_KEY - 80)
            return false;
    }
    if (is_classifier(key))
        used = (size_t)snprintf(key, MAX_KEY, "classifier");
    return (size_t)snprintf(key + used, MAX_KEY - used, " %s", role) < MAX_KEY - used;
}

typedef struct keyed {
    char *key;
    int   index;
} keyed;

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const keyed *)a)->key, ((const keyed *)b)->key);
}

/* Two parameters with one key cannot be told apart by it: both go. */
static int drop_doubles(keyed *keys, int count)
{
    int kept = 0;
    for (int i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && compare_keys(&keys[i], &keys[end]) == 0;)
            free(keys[end++].key);
        if (end == i + 1)
            keys[kept++] = keys[i];
        else
            free(keys[i].key);
    }
    return kept;
}

/* A tensor whose name, without `prefix` bytes, has the key of a parameter. */
typedef struct hit {
    const char *name;
    int         prefix, parameter, tensor;
} hit;

static int compare_prefixes(const hit *a, const hit *b)
{
    int shorter = a->prefix < b->prefix ? a->prefix : b->prefix;
    int order = memcmp(a->name, b->name, (size_t)shorter);
    return order != 0 ? order : (a->prefix > b->prefix) - (a->prefix < b->prefix);
}

static int compare_hits(const void *x, const void *y)
{
    const hit *a = x, *b = y;
    int order = compare_prefixes(a, b);
    if (order == 0)
        order = (a->parameter > b->parameter) - (a->parameter < b->parameter);
    return order != 0 ? order : (a->tensor > b->tensor) - (a->tensor < b->tensor);
}

typedef struct hit_list {
    hit *at;
    int  count, space;
} hit_list;

static bool add_hit(hit_list *hits, hit h)
{
    if (hits->count == hits->space) {
        int space = hits->space * 2 + 256;
        hit *at = realloc(hits->at, (size_t)space * sizeof *at);
        if (at == NULL)
            return false;
        hits->at = at;
        hits->space = space;
    }
    hits->at[hits->count++] = h;
    return true;
}

/* Every way to read a free tensor's name as that of a free parameter. */
static bool find_hits(const bind_name *tensors, int tensor_count, const keyed *keys, int key_count,
                      hit_list *hits)
{
    char key[MAX_KEY];
    for (int i = 0; i < tensor_count; i++) {
        const bind_name *t = &tensors[i];
        const char *end = t->name + t->module;
        for (const char *at = t->name;; at++) {
            if (make_key(at, end, t->role, key)) {
                keyed wanted = { key, 0 };
                const keyed *k = bsearch(&wanted, keys, (size_t)key_count, sizeof *keys, compare_keys);
                if (k != NULL && !add_hit(hits, (hit){ t->name, (int)(at - t->name), k->index, t->index }))
                    return false;
            }
            while (at < end && *at != '.')
                at++;
            if (at >= end)
                break;
        }
    }
    return true;
}

/* One run of hits with the same prefix: how many parameters it serves with tensors that fit. */
typedef struct prefix_run {
    int begin, end, serves;
} prefix_run;

static prefix_run next_run(const binding *b, const hit_list *hits, int begin)
{
    prefix_run run = { begin, begin, 0 };
    int last = -1;
    for (; run.end < hits->count && compare_prefixes(&hits->at[begin], &hits->at[run.end]) == 0; run.end++) {
        const hit *h = &hits->at[run.end];
        bool fits =
            strata_bind_fit(b, &b->parameters[h->parameter], &b->tensors[h->tensor].desc) != BIND_FIT_NONE;
        run.serves += fits && h->parameter != last;
        last = fits ? h->parameter : last;
    }
    return run;
}

static void note_rivals(binding *b, const hit_list *hits, prefix_run run, prefix_run rival)
{
    const hit *x = &hits->at[run.begin], *y = &hits->at[rival.begin];
    for (int i = run.begin; i < run.end; i++) {
        bind_parameter *p = &b->parameters[hits->at[i].parameter];
        p->kind = STRATA_BIND_AMBIGUOUS;
        strata_bind_note(p, "tensors under %.*s and under %.*s would do", x->prefix, x->name, y->prefix,
                         y->name);
    }
}

/* Pairs the parameters of the run that have one tensor each. Tensors of another shape are paired too when
 * `misfits` is set: they are what the name means, and the report shows both shapes. */
static void pair_run(binding *b, const hit_list *hits, prefix_run run, bool misfits)
{
    for (int i = run.begin, end; i < run.end; i = end) {
        int parameter = hits->at[i].parameter, tensor = hits->at[i].tensor;
        for (end = i + 1; end < run.end && hits->at[end].parameter == parameter;)
            end++;
        bind_parameter *p = &b->parameters[parameter];
        if (p->tensor >= 0 || b->tensors[tensor].parameter >= 0)
            continue;
        if (end - i > 1) {
            p->kind = STRATA_BIND_AMBIGUOUS;
            strata_bind_note(p, "%s and %s would do", b->tensors[tensor].full,
                             b->tensors[hits->at[i + 1].tensor].full);
        } else if (misfits || strata_bind_fit(b, p, &b->tensors[tensor].desc) != BIND_FIT_NONE) {
            strata_bind_pair(b, parameter, tensor, STRATA_BIND_MAPPED);
        }
    }
}

/* ---- The two stages ------------------------------------------------------------------------------------ */

static int count_pairs(const binding *b, bool live)
{
    int count = 0;
    for (int i = 0; i < b->parameter_count; i++)
        count += b->parameters[i].tensor >= 0 && (b->parameters[i].live || !live);
    return count;
}

static int count_live(const binding *b)
{
    int count = 0;
    for (int i = 0; i < b->parameter_count; i++)
        count += b->parameters[i].live;
    return count;
}

static strata_status map_by_prefix(binding *b, hit_list *hits, strata_error *err)
{
    prefix_run best = { 0 }, rival = { 0 };
    int paired = count_pairs(b, false);
    if (hits->count > 0)
        qsort(hits->at, (size_t)hits->count, sizeof *hits->at, compare_hits);
    for (int i = 0; i < hits->count;) {
        prefix_run run = next_run(b, hits, i);
        /* A prefix has to explain most of the network; less is chance. No prefix at all needs no reason. */
        if (hits->at[i].prefix > 0 &&
            (run.serves <= paired || (run.serves + paired) * 2 <= b->parameter_count))
            run.serves = 0;
        if (run.serves > best.serves) {
            rival = best;
            best = run;
        } else if (run.serves > rival.serves) {
            rival = run;
        }
        i = run.end;
    }
    bool prefixed = best.serves > 0 && hits->at[best.begin].prefix > 0;
    if (prefixed && rival.serves * 5 >= best.serves * 4) {
        note_rivals(b, hits, best, rival);
        return STRATA_OK;
    }
    pair_run(b, hits, best, false);
    if (count_pairs(b, true) * 2 < count_live(b))
        STRATA_TRY(strata_auto_map_blocks(b, err));
    pair_run(b, hits, best, true);
    return STRATA_OK;
}

strata_status strata_auto_map(binding *b, strata_error *err)
{
    bool *free_parameter = calloc((size_t)b->parameter_count + 1, sizeof *free_parameter);
    bool *free_tensor = calloc((size_t)b->tensor_count + 1, sizeof *free_tensor);
    keyed *keys = calloc((size_t)b->parameter_count + 1, sizeof *keys);
    bind_name *parameters = NULL, *tensors = NULL;
    hit_list hits = { 0 };
    int parameter_count = 0, tensor_count = 0, key_count = 0;
    bool ok = free_parameter != NULL && free_tensor != NULL && keys != NULL;
    strata_status status = STRATA_OK;

    /* Roles depend on neighbours, so names are made of all, and the paired ones are dropped afterwards. */
    for (int i = 0; ok && i < b->parameter_count; i++)
        free_parameter[i] = true;
    for (int i = 0; ok && i < b->tensor_count; i++)
        free_tensor[i] = b->tensors[i].eligible;
    ok = ok && (parameters = strata_bind_names(b, false, free_parameter, &parameter_count)) != NULL;
    ok = ok && (tensors = strata_bind_names(b, true, free_tensor, &tensor_count)) != NULL;

    for (int i = 0; ok && i < parameter_count; i++) {
        const bind_name *n = &parameters[i];
        char key[MAX_KEY];
        if (b->parameters[n->index].tensor < 0 && make_key(n->name, n->name + n->module, n->role, key)) {
            ok = (keys[key_count].key = strdup(key)) != NULL;
            keys[key_count++].index = n->index;
        }
    }
    if (ok) {
        int kept = 0;
        qsort(keys, (size_t)key_count, sizeof *keys, compare_keys);
        key_count = drop_doubles(keys, key_count);
        for (int i = 0; i < tensor_count; i++)
            if (b->tensors[tensors[i].index].parameter < 0)
                tensors[kept++] = tensors[i];
        ok = find_hits(tensors, kept, keys, key_count, &hits);
    }
    status = ok ? map_by_prefix(b, &hits, err) : strata_fail(err, STRATA_NOMEM, "out of memory");
    for (int i = 0; keys != NULL && i < key_count; i++)
        free(keys[i].key);
    free(keys);
    free(hits.at);
    free(parameters);
    free(tensors);
    free(free_parameter);
    free(free_tensor);
    return status;
}
