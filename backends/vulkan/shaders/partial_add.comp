#version 450
#extension GL_GOOGLE_include_directive : require
// partial_add.comp: y added to the first channels of x.
#include "common.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
    uint count, channels, added, inner;
} p;
layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) readonly buffer Y { STORED y[]; };
layout(binding = 2) writeonly buffer Z { STORED z[]; };

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    uint row = i / p.inner, c = row % p.channels;
    float v = float(x[i]);
    if (c < p.added)
        v += float(y[(row / p.channels * p.added + c) * p.inner + i % p.inner]);
    z[i] = STORED(v);
}
