/* Numbers as text, the same in every locale: a program that embeds the library may have chosen one whose numbers have a
 * decimal comma. */
#include "text.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>

/* Makes "C" the locale of this thread; end_plain(begin_plain()) leaves it as it was. The "C" locale needs no memory. */
typedef struct plain {
    locale_t c, before;
} plain;

static plain begin_plain(void)
{
    plain p = { .c = newlocale(LC_ALL_MASK, "C", (locale_t)0) };
    p.before = uselocale(p.c);
    return p;
}

static void end_plain(plain p)
{
    uselocale(p.before);
    if (p.c != (locale_t)0)
        freelocale(p.c);
}

const char *strata_number_text(double value, char buf[32])
{
    plain p = begin_plain();
    /* "%g" of two digits makes 240 "2.4e+02". Below 1e15 a double holds every whole number, and all its
     * digits are few. */
    if (fabs(value) < 1e15 && value == trunc(value)) {
        snprintf(buf, 32, "%.0f", value);
        end_plain(p);
        return buf;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(buf, 32, "%.*g", digits, value);
        if (strtod(buf, NULL) == value)
            break;
    }
    end_plain(p);
    return buf;
}

double strata_number_read(const char *text, char **end)
{
    plain  p = begin_plain();
    double value = strtod(text, end);
    end_plain(p);
    return value;
}
