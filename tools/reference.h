/* reference.h: graphs by the definitions of their ops, a node after the other: slow, and independent of kernels, memory
 * plans and schedules. What everything else is compared with. */
#ifndef STRATA_TOOLS_REFERENCE_H
#define STRATA_TOOLS_REFERENCE_H

#include <strata/extend.h>

/* The values of all nodes by id, for the outputs' sake: NULL where no output needs one. `in` holds a tensor for each
 * input of the graph. reference_free in any case. */
strata_status reference_values(const strata_graph *g, strata_tensor *const *in, strata_tensor ***out, strata_error *err);
void          reference_free(strata_tensor **values, const strata_graph *g);

/* The largest difference of two tensors of equal shape over the largest magnitude in `a`; a NaN or an infinity in one
 * of them alone is an infinite one. */
double reference_difference(const strata_tensor *a, const strata_tensor *b);
bool   reference_is_finite(const strata_tensor *t);

#endif
