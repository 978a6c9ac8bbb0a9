/* The whole way, from graph to kernels, against MindCV's own numbers (see golden.h): every golden file, with
 * the default passes on the CPU. Where kernels are approximate, without them too. A table of the worst error per file is printed.
 *
 * Arguments: names of files to check instead of all, for work on one model. */
#include <dirent.h>

#include "golden.h"

#include "../scheduler/program.h"

enum { MAX_FILES = 128 };

static bool is_approximate(const strata_program *p)
{
    bool any = false;
    for (int i = 0; i < p->step_count; i++)
        any |= p->steps[i].kernel->approximate;
    return any;
}

static bool run_with(strata_context *ctx, const golden *g, bool exact, strata_tensor **out)
{
    strata_error    err = { 0 };
    strata_graph   *graph = build_golden(ctx, g);
    strata_tensor  *input = golden_input(g);
    strata_program *program;
    strata_session *session;

    OK(strata_program_create(graph, &(strata_program_options){ .exact = exact }, &program, &err));
    OK(strata_session_create(program, &session, &err));
    OK(strata_session_alloc_outputs(session, out, &err));
    OK(strata_session_run(session, &input, out, &err));
    strata_session_destroy(session);
    bool approximate = is_approximate(program);
    strata_program_unref(program);
    strata_tensor_unref(input);
    return approximate;
}

static bool run(strata_context *ctx, const golden *g, strata_tensor **out)
{
    return run_with(ctx, g, false, out);
}

static bool run_exact(strata_context *ctx, const golden *g, strata_tensor **out)
{
    return run_with(ctx, g, true, out);
}

static void matches_mindcv(void **state)
{
    if (check_golden(*state, run))
        assert_false(check_golden(*state, run_exact));
}

static int is_golden(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot && strcmp(dot, ".golden") == 0;
}

int main(int argc, char **argv)
{
    const char     *names[MAX_FILES];
    struct dirent **entry = NULL;
    int             count = argc > 1 ? 0 : scandir(GOLDEN_FOLDER, &entry, is_golden, alphasort);

    if (argc <= 1 && (count < 1 || count > MAX_FILES)) {
        fprintf(stderr, "%s: %d files\n", GOLDEN_FOLDER, count);
        return 1;
    }
    for (int i = 0; i < count; i++)
        names[i] = entry[i]->d_name;
    int failed = golden_group("golden", matches_mindcv, argc, argv, names, count);
    for (int i = 0; i < count; i++)
        free(entry[i]);
    free(entry);
    return failed;
}
