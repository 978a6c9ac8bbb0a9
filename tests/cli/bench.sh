#!/bin/sh
# bench: the keys that others read, numbers that can be, and a trace that a browser loads.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
run="resnet18 --random-weights 1 --size 64x96"

# shellcheck disable=SC2086 # $run is a list of words
{
    expect 0 bench $run --runs 4 --batch 2 --threads 1 --json
    python '
b = json.load(open("out"))
keys = "model device precision threads batch size runs ms_min ms_median ms_p95 load_ms compile_ms peak_rss_mb plan_mb arena_mb weights_mb macs gflops"
assert set(b) == set(keys.split()), set(b) ^ set(keys.split())
page = open(sys.argv[1]).read().split("## A benchmark")[1].split("##")[0]
assert not [k for k in [*b, "tuned", "nodes"] if f"`{k}`" not in page], page
assert b["model"] == "resnet18" and b["threads"] == 1 and b["batch"] == 2 and b["size"] == [64, 96] and b["runs"] == 4, b
assert 0 < b["ms_min"] <= b["ms_median"] <= b["ms_p95"], b
assert all(b[k] > 0 for k in ("load_ms", "compile_ms", "peak_rss_mb", "arena_mb", "weights_mb", "gflops")), b
assert abs(b["gflops"] - 2 * b["macs"] / b["ms_median"] / 1e6) < 1e-3 * b["gflops"], b
assert b["plan_mb"] > b["weights_mb"] + b["arena_mb"], b
assert b["weights_mb"] > 40 and b["peak_rss_mb"] > b["arena_mb"], b' "$SOURCE/docs/json.md"
    macs=$("$PYTHON" -c 'import json; print(json.load(open("out"))["macs"])')
    expect 0 bench $run --runs 2 --at 0 --json
    python 'b = json.load(open("out")); assert b["macs"] == 32 * 48 * 64 * 147 and b["macs"] < int(sys.argv[1]) / 2, b' "$macs"
    expect 0 bench $run --runs 3
    says out "inference  median"
    expect 0 bench $run --runs 2 --per-node
    says out "GFLOP/s"
    says out "layer4.1.relu.1"
    expect 0 bench $run --runs 2 --per-node --json
    python '
b = json.load(open("out"))
assert len(b["nodes"]) > 10 and sum(x["macs"] for x in b["nodes"]) == b["macs"], b
assert all(x["ms"] >= 0 and x["kernel"] and x["op"] for x in b["nodes"])
assert all(abs(x["gflops"] * x["ms"] * 1e6 - 2 * x["macs"]) <= 1e-3 * x["macs"] for x in b["nodes"])'

    expect 0 bench $run --runs 2 --profile trace.json
    python '
t = json.load(open("trace.json"))["traceEvents"]
x = [e for e in t if e["ph"] == "X"]
assert len(x) > 10 and {"name", "ts", "dur", "pid", "tid"} <= set(x[0]), x[:1]
assert min(e["ts"] for e in x) == 0 and all(e["dur"] >= 0 for e in x)
assert {e["tid"] for e in t if e["name"] == "thread_name"} == {e["tid"] for e in x}'
    expect 6 bench $run --runs 1 --profile nowhere/t.json
    expect 5 bench $run --runs 1 --tune
    says err "nothing to tune on cpu:0"

    # A GPU's own clock, step by step, in the table and in the trace. A profile runs the steps one at a time.
    if "$STRATA" devices | grep -q '^vulkan:0 .*usable'; then
        expect 0 bench mobilenet_v3_small_100 --random-weights 1 --size 32 --device vulkan:0 --runs 2 --per-node --json \
            --profile gpu.json
        python '
b = json.load(open("out"))
assert b["device"].startswith("vulkan:0 "), b["device"]
gpu = [x for x in b["nodes"] if x["device"] == "vulkan"]
assert len(gpu) > 50 and all(0 < x["ms"] < 1e4 for x in gpu), gpu[:3]
assert sum(x["macs"] for x in gpu) == b["macs"] and len({x["ms"] for x in gpu}) > 10
x = [e for e in json.load(open("gpu.json"))["traceEvents"] if e["ph"] == "X"]
assert {e["name"] for e in x} == {n["node"] for n in b["nodes"]} and all(e["dur"] > 0 for e in x)
x.sort(key=lambda e: e["ts"])
gaps = [b["ts"] - a["ts"] - a["dur"] for a, b in zip(x, x[1:])]
assert min(gaps) > -1, min(gaps)' # microseconds: none begins before the one before it has ended
        expect 0 bench dummynet1 --random-weights 1 --size 32 --device vulkan:0 --runs 2 --per-node
        says out "  vulkan  "
        # A processor that poses as a GPU has no choice of tiles; what was asked for is done all the same.
        expect 0 bench dummynet1 --random-weights 1 --size 32 --device vulkan:0 --runs 2 --tune
        says out "kinds of steps are faster and kept"
    fi

    # The peak is that of the command, whoever started it.
    python '
parent = bytearray(b"x") * (256 << 20)
import subprocess
run = subprocess.run([sys.argv[1], "bench", *sys.argv[2:], "--at", "0", "--runs", "1", "--json"], stdout=subprocess.PIPE, check=True)
assert 1 < json.loads(run.stdout)["peak_rss_mb"] < 200, run.stdout' "$STRATA" $run
}
finish
