#!/bin/sh
# Writes the generated pages of docs/. usage: update_docs.sh GEN_DOCS DOCS [--check]
# With --check it writes nothing and fails where a page differs from what its definitions say.
set -eu
gen_docs=$1
docs=$2
check=${3:-}

fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
for page in ops passes models; do
    "$gen_docs" "$page" >"$fresh"
    if [ -z "$check" ]; then
        cp "$fresh" "$docs/$page.md"
        echo "wrote docs/$page.md"
    elif ! diff -u "$docs/$page.md" "$fresh"; then
        echo "docs/$page.md is out of date; run: meson compile -C build update-docs" >&2
        exit 1
    fi
done
