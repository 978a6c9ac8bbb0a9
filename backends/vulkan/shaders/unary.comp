#version 450
#extension GL_GOOGLE_include_directive : require
// unary.comp: activations and other functions of one operand, element by element. ORDER k_elementwise.c
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint FORM = 0;
layout(push_constant) uniform Push {
    uint  count;
    float value;
} p;
layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) writeonly buffer Y { STORED y[]; };

// x Phi(x), with erfc of Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26, whose error is below
// 1.5e-7; negative x multiply the small tail itself, so nothing cancels.
float gelu_erf(float x)
{
    float z = abs(x) * 0.70710678, t = 1.0 / (1.0 + 0.3275911 * z);
    float poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    float tail = 0.5 * poly * exp(-z * z);
    return x * (x < 0.0 ? tail : 1.0 - tail);
}

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    float v = float(x[i]);
    switch (FORM) {
    case 8: v = -v; break;
    case 9: v = 1.0 / sqrt(v); break;
    case 10: v = sqrt(v); break;
    case 11: v = gelu_erf(v); break;
    case 12: v = v + p.value; break;
    case 13: v = v * p.value; break;
    default: v = activate(FORM, v);
    }
    y[i] = STORED(v);
}
