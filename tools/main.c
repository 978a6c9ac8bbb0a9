/* strata: features of vision backbones from the command line. This file finds the command and nothing else;
 * each command is a file that ends with its definition. */
#include "command.h"
#include "talk.h"

#include <strata/extend.h>

#include <signal.h>
#include <string.h>

const struct command *const commands[COMMAND_COUNT + 1] = {
#define XX(bit, name) &command_##name,
    COMMAND_MAP(XX)
#undef XX
        NULL,
};

static const struct command *find_command(const char *name)
{
    for (int i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_overview(FILE *to)
{
    fputs("Usage: strata COMMAND [MODEL] [INPUT...] [options]\n\n"
          "Multi-scale features from vision backbones. Nothing is ever downloaded.\n\n"
          "Commands\n",
          to);
    for (int i = 0; commands[i]; i++)
        if (commands[i]->summary)
            fprintf(to, "  %-10s%s\n", commands[i]->name, commands[i]->summary);
    fputs("\nstrata COMMAND --help explains one of them, with examples.\n\n"
          "Start here\n"
          "  strata models 'resnet*'\n"
          "  strata info resnet50\n"
          "  strata extract resnet50 photo.jpg --weights resnet50.ckpt -o features.npz\n\n"
          "Exit codes: 0 done, 1 unexpected failure, 2 wrong usage, 3 some inputs rejected, 4 weights,\n"
          "5 device, 6 input or output file, 7 model or selector unknown.\n",
          to);
}

static int unknown_command(const char *name)
{
    const char *names[COMMAND_COUNT];
    char        near[64];
    int         count = 0;
    for (int i = 0; commands[i]; i++)
        if (commands[i]->summary)
            names[count++] = commands[i]->name;
    if (name[0] == '-')
        return talk_error(EXIT_USAGE, "'%s' before a command; options come after it: strata COMMAND %s", name,
                          name);
    strata_nearest(name, names, count, 1, near, sizeof near);
    return talk_error(EXIT_USAGE, "there is no command '%s'; %s%s%s'strata --help' lists them", name,
                      *near ? "did you mean '" : "", near, *near ? "'? " : "");
}

static int run_command(const struct command *command, int argc, const char **argv)
{
    struct options o = { 0 };
    int            code = EXIT_DONE;
    if (command->raw) {
        o.arg_count = argc - 1;
        o.args = argv + 1;
        code = command->run(&o);
    } else {
        code = options_parse(command, argc, argv, &o);
        talk_setup(o.quiet, o.verbose);
        if (!code && o.help)
            options_help(command, stdout);
        else if (!code)
            code = command->run(&o);
        options_free(&o);
    }
    return talk_finish(code);
}

static bool is_any(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is a write error: files are finished or taken back */
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    bool        help = is_any(word, "--help", "-h", "help");
    if (help && argc > 2 && argv[2][0] != '-') { /* strata help extract */
        const struct command *command = find_command(argv[2]);
        if (!command || !command->summary)
            return unknown_command(argv[2]);
        options_help(command, stdout);
        return talk_finish(EXIT_DONE);
    }
    if (help) {
        print_overview(stdout);
        return talk_finish(EXIT_DONE);
    }
    if (is_any(word, "--version", "-V", "version")) {
        printf("strata %s\n", strata_version());
        return talk_finish(EXIT_DONE);
    }
    const struct command *command = find_command(word);
    return command ? run_command(command, argc - 1, (const char **)(void *)(argv + 1))
                   : unknown_command(word);
}
