/* extract_sizes.c: programs and buffers by input size. */
#include "extract.h"

#include "talk.h"

#include <stdlib.h>

static void free_slot(struct slot *s, int outputs)
{
    strata_tensor_unref(s->input);
    for (int i = 0; s->outputs && i < outputs; i++)
        strata_tensor_unref(s->outputs[i]);
    free(s->outputs);
    if (s->has_done)
        sem_destroy(&s->done);
}

static void free_sized(struct sized *z)
{
    strata_session_destroy(z->session);
    for (int i = 0; i < 2; i++)
        free_slot(&z->slots[i], z->output_count);
    strata_program_unref(z->program);
    *z = (struct sized){ 0 };
}

void sizes_free(struct size_set *set)
{
    for (int i = 0; i < SIZES_KEPT; i++)
        free_sized(&set->at[i]);
    values_free(&set->values);
}

static int make_slot(const struct sized *z, struct slot *s)
{
    strata_error err = { 0 };
    s->outputs = calloc((size_t)z->output_count, sizeof *s->outputs);
    if (!s->outputs)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    if (strata_tensor_create(strata_graph_input(strata_program_graph(z->program), 0).desc, &s->input, &err) !=
            STRATA_OK ||
        strata_session_alloc_outputs(z->session, s->outputs, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    sem_init(&s->done, 0, 0);
    s->has_done = true;
    return EXIT_DONE;
}

/* Arrays have a row per image, so each output needs the batch as its first dimension. */
static int check_rows(const strata_graph *g, int batch)
{
    int count = strata_graph_output_count(g);
    if (count > MOST_OUTPUTS)
        return talk_error(EXIT_UNKNOWN, "--at: %d values; at most %d at once", count, MOST_OUTPUTS);
    for (int i = 0; i < count; i++) {
        strata_output out = strata_graph_output(g, i);
        if (out.desc->rank < 1 || out.desc->dim[0] != batch)
            return talk_error(EXIT_UNKNOWN,
                              "--at: '%s' is not a value per image; 'strata dump' shows the shapes",
                              out.name);
    }
    return EXIT_DONE;
}

/* Program and session. *smaller: they do not fit, but fewer images at once may. */
static int compile(const struct size_set *set, const struct model *how, strata_graph *g, struct sized *z, bool *smaller)
{
    const bool    divisible = set->batch > 1 && !how->graph_path;
    strata_error  err = { 0 };
    strata_status status = model_try_compile(how, g, !divisible, &z->program, &err);
    if (status == STRATA_OK)
        status = strata_session_create(z->program, &z->session, &err);
    *smaller = divisible && (status == STRATA_NOMEM || status == STRATA_UNSUPPORTED);
    if (*smaller)
        talk_warning("%d images at once do not fit: %s; trying %d", set->batch, err.text, set->batch / 2);
    return status == STRATA_OK ? EXIT_DONE : *smaller ? EXIT_DEVICE : model_device_failure(&err);
}

static int make_sized(struct size_set *set, strata_graph *g, struct sized *z, bool *smaller)
{
    struct model how = *set->model;
    int          code = check_rows(g, set->batch), kept = strata_graph_output_count(g);
    char         none[] = "";
    if (!code)
        code = model_bind(set->model, g);
    if (!code && set->values.glob) {
        code = values_select(&set->values, set->model, g, set->batch);
        how.pipeline = none; /* they have run */
    }
    if (code) {
        strata_graph_destroy(g);
        return code;
    }
    z->output_count = strata_graph_output_count(g);
    z->kept = kept;
    if (z->output_count > MOST_OUTPUTS) {
        strata_graph_destroy(g);
        return talk_error(EXIT_UNKNOWN, "--dump-values: %d values; at most %d at once",
                          z->output_count - kept, MOST_OUTPUTS - kept);
    }
    z->batch = set->batch;
    code = compile(set, &how, g, z, smaller);
    for (int i = 0; i < 2 && !code; i++)
        code = make_slot(z, &z->slots[i]);
    return code;
}

int sizes_get(struct size_set *set, int64_t height, int64_t width, strata_graph *g, struct sized **out)
{
    struct sized *oldest = &set->at[0];
    set->clock++;
    for (int i = 0; i < SIZES_KEPT; i++) {
        struct sized *z = &set->at[i];
        if (z->program && z->height == height && z->width == width) {
            strata_graph_destroy(g);
            z->used = set->clock;
            *out = z;
            return EXIT_DONE;
        }
        if (z->used < oldest->used)
            oldest = z;
    }
    bool smaller;
    int  code;
    do {
        smaller = false;
        code = g ? EXIT_DONE : model_build(set->model, set->batch, (int)height, (int)width, false, &g);
        if (code)
            return code;
        free_sized(oldest);
        code = make_sized(set, g, oldest, &smaller);
        g = NULL;
        if (smaller)
            set->batch /= 2;
    } while (smaller);
    if (code) {
        free_sized(oldest);
        return code;
    }
    oldest->height = height;
    oldest->width = width;
    oldest->used = set->clock;
    *out = oldest;
    return EXIT_DONE;
}
