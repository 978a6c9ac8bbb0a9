#!/bin/sh
# strata doctor of a device: every op right, a verdict that is kept, and an op that is wrong named. (Plug-ins: plugin.sh.)
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"

expect 0 devices
check "nothing is known yet" sh -c "! grep -q checked out"
expect 0 doctor --device cpu
says out "device   cpu "
says out "GFLOP/s of matrix product"
check "no failure in the table" sh -c "! grep FAILED out"
check "a verdict is kept" sh -c 'ls "$XDG_CACHE_HOME"/strata/doctor-cpu-*.json >/dev/null'
says err "$XDG_CACHE_HOME/strata/doctor-cpu-"
check "nothing but it" [ "$(ls "$XDG_CACHE_HOME/strata" | wc -l)" = 1 ]
expect 0 devices
check "it is remembered" grep -Eq '^cpu .* [0-9]+ ops checked' out

expect 0 doctor --device cpu --json
python '
d = json.load(open("out"))
assert d["device"] == "cpu" and d["failed"] == 0 and d["checked"] == len(d["ops"]) > 30, d
assert d["bandwidth_gbps"] > 0.1 and d["product_gflops"] > 0.1
ops = {row["op"]: row for row in d["ops"]}
assert all(row["ok"] and row["on_device"] and row["cases"] >= 2 and 0 <= row["error"] <= 1 for row in d["ops"])
assert "conv2d.depthwise" in ops["conv2d"]["kernels"]
# every op that the documentation knows, but the sources
import re
known = set(re.findall(r"^## ([a-z0-9_]+)", open(sys.argv[1]).read(), re.M)) - {"input", "param", "const"}
assert len(known) > 30 and known == set(ops), known ^ set(ops)' "$SOURCE/docs/ops.md"

# An op that is wrong.
expect 1 doctor --device cpu --plugin "$BUILD/tests/plugins/guilty.so"
says out "FAILED: any case, seed "
says err "doctor: cpu is wrong in 1 of "
says err "ops: rsqrt"
expect 0 devices
says out "ops are wrong, says strata doctor"

# No place for the verdict is no failure; a damaged one is forgotten.
with XDG_CACHE_HOME="$work/out/of" expect 0 doctor --device cpu --quiet
for file in "$work"/cache/strata/doctor-cpu-*; do echo '{"checked": 3' >"$file"; done
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME
expect 0 devices
check "damaged: forgotten" sh -c "! grep -q 'ops' out"

expect 5 doctor --device teapot
expect 2 doctor cpu
expect 5 doctor --device cpu --precision fp16
says err "has no values of f16"

if "$STRATA" devices | grep -q '^vulkan:0 .*usable'; then
    expect 0 doctor --device vulkan:0 --precision fp16
    says out " in fp16, 0 failed"
    expect 0 doctor --device vulkan:0
    says out "device   vulkan:0"
    check "no failure in the table" sh -c "! grep -E 'FAILED|on the CPU' out"
    expect 0 devices --json
    python '
d = {row["device"]: row for row in json.load(open("out"))}["vulkan:0"]
assert d["driver"] and d["max_value"] > 1 << 20 and d["max_allocation"] > 1 << 20 and d["workgroup"] >= 128, d
assert d["shared_memory"] >= 16384 and d["subgroup"] >= 1 and "ops checked" in d["doctor"], d'
fi
finish
