#!/bin/sh
# --device and --fallback: what is chosen, what is refused with which words, and what the CPU takes over.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
model="dummynet1 $scene --random-weights 1 --size 32"

# shellcheck disable=SC2086 # a list of options
{
    expect 0 extract $model --device cpu -o cpu.npz
    says err "device    cpu:0"

    # Wrong ones: what there is, and exit code 5.
    expect 5 extract $model --device teapot -o x.npz
    says err "this build has no backend 'teapot'"
    expect 5 extract $model --device cpu:7 -o x.npz
    says err "no device fits 'cpu:7'. There is: cpu:0"
    expect 5 bench dummynet1 --random-weights 1 --device cpu:nothing
    expect 5 dump dummynet1 --random-weights 1 --plan --device ""
    check "nothing was written" [ ! -e x.npz ]

    # The CPU takes over only when asked to, and says so once.
    expect 0 extract $model --device teapot --fallback cpu -o fallback.npz
    check "one warning" [ "$(grep -c "the CPU takes over" err)" = 1 ]
    says err "strata: warning: this build has no backend 'teapot'"
    says err "device    cpu:0"
    same cpu.npz fallback.npz
    with STRATA_FALLBACK=cpu expect 0 bench dummynet1 --random-weights 1 --size 32 --runs 1 --device teapot
    expect 5 extract $model --device teapot --fallback none -o x.npz
    expect 2 extract $model --strict-device --fallback cpu -o x.npz
    says err "exclude each other"
    expect 2 extract $model --fallback gpu -o x.npz

    if ! "$STRATA" devices | grep -q "^vulkan:0 .*usable"; then
        finish
        exit
    fi

    # No driver: a sentence, not silence.
    with VK_ICD_FILENAMES=/nowhere.json expect 5 extract $model --device vulkan -o x.npz
    says err "no Vulkan driver is installed"
    with VK_ICD_FILENAMES=/nowhere.json expect 0 extract $model --device vulkan --fallback cpu -o fallback.npz
    says err "no Vulkan driver is installed"
    same cpu.npz fallback.npz
    with VK_ICD_FILENAMES=/nowhere.json expect 0 extract $model -o auto.npz
    says err "device    cpu:0"
    with VK_ICD_FILENAMES=/nowhere.json expect 0 devices
    says out "no Vulkan driver is installed"

    expect 5 extract $model --device vulkan:99 -o x.npz
    says err "no device fits 'vulkan:99'. There is: vulkan:0"
    expect 5 extract $model --device vulkan:unheard-of -o x.npz

    # A processor that poses as a GPU is used when it is named, and not otherwise.
    if "$STRATA" devices | grep -Eq '^vulkan:0 .*llvmpipe'; then
        expect 0 extract $model --device vulkan:0 -o gpu.npz
        says err "device    vulkan:0 llvmpipe"
        python 'a, b = n.load("cpu.npz"), n.load("gpu.npz"); assert all(n.allclose(a[k], b[k], atol=1e-5) for k in a if k[:5] == "layer")'
        expect 0 extract $model --device vulkan:llvmpipe -o gpu.npz
    fi
    if [ "$("$STRATA" devices | grep -c '^vulkan')" = 1 ] && "$STRATA" devices | grep -Eq '^vulkan:0 .*llvmpipe'; then
        expect 0 extract $model --device auto -o auto.npz
        says err "device    cpu:0"
        same cpu.npz auto.npz
        expect 0 extract $model -o auto.npz
        says err "device    cpu:0"
        expect 5 extract $model --device vulkan -o x.npz
        says err "used only when named"

        # More images at once than a shader can reach (128 MiB a value): fewer at once, the same numbers.
        "$PYTHON" -c 'import numpy as n; n.save("x.npy", n.random.default_rng(1).standard_normal((2, 3, 512, 512), dtype="float32"))'
        expect 0 extract dummynet1 x.npy --random-weights 1 --at layer1 --device vulkan:0 --batch 34 -o split.npz
        says err "34 images at once do not fit: layer1"
        says err "trying 17"
        says err "plan      batch 17"
        expect 0 extract dummynet1 x.npy --random-weights 1 --at layer1 --device cpu -o whole.npz
        python 'a, b = n.load("split.npz")["layer1"], n.load("whole.npz")["layer1"]; assert a.shape == b.shape and n.allclose(a, b, atol=1e-4)'
        expect 5 bench dummynet1 --random-weights 1 --size 512 --batch 34 --at layer1 --device vulkan:0 --runs 1
        says err "128 MiB"
    fi
}
finish
