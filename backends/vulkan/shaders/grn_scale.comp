#version 450
#extension GL_GOOGLE_include_directive : require
// grn_scale.comp: 1 + gamma norm / (mean norm + epsilon), for the norms of an image's maps.
#include "common.glsl"
#include "rows.glsl"

layout(binding = 0) readonly buffer Norm { float norm[]; };
layout(binding = 1) readonly buffer Gamma { float gamma[]; };
layout(binding = 2) writeonly buffer Scale { float scale[]; };

void main()
{
    find_row();
    float sum = 0.0;
    for (uint i = first; i < end; i += LANES)
        sum += norm[AT(i)];
    float mean = row_sum(sum) / float(p.size);
    for (uint i = first; i < end; i += LANES)
        scale[AT(i)] = 1.0 + gamma[i] * (norm[AT(i)] / (mean + p.value));
}
