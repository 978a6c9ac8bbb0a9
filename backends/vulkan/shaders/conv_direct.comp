#version 450
#extension GL_GOOGLE_include_directive : require
// conv_direct.comp: any convolution, a pixel and four or eight channels in each invocation, without
// shared memory.
#include "common.glsl"
#include "conv.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 4) const uint VECTORS = 1; // of four channels: 1 or 2
layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) readonly buffer Weight { STORED4 weight[]; };
layout(binding = 2) readonly buffer Bias { float bias[]; };
layout(binding = 3) readonly buffer Residual { STORED residual[]; };
layout(binding = 5) writeonly buffer Y { STORED y[]; };

void finish(uint pixel, uint group, uint channel, float v)
{
    if (channel >= p.og)
        return;
    channel += group * p.og;
    if (HAS_BIAS)
        v += bias[channel];
    if (HAS_RESIDUAL)
        v += float(residual[pixel * p.o + channel]);
    y[pixel * p.o + channel] = STORED(activate(ACT, v));
}

void main()
{
    uint blocks = p.pitch / (4 * VECTORS), id = FLAT_ID;
    uint block = id % blocks, group = id / blocks % p.groups, pixel = id / (blocks * p.groups);
    if (pixel >= p.pixels)
        return;
    ivec3 window = window_of(pixel);
    uint  step = p.pitch / 4, channel = block * 4 * VECTORS;
    vec4  low = vec4(0.0), high = vec4(0.0);
    for (uint r = 0; r < p.kh; r++) {
        int row = window.y + int(r * p.dilation_y);
        if (row < 0 || row >= int(p.h))
            continue;
        for (uint s = 0; s < p.kw; s++) {
            int column = window.z + int(s * p.dilation_x);
            if (column < 0 || column >= int(p.w))
                continue;
            uint from = ((uint(window.x) * p.h + uint(row)) * p.w + uint(column)) * p.c + group * p.cg;
            uint at   = (group * p.k + (r * p.kw + s) * p.cg) * step + channel / 4;
            for (uint c = 0; c < p.cg; c++, at += step) {
                float e = scaled(float(x[from + c]), uint(window.x) * p.c + c);
                low += e * vec4(weight[at]);
                if (VECTORS > 1)
                    high += e * vec4(weight[at + 1]);
            }
        }
    }
    for (uint j = 0; j < 4; j++) {
        finish(pixel, group, channel + j, low[j]);
        if (VECTORS > 1)
            finish(pixel, group, channel + 4 + j, high[j]);
    }
}
