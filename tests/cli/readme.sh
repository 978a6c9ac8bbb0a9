#!/bin/sh
# The README and the pages of docs/ do what they say: see run_docs.py. What they show of an installed Strata is run by
# tests/out_of_tree.sh.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"

cp "$scene" photo.png
mkdir -p bin
ln -s "$STRATA" bin/strata
PATH=$work/bin:$PATH
check "the documentation holds" "$PYTHON" "$here/run_docs.py" tested "$SOURCE" "$SOURCE/README.md" "$SOURCE"/docs/*.md
finish
