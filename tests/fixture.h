/* fixture.h: what the tests of a program have in common: a context and an empty folder. */
#ifndef STRATA_TESTS_FIXTURE_H
#define STRATA_TESTS_FIXTURE_H

#include "context_state.h"
#include "scratch.h"

static strata_context *ctx;
static scratch         tmp;

/* For cmocka_run_group_tests. */
static inline int set_up(void **state)
{
    scratch_open(&tmp);
    int failed = open_context(state);
    ctx = *state;
    return failed;
}

static inline int tear_down(void **state)
{
    scratch_close(&tmp);
    return close_context(state);
}

#endif
