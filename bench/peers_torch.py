#!/usr/bin/env python3
"""One exported model in PyTorch, driven by bench/peers.py.

    python3 peers_torch.py MODEL.onnx INPUT.f32 DIMS THREADS     DIMS: 1,3,224,224

Speaks as peers_worker.js does: a line of JSON once the model is loaded, then a number N on stdin for N runs, a path for the
outputs of one run. The ONNX graph is called node by node with PyTorch's functions, traced and frozen. Of four ways, maps
channels_last or as they are, optimised for inference or not, the fastest here whose outputs are right is taken: PyTorch
1.13's optimiser gets ReXNet wrong.
"""
import itertools
import json
import os
import sys
import time
import warnings

import numpy
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper


def symmetric(pads):
    """PyTorch pads both sides alike; what differs is padded before, by the caller."""
    half = len(pads) // 2
    return list(pads[:half]) == list(pads[half:])


def padded(x, pads, value):
    if symmetric(pads):
        return x, list(pads[:2])
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value), [0, 0]


def conv(x, w, b=None, *, kernel_shape, group=1, strides=(1, 1), dilations=(1, 1), pads=(0, 0, 0, 0)):
    del kernel_shape
    x, padding = padded(x, pads, 0.0)
    return F.conv2d(x, w, b, strides, padding, dilations, group)


def max_pool(x, *, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0)):
    x, padding = padded(x, pads, float("-inf"))
    return F.max_pool2d(x, kernel_shape, strides, padding)


def average_pool(x, *, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), count_include_pad=0):
    if symmetric(pads):
        return F.avg_pool2d(x, kernel_shape, strides, list(pads[:2]), count_include_pad=bool(count_include_pad))
    y = F.avg_pool2d(padded(x, pads, 0.0)[0], kernel_shape, strides)
    if not count_include_pad:
        y = y / F.avg_pool2d(padded(torch.ones_like(x[:1, :1]), pads, 0.0)[0], kernel_shape, strides)
    return y


def layer_norm(x, scale, bias, *, axis, epsilon):
    return F.layer_norm(x, x.shape[axis:], scale, bias, epsilon)


def resize(x, _roi, scales, sizes=None, *, mode, **_how):
    if mode != b"nearest":
        raise NotImplementedError(f"Resize by {mode}")
    if sizes is not None:
        return F.interpolate(x, sizes.tolist()[2:], mode="nearest")
    return F.interpolate(x, scale_factor=scales.tolist()[2:], mode="nearest")


def slices(x, starts, ends, axes, steps=None):
    if steps is not None and steps.tolist() != [1] * len(steps):
        raise NotImplementedError("Slice with steps")
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist()):
        x = x.narrow(axis, start, min(end, x.shape[axis]) - start)
    return x


OPS = {
    "Add": torch.add,
    "AveragePool": average_pool,
    "BatchNormalization": lambda x, g, b, m, v, *, epsilon=1e-5: F.batch_norm(x, m, v, g, b, False, 0.0, epsilon),
    "Clip": lambda x, low, high: torch.clamp(x, float(low), float(high)),
    "Concat": lambda *x, axis: torch.cat(x, axis),
    "Conv": conv,
    "Gelu": F.gelu,
    "Gemm": lambda x, w, b=None, *, transB=0: F.linear(x, w if transB else w.t(), b),
    "GlobalAveragePool": lambda x: F.adaptive_avg_pool2d(x, 1),
    "HardSigmoid": lambda x, *, alpha=0.2, beta=0.5: torch.clamp(x * alpha + beta, 0.0, 1.0),
    "HardSwish": F.hardswish,
    "LayerNormalization": layer_norm,
    "MaxPool": max_pool,
    "Mul": torch.mul,
    "Relu": F.relu,
    "Reshape": lambda x, shape: x.reshape(shape.tolist()),
    "Resize": resize,
    "Sigmoid": torch.sigmoid,
    "Slice": slices,
    "Softmax": lambda x, *, axis: F.softmax(x, axis),
    "Tanh": torch.tanh,
    "Transpose": lambda x, *, perm: x.permute(perm),
}


class Graph(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        unknown = sorted({n.op_type for n in model.graph.node} - OPS.keys())
        if unknown:
            raise NotImplementedError(f"ONNX ops {', '.join(unknown)}")
        self.input = model.graph.input[0].name
        self.outputs = [o.name for o in model.graph.output]
        self.nodes = [(OPS[n.op_type], list(n.input), n.output[0],
                       {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute}) for n in model.graph.node]
        self.constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in model.graph.initializer}

    def forward(self, x):
        values = {**self.constants, "": None, self.input: x}
        for op, inputs, output, attributes in self.nodes:
            values[output] = op(*(values[name] for name in inputs), **attributes)
        return tuple(values[name] for name in self.outputs)


def timed(run, x, runs):
    ms = []
    for _ in range(runs):
        start = time.perf_counter()
        run(x)
        ms.append((time.perf_counter() - start) * 1e3)
    return ms


WAYS = list(itertools.product((torch.channels_last, torch.contiguous_format),
                              (torch.jit.optimize_for_inference, lambda module: module)))


def load(file, x, way):
    """The frozen graph, its input, the names of its outputs, and how long it took."""
    memory_format, optimise = WAYS[way]
    start = time.perf_counter()
    graph, x = Graph(onnx.load(file)).eval(), x.contiguous(memory_format=memory_format)
    run = optimise(torch.jit.freeze(torch.jit.trace(graph, x, check_trace=False)))
    return run, x, graph.outputs, (time.perf_counter() - start) * 1e3


def near(a, b):
    return all(torch.max(torch.abs(x - y)) <= 1e-4 * torch.max(torch.abs(y)) for x, y in zip(a, b))


def choose(file, x):
    right, best = Graph(onnx.load(file)).eval()(x), {}
    for way in range(len(WAYS)):
        run, like, *_ = load(file, x, way)
        if near(run(like), right):
            best[way] = min(timed(run, like, 5)[2:])
    return min(best, key=best.get)


def peak_mb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith("VmHWM:"))


def main():
    file, data, dims, threads, *way = sys.argv[1:]
    warnings.simplefilter("ignore")  # that shapes become constants in a trace is as it should be
    torch.set_num_threads(int(threads))
    torch.set_grad_enabled(False)
    x = torch.from_numpy(numpy.fromfile(data, numpy.float32).reshape([int(d) for d in dims.split(",")]))
    if not way:  # begin anew with the way found: what the others took is no memory of its own
        os.execv(sys.executable, [sys.executable, *sys.argv, str(choose(file, x))])
    run, x, outputs, load_ms = load(file, x, int(way[0]))
    print(json.dumps({"load_ms": load_ms, "version": torch.__version__, "outputs": outputs}), flush=True)
    for line in sys.stdin:
        line = line.strip()
        if line.isdigit():
            answer = {"ms": timed(run, x, int(line)), "peak_rss_mb": peak_mb()}
        else:
            results = [y.numpy() for y in run(x)]
            with open(line, "wb") as out:
                for y in results:
                    out.write(numpy.ascontiguousarray(y).tobytes())
            answer = {"shapes": [y.shape for y in results]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as failure:
        sys.exit(f"{os.path.basename(sys.argv[1])}: PyTorch's peer does not know {failure}")
