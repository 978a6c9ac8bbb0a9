#version 450
#extension GL_GOOGLE_include_directive : require
// conv_depthwise.comp: one channel in and out per group; with FOUR, four of them at once. An invocation computes
// COLUMNS pixels that are neighbours in a row, so that weights and, with a stride below the window's width,
// most of x are loaded once for several of them.
#include "common.glsl"
#include "conv.glsl"
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x = 256) in;
layout(constant_id = 4) const uint COLUMNS = 1;
layout(constant_id = 5) const uint TAPS    = 3;    // width of the window
layout(constant_id = 6) const uint STEP    = 1;    // stride between columns; dilation is 1 when COLUMNS is not 1
layout(constant_id = 7) const uint ROWS    = 1;    // of the window written out, whose loads are under way at once
layout(binding = 0) readonly buffer X { STORED_T x[]; };
layout(binding = 1) readonly buffer Weight { T weight[]; };
layout(binding = 2) readonly buffer Bias { T bias[]; };
layout(binding = 3) readonly buffer Residual { STORED_T residual[]; };
layout(binding = 5) writeonly buffer Y { STORED_T y[]; };

const uint SEEN = TAPS > 8 ? 1 : (COLUMNS - 1) * STEP + TAPS; // columns of x that the windows cover

void finish(uint id, uint channel, T sum)
{
    if (HAS_BIAS)
        sum += bias[channel];
    if (HAS_RESIDUAL)
        sum += T(residual[id]);
    y[id] = STORED_T(activate(ACT, sum));
}

void main()
{
    uint channels = p.c / WIDTH, strips = (p.ow + COLUMNS - 1) / COLUMNS, id = FLAT_ID;
    uint channel = id % channels, strip = id / channels, line = strip / strips, ox = strip % strips * COLUMNS;
    if (line >= p.pixels / p.ow)
        return;
    const uint pixel = line * p.ow + ox;
    ivec3      window = window_of(pixel);
    T          sum[COLUMNS];
    [[unroll]] for (uint i = 0; i < COLUMNS; i++)
        sum[i] = T(0.0);
    for (uint r0 = 0; r0 < p.kh; r0 += ROWS)
        [[unroll]] for (uint r = r0; r < r0 + ROWS; r++) {
            const int  row = window.y + int(r * p.dilation_y);
            const bool inside = row >= 0 && row < int(p.h);
            const uint base = (uint(window.x) * p.h + uint(row)) * p.w;
            if (TAPS > 8) { // COLUMNS is 1
                for (uint s = 0; s < TAPS && inside; s++) {
                    const int column = window.z + int(s * p.dilation_x);
                    if (column >= 0 && column < int(p.w))
                        sum[0] += T(x[(base + uint(column)) * channels + channel]) *
                                  weight[(r * TAPS + s) * channels + channel];
                }
                continue;
            }
            T seen[SEEN];
            [[unroll]] for (uint i = 0; i < SEEN; i++) {
                const int column = window.z + int(COLUMNS == 1 ? i * p.dilation_x : i);
                seen[i] = T(0.0);
                if (inside && column >= 0 && column < int(p.w))
                    seen[i] = T(x[(base + uint(column)) * channels + channel]);
            }
            [[unroll]] for (uint s = 0; s < TAPS; s++) {
                const T w = weight[(r * TAPS + s) * channels + channel];
                [[unroll]] for (uint i = 0; i < COLUMNS; i++)
                    sum[i] += seen[i * STEP + s] * w;
            }
        }
    [[unroll]] for (uint i = 0; i < COLUMNS; i++)
        if (ox + i < p.ow)
            finish((pixel + i) * channels + channel, channel, sum[i]);
}
