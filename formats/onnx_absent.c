/* onnx_absent.c: what a build without ONNX's schema answers. */
#include <strata/strata.h>
#include <strata/extend.h>

static strata_status absent(strata_error *err)
{
    return strata_fail(err, STRATA_UNSUPPORTED, "this build has no ONNX; install ONNX's schema (onnx.proto: Debian "
                       "package libonnx-dev) and build again with -Donnx=enabled");
}

strata_status strata_graph_export_onnx(const strata_graph *g, const strata_onnx_options *options, const char *path,
                                       strata_error *err)
{
    (void)g, (void)options, (void)path;
    return absent(err);
}

strata_status strata_graph_import_onnx(strata_context *ctx, const char *path, const strata_onnx_import *options,
                                       strata_graph **out, strata_error *err)
{
    (void)ctx, (void)path, (void)options;
    *out = NULL;
    return absent(err);
}
