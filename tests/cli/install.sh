#!/bin/sh
# meson install gives a tree in which the README's program builds with pkg-config and runs, and the command works.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"

root=$work/root
check "install" sh -c "DESTDIR='$root' meson install -C '$BUILD' --no-rebuild >install.log 2>&1"
pc=$(find "$root" -name strata.pc)
check "one strata.pc" [ -f "$pc" ]
prefix=$(sed -n 's/^prefix=//p' "$pc")
for path in bin/strata include/strata/strata.h include/strata/extend.h include/strata/ops.h include/strata/ops.def \
    include/strata/nn.h include/strata/vulkan.h include/strata/plugin.h share/man/man1/strata.1 share/bash-completion/completions/strata \
    share/zsh/site-functions/_strata; do
    check "$path is installed" [ -e "$root$prefix/$path" ]
done

lib=$(dirname "$(find "$root" -name 'libstrata.so')")
# Only our own symbols are visible.
foreign=$(nm -D --defined-only "$lib/libstrata.so" | awk '{ print $3 }' | grep -v -e '^strata_' -e '^nn_' || true)
check "foreign symbols: $foreign" [ -z "$foreign" ]

# The README's program, as a user would build it.
# shellcheck disable=SC2016 # backquotes of Markdown
sed -n '/^```c$/,/^```$/p' "$SOURCE/README.md" | sed '/^```/d' >program.c
check "README.md has a program" [ -s program.c ]
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$root"
# shellcheck disable=SC2046 # a list of options
check "the program builds" cc -std=c17 -Wall -Wextra -Werror program.c $(pkg-config --cflags --libs strata) -o program
LD_LIBRARY_PATH=$lib ./program >out || fail "the program does not run"
says out "layer4"
# Headers stand alone, in C and in C++ where there is a compiler.
for header in strata extend ops nn vulkan plugin; do
    echo "#include <strata/$header.h>" >one.c
    # shellcheck disable=SC2046 # a list of options
    check "$header.h alone" cc -std=c17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only $(pkg-config --cflags strata) one.c
done

LD_LIBRARY_PATH=$lib "$root$prefix/bin/strata" models resnet50 >out
says out resnet50
finish
