/* inputs.c: which files an extract run reads, and in what order: that of the arguments, of the lines of a
 * list, of the names in a folder. Rows of the output follow it. */
#include "inputs.h"

#include "files.h"
#include "talk.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_image_name(const char *path)
{
    return has_suffix(path, ".jpg") || has_suffix(path, ".jpeg") || has_suffix(path, ".png") ||
           has_suffix(path, ".webp");
}

static int out_of_memory(void)
{
    return talk_error(EXIT_UNEXPECTED, "out of memory");
}

static int add(struct inputs *in, const char *path, size_t length)
{
    if (in->count == in->capacity) {
        int    capacity = in->capacity ? 2 * in->capacity : 64;
        char **grown = realloc(in->path, (size_t)capacity * sizeof *grown);
        if (!grown)
            return out_of_memory();
        in->path = grown;
        in->capacity = capacity;
    }
    char *copy = strndup(path, length);
    if (!copy)
        return out_of_memory();
    in->path[in->count++] = copy;
    return EXIT_DONE;
}

/* ---- Folders --------------------------------------------------------------------------------- */

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int add_folder(struct inputs *in, const char *folder);

static int add_entry(struct inputs *in, const char *folder, const char *name)
{
    char       *path = NULL;
    struct stat st;
    bool        slash = folder[strlen(folder) - 1] == '/';
    if (asprintf(&path, "%s%s%s", folder, slash ? "" : "/", name) < 0)
        return out_of_memory();
    int code = EXIT_DONE;
    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) /* links to folders are not followed: they may loop */
        code = add_folder(in, path);
    else if (is_image_name(name))
        code = add(in, path, strlen(path));
    else
        in->ignored++;
    free(path);
    return code;
}

static int add_folder(struct inputs *in, const char *folder)
{
    struct dirent **entries;
    int             count = scandir(folder, &entries, visible, by_bytes);
    if (count < 0)
        return talk_error(EXIT_FILES, "folder '%s': %s", folder, strerror(errno));
    int code = EXIT_DONE;
    for (int i = 0; i < count; i++) {
        if (!code)
            code = add_entry(in, folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return code;
}

/* ---- Lists ----------------------------------------------------------------------------------- */

static int add_list(struct inputs *in, FILE *from, const char *name)
{
    char  *text;
    size_t size;
    int    before = in->count, code = read_stream(from, name, &text, &size);
    char   end = !code && memchr(text, '\0', size) ? '\0' : '\n';
    for (size_t at = 0; !code && at < size;) {
        const char *stop = memchr(text + at, end, size - at);
        size_t      line = stop ? (size_t)(stop - (text + at)) : size - at, length = line;
        if (end == '\n' && length && text[at + length - 1] == '\r')
            length--;
        if (length)
            code = add(in, text + at, length);
        at += line + 1;
    }
    free(text);
    if (!code && in->count == before)
        code = talk_error(EXIT_FILES, "list '%s' names no file; write a path per line", name);
    return code;
}

static int add_list_file(struct inputs *in, const char *path)
{
    FILE *from = fopen(path, "rb");
    if (!from)
        return talk_error(EXIT_FILES, "list '%s': %s", path, strerror(errno));
    int code = add_list(in, from, path);
    fclose(from);
    return code;
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static int add_argument(struct inputs *in, const char *arg)
{
    struct stat st;
    if (strcmp(arg, "-") == 0)
        return add_list(in, stdin, "-");
    if (stat(arg, &st) != 0)
        return talk_error(EXIT_FILES, "input '%s': %s", arg, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        int before = in->count, code = add_folder(in, arg);
        if (!code && in->count == before)
            code = talk_error(EXIT_FILES, "folder '%s' holds no images (.jpg, .jpeg, .png, .webp)", arg);
        return code;
    }
    return has_suffix(arg, ".txt") ? add_list_file(in, arg) : add(in, arg, strlen(arg));
}

int inputs_collect(const char *const *args, int count, struct inputs *out)
{
    *out = (struct inputs){ 0 };
    for (int i = 0; i < count; i++) {
        int code = add_argument(out, args[i]);
        if (code)
            return code;
    }
    return EXIT_DONE;
}

void inputs_free(struct inputs *in)
{
    for (int i = 0; i < in->count; i++)
        free(in->path[i]);
    free(in->path);
    *in = (struct inputs){ 0 };
}
