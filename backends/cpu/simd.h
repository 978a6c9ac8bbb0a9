/* simd.h: the inner loops of the CPU backend, compiled once per instruction set.
 *
 * simd_*.c are plain C on the compiler's vector types; meson builds them for the baseline of the target (on
 * aarch64 that is NEON with fused multiply-add) and, on x86-64, for AVX2 with FMA and for AVX-512. The device
 * takes the best table that the processor can run. All pointers may be unaligned unless said otherwise. Rows
 * may not overlap, except that dst may equal a source.
 */
#ifndef STRATA_CPU_SIMD_H
#define STRATA_CPU_SIMD_H

#include <strata/ops.h>

typedef enum cpu_binary_op { CPU_ADD, CPU_SUB, CPU_MUL, CPU_DIV } cpu_binary_op;
typedef enum cpu_unary_op {
    CPU_NEG, CPU_RSQRT, CPU_SQRT, CPU_GELU_ERF, CPU_ADD_SCALAR, CPU_MUL_SCALAR
} cpu_unary_op;

/* An operand of binary: element (r, i) is at data[r * row_step + i * step], step 0 or 1. */
typedef struct cpu_rows {
    const float *data;
    ptrdiff_t    row_step;
    int          step;
} cpu_rows;

/* A rectangle of results of a convolution with few channels per group: for group_rows of the channels of one block, for
 * depthwise_rows of any number of blocks. Pairs are down and across. */
typedef struct cpu_group_rows {
    const float *x;       /* channel 0 of the first block, in row x_first and column 0 of the map */
    ptrdiff_t    x_line, x_pixel; /* floats from row to row, and from pixel to pixel */
    int          x_first, height, width; /* of the map; rows before x_first are not looked at */
    const float *weight;  /* [blocks][kh][kw][group][cpu_simd.block], aligned to 64 */
    ptrdiff_t    weight_row, weight_block; /* floats from tap row to tap row, and from block to block */
    const float *bias;    /* [blocks][cpu_simd.block] */
    float       *y;
    ptrdiff_t    y_line, y_pixel;
    int          rows, pixels, channels; /* of results; valid channels of the blocks */
    int          group;    /* channels in and out of one: 4 or 8; depthwise_rows has 1 */
    int          kh, kw, stride[2], dilation[2];
    int          top, left; /* the first tap of the first result is in row -top and column -left */
    strata_act   act;
} cpu_group_rows;

/* The tap rows of a row of results that lie in the map. */
typedef struct cpu_tap_rows {
    const float *x, *weight; /* of the first of them: column 0, and block 0 */
    ptrdiff_t    x_step;     /* floats from one to the next */
    int          count;
} cpu_tap_rows;

static inline cpu_tap_rows cpu_tap_rows_of(const cpu_group_rows *d, int row)
{
    int top = row * d->stride[0] - d->top, step = d->dilation[0], from = 0, to = d->kh;
    while (from < to && top + from * step < 0)
        from++;
    while (to > from && top + (to - 1) * step >= d->height)
        to--;
    cpu_tap_rows t = { d->x, d->weight + from * d->weight_row, step * d->x_line, to - from };
    if (t.count > 0)
        t.x += (top + from * step - d->x_first) * d->x_line;
    return t;
}

/* A part of an implicit matrix product: a band of rows (pixels) times a chunk of a panel of cpu_simd.block
 * columns. The rows go by in tiles of up to CPU_TILE_ROWS: tile t has those from cpu_tile_first(t) to
 * cpu_tile_first(t + 1). */
enum { CPU_TILE_ROWS = 6 };

typedef struct cpu_tiles {
    const float *const *x;  /* [tiles][taps of the product][CPU_TILE_ROWS]: where each row's tap begins */
    ptrdiff_t    x_tile;    /* pointers from tile to tile; x points at the first tap of this chunk */
    ptrdiff_t    x_offset;  /* added to every pointer: the first channel of this chunk */
    const float *weight;    /* [taps][channels][block], aligned to 64 */
    const float *ahead;     /* weights that will be wanted next, as many: to prefetch; or NULL */
    const float *bias;      /* [block] to begin with, or NULL: begin with what y holds */
    const float *residual;  /* added at the end, or NULL */
    float       *y;
    ptrdiff_t    y_step, residual_step; /* floats from row to row */
    int          rows, taps, channels;  /* taps and channels of this chunk */
    int          columns;   /* valid ones of the panel */
    strata_act   act;       /* of the result; STRATA_ACT_NONE for partial sums */
} cpu_tiles;

static inline int cpu_tile_count(int rows) { return (rows + CPU_TILE_ROWS - 1) / CPU_TILE_ROWS; }
/* Spread evenly: 49 rows are tiles of six and five, not eight of six and one of one. */
static inline int cpu_tile_first(int tile, int tiles, int rows)
{
    int more = rows % tiles; /* tiles with a row more than the others */
    return tile * (rows / tiles) + (tile < more ? tile : more);
}

/* A tile of x on its way into the domain of Winograd's products, for results x results results of a convolution of 3x3:
 * edge x edge pixels give edge x edge points. With stride 1, edge is results + 2, with stride 2 it is 2 results + 1.
 * In one dimension the points are 0, 1, -1, 2, -2 as far as there are so many, and infinity; with stride 2 those
 * are points of the even pixels, and the odd pixels follow as they are. */
enum { CPU_WINOGRAD_MOST = 9 };

typedef struct cpu_winograd_tile {
    const float *const *x; /* [edge][edge]: where each pixel begins */
    int          edge, results; /* results: 2 to 4 */
    int          channels;
    float       *v;        /* point p of channel k at v[p * v_step + k]; whole registers are written */
    ptrdiff_t    v_step;
} cpu_winograd_tile;

/* A tile of sums on its way back: edge x edge points of some panels. */
typedef struct cpu_winograd_result {
    const float *m;        /* point p of channel k at m[p * m_step + k]; all channels of the panels can be read */
    ptrdiff_t    m_step;
    int          edge, results;
    const float *bias;     /* of all channels of the panels */
    const float *residual; /* lies as y does; or NULL */
    float       *y;
    ptrdiff_t    y_row, y_pixel;
    int          rows, columns, channels; /* valid ones */
    strata_act   act;
} cpu_winograd_result;

typedef struct cpu_simd {
    const char *name;
    int         block; /* floats in two registers: columns of a weight panel, channels of a depthwise block */
    bool        fused;   /* has fused multiply-add: then tiles() beats a matrix product of the library */

    /* y[r][c] = act(y[r][c] + bias[c] + residual[r][c]); bias and residual may be NULL. */
    void (*finish)(float *y, ptrdiff_t y_step, int64_t rows, int64_t columns, const float *bias,
                   const float *residual, ptrdiff_t residual_step, strata_act act);
    void (*activate)(float *dst, const float *x, int64_t n, strata_act act);
    void (*unary)(float *dst, const float *x, int64_t n, cpu_unary_op op, float value);
    void (*binary)(float *dst, ptrdiff_t dst_step, cpu_rows x, cpu_rows y, int64_t rows, int64_t n,
                   cpu_binary_op op, strata_act act);
    /* dst[r][i] = x[r][i] * scale[i] + shift[i] */
    void (*affine)(float *dst, const float *x, int64_t rows, int64_t n, const float *scale,
                   const float *shift);

    /* y[o] = act(bias[o] + sum over k of x[k] * w[o / block][k][o % block]). */
    void (*gemv)(float *y, const float *w, const float *x, const float *bias, int64_t outputs, int64_t k,
                 strata_act act);
    void (*depthwise_rows)(const cpu_group_rows *d);
    void (*group_rows)(const cpu_group_rows *d);
    void (*tiles)(const cpu_tiles *t);
    void (*winograd_tile)(const cpu_winograd_tile *t);
    void (*winograd_result)(const cpu_winograd_result *t);

    /* dst[i] = max, or scale times the sum, over r of rows[r][i]; count >= 1 for max. */
    void (*max_rows)(float *dst, const float *const *rows, int count, int64_t n);
    void (*sum_rows)(float *dst, const float *const *rows, int count, int64_t n, float scale);
    /* dst[i] = sum over r of x[r * step + i], or of its square. */
    void (*column_sums)(float *dst, const float *x, int64_t rows, ptrdiff_t step, int64_t n);
    void (*column_squares)(float *dst, const float *x, int64_t rows, ptrdiff_t step, int64_t n);
    /* dst = (x - mean) / sqrt(variance + epsilon) * gamma + beta of one row. */
    void (*normalize)(float *dst, const float *x, int64_t n, float epsilon, const float *gamma,
                      const float *beta);
    /* Softmax over r of x[r * step + i] for each i < n. */
    void (*softmax_columns)(float *dst, const float *x, int64_t rows, ptrdiff_t step, int64_t n);
    /* Softmax of one row. */
    void (*softmax_row)(float *dst, const float *x, int64_t n);
    /* dst[i] = sum over r < 4 of weight[r] * rows[r][i]. */
    void (*blend4)(float *dst, const float *const rows[4], const float weight[4], int64_t n);
    /* dst[c * dst_step + r] = x[r * x_step + c]. `past_caches`: what is stored in whole cache lines may go past them, to
     * memory; for results that they would not hold anyway. */
    void (*transpose)(float *dst, ptrdiff_t dst_step, const float *x, ptrdiff_t x_step, int64_t rows,
                      int64_t columns, bool past_caches);
} cpu_simd;

/* The best table for this processor. */
const cpu_simd *cpu_simd_select(void);
/* Every table this processor can run, NULL-terminated, best first: for tests. */
const cpu_simd *const *cpu_simd_tables(void);

#endif
