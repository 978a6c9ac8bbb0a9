/* report_page.c: one file of everything. The page has three places, {{css}}, {{data}} and {{js}}. The data stands in a
 * script element that is not run; '<' is written as \u003c there, so that no text can end the element. */
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

int report_page(json_t *data, FILE *to)
{
    const char *at = report_html, *mark;
    bool        complete = true;
    while (complete && (mark = strstr(at, "{{"))) {
        fwrite(at, 1, (size_t)(mark - at), to);
        at = strstr(mark, "}}") + 2;
        if (strncmp(mark, "{{css}}", 7) == 0)
            fwrite(report_css, 1, report_css_size, to);
        else if (strncmp(mark, "{{js}}", 6) == 0)
            fwrite(report_js, 1, report_js_size, to);
        else
            complete = put_data(data, to);
    }
    fputs(at, to);
    return complete ? EXIT_DONE : talk_error(EXIT_UNEXPECTED, "out of memory");
}
