/* resize: x[N,C,H,W] sampled at size[0] x size[1] places.
 *
 *   nearest    y[i,j] = x[floor(i * H / H'), floor(j * W / W')]     (asymmetric: MindSpore, PyTorch)
 *   bilinear   y[i,j] = x at (r, s), linear between the four neighbours, with
 *              r = (i + 1/2) * H / H' - 1/2                          pixel areas onto pixel areas, or
 *              r = i * (H - 1) / (H' - 1)                            align_corners (0 where H' is 1)
 *              clamped to the map; likewise s */
#include "infer.h"

static const char *const mode_names[] = { [STRATA_RESIZE_NEAREST]  = "nearest",
                                          [STRATA_RESIZE_BILINEAR] = "bilinear", NULL };

static const strata_attr_def attrs[] = {
    { "size", STRATA_ATTR_INT2, offsetof(strata_resize_attrs, size), 1, OPS_MAX_DIM, 1,
      "height and width of the result" },
    { "mode", STRATA_ATTR_ENUM, offsetof(strata_resize_attrs, mode), 0, STRATA_RESIZE_BILINEAR,
      STRATA_RESIZE_NEAREST, "how places between elements are filled", mode_names },
    { "align_corners", STRATA_ATTR_BOOL, offsetof(strata_resize_attrs, align_corners), 0, 1, 0,
      "centres of corner elements stay corners; bilinear only" },
    { 0 }
};

static strata_status infer(const strata_node *n, strata_tensor_desc *out, strata_error *err)
{
    const strata_resize_attrs *a = n->attrs;
    STRATA_TRY(strata_infer_operands(n, out, err));
    STRATA_TRY(strata_infer_rank(n, 0, 4, 4, err));
    if (a->align_corners && a->mode != STRATA_RESIZE_BILINEAR)
        return strata_fail(err, STRATA_INVALID, "align_corners needs mode %s, not %s",
                           mode_names[STRATA_RESIZE_BILINEAR], mode_names[a->mode]);
    out->dim[2] = a->size[0];
    out->dim[3] = a->size[1];
    return STRATA_OK;
}

/* Place 0 of the result on x and the distance of neighbouring places, of a bilinear axis. */
static void bilinear_map(const strata_resize_attrs *a, int64_t in, int64_t out, double *first, double *step)
{
    if (a->align_corners) {
        *first = 0;
        *step  = out > 1 ? (double)(in - 1) / (double)(out - 1) : 0;
    } else {
        *step  = (double)in / (double)out;
        *first = 0.5 * *step - 0.5;
    }
}

/* Between elements a bilinear result sees two of them, half an element to each side of its place. A nearest
 * element stands for its neighbourhood when up-sampling, so its places are those of pixel areas; when
 * down-sampling it is taken from where it is. */
static void window(const strata_node *n, strata_window *w)
{
    const strata_resize_attrs *a = n->attrs;
    for (int i = 0; i < 2; i++) {
        int64_t in = n->in[0]->desc.dim[2 + i], out = n->desc.dim[2 + i];
        double  first;
        w->stride[i] = (double)in / (double)out;
        if (in == out) {
            continue;
        } else if (a->mode == STRATA_RESIZE_BILINEAR) {
            bilinear_map(a, in, out, &first, &w->stride[i]);
            w->size[i] = 2;
            w->pad[i]  = 0.5 - first;
        } else {
            w->pad[i] = in < out ? 0.5 - 0.5 * w->stride[i] : 0;
        }
    }
}

/* The two elements on either side of place i, and the weight of the second. */
typedef struct taps {
    int64_t low, high;
    double  weight;
} taps;

static taps bilinear_taps(const strata_resize_attrs *a, int64_t in, int64_t out, int64_t i)
{
    double first, step;
    bilinear_map(a, in, out, &first, &step);
    double place = first + (double)i * step;
    if (place < 0)
        place = 0;
    taps t = { .low = (int64_t)place };
    if (t.low > in - 1)
        t.low = in - 1;
    t.high   = t.low < in - 1 ? t.low + 1 : t.low;
    t.weight = place - (double)t.low;
    return t;
}

static double mix(double a, double b, double weight) { return a * (1 - weight) + b * weight; }

static strata_status eval(const strata_node *n, const strata_view *in, strata_view *out)
{
    const strata_resize_attrs *a = n->attrs;
    const int64_t *x = in[0].desc->dim, *y = out->desc->dim;
    float         *dst = out->data;

    for (int64_t m = 0; m < x[0] * x[1]; m++) {
        const float *map = in[0].data + m * x[2] * x[3];
        for (int64_t i = 0; i < y[2]; i++)
        for (int64_t j = 0; j < y[3]; j++) {
            if (a->mode == STRATA_RESIZE_NEAREST) {
                *dst++ = map[i * x[2] / y[2] * x[3] + j * x[3] / y[3]];
                continue;
            }
            taps         r = bilinear_taps(a, x[2], y[2], i), s = bilinear_taps(a, x[3], y[3], j);
            const float *low = map + r.low * x[3], *high = map + r.high * x[3];
            *dst++ = (float)(mix(mix(low[s.low], low[s.high], s.weight),
                                 mix(high[s.low], high[s.high], s.weight), r.weight));
        }
    }
    return STRATA_OK;
}

const strata_op_def strata_op_resize = {
    .name = "resize", .doc = "Samples every map at another size, nearest or bilinear.",
    .operands = { { "x" } }, .attrs = attrs, .attr_size = sizeof(strata_resize_attrs),
    .flags = STRATA_OP_ROWS, .infer = infer, .window = window, .eval = eval,
};
