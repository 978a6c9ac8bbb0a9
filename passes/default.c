/* The default pipeline: what every program goes through unless it asks for another.
 *
 *   dce             First, because nothing should work on what no output needs: a program for features has
 *                   no classifier, and its weights are neither folded nor packed.
 *   cse             Before the fusions: these want a value with a single reader, and two equal readers
 *                   become one here.
 *   lower_dense     Before the folds, so that they and the fusions meet one linear op on maps, not two.
 *   fold_bn         Needs each batch_norm still next to its conv2d.
 *   fold_scale      After fold_bn: a layer scale behind a batch_norm is next to a conv2d only now.
 *   repvgg          After both: it merges branches, which are bare conv2d nodes only now (the batch_norm of
 *                   the identity branch has no conv2d to go into and is left for this pass).
 *   fold_constants  After all who write algebra on weights, once: it turns the algebra into constants and
 *                   lets the parameters go.
 *   fuse_act        After all who need conv2d without an activation: nothing can be folded into
 *                   act(conv2d + ...) any more.
 *
 * Each pass clears away what it has replaced, so no second dce follows.
 *
 * `features` is not in it: which values are outputs is the user's word (strata_graph_select). */
#include <strata/strata.h>

const char *strata_default_pipeline(void)
{
    return "dce cse lower_dense fold_bn fold_scale repvgg fold_constants fuse_act";
}
