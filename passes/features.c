/* features: which values are the outputs. Selectors, divided by commas, say it in the words of a user:
 *
 *   2, -1          the feature of that index; negative ones count from the last
 *   stride:8       the last feature of that stride; numbers that follow are strides too: stride:8,16,32
 *   C3             the same by level: stride 2^3
 *   last:3         the last three, in the graph's order
 *   layer3         the feature of that name
 *   %layer1.0.bn1  any value of the graph; the output is named without the %
 *   logits         what was an output when the graph was built
 *
 * No selectors at all (NULL) mean every feature. A form wins over a name: a feature that is named "C3" or "3"
 * has to be asked for by its index. The order asked is the order of the outputs, and each output has one
 * name: what two selectors choose under one name is refused, since the second array would silently replace
 * the first.
 *
 * Outputs change only when the whole text is understood. What no output reaches any more is left to dce. */
#include <strata/extend.h>

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct choice {
    const char  *item, *name; /* the selector and the output's name; borrowed */
    strata_node *node;
} choice;

typedef struct selection {
    strata_graph   *graph;
    strata_feature *feature; /* every one */
    int             features;
    choice         *choice;
    int             count, capacity;
    strata_error   *err;
} selection;

/* ---- What there is, for messages ----------------------------------------------------------------------- */

typedef struct message {
    char   text[1400];
    size_t used;
} message;

static void STRATA_PRINTF(2, 3) say(message *m, const char *fmt, ...)
{
    const size_t room = sizeof m->text - m->used;
    va_list      args;
    va_start(args, fmt);
    int n = vsnprintf(m->text + m->used, room, fmt, args);
    va_end(args);
    if (n > 0)
        m->used += (size_t)n < room ? (size_t)n : room - 1;
}

/* "net has 2 features: 0 relu (stride 2), 1 layer1 (stride 4); any other value is chosen as %name" */
static const char *offer(const selection *s, message *m)
{
    say(m, "%s has %d feature%s", strata_graph_name(s->graph), s->features, s->features == 1 ? "" : "s");
    for (int i = 0; i < s->features; i++) {
        const strata_feature *f = &s->feature[i];
        say(m, "%s%d %s (stride %d)", i ? ", " : ": ", f->index, f->name, f->reduction);
    }
    say(m, "; any other value is chosen as %%name%s",
        strata_graph_declared_output(s->graph, "logits") ? ", the classifier as logits" : "");
    return m->text;
}

/* The error of a selector that matches nothing: what it said, the nearest of `names`, and what there is. */
static strata_status not_found(const selection *s, const char *item, const char *why, const char *wanted,
                               const char *const *names, int count)
{
    char    near[200];
    message m = { .used = 0 };
    strata_nearest(wanted, names, count, 3, near, sizeof near);
    return strata_fail(s->err, STRATA_NOT_FOUND, "selector '%.80s': %s%s%s. %s", item, why,
                       *near ? ". Nearest: " : "", near, offer(s, &m));
}

/* ---- One selector -------------------------------------------------------------------------------------- */

static strata_status choose(selection *s, const char *item, const char *name, strata_node *n)
{
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->choice[i].name, name) == 0)
            return strata_fail(s->err, STRATA_INVALID, "selectors '%.80s' and '%.80s' both choose '%s': an "
                               "output can be chosen only once", s->choice[i].item, item, name);
    if (s->count == s->capacity) {
        int     wanted = s->capacity ? 2 * s->capacity : 16;
        choice *grown  = realloc(s->choice, (size_t)wanted * sizeof *grown);
        if (!grown)
            return strata_fail(s->err, STRATA_NOMEM, "no memory for %d outputs", wanted);
        s->choice   = grown;
        s->capacity = wanted;
    }
    s->choice[s->count++] = (choice){ item, name, n };
    return STRATA_OK;
}

static strata_status choose_feature(selection *s, const char *item, int i)
{
    const strata_feature *f = &s->feature[i];
    return choose(s, item, f->name, strata_graph_find(s->graph, f->node->name));
}

/* A whole number, or false. Huge ones become the largest: no graph has that many of anything. */
static bool parse_number(const char *text, long *out)
{
    const char *digits = text + (*text == '-');
    if (!*digits || digits[strspn(digits, "0123456789")])
        return false;
    *out = strtol(text, NULL, 10);
    return true;
}

static strata_status choose_index(selection *s, const char *item, long index)
{
    for (int i = 0; i < s->features; i++)
        if (index < 0 ? index == i - s->features : index == s->feature[i].index)
            return choose_feature(s, item, i);
    return not_found(s, item, "no feature has this index", "", NULL, 0);
}

static strata_status choose_stride(selection *s, const char *item, long stride)
{
    for (int i = s->features - 1; i >= 0; i--)
        if (s->feature[i].reduction == stride)
            return choose_feature(s, item, i);
    return not_found(s, item, "no feature has this stride", "", NULL, 0);
}

static strata_status choose_last(selection *s, const char *item, long count)
{
    if (count > s->features)
        return not_found(s, item, "there are not so many", "", NULL, 0);
    for (int i = s->features - (int)count; i < s->features; i++)
        STRATA_TRY(choose_feature(s, item, i));
    return STRATA_OK;
}

static strata_status choose_value(selection *s, const char *item)
{
    const int    count = strata_graph_node_count(s->graph);
    strata_node *n     = strata_graph_find(s->graph, item + 1);
    if (n && strata_node_is_constant(n))
        return strata_fail(s->err, STRATA_INVALID, "selector '%.80s': a %s does not depend on the input; "
                           "choose a value that does", item, n->op->name);
    if (n)
        return choose(s, item, n->name, n);
    const char **names = malloc(((size_t)count + 1) * sizeof *names);
    if (!names)
        return strata_fail(s->err, STRATA_NOMEM, "no memory to search %d names", count);
    int values = 0;
    for (int i = 0; i < count; i++)
        if (!strata_node_is_constant(strata_graph_node(s->graph, i)))
            names[values++] = strata_graph_node(s->graph, i)->name;
    strata_status status = not_found(s, item, "no value has this name", item + 1, names, values);
    free(names);
    return status;
}

static strata_status choose_name(selection *s, const char *item)
{
    strata_node *declared = strata_graph_declared_output(s->graph, item);
    for (int i = 0; i < s->features; i++)
        if (strcmp(s->feature[i].name, item) == 0)
            return choose_feature(s, item, i);
    if (declared)
        return choose(s, item, item, declared);
    const char **names = malloc(((size_t)s->features + 1) * sizeof *names);
    if (!names)
        return strata_fail(s->err, STRATA_NOMEM, "no memory to search %d names", s->features);
    for (int i = 0; i < s->features; i++)
        names[i] = s->feature[i].name;
    const char *why = "no feature has this name";
    if (strcmp(item, "logits") == 0)
        why = "the graph has no classifier";
    else if (strata_graph_find(s->graph, item))
        why = "a value has this name, but no feature; put a % before it";
    else if (isdigit((unsigned char)*item))
        why = "no index (one whole number) and no feature's name";
    strata_status status = not_found(s, item, why, item, names, s->features);
    free(names);
    return status;
}

/* "stride:8" with "stride:" gives 8; the number has to be at least 1. */
static strata_status parse_count(const selection *s, const char *item, const char *digits, long *out)
{
    if (parse_number(digits, out) && *out >= 1)
        return STRATA_OK;
    return strata_fail(s->err, STRATA_INVALID, "selector '%.80s': after '%.*s' comes a whole number of at "
                       "least 1", item, (int)(digits - item), item);
}

/* *strides: whether the item before was a stride, so that a bare number is one more. */
static strata_status apply(selection *s, const char *item, bool *strides)
{
    long number = 0;
    bool named  = strncmp(item, "stride:", 7) == 0;
    if (named)
        STRATA_TRY(parse_count(s, item, item + 7, &number));
    bool bare = !named && parse_number(item, &number);
    *strides  = named || (*strides && bare && number > 0);
    if (*strides)
        return choose_stride(s, item, number);
    if (bare)
        return choose_index(s, item, number);
    if (strncmp(item, "last:", 5) == 0) {
        STRATA_TRY(parse_count(s, item, item + 5, &number));
        return choose_last(s, item, number);
    }
    if (*item == 'C' && isdigit((unsigned char)item[1]) && parse_number(item + 1, &number))
        return choose_stride(s, item, number < 31 ? 1L << number : -1);
    if (*item == '%')
        return choose_value(s, item);
    return choose_name(s, item);
}

/* ---- All of them --------------------------------------------------------------------------------------- */

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    for (size_t n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]); n--)
        text[n - 1] = 0;
    return text;
}

/* `text` is cut into its items, which the choices then borrow. */
static strata_status apply_all(selection *s, char *text)
{
    char *rest    = text;
    bool  strides = false;
    for (int place = 1; rest; place++) {
        char *comma = strchr(rest, ','), *item = rest;
        rest = comma ? comma + 1 : NULL;
        if (comma)
            *comma = 0;
        item = trim(item);
        if (!*item)
            return strata_fail(s->err, STRATA_INVALID, "selector %d is empty: write them like 1,-1,C3,"
                               "stride:8,last:2,layer3,%%value,logits", place);
        STRATA_TRY(apply(s, item, &strides));
    }
    return STRATA_OK;
}

static strata_status apply_default(selection *s)
{
    message m = { .used = 0 };
    if (s->features == 0)
        return strata_fail(s->err, STRATA_NOT_FOUND, "nothing is selected, and %s", offer(s, &m));
    return choose_last(s, "every feature", s->features);
}

static strata_status load_features(selection *s)
{
    const int count = strata_graph_feature_count(s->graph);
    s->feature      = calloc((size_t)count + 1, sizeof *s->feature);
    if (!s->feature)
        return strata_fail(s->err, STRATA_NOMEM, "no memory for %d features", count);
    for (; s->features < count; s->features++)
        STRATA_TRY(strata_graph_feature(s->graph, s->features, &s->feature[s->features], s->err));
    return STRATA_OK;
}

static strata_status commit(const selection *s)
{
    strata_graph_clear_outputs(s->graph);
    for (int i = 0; i < s->count; i++)
        STRATA_TRY(strata_graph_add_output(s->graph, s->choice[i].name, s->choice[i].node, s->err));
    return strata_graph_refresh(s->graph, s->err); /* use counts follow the outputs */
}

strata_status strata_graph_select(strata_graph *g, const char *selectors, strata_error *err)
{
    selection     s      = { .graph = g, .err = err };
    char         *text   = selectors ? strdup(selectors) : NULL;
    strata_status status = load_features(&s);
    if (status == STRATA_OK && selectors && !text)
        status = strata_fail(err, STRATA_NOMEM, "no memory for the selectors");
    if (status == STRATA_OK)
        status = text ? apply_all(&s, text) : apply_default(&s);
    if (status == STRATA_OK)
        status = commit(&s);
    free(s.choice);
    free(s.feature);
    free(text);
    return status;
}

static strata_status run(strata_graph *g, const char *options, bool *changed, strata_error *err)
{
    *changed = true;
    return strata_graph_select(g, options, err);
}

const strata_pass_def strata_pass_features = {
    .name = "features",
    .doc  = "Make selected values the outputs: features=1,-1,stride:8,C3,last:2,layer3,%value,logits.",
    .run  = run,
};
