#!/bin/sh
# --plugin on every command that knows models, passes, ops or devices, and strata doctor.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
good=$BUILD/examples
bad=$BUILD/tests/plugins
noise=--random-weights=1

# A model.
expect 0 models --plugin "$good/stairs.so" 'stairs_*'
check "two models" [ "$(tr '\n' ' ' <out)" = "stairs_small stairs_tiny " ]
expect 7 info stairs_tiny
expect 0 info stairs_tiny --plugin "$good/stairs.so" --json
python '
d = json.load(open("out"))
assert [(f["name"], f["stride"], f["channels"]) for f in d["features"]] == [
    ("stage1", 4, 16), ("stage2", 8, 32), ("stage3", 16, 64), ("stage4", 32, 128)], d'
expect 0 extract stairs_tiny "$scene" "$noise" --plugin "$good/stairs.so" --at stride:8,logits -o stairs.npz
python 'd = n.load("stairs.npz"); assert d["stage2"].shape == (1, 32, 28, 28) and d["logits"].shape == (1, 1000)'
with STRATA_PLUGIN="$good/stairs.so:$good/trace.so" expect 0 info stairs_small
with STRATA_PLUGIN="$good/stairs.so" expect 7 info stairs_small --plugin "$good/trace.so" # the command line wins
expect 0 complete info --plugin "$good/stairs.so" stairs_t
says out stairs_tiny

# An op in graph texts: every command, and the same numbers from the kernel and from the definition.
cp "$SOURCE/examples/op_plugin/blur.graph" .
expect 6 info blur.graph
says err "no op is named 'blur_pool'"
says err "blur.graph:8:"
blur="--plugin $good/blur_pool.so"
# shellcheck disable=SC2086 # a list of options
{
    expect 0 info blur.graph $blur
    says out "[1,32,16,16]"
    expect 0 dump blur.graph $blur
    cp out again.graph
    expect 0 dump ./again.graph $blur
    same out again.graph
    expect 0 dump blur.graph $blur $noise --plan
    says out "cpu blur_pool.rows"
    expect 0 dump blur.graph $blur --format json
    says out '"blur_pool"'
    expect 0 dump blur.graph $blur --format dot
    says out blur_pool
    expect 0 extract blur.graph "$scene" $noise $blur --at blur1,blur2 -o kernel.npz
    expect 0 extract blur.graph "$scene" $noise $blur --at blur1,blur2 --pipeline "" --device trace \
        --plugin "$good/trace.so" -o definition.npz
    says err "trace has no kernel for 2 nodes"
    expect 0 compare blur.graph $noise $blur --test definition
    says out "blur_pool"
    expect 0 bench blur.graph $noise $blur --runs 2 --json
}
python '
a, b = n.load("kernel.npz"), n.load("definition.npz")
for name in ("blur1", "blur2"):
    assert a[name].any() and n.allclose(a[name], b[name], rtol=1e-4, atol=1e-5), name'

# The same op on Vulkan, by a shader that stands in the plug-in as text, under validation; where there is a device, and the
# module that compiles texts is built.
check "an op for both backends in less than 120 lines" [ "$(wc -l <"$SOURCE/examples/op_plugin/blur_pool.c")" -lt 120 ]
device=$("$STRATA" devices --json | "$PYTHON" -c 'import json, sys
print(next((d["device"] for d in json.load(sys.stdin) if d["backend"] == "vulkan" and d["usable"]), ""))')
if [ -n "$device" ] && [ -e "$BUILD/libstrata-glsl.so" ]; then
    export VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
    export VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
    # shellcheck disable=SC2086 # a list of options
    {
        expect 0 doctor $blur
        says out "blur_pool.window"
        check "validation is silent" sh -c '! grep -i -e validation -e VUID out err'
        expect 0 extract blur.graph "$scene" $noise $blur --at blur1,blur2 --device "$device" --strict-device -o shader.npz
        check "validation is silent" sh -c '! grep -i -e validation -e VUID out err'
        expect 0 compare blur.graph $noise $blur --ref cpu --test "$device"
        says out "blur_pool.window"
        expect 0 dump blur.graph $blur $noise --plan --device "$device"
        says out "vulkan blur_pool.window"
    }
    unset VK_INSTANCE_LAYERS VK_LAYER_ENABLES
    python '
a, b = n.load("kernel.npz"), n.load("shader.npz")
for name in ("blur1", "blur2"):
    assert n.allclose(a[name], b[name], rtol=1e-4, atol=1e-5), name'
fi

# A pass: before the default ones, in a pipeline of its own, completed, and misspelt.
cp "$SOURCE/examples/pass_plugin/exported.graph" .
silu="--plugin $good/fuse_silu.so"
# shellcheck disable=SC2086
{
    expect 0 dump exported.graph $silu --pipeline +fuse_silu --after fuse_act
    says out "act=silu"
    expect 0 dump exported.graph $silu --pipeline fuse_silu --after all
    says out "%act = silu(%conv)"
    expect 2 dump exported.graph $silu --pipeline +fuse_sillu
    says err "did you mean fuse_silu?"
    expect 2 dump exported.graph --pipeline +fuse_silu --after all
    expect 0 complete dump $silu --after fuse_s
    says out fuse_silu
}

# A backend.
expect 0 devices --plugin "$good/trace.so"
says out "trace:0"
expect 5 bench dummynet1 "$noise" --device trace
expect 0 extract dummynet1 "$scene" "$noise" --plugin "$good/trace.so" --device trace --verbose --size 32 -o t.npz
says err "trace: layer1.2 = conv2d [1,16,16,16]"
expect 0 extract dummynet1 "$scene" "$noise" --size 32 -o c.npz
python '
a, b = n.load("t.npz"), n.load("c.npz")
assert all(n.allclose(a[k], b[k], rtol=1e-4, atol=1e-5) for k in ("layer1", "layer4"))'

# What is no plug-in, or one for another Strata: a sentence, and the code of a wrong file.
expect 6 models --plugin "$bad/abi.so"
says err "interface"
says err "9.9.9"
for file in size half nameless symbol; do
    expect 6 info resnet18 --plugin "$bad/$file.so"
    says err "$file.so"
done
expect 1 info resnet18 --plugin "$bad/silent.so"
expect 6 info resnet18 --plugin nowhere.so
says err "No such file"
expect 6 info resnet18 --plugin "$scene"
expect 2 weights x.ckpt --plugin "$good/trace.so"

# The doctor.
for file in blur_pool fuse_silu stairs trace; do
    expect 0 doctor --plugin "$good/$file.so"
    check "no failure in the table" sh -c "! grep FAILED out"
done
expect 0 doctor --plugin "$good/blur_pool.so" --plugin "$good/fuse_silu.so" --json
python '
d = json.load(open("out"))
assert all(row["ok"] for row in d)
gpu = {"kernel blur_pool.window"} # a row of its own where there is no adapter to try it on
assert {row["part"] for row in d} - gpu == {"op blur_pool", "pass fuse_silu"}
assert {row.get("kernel") for row in d} >= {"blur_pool.rows", "changed", "left alone"}'
fails() { # PLUGIN TEXT: the doctor finds it
    expect 1 doctor --plugin "$bad/$1.so"
    says out "$2"
    says err "checks failed"
}
fails kernel "differs from its definition"
fails threads "other bits with other threads"
fails caseless "no case has it"
fails caseless "no case has chosen it"
fails text "twice gives f32[2,3]"
fails pass "a value that keeps its name has changed"
finish
