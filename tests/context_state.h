/* context_state.h: a context as the state of a group of tests. */
#ifndef STRATA_TESTS_CONTEXT_STATE_H
#define STRATA_TESTS_CONTEXT_STATE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <strata/strata.h>

/* For cmocka_run_group_tests: every test is given the context in *state. */
static inline int open_context(void **state)
{
    strata_error err;
    if (strata_context_create((strata_context **)state, &err) == STRATA_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static inline int close_context(void **state)
{
    strata_context_destroy(*state);
    return 0;
}

#endif
