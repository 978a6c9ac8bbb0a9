#!/bin/sh
# A built-in op takes three files: docs/adding-an-op.md adds one to a copy of the sources, and uses it. Nothing but those
# three files may differ. To be quick, only what the change reaches is compiled: the op, and the file that reads the list of
# ops. All else is linked as it is, which shows too that nothing else knows ops.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
unset LD_LIBRARY_PATH CFLAGS LDFLAGS # as meson set them

mkdir tree bin
folders="include ops graph scheduler passes models backends"
for folder in $folders; do
    cp -r "$SOURCE/$folder" tree
done
cat >bin/strata <<END
#!/bin/sh
# Builds what the sources have become, and is it.
set -eu
cd "$work/tree"
for file in ops/abs.c scheduler/builtins.c; do
    cc -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-missing-field-initializers -Iinclude -c "\$file" \\
        -o "../\$(basename "\$file").o"
done
cc ../*.o "$BUILD"/tools/strata.p/*.o "$BUILD/tools/libop_cases.a" "$BUILD/libstrata_core.a" -o ../strata -lm -ldl -pthread \$(pkg-config --libs \\
    libuv openblas libjpeg libpng libwebp libwebpdemux libexif libprotobuf-c libzip jansson popt libmd)
exec ../strata "\$@"
END
chmod +x bin/strata
PATH=$work/bin:$PATH
cd tree
check "the documentation holds" "$PYTHON" "$here/run_docs.py" source "$SOURCE" "$SOURCE/docs/adding-an-op.md"
cd ..
for folder in $folders; do
    diff -rq "$SOURCE/$folder" "tree/$folder" || true
done >changed
cat changed
check "three files" [ "$(wc -l <changed)" = 3 ]
finish
