#version 450
#extension GL_GOOGLE_include_directive : require
// unary.comp: activations and other functions of one operand, element by element. ORDER k_elementwise.c
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint FORM = 0;
layout(push_constant) uniform Push {
    uint  count; // in units of T
    float value;
} p;
layout(binding = 0) readonly buffer X { STORED_T x[]; };
layout(binding = 1) writeonly buffer Y { STORED_T y[]; };

// x Phi(x), with erfc of Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26, whose error is below
// 1.5e-7; negative x multiply the small tail itself, so nothing cancels.
T gelu_erf(T x)
{
    T z = abs(x) * 0.70710678, t = 1.0 / (1.0 + 0.3275911 * z);
    T poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    T tail = 0.5 * poly * exp(-z * z);
    return x * mix(1.0 - tail, tail, step(x, T(0.0)));
}

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    T v = T(x[i]);
    switch (FORM) {
    case 8: v = -v; break;
    case 9: v = 1.0 / sqrt(v); break;
    case 10: v = sqrt(v); break;
    case 11: v = gelu_erf(v); break;
    case 12: v = v + p.value; break;
    case 13: v = v * p.value; break;
    default: v = activate(FORM, v);
    }
    y[i] = STORED_T(v);
}
