// arrive.glsl: sums of several workgroups, each of which writes its part, the last one to do so adds them up. ARRIVED is
// the binding of the counters.
//
// In the order of the parts, whoever comes last, so results are the same bits every time. None waits for another: on
// a device that runs workgroups one by one this works as well.

layout(binding = ARRIVED) coherent buffer Arrived { uint arrived[]; }; // by sum: workgroups whose part is there

shared uint before_me;

// For a workgroup whose part of a sum is written: whether all `parts` are. Leaves 0 for the next run.
bool arrives_last(uint sum, uint parts)
{
    memoryBarrierBuffer();
    barrier();
    if (gl_LocalInvocationID.x == 0) {
        before_me = atomicAdd(arrived[sum], 1);
        if (before_me + 1 == parts)
            atomicExchange(arrived[sum], 0);
    }
    barrier();
    if (before_me + 1 < parts)
        return false;
    memoryBarrierBuffer();
    return true;
}
