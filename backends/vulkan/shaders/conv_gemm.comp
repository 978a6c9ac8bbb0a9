#version 450
#extension GL_GOOGLE_include_directive : require
// conv_gemm.comp: the implicit matrix product, see gemm.c. ORDER vk_gemm_emit
#include "common.glsl"
#include "conv.glsl"

layout(constant_id = 3) const bool SPLIT        = false; // partial sums only
layout(constant_id = 4) const bool POINTWISE    = false; // 1x1, stride 1: pixel p needs pixel p only
layout(constant_id = 5) const uint PIXELS       = 64;    // of the tile; PIXELS and CHANNELS: powers of two
layout(constant_id = 6) const uint CHANNELS     = 64;
layout(constant_id = 7) const uint DEPTH        = 16;    // of the piece of k in shared memory
layout(constant_id = 8) const uint OWN_PIXELS   = 4;     // of one invocation
layout(constant_id = 9) const uint OWN_CHANNELS = 4;
layout(local_size_x_id = 10) in;
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer Weight { float weight[]; };
layout(binding = 2) readonly buffer Bias { float bias[]; };
layout(binding = 3) readonly buffer Residual { float residual[]; };
layout(binding = 4) writeonly buffer Y { float y[]; };

const uint X_PITCH = PIXELS + 4; // keeps the stores of neighbouring k out of each other's banks
shared float  xs[DEPTH * X_PITCH];
shared float  ws[DEPTH * CHANNELS];
shared ivec3  windows[PIXELS];

float x_at(uint pixel, uint local, uint k, uint group)
{
    if (POINTWISE)
        return x[pixel * p.c + group * p.cg + k];
    uint  tap = k / p.cg, channel = k % p.cg;
    ivec3 window = windows[local];
    int   row = window.y + int(tap / p.kw * p.dilation_y), column = window.z + int(tap % p.kw * p.dilation_x);
    if (row < 0 || row >= int(p.h) || column < 0 || column >= int(p.w))
        return 0.0;
    return x[((uint(window.x) * p.h + uint(row)) * p.w + uint(column)) * p.c + group * p.cg + channel];
}

void main()
{
    const uint threads = gl_WorkGroupSize.x, t = gl_LocalInvocationID.x, across = CHANNELS / OWN_CHANNELS;
    uint       ranges = (p.og + CHANNELS - 1) / CHANNELS, tile = flat_group();
    uint       first_channel = tile % ranges * CHANNELS, first_pixel = tile / ranges * PIXELS;
    uint       group = gl_WorkGroupID.z % p.groups, split = gl_WorkGroupID.z / p.groups;
    uint       begin = split * p.share, end = min(begin + p.share, p.k);

    if (!POINTWISE) {
        for (uint i = t; i < PIXELS; i += threads)
            windows[i] = window_of(min(first_pixel + i, p.pixels - 1));
        barrier();
    }

    float acc[OWN_PIXELS * OWN_CHANNELS], mine[OWN_PIXELS];
    for (uint i = 0; i < OWN_PIXELS * OWN_CHANNELS; i++)
        acc[i] = 0.0;
    const uint own_pixel = t / across * OWN_PIXELS, own_channel = t % across * OWN_CHANNELS;

    for (uint k0 = begin; k0 < end; k0 += DEPTH) {
        for (uint i = t; i < PIXELS * DEPTH; i += threads) { // neighbours along k, as x lies
            uint k = i % DEPTH, local = i / DEPTH, pixel = first_pixel + local;
            bool present = k0 + k < end && pixel < p.pixels;
            xs[k * X_PITCH + local] = present ? x_at(pixel, local, k0 + k, group) : 0.0;
        }
        for (uint i = t; i < CHANNELS * DEPTH; i += threads) { // ... along channels, as weights lie
            uint local = i % CHANNELS, k = i / CHANNELS, channel = first_channel + local;
            bool present = k0 + k < end && channel < p.pitch;
            ws[i] = present ? weight[(group * p.k + k0 + k) * p.pitch + channel] : 0.0;
        }
        barrier();
        for (uint k = 0; k < DEPTH; k++) {
            for (uint i = 0; i < OWN_PIXELS; i++)
                mine[i] = xs[k * X_PITCH + own_pixel + i];
            for (uint j = 0; j < OWN_CHANNELS; j++) {
                float w = ws[k * CHANNELS + own_channel + j];
                for (uint i = 0; i < OWN_PIXELS; i++)
                    acc[i * OWN_CHANNELS + j] += mine[i] * w;
            }
        }
        barrier();
    }

    for (uint i = 0; i < OWN_PIXELS; i++)
        for (uint j = 0; j < OWN_CHANNELS; j++) {
            uint pixel = first_pixel + own_pixel + i, channel = first_channel + own_channel + j;
            if (pixel >= p.pixels || channel >= p.og)
                continue;
            channel += group * p.og;
            float v = acc[i * OWN_CHANNELS + j];
            uint  at = pixel * p.o + channel;
            if (SPLIT) {
                y[split * p.pixels * p.o + at] = v;
                continue;
            }
            if (HAS_BIAS)
                v += bias[channel];
            if (HAS_RESIDUAL)
                v += residual[at];
            y[at] = activate(ACT, v);
        }
}
