#include "first_row.h"

#include "talk.h"

int first_row(const strata_tensor *t, strata_tensor **out)
{
    strata_tensor_desc desc = *strata_tensor_get_desc(t);
    strata_error       err = { 0 };
    desc.dim[0] = 1;
    if (strata_tensor_wrap(&desc, strata_tensor_data(t), NULL, NULL, out, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    return EXIT_DONE;
}
