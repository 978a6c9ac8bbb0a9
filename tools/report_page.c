/* report_page.c: one file of everything. The page has places, {{data}} and one for each file. The data
 * stands in a script element that is not run; '<' is written as \u003c there, so that no text can end the
 * element. */
#include "report.h"

#include "talk.h"

#include <stdlib.h>
#include <string.h>

static bool put_data(const json_t *data, FILE *to)
{
    char *text = json_dumps(data, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    if (!text)
        return false;
    for (const char *c = text; *c; c++) {
        size_t plain = strcspn(c, "<");
        fwrite(c, 1, plain, to);
        c += plain;
        if (!*c)
            break;
        fputs("\\u003c", to);
    }
    free(text);
    return true;
}

/* What belongs at "{{name}}...". */
static bool put_place(const char *name, const json_t *data, FILE *to)
{
    static const struct {
        const char   *name, *text;
        const size_t *size;
    } files[] = {
#define XX(file) { "{{" #file "}}", file, &file##_size },
        REPORT_FILES_MAP(XX)
#undef XX
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strncmp(name, files[i].name, strlen(files[i].name)) == 0) {
            fwrite(files[i].text, 1, *files[i].size, to);
            return true;
        }
    return put_data(data, to);
}

int report_page(const json_t *data, FILE *to)
{
    const char *at = report_html, *mark;
    bool        complete = true;
    while (complete && (mark = strstr(at, "{{"))) {
        fwrite(at, 1, (size_t)(mark - at), to);
        complete = put_place(mark, data, to);
        at = strstr(mark, "}}") + 2;
    }
    fputs(at, to);
    return complete ? EXIT_DONE : talk_error(EXIT_UNEXPECTED, "out of memory");
}
