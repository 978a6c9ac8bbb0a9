/* The memory planner: no two items that live at the same time overlap, for many random sets, and the arena is not much
 * larger than the most that is alive at once. */
#include "../scheduler/plan_memory.h"
#include "interpret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static size_t most_alive(const memory_item *items, int count, int steps)
{
    size_t most = 0;
    for (int s = 0; s < steps; s++) {
        size_t alive = 0;
        for (int i = 0; i < count; i++)
            if (items[i].first <= s && s <= items[i].last)
                alive += items[i].size;
        most = alive > most ? alive : most;
    }
    return most;
}

static void test_nothing_overlaps(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t    random = seed;
        memory_item items[120];
        int         count = 1 + random_below(&random, 120);
        for (int i = 0; i < count; i++) {
            int first = random_below(&random, 60);
            items[i]  = (memory_item){ (size_t)random_below(&random, 100000), first, first + random_below(&random, 8), 7 };
        }
        size_t total;
        assert_true(strata_plan_memory(items, count, &total));
        for (int i = 0; i < count; i++) {
            assert_int_equal(items[i].offset % STRATA_ARENA_ALIGNMENT, 0);
            assert_true(items[i].offset + items[i].size <= total);
            for (int k = 0; k < i; k++) {
                bool together = items[i].first <= items[k].last && items[k].first <= items[i].last;
                bool overlap  = items[i].offset < items[k].offset + items[k].size &&
                               items[k].offset < items[i].offset + items[i].size;
                if (together && overlap)
                    fail_msg("seed %llu: items %d and %d share bytes", (unsigned long long)seed, i, k);
            }
        }
        size_t bound = most_alive(items, count, 70);
        assert_true(total >= bound);
        if ((double)total > 1.6 * (double)bound)
            fail_msg("seed %llu: %zu bytes where %zu are alive at most", (unsigned long long)seed, total, bound);
    }
}

static void test_chain_needs_two_places(void **state)
{
    (void)state;
    memory_item items[50];
    size_t      total;
    for (int i = 0; i < 50; i++)
        items[i] = (memory_item){ 1024, i, i + 1, 0 };
    assert_true(strata_plan_memory(items, 50, &total));
    assert_int_equal(total, 2048);
}

static void test_edges(void **state)
{
    (void)state;
    size_t total = 5;
    assert_true(strata_plan_memory(NULL, 0, &total));
    assert_int_equal(total, 0);
    memory_item huge[2] = { { SIZE_MAX - 10, 0, 1, 0 }, { 100, 0, 1, 0 } };
    assert_false(strata_plan_memory(huge, 2, &total));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_overlaps),
        cmocka_unit_test(test_chain_needs_two_places),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
