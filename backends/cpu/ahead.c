/* ahead.c: which step asks for which weights of later ones. See ahead.h.
 *
 * A step brings so many bytes per product as memory gives meanwhile, less its own weights. Those of a later step are
 * shared out backwards from it, so that they come late and are still in a cache.
 */
#include "ahead.h"

enum {
    PRODUCTS_PER_BYTE = 24, /* a core does some 45 a nanosecond: two bytes, of the eight or more that memory gives. With three
                               times as many the tiles lose what the later step gains */
    USES_FEW = 8,           /* of a weight: a step with more does not wait for memory */
    BYTES_LEAST = 16 << 10, /* smaller weights take no time worth saving */
    BYTES_MOST = 1 << 20,   /* of one step: what is far ahead of its use has left the caches again */
    LINE = 64,
};

/* Kernels that call cpu_tiles_bring. */
static const strata_kernel_def *const bringing[] = { &cpu_kernel_conv2d_direct, &cpu_kernel_conv2d_expand_depthwise };

static uint64_t products(const strata_node *n)
{
    return n->op->macs != NULL ? n->op->macs(n) : 0;
}

/* The bytes that a step could still bring. */
static size_t room(const strata_step *s)
{
    bool brings = false;
    for (size_t i = 0; i < sizeof bringing / sizeof *bringing; i++)
        brings |= s->kernel == bringing[i];
    if (!brings)
        return 0;
    uint64_t all = products(s->node) + (s->kernel->absorbs ? products(s->node->in[0]) : 0);
    return all / PRODUCTS_PER_BYTE > s->state_bytes ? (size_t)(all / PRODUCTS_PER_BYTE) - s->state_bytes : 0;
}

/* The largest constant that the step reads where it lies, if it uses each element a few times only. */
static cpu_ahead read_once(const strata_step *s, const strata_frame *f)
{
    cpu_ahead most = { 0 };
    for (int k = 0; k < STRATA_MAX_OPERANDS && !s->kernel->absorbs; k++)
        if (s->node->in[k] != NULL && strata_node_is_constant(s->node->in[k]) && !(s->consumed >> k & 1)) {
            size_t bytes = strata_bytes(&s->node->in[k]->desc);
            if (bytes > most.bytes && f->in[k].data != NULL)
                most = (cpu_ahead){ (const char *)f->in[k].data, bytes };
        }
    if (most.bytes < BYTES_LEAST || products(s->node) > most.bytes / sizeof(float) * USES_FEW)
        return (cpu_ahead){ 0 };
    most.bytes = most.bytes < BYTES_MOST ? most.bytes : BYTES_MOST;
    return most;
}

void cpu_plan_ahead(const strata_step *steps, strata_frame *frames, int count, cpu_ahead *ahead)
{
    for (int i = 0; i < count; i++) {
        ahead[i] = (cpu_ahead){ 0 };
        frames[i].stream = &ahead[i];
        cpu_ahead wanted = read_once(&steps[i], &frames[i]);
        for (int k = i - 1; k >= 0 && wanted.bytes > 0; k--) { /* its end first: that is read last */
            size_t bytes = ahead[k].bytes == 0 ? room(&steps[k]) / LINE * LINE : 0;
            bytes = bytes < wanted.bytes ? bytes : wanted.bytes;
            if (bytes == 0)
                continue;
            wanted.bytes -= bytes;
            ahead[k] = (cpu_ahead){ wanted.data + wanted.bytes, bytes };
        }
    }
}

void cpu_tiles_bring(cpu_tiles *t, const strata_frame *f, int64_t item, int64_t items, int64_t tiles)
{
    const cpu_ahead *a = f->stream;
    t->bring_lines = 0;
    if (a == NULL || a->bytes == 0)
        return;
    int64_t lines = cpu_ceil_div(cpu_ceil_div((int64_t)a->bytes, LINE), items);
    t->bring = a->data + item * lines * LINE;
    t->bring_lines = (int)cpu_ceil_div(lines, tiles);
}
