/* bind.c: gives the parameters of a graph their tensors.
 *
 * Names are compared over the whole network, before and independently of the choice of outputs, so a
 * selection never changes what a name means. Only what the outputs need is required and loaded: a head of
 * another width than the checkpoint's does no harm when only features are asked for. Everything that is wrong
 * is collected before the first complaint, and a graph is changed only when everything is right.
 *
 * Input channels. The first convolution of a checkpoint has kernels for three channels. With n others,
 *     n = 1:  the sum over the three channels (MindCV's rule, and timm's): gray is R = G = B
 *     else:   channel c takes kernel c % 3, times 3 / n, which keeps the scale of the sum (timm's rule) */
#include "bind.h"

#include <strata/ops.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- Pairs --------------------------------------------------------------------------------------------- */

void strata_bind_pair(binding *b, int parameter, int tensor, strata_bind_kind kind)
{
    bind_parameter *p = &b->parameters[parameter];
    free(p->note);
    p->note = NULL;
    p->tensor = tensor;
    p->kind = kind;
    b->tensors[tensor].parameter = parameter;
}

void strata_bind_unpair(binding *b, int parameter)
{
    b->tensors[b->parameters[parameter].tensor].parameter = -1;
    b->parameters[parameter].tensor = -1;
}

void strata_bind_note(bind_parameter *p, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char *copy = strdup(text);
    if (copy != NULL) {
        free(p->note);
        p->note = copy;
    }
}

/* A vector, whatever dims of 1 surround it. */
static bool is_vector(const strata_tensor_desc *d)
{
    int wide = 0;
    for (int i = 0; i < d->rank; i++)
        wide += d->dim[i] != 1;
    return d->rank > 0 && wide <= 1;
}

bind_fit strata_bind_fit(const binding *b, const bind_parameter *p, const strata_tensor_desc *tensor)
{
    const strata_tensor_desc *own = &p->node->desc;
    if (strata_same_shape(own, tensor))
        return BIND_FIT_EQUAL;
    bool weight = p->role != NULL && strcmp(p->role, "weight") == 0;
    if (b->auto_map && !weight && is_vector(own) && is_vector(tensor) &&
        strata_count(own) == strata_count(tensor))
        return BIND_FIT_UNITS;
    if (p->stem && tensor->rank == 4 && tensor->dim[0] == own->dim[0] && tensor->dim[1] == 3 &&
        tensor->dim[2] == own->dim[2] && tensor->dim[3] == own->dim[3])
        return BIND_FIT_CHANNELS;
    return BIND_FIT_NONE;
}

/* ---- Both sides ---------------------------------------------------------------------------------------- */

/* For each node by id, the role of the operand that it, maybe reshaped or transposed, is used as. */
static void find_roles(const strata_graph *g, const char **role)
{
    for (int i = strata_graph_node_count(g) - 1; i >= 0; i--) {
        const strata_node *n = strata_graph_node(g, i);
        for (int k = 0; k < strata_operand_count(n); k++) {
            if (n->in[k] == NULL)
                continue;
            const char *as = strata_operand_role(n, k);
            if (as == NULL && k == 0 && (n->op->flags & STRATA_OP_VIEW || n->op == &strata_op_transpose))
                as = role[i];
            if (as != NULL && role[n->in[k]->id] == NULL)
                role[n->in[k]->id] = as;
        }
    }
}

static void find_stem(const strata_graph *g, bool *stem)
{
    for (int i = 0; i < strata_graph_node_count(g); i++) {
        const strata_node *n = strata_graph_node(g, i);
        if (n->op == &strata_op_conv2d && n->in[0]->op == &strata_op_input &&
            ((const strata_conv2d_attrs *)n->attrs)->groups == 1)
            stem[n->in[1]->id] = true;
    }
}

static strata_status collect_parameters(binding *b, const strata_graph *g, strata_error *err)
{
    size_t nodes = (size_t)strata_graph_node_count(g) + 1;
    const char **role = calloc(nodes, sizeof *role);
    bool *live = calloc(nodes, sizeof *live), *stem = calloc(nodes, sizeof *stem);
    b->parameters = calloc(nodes, sizeof *b->parameters);
    strata_status status = STRATA_OK;
    if (role == NULL || live == NULL || stem == NULL || b->parameters == NULL) {
        status = strata_fail(err, STRATA_NOMEM, "out of memory");
    } else {
        strata_graph_mark_live(g, live);
        find_roles(g, role);
        find_stem(g, stem);
        for (int i = 0; i < (int)nodes - 1; i++) {
            strata_node *n = strata_graph_node(g, i);
            if (n->op == &strata_op_param)
                b->parameters[b->parameter_count++] = (bind_parameter){
                    .node = n, .name = n->name, .role = role[i], .live = live[i], .stem = stem[i],
                    .tensor = -1,
                };
        }
    }
    free(role);
    free(live);
    free(stem);
    return status;
}

static strata_status collect_tensors(binding *b, strata_error *err)
{
    static const char prefix[] = "ema.";
    int count = strata_weights_count(b->weights), copies = 0;
    b->tensors = calloc((size_t)count + 1, sizeof *b->tensors);
    if (b->tensors == NULL)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    for (int i = 0; i < count; i++) {
        strata_weights_entry e = strata_weights_get(b->weights, i);
        bool copy = strncmp(e.name, prefix, sizeof prefix - 1) == 0;
        copies += copy;
        b->tensors[b->tensor_count++] =
            (bind_tensor){ .name = b->ema && copy ? e.name + sizeof prefix - 1 : e.name,
                           .full = e.name,
                           .desc = e.desc,
                           .entry = i,
                           .eligible = b->ema ? copy : e.skipped == NULL,
                           .parameter = -1 };
    }
    if (b->ema && copies == 0)
        return strata_fail(err, STRATA_NOT_FOUND,
                           "%s has no EMA copies (tensors named ema....); leave --ema out to "
                           "use the plain ones",
                           strata_weights_path(b->weights));
    return STRATA_OK;
}

/* With auto_map, a tensor of the same name and another shape may belong to somebody else: such pairs are made
 * last, so that the report shows both shapes. */
static void match_equal_names(binding *b, bool any_shape)
{
    char full[1100];
    for (int i = 0; i < b->parameter_count; i++) {
        const bind_parameter *p = &b->parameters[i];
        snprintf(full, sizeof full, "%s%s", b->ema ? "ema." : "", p->name);
        int t = p->tensor < 0 ? strata_weights_find(b->weights, full) : -1;
        if (t < 0 || !b->tensors[t].eligible || b->tensors[t].parameter >= 0)
            continue;
        if (any_shape || strata_bind_fit(b, p, &b->tensors[t].desc) != BIND_FIT_NONE)
            strata_bind_pair(b, i, t, STRATA_BIND_EXACT);
    }
}

/* ---- What became of each parameter --------------------------------------------------------------------- */

/* Candidates for a missing parameter: free tensors with a name like it, those of fitting shape if there are
 * any. Comparing names costs the product of their lengths, so files made of absurd ones are not searched to
 * the end. */
static void name_candidates(const binding *b, const bind_parameter *p, const char **names, char *buf,
                            size_t size)
{
    enum { MAX_NAMES = 4096, MAX_LENGTH = 200 };
    buf[0] = '\0';
    for (int any_shape = 0; any_shape < 2 && buf[0] == '\0'; any_shape++) {
        int count = 0;
        for (int t = 0; t < b->tensor_count && count < MAX_NAMES; t++) {
            const bind_tensor *c = &b->tensors[t];
            if (c->eligible && c->parameter < 0 && strlen(c->name) <= MAX_LENGTH &&
                (any_shape || strata_bind_fit(b, p, &c->desc) != BIND_FIT_NONE))
                names[count++] = c->name;
        }
        strata_nearest(p->name, names, count, 3, buf, size);
    }
}

static void explain_missing(const binding *b, bind_parameter *p, const char **names, bool search)
{
    char shape[128], other[1100], near[512] = "";
    snprintf(other, sizeof other, "%s%s", b->ema ? "" : "ema.", p->name);
    strata_shape_text(&p->node->desc, shape, sizeof shape);
    if (strata_weights_find(b->weights, other) >= 0) {
        strata_bind_note(p, "%s; there is only %s", shape, other);
        return;
    }
    if (search)
        name_candidates(b, p, names, near, sizeof near);
    strata_bind_note(p, "%s%s%s", shape, near[0] != '\0' ? "; nearest: " : "", near);
}

static void explain_fit(bind_parameter *p, const bind_tensor *t, bind_fit fit)
{
    char own[128], file[128];
    strata_shape_text(&p->node->desc, own, sizeof own);
    strata_shape_text(&t->desc, file, sizeof file);
    int channels = p->node->desc.rank == 4 ? (int)p->node->desc.dim[1] : 0;
    if (fit == BIND_FIT_NONE)
        strata_bind_note(p, "the network has %s, the file %s", own, file);
    else if (fit == BIND_FIT_UNITS)
        strata_bind_note(p, "%s read as %s", file, own);
    else if (fit == BIND_FIT_CHANNELS && channels == 1)
        strata_bind_note(p, "3 input channels summed to 1");
    else if (fit == BIND_FIT_CHANNELS)
        strata_bind_note(p, "3 input channels repeated to %d and scaled by 3/%d", channels, channels);
}

/* Decides kinds and notes. Returns how many needed parameters have no fitting tensor. */
static int settle(binding *b, const char **names)
{
    enum { MAX_SEARCHES = 16 }; /* names are compared with every tensor's */
    int bad = 0;
    for (int i = 0; i < b->parameter_count; i++) {
        bind_parameter *p = &b->parameters[i];
        bind_fit fit = p->tensor >= 0 ? strata_bind_fit(b, p, &b->tensors[p->tensor].desc) : BIND_FIT_NONE;
        if (!p->live) {
            p->kind = STRATA_BIND_NOT_NEEDED;
        } else if (p->tensor >= 0) {
            if (fit == BIND_FIT_NONE)
                p->kind = STRATA_BIND_SHAPE;
            if (fit != BIND_FIT_EQUAL)
                explain_fit(p, &b->tensors[p->tensor], fit);
            bad += fit == BIND_FIT_NONE;
        } else {
            if (p->kind != STRATA_BIND_AMBIGUOUS) {
                p->kind = STRATA_BIND_MISSING;
                explain_missing(b, p, names, bad < MAX_SEARCHES);
            }
            bad++;
        }
    }
    return bad;
}

/* All that is wrong, as much of it as fits. */
static strata_status fail_with_list(const binding *b, const char *graph, int bad, strata_error *err)
{
    static const char *const words[STRATA_BIND_KINDS] = {
        [STRATA_BIND_MISSING] = "missing",
        [STRATA_BIND_SHAPE] = "of another shape",
        [STRATA_BIND_AMBIGUOUS] = "ambiguous",
    };
    char list[1400] = "";
    size_t used = 0;
    int needed = 0, named = 0;
    for (int i = 0; i < b->parameter_count; i++) {
        const bind_parameter *p = &b->parameters[i];
        needed += p->live;
        if (!p->live || words[p->kind] == NULL)
            continue;
        char row[512];
        int length =
            snprintf(row, sizeof row, "; %s is %s (%s)", p->name, words[p->kind], p->note ? p->note : "");
        if (named < 8 && length < (int)sizeof row && used + (size_t)length + 32 < sizeof list) {
            memcpy(list + used, row, (size_t)length + 1);
            used += (size_t)length;
            named++;
        }
    }
    if (named < bad)
        snprintf(list + used, sizeof list - used, "; and %d more", bad - named);
    return strata_fail(err, STRATA_WEIGHTS, "%s: %d of %d needed parameters cannot be bound from %s%s", graph,
                       bad, needed, strata_weights_path(b->weights), list);
}

/* ---- Loading ------------------------------------------------------------------------------------------- */

/* dst[O, n, k, k] from src[O, 3, k, k]. */
static void adapt_channels(const float *src, const strata_tensor_desc *d, float *dst)
{
    size_t window = (size_t)(d->dim[2] * d->dim[3]), n = (size_t)d->dim[1];
    float scale = (float)(3.0 / (double)n);
    for (size_t o = 0; o < (size_t)d->dim[0]; o++, src += 3 * window)
        for (size_t c = 0; c < n; c++)
            for (size_t i = 0; i < window; i++)
                *dst++ =
                    n == 1 ? src[i] + src[window + i] + src[2 * window + i] : src[c % 3 * window + i] * scale;
}

static void unref_tensor(void *user)
{
    strata_tensor_unref(user);
}

/* The tensor for p, in its shape and in f32: the file's own bytes when they will do. */
static strata_status load_tensor(const binding *b, const bind_parameter *p, strata_tensor **out,
                                 strata_error *err)
{
    const bind_tensor *t = &b->tensors[p->tensor];
    const strata_tensor_desc *own = &p->node->desc;
    strata_tensor *read, *single;
    STRATA_TRY(strata_weights_tensor(b->weights, t->entry, &read, err));
    bind_fit fit = strata_bind_fit(b, p, &t->desc);

    if (t->desc.dtype == STRATA_F32) {
        single = read;
    } else {
        strata_tensor_desc desc = t->desc;
        desc.dtype = STRATA_F32;
        strata_status status = strata_tensor_create(&desc, &single, err);
        if (status == STRATA_OK)
            strata_convert_to_f32(t->desc.dtype, strata_tensor_data(read), strata_tensor_data(single),
                                  (size_t)strata_count(&desc));
        strata_tensor_unref(read);
        STRATA_TRY(status);
    }
    if (fit == BIND_FIT_EQUAL) {
        *out = single;
        return STRATA_OK;
    }
    if (fit == BIND_FIT_UNITS) {
        strata_status status =
            strata_tensor_wrap(own, strata_tensor_data(single), unref_tensor, single, out, err);
        if (status != STRATA_OK)
            strata_tensor_unref(single);
        return status;
    }
    strata_status status = strata_tensor_create(own, out, err);
    if (status == STRATA_OK)
        adapt_channels(strata_tensor_data(single), own, strata_tensor_data(*out));
    strata_tensor_unref(single);
    return status;
}

/* Variances below zero give NaN; they come from damaged files and from mean and variance exchanged. */
static strata_status check_values(const binding *b, const bind_parameter *p, const strata_tensor *t,
                                  strata_error *err)
{
    if (p->role == NULL || strcmp(p->role, "variance") != 0)
        return STRATA_OK;
    const float *x = strata_tensor_data(t);
    int64_t n = strata_count(&p->node->desc);
    for (int64_t i = 0; i < n; i++)
        if (!(x[i] >= 0))
            return strata_fail(err, STRATA_WEIGHTS,
                               "%s: element %lld of the tensor %s is %g, but a variance is never "
                               "negative; the file is damaged or its names are mixed up",
                               p->name, (long long)i, b->tensors[p->tensor].full, (double)x[i]);
    return STRATA_OK;
}

static strata_status load_all(binding *b, strata_error *err)
{
    strata_tensor **loaded = calloc((size_t)b->parameter_count + 1, sizeof(strata_tensor *));
    if (loaded == NULL)
        return strata_fail(err, STRATA_NOMEM, "out of memory");
    strata_status status = STRATA_OK;
    for (int i = 0; i < b->parameter_count && status == STRATA_OK; i++) {
        if (!b->parameters[i].live)
            continue;
        status = load_tensor(b, &b->parameters[i], &loaded[i], err);
        if (status == STRATA_OK)
            status = check_values(b, &b->parameters[i], loaded[i], err);
    }
    for (int i = 0; i < b->parameter_count; i++) {
        if (status == STRATA_OK && loaded[i] != NULL)
            strata_node_set_data(b->parameters[i].node, loaded[i]);
        strata_tensor_unref(loaded[i]);
    }
    free(loaded);
    return status;
}

/* ---- The whole ----------------------------------------------------------------------------------------- */

static strata_status find_pairs(binding *b, const strata_bind_options *options, strata_error *err)
{
    if (options->map_path != NULL)
        STRATA_TRY(strata_bind_read_map(b, options->map_path, err));
    match_equal_names(b, false);
    if (b->auto_map)
        STRATA_TRY(strata_auto_map(b, err));
    match_equal_names(b, true);
    return STRATA_OK;
}

static void binding_free(binding *b)
{
    for (int i = 0; i < b->parameter_count; i++)
        free(b->parameters[i].note);
    free(b->parameters);
    free(b->tensors);
}

strata_status strata_graph_bind(strata_graph *g, const strata_weights *w, const strata_bind_options *options,
                                strata_bind_report **report, strata_error *err)
{
    const strata_bind_options defaults = { 0 };
    if (options == NULL)
        options = &defaults;
    if (report != NULL)
        *report = NULL;

    binding b = { .weights = w, .auto_map = options->auto_map, .ema = options->ema };
    const char **names = NULL;
    strata_status status = collect_parameters(&b, g, err);
    if (status == STRATA_OK)
        status = collect_tensors(&b, err);
    if (status == STRATA_OK)
        status = find_pairs(&b, options, err);
    if (status == STRATA_OK && (names = calloc((size_t)b.tensor_count + 1, sizeof *names)) == NULL)
        status = strata_fail(err, STRATA_NOMEM, "out of memory");
    if (status == STRATA_OK) {
        int bad = settle(&b, names);
        if (report != NULL)
            status = strata_bind_report_create(&b, report, err);
        if (status == STRATA_OK && bad > 0)
            status = fail_with_list(&b, strata_graph_name(g), bad, err);
    }
    if (status == STRATA_OK)
        status = load_all(&b, err);
    free(names);
    binding_free(&b);
    return status;
}
