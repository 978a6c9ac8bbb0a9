/* random_weights.c: weights and inputs made from names, reproducible bit for bit anywhere.
 *
 * Element i of the tensor `name` comes from a counter-based generator: splitmix64 (Steele, Lea, Flood: Fast
 * Splittable Pseudorandom Number Generators, OOPSLA 2014) started at the FNV-1a hash of the name:
 *
 *     s   = fnv1a64(name) ^ splitmix64(seed)         z_i = mix(s + (i + 1) * G)
 *     u_i = (z_i >> 40) * 2^-24                      exact, in [0, 1)
 *
 * and the last component of the name says which range the element gets (docs/random-weights.md). All
 * arithmetic is binary32, each operation rounded once in the order written; the project is compiled without
 * contraction to fused multiply-adds, which would round differently. `gain` scales the weights of
 * convolutions and dense layers so that signals neither die nor explode on their way through the layers. */
#include <strata/ops.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

static inline uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t fnv1a64(const char *name)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (; *name != '\0'; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001B3);
    return h;
}

static uint64_t stream_of(const char *name, uint64_t seed)
{
    return fnv1a64(name) ^ mix(seed + GOLDEN);
}

/* The upper 24 bits of element i: u is this times 2^-24. */
static inline int32_t draw(uint64_t s, size_t i)
{
    return (int32_t)(mix(s + (i + 1) * GOLDEN) >> 40);
}

/* (2u - 1) * a: uniform in -a..a. With k the drawn integer, 2u - 1 = (2k - 2^24) * 2^-24 exactly, and moving
 * the power of two to a changes no bit of the product: one conversion and one multiplication do. */
static void fill_symmetric(uint64_t s, float a, float *dst, size_t n)
{
    const float step = a * 0x1p-24f;
    for (size_t i = 0; i < n; i++)
        dst[i] = (float)(2 * draw(s, i) - (1 << 24)) * step;
}

/* low + width * u; width is 0.5 or 1, so that only the addition rounds. */
static void fill_between(uint64_t s, float low, float width, float *dst, size_t n)
{
    const float step = width * 0x1p-24f;
    for (size_t i = 0; i < n; i++)
        dst[i] = low + (float)draw(s, i) * step;
}

static void fill_parameter(const char *name, const strata_tensor_desc *desc, uint64_t seed, double gain,
                           float *dst)
{
    const char *dot = strrchr(name, '.');
    const char *leaf = dot != NULL ? dot + 1 : name;
    uint64_t s = stream_of(name, seed);
    size_t n = (size_t)strata_count(desc);

    if (strcmp(leaf, "weight") == 0 && desc->rank >= 2) {
        int64_t fan_in = 1;
        for (int i = 1; i < desc->rank; i++)
            fan_in *= desc->dim[i];
        float t = (float)(3.0 * gain) / (float)fan_in;
        fill_symmetric(s, sqrtf(t), dst, n);
    } else if (strcmp(leaf, "bias") == 0) {
        fill_symmetric(s, 0.1f, dst, n);
    } else if (strcmp(leaf, "gamma") == 0) {
        fill_between(s, 0.5f, 0.5f, dst, n);
    } else if (strcmp(leaf, "moving_variance") == 0) {
        fill_between(s, 0.5f, 1.0f, dst, n);
    } else { /* beta, moving_mean, layer scales and anything unknown */
        fill_symmetric(s, 0.2f, dst, n);
    }
}

strata_status strata_graph_bind_random(strata_graph *g, uint64_t seed, double gain, strata_error *err)
{
    if (!isfinite(gain) || gain <= 0)
        return strata_fail(err, STRATA_INVALID, "random weights: the gain must be a positive number, not %g",
                           gain);

    int count = strata_graph_node_count(g);
    bool *live = calloc((size_t)count + 1, sizeof *live);
    if (live == NULL)
        return strata_fail(err, STRATA_NOMEM, "random weights: out of memory");
    strata_graph_mark_live(g, live);

    strata_status status = STRATA_OK;
    for (int i = 0; i < count && status == STRATA_OK; i++) {
        strata_node *n = strata_graph_node(g, i);
        if (!live[i] || n->op != &strata_op_param)
            continue;
        strata_tensor *t;
        status = strata_tensor_create(&n->desc, &t, err);
        if (status == STRATA_OK) {
            fill_parameter(n->name, &n->desc, seed, gain, strata_tensor_data(t));
            strata_node_set_data(n, t);
            strata_tensor_unref(t);
        }
    }
    free(live);
    return status;
}

void strata_random_input(uint64_t seed, float *dst, size_t n)
{
    fill_symmetric(stream_of("input", seed), 2.0f, dst, n);
}
