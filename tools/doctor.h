/* doctor.h: the checks of strata doctor. */
#ifndef STRATA_TOOLS_DOCTOR_H
#define STRATA_TOOLS_DOCTOR_H

#include "options.h"

#include <strata/extend.h>

/* ---- Of a device ---- */

/* strata doctor without a plug-in: every built-in op on --device. Returns an exit code. */
int doctor_device(const struct options *o);
/* What an examination of this device, with this driver, has found; false: nothing is known. */
bool doctor_recall(const strata_device_info *info, char *text, size_t size);

struct speed {
    double gbps, gflops; /* 0: not measured */
    char   what[128];
};
/* Memory: what an element-wise step reads and writes in a second. Product: a 1x1 convolution. */
strata_status doctor_speed(strata_context *ctx, const strata_device_info *info, struct speed *out, strata_error *err);

/* ---- Of a plug-in ---- */

/* Kernels sum in single precision and in their own order; definitions in double. */
#define DOCTOR_TOLERANCE 1e-4

/* A graph that can be had as often as needed, with numbers in its parameters. */
struct doctor_source {
    strata_context *ctx;
    strata_status (*make)(const struct doctor_source *source, strata_graph **out, strata_error *err);
    const void     *what;
};

/* What it computes on a device. */
struct doctor_run {
    double          error;   /* against the definitions, of all outputs, with and without passes */
    const char     *problem; /* NULL, or a rule that does not hold */
    strata_program *program; /* without passes: which kernels it took. NULL after a failure; the caller unrefs */
};

/* Whether the graph computes on the device what the ops' definitions say, twice in a row, and, on the CPU, the same bits
 * with other threads. */
strata_status doctor_run(const struct doctor_source *source, const strata_device_info *device, struct doctor_run *out,
                         strata_error *err);
/* Whether the graph reads back from its text, and prints the same again. */
strata_status doctor_text(const struct doctor_source *source, strata_error *err);
/* Runs one pass; `error`: the largest difference of the values that keep their names. */
strata_status doctor_pass(const struct doctor_source *source, const char *pass, bool *changed, double *error,
                          strata_error *err);

#endif
