#!/bin/sh
# The examples, as their readers would build them: out of this tree, against an installed Strata, with Meson (which asks
# pkg-config), with CMake (find_package), and with one line of cc; then what docs/ shows of that. Skipped (77) where
# CMake is absent.
set -eu
command -v cmake >/dev/null || exit 77
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
unset LD_LIBRARY_PATH CC CFLAGS LDFLAGS # as meson set them

root=$work/root
check "install" sh -c "DESTDIR='$root' meson install -C '$BUILD' --no-rebuild >install.log 2>&1"
pc=$(find "$root" -name strata.pc)
prefix=$root$(sed -n 's/^prefix=//p' "$pc")
sed "s|^prefix=.*|prefix=$prefix|" "$pc" >moved.pc && mv moved.pc "$pc"
lib=$(dirname "$(find "$root" -name libstrata.so)")
export PKG_CONFIG_PATH="${pc%/*}" CMAKE_PREFIX_PATH="$prefix" LD_LIBRARY_PATH="$lib" PATH="$prefix/bin:$PATH"
unset STRATA # whatever runs from here on is the installed one
cp -r "$SOURCE/examples" examples
cp "$SOURCE/examples/scene.png" photo.png

# tries KIND FOLDER: what the examples that were built in FOLDER do.
tries() {
    kind=$1
    built() { echo "$work/$kind-$1"; }
    for plugin in op_plugin/blur_pool pass_plugin/fuse_silu model_plugin/stairs backend_plugin/trace; do
        file=$(built "${plugin%/*}")/${plugin#*/}.so
        check "$kind: the doctor likes ${plugin#*/}" strata doctor --plugin "$file" >out 2>&1
        check "$kind: a table" grep -q ' ok$' out
    done
    check "$kind: op" strata extract examples/op_plugin/blur.graph photo.png --random-weights 1 -q -o "$kind.npz" \
        --plugin "$(built op_plugin)/blur_pool.so"
    strata dump examples/pass_plugin/exported.graph --plugin "$(built pass_plugin)/fuse_silu.so" \
        --pipeline +fuse_silu --after fuse_silu >out
    says out '%act = silu(%conv)'
    strata info stairs_tiny --plugin "$(built model_plugin)/stairs.so" >out
    says out '[1,128,7,7]'
    strata devices --plugin "$(built backend_plugin)/trace.so" >out
    says out 'trace:0'
    "$(built embed)/embed" dummynet1 photo.png photo.png >out
    check "$kind: two photos" [ "$(grep -c '^photo.png$' out)" = 2 ]
    check "$kind: four features each" [ "$(grep -c '^  layer[1-4] .*\[1,[0-9]*,[0-9]*,[0-9]*\].*norm [0-9]' out)" = 8 ]
    says out '0 rejected, 0 failed; the loop kept ticking'
    code=0
    "$(built embed)/embed" dummynet1 "$SOURCE/meson.build" photo.png >out 2>err || code=$?
    check "$kind: a rejected input" [ "$code" = 1 ]
    says out '1 rejected, 0 failed'
    cp out "$kind.txt"
}

for folder in op_plugin pass_plugin model_plugin backend_plugin embed; do
    check "meson: $folder" sh -c "meson setup meson-$folder examples/$folder -Dwerror=true && ninja -C meson-$folder" >log 2>&1 ||
        cat log
    check "cmake: $folder" sh -c "cmake -S examples/$folder -B cmake-$folder -DCMAKE_C_FLAGS='-Wall -Werror' &&
        cmake --build cmake-$folder" >log 2>&1 || cat log
done
tries meson
tries cmake
same meson.npz cmake.npz
same meson.txt cmake.txt

# Versions that find_package takes: this one and its minor series, no later and no earlier one.
mkdir find
version=$(strata --version | sed 's/.* //')
for wanted in "$version:0" "${version%.*}:0" "${version%.*}.999:1" "9.0:1" "0.0.1:1"; do
    printf 'cmake_minimum_required(VERSION 3.16)\nproject(find C)\nfind_package(Strata %s REQUIRED)\n' "${wanted%:*}" \
        >find/CMakeLists.txt
    rm -rf find/build
    code=0
    cmake -S find -B find/build >log 2>&1 || code=1
    check "find_package(Strata ${wanted%:*})" [ "$code" = "${wanted#*:}" ]
done

# What docs/ shows of an installed Strata.
check "the documentation holds" "$PYTHON" "$here/run_docs.py" installed "$SOURCE" "$SOURCE"/docs/*.md
finish
