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
# Errors of a graph text point at the place and show it, whatever command reads it.
sed 's/{stride=2, pad=3}/{stride=2,	pda=3}/' first.graph >typo.graph
for command in "info" "dump" "bench --random-weights 1" "extract --random-weights 1 -o x.npz $scene" "report -o x.html"; do
    # shellcheck disable=SC2086 # a list of words
    expect 6 ${command%% *} ./typo.graph $(echo "$command " | cut -d ' ' -f 2-)
    says err "./typo.graph:5:"
    says err "conv2d has no attribute 'pda'"
    python 'e = open("err").read().split("\n"); i = next(k for k, l in enumerate(e) if "^" in l); c = e[i].index("^"); assert e[i - 1][c:c + 3] == "pda", e' # under it
done
awk '/%layer1.0.conv1 =/ { for (i = 0; i < 90; i++) printf "    "; sub("conv2d", "conv3d") } { print }' first.graph >wide.graph
expect 6 info ./wide.graph
python 'e = open("err").read().split("\n"); i = next(k for k, l in enumerate(e) if "^" in l); c = e[i].index("^"); assert e[i - 1][c:c + 6] == "conv3d" and len(e[i - 1]) < 140, e'

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
expect 0 dump resnet18 --at 1 --random-weights 1 --plan --exact
says out 'cpu conv2d.direct '
check "no Winograd" [ "$(grep -c winograd out)" = 0 ]
expect 0 dump resnet18 --at 1 --random-weights 1 --plan
says out 'cpu conv2d.winograd4 '
says out "# "
says out "conv2d"

# A file per pass; each reads back; what stands between two of them is what --diff says.
expect 0 dump resnet18 --at 1 --random-weights 1 --after all -o stages/
silent_on out
same stages/08-fuse_act.graph fused
check "as built" [ -s stages/00-built.graph ]
for file in stages/*.graph; do
    expect 0 dump "$file"
    same out "$file"
done
expect 0 dump resnet18 --at 1 --random-weights 1 --after all -o stages --format json
python 'assert json.load(open("stages/08-fuse_act.json"))["outputs"] == [{"name": "layer1", "value": "layer1.1.relu.1"}]'
expect 0 dump resnet18 --at 1 --random-weights 1 --diff fold_constants fuse_act
cp out between
says out "--- resnet18 fold_constants"
says out '- %bn1 = conv2d(%input, @bn1.mul.2, @bn1.add) {stride=2, pad=3} : f32[1,64,112,112]'
says out '~ %relu: relu -> conv2d, (%bn1) -> (%input, @bn1.mul.2, @bn1.add), {} -> {stride=2, pad=3, act=relu}'
says err "0 added, 7 removed, 5 changed"
expect 0 dump --diff stages/07-fold_constants.graph stages/08-fuse_act.graph
sed 1,2d out >files
sed 1,2d between >passes
same files passes
expect 0 dump --diff stages/00-built.graph resnet18 --at 1
silent_on out
expect 0 dump resnet18 --at 1 --diff built cse --pipeline cse --exit-code
expect 1 dump --diff resnet18 resnet34 --exit-code -o difference
says err "the graphs differ: 136 added, 0 removed, 15 changed"
check "a difference is written" grep -q '^+ %layer1.2.conv1 = conv2d' difference
expect 0 dump --diff resnet18 resnet18 --at 1 --exit-code --after dce
expect 0 dump resnet18 --at 2 --pipeline "features=1 dce" --after dce
says out 'output "layer1"'

# Formats.
expect 0 dump resnet18 --at 2 --format json
python 'assert json.load(open("out"))'
expect 0 dump resnet18 --at 2 --format json --after all
python 's = json.load(open("out")); assert [x["after"] for x in s][:1] == ["dce"] and all(x["graph"] for x in s), s[0]["after"]'
expect 0 dump resnet18 --at 2 --format dot
check "a digraph" grep -q '^digraph' out
expect 0 dump resnet18 --at 2 --random-weights 1 --plan --format json
python 'g = json.load(open("out")); assert all(x["device"] == 0 for x in g["nodes"] if x["live"] and x["macs"]) and any(x["kernel"] for x in g["nodes"])'
if command -v dot >/dev/null; then
    expect 0 dump resnet50 --format svg
    check "an SVG" grep -q '<svg' out
    expect 0 dump resnet18 --at 1 --random-weights 1 --plan --format png -o out.png
    check "a PNG" [ "$(head -c 4 out.png | tail -c 3)" = PNG ]
fi
code=0
PATH=/nowhere "$STRATA" dump resnet18 --format svg -o none.svg 2>err || code=$?
check "no dot gives 1, not $code" [ "$code" = 1 ]
says err "strata: error: --format svg is drawn by Graphviz, and its program 'dot' is not installed"
check "no picture" [ ! -e none.svg ]

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

# A full disk is an error; a reader that went away has seen enough.
for command in "dump resnet18" "models" "info resnet18" "info resnet18 --json" "devices" "extract --help"; do
    code=0
    # shellcheck disable=SC2086 # a list of words
    "$STRATA" $command >/dev/full 2>err || code=$?
    check "$command on a full disk gives 6, not $code" [ "$code" = 6 ]
    says err "strata: error: standard output"
done
{ "$STRATA" dump resnet152 2>err || echo $? >code; } | true
check "a closed pipe gives 6" [ "$(cat code)" = 6 ]
check "and no words" [ ! -s err ]
finish
