#version 450
#extension GL_GOOGLE_include_directive : require
// conv_vector.comp: 1x1 convolutions of few pixels, which wait for their weights. A workgroup computes sixteen channels
// of one pixel: four invocations side by side read a row of weights of a channel in, and 64 of these rows are under
// way at once.
#include "common.glsl"
#include "conv.glsl"
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x = 256) in;
layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) readonly buffer Weight { STORED4 weight[]; };
layout(binding = 2) readonly buffer Bias { float bias[]; };
layout(binding = 3) readonly buffer Residual { STORED residual[]; };
layout(binding = 5) writeonly buffer Y { STORED y[]; };

const uint ACROSS = 4, SLICES = 64, AT_ONCE = 4;
shared vec4 partial[256];

void main()
{
    const uint t = gl_LocalInvocationID.x, slice = t / ACROSS, blocks = (p.pitch + 15) / 16, at = flat_group();
    const uint quad = at % blocks * ACROSS + t % ACROSS, pixel = at / blocks, across = p.pitch / 4, image = pixel / (p.oh * p.ow);
    vec4       sum = vec4(0.0);
    if (quad < across && pixel < p.pixels)
        for (uint k = slice; k < p.k; k += SLICES * AT_ONCE) {
            float e[AT_ONCE];
            vec4  w[AT_ONCE];
            [[unroll]] for (uint i = 0; i < AT_ONCE; i++) {
                const uint from = k + i * SLICES;
                e[i] = from < p.k ? scaled(float(x[pixel * p.c + from]), image * p.c + from) : 0.0;
                w[i] = from < p.k ? vec4(weight[from * across + quad]) : vec4(0.0);
            }
            [[unroll]] for (uint i = 0; i < AT_ONCE; i++)
                sum += e[i] * w[i];
        }
    partial[t] = sum;
    barrier();
    for (uint step = SLICES / 2; step > 0; step /= 2) {
        if (slice < step)
            partial[t] += partial[t + step * ACROSS];
        barrier();
    }
    if (t >= 16 || pixel >= p.pixels) // one float each from here on
        return;
    const uint channel = at % blocks * 16 + t;
    if (channel >= p.o)
        return;
    float v = partial[t / 4][t % 4];
    if (HAS_BIAS)
        v += bias[channel];
    if (HAS_RESIDUAL)
        v += float(residual[pixel * p.o + channel]);
    y[pixel * p.o + channel] = STORED(activate(ACT, v));
}
