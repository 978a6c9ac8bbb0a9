#version 450
#extension GL_GOOGLE_include_directive : require
// squeeze.comp: a 1x1 convolution of the means of maps, as in squeeze-excite. A workgroup sums 32 channels over a part of the
// pixels and multiplies these sums with their rows of weights; the last workgroup of an image adds up the products. ORDER
// k_squeeze.c
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint ACT      = 0;
layout(constant_id = 1) const bool HAS_BIAS = false;
layout(push_constant) uniform Push {
    uint images, area, c, o, pitch; // of a row of weights
    uint slices, parts, share;      // workgroups of an image, across channels and pixels; pixels of a part
} p;
layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) readonly buffer Weight { STORED weight[]; };
layout(binding = 2) readonly buffer Bias { float bias[]; };
layout(binding = 3) coherent buffer Partial { float partial[]; }; // [image][slice][part][o]
#define ARRIVED 4
#include "arrive.glsl"
layout(binding = 5) writeonly buffer Y { STORED y[]; };

const uint ACROSS = 32, LANES = 8, AT_ONCE = 8;
shared float sums[256];

// The mean's share of channel t % ACROSS, in sums[t] for t below ACROSS.
void sum_pixels(uint image, uint channel, uint begin)
{
    const uint t = gl_LocalInvocationID.x, end = min(begin + p.share, p.area);
    float      sum = 0.0;
    for (uint pixel = begin + t / ACROSS; pixel < end && channel < p.c; pixel += LANES)
        sum += float(x[(image * p.area + pixel) * p.c + channel]);
    sums[t] = sum / float(p.area);
    barrier();
    for (uint step = LANES / 2; step > 0; step /= 2) {
        if (t < step * ACROSS)
            sums[t] += sums[t + step * ACROSS];
        barrier();
    }
}

void main()
{
    const uint t = gl_LocalInvocationID.x, groups = p.slices * p.parts, image = flat_group() / groups;
    const uint at = flat_group() % groups, first = at / p.parts * ACROSS;
    if (image >= p.images)
        return;
    sum_pixels(image, first + t % ACROSS, at % p.parts * p.share);
    const uint channels = min(ACROSS, p.c - first);
    for (uint o = t; o < p.o; o += 256) {
        float v = 0.0;
        for (uint k = 0; k < channels; k++)
            v += sums[k] * float(weight[(first + k) * p.pitch + o]);
        partial[(image * groups + at) * p.o + o] = v;
    }
    if (!arrives_last(image, groups))
        return;
    for (uint o = t; o < p.o; o += 256) {
        float v = HAS_BIAS ? bias[o] : 0.0;
        for (uint g = 0; g < groups; g += AT_ONCE) { // whose loads are under way at once
            float e[AT_ONCE];
            for (uint i = 0; i < AT_ONCE; i++)
                e[i] = g + i < groups ? partial[(image * groups + g + i) * p.o + o] : 0.0;
            for (uint i = 0; i < AT_ONCE; i++)
                v += e[i];
        }
        y[image * p.o + o] = STORED(activate(ACT, v));
    }
}
