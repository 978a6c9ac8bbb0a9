/* dce: dead-code elimination. A node lives when an output can be reached from it; the rest goes, with its
 * parameters. Inputs stay: they are the program's signature, read or not.
 *
 * This is all that is left of a classifier's head once features are the outputs, and what clears away the
 * nodes that other passes have replaced. Features that lose their node are forgotten; chosen ones are outputs
 * and live. */
#include <strata/extend.h>

static strata_status run(strata_graph *g, const char *options, bool *changed, strata_error *err)
{
    if (options)
        return strata_fail(err, STRATA_INVALID, "dce takes no options, not '%s'", options);
    strata_graph_prune(g, changed);
    return STRATA_OK;
}

const strata_pass_def strata_pass_dce = {
    .name = "dce",
    .doc  = "Remove everything that no output needs.",
    .run  = run,
};
