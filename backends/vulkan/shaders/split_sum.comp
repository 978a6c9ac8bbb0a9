#version 450
#extension GL_GOOGLE_include_directive : require
// split_sum.comp: the sum of equal parts of the channels, weighted by a softmax over the parts. ORDER k_split_sum.c
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const bool WEIGHTED = false;
layout(push_constant) uniform Push {
    uint count, channels, area, splits; // of the result; in units of T
} p;
layout(binding = 0) readonly buffer X { STORED_T x[]; };
layout(binding = 1) readonly buffer Logits { STORED_T logits[]; };
layout(binding = 2) writeonly buffer Y { STORED_T y[]; };

void main()
{
    const uint i = FLAT_ID;
    if (i >= p.count)
        return;
    const uint pixel = i / p.channels, c = i % p.channels;
    const uint from = pixel * p.channels * p.splits + c, by = pixel / p.area * p.channels * p.splits + c;
    T          most = T(0.0), sum = T(0.0), weights = T(0.0);
    for (uint r = 0; WEIGHTED && r < p.splits; r++)
        most = r == 0 ? T(logits[by]) : max(most, T(logits[by + r * p.channels]));
    for (uint r = 0; r < p.splits; r++) {
        T e = T(x[from + r * p.channels]), weight = T(1.0);
        if (WEIGHTED)
            weight = exp(T(logits[by + r * p.channels]) - most);
        weights += weight;
        sum += weight * e;
    }
    y[i] = STORED_T(WEIGHTED ? sum / weights : sum);
}
