/* Pooling of x[N,C,H,W], channel by channel.
 *
 *   max_pool: the largest element under the window; padding never wins.
 *   avg_pool: their mean. Padding is left out of sum and count; with count_pad it counts as zeros.
 *   global_avg_pool: the mean of the whole map, [N,C,1,1].
 *
 * A pad is always smaller than the kernel, so every window covers at least one element of x. */
#include "infer.h"

#include <math.h>

static const strata_attr_def attrs[] = {
    { "count_pad", STRATA_ATTR_BOOL, offsetof(strata_pool_attrs, count_pad), 0, 1, 0,
      "padding counts as zeros in the mean" },
    { "kernel", STRATA_ATTR_INT2, offsetof(strata_pool_attrs, kernel), 1, OPS_MAX_WINDOW, 1,
      "height and width of the window" },
    { "stride", STRATA_ATTR_INT2, offsetof(strata_pool_attrs, stride), 1, OPS_MAX_WINDOW, 1,
      "step of the window in y and x" },
    { "pad", STRATA_ATTR_INT4, offsetof(strata_pool_attrs, pad), 0, OPS_MAX_WINDOW, 0,
      "elements around x: top, left, bottom, right; smaller than the kernel" },
    { 0 }
};
enum { AFTER_COUNT_PAD = 1 }; /* max_pool has all rows but the first */

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    static const char *const side[] = { "top", "left", "bottom", "right" };
    const strata_pool_attrs *a = n->attrs;
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(strata_infer_rank(n, 0, 4, 4, err));
    for (int i = 0; i < 4; i++)
        if (a->pad[i] >= a->kernel[i % 2])
            return strata_fail(err, STRATA_SHAPE, "a pad must be smaller than the kernel: %d vs %d at the %s",
                               a->pad[i], a->kernel[i % 2], side[i]);
    int64_t kernel[2] = { a->kernel[0], a->kernel[1] };
    STRATA_TRY(strata_infer_window(&n->in[0]->desc, kernel, a->stride, a->pad, (int[]){ 1, 1 }, out, err));
    return STRATA_OK;
}

static strata_status infer_global(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(strata_infer_rank(n, 0, 4, 4, err));
    out->dim[2] = out->dim[3] = 1;
    return STRATA_OK;
}

static void window(const strata_node *n, strata_window *w)
{
    const strata_pool_attrs *a = n->attrs;
    for (int i = 0; i < 2; i++) {
        w->size[i]   = a->kernel[i];
        w->stride[i] = a->stride[i];
        w->pad[i]    = a->pad[i];
    }
}

static void window_global(const strata_node *n, strata_window *w)
{
    (void)n;
    w->global = true;
}

/* Calls `pool` with the part [top, bottom) x [left, right) of each window that lies on the map. */
static void slide(const strata_node *n, const strata_view *in, strata_view *out,
                  float (*pool)(const strata_pool_attrs *a, const float *map, int64_t width, int64_t top,
                                int64_t bottom, int64_t left, int64_t right))
{
    const strata_pool_attrs *a = n->attrs;
    const int64_t *x = in[0].desc->dim, *y = out->desc->dim;
    float         *dst = out->data;
    for (int64_t m = 0; m < y[0] * y[1]; m++)
    for (int64_t i = 0; i < y[2]; i++)
    for (int64_t j = 0; j < y[3]; j++) {
        int64_t r = i * a->stride[0] - a->pad[0], bottom = r + a->kernel[0] < x[2] ? r + a->kernel[0] : x[2];
        int64_t s = j * a->stride[1] - a->pad[1], right  = s + a->kernel[1] < x[3] ? s + a->kernel[1] : x[3];
        *dst++ = pool(a, in[0].data + m * x[2] * x[3], x[3], r > 0 ? r : 0, bottom, s > 0 ? s : 0, right);
    }
}

static float largest(const strata_pool_attrs *a, const float *map, int64_t width, int64_t top, int64_t bottom,
                     int64_t left, int64_t right)
{
    (void)a;
    float best = -INFINITY;
    for (int64_t r = top; r < bottom; r++)
        for (int64_t s = left; s < right; s++)
            if (map[r * width + s] > best || isnan(map[r * width + s])) /* a NaN stays */
                best = map[r * width + s];
    return best;
}

static float mean(const strata_pool_attrs *a, const float *map, int64_t width, int64_t top, int64_t bottom,
                  int64_t left, int64_t right)
{
    double  sum   = 0;
    int64_t count = a->count_pad ? (int64_t)a->kernel[0] * a->kernel[1] : (bottom - top) * (right - left);
    for (int64_t r = top; r < bottom; r++)
        for (int64_t s = left; s < right; s++)
            sum += map[r * width + s];
    return (float)(sum / (double)count);
}

static strata_status eval_max(const strata_node *n, const strata_view *in, strata_view *out)
{
    slide(n, in, out, largest);
    return STRATA_OK;
}

static strata_status eval_avg(const strata_node *n, const strata_view *in, strata_view *out)
{
    slide(n, in, out, mean);
    return STRATA_OK;
}

static strata_status eval_global(const strata_node *n, const strata_view *in, strata_view *out)
{
    (void)n;
    const int64_t *x    = in[0].desc->dim;
    int64_t        area = x[2] * x[3];
    for (int64_t m = 0; m < x[0] * x[1]; m++) {
        double sum = 0;
        for (int64_t p = 0; p < area; p++)
            sum += in[0].data[m * area + p];
        out->data[m] = (float)(sum / (double)area);
    }
    return STRATA_OK;
}

const strata_op_def strata_op_max_pool = {
    .name = "max_pool", .doc = "The largest element under a sliding window; padding never wins.",
    .operands = { { "x" } }, .attrs = attrs + AFTER_COUNT_PAD, .attr_size = sizeof(strata_pool_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .window = window, .eval = eval_max,
};

const strata_op_def strata_op_avg_pool = {
    .name = "avg_pool", .doc = "The mean under a sliding window, without padding unless count_pad is set.",
    .operands = { { "x" } }, .attrs = attrs, .attr_size = sizeof(strata_pool_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .window = window, .eval = eval_avg,
};

const strata_op_def strata_op_global_avg_pool = {
    .name = "global_avg_pool", .doc = "The mean of each map: [N,C,H,W] becomes [N,C,1,1].",
    .operands = { { "x" } },
    .flags = STRATA_OP_ROWS, .infer = infer_global, .window = window_global, .eval = eval_global,
};
