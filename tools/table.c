/* table.c: see the header. Running out of memory is remembered and reported by table_print. */
#include "table.h"

#include "talk.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void table_row(struct table *t)
{
    while (t->columns < TABLE_COLUMNS && t->titles[t->columns])
        t->columns++;
    size_t count = (size_t)t->columns;
    char **grown = realloc(t->cells, ((size_t)t->rows + 1) * count * sizeof *grown);
    if (!grown) {
        t->failed = 1;
        return;
    }
    t->cells = grown;
    memset(grown + (size_t)t->rows * count, 0, count * sizeof *grown);
    t->rows++;
}

void table_cell(struct table *t, int column, const char *fmt, ...)
{
    if (t->failed)
        return;
    char **cell = &t->cells[(t->rows - 1) * t->columns + column];
    va_list args;
    va_start(args, fmt);
    if (vasprintf(cell, fmt, args) < 0) {
        *cell = NULL;
        t->failed = 1;
    }
    va_end(args);
}

static void print_row(const struct table *t, const char *const *cells, const int *width, FILE *to)
{
    int last = t->columns - 1;
    while (last > 0 && (!cells[last] || !*cells[last]))
        last--;
    for (int c = 0; c <= last; c++) {
        const char *text = cells[c] ? cells[c] : "";
        if (t->titles[c][0] == '>')
            fprintf(to, "%*s", width[c], text);
        else
            fprintf(to, "%-*s", c == last ? 0 : width[c], text);
        fputs(c == last ? "\n" : "  ", to);
    }
}

int table_print(struct table *t, FILE *to)
{
    const char *titles[TABLE_COLUMNS];
    int         width[TABLE_COLUMNS];
    for (int c = 0; c < t->columns; c++) {
        titles[c] = t->titles[c] + (t->titles[c][0] == '>');
        width[c] = (int)strlen(titles[c]);
        for (int r = 0; r < t->rows; r++) {
            const char *cell = t->cells[r * t->columns + c];
            int         n = cell ? (int)strlen(cell) : 0;
            width[c] = n > width[c] ? n : width[c];
        }
    }
    if (!t->failed) {
        print_row(t, titles, width, to);
        for (int r = 0; r < t->rows; r++)
            print_row(t, (const char *const *)&t->cells[r * t->columns], width, to);
    }
    for (int i = 0; i < t->rows * t->columns; i++)
        free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->rows = 0;
    return t->failed ? talk_error(EXIT_UNEXPECTED, "out of memory") : EXIT_DONE;
}
