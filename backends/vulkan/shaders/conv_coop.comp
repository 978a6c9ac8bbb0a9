#version 450
#extension GL_GOOGLE_include_directive : require
// conv_coop.comp: the implicit matrix product of float16 with sums in float, on matrix units, see gemm.c. A matrix
// of 16 x 16 belongs to a subgroup; one of NV and KHR says by which extension.
#include "common.glsl"
#include "conv.glsl"
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#ifdef NV
#extension GL_NV_cooperative_matrix : require
#define MATRIX_X   fcoopmatNV<16, gl_ScopeSubgroup, 16, 16>
#define MATRIX_W   fcoopmatNV<16, gl_ScopeSubgroup, 16, 16>
#define MATRIX_SUM fcoopmatNV<32, gl_ScopeSubgroup, 16, 16>
#define MATRIX_LOAD(m, from, at, pitch) coopMatLoadNV(m, from, at, pitch, false)
#define MATRIX_STORE(m, to, at, pitch)  coopMatStoreNV(m, to, at, pitch, false)
#define MATRIX_PRODUCT(a, b, c)         coopMatMulAddNV(a, b, c)
#else
#extension GL_KHR_cooperative_matrix : require
#define MATRIX_X   coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA>
#define MATRIX_W   coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB>
#define MATRIX_SUM coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define MATRIX_LOAD(m, from, at, pitch) coopMatLoad(m, from, at, pitch, gl_CooperativeMatrixLayoutRowMajor)
#define MATRIX_STORE(m, to, at, pitch)  coopMatStore(m, to, at, pitch, gl_CooperativeMatrixLayoutRowMajor)
#define MATRIX_PRODUCT(a, b, c)         coopMatMulAdd(a, b, c)
#endif

#define VECTOR 8 // halves in 16 bytes
#include "conv_tile.glsl"

layout(binding = 0) readonly buffer X { float16_t x[]; };
layout(binding = 0) readonly buffer X8 { uvec4 x8[]; };
layout(binding = 1) readonly buffer Weight { uvec4 weight[]; };
layout(binding = 2) readonly buffer Bias { float bias[]; };
layout(binding = 3) readonly buffer Residual { float16_t residual[]; };
layout(binding = 3) readonly buffer Residual8 { uvec4 residual8[]; };
layout(binding = 4) readonly buffer Scale8 { uvec4 scale8[]; };
layout(binding = 5) writeonly buffer Y { float16_t y[]; };
layout(binding = 5) writeonly buffer Y8 { uvec4 y8[]; };

// In vectors; the odd pitch keeps the rows of a matrix out of each other's banks.
const uint X_PITCH = DEPTH / 8 + 1, W_PITCH = CHANNELS / 8 + 1;
const uint SUBGROUPS = PIXELS / OWN_PIXELS * (CHANNELS / OWN_CHANNELS);
shared uvec4 xs[PIXELS * X_PITCH];
shared uvec4 ws[DEPTH * W_PITCH];
shared float result[SUBGROUPS * 256]; // a matrix of each subgroup on its way out

const uint HIGH = OWN_PIXELS / 16, ACROSS = OWN_CHANNELS / 16, MATRICES = HIGH * ACROSS; // of a subgroup

uvec4 next_x[ROWS], next_w[W_ROWS];

uvec4 gather(uint i)
{
    float e[8];
    [[unroll]] for (uint j = 0; j < 8; j++) {
        uint at;
        e[j] = 0.0;
        if (find_element(i, j, at))
            e[j] = scaled(float(x[at]), scale_at[i] + own_k + j);
    }
    return uvec4(packHalf2x16(vec2(e[0], e[1])), packHalf2x16(vec2(e[2], e[3])), packHalf2x16(vec2(e[4], e[5])),
                 packHalf2x16(vec2(e[6], e[7])));
}

uint scaled2(uint x, uint by)
{
    vec4 v = vec4(unpackHalf2x16(x) * unpackHalf2x16(by), 0.0, 0.0);
    return packHalf2x16(activate(SCALE - 1, v).xy);
}

uvec4 scaled8(uvec4 x, uvec4 by)
{
    return uvec4(scaled2(x.x, by.x), scaled2(x.y, by.y), scaled2(x.z, by.z), scaled2(x.w, by.w));
}

void load(uint k0)
{
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        uint at;
        next_x[i] = uvec4(0);
        if (!ALIGNED)
            next_x[i] = gather(i);
        else if (find_vector(i, at))
            next_x[i] = SCALE == 0 ? x8[at / 8] : scaled8(x8[at / 8], scale8[(scale_at[i] + own_k) / 8]);
    }
    [[unroll]] for (uint i = 0; i < W_ROWS; i++) {
        uint at;
        next_w[i] = uvec4(0);
        if (find_weight(i, k0, at))
            next_w[i] = weight[at];
    }
}

void store_shared()
{
    const uint t = gl_LocalInvocationID.x, across = CHANNELS / 8;
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        xs[(t / VECTORS + i * ROW_STEP) * X_PITCH + t % VECTORS] = next_x[i];
    [[unroll]] for (uint i = 0; i < W_ROWS; i++)
        ws[(t / across + i * W_STEP) * W_PITCH + t % across] = next_w[i];
}

// Eight channels of a pixel.
void finish(uint pixel, uint channel, vec4 low, vec4 high)
{
    if (pixel >= p.pixels || channel >= p.og)
        return;
    const uint left = min(p.og - channel, 8);
    channel += group * p.og;
    const uint at = pixel * p.o + channel;
    if (WIDE) {
        if (HAS_BIAS) {
            low += vec4(bias[channel], bias[channel + 1], bias[channel + 2], bias[channel + 3]);
            high += vec4(bias[channel + 4], bias[channel + 5], bias[channel + 6], bias[channel + 7]);
        }
        if (HAS_RESIDUAL) {
            uvec4 r = residual8[at / 8];
            low += vec4(unpackHalf2x16(r.x), unpackHalf2x16(r.y));
            high += vec4(unpackHalf2x16(r.z), unpackHalf2x16(r.w));
        }
        low  = activate(ACT, low);
        high = activate(ACT, high);
        y8[at / 8] = uvec4(packHalf2x16(low.xy), packHalf2x16(low.zw), packHalf2x16(high.xy), packHalf2x16(high.zw));
        return;
    }
    for (uint j = 0; j < left; j++) {
        float e = j < 4 ? low[j] : high[j - 4];
        if (HAS_BIAS)
            e += bias[channel + j];
        if (HAS_RESIDUAL)
            e += float(residual[at + j]);
        y[at + j] = float16_t(activate(ACT, e));
    }
}

// Eight floats from a matrix of this subgroup, the e-th of 32 times: where they belong, and their partial sums.
void finish_at(uint m, uint e, vec4 low, vec4 high)
{
    const uint across = CHANNELS / OWN_CHANNELS, mine = gl_SubgroupID;
    finish(first_pixel + mine / across * OWN_PIXELS + m / ACROSS * 16 + e / 2,
           first_channel + mine % across * OWN_CHANNELS + m % ACROSS * 16 + e % 2 * 8, low, high);
}

uint own_quad(uint m, uint e)
{
    return ((gl_SubgroupID * MATRICES + m) * 32 + e) * 2;
}

// Loads of several splits are under way at once.
void add_splits(uint m, uint e)
{
    const uint splits = split_count(), at_once = 8;
    vec4       low = vec4(0.0), high = vec4(0.0);
    for (uint s = 0; s < splits; s += at_once) {
        vec4 v[2 * at_once];
        [[unroll]] for (uint j = 0; j < 2 * at_once; j++)
            v[j] = s + j / 2 < splits ? partial[quad_at(s + j / 2, own_quad(m, e) + j % 2)] : vec4(0.0);
        [[unroll]] for (uint j = 0; j < at_once; j++) {
            low += v[2 * j];
            high += v[2 * j + 1];
        }
    }
    finish_at(m, e, low, high);
}

void main()
{
    const uint across = CHANNELS / OWN_CHANNELS, mine = gl_SubgroupID;
    const uint own_pixel = mine / across * OWN_PIXELS, own_channel = mine % across * OWN_CHANNELS;
    MATRIX_SUM acc[MATRICES];
    [[unroll]] for (uint i = 0; i < MATRICES; i++)
        acc[i] = MATRIX_SUM(0.0);

    begin_tile();
    if (first_pixel >= p.pixels)
        return;
    uint k0 = split_at * p.share;
    load(k0);
    while (k0 < k_end) {
        store_shared();
        barrier();
        k0 += DEPTH;
        advance();
        if (k0 < k_end) // on its way while this piece is multiplied
            load(k0);
        [[unroll]] for (uint k = 0; k < DEPTH / 16; k++) {
            MATRIX_X a[HIGH];
            [[unroll]] for (uint i = 0; i < HIGH; i++)
                MATRIX_LOAD(a[i], xs, (own_pixel + i * 16) * X_PITCH + k * 2, X_PITCH);
            [[unroll]] for (uint j = 0; j < ACROSS; j++) {
                MATRIX_W b;
                MATRIX_LOAD(b, ws, k * 16 * W_PITCH + own_channel / 8 + j * 2, W_PITCH);
                [[unroll]] for (uint i = 0; i < HIGH; i++)
                    acc[i * ACROSS + j] = MATRIX_PRODUCT(a[i], b, acc[i * ACROSS + j]);
            }
        }
        barrier();
    }

    // One at a time. The code for what follows stands here once, and each sum is named by a constant: compilers put
    // an array of matrices into slow memory as soon as one index is not.
    for (uint m = 0; m < MATRICES; m++) {
        [[unroll]] for (uint i = 0; i < MATRICES; i++)
            if (i == m)
                MATRIX_STORE(acc[i], result, mine * 256, 16);
        subgroupBarrier();
        for (uint e = gl_SubgroupInvocationID; e < 32; e += gl_SubgroupSize) {
            const uint from = mine * 256 + e * 8;
            const vec4 low  = vec4(result[from], result[from + 1], result[from + 2], result[from + 3]);
            const vec4 high = vec4(result[from + 4], result[from + 5], result[from + 6], result[from + 7]);
            if (SPLIT) {
                const uint quad = quad_at(split_at, own_quad(m, e));
                partial[quad]     = low;
                partial[quad + 1] = high;
            } else {
                finish_at(m, e, low, high);
            }
        }
        subgroupBarrier();
    }
    if (SPLIT && arrives_last(tile_at(), split_count()))
        for (uint m = 0; m < MATRICES; m++)
            for (uint e = gl_SubgroupInvocationID; e < 32; e += gl_SubgroupSize)
                add_splits(m, e);
}
