/* direct.h: convolutions by our own tiles, in pieces: for the kernel that is nothing else (k_conv2d_direct.c) and for those
 * that compute such a convolution on the way to something more.
 */
#ifndef STRATA_CPU_DIRECT_H
#define STRATA_CPU_DIRECT_H

#include "conv.h"

/* A convolution with its packed weights: [group][panel][k][block] of weights, [group][panel][block] of bias, then zeros for
 * taps outside the map. A tap is what a tile takes for one: taps * channels = conv.k. */
typedef struct cpu_direct {
    cpu_conv        conv;
    const cpu_simd *simd;
    bool            row_taps;                   /* a tap is a whole row of them */
    int             block, panels;              /* columns of a panel; panels of a group */
    int             taps, channels;
    int             chunk_taps, chunk_channels; /* of weights at a time: some taps whole, or a part of one */
    int             chunks;                     /* in a panel */
    const float    *weight, *bias, *zeros;
} cpu_direct;

/* `packed`: what cpu_direct_pack has written or will write; NULL: not known yet. */
cpu_direct cpu_direct_of(const strata_node *n, const cpu_simd *simd, const float *packed);
size_t     cpu_direct_packed_bytes(const cpu_direct *d);
/* Packs the constants of n, a node whose step is s or which that absorbs, on all threads; n need not be in memory whole. */
strata_status cpu_direct_pack(const cpu_direct *d, const strata_step *s, const strata_node *n, float *packed,
                              strata_error *err);

/* For prepare of a step that is such a convolution: its weights in s->state, its constants consumed. */
strata_status cpu_direct_prepare(const cpu_direct *d, strata_step *s, strata_error *err);

/* Bytes of the pointers to the taps of so many pixels, and of the rows of taps that have to be gathered for them. */
size_t cpu_direct_pointer_bytes(const cpu_direct *d, int pixels);
size_t cpu_direct_gather_bytes(const cpu_direct *d, int pixels);
/* pointers[tile][tap][CPU_TILE_ROWS] for `pixels` pixels of the result from `first` on. x is channel 0 of the group in
 * the image. */
void cpu_direct_point(const cpu_direct *d, const float *x, int first, int pixels, const float **pointers, float *gathered);
/* Chunks first to end - 1 of the sums of one panel, counted through all groups, for the pixels of `pointers`: t has rows,
 * columns, y, which holds the sums of the chunks before, and the steps. residual may be NULL. */
void cpu_direct_apply(const cpu_direct *d, cpu_tiles *t, const float *const *pointers, int64_t panel,
                      const float *residual, int first, int end);
/* The same for all panels of an item, in the frame's result. */
void cpu_direct_apply_item(const cpu_direct *d, const strata_frame *f, const cpu_cut_item *at,
                           const float *const *pointers, int first, int end);

#endif
