/* The few parts of cmocka that the kernel test uses, for machines that have no package of it: a check that fails ends
 * the program. */
#ifndef STRATA_TESTS_CROSS_CMOCKA_H
#define STRATA_TESTS_CROSS_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define cmocka_fail_at(file, line, ...) \
    (fprintf(stderr, "%s:%d: ", file, line), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
#define fail_msg(...) cmocka_fail_at(__FILE__, __LINE__, __VA_ARGS__)
#define assert_true(x) ((x) ? (void)0 : fail_msg("not so: %s", #x))
#define assert_non_null(x) assert_true((x) != NULL)
#define assert_int_equal(a, b) assert_true((long long)(a) == (long long)(b))
#define assert_string_equal(a, b) assert_true(strcmp(a, b) == 0)
#define print_message(...) printf(__VA_ARGS__)

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};
#define cmocka_unit_test(f) { #f, f }

static inline int cmocka_run(const struct CMUnitTest *tests, size_t count, int (*set_up)(void **), int (*tear_down)(void **))
{
    void *state = NULL;
    if (set_up && set_up(&state) != 0)
        fail_msg("the set-up failed");
    for (size_t i = 0; i < count; i++) {
        tests[i].run(&state);
        printf("OK %s\n", tests[i].name);
    }
    return tear_down ? tear_down(&state) : 0;
}
#define cmocka_run_group_tests(tests, set_up, tear_down) \
    cmocka_run(tests, sizeof(tests) / sizeof *(tests), set_up, tear_down)

#endif
