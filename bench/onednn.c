/* onednn.c: a layer as a primitive of oneDNN 2. See onednn.h. */
#include "onednn.h"

#include "clock.h"

#include <strata/ops.h>

#include <oneapi/dnnl/dnnl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* A value in row-major order and as the layer wants it. */
typedef struct operand {
    dnnl_memory_t    plain, inside;
    dnnl_primitive_t reorder; /* in the direction that the value takes */
} operand;

typedef struct layer {
    dnnl_engine_t    engine;
    dnnl_stream_t    stream;
    dnnl_primitive_t primitive;
    operand          x, weight, bias, residual, y; /* residual: goes to where y will be */
    char             choice[64];
} layer;

struct onednn {
    layer  layer[2];
    int    layers;
    float *between; /* two layers */
};

static bool ok(dnnl_status_t status)
{
    return status == dnnl_success;
}

/* ---- The layer that a node is ------------------------------------------------------------------------ */

/* A dense layer is a convolution of one tap, without any stride. */
typedef struct geometry {
    dnnl_dims_t x, weight, bias, y;
    int         weight_rank; /* 5: in groups */
    dnnl_dims_t stride, dilation, before, after;
    strata_act  act;
} geometry;

static geometry geometry_of(const strata_node *n)
{
    const strata_tensor_desc *x = &n->in[0]->desc, *w = &n->in[1]->desc, *y = &n->desc;
    geometry g = { .x = { x->dim[0], x->dim[1], 1, 1 }, .y = { y->dim[0], y->dim[1], 1, 1 }, .bias = { y->dim[1] },
                   .weight = { w->dim[0], w->dim[1], 1, 1 }, .weight_rank = 4, .stride = { 1, 1 } };
    for (int i = 2; i < x->rank; i++) {
        g.x[i] = x->dim[i];
        g.y[i] = y->dim[i];
    }
    if (n->op == &strata_op_dense) {
        g.act = (strata_act)((const strata_dense_attrs *)n->attrs)->act;
        return g;
    }
    const strata_conv2d_attrs *a = n->attrs;
    g.act = (strata_act)a->act;
    for (int i = 0; i < 2; i++) {
        g.weight[2 + i] = w->dim[2 + i];
        g.stride[i]     = a->stride[i];
        g.dilation[i]   = a->dilation[i] - 1; /* oneDNN counts the gaps */
        g.before[i]     = a->pad[i];
        g.after[i]      = a->pad[2 + i];
    }
    if (a->groups > 1) {
        memmove(g.weight + 1, g.weight, 4 * sizeof *g.weight);
        g.weight[0] = a->groups;
        g.weight[1] /= a->groups;
        g.weight_rank = 5;
    }
    return g;
}

static bool append_act(dnnl_post_ops_t ops, strata_act act)
{
    switch (act) {
    case STRATA_ACT_NONE: return true;
    case STRATA_ACT_RELU: return ok(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0));
    case STRATA_ACT_RELU6: return ok(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_bounded_relu, 6, 0));
    case STRATA_ACT_HSWISH: return ok(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_hardswish, 0, 0));
    case STRATA_ACT_SIGMOID: return ok(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_logistic, 0, 0));
    case STRATA_ACT_SILU: return ok(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1, 0));
    case STRATA_ACT_GELU: return ok(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_tanh, 0, 0));
    case STRATA_ACT_HSIGMOID:
    case STRATA_ACT_COUNT: break;
    }
    return false;
}

static bool append_post_ops(dnnl_primitive_attr_t attr, bool residual, strata_act act)
{
    dnnl_post_ops_t ops;
    if (!ok(dnnl_post_ops_create(&ops)))
        return false;
    bool done = (!residual || ok(dnnl_post_ops_append_sum(ops, 1))) && append_act(ops, act) &&
                ok(dnnl_primitive_attr_set_post_ops(attr, ops));
    dnnl_post_ops_destroy(ops);
    return done;
}

static bool describe(const layer *l, const strata_node *n, const geometry *g, dnnl_primitive_desc_t *out)
{
    dnnl_memory_desc_t x, weight, bias, y;
    if (!ok(dnnl_memory_desc_init_by_tag(&x, 4, g->x, dnnl_f32, dnnl_format_tag_any)) ||
        !ok(dnnl_memory_desc_init_by_tag(&weight, g->weight_rank, g->weight, dnnl_f32, dnnl_format_tag_any)) ||
        !ok(dnnl_memory_desc_init_by_tag(&bias, 1, g->bias, dnnl_f32, dnnl_format_tag_any)) ||
        !ok(dnnl_memory_desc_init_by_tag(&y, 4, g->y, dnnl_f32, dnnl_format_tag_any)))
        return false;
    dnnl_convolution_desc_t desc;
    if (!ok(dnnl_dilated_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_auto, &x, &weight,
                                                       n->in[2] != NULL ? &bias : NULL, &y, g->stride, g->dilation,
                                                       g->before, g->after)))
        return false;
    dnnl_primitive_attr_t attr;
    if (!ok(dnnl_primitive_attr_create(&attr)))
        return false;
    bool done = append_post_ops(attr, n->in[3] != NULL, g->act) &&
                ok(dnnl_primitive_desc_create(out, &desc, attr, l->engine, NULL));
    dnnl_primitive_attr_destroy(attr);
    return done;
}

/* ---- Operands ---------------------------------------------------------------------------------------- */

/* A reorder from `from` to `to`, both there. */
static bool make_reorder(layer *l, operand *v, dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_memory_desc_t *a, *b;
    dnnl_primitive_desc_t     desc;
    if (!ok(dnnl_memory_get_memory_desc(from, &a)) || !ok(dnnl_memory_get_memory_desc(to, &b)) ||
        !ok(dnnl_reorder_primitive_desc_create(&desc, a, l->engine, b, l->engine, NULL)))
        return false;
    bool done = ok(dnnl_primitive_create(&v->reorder, desc));
    dnnl_primitive_desc_destroy(desc);
    return done;
}

static bool make_plain(layer *l, operand *v, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t plain;
    return ok(dnnl_memory_desc_init_by_tag(&plain, rank, dims, dnnl_f32, tag)) &&
           ok(dnnl_memory_create(&v->plain, &plain, l->engine, DNNL_MEMORY_NONE));
}

static bool make_inside(layer *l, operand *v, const_dnnl_primitive_desc_t desc, dnnl_query_t which)
{
    return ok(dnnl_memory_create(&v->inside, dnnl_primitive_desc_query_md(desc, which, 0), l->engine,
                                 DNNL_MEMORY_ALLOCATE));
}

static bool reorder(layer *l, const operand *v, dnnl_memory_t from, dnnl_memory_t to)
{
    dnnl_exec_arg_t args[] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, to } };
    return ok(dnnl_primitive_execute(v->reorder, l->stream, 2, args)) && ok(dnnl_stream_wait(l->stream));
}

static bool read_plain(layer *l, const operand *v, dnnl_memory_t to, const float *data)
{
    return ok(dnnl_memory_set_data_handle(v->plain, (void *)(uintptr_t)data)) && reorder(l, v, v->plain, to);
}

/* A parameter, from its data or from noise. */
static bool read_param(layer *l, const operand *v, const strata_node *n)
{
    if (n->data != NULL)
        return read_plain(l, v, v->inside, strata_tensor_data(n->data));
    size_t count = (size_t)strata_count(&n->desc);
    float *noise = malloc(count * sizeof *noise);
    if (noise == NULL)
        return false;
    strata_random_input(1, noise, count);
    bool done = read_plain(l, v, v->inside, noise);
    free(noise);
    return done;
}

static bool make_operands(layer *l, const strata_node *n, const geometry *g, const_dnnl_primitive_desc_t desc)
{
    dnnl_format_tag_t tag = g->weight_rank == 5 ? dnnl_goihw : dnnl_oihw;
    if (!make_plain(l, &l->x, 4, g->x, dnnl_nchw) || !make_inside(l, &l->x, desc, dnnl_query_src_md) ||
        !make_reorder(l, &l->x, l->x.plain, l->x.inside) || !make_plain(l, &l->y, 4, g->y, dnnl_nchw) ||
        !make_inside(l, &l->y, desc, dnnl_query_dst_md) || !make_reorder(l, &l->y, l->y.inside, l->y.plain) ||
        !make_plain(l, &l->weight, g->weight_rank, g->weight, tag) ||
        !make_inside(l, &l->weight, desc, dnnl_query_weights_md) ||
        !make_reorder(l, &l->weight, l->weight.plain, l->weight.inside) || !read_param(l, &l->weight, n->in[1]))
        return false;
    if (n->in[2] != NULL && (!make_plain(l, &l->bias, 1, g->bias, dnnl_x) ||
                             !ok(dnnl_memory_create(&l->bias.inside,
                                                    dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 1),
                                                    l->engine, DNNL_MEMORY_ALLOCATE)) ||
                             !make_reorder(l, &l->bias, l->bias.plain, l->bias.inside) ||
                             !read_param(l, &l->bias, n->in[2])))
        return false;
    return n->in[3] == NULL || (make_plain(l, &l->residual, 4, g->y, dnnl_nchw) &&
                                make_reorder(l, &l->residual, l->residual.plain, l->y.inside));
}

/* ---- Layers ------------------------------------------------------------------------------------------ */

static bool make_layer(layer *l, const strata_node *n)
{
    geometry              g = geometry_of(n);
    dnnl_primitive_desc_t desc;
    if (!ok(dnnl_engine_create(&l->engine, dnnl_cpu, 0)) ||
        !ok(dnnl_stream_create(&l->stream, l->engine, dnnl_stream_default_flags)) || !describe(l, n, &g, &desc))
        return false;
    const char *choice = NULL;
    bool done = ok(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &choice)) &&
                ok(dnnl_primitive_create(&l->primitive, desc)) && make_operands(l, n, &g, desc);
    if (choice != NULL)
        snprintf(l->choice, sizeof l->choice, "%s", choice);
    dnnl_primitive_desc_destroy(desc);
    return done;
}

static void unmake_layer(layer *l)
{
    operand *all[] = { &l->x, &l->weight, &l->bias, &l->residual, &l->y };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        dnnl_primitive_destroy(all[i]->reorder);
        dnnl_memory_destroy(all[i]->plain);
        dnnl_memory_destroy(all[i]->inside);
    }
    dnnl_primitive_destroy(l->primitive);
    dnnl_stream_destroy(l->stream);
    dnnl_engine_destroy(l->engine);
}

static double run_layer(layer *l, const float *x, const float *residual, float *y)
{
    dnnl_exec_arg_t args[] = { { DNNL_ARG_SRC, l->x.inside },
                               { DNNL_ARG_WEIGHTS, l->weight.inside },
                               { DNNL_ARG_DST, l->y.inside },
                               { DNNL_ARG_BIAS, l->bias.inside } };
    if (!read_plain(l, &l->x, l->x.inside, x) ||
        (l->residual.plain != NULL && !read_plain(l, &l->residual, l->y.inside, residual)))
        return -1;
    const double start = seconds();
    if (!ok(dnnl_primitive_execute(l->primitive, l->stream, l->bias.inside != NULL ? 4 : 3, args)) ||
        !ok(dnnl_stream_wait(l->stream)))
        return -1;
    const double time = seconds() - start;
    if (!ok(dnnl_memory_set_data_handle(l->y.plain, y)) || !reorder(l, &l->y, l->y.inside, l->y.plain))
        return -1;
    return time;
}

onednn *onednn_create(const strata_node *first, const strata_node *n, int threads)
{
    onednn *o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    omp_set_num_threads(threads);
    bool made = true;
    if (first != n) {
        o->between = malloc(strata_bytes(&first->desc));
        made       = o->between != NULL && make_layer(&o->layer[o->layers++], first);
    }
    if (made && make_layer(&o->layer[o->layers++], n))
        return o;
    onednn_destroy(o);
    return NULL;
}

void onednn_destroy(onednn *o)
{
    if (o == NULL)
        return;
    for (int i = 0; i < o->layers; i++)
        unmake_layer(&o->layer[i]);
    free(o->between);
    free(o);
}

double onednn_run(onednn *o, const float *x, const float *residual, float *y)
{
    if (o->layers == 1)
        return run_layer(&o->layer[0], x, residual, y);
    double first = run_layer(&o->layer[0], x, NULL, o->between);
    double last  = run_layer(&o->layer[1], o->between, residual, y);
    return first < 0 || last < 0 ? -1 : first + last;
}

const char *onednn_choice(const onednn *o)
{
    return o->layer[o->layers - 1].choice;
}
