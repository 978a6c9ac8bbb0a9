#version 450
#extension GL_GOOGLE_include_directive : require
// conv_depthwise.comp: one channel in and out per group. T is float, or vec4 for four channels at once.
#include "common.glsl"
#include "conv.glsl"

#ifdef FOUR
#define T vec4
#define WIDTH 4
#else
#define T float
#define WIDTH 1
#endif

layout(local_size_x = 256) in;
layout(binding = 0) readonly buffer X { T x[]; };
layout(binding = 1) readonly buffer Weight { T weight[]; };
layout(binding = 2) readonly buffer Bias { T bias[]; };
layout(binding = 3) readonly buffer Residual { T residual[]; };
layout(binding = 4) writeonly buffer Y { T y[]; };

void main()
{
    uint channels = p.c / WIDTH, id = FLAT_ID, channel = id % channels, pixel = id / channels;
    if (pixel >= p.pixels)
        return;
    ivec3 window = window_of(pixel);
    T     sum = T(0.0);
    for (uint r = 0; r < p.kh; r++) {
        int row = window.y + int(r * p.dilation_y);
        if (row < 0 || row >= int(p.h))
            continue;
        for (uint s = 0; s < p.kw; s++) {
            int column = window.z + int(s * p.dilation_x);
            if (column < 0 || column >= int(p.w))
                continue;
            sum += x[((uint(window.x) * p.h + uint(row)) * p.w + uint(column)) * channels + channel] *
                   weight[(r * p.kw + s) * channels + channel];
        }
    }
    if (HAS_BIAS)
        sum += bias[channel];
    if (HAS_RESIDUAL)
        sum += residual[id];
    y[id] = activate(ACT, sum);
}
