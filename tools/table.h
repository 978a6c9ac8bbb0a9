/* table.h: columns for people. Rows are collected, then printed with widths that fit. */
#ifndef STRATA_TOOLS_TABLE_H
#define STRATA_TOOLS_TABLE_H

#include <strata/strata.h>

#include <stdio.h>

enum { TABLE_COLUMNS = 10 };

struct table {
    const char *titles[TABLE_COLUMNS]; /* a leading '>' aligns the column to the right */
    int         columns;
    char      **cells; /* rows x columns */
    int         rows, failed;
};

/* Starts a row; cells follow from left to right, missing ones stay empty. */
void table_row(struct table *t);
void table_cell(struct table *t, int column, const char *fmt, ...) STRATA_PRINTF(3, 4);
/* Prints and empties the table. Returns an exit code. */
int table_print(struct table *t, FILE *to);

#endif
