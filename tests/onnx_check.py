#!/usr/bin/env python3
"""The checker of ONNX's own Python package accepts what export writes: every registered model as built, a model of each
family optimised, with a symbolic batch and with its weights outside. Names, shapes and metadata are what they should be.

usage: onnx_check.py STRATA [--all]

Models of more than 15 million parameters, which cost gigabytes of writing, only with --all, or as the example of a family.
Skipped (77) without python3-onnx or in a build without ONNX.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import onnx
except ImportError:
    if sys.executable != "/usr/bin/python3" and os.access("/usr/bin/python3", os.X_OK):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])  # Debian's, which has Debian's packages
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
EXE = sys.argv[1]
LARGEST = 15e6
MANY = ["resnet18", "resnest14", "mobilenet_v3_small_100", "convnextv2_atto", "efficientnet_b0", "repvgg_a0",
        "hrnet_w32", "rexnet_10"]
failures = []


def strata(*arguments):
    return subprocess.run([EXE, *arguments], capture_output=True, text=True, check=False)


def shape(value):
    return [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]


def check(model, *options, outside=False):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "m.onnx")
        done = strata("export", model, "--random-weights", "1", "-o", file, *options)
        if done.returncode != 0:
            return failures.append(f"{model} {options}: {done.stderr.splitlines()[-1]}")
        wanted = [line.replace("outputs", "").split() for line in done.stderr.splitlines() if line.endswith("]")]
        try:
            onnx.checker.check_model(file, full_check=True)  # infers all shapes again and compares with ours
        except Exception as error:  # the checker raises several kinds
            return failures.append(f"{model} {options}: {error}")
        if os.path.exists(file + ".data") != outside:
            failures.append(f"{model} {options}: the weights are on the wrong side")
        graph = onnx.load(file, load_external_data=False)
        found = [[v.name, str(shape(v)).replace("'N'", "1").replace(" ", "")] for v in graph.graph.output]
        if found != wanted:
            failures.append(f"{model} {options}: outputs are {found}, not {wanted}")
        if ("--dynamic-batch" in options) != (shape(graph.graph.input[0])[0] == "N"):
            failures.append(f"{model} {options}: the input is {shape(graph.graph.input[0])}")
        values = {v.name for v in graph.graph.value_info} | {v.name for v in graph.graph.output}
        for feature in json.loads(next((p.value for p in graph.metadata_props if p.key == "strata.features"), "[]")):
            if feature["value"] not in values:
                failures.append(f"{model} {options}: feature {feature} names no value")
    return None


if "has no ONNX" in strata("export", "resnet18", "--random-weights", "1", "--size", "32", "-o", os.devnull).stderr:
    sys.exit(77)
names = strata("models").stdout.split()
assert len(names) > 60, names
for name in names:
    if json.loads(strata("info", name, "--json").stdout)["params"] <= LARGEST or name in MANY or "--all" in sys.argv:
        check(name, "--size", "64", "--num-classes", "8", "--external-data", outside=True)
for name in MANY:
    logits = ["--size", "72x104", "--at", "logits"]
    check(name, *logits, "--after", "all")
    check(name, *logits, "--after", "fold_bn")
    check(name, *logits, "--dynamic-batch", "--after", "all")
check(os.path.join(HERE, "data", "onnx", "ops.graph"))
for failure in failures:
    print(failure)
print(f"{len(names)} models, {len(failures)} failures")
sys.exit(1 if failures else 0)
