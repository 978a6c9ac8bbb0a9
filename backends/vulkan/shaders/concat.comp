#version 450
#extension GL_GOOGLE_include_directive : require
// concat.comp: up to eight operands one after the other along the middle of [outer][size][inner].
#include "common.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
    uint count, size, inner, end[8];
} p;
layout(binding = 0) readonly buffer X0 { STORED x0[]; };
layout(binding = 1) readonly buffer X1 { STORED x1[]; };
layout(binding = 2) readonly buffer X2 { STORED x2[]; };
layout(binding = 3) readonly buffer X3 { STORED x3[]; };
layout(binding = 4) readonly buffer X4 { STORED x4[]; };
layout(binding = 5) readonly buffer X5 { STORED x5[]; };
layout(binding = 6) readonly buffer X6 { STORED x6[]; };
layout(binding = 7) readonly buffer X7 { STORED x7[]; };
layout(binding = 8) writeonly buffer Y { STORED y[]; };

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    uint outer = i / (p.size * p.inner), at = i / p.inner % p.size, k = 0;
    while (at >= p.end[k])
        k++;
    uint begin = k > 0 ? p.end[k - 1] : 0;
    uint from  = (outer * (p.end[k] - begin) + at - begin) * p.inner + i % p.inner;
    float v;
    switch (k) {
    case 0: v = float(x0[from]); break;
    case 1: v = float(x1[from]); break;
    case 2: v = float(x2[from]); break;
    case 3: v = float(x3[from]); break;
    case 4: v = float(x4[from]); break;
    case 5: v = float(x5[from]); break;
    case 6: v = float(x6[from]); break;
    default: v = float(x7[from]);
    }
    y[i] = STORED(v);
}
