/* embed: turns files into C arrays, so that the command needs no data files beside it.
 *
 *     embed FILE... > arrays.c          report.css becomes report_css[] and report_css_size
 *
 * Runs at build time. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int embed(const char *path)
{
    FILE *from = fopen(path, "rb");
    if (!from) {
        perror(path);
        return 1;
    }
    const char *base = strrchr(path, '/');
    char        name[64];
    size_t      count = 0;
    snprintf(name, sizeof name, "%s", base ? base + 1 : path);
    for (char *c = name; *c; c++)
        *c = isalnum((unsigned char)*c) ? *c : '_';
    printf("\nconst char %s[] = {", name);
    for (int c; (c = getc(from)) != EOF; count++)
        printf("%s%d,", count % 24 ? "" : "\n", c < 128 ? c : c - 256);
    printf("\n0 };\nconst size_t %s_size = %zu;\n", name, count);
    int failed = ferror(from);
    fclose(from);
    return failed != 0;
}

int main(int argc, char **argv)
{
    printf("#include \"report_files.h\"\n");
    for (int i = 1; i < argc; i++)
        if (embed(argv[i]))
            return 1;
    return fflush(stdout) != 0;
}
