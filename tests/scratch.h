/* scratch.h: a folder for the files of one test program, and small helpers to fill it. */
#ifndef STRATA_TESTS_SCRATCH_H
#define STRATA_TESTS_SCRATCH_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct scratch {
    char dir[64], path[512];
} scratch;

static inline void scratch_open(scratch *s)
{
    strcpy(s->dir, "/tmp/strata-test-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
}

/* The path of `name` in the folder; valid until the next call. */
static inline const char *scratch_path(scratch *s, const char *name)
{
    snprintf(s->path, sizeof s->path, "%s/%s", s->dir, name);
    return s->path;
}

/* How many entries the folder has, hidden ones included. */
static inline int scratch_count(scratch *s)
{
    DIR *dir = opendir(s->dir);
    assert_non_null(dir);
    int count = -2; /* . and .. */
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static inline void scratch_close(scratch *s)
{
    DIR *dir = opendir(s->dir);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' || strlen(e->d_name) > 2)
            unlink(scratch_path(s, e->d_name));
    if (dir != NULL)
        closedir(dir);
    assert_int_equal(rmdir(s->dir), 0);
}

static inline void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* A file in memory with these bytes, and its path: for tests that make thousands. Each call replaces the
 * last. */
static inline const char *memory_file(const void *bytes, size_t size)
{
    static int  fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("strata-test", MFD_CLOEXEC);
        assert_true(fd >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, bytes, size, 0), size);
    return path;
}

/* The whole file; the caller frees it. */
static inline unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

#endif
