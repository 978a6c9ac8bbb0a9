/* What tests of ONNX files share: a context, a folder to write in, the graph of tests/data/onnx. */
#ifndef STRATA_TESTS_ONNX_FILES_H
#define STRATA_TESTS_ONNX_FILES_H

#include "interpret.h"
#include "scratch.h"

static strata_context *ctx;
static scratch         tmp;

static inline strata_graph *read_graph(const char *name)
{
    char          path[512], text[1 << 16];
    strata_graph *g = NULL;
    strata_error  err;
    snprintf(path, sizeof path, "%s/onnx/%s", STRATA_TEST_DATA, name);
    FILE *from = fopen(path, "rb");
    assert_non_null(from);
    size_t size = fread(text, 1, sizeof text, from);
    fclose(from);
    if (strata_graph_parse(ctx, path, text, size, &g, &err) != STRATA_OK)
        fail_msg("%s", err.text);
    fill_constants(g, 1);
    return g;
}

/* Set-up and tear-down of a group of tests. */
static inline int open_files(void **state)
{
    (void)state;
    scratch_open(&tmp);
    return strata_context_create(&ctx, NULL) == STRATA_OK ? 0 : -1;
}

static inline int close_files(void **state)
{
    (void)state;
    scratch_close(&tmp);
    strata_context_destroy(ctx);
    return 0;
}

#endif
