/* extract_values.c: --dump-values GLOB DIR: values of the graph as .npy files, a row per image.
 *
 * What is written is what runs: the passes go first, then the matching values that are left become outputs
 * beside those that were asked for, so looking changes nothing. Values that a pass has merged into others no
 * longer exist; they are named, with the ways to have them back.
 *
 * A file grows by the rows of a batch and gets its header, which says how many there are, and its name at the
 * end. */
#include "extract.h"

#include "talk.h"

#include <strata/extend.h>

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER = 192 }; /* bytes before the numbers: a multiple of 64, room for any shape */

/* "%layer1.*" and "layer1.*" mean values, "@*.weight" constants. */
static bool matches(const char *glob, const strata_node *n)
{
    bool constants = *glob == '@';
    glob += constants || *glob == '%';
    return strata_node_is_constant(n) == constants && fnmatch(glob, n->name, 0) == 0;
}

/* DIR/NAME.npy; what may not stand in file names is written as %2f. The caller frees. */
static char *file_path(const struct values *v, const char *name)
{
    size_t length = strlen(v->folder);
    char  *path = malloc(length + 3 * strlen(name) + 8), *to = path;
    if (!path)
        return NULL;
    to += sprintf(to, "%s%s", v->folder, length && v->folder[length - 1] == '/' ? "" : "/");
    for (; *name; name++)
        to += sprintf(to, isalnum((unsigned char)*name) || strchr("_.-", *name) ? "%c" : "%%%02x",
                      (unsigned char)*name);
    sprintf(to, ".npy");
    return path;
}

/* ---- Choosing --------------------------------------------------------------------------------------------
 */

struct found {
    char **name;
    int    count;
};

static void found_free(struct found *f)
{
    while (f->count > 0)
        free(f->name[--f->count]);
    free(f->name);
}

static int find_live(const strata_graph *g, const char *glob, struct found *out)
{
    int   count = strata_graph_node_count(g);
    bool *live = malloc((size_t)count + 1);
    *out = (struct found){ .name = calloc((size_t)count + 1, sizeof *out->name) };
    if (live)
        strata_graph_mark_live(g, live);
    for (int i = 0; live && out->name && i < count; i++)
        if (live[i] && matches(glob, strata_graph_node(g, i))) {
            out->name[out->count] = strdup(strata_graph_node(g, i)->name);
            if (!out->name[out->count])
                break;
            out->count++;
        }
    bool failed = !live || !out->name;
    free(live);
    return failed ? talk_error(EXIT_UNEXPECTED, "out of memory") : EXIT_DONE;
}

static void tell_gone(const struct found *before, const struct found *after)
{
    char   names[256] = "";
    size_t used = 0;
    int    gone = 0, k = 0;
    for (int i = 0; i < before->count; i++) {
        for (k = 0; k < after->count && strcmp(before->name[i], after->name[k]) != 0; k++)
            ;
        if (k < after->count)
            continue;
        if (gone++ < 3 && used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, " %s", before->name[i]);
    }
    if (gone)
        talk_line(
            "",
            "%d of %d matching values are no more after the passes:%s%s; --at %%NAME keeps one, --pipeline \"\" all",
            gone, before->count, names, gone > 3 ? " ..." : "");
}

static int write_constant(const struct values *v, const strata_node *n)
{
    strata_error err = { 0 };
    char        *path = file_path(v, n->name);
    int          code = EXIT_DONE;
    if (!path)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    if (n->data && strata_npy_write(path, n->data, &err) != STRATA_OK)
        code = talk_failure(STAGE_FILES, &err, NULL);
    free(path);
    return code;
}

/* The found values become outputs, under their name with the sigil, which no other output has. */
static int add_outputs(struct values *v, strata_graph *g, const struct found *f, int64_t batch)
{
    strata_error err = { 0 };
    int          code = EXIT_DONE;
    for (int i = 0; i < f->count && !code; i++) {
        strata_node *n = strata_graph_find(g, f->name[i]);
        char        *name = NULL;
        if (strata_node_is_constant(n)) {
            code = write_constant(v, n);
        } else if (n->desc.rank < 1 || n->desc.dim[0] != batch) {
            talk_line("", "'%s' is no value per image and left out", n->name);
        } else if (asprintf(&name, "%%%s", n->name) < 0) {
            code = talk_error(EXIT_UNEXPECTED, "out of memory");
        } else {
            if (strata_graph_add_output(g, name, n, &err) != STRATA_OK)
                code = talk_failure(STAGE_RUN, &err, NULL);
            free(name);
        }
    }
    return code;
}

int values_select(struct values *v, const struct model *m, strata_graph *g, int64_t batch)
{
    struct found before = { 0 }, after = { 0 };
    strata_error err = { 0 };
    int          code = find_live(g, v->glob, &before);
    if (!code && mkdir(v->folder, 0777) != 0 && errno != EEXIST)
        code = talk_error(EXIT_FILES, "--dump-values: folder '%s': %s", v->folder, strerror(errno));
    if (!code && strata_graph_run_passes(g, m->pipeline, NULL, NULL, &err) != STRATA_OK)
        code = talk_failure(STAGE_RUN, &err, NULL);
    if (!code)
        code = find_live(g, v->glob, &after);
    if (!code && !before.count && !after.count)
        code = talk_error(EXIT_UNKNOWN, "--dump-values: no value matches '%s'; 'strata dump' lists them",
                          v->glob);
    if (!code && !v->told) {
        talk_line("values", "%d match '%s' -> %s", after.count, v->glob, v->folder);
        tell_gone(&before, &after);
        v->told = true;
    }
    if (!code)
        code = add_outputs(v, g, &after, batch);
    if (!code && strata_graph_refresh(g, &err) != STRATA_OK) /* outputs count as uses */
        code = talk_failure(STAGE_RUN, &err, NULL);
    found_free(&before);
    found_free(&after);
    return code;
}

/* ---- Writing
 * ----------------------------------------------------------------------------------------------- */

static int file_error(const struct value_file *f)
{
    return talk_error(EXIT_FILES, "--dump-values: '%s': %s", f->path, strerror(errno));
}

/* A new file at the end of the list, its header still blank. */
static int start_file(struct values *v, const char *name, const strata_tensor_desc *desc)
{
    struct value_file *grown = realloc(v->at, (size_t)(v->count + 1) * sizeof *grown);
    if (!grown)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    v->at = grown;
    struct value_file *f = &v->at[v->count];
    *f = (struct value_file){ .path = file_path(v, name), .desc = *desc };
    if (!f->path || asprintf(&f->scratch, "%s.XXXXXX", f->path) < 0) {
        free(f->path);
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    }
    int fd = mkstemp(f->scratch);
    v->count++;
    if (fd < 0) {
        int code = file_error(f);
        free(f->scratch);
        f->scratch = NULL;
        return code;
    }
    bool failed = ftruncate(fd, HEADER) != 0;
    failed = close(fd) != 0 || failed;
    f->desc.dim[0] = 0;
    return failed ? file_error(f) : EXIT_DONE;
}

int values_append(struct values *v, int i, const char *name, const strata_tensor *rows)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(rows);
    int                       code = i < v->count ? EXIT_DONE : start_file(v, name + (*name == '%'), desc);
    if (code)
        return code;
    struct value_file *f = &v->at[i];
    size_t             bytes = strata_bytes(desc);
    FILE              *to =
        fopen(f->scratch, "ab"); /* not kept open: there may be more values than a process may have files */
    bool failed = !to || fwrite(strata_tensor_data(rows), 1, bytes, to) != bytes;
    if (to)
        failed = fclose(to) != 0 || failed;
    f->desc.dim[0] += desc->dim[0];
    return failed ? file_error(f) : EXIT_DONE;
}

/* NumPy's format 1.0: magic, version, length of the text, text padded with blanks. */
static void make_header(const strata_tensor_desc *desc, char header[HEADER])
{
    static const uint16_t probe = 1;
    char                  shape[128] = "";
    size_t                used = 0;
    for (int i = 0; i < desc->rank; i++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%lld,%s", (long long)desc->dim[i],
                                 i + 1 < desc->rank ? " " : "");
    memset(header, ' ', HEADER);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((HEADER - 10) & 0xff);
    header[9] = (char)((HEADER - 10) >> 8);
    int length =
        snprintf(header + 10, HEADER - 10, "{'descr': '%cf4', 'fortran_order': False, 'shape': (%s), }",
                 *(const char *)&probe ? '<' : '>', shape);
    header[10 + length] = ' ';
    header[HEADER - 1] = '\n';
}

static int finish_file(struct value_file *f)
{
    char   header[HEADER];
    mode_t mask = umask(0);
    umask(mask);
    make_header(&f->desc, header);
    FILE *to = fopen(f->scratch, "r+b");
    bool  failed = !to || fwrite(header, 1, HEADER, to) != HEADER || fchmod(fileno(to), 0666 & ~mask) != 0;
    if (to)
        failed = fclose(to) != 0 || failed;
    if (failed || rename(f->scratch, f->path) != 0)
        return file_error(f);
    free(f->scratch);
    f->scratch = NULL;
    return EXIT_DONE;
}

int values_write(struct values *v)
{
    int code = EXIT_DONE;
    for (int i = 0; i < v->count && !code; i++)
        code = finish_file(&v->at[i]);
    return code;
}

void values_free(struct values *v)
{
    for (int i = 0; i < v->count; i++) {
        if (v->at[i].scratch)
            unlink(v->at[i].scratch);
        free(v->at[i].scratch);
        free(v->at[i].path);
    }
    free(v->at);
}
