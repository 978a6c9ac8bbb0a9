/* graphviz.c: see the header. The program reads a temporary file and writes into our output, so that it
 * cannot block on us nor we on it. */
#include "graphviz.h"

#include "talk.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int spawn_dot(const char *type, int from, int to, pid_t *child)
{
    char                       option[16], program[] = "dot";
    char                      *words[] = { program, option, NULL };
    posix_spawn_file_actions_t files;
    snprintf(option, sizeof option, "-T%s", type);
    if (posix_spawn_file_actions_init(&files) != 0)
        return ENOMEM;
    int error = posix_spawn_file_actions_adddup2(&files, from, STDIN_FILENO);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&files, to, STDOUT_FILENO);
    if (!error)
        error = posix_spawnp(child, program, &files, NULL, words, environ);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

static int run_dot(const char *type, int from, int to)
{
    pid_t child = 0;
    int   status = 0, error = spawn_dot(type, from, to, &child);
    if (error == ENOENT)
        return talk_error(
            EXIT_UNEXPECTED,
            "--format %s is drawn by Graphviz, and its program 'dot' is not installed; install it (Debian: "
            "apt install graphviz), or give --format dot and draw that elsewhere",
            type);
    if (error)
        return talk_error(EXIT_UNEXPECTED, "cannot start Graphviz's 'dot': %s", strerror(error));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return talk_error(EXIT_UNEXPECTED, "Graphviz's 'dot': %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return talk_error(EXIT_UNEXPECTED,
                          "Graphviz's 'dot' failed; what it says stands above, --format dot gives its input");
    return EXIT_DONE;
}

int graphviz_draw(const strata_graph *g, const char *type, FILE *to)
{
    strata_error err = { 0 };
    FILE        *dot = tmpfile();
    int          code = EXIT_DONE;
    if (!dot)
        return talk_error(EXIT_FILES, "temporary file: %s", strerror(errno));
    if (strata_graph_print(g, STRATA_DUMP_DOT, dot, &err) != STRATA_OK)
        code = talk_failure(STAGE_FILES, &err, NULL);
    if (!code && (lseek(fileno(dot), 0, SEEK_SET) != 0 || fflush(to) != 0))
        code = talk_error(EXIT_FILES, "picture: %s", strerror(errno));
    if (!code)
        code = run_dot(type, fileno(dot), fileno(to));
    fclose(dot);
    return code;
}
