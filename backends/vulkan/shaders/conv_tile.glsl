// conv_tile.glsl: how a workgroup of the implicit matrix products finds its rows of X, see gemm.c.
// ORDER vk_gemm_emit
//
// The elements of a row are ordered by tap (row and column of the window), then by channel. Each invocation loads
// VECTOR of them at a time, always the same ones of each piece of k, for ROWS rows of the tile that lie ROW_STEP
// apart; so where in the window it is has to be worked out once for all its rows, and as a rule by an addition.

#extension GL_EXT_control_flow_attributes : require

layout(constant_id = 4) const bool SPLIT        = false; // a sum of several workgroups
layout(constant_id = 5) const bool POINTWISE    = false; // 1x1, stride 1: pixel p needs pixel p only
layout(constant_id = 6) const bool ALIGNED      = false; // channels in of a group come in whole vectors
layout(constant_id = 7) const bool WIDE         = false; // ... and channels out
layout(constant_id = 8) const uint PIXELS       = 64;    // of the tile; PIXELS and CHANNELS: powers of two
layout(constant_id = 9) const uint CHANNELS     = 64;
layout(constant_id = 10) const uint DEPTH        = 16;    // of the piece of k in shared memory
layout(constant_id = 11) const uint OWN_PIXELS   = 4;    // of one invocation, or of one subgroup
layout(constant_id = 12) const uint OWN_CHANNELS = 4;
layout(constant_id = 13) const uint THREADS      = 256;  // ... which is also the size of the workgroup
layout(local_size_x_id = 13) in;

layout(binding = 6) coherent buffer Partial { vec4 partial[]; }; // [tile][split][quad]: four floats of a tile
#define ARRIVED 7
#include "arrive.glsl"

const uint VECTORS  = DEPTH / VECTOR;     // of a row of the piece
const uint ROW_STEP = THREADS / VECTORS;
const uint ROWS     = PIXELS / ROW_STEP;
const uint W_STEP   = THREADS / (CHANNELS / VECTOR); // the same for rows of W
const uint W_ROWS   = DEPTH / W_STEP;

uint  first_pixel, first_channel, group, split_at, k_end;
uint  row_at[ROWS];     // element 0 of the image, or of the pixel when POINTWISE
uint  scale_at[ROWS];   // with a SCALE, which takes POINTWISE: element 0 of the image's
ivec2 window_at[ROWS];  // top left corner of the window; far outside for a pixel that does not exist
uint  own_k;            // of the vector to be loaded next
uint  channel_in;       // where that is: channel of the group, place in the window
uvec2 tap;

void move_tap()
{
    while (channel_in >= p.cg) {
        channel_in -= p.cg;
        tap.x++;
        if (tap.x == p.kw) {
            tap.x = 0;
            tap.y++;
        }
    }
}

void begin_tile()
{
    const uint t = gl_LocalInvocationID.x, ranges = (p.og + CHANNELS - 1) / CHANNELS, tile = flat_group();
    first_channel = tile % ranges * CHANNELS;
    first_pixel   = tile / ranges * PIXELS;
    group         = gl_WorkGroupID.z % p.groups;
    split_at      = gl_WorkGroupID.z / p.groups;
    uint begin    = split_at * p.share;
    k_end         = min(begin + p.share, p.k);
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        uint pixel = first_pixel + t / VECTORS + i * ROW_STEP;
        window_at[i] = ivec2(pixel < p.pixels ? 0 : -0x40000000);
        if (POINTWISE) {
            row_at[i] = pixel * p.c + group * p.cg;
            if (SCALE > 0)
                scale_at[i] = pixel / (p.oh * p.ow) * p.c;
        } else if (pixel < p.pixels) {
            ivec3 window = window_of(pixel);
            row_at[i]    = uint(window.x) * p.h * p.w * p.c + group * p.cg;
            window_at[i] = window.zy;
        } else {
            row_at[i] = 0;
        }
    }
    own_k      = begin + t % VECTORS * VECTOR;
    channel_in = own_k;
    tap        = uvec2(0);
    if (!POINTWISE && ALIGNED) {
        uint index = own_k / p.cg;
        channel_in = own_k - index * p.cg;
        tap        = uvec2(index % p.kw, index / p.kw);
    }
}

// To the next piece of k.
void advance()
{
    own_k += DEPTH;
    if (ALIGNED) {
        channel_in += DEPTH;
        if (!POINTWISE)
            move_tap();
    }
}

// Where element own_k of row i lies; false where that is outside of the map, or there is no such row.
bool find_vector(uint i, out uint at)
{
    if (POINTWISE) {
        at = row_at[i] + own_k;
        return own_k < k_end && window_at[i].x == 0;
    }
    ivec2 place = window_at[i] + ivec2(tap * uvec2(p.dilation_x, p.dilation_y));
    at = row_at[i] + uint(place.y * int(p.w) + place.x) * p.c + channel_in;
    return own_k < k_end && uint(place.x) < p.w && uint(place.y) < p.h;
}

// The same for element own_k + j, when vectors are not aligned.
bool find_element(uint i, uint j, out uint at)
{
    uint k = own_k + j;
    if (POINTWISE) {
        at = row_at[i] + k;
        return k < k_end && window_at[i].x == 0;
    }
    uint  index = k / p.cg;
    ivec2 place = window_at[i] + ivec2(uvec2(index % p.kw, index / p.kw) * uvec2(p.dilation_x, p.dilation_y));
    at = row_at[i] + uint(place.y * int(p.w) + place.x) * p.c + k - index * p.cg;
    return k < k_end && uint(place.x) < p.w && uint(place.y) < p.h;
}

// Vector i of the invocation in the piece of W at k0; in vectors.
bool find_weight(uint i, uint k0, out uint at)
{
    const uint t = gl_LocalInvocationID.x, across = CHANNELS / VECTOR;
    uint       k = k0 + t / across + i * W_STEP, channel = first_channel + t % across * VECTOR;
    at = ((group * p.k + k) * p.pitch + channel) / VECTOR;
    return k < k_end && channel < p.pitch;
}

// ---- Split sums: the quads of a tile by each workgroup that has a share of k ------------------------------------------

uint split_count() { return gl_NumWorkGroups.z / p.groups; }
uint tile_at() { return group * gl_NumWorkGroups.x * gl_NumWorkGroups.y + flat_group(); }

uint quad_at(uint split, uint quad)
{
    return (tile_at() * split_count() + split) * (PIXELS * CHANNELS / 4) + quad;
}
