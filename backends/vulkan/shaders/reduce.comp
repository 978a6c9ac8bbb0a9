#version 450
#extension GL_GOOGLE_include_directive : require
// reduce.comp: the mean of each row, or the square root of its sum of squares. ORDER rows.h
#include "common.glsl"
#include "rows.glsl"

layout(constant_id = 1) const uint FORM = 0;
layout(binding = 0) readonly buffer X { STORED x[]; };
layout(binding = 1) writeonly buffer Y { RESULT y[]; };

void main()
{
    bool  present = find_row();
    float sum = 0.0;
    for (uint i = first; i < end; i += LANES) {
        float e = float(x[AT(i)]);
        sum += FORM == 0 ? e : e * e;
    }
    sum = row_sum(sum);
    if (present && lane == 0) // row r begins at r of the result, in the same order
        y[base / (p.size * p.inner) * p.inner + base % p.inner] =
            RESULT(FORM == 0 ? sum / float(p.size) : sqrt(sum));
}
