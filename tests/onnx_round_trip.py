#!/usr/bin/env python3
"""What export writes, import reads: the same graph, the same numbers, for every family, as built and optimised.

usage: onnx_round_trip.py STRATA [MODEL...]

Skipped (77) without numpy or in a build without ONNX.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy
except ImportError:
    if sys.executable != "/usr/bin/python3" and os.access("/usr/bin/python3", os.X_OK):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
EXE = sys.argv[1]
TOLERANCE = 5e-6  # of the largest magnitude: what is one op here and several there rounds otherwise (GRN: 1.6e-6 to 2.3e-6
                  # by the order in which kernels sum), and networks of noise amplify it
SIZE = [72, 104]
MODELS = ["resnet18", "resnext50_32x4d", "resnest14", "vgg11", "mobilenet_v2_100", "mobilenet_v3_small_100",
          "convnext_tiny", "convnextv2_atto", "efficientnet_b0", "repvgg_a0", "hrnet_w32", "rexnet_10",
          os.path.join(HERE, "data", "onnx", "ops.graph")]


def strata(*arguments):
    done = subprocess.run([EXE, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"strata {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def features_of(model):
    return [{k: f[k] for k in ("index", "name", "stride", "channels", "receptive_field")}
            for f in json.loads(strata("info", model, "--json"))["features"]]


def round_trip(model, form, options, folder):
    """The largest relative difference, and how many ops the graph has before and after."""
    graph_file = "/" in model
    shape, common = [1, 3, *SIZE], ["--random-weights", "7"]
    if graph_file:
        shape = [1, 8, 15, 18]
    else:
        features = [str(f["index"]) for f in features_of(model)]
        outputs = ",".join(features + ([] if model.startswith("vgg") else ["logits"]))
        common += ["--num-classes", "24", "--at", outputs, "--size", "x".join(map(str, SIZE))]
    file, data, before, after = (os.path.join(folder, n) for n in ("m.onnx", "in.npy", "before.npz", "after.npz"))
    numpy.save(data, numpy.random.default_rng(5).standard_normal(shape, numpy.float32))
    strata("extract", model, data, "-o", before, *common)
    strata("export", model, "-o", file, *common, *options)
    outputs = [] if graph_file else ["--at", outputs]
    strata("extract", file, data, "-o", after, *outputs)
    if not graph_file and form == "plain":
        here, there = features_of(file), features_of(model)
        if here != there:
            raise RuntimeError(f"features are {here}, not {there}")
    # The text form holds the graph too, names and all.
    text = os.path.join(folder, "m.graph")
    strata("dump", file, "-o", text)
    if strata("dump", text) != strata("dump", file):
        raise RuntimeError("the dump does not read back as it is")
    ours, theirs, worst = numpy.load(before), numpy.load(after), 0.0
    if set(ours.files) != set(theirs.files):
        raise RuntimeError(f"outputs are {theirs.files}, not {ours.files}")
    for name in set(ours.files) - {"names", "record"}:
        worst = max(worst, float(numpy.abs(ours[name] - theirs[name]).max() / max(numpy.abs(ours[name]).max(), 1e-30)))
    return worst, len(strata("dump", model, *common[2:]).splitlines()), len(strata("dump", file).splitlines())


def main():
    failures = 0
    try:
        strata("export", "resnet18", "--random-weights", "1", "--size", "32", "-o", os.devnull)
    except RuntimeError as error:
        if "has no ONNX" in str(error):
            sys.exit(77)
        raise
    for model in sys.argv[2:] or MODELS:
        for form, options in (("plain", []), ("optimised", ["--after", "all"]), ("outside", ["--external-data"])):
            if form == "outside" and model not in MODELS[:1] + sys.argv[2:]: # where the numbers are is no matter of the model
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    worst, before, after = round_trip(model, form, options, folder)
                    verdict = "ok" if worst <= TOLERANCE else "FAILED"
                    print(f"{os.path.basename(model):24} {form:10} {worst:9.2e} {before:5} -> {after:5}  {verdict}", flush=True)
                except RuntimeError as error:
                    verdict = "FAILED"
                    print(f"{os.path.basename(model):24} {form:10} FAILED: {error}", flush=True)
                failures += verdict != "ok"
    sys.exit(1 if failures else 0)


main()
