"""Writes checkpoints from the rule of docs/random-weights.md, on its own.

usage: make_weights.py PARAMS SEED GAIN    PARAMS: lines "name d,d,d"

plain.safetensors  every parameter                 truth.npz  the same for numpy
short.safetensors  without those of layer4         shape.safetensors  one of the wrong shape
ema.safetensors    noise, and "ema." copies        torch.safetensors  names as PyTorch has them
"""
import json
import sys

import numpy as np

MASK = (1 << 64) - 1
G = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def mix_array(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def fnv1a64(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK
    return h


def noise(name, shape, seed, gain):
    s = fnv1a64(name) ^ mix((seed + G) & MASK)
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = mix_array(np.uint64(s) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(G))
    u = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    f = np.float32
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "weight" and len(shape) >= 2:
        fan_in = int(np.prod(shape[1:]))
        value = (f(2) * u - f(1)) * np.sqrt(f(3 * gain) / f(fan_in))
    elif leaf == "bias":
        value = (f(2) * u - f(1)) * f(0.1)
    elif leaf == "gamma":
        value = f(0.5) + f(0.5) * u
    elif leaf == "moving_variance":
        value = f(0.5) + u
    else:
        value = (f(2) * u - f(1)) * f(0.2)
    return value.astype(np.float32).reshape(shape)


def save(path, arrays):
    head, offset = {}, 0
    for name, a in arrays.items():
        head[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for a in arrays.values():
            out.write(a.tobytes())


def torch_name(name):
    for ours, theirs in (
        (".gamma", ".weight"),
        (".beta", ".bias"),
        (".moving_mean", ".running_mean"),
        (".moving_variance", ".running_var"),
        ("down_sample.", "downsample."),
    ):
        name = name.replace(ours, theirs)
    return name


def main():
    path, seed, gain = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    arrays = {}
    for line in open(path):
        name, dims = line.split()
        shape = [int(d) for d in dims.split(",")]
        arrays[name] = noise(name, shape, seed, gain)
    np.savez("truth.npz", **arrays)
    save("plain.safetensors", arrays)
    save("short.safetensors", {k: v for k, v in arrays.items() if not k.startswith("layer4")})
    wrong = dict(arrays)
    wrong["layer2.0.conv1.weight"] = np.zeros((128, 64, 1, 1), np.float32)
    save("shape.safetensors", wrong)
    both = {k: v + np.float32(1) for k, v in arrays.items()}
    both.update({"ema." + k: v for k, v in arrays.items()})
    save("ema.safetensors", both)
    save("torch.safetensors", {torch_name(k): v for k, v in arrays.items()})


if __name__ == "__main__":
    main()
