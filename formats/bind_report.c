/* bind_report.c: what binding did, row by row: for people, and as a map that binding reads again.
 *
 * A map is a text file with a line "parameter<TAB>tensor" per pair; empty lines and lines starting with '#'
 * count for nothing. */
#include "atomic_file.h"
#include "bind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct strata_bind_report {
    strata_bind_row *rows; /* each row's texts lie in one block, at rows[i].parameter or .tensor */
    void           **texts;
    int              count, counts[STRATA_BIND_KINDS];
};

/* ---- Making -------------------------------------------------------------------------------------------- */

static const char *append(char **to, const char *text)
{
    if (text == NULL)
        return NULL;
    char *start = *to;
    size_t size = strlen(text) + 1;
    memcpy(start, text, size);
    *to += size;
    return start;
}

static bool add_row(strata_bind_report *r, strata_bind_kind kind, const char *parameter, const char *tensor,
                    const char *note)
{
    size_t size = 3;
    const char *const parts[] = { parameter, tensor, note };
    for (int i = 0; i < 3; i++)
        size += parts[i] != NULL ? strlen(parts[i]) : 0;
    char *at = malloc(size);
    if (at == NULL)
        return false;
    r->texts[r->count] = at;
    strata_bind_row *row = &r->rows[r->count++];
    row->kind = kind;
    row->parameter = append(&at, parameter);
    row->tensor = append(&at, tensor);
    row->note = append(&at, note);
    r->counts[kind]++;
    return true;
}

static bool add_rows(strata_bind_report *r, const binding *b)
{
    bool ok = true;
    for (int i = 0; i < b->parameter_count && ok; i++) {
        const bind_parameter *p = &b->parameters[i];
        ok = add_row(r, p->kind, p->name, p->tensor >= 0 ? b->tensors[p->tensor].full : NULL, p->note);
    }
    for (int i = 0; i < b->tensor_count && ok; i++) {
        const bind_tensor *t = &b->tensors[i];
        const char *rule = strata_weights_get(b->weights, t->entry).skipped;
        if (t->parameter < 0 && t->eligible)
            ok = add_row(r, STRATA_BIND_UNEXPECTED, NULL, t->full, NULL);
        else if (t->parameter < 0)
            ok = add_row(r, STRATA_BIND_SKIPPED, NULL, t->full, rule != NULL ? rule : "not an EMA copy");
    }
    return ok;
}

strata_status strata_bind_report_create(const binding *b, strata_bind_report **out, strata_error *err)
{
    size_t most = (size_t)b->parameter_count + (size_t)b->tensor_count + 1;
    strata_bind_report *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->rows = calloc(most, sizeof *r->rows);
        r->texts = calloc(most, sizeof *r->texts);
    }
    if (r == NULL || r->rows == NULL || r->texts == NULL || !add_rows(r, b)) {
        strata_bind_report_destroy(r);
        return strata_fail(err, STRATA_NOMEM, "out of memory for the report");
    }
    *out = r;
    return STRATA_OK;
}

void strata_bind_report_destroy(strata_bind_report *r)
{
    if (r == NULL)
        return;
    for (int i = 0; i < r->count; i++)
        free(r->texts[i]);
    free(r->texts);
    free(r->rows);
    free(r);
}

int strata_bind_report_count(const strata_bind_report *r, strata_bind_kind kind)
{
    return (int)kind >= 0 && kind < STRATA_BIND_KINDS ? r->counts[kind] : 0;
}

int strata_bind_report_rows(const strata_bind_report *r)
{
    return r->count;
}

const strata_bind_row *strata_bind_report_row(const strata_bind_report *r, int i)
{
    return i >= 0 && i < r->count ? &r->rows[i] : NULL;
}

/* ---- For people ---------------------------------------------------------------------------------------- */

static const char *const kind_words[STRATA_BIND_KINDS] = {
    [STRATA_BIND_EXACT] = "bound",           [STRATA_BIND_MAPPED] = "mapped",
    [STRATA_BIND_MISSING] = "missing",       [STRATA_BIND_SHAPE] = "shape",
    [STRATA_BIND_AMBIGUOUS] = "ambiguous",   [STRATA_BIND_NOT_NEEDED] = "not needed",
    [STRATA_BIND_UNEXPECTED] = "unexpected", [STRATA_BIND_SKIPPED] = "skipped",
};

/* Rows that say something beyond the summary: everything but plain pairs and what was left out by a rule. */
static bool needs_attention(const strata_bind_row *row)
{
    switch (row->kind) {
    case STRATA_BIND_EXACT:
    case STRATA_BIND_MAPPED: return row->note != NULL;
    case STRATA_BIND_NOT_NEEDED:
    case STRATA_BIND_SKIPPED: return false;
    default: return true;
    }
}

void strata_bind_report_print(const strata_bind_report *r, FILE *to)
{
    const int *n = r->counts;
    int bound = n[STRATA_BIND_EXACT] + n[STRATA_BIND_MAPPED];
    int bad = n[STRATA_BIND_MISSING] + n[STRATA_BIND_SHAPE] + n[STRATA_BIND_AMBIGUOUS];
    fprintf(to,
            "%d of %d needed parameters have a tensor (%d of them under another name); %d not needed by the "
            "outputs, %d unexpected tensors, %d skipped by rule\n",
            bound, bound + bad, n[STRATA_BIND_MAPPED], n[STRATA_BIND_NOT_NEEDED], n[STRATA_BIND_UNEXPECTED],
            n[STRATA_BIND_SKIPPED]);
    for (int i = 0; i < r->count; i++) {
        const strata_bind_row *row = &r->rows[i];
        if (!needs_attention(row))
            continue;
        fprintf(to, "  %-10s  %s", kind_words[row->kind],
                row->parameter != NULL ? row->parameter : row->tensor);
        if (row->parameter != NULL && row->tensor != NULL && strcmp(row->parameter, row->tensor) != 0)
            fprintf(to, " <- %s", row->tensor);
        if (row->note != NULL)
            fprintf(to, "  (%s)", row->note);
        putc('\n', to);
    }
}

/* ---- Maps ---------------------------------------------------------------------------------------------- */

strata_status strata_bind_report_save(const strata_bind_report *r, const char *path, strata_error *err)
{
    strata_atomic_file *file;
    STRATA_TRY(strata_atomic_open(path, &file, err));
    FILE *to = strata_atomic_stream(file);
    fprintf(to, "# parameter<TAB>tensor\n");
    for (int i = 0; i < r->count; i++) {
        const strata_bind_row *row = &r->rows[i];
        if (row->kind == STRATA_BIND_EXACT || row->kind == STRATA_BIND_MAPPED)
            fprintf(to, "%s\t%s\n", row->parameter, row->tensor);
    }
    return strata_atomic_commit(file, err);
}

static int find_parameter(const binding *b, const char *name)
{
    for (int i = 0; i < b->parameter_count; i++)
        if (strcmp(b->parameters[i].name, name) == 0)
            return i;
    return -1;
}

/* One line "parameter<TAB>tensor". */
static strata_status read_pair(binding *b, char *line, strata_error *err)
{
    char *tab = strchr(line, '\t');
    if (tab == NULL || tab == line || tab[1] == '\0' || strchr(tab + 1, '\t') != NULL)
        return strata_fail(err, STRATA_INVALID, "not of the form parameter<TAB>tensor");
    *tab = '\0';
    int p = find_parameter(b, line), t = strata_weights_find(b->weights, tab + 1);
    if (p < 0)
        return strata_fail(err, STRATA_NOT_FOUND, "the network has no parameter %s", line);
    if (t < 0)
        return strata_fail(err, STRATA_NOT_FOUND, "%s has no tensor %s", strata_weights_path(b->weights),
                           tab + 1);
    if (b->parameters[p].tensor >= 0)
        return strata_fail(err, STRATA_INVALID, "the parameter %s is mapped twice", line);
    if (b->tensors[t].parameter >= 0)
        return strata_fail(err, STRATA_INVALID, "the tensor %s is given to two parameters", tab + 1);
    strata_bind_pair(b, p, t, strcmp(line, tab + 1) == 0 ? STRATA_BIND_EXACT : STRATA_BIND_MAPPED);
    return STRATA_OK;
}

strata_status strata_bind_read_map(binding *b, const char *path, strata_error *err)
{
    FILE *file = fopen(path, "re");
    struct stat st;
    if (file == NULL || (fstat(fileno(file), &st) == 0 && S_ISDIR(st.st_mode))) {
        int code = file == NULL ? errno : EISDIR;
        if (file != NULL)
            fclose(file);
        return strata_fail(err, code == ENOENT ? STRATA_NOT_FOUND : STRATA_IO, "%s: cannot read the map: %s",
                           path, strerror(code));
    }
    char line[4096];
    strata_status status = STRATA_OK;
    for (int number = 1; status == STRATA_OK && fgets(line, sizeof line, file) != NULL; number++) {
        size_t length = strcspn(line, "\r\n");
        bool whole = line[length] != '\0' || feof(file);
        line[length] = '\0';
        if (!whole)
            status = strata_fail(err, STRATA_INVALID, "the line is too long");
        else if (line[0] != '\0' && line[0] != '#')
            status = read_pair(b, line, err);
        if (status != STRATA_OK)
            status = strata_fail_in(err, status, "%s:%d", path, number);
    }
    if (status == STRATA_OK && ferror(file))
        status = strata_fail(err, STRATA_IO, "%s: cannot read the map: %s", path, strerror(errno));
    fclose(file);
    return status;
}
