#!/usr/bin/env python3
"""Models as torch.onnx.export writes them - torchvision's ResNet-18 and MobileNetV3-small, timm's ConvNeXt, with the names and
the op patterns of that exporter, narrow - run with features at internal tensors, on the CPU and on Vulkan, and give what a
naive evaluation in numpy gives.

usage: onnx_torch.py STRATA

Skipped (77) without python3-onnx or numpy, or in a build without ONNX.
"""
import json
import math
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper
except ImportError:
    if sys.executable != "/usr/bin/python3" and os.access("/usr/bin/python3", os.X_OK):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])  # Debian's, which has Debian's packages
    sys.exit(77)

EXE = sys.argv[1]
TOLERANCE = 2e-5  # of the largest magnitude
SIZE = 64


# ---- A naive ONNX: each op as its specification says -----------------------------------------------------------


def windows(x, kernel, strides, pads, dilations, fill):
    """[N,C,OH,OW,KH,KW]: the elements under each place of a window."""
    x = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])), constant_values=fill)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    view = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(2, 3))
    return view[:, :, ::strides[0], ::strides[1], ::dilations[0], ::dilations[1]]


def conv(x, w, b=None, *, kernel_shape, strides, pads, dilations, group):
    at = windows(x, kernel_shape, strides, pads, dilations, 0)
    n, c, oh, ow = at.shape[:4]
    at = at.reshape(n, group, c // group, oh, ow, *kernel_shape)
    w = w.reshape(group, w.shape[0] // group, *w.shape[1:])
    y = np.einsum("ngchwrs,gocrs->ngohw", at, w, optimize=True).reshape(n, -1, oh, ow)
    return y if b is None else y + b[:, None, None]


def max_pool(x, *, kernel_shape, strides, pads, ceil_mode):
    return windows(x, kernel_shape, strides, pads, [1, 1], -np.inf).max((4, 5))


def layer_norm(x, scale, bias, *, axis, epsilon):
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * scale + bias


OPS = {
    "Conv": conv, "MaxPool": max_pool, "LayerNormalization": layer_norm,
    "Relu": lambda x: np.maximum(x, 0),
    "HardSigmoid": lambda x, *, alpha: np.clip(alpha * x + 0.5, 0, 1),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Erf": np.vectorize(math.erf), "Sqrt": np.sqrt, "Pow": np.power,
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "MatMul": np.matmul,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdims=True),
    "ReduceMean": lambda x, *, axes, keepdims: x.mean(tuple(axes), keepdims=bool(keepdims)),
    "Transpose": lambda x, *, perm: x.transpose(perm),
    "Flatten": lambda x, *, axis: x.reshape(int(np.prod(x.shape[:axis])), -1),
    "Reshape": lambda x, shape: x.reshape(shape),
    "Gemm": lambda a, b, c, *, alpha, beta, transB: alpha * (a @ b.T if transB else a @ b) + beta * c,
    "Constant": lambda *, value: numpy_helper.to_array(value),
}


def evaluate(model, x):
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    values = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in values.items()}
    values[model.graph.input[0].name] = x.astype(np.float64)
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = OPS[node.op_type](*[values[i] for i in node.input], **attributes)
    return values


# ---- The exporter's hand ---------------------------------------------------------------------------------------


class Export:
    """Nodes are named by the module that they come from: /layer1/layer1.0/conv1/Conv, whose value is ..._output_0."""

    def __init__(self, opset):
        self.nodes, self.initializers, self.used, self.opset = [], [], {}, opset
        self.random = np.random.default_rng(opset)

    def weight(self, name, *shape, spread=None):
        spread = spread or math.sqrt(6 / max(1, np.prod(shape[1:])))
        array = self.random.uniform(-spread, spread, shape).astype(np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def folded(self, kind):
        """The name that constant folding gives: onnx::Conv_193."""
        self.used[kind] = self.used.get(kind, 190) + 3
        return f"onnx::{kind}_{self.used[kind]}"

    def op(self, path, kind, *inputs, output=None, **attributes):
        name = f"{path}/{kind}"
        if name in self.used:  # again in one module: Add_1
            name += f"_{self.used[name]}"
        self.used[f"{path}/{kind}"] = self.used.get(f"{path}/{kind}", 0) + 1
        output = output or name + "_output_0"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def constant(self, path, value, dtype=np.float32):
        return self.op(path, "Constant", value=numpy_helper.from_array(np.array(value, dtype)))

    def conv(self, path, x, out, into, kernel, stride=1, pad=None, group=1, names=None):
        pad = kernel // 2 if pad is None else pad
        w, b = names or (self.folded("Conv"), self.folded("Conv"))
        self.weight(w, out, into // group, kernel, kernel)
        self.weight(b, out, spread=0.1)
        return self.op(path, "Conv", x, w, b, dilations=[1, 1], group=group, kernel_shape=[kernel, kernel],
                       pads=[pad] * 4, strides=[stride, stride])

    def gemm(self, path, x, out, into, module, output=None):
        return self.op(path, "Gemm", x, self.weight(module + ".weight", out, into), self.weight(module + ".bias", out),
                       output=output, alpha=1.0, beta=1.0, transB=1)

    def save(self, file, outputs):
        graph = helper.make_graph(
            self.nodes, "main_graph", [helper.make_tensor_value_info("input", 1, [1, 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("output", 1, [1, outputs])], self.initializers)
        model = helper.make_model(graph, producer_name="pytorch", producer_version="2.1.0",
                                  opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        onnx.save(model, file)
        return model


def resnet18(e):
    x = e.op("/relu", "Relu", e.conv("/conv1", "input", 16, 3, 7, 2))
    x = e.op("/maxpool", "MaxPool", x, ceil_mode=0, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    into = 16
    for stage in range(4):
        for block in range(2):
            path, out, stride = f"/layer{stage + 1}/layer{stage + 1}.{block}", 16 << stage, 2 if stage and not block else 1
            y = e.op(path + "/relu", "Relu", e.conv(path + "/conv1", x, out, into, 3, stride))
            y = e.conv(path + "/conv2", y, out, out, 3)
            if stride == 2:
                x = e.conv(path + "/downsample/downsample.0", x, out, into, 1, stride)
            x, into = e.op(path + "/relu", "Relu", e.op(path, "Add", y, x)), out
    x = e.op("", "Flatten", e.op("/avgpool", "GlobalAveragePool", x), axis=1)
    e.gemm("/fc", x, 10, into, "fc", "output")
    return ["/layer1/layer1.0/conv1/Conv_output_0", "/layer1/layer1.1/relu/Relu_1_output_0",
            "/layer2/layer2.0/Add_output_0", "/layer4/layer4.1/relu/Relu_1_output_0"]


def mobilenet_v3(e):
    rows = [(16, 16, 16, 3, True, False, 2), (16, 72, 24, 3, False, False, 2), (24, 88, 24, 3, False, False, 1),
            (24, 96, 40, 5, True, True, 2), (40, 240, 40, 5, True, True, 1), (40, 120, 48, 5, True, True, 1)]
    x = e.op("/features/features.0/features.0.2", "HardSwish", e.conv("/features/features.0/features.0.0", "input", 16, 3, 3, 2))
    for i, (into, wide, out, kernel, squeeze, swish, stride) in enumerate(rows):
        path, act, at, y = f"/features/features.{i + 1}", "HardSwish" if swish else "Relu", 0, x

        def layer(y, *size, active=True, **how):
            nonlocal at
            block = f"{path}/block/block.{at}/block.{at}"
            at += 1
            y = e.conv(block + ".0", y, *size, **how)
            return e.op(block + ".2", act, y) if active else y

        if wide != into:
            y = layer(y, wide, into, 1)
        y = layer(y, wide, wide, kernel, stride, group=wide)
        if squeeze:
            block, module = f"{path}/block/block.{at}", f"features.{i + 1}.block.{at}"
            at += 1
            s = e.op(block + "/avgpool", "GlobalAveragePool", y)
            s = e.conv(block + "/fc1", s, 8, wide, 1, names=(module + ".fc1.weight", module + ".fc1.bias"))
            s = e.op(block + "/activation", "Relu", s)
            s = e.conv(block + "/fc2", s, wide, 8, 1, names=(module + ".fc2.weight", module + ".fc2.bias"))
            y = e.op(block, "Mul", e.op(block + "/scale_activation", "HardSigmoid", s, alpha=0.1666666716337204), y)
        y = layer(y, out, wide, 1, active=False)
        x = e.op(path, "Add", y, x) if stride == 1 and into == out else y
    x = e.op("/features/features.7/features.7.2", "HardSwish", e.conv("/features/features.7/features.7.0", x, 96, 48, 1))
    x = e.op("", "Flatten", e.op("/avgpool", "GlobalAveragePool", x), axis=1)
    x = e.op("/classifier/classifier.1", "HardSwish", e.gemm("/classifier/classifier.0", x, 64, 96, "classifier.0"))
    e.gemm("/classifier/classifier.3", x, 10, 64, "classifier.3", "output")
    return ["/features/features.1/block/block.1/scale_activation/HardSigmoid_output_0",
            "/features/features.3/Add_output_0", "/features/features.5/block/block.2/Mul_output_0",
            "/features/features.7/features.7.2/HardSwish_output_0"]


def convnext(e):
    def norm(path, x, channels, module):  # over the last dim
        scale, bias = e.weight(module + ".weight", channels, spread=1), e.weight(module + ".bias", channels, spread=0.1)
        if e.opset >= 17:
            return e.op(path, "LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-6)
        centred = e.op(path, "Sub", x, e.op(path, "ReduceMean", x, axes=[-1], keepdims=1))
        square = e.op(path, "Pow", centred, e.constant(path, 2))
        variance = e.op(path, "ReduceMean", square, axes=[-1], keepdims=1)
        deviation = e.op(path, "Sqrt", e.op(path, "Add", variance, e.constant(path, 1e-6)))
        return e.op(path, "Add", e.op(path, "Mul", e.op(path, "Div", centred, deviation), scale), bias)

    def norm2d(path, x, channels, module):
        x = norm(path, e.op(path, "Transpose", x, perm=[0, 2, 3, 1]), channels, module)
        return e.op(path, "Transpose", x, perm=[0, 3, 1, 2])

    def dense(path, x, into, out, module):
        x = e.op(path, "MatMul", x, e.weight(e.folded("MatMul"), into, out, spread=math.sqrt(3 / into)))
        return e.op(path, "Add", e.weight(module + ".bias", out, spread=0.1), x)

    def gelu(path, x):
        root = e.op(path, "Div", x, e.constant(path, 1.4142135381698608))
        one = e.op(path, "Add", e.op(path, "Erf", root), e.constant(path, 1))
        return e.op(path, "Mul", e.op(path, "Mul", x, one), e.constant(path, 0.5))

    widths, into = [16, 24, 32, 48], 16
    x = norm2d("/stem/stem.1", e.conv("/stem/stem.0", "input", 16, 3, 4, 4, 0), 16, "stem.1")
    for s, width in enumerate(widths):
        stage, module = f"/stages/stages.{s}", f"stages.{s}"
        if s:
            x = norm2d(stage + "/downsample/downsample.0", x, into, module + ".downsample.0")
            x = e.conv(stage + "/downsample/downsample.1", x, width, into, 2, 2, 0)
        into = width
        for i in range(1 + s % 2):
            path, own = f"{stage}/blocks/blocks.{i}", f"{module}.blocks.{i}"
            y = e.conv(path + "/conv_dw", x, width, width, 7, group=width, names=(own + ".conv_dw.weight", own + ".conv_dw.bias"))
            y = norm(path + "/norm", e.op(path, "Transpose", y, perm=[0, 2, 3, 1]), width, own + ".norm")
            y = gelu(path + "/mlp/act", dense(path + "/mlp/fc1", y, width, 4 * width, own + ".mlp.fc1"))
            y = e.op(path, "Transpose", dense(path + "/mlp/fc2", y, 4 * width, width, own + ".mlp.fc2"), perm=[0, 3, 1, 2])
            shape = e.constant(path, [1, -1, 1, 1], np.int64)
            gamma = e.op(path, "Reshape", e.weight(own + ".gamma", width, spread=1), shape)
            x = e.op(path, "Add", e.op(path, "Mul", y, gamma), x)
    x = e.op("/head/global_pool/pool", "ReduceMean", x, axes=[2, 3], keepdims=1)
    x = e.op("/head/flatten", "Flatten", norm2d("/head/norm", x, into, "head.norm"), axis=1)
    e.gemm("/head/fc", x, 10, into, "head.fc", "output")
    return ["/stem/stem.1/Transpose_1_output_0", "/stages/stages.0/blocks/blocks.0/Add_output_0",
            "/stages/stages.1/blocks/blocks.1/mlp/act/Mul_1_output_0", "/stages/stages.3/blocks/blocks.1/Add_output_0"]


# ---- Strata beside it ------------------------------------------------------------------------------------------


def strata(*arguments):
    done = subprocess.run([EXE, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"strata {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def devices():
    listed = json.loads(strata("devices", "--json"))
    return ["cpu"] + [d["device"] for d in listed if d["backend"] == "vulkan" and d["usable"]][:1]


def compare(build, opset, folder):
    export, file, data = Export(opset), os.path.join(folder, "m.onnx"), os.path.join(folder, "x.npy")
    features = build(export)
    model = export.save(file, 10)
    x = np.random.default_rng(1).standard_normal((1, 3, SIZE, SIZE), np.float32)
    np.save(data, x)
    want, failures = evaluate(model, x), 0
    at = ",".join("%" + f for f in features) + ",%output"
    dense = sum(" = dense(" in line for line in strata("dump", file).splitlines())
    for device in devices():
        for pipeline in (["--strict-device"], ["--pipeline", ""]):
            out = os.path.join(folder, "y.npz")
            strata("extract", file, data, "--at", at, "--device", device, "-o", out, *pipeline)
            got, worst = np.load(out), {}
            for name in [*features, "output"]:
                y = got[name]
                if y.shape != want[name].shape:
                    raise RuntimeError(f"{name} is {y.shape}, not {want[name].shape}")
                worst[name] = np.abs(y - want[name]).max() / np.abs(want[name]).max()
            name = max(worst, key=worst.get)
            verdict = "ok" if worst[name] <= TOLERANCE else f"FAILED at {name}"
            failures += verdict != "ok"
            how = "as imported" if "" in pipeline else "optimised"
            print(f"{build.__name__:14} opset {opset}  {device:9} {how:12} {dense} dense {worst[name]:9.2e}  {verdict}", flush=True)
    return failures


def main():
    with tempfile.TemporaryDirectory() as folder:
        try:
            strata("export", "dummynet1", "--random-weights", "1", "--size", "32", "-o", os.path.join(folder, "x.onnx"))
        except RuntimeError as error:
            if "has no ONNX" in str(error):
                sys.exit(77)
            raise
        failures = sum(compare(build, opset, folder)
                       for build, opset in ((resnet18, 13), (mobilenet_v3, 14), (convnext, 16), (convnext, 17)))
    sys.exit(1 if failures else 0)


main()
