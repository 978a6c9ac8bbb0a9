/* conv.c: geometry, cutting and im2col for the kernels of conv2d and dense. See conv.h. */
#include "conv.h"

#include <limits.h>
#include <string.h>

enum { ITEMS_WANTED = 16 }; /* in an image: for a few threads to share, without splitting small layers */

cpu_conv cpu_conv_of(const strata_node *n)
{
    const int64_t *x = n->in[CONV_X]->desc.dim, *w = n->in[CONV_WEIGHT]->desc.dim, *y = n->desc.dim;
    bool maps = n->desc.rank == 4;
    cpu_conv c = { .images = y[0], .h = 1, .w = 1, .c = (int)x[1], .oh = 1, .ow = 1, .o = (int)y[1],
                   .kh = 1, .kw = 1, .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 };
    if (maps) {
        c.h = (int)x[2];
        c.w = (int)x[3];
        c.oh = (int)y[2];
        c.ow = (int)y[3];
    }
    if (n->op == &strata_op_conv2d) {
        const strata_conv2d_attrs *a = n->attrs;
        c.kh = (int)w[2];
        c.kw = (int)w[3];
        memcpy(c.stride, a->stride, sizeof c.stride);
        memcpy(c.dilation, a->dilation, sizeof c.dilation);
        c.top = a->pad[0];
        c.left = a->pad[1];
        c.groups = a->groups;
        c.act = (strata_act)a->act;
    } else {
        const strata_dense_attrs *a = n->attrs;
        c.act = (strata_act)a->act;
    }
    c.taps = c.kh * c.kw;
    c.cg = c.c / c.groups;
    c.og = c.o / c.groups;
    c.k = c.taps * c.cg;
    return c;
}

static bool constant(const strata_node *n)
{
    return n == NULL || strata_node_is_constant(n);
}

static bool map_fits(const strata_tensor_desc *d)
{
    int64_t n = 1;
    for (int i = 1; i < d->rank; i++) {
        if (d->dim[i] > INT_MAX / 8 / n)
            return false;
        n *= d->dim[i];
    }
    return true;
}

bool cpu_conv_fits(const strata_node *n)
{
    const strata_node *x = n->in[CONV_X], *residual = n->in[CONV_RESIDUAL];
    if (n->desc.rank != 2 && n->desc.rank != 4)
        return false;
    if (strata_node_is_constant(x) || !constant(n->in[CONV_WEIGHT]) || !constant(n->in[CONV_BIAS]))
        return false;
    if (n->op == &strata_op_conv2d && residual != NULL && strata_node_is_constant(residual))
        return false;
    return map_fits(&n->desc) && map_fits(&x->desc) && map_fits(&n->in[CONV_WEIGHT]->desc);
}

bool cpu_conv_is_pointwise(const cpu_conv *c)
{
    return c->taps == 1 && c->stride[0] == 1 && c->stride[1] == 1 && c->groups == 1 && c->oh == c->h &&
           c->ow == c->w && c->top == 0 && c->left == 0;
}

cpu_cut cpu_cut_conv(const cpu_conv *c, int64_t most, int unit)
{
    int64_t pixels = (int64_t)c->oh * c->ow;
    cpu_cut cut = { 0 };
    cut.bands = (int)cpu_even_count(cpu_ceil_div(pixels, cpu_max(1, most)));
    cut.band = (int)cpu_ceil_div(pixels, cut.bands);
    cut.bands = (int)cpu_ceil_div(pixels, cut.band);

    int64_t wanted = cpu_ceil_div(ITEMS_WANTED, (int64_t)cut.bands * c->groups);
    int64_t units = cpu_ceil_div(c->og, unit);
    cut.range = (int)cpu_min(c->og, cpu_ceil_div(units, cpu_min(wanted, units)) * unit);
    cut.ranges = (int)cpu_ceil_div(c->og, cut.range);
    cut.items = c->images * cut.bands * c->groups * cut.ranges;
    return cut;
}

cpu_cut_item cpu_cut_at(const cpu_conv *c, const cpu_cut *cut, int64_t item)
{
    cpu_cut_item at = { .image = item % c->images };
    item /= c->images;
    at.channel = (int)(item % cut->ranges) * cut->range;
    at.channels = (int)cpu_min(cut->range, c->og - at.channel);
    item /= cut->ranges;
    at.group = (int)(item % c->groups);
    item /= c->groups;
    at.pixel = (int)item * cut->band;
    at.pixels = (int)cpu_min(cut->band, (int64_t)c->oh * c->ow - at.pixel);
    return at;
}

/* Neighbouring taps are neighbours in memory when all channels are taken and nothing is dilated; then the
 * taps inside the map are a single run. */
void cpu_gather_row(const cpu_conv *c, const float *row, int column, float *dst)
{
    size_t run = (size_t)c->cg * sizeof *dst;
    if (c->dilation[1] == 1 && c->groups == 1) {
        int from = column < 0 ? (int)cpu_min(c->kw, -column) : 0;
        int to = (int)cpu_max(from, cpu_min(c->kw, c->w - column));
        memset(dst, 0, (size_t)from * run);
        memcpy(dst + (size_t)from * (size_t)c->cg, row + (int64_t)(column + from) * c->c,
               (size_t)(to - from) * run);
        memset(dst + (size_t)to * (size_t)c->cg, 0, (size_t)(c->kw - to) * run);
        return;
    }
    for (int tx = 0; tx < c->kw; tx++, dst += c->cg) {
        int at = column + tx * c->dilation[1];
        if (at >= 0 && at < c->w)
            memcpy(dst, row + (int64_t)at * c->c, run);
        else
            memset(dst, 0, run);
    }
}

void cpu_im2col(const cpu_conv *c, const float *x, int first, int pixels, float *dst)
{
    int oy = first / c->ow, ox = first % c->ow;
    int row_floats = c->kw * c->cg;
    for (int p = 0; p < pixels; p++) {
        int y = oy * c->stride[0] - c->top, column = ox * c->stride[1] - c->left;
        for (int ty = 0; ty < c->kh; ty++, y += c->dilation[0], dst += row_floats) {
            if (y >= 0 && y < c->h)
                cpu_gather_row(c, x + (int64_t)y * c->w * c->c, column, dst);
            else
                memset(dst, 0, (size_t)row_floats * sizeof *dst);
        }
        if (++ox == c->ow) {
            ox = 0;
            oy++;
        }
    }
}
