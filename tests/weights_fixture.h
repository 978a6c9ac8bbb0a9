/* weights_fixture.h: the checkpoints in tests/data/ckpt and their tensors. They come from MindSpore's format
 * and MindCV's names, not from this project. */
#ifndef STRATA_TESTS_WEIGHTS_FIXTURE_H
#define STRATA_TESTS_WEIGHTS_FIXTURE_H

#include "fixture.h"

#include <strata/extend.h>

static inline const char *data_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/ckpt/%s", STRATA_TEST_DATA, name);
    return path;
}

static inline strata_weights *load(const char *path)
{
    strata_weights *w;
    strata_error err = { 0 };
    if (strata_weights_load(ctx, path, &w, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return w;
}

static inline strata_tensor *tensor(const strata_weights *w, int i)
{
    strata_tensor *t;
    assert_int_equal(strata_weights_tensor(w, i, &t, NULL), STRATA_OK);
    return t;
}

#endif
