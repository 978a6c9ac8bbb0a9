/* k_elementwise.c: element i of the result from element i of the operands: activations, scalar forms, neg,
 * rsqrt, sums and products with broadcasting, partial_add.
 */
#include "loops.h"

#include <string.h>

enum { FLAT_ITEM = 16384, GATHER = 256 };

/* ---- One operand -------------------------------------------------------------------------------- */

typedef struct flat_job {
    const cpu_simd *simd;
    float          *dst;
    const float    *x;
    int64_t         count;
    strata_act      act;   /* what act_item does */
    cpu_unary_op    op;    /* what unary_item does */
    float           value;
} flat_job;

static int64_t flat_range(const flat_job *job, int item, int64_t *n)
{
    int64_t first = (int64_t)item * FLAT_ITEM;
    *n = cpu_min(FLAT_ITEM, job->count - first);
    return first;
}

static strata_status run_flat(const strata_step *s, const strata_frame *f, flat_job job, cpu_pool_fn fn)
{
    job.simd = s->device->simd;
    job.dst = f->out.data;
    job.x = f->in[0].data;
    job.count = strata_count(f->out.desc);
    cpu_parallel(s, cpu_ceil_div(job.count, FLAT_ITEM), fn, &job);
    return STRATA_OK;
}

/* Constants keep row-major order, so an operand that is one may lie otherwise than the result. */
static bool not_constant(const strata_node *n)
{
    return !strata_node_is_constant(n->in[0]);
}

static void act_item(void *arg, int item, int slot)
{
    (void)slot;
    const flat_job *job = arg;
    int64_t n, first = flat_range(job, item, &n);
    job->simd->activate(job->dst + first, job->x + first, n, job->act);
}

static strata_status act_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return run_flat(s, f, (flat_job){ .act = strata_op_act(s->node->op) }, act_item);
}

#define XX(enumname, act)                                                                          \
    const strata_kernel_def cpu_kernel_##act = { .name = #act ".flat", .op = &strata_op_##act,     \
                                                 .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0,      \
                                                 .accepts = not_constant, .emit = act_emit };
STRATA_ACT_MAP(XX)
#undef XX

static void unary_item(void *arg, int item, int slot)
{
    (void)slot;
    const flat_job *job = arg;
    int64_t n, first = flat_range(job, item, &n);
    job->simd->unary(job->dst + first, job->x + first, n, job->op, job->value);
}

static strata_status neg_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return run_flat(s, f, (flat_job){ .op = CPU_NEG }, unary_item);
}

static strata_status rsqrt_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return run_flat(s, f, (flat_job){ .op = CPU_RSQRT }, unary_item);
}

static strata_status sqrt_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return run_flat(s, f, (flat_job){ .op = CPU_SQRT }, unary_item);
}

static strata_status gelu_erf_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return run_flat(s, f, (flat_job){ .op = CPU_GELU_ERF }, unary_item);
}

static strata_status add_scalar_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    const strata_scalar_attrs *a = s->node->attrs;
    return run_flat(s, f, (flat_job){ .op = CPU_ADD_SCALAR, .value = (float)a->value }, unary_item);
}

static strata_status mul_scalar_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    const strata_scalar_attrs *a = s->node->attrs;
    return run_flat(s, f, (flat_job){ .op = CPU_MUL_SCALAR, .value = (float)a->value }, unary_item);
}

const strata_kernel_def cpu_kernel_neg = {
    .name = "neg.flat", .op = &strata_op_neg, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0,
    .accepts = not_constant, .emit = neg_emit };

const strata_kernel_def cpu_kernel_rsqrt = {
    .name = "rsqrt.flat", .op = &strata_op_rsqrt, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0,
    .accepts = not_constant, .emit = rsqrt_emit };

const strata_kernel_def cpu_kernel_sqrt = {
    .name = "sqrt.flat", .op = &strata_op_sqrt, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0, .accepts = not_constant,
    .emit = sqrt_emit };

const strata_kernel_def cpu_kernel_gelu_erf = {
    .name = "gelu_erf.flat", .op = &strata_op_gelu_erf, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0,
    .accepts = not_constant, .emit = gelu_erf_emit };

const strata_kernel_def cpu_kernel_add_scalar = {
    .name = "add_scalar.flat", .op = &strata_op_add_scalar, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0,
    .accepts = not_constant, .emit = add_scalar_emit };

const strata_kernel_def cpu_kernel_mul_scalar = {
    .name = "mul_scalar.flat", .op = &strata_op_mul_scalar, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0,
    .accepts = not_constant, .emit = mul_scalar_emit };

/* ---- Two operands ------------------------------------------------------------------------------- */

typedef struct binary_job {
    const cpu_simd *simd;
    cpu_loops       loops;
    float          *dst;
    const float    *x, *y;
    cpu_binary_op   op;
    strata_act      act;
} binary_job;

/* n floats `step` apart, side by side in `row`, for operands whose channels are not neighbours. */
static cpu_rows gathered(const float *p, int64_t step, int64_t n, float row[GATHER])
{
    if (step == 0 || step == 1)
        return (cpu_rows){ p, 0, (int)step };
    for (int64_t i = 0; i < n; i++)
        row[i] = p[i * step];
    return (cpu_rows){ row, 0, 1 };
}

static void binary_item(void *arg, int item, int slot)
{
    (void)slot;
    const binary_job *job = arg;
    const cpu_loops *l = &job->loops;
    int last = l->rank - 1;
    cpu_piece p = cpu_loops_piece(l, item);
    float *dst = job->dst + p.offset[0];
    const float *x = job->x + p.offset[1], *y = job->y + p.offset[2];
    int64_t x_step = l->step[1][last], y_step = l->step[2][last];
    if (x_step <= 1 && y_step <= 1) {
        cpu_rows xs = { x, l->step[1][l->row], (int)x_step }, ys = { y, l->step[2][l->row], (int)y_step };
        job->simd->binary(dst, l->step[0][l->row], xs, ys, p.rows, p.n, job->op, job->act);
        return;
    }
    float x_row[GATHER], y_row[GATHER];
    for (int64_t r = 0; r < p.rows; r++)
        for (int64_t i = 0; i < p.n; i += GATHER) {
            int64_t n = cpu_min(GATHER, p.n - i);
            cpu_rows xs = gathered(x + r * l->step[1][l->row] + i * x_step, x_step, n, x_row);
            cpu_rows ys = gathered(y + r * l->step[2][l->row] + i * y_step, y_step, n, y_row);
            job->simd->binary(dst + r * l->step[0][l->row] + i, 0, xs, ys, 1, n, job->op, job->act);
        }
}

static strata_status run_binary(const strata_step *s, const strata_frame *f, cpu_binary_op op)
{
    const strata_binary_attrs *a = s->node->attrs;
    const strata_tensor_desc *d = f->out.desc;
    int64_t step[3][STRATA_MAX_RANK];
    cpu_steps(d, step[0]);
    cpu_broadcast_steps(f->in[0].desc, d, step[1]);
    cpu_broadcast_steps(f->in[1].desc, d, step[2]);
    binary_job job = { .simd = s->device->simd, .dst = f->out.data, .x = f->in[0].data, .y = f->in[1].data,
                       .op = op, .act = (strata_act)a->act };
    cpu_loops_init(&job.loops, d->rank, d->dim, 3, (const int64_t(*)[STRATA_MAX_RANK])step);
    cpu_parallel(s, job.loops.items, binary_item, &job);
    return STRATA_OK;
}

static strata_status add_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return run_binary(s, f, CPU_ADD);
}

static strata_status sub_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return run_binary(s, f, CPU_SUB);
}

static strata_status mul_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return run_binary(s, f, CPU_MUL);
}

static strata_status div_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    return run_binary(s, f, CPU_DIV);
}

const strata_kernel_def cpu_kernel_add = {
    .name = "add.rows", .op = &strata_op_add, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0 | 1u << 1,
    .emit = add_emit };

const strata_kernel_def cpu_kernel_sub = {
    .name = "sub.rows", .op = &strata_op_sub, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0 | 1u << 1,
    .emit = sub_emit };

const strata_kernel_def cpu_kernel_mul = {
    .name = "mul.rows", .op = &strata_op_mul, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0 | 1u << 1,
    .emit = mul_emit };

const strata_kernel_def cpu_kernel_div = {
    .name = "div.rows", .op = &strata_op_div, .layouts = CPU_ANY_LAYOUT, .in_place = 1u << 0 | 1u << 1,
    .emit = div_emit };

/* ---- partial_add ---------------------------------------------------------------------------------- */

typedef struct partial_job {
    const cpu_simd *simd;
    float          *dst;
    const float    *x, *y;
    int64_t         rows, channels, added, rows_per_item;
} partial_job;

static void partial_item(void *arg, int item, int slot)
{
    (void)slot;
    const partial_job *job = arg;
    int64_t first = item * job->rows_per_item, rows = cpu_min(job->rows_per_item, job->rows - first);
    float *dst = job->dst + first * job->channels;
    const float *x = job->x + first * job->channels;
    cpu_rows xs = { x, job->channels, 1 }, ys = { job->y + first * job->added, job->added, 1 };
    job->simd->binary(dst, job->channels, xs, ys, rows, job->added, CPU_ADD, STRATA_ACT_NONE);
    size_t rest = (size_t)(job->channels - job->added) * sizeof *dst;
    if (dst != x && rest != 0)
        for (int64_t r = 0; r < rows; r++)
            memcpy(dst + r * job->channels + job->added, x + r * job->channels + job->added, rest);
}

static bool partial_accepts(const strata_node *n)
{
    bool maps = n->desc.rank == 4;
    return (maps || n->desc.rank == 2) &&
           !(maps && (strata_node_is_constant(n->in[0]) || strata_node_is_constant(n->in[1])));
}

static strata_status partial_emit(const strata_step *s, const strata_frame *f, strata_error *err)
{
    (void)err;
    cpu_map m = cpu_map_of(f->out.desc);
    partial_job job = { .simd = s->device->simd, .dst = f->out.data, .x = f->in[0].data, .y = f->in[1].data,
                        .rows = m.images * m.pixels, .channels = m.channels, .added = f->in[1].desc->dim[1] };
    job.rows_per_item = cpu_units_per_item(job.rows, m.channels, FLAT_ITEM);
    cpu_parallel(s, cpu_ceil_div(job.rows, job.rows_per_item), partial_item, &job);
    return STRATA_OK;
}

const strata_kernel_def cpu_kernel_partial_add = {
    .name = "partial_add.rows", .op = &strata_op_partial_add, .layouts = CPU_NHWC, .in_place = 1u << 0,
    .accepts = partial_accepts, .emit = partial_emit };
