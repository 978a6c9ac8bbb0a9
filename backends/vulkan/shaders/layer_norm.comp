#version 450
#extension GL_GOOGLE_include_directive : require
// layer_norm.comp: gamma (x - mean) / sqrt(variance + epsilon) + beta over the channels at each position.
#include "common.glsl"
#include "rows.glsl"

layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) readonly buffer Gamma { float gamma[]; };
layout(binding = 2) readonly buffer Beta { float beta[]; };
layout(binding = 3) writeonly buffer Y { STORED y[]; };

void main()
{
    find_row();
    float sum = 0.0, squares = 0.0;
    for (uint i = first; i < end; i += LANES)
        sum += float(x[AT(i)]);
    float mean = row_sum(sum) / float(p.size);
    for (uint i = first; i < end; i += LANES) {
        float d = float(x[AT(i)]) - mean;
        squares += d * d;
    }
    float scale = 1.0 / sqrt(row_sum(squares) / float(p.size) + p.value);
    for (uint i = first; i < end; i += LANES)
        y[AT(i)] = STORED(gamma[i] * ((float(x[AT(i)]) - mean) * scale) + beta[i]);
}
