/* first_row.h: one image of a batch, for pictures. */
#ifndef STRATA_TOOLS_FIRST_ROW_H
#define STRATA_TOOLS_FIRST_ROW_H

#include <strata/strata.h>

/* The first row of `t`, as a tensor of its own over the same bytes: unref it, and before `t` goes. An exit
 * code, after saying what is wrong; *out is left as it was then. */
int first_row(const strata_tensor *t, strata_tensor **out);

#endif
