/* A toy of a backend: a device with its own memory, NCHW, that can do relu and convolutions by their definitions. */
#ifndef STRATA_TESTS_TOY_BACKEND_H
#define STRATA_TESTS_TOY_BACKEND_H

#include <strata/ops.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct strata_buffer { char *bytes; };
struct strata_device { int opened; };
typedef struct toy_recording { const strata_step *steps; strata_frame *frames; int count; } toy_recording;
static const toy_recording *toy_latest;

static int  toy_asked;
static int  toy_count(strata_context *ctx) { (void)ctx; toy_asked++; return 2; }
static void toy_describe(strata_context *ctx, int index, strata_device_info *out)
{
    (void)ctx;
    snprintf(out->name, sizeof out->name, "Toy %c", 'A' + index);
    snprintf(out->type, sizeof out->type, "software");
    if (index == 1)
        snprintf(out->unusable, sizeof out->unusable, "it is broken");
}
static strata_status toy_open(strata_context *ctx, int index, const strata_device_options *o, strata_device **out, strata_error *err)
{
    (void)ctx, (void)index, (void)o, (void)err;
    *out = calloc(1, sizeof **out);
    return STRATA_OK;
}
static void toy_close(strata_device *d) { free(d); }
static strata_status toy_alloc(strata_device *d, size_t bytes, strata_buffer **out, strata_error *err)
{
    (void)d, (void)err;
    *out          = malloc(sizeof **out);
    (*out)->bytes = malloc(bytes);
    memset((*out)->bytes, 0xff, bytes); /* NaN: what is read must have been written */
    return STRATA_OK;
}
static void toy_free(strata_device *d, strata_buffer *b) { (void)d, free(b->bytes), free(b); }
static void *toy_map(strata_buffer *b) { (void)b; return NULL; }
static strata_status toy_write(strata_buffer *to, size_t at, const void *src, size_t n, strata_error *err)
{
    (void)err;
    memcpy(to->bytes + at, src, n);
    return STRATA_OK;
}
static strata_status toy_read(const strata_buffer *from, size_t at, void *to, size_t n, strata_error *err)
{
    (void)err;
    memcpy(to, from->bytes + at, n);
    return STRATA_OK;
}
static strata_status toy_record(strata_device *d, const strata_step *steps, strata_frame *frames, int count, void **out, strata_error *err)
{
    (void)d, (void)err;
    toy_recording *r = malloc(sizeof *r);
    *r   = (toy_recording){ steps, frames, count };
    *out = r;
    toy_latest = r;
    return STRATA_OK;
}
static strata_status toy_run(strata_device *d, void *recording, double (*ms)[2], strata_error *err)
{
    (void)d, (void)ms;
    const toy_recording *r = recording;
    for (int i = 0; i < r->count; i++)
        STRATA_TRY(r->steps[i].kernel->emit(&r->steps[i], &r->frames[i], err));
    return STRATA_OK;
}
static bool toy_stores(const strata_device *d, strata_dtype dtype) { return (void)d, dtype == STRATA_F32; }
static void toy_discard(strata_device *d, void *recording) { (void)d, free(recording); }

static bool toy_fails;
static strata_status toy_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    strata_view in[STRATA_MAX_OPERANDS], out = f->out;
    if (toy_fails)
        return strata_fail(err, STRATA_DEVICE, "%s: the toy is lost", s->node->name);
    memcpy(in, f->in, sizeof in);
    for (int k = 0; k < STRATA_MAX_OPERANDS; k++)
        if (in[k].desc && !in[k].data)
            in[k].data = (float *)(void *)(in[k].buffer->bytes + in[k].offset);
    out.data = (float *)(void *)(out.buffer->bytes + out.offset);
    return s->node->op->eval(s->node, in, &out);
}
static const strata_kernel_def toy_conv = { .name = "conv2d.toy", .op = &strata_op_conv2d, .layouts = 1, .emit = toy_emit },
                               toy_relu = { .name = "relu.toy", .op = &strata_op_relu, .layouts = 1, .in_place = 1u << 0, .emit = toy_emit };
static const strata_kernel_def *const toy_kernels[] = { &toy_conv, &toy_relu, NULL };
static const strata_backend_def toy = { .name = "toy", .layout = STRATA_NCHW, .side_by_side = true, .kernels = toy_kernels, .count = toy_count,
    .describe = toy_describe, .open = toy_open, .close = toy_close, .stores = toy_stores, .alloc = toy_alloc, .free = toy_free, .map = toy_map,
    .write = toy_write, .read = toy_read, .record = toy_record, .run = toy_run, .discard = toy_discard };

#endif
