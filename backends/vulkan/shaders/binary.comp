#version 450
#extension GL_GOOGLE_include_directive : require
// binary.comp: act(x + y), act(x - y), act(x * y), act(x / y) with broadcasting: a step of 0
// repeats an operand. ORDER k_elementwise.c
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint FORM = 0;
layout(constant_id = 1) const uint ACT  = 0;
layout(constant_id = 2) const int  RANK = 1;
layout(push_constant) uniform Push {
    uint count, dim[6], x_step[6], y_step[6];
} p;
layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) readonly buffer Y { STORED y[]; };
layout(binding = 2) writeonly buffer Z { STORED_T z[]; };
#ifdef FOUR // along the innermost dimension each operand lies side by side or is repeated
layout(binding = 0) readonly buffer X4 { STORED4 x4[]; };
layout(binding = 1) readonly buffer Y4 { STORED4 y4[]; };
#define LOAD(v, i) (p.v##_step[RANK - 1] == 0 ? T(float(v[i])) : T(v##4[(i) / 4]))
#else
#define LOAD(v, i) float(v[i])
#endif

void main()
{
    uint i = FLAT_ID, rest = i * WIDTH, xi = 0, yi = 0;
    if (rest >= p.count)
        return;
    for (int d = RANK - 1; d >= 0; d--) {
        uint at = d > 0 ? rest % p.dim[d] : rest;
        if (d > 0)
            rest /= p.dim[d];
        xi += at * p.x_step[d];
        yi += at * p.y_step[d];
    }
    T a = LOAD(x, xi), b = LOAD(y, yi);
    z[i] = STORED_T(activate(ACT, FORM == 0 ? a + b : FORM == 1 ? a - b : FORM == 2 ? a * b : a / b));
}
