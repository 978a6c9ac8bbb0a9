// rows.glsl: shaders that reduce rows. A row is `size` floats that lie `inner` apart; row r begins at
// (r / inner) * size * inner + r % inner. LANES invocations share a row, each takes every LANES-th element.
//
// Invocations that are neighbours read neighbouring floats: the lanes of a row where those lie side by side,
// else the rows.
// Every invocation of a workgroup goes through every barrier; those without a row have none of it.

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint LANES = 1; // a power of two
layout(push_constant) uniform Push {
    uint  rows, size, inner;
    float value;
} p;

shared float partial[256];

const uint ROWS = 256 / LANES; // of a workgroup
uint lane, slot, first, end, base; // place in the row; in partial; elements [first, end) in steps of LANES

// Whether there is a row for this invocation.
bool find_row()
{
    uint t = gl_LocalInvocationID.x, row;
    bool along = p.inner == 1;
    lane = along ? t % LANES : t / ROWS;
    row  = along ? t / LANES : t % ROWS;
    slot = row * LANES + lane;
    row += flat_group() * ROWS;
    bool present = row < p.rows;
    first = lane;
    end   = present ? p.size : 0;
    base  = row / p.inner * p.size * p.inner + row % p.inner;
    return present;
}

#define AT(i) (base + (i) * p.inner)

// Both for all lanes of a row.
float row_sum(float v)
{
    partial[slot] = v;
    barrier();
    for (uint step = LANES / 2; step > 0; step /= 2) {
        if (lane < step)
            partial[slot] += partial[slot + step];
        barrier();
    }
    float total = partial[slot - lane];
    barrier();
    return total;
}

float row_max(float v)
{
    partial[slot] = v;
    barrier();
    for (uint step = LANES / 2; step > 0; step /= 2) {
        if (lane < step)
            partial[slot] = max(partial[slot], partial[slot + step]);
        barrier();
    }
    float most = partial[slot - lane];
    barrier();
    return most;
}
