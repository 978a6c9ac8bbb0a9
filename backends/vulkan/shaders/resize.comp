#version 450
#extension GL_GOOGLE_include_directive : require
// resize.comp: maps sampled at other places, NHWC. ORDER k_pool.c
#include "common.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint MODE = 0; // nearest, half-pixel centres, aligned corners
layout(push_constant) uniform Push {
    uint  count, channels, h, w, oh, ow;
    float step_y, step_x, first_y, first_x;
} p;
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };

float at(uint image, uint r, uint s, uint c)
{
    return x[((image * p.h + r) * p.w + s) * p.channels + c];
}

void main()
{
    uint i = FLAT_ID;
    if (i >= p.count)
        return;
    uint c = i % p.channels, pixel = i / p.channels, ox = pixel % p.ow, oy = pixel / p.ow % p.oh;
    uint image = pixel / (p.ow * p.oh);
    if (MODE == 0) {
        y[i] = at(image, oy * p.h / p.oh, ox * p.w / p.ow, c);
        return;
    }
    float place_y = max(p.first_y + float(oy) * p.step_y, 0.0), place_x = max(p.first_x + float(ox) * p.step_x, 0.0);
    uint  r = min(uint(place_y), p.h - 1), s = min(uint(place_x), p.w - 1);
    uint  r1 = min(r + 1, p.h - 1), s1 = min(s + 1, p.w - 1);
    float v = place_y - float(r), u = place_x - float(s);
    float low = at(image, r, s, c) * (1.0 - u) + at(image, r, s1, c) * u;
    float high = at(image, r1, s, c) * (1.0 - u) + at(image, r1, s1, c) * u;
    y[i] = low * (1.0 - v) + high * v;
}
