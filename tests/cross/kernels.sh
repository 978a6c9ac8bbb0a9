#!/bin/sh
# Usage: kernels.sh SOURCE TRIPLET EMULATOR [gcc options]
# The kernel test on another processor: the CPU backend, the ops and the core, compiled for it and run in an emulator.
# Of the libraries only OpenBLAS is called by these; gemm_plain.c stands in for it. Skipped (77) without the tools.
set -eu
source=$1 gcc=$2-gcc ar=$2-ar emulator=$3
shift 3
for tool in "$gcc" "$ar" "$emulator"; do
    command -v "$tool" >/dev/null || {
        echo "skipped: no $tool (packages gcc-${gcc%-gcc}, qemu-user)"
        exit 77
    }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

flags="-std=c17 -D_GNU_SOURCE -I$source/include -fvisibility=hidden -Wall -Wextra -Wpedantic -Werror \
-Wno-missing-field-initializers -Wno-override-init -ffp-contract=off $*"
cat >compile <<EOF
case \$1 in
*/simd_*) set -- "\$1" -O2 -fno-math-errno -ffp-contract=fast -DSIMD_SET=baseline ;;
*) set -- "\$1" -O2 ;;
esac
exec $gcc $flags -DSTRATA_VERSION='"cross"' "\$@" -c -o "\$(echo "\$1" | tr / _).o"
EOF
for file in "$source"/backends/cpu/*.c "$source"/ops/*.c "$source"/graph/*.c "$source"/tests/cross/gemm_plain.c; do
    case $file in
    */gemm.c) ;;
    *) echo "$file" ;;
    esac
done | xargs -n 1 -P 2 sh ./compile
"$ar" rc core.a ./*.o
# shellcheck disable=SC2086 # $flags is a list of words
"$gcc" $flags -O1 -pthread -I"$source/tests/cross" "$source/tests/test_kernels.c" "$source/tools/op_cases.c" core.a \
    -static -lm -Wl,--no-warnings -o test_kernels
timeout 250 "$emulator" ./test_kernels brief
