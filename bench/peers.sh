#!/bin/sh
# Strata beside ONNX Runtime on this machine, and PyTorch where it is installed, in one interleaved run: bench/peers.sh
# [options], see --help. Needs a built tree, and Debian's nodejs, npm and python3-numpy; for PyTorch python3-torch and
# python3-onnx, which are found if this python3 is Debian's. ONNX Runtime comes from npm (onnxruntime-node, about
# 300 MB) into build-peers/, once; nothing else is downloaded, and nothing outside that folder is written.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
peers=$here/../build-peers

fail() {
    echo "peers: $1" >&2
    exit 1
}

for program in node npm; do
    command -v $program >/dev/null 2>&1 || fail "no $program here. On Debian: apt-get install nodejs npm"
done
python=
for candidate in python3 /usr/bin/python3; do
    "$candidate" -c 'import numpy' 2>/dev/null && python=$candidate && break
done
[ -n "$python" ] || fail "no python3 with numpy here. On Debian: apt-get install python3-numpy"

if [ ! -d "$peers/node_modules/onnxruntime-node" ]; then
    echo "peers: npm install onnxruntime-node, into build-peers/" >&2
    mkdir -p "$peers"
    npm install --prefix "$peers" --ignore-scripts --no-audit --no-fund --no-save onnxruntime-node >&2 ||
        fail "npm could not install onnxruntime-node; see above"
fi
NODE_PATH=$peers/node_modules exec "$python" "$here/peers.py" "$@"
