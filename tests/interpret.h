/* Runs a graph by the definitions of its ops, op->eval, a node after the other: slow, and independent of
 * kernels, memory plans and schedulers. For tests that ask whether two graphs compute the same. Also the
 * random numbers that such tests need. */
#ifndef STRATA_TESTS_INTERPRET_H
#define STRATA_TESTS_INTERPRET_H

#include <strata/ops.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t random_bits(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline int random_below(uint64_t *state, int n)
{
    return (int)(random_bits(state) % (uint64_t)n);
}

static inline float random_float(uint64_t *state, double low, double high)
{
    return (float)(low + (high - low) * (double)(random_bits(state) >> 11) * 0x1p-53);
}

static inline uint64_t seed_of_name(uint64_t seed, const char *name)
{
    for (; *name; name++)
        seed = (seed ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return seed;
}

static inline strata_tensor *random_tensor(const strata_tensor_desc *desc, uint64_t seed, double low,
                                           double high)
{
    strata_tensor *t = NULL;
    if (strata_tensor_create(desc, &t, NULL) != STRATA_OK)
        abort();
    float *x = strata_tensor_data(t);
    for (int64_t i = 0, n = strata_count(desc); i < n; i++)
        x[i] = random_float(&seed, low, high);
    return t;
}

/* Gives every param and const without numbers some, from seed and name: weights of a size that keeps values
 * near 1, and variances that are positive. */
static inline void fill_constants(strata_graph *g, uint64_t seed)
{
    for (int i = 0; i < strata_graph_node_count(g); i++) {
        strata_node *n = strata_graph_node(g, i);
        if (!strata_node_is_constant(n) || n->data)
            continue;
        double fan = 1;
        for (int d = 1; d < n->desc.rank; d++)
            fan *= (double)n->desc.dim[d];
        double         limit    = fmin(1, sqrt(3 / fan));
        bool           positive = strstr(n->name, "variance") != NULL;
        strata_tensor *t = random_tensor(&n->desc, seed_of_name(seed, n->name), positive ? 0.3 : -limit,
                                         positive ? 1.5 : limit);
        strata_node_set_data(n, t);
        strata_tensor_unref(t);
    }
}

/* The values of all nodes by id; NULL where a constant without numbers is in the way. Inputs are random, by
 * seed and name. The caller frees with free_values. */
static inline strata_tensor **interpret(const strata_graph *g, uint64_t seed)
{
    const int       count = strata_graph_node_count(g);
    strata_tensor **value = calloc((size_t)count + 1, sizeof *value);
    if (!value)
        abort();
    for (int i = 0; i < count; i++) {
        const strata_node *n = strata_graph_node(g, i);
        if (strata_node_is_source(n)) {
            if (!strata_node_is_constant(n))
                value[i] = random_tensor(&n->desc, seed_of_name(seed, n->name), -1, 1);
            else if (n->data)
                value[i] = strata_tensor_ref(n->data);
            continue;
        }
        strata_view in[STRATA_MAX_OPERANDS] = { 0 };
        bool        known                   = true;
        for (int k = 0; k < strata_operand_count(n); k++)
            if (n->in[k] && value[n->in[k]->id])
                in[k] = (strata_view){ &n->in[k]->desc, strata_tensor_data(value[n->in[k]->id]), NULL, 0 };
            else if (n->in[k])
                known = false;
        if (!known)
            continue;
        if (strata_tensor_create(&n->desc, &value[i], NULL) != STRATA_OK)
            abort();
        strata_view out = { .desc = &n->desc, .data = strata_tensor_data(value[i]) };
        if (n->op->eval(n, in, &out) != STRATA_OK)
            abort();
    }
    return value;
}

static inline void free_values(strata_tensor **value, int count)
{
    for (int i = 0; i < count; i++)
        strata_tensor_unref(value[i]);
    free(value);
}

/* The largest difference between two tensors of equal shape, relative to the largest magnitude (at least 1);
 * infinite when one of them has a NaN. */
static inline double difference(const strata_tensor *a, const strata_tensor *b)
{
    const float *x = strata_tensor_data(a), *y = strata_tensor_data(b);
    double       most = 0, scale = 1;
    for (int64_t i = 0, n = strata_count(strata_tensor_get_desc(a)); i < n; i++) {
        double d = fabs((double)x[i] - (double)y[i]);
        most     = d <= most ? most : isnan(d) ? INFINITY : d;
        scale    = fmax(scale, fabs((double)x[i]));
    }
    return most / scale;
}

#endif
