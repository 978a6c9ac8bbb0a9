#!/bin/sh
# dump: the text form reads back, stages are what they say, JSON is JSON, files appear whole or not at all.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"

expect 0 dump resnet18 --at stride:8 --size 96x128
says out '%layer1.0.conv1 = conv2d(%max_pool, @layer1.0.conv1.weight) {pad=1} : f32[1,64,24,32]'
says out 'output "layer2" = '
cp out first.graph
# A graph file stands for a model: it prints as it was read, keeps its outputs, and computes the same numbers.
expect 0 dump ./first.graph
same out first.graph
expect 0 info first.graph --json
python 'i = json.load(open("out")); assert i["features"][2]["channels"] == 128 and i["input"]["size"] == [96, 128], i'
expect 0 extract first.graph "$scene" --random-weights 3 -o file.npz
expect 0 extract resnet18 "$scene" --random-weights 3 --size 96x128 --at stride:8 -o name.npz
python 'a, b = n.load("file.npz"), n.load("name.npz"); assert (a["layer2"] == b["layer2"]).all() and a["layer2"].shape == (1, 128, 12, 16)'
expect 2 dump first.graph --size 64
says err "is for 1 inputs of 96x128"
# A name need not be UTF-8 to appear in JSON.
odd=$(printf 'g\377.graph')
cp first.graph "$odd"
expect 0 info "$odd" --json
says out '"name": "g\\xff.graph"'
expect 2 dump first.graph --num-classes 5
expect 6 dump nothing.graph
head -n 20 first.graph >half.graph
expect 6 dump half.graph
says err "half.graph"

# Stages.
expect 0 dump resnet18 --at 1 --random-weights 1 --after fuse_act
says out "act=relu"
check "no batch_norm is left" sh -c "! grep -q '= batch_norm' out"
cp out fused
expect 0 dump resnet18 --at 1 --random-weights 1 --after all
says out "# after fold_bn"
says out "# after fuse_act"
cp out all
sed -n '/^# after fuse_act/,$p' all | sed 1d >last
same last fused
expect 0 dump resnet18 --at 1 --after fold_bn
silent_on err
says out "mul(" # without weights the expressions stay
expect 0 dump resnet18 --at 1 --no-pass fuse_act --after all
check "fuse_act was left out" sh -c "! grep -q 'after fuse_act' out"
expect 0 dump resnet18 --at 1 --pipeline "dce fold_bn" --after all
check "two passes" [ "$(grep -c '^# after' out)" = 2 ]
expect 0 dump resnet18 --at 1 --random-weights 1 --plan
says out "# "
says out "conv2d"

# Formats.
expect 0 dump resnet18 --at 2 --format json
python 'assert json.load(open("out"))'
expect 0 dump resnet18 --at 2 --format json --after all
python 's = json.load(open("out")); assert [x["after"] for x in s][:1] == ["dce"] and all(x["graph"] for x in s), s[0]["after"]'
expect 0 dump resnet18 --at 2 --format dot
check "a digraph" grep -q '^digraph' out
if command -v dot >/dev/null; then
    check "dot reads it" dot -Tsvg out -o out.svg
fi

# Files.
expect 0 dump resnet18 --at 1 -o out.graph
silent_on out
expect 0 dump resnet18 --at 1
same out out.graph
expect 6 dump resnet18 -o nowhere/x.graph
says err "make it first"
expect 6 dump resnet18 -o .
says err "is a folder"
echo precious >kept
expect 2 dump resnet18 --pipeline dce --after fuse_act -o kept
check "an error leaves the old file" [ "$(cat kept)" = precious ]
check "nothing else is left behind" [ -z "$(find . -name 'kept?*')" ]
expect 0 dump resnet18 --at 1 -o /dev/null

# A full disk and a reader that went away are errors.
for command in "dump resnet18" "models" "info resnet18" "info resnet18 --json" "devices" "extract --help"; do
    code=0
    # shellcheck disable=SC2086 # a list of words
    "$STRATA" $command >/dev/full 2>err || code=$?
    check "$command on a full disk gives 6, not $code" [ "$code" = 6 ]
    says err "strata: error: standard output"
done
{ "$STRATA" dump resnet152 2>err || echo $? >code; } | true
check "a closed pipe gives 6" [ "$(cat code)" = 6 ]
finish
