#!/bin/sh
# All that only a real GPU can show, in one go: bench/gpu.sh DEVICE [BUILD], with DEVICE as in `strata devices`, 0 say.
#
# The tests of the Vulkan backend on it, strata doctor with both types of values, an op of a plug-in, eight models beside the
# CPU, how long they take, and what tuning finds for one of them. Goes on after a failure and says at the end what has
# failed. BUILD is a build folder (default: build beside bench/), which may come from another machine: only its programs and
# libraries are run.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
index=${1:?"usage: bench/gpu.sh DEVICE [BUILD]"}
build=$(cd "${2:-$top/build}" && pwd)
strata=$build/tools/strata
device=vulkan:$index
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export STRATA_TEST_VULKAN="$index" LD_LIBRARY_PATH="$build${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
models="resnet50 mobilenet_v3_large_100 convnext_tiny resnest50 efficientnet_b0 repvgg_a0 hrnet_w32 rexnet_10"
failed=

# try WHAT COMMAND...: the last lines of what it prints, and whether it succeeds. 77: skipped.
try() {
    what=$1
    shift
    code=0
    "$@" >"$work/out" 2>&1 || code=$?
    tail -n "${lines:-3}" "$work/out" | sed "s/^/    /"
    echo "$what: $([ $code = 0 ] && echo ok || echo "exit $code")"
    [ $code = 0 ] || [ $code = 77 ] || failed="$failed $what"
}

"$strata" devices
for test in vulkan vulkan_cache vulkan_absorb vulkan_kernels vulkan_faults vulkan_models; do
    try "test_$test" "$build/tests/test_$test"
done
try test_vulkan_user "$build/tests/test_vulkan_user" "$build/libstrata-glsl.so"
for precision in fp32 fp16; do
    try "doctor $precision" "$strata" doctor --device "$device" --precision $precision
done
try plug-in "$strata" compare "$top/examples/op_plugin/blur.graph" --random-weights 1 --test "$device" \
    --plugin "$build/examples/blur_pool.so"
for model in $models; do
    try "compare $model fp32" "$strata" compare "$model" --random-weights 1 --test "$device"
    # With a gain of 2 values of hrnet_w32 leave the range of fp16.
    try "compare $model fp16" "$strata" compare "$model" --random-weights 1:1.5 --ref "$device" \
        --precision fp16 --tolerance 1e-2
done
lines=6
for model in $models; do
    for precision in fp32 fp16; do
        for batch in 1 64; do
            try "bench $model $precision batch $batch" "$strata" bench "$model" --random-weights 1 --at logits \
                --device "$device" --precision $precision --batch $batch
        done
    done
done
lines=40
XDG_CACHE_HOME=$work try "tune resnet50" "$strata" bench resnet50 --random-weights 1 --at logits --device "$device" --tune
[ -z "$failed" ] || {
    echo "failed:$failed" >&2
    exit 1
}
