#!/usr/bin/env python3
"""ONNX Runtime computes what we compute: every family, exported as built and optimised, run on the same input.

usage: onnx_peer.py STRATA [MODEL...]

The peer is npm's onnxruntime-node ("npm install --ignore-scripts --prefix build-npm onnxruntime-node"; NODE_PATH says where
else its node_modules may be). Without it, or without numpy, the test is skipped (77).
"""
import json
import os
import shutil
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
TOLERANCE = 1e-4  # of the largest magnitude of an output
SIZE = "72x104"  # no multiple of 32: uneven maps, and factors of HRNet's resizes that are no whole numbers
FAMILIES = [  # small ones, which together have every op of every family
    "resnet18", "resnext50_32x4d", "resnest14", "vgg11", "mobilenet_v2_100", "mobilenet_v3_small_100", "convnext_tiny",
    "convnextv2_atto", "efficientnet_b0", "repvgg_a0", "hrnet_w32", "rexnet_10", os.path.join(HERE, "data", "onnx", "ops.graph"),
]
DYNAMIC = ["resnet18", "resnest14", "convnextv2_atto", "hrnet_w32"]  # whose reshapes and resizes see the batch
FORMS = [("plain", []), ("optimised", ["--after", "all"]), ("dynamic", ["--dynamic-batch"]),
         ("external", ["--external-data"])]


def strata(exe, *arguments):
    done = subprocess.run([exe, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"strata {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def start_peer():
    node = shutil.which("node")
    if not node:
        sys.exit(77)
    peer = subprocess.Popen([node, os.path.join(HERE, "onnx_peer.js")], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    try:
        peer.wait(2)
        if peer.returncode == 77:
            sys.exit(77)
        raise RuntimeError(f"the peer ended with {peer.returncode}")
    except subprocess.TimeoutExpired:
        return peer


def ask(peer, job):
    peer.stdin.write(json.dumps(job) + "\n")
    peer.stdin.flush()
    answer = json.loads(peer.stdout.readline())
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["outputs"]


def largest_difference(ours, theirs):
    if ours.shape != theirs.shape:
        raise RuntimeError(f"shapes differ: {ours.shape} here, {theirs.shape} there")
    return float(numpy.abs(ours - theirs).max() / max(numpy.abs(ours).max(), 1e-30))


def model_options(exe, model):
    """Options, and shape of the input: all features and the classifier, which vgg has at 224 only; a graph file has
    outputs of its own."""
    if "/" in model:
        return [], [1, 8, 15, 18]
    features = json.loads(strata(exe, "info", model, "--json"))["features"]
    outputs = ",".join([str(f["index"]) for f in features] + ([] if model.startswith("vgg") else ["logits"]))
    return ["--num-classes", "24", "--at", outputs, "--size", SIZE], [1, 3] + [int(s) for s in SIZE.split("x")]


def compare(exe, peer, model, form, options, folder):
    """The largest difference of any output, relative to its largest magnitude; and the name of that output."""
    common, shape = model_options(exe, model)
    common += ["--random-weights", "3"]
    if form == "dynamic":
        shape[0] = 3
    file, data, result = (os.path.join(folder, name) for name in ("model.onnx", "input.npy", "ours.npz"))
    numpy.save(data, numpy.random.default_rng(len(model)).standard_normal(shape, numpy.float32))
    strata(exe, "extract", model, data, "-o", result, *common)
    strata(exe, "export", model, "-o", file, *common, *options)
    names, ours = ask(peer, {"model": file, "input": data, "out": folder}), numpy.load(result)
    wanted = set(ours.files) - {"names", "record"}
    if set(names) != wanted:
        raise RuntimeError(f"outputs are {sorted(names)}, not {sorted(wanted)}")
    worst = {name: largest_difference(ours[name], numpy.load(os.path.join(folder, name + ".npy"))) for name in names}
    name = max(worst, key=worst.get)
    return worst[name], name


def main():
    exe, chosen = sys.argv[1], sys.argv[2:] or FAMILIES
    try:
        strata(exe, "export", "resnet18", "--random-weights", "1", "--size", "32", "-o", os.devnull)
    except RuntimeError as error:
        if "has no ONNX" in str(error):
            sys.exit(77)
        raise
    peer, failures = start_peer(), 0
    for model in chosen:
        for form, options in FORMS:
            if (form == "dynamic" and model not in DYNAMIC + sys.argv[2:]) or (form == "external" and model != "resnet18"):
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    worst, name = compare(exe, peer, model, form, options, folder)
                    verdict = "ok" if worst <= TOLERANCE else f"FAILED at {name}"
                except RuntimeError as error:
                    worst, verdict = float("nan"), f"FAILED: {error}"
                failures += verdict != "ok"
                print(f"{os.path.basename(model):24} {form:10} {worst:9.2e}  {verdict}", flush=True)
    peer.stdin.close()
    sys.exit(1 if failures else 0)


main()
