#!/bin/sh
# models, info and devices: names, tables, JSON. ResNet's numbers are known from the literature.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"

expect 0 models
cp out all
check "sorted, one per line" sh -c "LC_ALL=C sort -c all && ! grep -q ' ' all"
expect 0 models 'resnet??' hrnet_w32
check "patterns" [ "$(tr '\n' ' ' <out)" = "hrnet_w32 resnet18 resnet34 resnet50 " ]
expect 0 models --features
check "not more with features than without" [ "$(wc -l <out)" -le "$(wc -l <all)" ]
expect 0 models --json 'resnet*'
python 'm = json.load(open("out")); assert m[0]["name"] == "resnet101" and m[0]["family"] == "resnet", m'

expect 0 info resnet50 --json
python '
i = json.load(open("out"))
assert set(i) >= {"name", "family", "params", "macs", "input", "features"}, i
assert i["params"] == 25557032 + 2 * 26560, i["params"]  # with running mean and variance
assert abs(i["macs"] - 4.09e9) < 0.03e9, i["macs"]
assert i["input"]["size"] == [224, 224] and i["input"]["channels"] == 3
assert n.allclose(i["input"]["mean"], [0.485, 0.456, 0.406]) and n.allclose(i["input"]["std"], [0.229, 0.224, 0.225])
assert i["input"]["interpolation"] in ("bilinear", "bicubic") and 0 < i["input"]["crop_pct"] <= 1
f = i["features"]
assert [x["index"] for x in f] == [0, 1, 2, 3, 4]
assert [x["name"] for x in f] == ["relu", "layer1", "layer2", "layer3", "layer4"]
assert [x["level"] for x in f] == ["C1", "C2", "C3", "C4", "C5"]
assert [x["stride"] for x in f] == [2, 4, 8, 16, 32]
assert [x["channels"] for x in f] == [64, 256, 512, 1024, 2048]
assert f[2]["shape"] == [1, 512, 28, 28], f[2]
assert [x["receptive_field"] for x in f] == [7, 35, 91, 267, 427], f
# The stem pads its 7x7 window evenly; the pool after it pads at the end only, so its centre is one step of 2 pixels on.
assert [x["offset"] for x in f] == [0, 2, 2, 2, 2], f'
expect 0 info resnet50 --size 97x131 --json
python 'f = json.load(open("out"))["features"]; assert [x["shape"][2:] for x in f] == [[-(-97 // x["stride"]), -(-131 // x["stride"])] for x in f], f'
expect 0 info resnet50 --size 256
says out "256 x 256"
says out "layer4  C5"
says out "receptive field  offset"
says out "as MindCV"
expect 0 info resnet50 --preprocess pillow
says out "Pillow"
expect 0 info resnet50 --num-classes 10 --json
python 'assert json.load(open("out"))["params"] == 25557032 + 2 * 26560 - 990 * 2049'
expect 0 info resnet50 --in-channels 1 --json
python 'i = json.load(open("out")); assert i["input"]["channels"] == 1 and i["params"] == 25557032 + 2 * 26560 - 2 * 64 * 49'
expect 0 info resnet50 --at 0 --json
python 'i = json.load(open("out")); assert i["params"] == 64 * 147 + 4 * 64 and i["macs"] == 112 * 112 * 64 * 147, i'

# Every model has the table; batch and size reach the shapes.
while read -r model; do
    expect 0 info "$model" --json --size 64 --batch 2
    tr -d '\n' <out >>tables
    echo >>tables
done <all
python '
for line in open("tables"):
    i = json.loads(line)
    assert len(i["features"]) > 0 and i["params"] >= i["feature_params"] > 0, i
    assert all(f["shape"][:2] == [2, f["channels"]] for f in i["features"]), i
    assert all(f["shape"][2] == -(-64 // f["stride"]) for f in i["features"]), i'

expect 0 devices
says out cpu
expect 0 devices --json
python 'd = json.load(open("out")); assert d[0]["device"] == "cpu" and d[0]["usable"] and d[0]["memory"] > 0, d'
finish
