/* One node of a test in the layout that a kernel wants. Operands and results of a test are row-major; they are
 * turned into the kernel's layout and back here. */
#ifndef STRATA_TESTS_PLACED_NODE_H
#define STRATA_TESTS_PLACED_NODE_H

#include "ops_harness.h"

/* Copies row-major src to the layout of d, or back. */
static inline void turn_layout(const strata_tensor_desc *d, bool back, const float *src, float *dst)
{
    int64_t count = strata_count(d);
    if (d->rank != 4 || d->layout == STRATA_NCHW) {
        memcpy(dst, src, (size_t)count * sizeof *dst);
        return;
    }
    const int64_t C = d->dim[1], H = d->dim[2], W = d->dim[3];
    for (int64_t n = 0; n < d->dim[0]; n++, src += C * H * W, dst += C * H * W)
        for (int64_t c = 0; c < C; c++)
            for (int64_t i = 0; i < H * W; i++)
                if (back)
                    dst[c * H * W + i] = src[i * C + c];
                else
                    dst[i * C + c] = src[c * H * W + i];
}

/* A copy of r's node whose values lie in `layout`; constants stay as they are. */
typedef struct placed_node {
    strata_node n, in[STRATA_MAX_OPERANDS];
} placed_node;

static inline void place(placed_node *p, const op_run *r, strata_layout layout)
{
    p->n = r->n;
    if (p->n.desc.rank == 4)
        p->n.desc.layout = layout;
    for (int k = 0; k < r->count; k++) {
        if (r->n.in[k] == NULL)
            continue;
        p->in[k]   = *r->n.in[k];
        p->n.in[k] = &p->in[k];
        if (p->in[k].desc.rank == 4 && !strata_node_is_constant(&p->in[k]))
            p->in[k].desc.layout = layout;
    }
}

/* Whether the kernel may write its result over operand `over` of this node; NOWHERE stands for memory of its own. */
enum { NOWHERE = -1 };

static inline bool may_write_over(const strata_kernel_def *k, const strata_node *n, int over)
{
    return over == NOWHERE ||
           ((k->in_place >> over & 1) && n->in[over] && !strata_node_is_constant(n->in[over]) &&
            strata_bytes(&n->in[over]->desc) == strata_bytes(&n->desc));
}

#endif
