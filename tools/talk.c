/* talk.c: errors, warnings, the transcript and the progress line.
 *
 * Whether we are quiet and whether a progress line stands on the terminal are facts about the process's
 * stderr, so they are kept here, in the one file that writes to it. */
#include "talk.h"

#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct {
    bool   quiet, verbose;
    bool   progress_shown;
    double progress_time; /* of the last line drawn */
} state;

void talk_setup(bool quiet, bool verbose)
{
    state.quiet = quiet;
    state.verbose = verbose;
}

bool talk_is_quiet(void)
{
    return state.quiet;
}

/* Messages may come from threads of the library: a whole message is written under the lock of stderr. */
static void write_line(const char *prefix, const char *fmt, va_list args)
{
    flockfile(stderr);
    if (state.progress_shown)
        fputs("\r\033[K", stderr);
    state.progress_shown = false;
    fputs(prefix, stderr);
    vfprintf(stderr, fmt, args);
    putc('\n', stderr);
    funlockfile(stderr);
}

int talk_error(int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    write_line("strata: error: ", fmt, args);
    va_end(args);
    return code;
}

void talk_warning(const char *fmt, ...)
{
    if (state.quiet)
        return;
    va_list args;
    va_start(args, fmt);
    write_line("strata: warning: ", fmt, args);
    va_end(args);
}

void talk_line(const char *label, const char *fmt, ...)
{
    if (state.quiet)
        return;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%-9s ", label);
    va_list args;
    va_start(args, fmt);
    write_line(prefix, fmt, args);
    va_end(args);
}

void talk_log(void *user, strata_log_level level, const char *text)
{
    (void)user;
    if (level == STRATA_LOG_WARNING)
        talk_warning("%s", text);
    else if (state.verbose)
        talk_line(level == STRATA_LOG_INFO ? "info" : "debug", "%s", text);
}

/* Statuses that do not depend on the stage are bugs or lack of memory: unexpected. */
static int code_of(enum stage stage, strata_status status)
{
    if (status == STRATA_NOMEM || status == STRATA_INTERNAL || status == STRATA_BUSY)
        return EXIT_UNEXPECTED;
    switch (stage) {
    case STAGE_MODEL:
        return status == STRATA_NOT_FOUND ? EXIT_UNKNOWN : EXIT_USAGE;
    case STAGE_SELECT:
        return EXIT_UNKNOWN;
    case STAGE_WEIGHTS:
        return EXIT_WEIGHTS;
    case STAGE_DEVICE:
        return EXIT_DEVICE;
    case STAGE_RUN:
        return status == STRATA_DEVICE ? EXIT_DEVICE : EXIT_UNEXPECTED;
    case STAGE_FILES:
        return EXIT_FILES;
    }
    return EXIT_UNEXPECTED;
}

/* Whoever reads our output has seen enough, as with "| head": nobody has to be told. */
static bool reader_left(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
    return ferror(stdout) && poll(&out, 1, 0) > 0 && (out.revents & POLLERR);
}

int talk_failure(enum stage stage, const strata_error *err, const char *next)
{
    if (err->status == STRATA_INTERNAL)
        next = "this is a bug in Strata: please report the command and this text";
    if (err->status == STRATA_IO && reader_left())
        return EXIT_FILES;
    return talk_error(code_of(stage, err->status), "%s%s%s", err->text, next ? "; " : "", next ? next : "");
}

double talk_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void talk_progress(size_t done, size_t total, double seconds)
{
    double now = talk_seconds();
    if (state.quiet || total < 2 || !isatty(STDERR_FILENO) || now - state.progress_time < 0.1)
        return;
    state.progress_time = now;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    flockfile(stderr);
    fprintf(stderr, "\r\033[K[%3.0f %%]   %zu/%zu   %.1f images/s", 100.0 * (double)done / (double)total,
            done, total, rate);
    if (rate > 0)
        fprintf(stderr, "   eta %.0f s", (double)(total - done) / rate);
    fflush(stderr);
    state.progress_shown = true;
    funlockfile(stderr);
}

static const char *scaled(double value, double step, const char *const *units, int count, char *buf,
                          size_t size)
{
    int i = 0;
    while (value >= step && i < count - 1)
        value /= step, i++;
    snprintf(buf, size, i == 0 ? "%.0f %s" : "%.1f %s", value, units[i]);
    return buf;
}

const char *talk_bytes(double bytes, char *buf, size_t size)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    return scaled(bytes, 1024, units, 5, buf, size);
}

const char *talk_count(double count, char *buf, size_t size)
{
    static const char *const units[] = { "", "k", "M", "G", "T" };
    return scaled(count, 1000, units, 5, buf, size);
}

json_t *talk_json_text(const char *text)
{
    json_t *value = json_string(text);
    char   *escaped = value ? NULL : malloc(4 * strlen(text) + 1), *to = escaped;
    if (!escaped)
        return value;
    for (const char *c = text; *c; c++)
        to += sprintf(to, *c & 0x80 ? "\\x%02x" : "%c", (unsigned char)*c);
    value = json_string(escaped);
    free(escaped);
    return value;
}

int talk_json(json_t *value)
{
    if (!value)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(value);
    return EXIT_DONE;
}

int talk_finish(int code)
{
    errno = 0;
    bool failed = ferror(stdout) != 0;
    failed = fflush(stdout) != 0 || failed;
    int why = errno;
    if (reader_left())
        return code == EXIT_DONE ? EXIT_FILES : code;
    if (failed)
        return talk_error(code == EXIT_DONE ? EXIT_FILES : code,
                          "standard output: %s; what was printed is not complete",
                          why ? strerror(why) : "write error");
    return code;
}

int talk_check_target(const char *option, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return talk_error(EXIT_FILES, "%s: '%s' is a folder; give the name of a file", option, path);
    char *copy = strdup(path);
    if (!copy)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    const char *folder = dirname(copy);
    int         code = EXIT_DONE;
    if (stat(folder, &st) != 0)
        code = talk_error(EXIT_FILES, "%s: folder '%s': %s; make it first, or name another", option, folder,
                          strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        code = talk_error(EXIT_FILES, "%s: '%s' is no folder; name a file in a folder that exists", option,
                          folder);
    else if (access(folder, W_OK | X_OK) != 0)
        code = talk_error(EXIT_FILES, "%s: folder '%s': %s; name a file where you may write", option, folder,
                          strerror(errno));
    free(copy);
    return code;
}
