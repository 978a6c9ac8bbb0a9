#version 450
#extension GL_GOOGLE_include_directive : require
// pool.comp: the largest or the mean of a window of each map, NHWC.
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const bool MAX = true;
layout(push_constant) uniform Push {
    uint count, channels, h, w, oh, ow, kernel_y, kernel_x, stride_y, stride_x;
    int  top, left;
    uint count_pad; // count and channels in units of T
} p;
layout(binding = 0) readonly buffer X { STORED_T x[]; };
layout(binding = 1) writeonly buffer Y { STORED_T y[]; };

float larger(float e, float v) // a NaN stays
{
    return e > v || isnan(e) ? e : v;
}

vec4 larger(vec4 e, vec4 v)
{
    return vec4(larger(e.x, v.x), larger(e.y, v.y), larger(e.z, v.z), larger(e.w, v.w));
}

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    uint c = i % p.channels, pixel = i / p.channels, ox = pixel % p.ow, oy = pixel / p.ow % p.oh;
    uint image = pixel / (p.ow * p.oh);
    int  low_y = int(oy * p.stride_y) - p.top, low_x = int(ox * p.stride_x) - p.left;
    int  high_y = min(low_y + int(p.kernel_y), int(p.h)), high_x = min(low_x + int(p.kernel_x), int(p.w));
    low_y = max(low_y, 0);
    low_x = max(low_x, 0);
    T v = T(MAX ? uintBitsToFloat(0xff800000u) : 0.0); // minus infinity
    for (int r = low_y; r < high_y; r++)
        for (int s = low_x; s < high_x; s++) {
            T e = T(x[((image * p.h + uint(r)) * p.w + uint(s)) * p.channels + c]);
            if (MAX)
                v = larger(e, v);
            else
                v += e;
        }
    if (!MAX)
        v /= p.count_pad != 0 ? float(p.kernel_y * p.kernel_x) : float((high_y - low_y) * (high_x - low_x));
    y[i] = STORED_T(v);
}
