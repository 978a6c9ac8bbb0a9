#!/bin/sh
# weights, and binding them: a checkpoint written by this script from the rule of docs/random-weights.md gives the same
# features as --random-weights, bit for bit; what does not fit is refused.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
model=resnet18
run="--size 64 --at 1,4"

expect 0 dump $model --at -1
grep -oE 'param @[^ ]+ : f32\[[0-9,]+\]' out | sed 's/param @//; s/ : f32\[/ /; s/\]//' >params
"$PYTHON" "$here/make_weights.py" params 1 2.0
equal_to_noise() {
    python 'a, b = n.load("noise.npz"), n.load("x.npz"); assert all((a[k] == b[k]).all() for k in ("layer1", "layer4"))'
}

# shellcheck disable=SC2086 # $run is a list of words
{
    expect 0 extract $model "$scene" --random-weights 1 $run -o noise.npz
    expect 0 extract $model "$scene" --weights plain.safetensors $run -o x.npz
    equal_to_noise
    says err "bound"
    python '
import hashlib
r = json.loads(str(n.load("x.npz")["record"]))
assert r["weights"]["sha256"] == hashlib.sha256(open("plain.safetensors", "rb").read()).hexdigest(), r
assert r["weights"]["format"] == "safetensors"'

    # The list of entries.
    expect 0 weights plain.safetensors --json
    python '
import hashlib
listed = {e["name"]: e for e in json.load(open("out"))["entries"]}
truth = n.load("truth.npz")
assert set(listed) == set(truth), set(listed) ^ set(truth)
for name in truth:
    assert listed[name]["shape"] == list(truth[name].shape) and listed[name]["dtype"] == "f32"
    assert listed[name]["sha256"] == hashlib.sha256(truth[name].tobytes()).hexdigest(), name'
    expect 0 weights plain.safetensors
    says out "conv1.weight"
    says out "[64,3,7,7]"
    cp out table
    expect 0 weights plain.safetensors --convert copy.safetensors
    expect 0 weights copy.safetensors
    same out table
    expect 6 weights plain.safetensors --convert nowhere/x.safetensors

    # What the outputs do not need may be missing; what they need may not.
    expect 0 extract $model "$scene" --weights short.safetensors --size 64 --at 0,1 -o x.npz
    expect 4 extract $model "$scene" --weights short.safetensors $run -o y.npz
    says err "layer4.1.conv2.weight"
    expect 4 extract $model "$scene" --weights shape.safetensors $run -o y.npz
    says err "layer2.0.conv1.weight"
    expect 4 extract $model "$scene" --weights plain.safetensors --ema $run -o y.npz
    expect 4 extract $model "$scene" --weights nothing.ckpt $run -o y.npz
    expect 4 extract $model "$scene" --weights "$scene" $run -o y.npz
    head -c 100000 plain.safetensors >half.safetensors
    expect 4 extract $model "$scene" --weights half.safetensors $run -o y.npz
    expect 4 weights half.safetensors
    expect 4 bench $model --weights half.safetensors
    expect 4 dump $model --weights half.safetensors
    check "no output" [ ! -e y.npz ]

    # Averaged copies.
    expect 0 extract $model "$scene" --weights ema.safetensors --ema $run -o x.npz
    equal_to_noise

    # Names of another framework: refused without --auto-map, found with it; the map can be kept.
    expect 4 extract $model "$scene" --weights torch.safetensors $run -o y.npz
    says err "--auto-map"
    expect 0 extract $model "$scene" --weights torch.safetensors --auto-map --save-map map.txt $run -o x.npz
    equal_to_noise
    says map.txt "layer1.0.bn1.gamma"
    expect 0 extract $model "$scene" --weights torch.safetensors --map map.txt $run -o x.npz
    equal_to_noise
    says err "by the saved map"
    expect 4 extract $model "$scene" --weights torch.safetensors --map nothing.txt $run -o y.npz
    expect 6 extract $model "$scene" --weights torch.safetensors --auto-map --save-map nowhere/map $run -o y.npz

    # Dumps with weights compute with them.
    expect 0 dump $model --weights plain.safetensors --at 1 --plan
    says out "conv2d"
}
finish
