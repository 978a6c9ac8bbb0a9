#version 450
#extension GL_GOOGLE_include_directive : require
// affine.comp: scale x + shift by channel; the scale may differ by image.
#include "common.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
    uint count, image, channels, inner, scale_pitch; // count, image, channels and pitch in units of T
} p;
layout(binding = 0) readonly buffer X { STORED_T x[]; };
layout(binding = 1) readonly buffer Scale { T scale[]; };
layout(binding = 2) readonly buffer Shift { T shift[]; };
layout(binding = 3) writeonly buffer Y { STORED_T y[]; };

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    uint c = i / p.inner % p.channels;
    y[i]   = STORED_T(scale[i / p.image * p.scale_pitch + c] * T(x[i]) + shift[c]);
}
