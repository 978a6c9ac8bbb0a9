#!/bin/sh
# strata compare: what agrees, what does not, who is guilty, and repros that run.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
model="mobilenet_v3_small_100 --random-weights 1 --size 32"
guilty="--plugin $BUILD/tests/plugins/guilty.so"

# repro FOLDER CODE: its script ends with that code.
repro() {
    checks=$((checks + 1))
    code=0
    sh "$1/run.sh" >out 2>err </dev/null || code=$?
    [ "$code" = "$2" ] || fail "$1/run.sh: exit code $code, not $2: $(cat err)"
}
export STRATA

# Wrong usage.
expect 2 compare dummynet1 --random-weights 1
says err "both sides would be the same"
expect 2 compare dummynet1 --ref definition --test cpu
says err "no weights"
# shellcheck disable=SC2086 # a list of options
{
    expect 2 compare $model --ref-pipeline fold_bm
    says err "did you mean fold_bn?"
    expect 2 compare $model --ref-pipeline "" --tolerance 0
    says err "--tolerance: '0' is no number above 0"
    expect 2 compare $model --ref-pipeline "" --tolerance nan
    expect 2 compare $model --ref-pipeline "" --random-input 1:2
    says err "is no seed"
    expect 2 compare $model "$scene" --ref-pipeline "" --random-input 1
    expect 2 compare $model "$scene" "$scene" --ref-pipeline ""
    says err "the graph has 1 input, and 2 are given"
    expect 5 compare $model --test teapot:0
    says err "has no backend 'teapot'"
    expect 6 compare $model nowhere.jpg --test definition
    expect 7 compare resnet17 --random-weights 1 --test definition

    # What agrees: as built against optimised, kernels against definitions, any input.
    expect 0 compare $model --ref-pipeline ""
    says out "agree"
    expect 0 compare $model --test definition --json
    python '
d = json.load(open("out"))
assert d["agree"] and d["beyond"] == 0 and d["first"] is None and d["only_ref"] == d["only_test"] == 0, d
assert d["values"] > 60 and len(d["worst"]) == 10 and d["test"]["device"] == "the definitions of the ops", d
errors = [row["error"] for row in d["worst"]]
assert errors == sorted(errors, reverse=True) and 0 < errors[0] < 1e-5, errors'
    expect 0 compare $model "$scene" --ref-pipeline ""
    "$PYTHON" -c 'import numpy as n; n.save("x.npy", n.random.default_rng(1).standard_normal((3, 40, 48), dtype="float32"))'
    expect 0 compare mobilenet_v3_small_100 x.npy --random-weights 1 --ref-pipeline "" --at C3 --json
    python 'assert json.load(open("out"))["worst"][0]["shape"][2:] != [4, 4]'
    "$PYTHON" -c 'import numpy as n; n.save("x64.npy", n.zeros((1, 3, 32, 32)))'
    expect 6 compare $model x64.npy --ref-pipeline ""
    says err "f64[1,3,32,32], but input input of the graph is f32[1,3,32,32]"

    # A wrong kernel is found and named; its repro fails with the plug-in, and not without it.
    expect 1 compare $model $guilty --pipeline "" --ref definition --test cpu --bisect -o kernel
    says out "the first is features.7.add"
    says out "guilty   node features.7.add (add): kernel add.guilty on cpu:0"
    says out "repro    sh kernel/run.sh"
    says err "first features.7.add"
    check "the files of a repro" sh -c '[ -s kernel/piece.graph ] && [ -s kernel/input1.npy ] && [ -s kernel/input2.npy ]'
    (cd / && repro "$work/kernel" 1) || fail "kernel/run.sh"
    repro kernel 1
    says out "the first is features.7.add"
    sed 's/--plugin .*guilty.so. //' kernel/run.sh >kernel/innocent.sh
    checks=$((checks + 1))
    sh kernel/innocent.sh >out 2>err || fail "kernel/innocent.sh: $(cat err)"

    # A wrong pass, likewise; the passes around it are not blamed.
    expect 1 compare $model $guilty --ref-pipeline "" --test-pipeline "+weaken" --ref definition --test definition \
        --bisect -o pass --json
    python '
d = json.load(open("out"))
b = d["bisect"]
assert not d["agree"] and d["first"]["name"].startswith("features.12"), d["first"]
assert b["guilty"] == "pass" and b["pass"] == "weaken" and b["value"] == "features.12.add" and b["nodes"] == 1, b'
    repro pass 1
    says out "passes: weaken"
    expect 1 compare $model $guilty --ref-pipeline "" --test-pipeline "fold_bn weaken fuse_act dce" --ref definition \
        --test definition --bisect -o "with 'quotes'"
    says out "guilty   pass weaken: features.12.add differs after it"
    repro "with 'quotes'" 1

    # Nothing is written where nothing can be.
    expect 6 compare $model $guilty --pipeline "" --ref definition --test cpu --bisect -o nowhere/deep
    check "no repro" [ ! -e nowhere ]

    # A GPU, or a processor that poses as one.
    if "$STRATA" devices | grep -q '^vulkan:0 .*usable'; then
        expect 0 compare $model --test vulkan:0 --strict-device
        says out "test     vulkan:0"
        expect 0 compare resnest14 --random-weights 1 --size 32 --test vulkan:0 --ref-pipeline "" --json
        python 'd = json.load(open("out")); assert d["agree"] and d["only_ref"] > 0 and d["values"] > 20'
        expect 1 compare $model $guilty --pipeline "" --ref vulkan:0 --test cpu --bisect -o device
        says out "kernel add.guilty on cpu:0"
        repro device 1
        # Below what single precision can give, the first node that rounds is named.
        expect 1 compare dummynet1 --random-weights 1 --size 32 --test vulkan:0 --tolerance 1e-9 --bisect -o round
        says out "guilty   node layer1"
        repro round 1
    fi
}
finish
