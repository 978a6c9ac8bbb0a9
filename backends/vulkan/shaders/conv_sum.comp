#version 450
#extension GL_GOOGLE_include_directive : require
// conv_sum.comp: adds up the partial sums of conv_gemm.comp or conv_coop.comp, then bias, residual and activation.
#include "common.glsl"

#ifdef FOUR
#define T        vec4
#define STORED_T STORED4
#else
#define T        float
#define STORED_T STORED
#endif

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint ACT          = 0;
layout(constant_id = 1) const bool HAS_BIAS     = false;
layout(constant_id = 2) const bool HAS_RESIDUAL = false;
layout(push_constant) uniform Push {
    uint count, channels, splits; // count and channels in units of T
} p;
layout(binding = 0) readonly buffer Partial { T partial[]; };
layout(binding = 1) readonly buffer Bias { T bias[]; };
layout(binding = 2) readonly buffer Residual { STORED_T residual[]; };
layout(binding = 3) writeonly buffer Y { STORED_T y[]; };

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    T v = T(0.0);
    for (uint s = 0; s < p.splits; s++)
        v += partial[s * p.count + i];
    if (HAS_BIAS)
        v += bias[i % p.channels];
    if (HAS_RESIDUAL)
        v += T(residual[i]);
    y[i] = STORED_T(activate(ACT, v));
}
