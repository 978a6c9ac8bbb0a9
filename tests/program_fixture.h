/* program_fixture.h: what tests of programs have in common: a context that knows the toy backend, and programs that must
 * come about. */
#ifndef STRATA_TESTS_PROGRAM_FIXTURE_H
#define STRATA_TESTS_PROGRAM_FIXTURE_H

#include "interpret.h"
#include "toy_backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static strata_context *ctx;

/* For cmocka_run_group_tests. */
static inline int set_up(void **state)
{
    (void)state;
    if (strata_context_create(&ctx, NULL) != STRATA_OK)
        return -1;
    return strata_register_backend(ctx, &toy, NULL) == STRATA_OK ? 0 : -1;
}

static inline int tear_down(void **state)
{
    (void)state;
    strata_context_destroy(ctx);
    return 0;
}

/* Takes the graph. */
static inline strata_program *program_of(strata_graph *g, const strata_program_options *o)
{
    strata_program *p;
    strata_error    err;
    if (strata_program_create(g, o, &p, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    return p;
}

static inline strata_program_info info_of(const strata_program *p)
{
    strata_program_info info;
    strata_program_get_info(p, &info);
    return info;
}

#endif
