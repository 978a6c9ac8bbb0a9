/* report.h: the parts of 'strata report'.
 *
 *     cmd_report.c      the order of it all: build, run the passes, compile, run, write
 *     report_passes.c   what each pass left of the graph
 *     report_run.c      a program: its facts, the times of its steps
 *     report_maps.c     an image and what the features make of it, as pictures
 *     report_page.c     the data and the files of report/ as one page
 *     report/           the page: HTML, CSS, script; compiled in by embed
 *
 * What a part finds out goes into one JSON object, the data of the page; docs/json.md describes it.
 */
#ifndef STRATA_TOOLS_REPORT_H
#define STRATA_TOOLS_REPORT_H

#include "model_options.h"
#include "report_files.h"

#include <jansson.h>

/* Each returns an exit code, after saying what is wrong. */

/* The graph as 'strata dump --format json' prints it. */
int report_graph(const strata_graph *g, json_t **out);
/* Runs the options' passes over g. *out: an array with an object per pass, the first being "built". */
int report_passes(const struct model *m, strata_graph *g, json_t **out);

struct report_run {
    strata_program *program;
    strata_session *session;
    strata_tensor  *input, **outputs;
    strata_image   *pixels; /* what the model sees; NULL: noise */
    int             output_count;
};

/* Compiles g, on which the passes have run, and takes it. The input is the image that the options name, or
 * noise. */
int run_start(struct report_run *r, const struct model *m, strata_graph *g);
/* Times it: "program" and "steps" of `data`. Outputs are computed afterwards. */
int  run_measure(struct report_run *r, const struct options *o, json_t *data);
void run_free(struct report_run *r);

/* "image" of the data: the pixels and a heat map of each output that is a map. */
int report_maps(const struct report_run *r, const char *path, json_t **out);
int report_page(const json_t *data, FILE *to);
#endif
