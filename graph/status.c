/* Statuses and the texts that go with them. */
#include <strata/extend.h>

#include <stdarg.h>
#include <string.h>

static const struct {
    strata_status status;
    const char   *name, *text;
} statuses[] = {
#define XX(name, value, text) { STRATA_##name, #name, text },
    STRATA_STATUS_MAP(XX)
#undef XX
};

const char *strata_status_name(strata_status status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].status == status)
            return statuses[i].name;
    return "UNKNOWN";
}

const char *strata_status_text(strata_status status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return "unknown status";
}

strata_status strata_fail(strata_error *err, strata_status status, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err->status = status;
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
    }
    return status;
}

strata_status strata_fail_in(strata_error *err, strata_status status, const char *fmt, ...)
{
    if (!err)
        return status;
    char    prefix[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    size_t length = strlen(prefix), room = sizeof err->text - length - 2, old = strlen(err->text);
    if (old >= room)
        old = room - 1; /* the end of a very long text goes */
    memmove(err->text + length + 2, err->text, old);
    memcpy(err->text, prefix, length);
    memcpy(err->text + length, ": ", 2);
    err->text[length + 2 + old] = 0;
    return err->status;
}
