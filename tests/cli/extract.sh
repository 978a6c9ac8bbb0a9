#!/bin/sh
# extract: the arrays and what they mean.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
noise=--random-weights=1

# Names, shapes, types, order, record.
expect 0 extract resnet18 "$scene" "$noise" --size 32x48 -o x.npz
silent_on out
says err "1 row"
python '
z = n.load("x.npz")
shapes = {"relu": (1, 64, 16, 24), "layer1": (1, 64, 8, 12), "layer2": (1, 128, 4, 6), "layer3": (1, 256, 2, 3), "layer4": (1, 512, 1, 2)}
assert [k for k in z if k not in ("names", "record")] == list(shapes), list(z)
for name, shape in shapes.items():
    assert z[name].dtype == n.float32 and z[name].shape == shape and n.isfinite(z[name]).all() and z[name].std() > 0, name
assert list(z["names"]) == [sys.argv[1]], z["names"]
r = json.loads(str(z["record"]))
assert r["model"] == "resnet18" and r["outputs"] == list(shapes) and r["input"]["size"] == [32, 48], r
assert r["weights"] == {"random_seed": 1, "gain": 2.0} and r["input"]["preprocess"] == "mindcv" and r["strata"], r
assert r["input"]["mean"] == [0.485, 0.456, 0.406] and r["device"].startswith("cpu"), r' "$scene"
cp x.npz again.npz
expect 0 extract resnet18 "$scene" "$noise" --size 32x48 -o x.npz
same x.npz again.npz

# Selectors: the order asked for, values inside fused ops, the classifier.
expect 0 extract resnet18 "$scene" "$noise" --size 32x48 --at 'stride:8,%layer1.0.bn1,logits,-5,%layer1.0.conv1' -o sel.npz
python '
z, x = n.load("sel.npz"), n.load("x.npz")
assert list(z)[:5] == ["layer2", "layer1.0.bn1", "logits", "relu", "layer1.0.conv1"], list(z)
assert z["logits"].shape == (1, 1000)
assert (z["relu"] == x["relu"]).all()
assert abs(z["layer2"] - x["layer2"]).max() <= 2e-5 * abs(x["layer2"]).max()'
expect 0 extract resnet18 "$scene" "$noise" --size 32x48 --at 'stride:8,%layer1.0.bn1,logits,-5,%layer1.0.conv1' --pipeline "" -o plain.npz
python '
a, b = n.load("sel.npz"), n.load("plain.npz")
for k in ("layer2", "layer1.0.bn1", "logits", "relu", "layer1.0.conv1"):
    assert abs(a[k] - b[k]).max() <= 5e-5 * abs(b[k]).max(), k'
expect 0 extract resnet18 "$scene" "$noise" --size 64 --out-indices 2,0 -o idx.npz
python 'assert list(n.load("idx.npz"))[:2] == ["layer2", "relu"]'
expect 0 extract resnet18 "$scene" "$noise" --size 64 --at logits --num-classes 7 --in-channels 1 -o gray.npz
python 'assert n.load("gray.npz")["logits"].shape == (1, 7)'

# The input tensor: as documented for a picture that needs no resize; and it gives the same features again.
expect 0 extract resnet18 "$scene" "$noise" --size 32x48 --dump-input in.npy --at 3 -o x.npz
expect 0 extract resnet18 in.npy "$noise" --at 3 -o y.npz
python '
t = n.load("in.npy")
assert t.shape == (1, 3, 32, 48) and t.dtype == n.float32
assert (n.load("x.npz")["layer3"] == n.load("y.npz")["layer3"]).all()
n.save("chw.npy", t[0])
n.save("double.npy", t.astype(n.float64))
n.save("flat.npy", t[0, 0])
n.save("four.npy", n.zeros((1, 4, 32, 48), n.float32))
rng = n.random.default_rng(1)
n.save("many.npy", rng.standard_normal((7, 3, 32, 48)).astype(n.float32))
n.save("fortran.npy", n.asfortranarray(t))
n.save("odd.npy", rng.standard_normal((2, 3, 49, 67)).astype(n.float32))'
expect 0 extract resnet18 chw.npy "$noise" --at 3 -o y.npz
python 'assert (n.load("x.npz")["layer3"] == n.load("y.npz")["layer3"]).all()'
expect 3 extract resnet18 double.npy chw.npy flat.npy four.npy "$noise" --at 3 -o y.npz
python 'assert list(n.load("y.npz")["names"]) == ["chw.npy"]'
check "three reasons" [ "$(grep -c '^strata: error: rejected: ' err)" = 3 ]
expect 0 extract resnet18 "$scene" "$noise" --size 32x48 --preprocess pillow --dump-input pillow.npy --at 0 -o y.npz
python '
a, b = n.load("in.npy"), n.load("pillow.npy")
assert (a != b).any() and abs(a - b).mean() < 0.4, abs(a - b).mean()'

# The same bits for any batch size, number of threads and order; batches that do not come out even.
expect 0 extract resnet18 many.npy "$noise" --at 1,3 -o one.npz
for how in "--batch 2" "--batch 3 --threads 1" "--batch 16 --threads 2"; do
    # shellcheck disable=SC2086 # a list of words
    expect 0 extract resnet18 many.npy "$noise" --at 1,3 $how -o two.npz
    python '
a, b = n.load("one.npz"), n.load("two.npz")
assert a["layer1"].shape[0] == 7 and all((a[k] == b[k]).all() for k in ("layer1", "layer3", "names"))'
done
python 'assert list(n.load("one.npz")["names"]) == [f"many.npy[{i}]" for i in range(7)]'
expect 0 extract resnet18 chw.npy many.npy in.npy "$noise" --at 3 --batch 4 -o three.npz
python '
a, b, c = n.load("three.npz")["layer3"], n.load("one.npz")["layer3"], n.load("x.npz")["layer3"]
assert (a[1:8] == b).all() and (a[0] == c[0]).all() and (a[8] == c[0]).all()'

# Sizes: logits of any size go together, maps do not.
expect 0 extract resnet18 many.npy odd.npy "$scene" chw.npy "$noise" --size 64 --at logits --batch 2 -o sizes.npz
expect 0 extract resnet18 odd.npy "$noise" --at logits,2 -o odd.npz
python '
assert n.load("sizes.npz")["logits"].shape == (11, 1000)
assert (n.load("sizes.npz")["logits"][7:9] == n.load("odd.npz")["logits"]).all()
assert n.load("odd.npz")["layer2"].shape == (2, 128, 7, 9)'
expect 3 extract resnet18 many.npy odd.npy chw.npy "$noise" --at 2 -o sizes.npz
says err "49x67 gives arrays of another shape"
python 'assert n.load("sizes.npz")["layer2"].shape == (8, 128, 4, 6)'

# Statistics, as NumPy has them; the same for any batch; in the record.
expect 0 extract resnet18 many.npy "$noise" --at 0,4,logits --stats --batch 3 -o stats.npz
says out "layer4"
expect 0 extract resnet18 many.npy "$noise" --at 0,4,logits --stats --json -o stats.npz
python '
z, r = n.load("stats.npz"), json.load(open("out"))
assert json.loads(str(z["record"])) == r and list(r["stats"]) == ["relu", "layer4", "logits"], r
for k, s in r["stats"].items():
    a = z[k].astype(n.float64)
    assert s["count"] == a.size and s["nan"] == 0 == s["inf"] and s["min"] == n.float64("%.9g" % a.min()), s
    assert n.allclose([s["max"], s["mean"], s["std"]], [a.max(), a.mean(), a.std()], rtol=1e-7, atol=1e-12), (k, s, a.mean(), a.std())'
cp out one.json
expect 0 extract resnet18 many.npy "$noise" --at 0,4,logits --stats --json --batch 4 -o stats.npz
same out one.json
expect 0 extract resnet18 chw.npy "$noise" --json -o stats.npz
python 'assert "stats" not in json.load(open("out"))'

# NaN and Inf: a warning; with --check-finite an exit code. The arrays are written in both cases.
python '
a = n.load("many.npy")
a[2, 0, 5, 5] = n.nan
a[5, 1, 0, 0] = n.inf
n.save("broken.npy", a)'
expect 0 extract resnet18 broken.npy "$noise" --at 1 --pipeline "" -o broken.npz
says err "strata: warning: 'layer1' holds"
says err "first in broken.npy[2]"
expect 1 extract resnet18 broken.npy "$noise" --at 1 --batch 2 --stats --json --check-finite -o broken.npz
says err "--check-finite: 1 of 1 arrays hold NaN or Inf"
python '
a, s = n.load("broken.npz")["layer1"], json.load(open("out"))["stats"]["layer1"]
assert (s["nan"], s["inf"]) == (n.isnan(a).sum(), n.isinf(a).sum()) and s["nan"] + s["inf"] > 0, s
f = a[n.isfinite(a)].astype(n.float64)
assert n.allclose([s["min"], s["max"], s["mean"], s["std"]], [f.min(), f.max(), f.mean(), f.std()]), s'
expect 0 extract resnet18 many.npy "$noise" --at 1 --check-finite -o x.npz
expect 3 extract resnet18 flat.npy many.npy "$noise" --at 1 --check-finite -o x.npz

# Any value of what runs, a row per image; looking changes nothing; what fusion removed is named.
expect 0 extract resnet18 many.npy "$noise" --at 1,3 --batch 2 --dump-values '%layer1.?.relu*' values -o two.npz
says err "4 match"
python '
a, b, v = n.load("one.npz"), n.load("two.npz"), n.load("values/layer1.1.relu.1.npy")
assert (a["layer1"] == b["layer1"]).all() and (a["layer3"] == b["layer3"]).all() and list(b)[:2] == ["layer1", "layer3"]
assert v.dtype == n.float32 and v.shape == (7, 64, 8, 12) and (v == a["layer1"]).all(), v.shape
assert json.loads(str(b["record"]))["outputs"] == ["layer1", "layer3"]
import os
assert sorted(os.listdir("values")) == [f"layer1.{i}.relu{s}.npy" for i in (0, 1) for s in (".1", "")], os.listdir("values")'
expect 0 extract resnet18 chw.npy "$noise" --at 1 --dump-values 'layer1.0.*' values -o x.npz
says err "are no more after the passes: layer1.0.conv1"
says err '--pipeline ""'
expect 0 extract resnet18 chw.npy "$noise" --at 1 --pipeline "" --dump-values 'layer1.0.*' values -o x.npz
python 'assert n.load("values/layer1.0.conv1.npy").shape == (1, 64, 8, 12) and n.load("values/layer1.0.add.npy").std() > 0'
expect 0 extract resnet18 chw.npy "$noise" --at 1 --dump-values '@conv*.weight' constants --pipeline "" -o x.npz
python 'assert n.load("constants/conv1.weight.npy").shape == (64, 3, 7, 7)'
expect 6 extract resnet18 chw.npy "$noise" --at 1 --dump-values '*' nowhere/values -o new.npz
check "nothing is written" [ ! -e new.npz ]
cat >names.graph <<'END'
graph "names" {
  image {size=[32,48], channels=3, mean=[0,0,0], std=[1,1,1], interpolation=bilinear, crop_pct=1}
  input %input : f32[1,3,32,48]
  %"../a b" = relu(%input) : f32[1,3,32,48]
  %all = max_pool(%"../a b") {kernel=2, stride=2} : f32[1,3,16,24]
  output "all" = %all
}
END
expect 0 extract ./names.graph chw.npy "$noise" --dump-values '*' values -o x.npz
python 'assert n.load("values/..%2fa%20b.npy").shape == (1, 3, 32, 48)'

# Other files: f16, safetensors, pictures.
expect 0 extract resnet18 many.npy "$noise" --at 1 --dtype f16 -o half.npz
python '
a, b = n.load("half.npz")["layer1"], n.load("one.npz")["layer1"]
assert a.dtype == n.float16 and (a == b.astype(n.float16)).all()'
expect 0 extract resnet18 many.npy "$noise" --at 1,3 -o x.safetensors
python '
raw = open("x.safetensors", "rb").read()
size = int.from_bytes(raw[:8], "little")
head = json.loads(raw[8:8 + size])
for name in ("layer1", "layer3"):
    e = head[name]
    lo, hi = e["data_offsets"]
    a = n.frombuffer(raw[8 + size:][lo:hi], "<f4").reshape(e["shape"])
    assert e["dtype"] == "F32" and (a == n.load("one.npz")[name]).all(), name
assert json.loads(head["__metadata__"]["record"])["model"] == "resnet18"'
expect 0 weights x.safetensors --json
python 'assert {e["name"] for e in json.load(open("out"))["entries"]} >= {"layer1", "layer3"}'
expect 0 extract resnet18 "$scene" "$noise" --size 64 --picture pic.png -o x.npz
check "a PNG" [ "$(head -c 4 pic.png | tail -c 3)" = PNG ]
expect 0 extract resnet18 many.npy "$noise" --at 0,logits --picture pic.png -o x.npz
check "a PNG" [ "$(head -c 4 pic.png | tail -c 3)" = PNG ]
finish
