#version 450
#extension GL_GOOGLE_include_directive : require
// resize.comp: maps sampled at other places, NHWC. ORDER k_pool.c
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint MODE = 0; // nearest, half-pixel centres, aligned corners
layout(push_constant) uniform Push {
    uint count, channels, h, w, oh, ow; // count and channels in units of T
} p;
layout(binding = 0) readonly buffer X { STORED_T x[]; };
layout(binding = 1) writeonly buffer Y { STORED_T y[]; };

// Place i of a result of `size` on `extent` elements: the element before it, and how far behind that it
// lies. In whole numbers but for the last division: a place is a fraction with a known denominator.
uint place(uint i, uint extent, uint size, out float rest)
{
    uint above = MODE == 1 ? (2 * i + 1) * extent : i * (extent - 1);
    uint below = MODE == 1 ? 2 * size : max(size - 1, 1u);
    if (MODE == 1)
        above = above > size ? above - size : 0; // half a pixel back, and not before the first
    uint at = min(above / below, extent - 1);
    rest    = float(above - at * below) / float(below);
    return at;
}

T at(uint image, uint r, uint s, uint c)
{
    return T(x[((image * p.h + r) * p.w + s) * p.channels + c]);
}

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    uint c = i % p.channels, pixel = i / p.channels, ox = pixel % p.ow, oy = pixel / p.ow % p.oh;
    uint image = pixel / (p.ow * p.oh);
    if (MODE == 0) {
        y[i] = STORED_T(at(image, oy * p.h / p.oh, ox * p.w / p.ow, c));
        return;
    }
    float v, u;
    uint  r = place(oy, p.h, p.oh, v), s = place(ox, p.w, p.ow, u);
    uint  r1 = min(r + 1, p.h - 1), s1 = min(s + 1, p.w - 1);
    T low = at(image, r, s, c) * (1.0 - u) + at(image, r, s1, c) * u;
    T high = at(image, r1, s, c) * (1.0 - u) + at(image, r1, s1, c) * u;
    y[i] = STORED_T(low * (1.0 - v) + high * v);
}
