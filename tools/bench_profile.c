/* bench_profile.c: see the header. The trace is in the Trace Event Format: complete events ("ph": "X") with
 * times in microseconds, and a name for each track. */
#include "bench_profile.h"

#include "table.h"
#include "talk.h"

#include <stdlib.h>
#include <string.h>

int profile_add(struct profile *p, const strata_session *s)
{
    int  count = strata_session_step_count(s);
    bool first = p->steps == NULL;
    if (first) {
        p->count = count;
        p->pieces = strata_session_piece_count(s);
        p->steps = calloc((size_t)count + 1, sizeof *p->steps);
        p->last = calloc((size_t)count * (size_t)p->pieces + 1, sizeof *p->last);
        if (!p->steps || !p->last)
            return talk_error(EXIT_UNEXPECTED, "out of memory");
    }
    for (int i = 0; i < p->count; i++) {
        double least = p->steps[i].ms;
        p->steps[i] = strata_session_step(s, i);
        if (!first && least < p->steps[i].ms)
            p->steps[i].ms = least;
    }
    for (int i = 0; i < p->pieces * p->count; i++)
        p->last[i] = strata_session_piece_step(s, i / p->count, i % p->count);
    return EXIT_DONE;
}

void profile_free(struct profile *p)
{
    free(p->steps);
    free(p->last);
    *p = (struct profile){ 0 };
}

static double gflops(const strata_step_profile *s)
{
    return s->ms > 0 ? 2 * (double)s->macs / s->ms / 1e6 : 0;
}

static int slowest_first(const void *a, const void *b)
{
    double x = ((const strata_step_profile *)a)->ms, y = ((const strata_step_profile *)b)->ms;
    return (x < y) - (x > y);
}

int profile_table(const struct profile *p, FILE *to)
{
    struct table t = { .titles = { "node", "op", "kernel", "device", ">ms", ">share", ">GFLOP/s", ">GB/s" } };
    double       total = 0;
    size_t       bytes = (size_t)p->count * sizeof *p->steps;

    strata_step_profile *sorted = malloc(bytes + 1);
    if (!sorted)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    memcpy(sorted, p->steps, bytes);
    qsort(sorted, (size_t)p->count, sizeof *sorted, slowest_first);
    for (int i = 0; i < p->count; i++)
        total += sorted[i].ms;
    for (int i = 0; i < p->count; i++) {
        const strata_step_profile *s = &sorted[i];
        table_row(&t);
        table_cell(&t, 0, "%s", s->node);
        table_cell(&t, 1, "%s", s->op);
        table_cell(&t, 2, "%s", s->kernel);
        table_cell(&t, 3, "%s", s->device);
        table_cell(&t, 4, "%.3f", s->ms);
        table_cell(&t, 5, "%.1f %%", total > 0 ? 100 * s->ms / total : 0);
        table_cell(&t, 6, "%.1f", gflops(s));
        table_cell(&t, 7, "%.1f", s->ms > 0 ? (double)s->bytes / s->ms / 1e6 : 0);
    }
    free(sorted);
    fprintf(to, "\n%d steps, %.3f ms in all (the least of several runs each)\n", p->count, total);
    return table_print(&t, to);
}

json_t *profile_json(const struct profile *p)
{
    json_t *nodes = json_array();
    for (int i = 0; i < p->count; i++) {
        const strata_step_profile *s = &p->steps[i];
        json_array_append_new(nodes, json_pack("{s:o, s:s, s:s, s:s, s:f, s:I, s:I, s:f}", "node",
                                               talk_json_text(s->node), "op", s->op, "kernel", s->kernel,
                                               "device", s->device, "ms", s->ms, "macs", (json_int_t)s->macs,
                                               "bytes", (json_int_t)s->bytes, "gflops", gflops(s)));
    }
    return nodes;
}

enum { MOST_TRACKS = 16 };

/* The track of a device, numbered in order of appearance; *first: it is new. */
static int track_of(const char *tracks[MOST_TRACKS], int *count, const char *device, bool *first)
{
    *first = false;
    for (int i = 0; i < *count; i++)
        if (strcmp(tracks[i], device) == 0)
            return i;
    if (*count == MOST_TRACKS)
        return MOST_TRACKS - 1;
    *first = true;
    tracks[*count] = device;
    return (*count)++;
}

int profile_trace(const struct profile *p, const char *title, FILE *to)
{
    const int   count = p->pieces * p->count;
    json_t     *events = json_array();
    double      origin = count ? p->last[0].start_ms : 0;
    const char *tracks[MOST_TRACKS];
    int         track_count = 0;
    for (int i = 1; i < count; i++)
        origin = p->last[i].start_ms < origin ? p->last[i].start_ms : origin;
    json_array_append_new(events, json_pack("{s:s, s:s, s:i, s:{s:o}}", "name", "process_name", "ph", "M",
                                            "pid", 1, "args", "name", talk_json_text(title)));
    for (int i = 0; i < count; i++) {
        const strata_step_profile *s = &p->last[i];
        bool                       first;
        int                        track = track_of(tracks, &track_count, s->device, &first);
        if (first)
            json_array_append_new(events,
                                  json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", "thread_name", "ph", "M",
                                            "pid", 1, "tid", track, "args", "name", s->device));
        json_array_append_new(events,
                              json_pack("{s:o, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:s, s:I, s:I, s:f}}", "name",
                                        talk_json_text(s->node), "cat", s->op, "ph", "X", "ts",
                                        (s->start_ms - origin) * 1e3, "dur", s->ms * 1e3, "pid", 1,
                                        "tid", track, "args", "kernel", s->kernel, "macs",
                                        (json_int_t)s->macs, "bytes", (json_int_t)s->bytes, "gflops",
                                        gflops(s)));
    }
    json_t *trace = json_pack("{s:o, s:s}", "traceEvents", events, "displayTimeUnit", "ms");
    if (!trace)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    json_dumpf(trace, to, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    putc('\n', to);
    json_decref(trace);
    return EXIT_DONE;
}
