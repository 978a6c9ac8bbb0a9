#version 450
#extension GL_GOOGLE_include_directive : require
// unary.comp: activations, and neg, rsqrt, add_scalar, mul_scalar, element by element. ORDER k_elementwise.c
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint FORM = 0;
layout(push_constant) uniform Push {
    uint  count;
    float value;
} p;
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    float v = x[i];
    switch (FORM) {
    case 8: v = -v; break;
    case 9: v = 1.0 / sqrt(v); break;
    case 10: v = v + p.value; break;
    case 11: v = v * p.value; break;
    default: v = activate(FORM, v);
    }
    y[i] = v;
}
