/* conv.h: the geometry that the kernels of conv2d and dense share. A dense layer over [N,C,H,W] or [N,C] is a
 * 1x1 convolution, so both ops become a cpu_conv and use the same code.
 */
#ifndef STRATA_CPU_CONV_H
#define STRATA_CPU_CONV_H

#include "cpu.h"

enum { CONV_X, CONV_WEIGHT, CONV_BIAS, CONV_RESIDUAL };

typedef struct cpu_conv {
    int64_t    images;
    int        h, w, c;             /* of x */
    int        oh, ow, o;           /* of the result */
    int        kh, kw, taps;        /* taps = kh * kw */
    int        stride[2], dilation[2], top, left;
    int        groups, cg, og;      /* channels in and out of one group */
    int        k;                   /* taps * cg: products in one sum */
    strata_act act;
} cpu_conv;

/* A conv2d or dense node of rank 2 or 4. */
cpu_conv cpu_conv_of(const strata_node *n);
/* What all these kernels need: constant parameters, x and residual that are not, sizes within int. */
bool cpu_conv_fits(const strata_node *n);
/* 1x1, stride 1, no padding, one group: pixel p of the result needs pixel p of x only. */
bool cpu_conv_is_pointwise(const cpu_conv *c);

/* 3x3, stride 1, not dilated: what the Winograd kernels can do, whether or not it pays. */
bool cpu_winograd_fits(const strata_node *n);

static inline int64_t cpu_conv_x_image(const cpu_conv *c) { return (int64_t)c->h * c->w * c->c; }
static inline int64_t cpu_conv_y_image(const cpu_conv *c) { return (int64_t)c->oh * c->ow * c->o; }

/* The result's pixels cut into bands of equal length (but for the last) and its channels, within each group,
 * into ranges. */
typedef struct cpu_cut {
    int     band, bands;   /* pixels in a band */
    int     range, ranges; /* channels in a range */
    int64_t items;         /* bands * groups * ranges * images, images fastest: they share weights */
} cpu_cut;

typedef struct cpu_cut_item {
    int64_t image;
    int     pixel, pixels, group, channel, channels; /* channel counts within the group */
} cpu_cut_item;

/* Bands of about `most` pixels at most; then ranges, of a multiple of `unit` channels, until an image has enough
 * items to keep several threads busy. Depends on the geometry of one image only. */
cpu_cut      cpu_cut_conv(const cpu_conv *c, int64_t most, int unit);
cpu_cut_item cpu_cut_at(const cpu_conv *c, const cpu_cut *cut, int64_t item);

/* About so many parts of a whole, but so that two or four threads get as many each. */
static inline int64_t cpu_even_count(int64_t parts) { return parts <= 1 ? 1 : cpu_max(4, (parts + 2) / 4 * 4); }

/* One row of taps of one pixel, the first in `column` of the map's row: kw * cg floats, zeros outside the
 * map. */
void cpu_gather_row(const cpu_conv *c, const float *row, int column, float *dst);

/* Row p of `dst` gets the k inputs of pixel first + p in the order [kh][kw][cg], zeros outside the map. x is
 * channel 0 of the group in the image. */
void cpu_im2col(const cpu_conv *c, const float *x, int first, int pixels, float *dst);

#endif
