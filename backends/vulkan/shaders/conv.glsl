// conv.glsl: what the shaders of convolutions are told. ORDER vk_conv, vk_conv_bind

layout(constant_id = 0) const uint ACT          = 0;
layout(constant_id = 1) const bool HAS_BIAS     = false;
layout(constant_id = 2) const bool HAS_RESIDUAL = false;
layout(constant_id = 3) const uint SCALE        = 0; // 1 + ACT: x is ACT(x scale) by image and channel; 0: it is x

layout(binding = 4) readonly buffer Scale { STORED scale[]; };

layout(push_constant) uniform Push {
    uint pixels, h, w, c, oh, ow, o, kh, kw, stride_y, stride_x;
    int  top, left;
    uint dilation_y, dilation_x, groups, cg, og, pitch, k, share;
} p;

// Image, and top left corner of the window, of a pixel of the result.
ivec3 window_of(uint pixel)
{
    uint image = pixel / (p.oh * p.ow), rest = pixel % (p.oh * p.ow);
    return ivec3(image, int(rest / p.ow * p.stride_y) - p.top, int(rest % p.ow * p.stride_x) - p.left);
}

// An element of x that is read as `e`; `at`: of its scale.
float scaled(float e, uint at)
{
    return SCALE == 0 ? e : activate(SCALE - 1, e * float(scale[at]));
}
