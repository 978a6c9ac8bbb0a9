#version 450
#extension GL_GOOGLE_include_directive : require
// gather.comp: the result in the order in which it lies, each element from its place in the
// operand; zero outside. ORDER k_shape.c
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const int  RANK   = 1;
layout(constant_id = 1) const bool PADDED = false;
layout(push_constant) uniform Push {
    uint count, base, dim[6], step[6], before[6], extent[6];
} p;
layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) writeonly buffer Y { RESULT y[]; };

void main()
{
    uint i = FLAT_ID, rest = i, from = p.base;
    bool inside = true;
    if (i >= p.count)
        return;
    for (int d = RANK - 1; d >= 0; d--) {
        uint at = d > 0 ? rest % p.dim[d] : rest;
        if (d > 0)
            rest /= p.dim[d];
        if (PADDED) {
            at -= p.before[d]; // wraps around before the operand
            inside = inside && at < p.extent[d];
        }
        from += at * p.step[d];
    }
    y[i] = RESULT(inside ? float(x[from]) : 0.0);
}
