#!/bin/sh
# The first thing to run: installs what is missing, builds Strata, and extracts the features of a picture.
# The weights are noise (nothing is downloaded): the numbers mean nothing, everything else is as with real ones.
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh build

if [ ! -f build/build.ninja ]; then
    meson setup build --buildtype=release >build-setup.log 2>&1 || { cat build-setup.log >&2; exit 1; }
    rm -f build-setup.log
fi
ninja -C build tools/strata

mkdir -p demo-out
set -x
build/tools/strata info resnet50
build/tools/strata extract resnet50 examples/scene.png --random-weights 1 \
    --picture demo-out/features.png -o demo-out/features.npz
{ set +x; } 2>/dev/null

echo
echo "demo-out/features.npz  one array per feature; in Python: numpy.load('demo-out/features.npz')['layer1']"
echo "demo-out/features.png  the picture and a heat map of each feature"
for python in python3 /usr/bin/python3; do
    "$python" -c 'import numpy' 2>/dev/null || continue
    "$python" - demo-out/features.npz <<'END'
import sys, numpy
for name, array in numpy.load(sys.argv[1]).items():
    print(f"  {name:8} {array.dtype} {list(array.shape)}")
END
    break
done
