/* How long an image of a batch takes by the number of images that go through the network together, beside one alone:
 * what the choice in scheduler/pieces.c is made from.
 *
 *     pieces [--batch N] [--threads N] [--rounds N] [--size N] MODEL...
 *
 * All programs of a model are made first and then run in turns, so that a busy moment hits all of them: in each round
 * the batch in pieces of every size that divides it, and as many images one by one. Milliseconds per image, least and
 * median of the rounds; the last column says what the choice is. */
#include "clock.h"

#include <strata/extend.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROGRAMS = 16, MOST_ROUNDS = 1000 };

typedef struct contender {
    strata_program *program;
    strata_session *session;
    strata_tensor  *in, *out[64];
    int             outputs, piece, repeats; /* images together; runs that make a batch */
    double          ms[MOST_ROUNDS];         /* of a batch */
} contender;

typedef struct settings {
    int batch, threads, rounds, size;
} settings;

static strata_status make(strata_context *ctx, const char *model, const settings *s, int batch, int piece, contender *c,
                          strata_error *err)
{
    const strata_create_options  how = { .batch = batch, .height = s->size, .width = s->size };
    const strata_program_options run = { .threads = s->threads, .piece = piece };
    strata_graph                *g;
    STRATA_TRY(strata_create_model(ctx, model, &how, &g, err));
    strata_status status = strata_graph_select(g, "logits", err);
    if (status == STRATA_OK)
        status = strata_graph_bind_random(g, 1, 2, err);
    if (status != STRATA_OK) {
        strata_graph_destroy(g);
        return status;
    }
    STRATA_TRY(strata_program_create(g, &run, &c->program, err));
    STRATA_TRY(strata_session_create(c->program, &c->session, err));
    const strata_graph *placed = strata_program_graph(c->program);
    STRATA_TRY(strata_tensor_create(strata_graph_input(placed, 0).desc, &c->in, err));
    strata_random_input(2, strata_tensor_data(c->in), (size_t)strata_count(strata_tensor_get_desc(c->in)));
    STRATA_TRY(strata_session_alloc_outputs(c->session, c->out, err));
    c->outputs = strata_graph_output_count(placed);
    c->piece   = batch / strata_session_piece_count(c->session);
    c->repeats = s->batch / batch;
    return STRATA_OK;
}

static void unmake(contender *c)
{
    for (int i = 0; i < c->outputs; i++)
        strata_tensor_unref(c->out[i]);
    strata_tensor_unref(c->in);
    strata_session_destroy(c->session);
    strata_program_unref(c->program);
}

static strata_status time_batch(contender *c, double *ms, strata_error *err)
{
    const double start = seconds();
    for (int i = 0; i < c->repeats; i++)
        STRATA_TRY(strata_session_run(c->session, &c->in, c->out, err));
    *ms = (seconds() - start) * 1e3;
    return STRATA_OK;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static strata_status compare(contender *c, int count, const settings *s, strata_error *err)
{
    double ignored;
    for (int i = 0; i < count; i++)
        STRATA_TRY(time_batch(&c[i], &ignored, err));
    for (int r = 0; r < s->rounds; r++)
        for (int i = 0; i < count; i++)
            STRATA_TRY(time_batch(&c[i], &c[i].ms[r], err));
    for (int i = 0; i < count; i++) {
        qsort(c[i].ms, (size_t)s->rounds, sizeof *c[i].ms, by_value);
        printf(i == 0 ? "  alone" : "  by %d", c[i].piece);
        printf(" %.2f / %.2f", c[i].ms[0] / s->batch, c[i].ms[s->rounds / 2] / s->batch);
    }
    return STRATA_OK;
}

static strata_status run_model(strata_context *ctx, const char *model, const settings *s, strata_error *err)
{
    contender *c = calloc(MOST_PROGRAMS, sizeof *c), choice = { 0 };
    if (!c)
        return strata_fail(err, STRATA_NOMEM, "no memory for programs");
    int           count = 1;
    strata_status status = make(ctx, model, s, 1, 1, &c[0], err);
    for (int piece = 1; piece <= s->batch && status == STRATA_OK && count < MOST_PROGRAMS; piece++)
        if (s->batch % piece == 0)
            status = make(ctx, model, s, s->batch, piece, &c[count++], err);
    if (status == STRATA_OK)
        status = make(ctx, model, s, s->batch, 0, &choice, err);
    printf("%-24s", model);
    if (status == STRATA_OK)
        status = compare(c, count, s, err);
    printf("  chosen: %d\n", choice.piece);
    fflush(stdout);
    for (int i = 0; i < count; i++)
        unmake(&c[i]);
    unmake(&choice);
    free(c);
    return status;
}

int main(int argc, char **argv)
{
    settings        s = { .batch = 8, .threads = 1, .rounds = 5 };
    strata_error    err;
    strata_context *ctx;
    int             failed = 0, models = 0;
    if (strata_context_create(&ctx, &err) != STRATA_OK)
        return fprintf(stderr, "pieces: %s\n", err.text), 1;
    for (int i = 1; i < argc && !failed; i++) {
        int *flag = strcmp(argv[i], "--batch") == 0     ? &s.batch
                    : strcmp(argv[i], "--threads") == 0 ? &s.threads
                    : strcmp(argv[i], "--rounds") == 0  ? &s.rounds
                    : strcmp(argv[i], "--size") == 0    ? &s.size
                                                        : NULL;
        if (flag) {
            *flag = argv[i + 1] ? atoi(argv[i + 1]) : 0;
            failed = *flag < 1 || *flag > MOST_ROUNDS;
            if (failed)
                fprintf(stderr, "pieces: %s needs a number from 1 to %d\n", argv[i], MOST_ROUNDS);
            i++;
        } else {
            models++;
            failed = run_model(ctx, argv[i], &s, &err) != STRATA_OK;
            if (failed)
                fprintf(stderr, "pieces: %s: %s\n", argv[i], err.text);
        }
    }
    if (!failed && models == 0)
        failed = fprintf(stderr, "usage: pieces [--batch N] [--threads N] [--rounds N] [--size N] MODEL...\n") > 0;
    strata_context_destroy(ctx);
    return failed;
}
