/* report_run.c: the program behind the report: compiled once, run a few times, every step timed. */
#include "report.h"

#include "bench_profile.h"
#include "files.h"
#include "talk.h"

#include <stdlib.h>
#include <string.h>

enum { USUAL_RUNS = 5 };

int run_start(struct report_run *r, const struct model *m, strata_graph *g)
{
    const struct options *o = m->options;
    struct model          how = *m;
    strata_error          err = { 0 };
    char                  none[] = "";
    how.pipeline = none; /* the passes have run */
    int code = model_compile(&how, g, &r->program);
    if (code)
        return code;
    const strata_graph *final = strata_program_graph(r->program);
    r->output_count = strata_graph_output_count(final);
    r->outputs = calloc((size_t)r->output_count + 1, sizeof *r->outputs);
    if (!r->outputs)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    if (strata_session_create(r->program, &r->session, &err) != STRATA_OK)
        return talk_failure(STAGE_DEVICE, &err, NULL);
    if (strata_tensor_create(strata_graph_input(final, 0).desc, &r->input, &err) != STRATA_OK ||
        strata_session_alloc_outputs(r->session, r->outputs, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    if (o->image)
        return model_load_image(m, "--image", o->image, final, r->input, &r->pixels);
    strata_random_input(1, strata_tensor_data(r->input),
                        (size_t)strata_count(strata_tensor_get_desc(r->input)));
    return EXIT_DONE;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int run_once(struct report_run *r, double *ms)
{
    strata_error err = { 0 };
    double       start = talk_seconds();
    if (strata_session_run(r->session, &r->input, r->outputs, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    *ms = (talk_seconds() - start) * 1e3;
    return EXIT_DONE;
}

int run_measure(struct report_run *r, const struct options *o, json_t *data)
{
    int                 runs = o->runs ? o->runs : USUAL_RUNS, code = EXIT_DONE;
    struct profile      profile = { 0 };
    strata_program_info info;
    double             *ms = malloc((size_t)runs * sizeof *ms);
    if (!ms)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    code = run_once(r, &ms[0]); /* to warm up */
    for (int i = 0; i < runs && !code; i++)
        code = run_once(r, &ms[i]);
    double ignored;
    strata_session_enable_profile(r->session, true);
    for (int i = 0; i < runs && !code; i++) {
        code = run_once(r, &ignored);
        if (!code)
            code = profile_add(&profile, r->session);
    }
    if (!code) {
        qsort(ms, (size_t)runs, sizeof *ms, by_value);
        strata_program_get_info(r->program, &info);
        json_object_set_new(
            data, "program",
            json_pack("{s:o, s:i, s:I, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:f}", "device", talk_json_text(info.device),
                      "threads", info.threads, "arena_bytes", (json_int_t)info.arena_bytes, "weight_bytes",
                      (json_int_t)info.weight_bytes, "peak_bytes", (json_int_t)info.peak_bytes, "parts", info.parts, "steps", info.steps, "pieces", info.pieces,
                      "fallback_steps", info.fallback_steps, "runs", runs, "ms_median", ms[runs / 2]));
        json_object_set_new(data, "steps", profile_json(&profile));
    }
    profile_free(&profile);
    free(ms);
    return code;
}

void run_free(struct report_run *r)
{
    strata_session_destroy(r->session);
    strata_program_unref(r->program);
    strata_tensor_unref(r->input);
    for (int i = 0; r->outputs && i < r->output_count; i++)
        strata_tensor_unref(r->outputs[i]);
    free(r->outputs);
    strata_image_destroy(r->pixels);
}
