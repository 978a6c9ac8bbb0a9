#version 450
#extension GL_GOOGLE_include_directive : require
// softmax.comp: exp(x - largest) / sum of these.
#include "common.glsl"
#include "rows.glsl"

layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) writeonly buffer Y { STORED y[]; };

void main()
{
    find_row();
    float most = uintBitsToFloat(0xff7fffffu), sum = 0.0; // the most negative number
    for (uint i = first; i < end; i += LANES)
        most = max(most, float(x[AT(i)]));
    most = row_max(most);
    for (uint i = first; i < end; i += LANES)
        sum += exp(float(x[AT(i)]) - most);
    sum = row_sum(sum);
    for (uint i = first; i < end; i += LANES)
        y[AT(i)] = STORED(exp(float(x[AT(i)]) - most) / sum);
}
