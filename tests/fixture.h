/* fixture.h: what the tests of a program have in common: a context and an empty folder. */
#ifndef STRATA_TESTS_FIXTURE_H
#define STRATA_TESTS_FIXTURE_H

#include "scratch.h"

#include <strata/strata.h>

static strata_context *ctx;
static scratch         tmp;

/* For cmocka_run_group_tests. */
static inline int set_up(void **state)
{
    (void)state;
    scratch_open(&tmp);
    return strata_context_create(&ctx, NULL) == STRATA_OK ? 0 : -1;
}

static inline int tear_down(void **state)
{
    (void)state;
    strata_context_destroy(ctx);
    scratch_close(&tmp);
    return 0;
}

#endif
