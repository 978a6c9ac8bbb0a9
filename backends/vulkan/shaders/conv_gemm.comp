#version 450
#extension GL_GOOGLE_include_directive : require
// conv_gemm.comp: the implicit matrix product in float, see gemm.c.
#include "common.glsl"
#include "conv.glsl"

#define VECTOR 4
#include "conv_tile.glsl"

layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 0) readonly buffer X4 { STORED4 x4[]; };
layout(binding = 1) readonly buffer Weight { STORED4 weight[]; };
layout(binding = 2) readonly buffer Bias { float bias[]; };
layout(binding = 3) readonly buffer Residual { STORED residual[]; };
layout(binding = 3) readonly buffer Residual4 { STORED4 residual4[]; };
layout(binding = 4) readonly buffer Scale4 { STORED4 scale4[]; };
layout(binding = 5) writeonly buffer Y { STORED y[]; };
layout(binding = 5) writeonly buffer Y4 { STORED4 y4[]; };

// X lies turned, the pixels of one k side by side.
const uint X_PITCH = PIXELS + 4;
shared float xs[DEPTH * X_PITCH];
shared vec4  ws[DEPTH * CHANNELS / 4];

// What an invocation computes is cut into blocks of 4 x 4, spread evenly over the tile: neighbours then read
// neighbouring words of shared memory.
layout(constant_id = 14) const uint STEPS = 1; // of k written out: GPUs gain, compilers for processors choke

const uint QUADS = OWN_PIXELS * OWN_CHANNELS / 4, AT_ONCE = QUADS < 16 ? 16 / QUADS : 1;
const uint P_BLOCKS = OWN_PIXELS / 4, C_BLOCKS = OWN_CHANNELS / 4;
const uint P_ACROSS = PIXELS / OWN_PIXELS, C_ACROSS = CHANNELS / OWN_CHANNELS; // invocations

vec4 next_x[ROWS], next_w[W_ROWS];

void load(uint k0)
{
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        uint at;
        next_x[i] = vec4(0.0);
        if (ALIGNED) {
            if (find_vector(i, at)) {
                next_x[i] = vec4(x4[at / 4]);
                if (SCALE > 0)
                    next_x[i] = activate(SCALE - 1, next_x[i] * vec4(scale4[(scale_at[i] + own_k) / 4]));
            }
        } else {
            [[unroll]] for (uint j = 0; j < 4; j++)
                if (find_element(i, j, at))
                    next_x[i][j] = scaled(float(x[at]), scale_at[i] + own_k + j);
        }
    }
    [[unroll]] for (uint i = 0; i < W_ROWS; i++) {
        uint at;
        next_w[i] = vec4(0.0);
        if (find_weight(i, k0, at))
            next_w[i] = vec4(weight[at]);
    }
}

void store_shared()
{
    const uint t = gl_LocalInvocationID.x;
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint j = 0; j < 4; j++)
            xs[(t % VECTORS * 4 + j) * X_PITCH + t / VECTORS + i * ROW_STEP] = next_x[i][j];
    [[unroll]] for (uint i = 0; i < W_ROWS; i++)
        ws[t + i * THREADS] = next_w[i];
}

void finish(uint pixel, uint channel, vec4 v)
{
    if (pixel >= p.pixels || channel >= p.og)
        return;
    const uint left = min(p.og - channel, 4);
    channel += group * p.og;
    const uint at = pixel * p.o + channel;
    if (WIDE) {
        if (HAS_BIAS)
            v += vec4(bias[channel], bias[channel + 1], bias[channel + 2], bias[channel + 3]);
        if (HAS_RESIDUAL)
            v += vec4(residual4[at / 4]);
        y4[at / 4] = STORED4(activate(ACT, v));
        return;
    }
    for (uint j = 0; j < left; j++) {
        float e = v[j];
        if (HAS_BIAS)
            e += bias[channel + j];
        if (HAS_RESIDUAL)
            e += float(residual[at + j]);
        y[at + j] = STORED(activate(ACT, e));
    }
}

// The sums of all splits in place of those of this one; loads of several splits are under way at once.
void add_splits(inout vec4 acc[QUADS])
{
    const uint t = gl_LocalInvocationID.x, splits = split_count();
    [[unroll]] for (uint i = 0; i < QUADS; i++)
        acc[i] = vec4(0.0);
    for (uint s = 0; s < splits; s += AT_ONCE) {
        vec4 v[AT_ONCE * QUADS];
        [[unroll]] for (uint j = 0; j < AT_ONCE; j++)
            [[unroll]] for (uint i = 0; i < QUADS; i++)
                v[j * QUADS + i] = s + j < splits ? partial[quad_at(s + j, i * THREADS + t)] : vec4(0.0);
        [[unroll]] for (uint j = 0; j < AT_ONCE; j++)
            [[unroll]] for (uint i = 0; i < QUADS; i++)
                acc[i] += v[j * QUADS + i];
    }
}

void main()
{
    const uint t = gl_LocalInvocationID.x, own_pixel = t / C_ACROSS * 4, own_channel = t % C_ACROSS * 4;
    vec4       acc[QUADS];
    [[unroll]] for (uint i = 0; i < QUADS; i++)
        acc[i] = vec4(0.0);

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
        for (uint k1 = 0; k1 < DEPTH; k1 += STEPS) [[unroll]] for (uint k = k1; k < k1 + STEPS; k++) {
            vec4 w[C_BLOCKS];
            [[unroll]] for (uint j = 0; j < C_BLOCKS; j++)
                w[j] = ws[(k * CHANNELS + own_channel + j * C_ACROSS * 4) / 4];
            [[unroll]] for (uint b = 0; b < P_BLOCKS; b++)
                [[unroll]] for (uint i = 0; i < 4; i++) {
                    float e = xs[k * X_PITCH + own_pixel + b * P_ACROSS * 4 + i];
                    [[unroll]] for (uint j = 0; j < C_BLOCKS; j++)
                        acc[(b * 4 + i) * C_BLOCKS + j] += e * w[j];
                }
        }
        barrier();
    }

    if (SPLIT) {
        [[unroll]] for (uint i = 0; i < QUADS; i++)
            partial[quad_at(split_at, i * THREADS + t)] = acc[i];
        if (!arrives_last(tile_at(), split_count()))
            return;
        add_splits(acc);
    }
    [[unroll]] for (uint b = 0; b < P_BLOCKS; b++)
        [[unroll]] for (uint i = 0; i < 4; i++)
            [[unroll]] for (uint j = 0; j < C_BLOCKS; j++)
                finish(first_pixel + own_pixel + b * P_ACROSS * 4 + i,
                       first_channel + own_channel + j * C_ACROSS * 4, acc[(b * 4 + i) * C_BLOCKS + j]);
}
