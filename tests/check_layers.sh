#!/bin/sh
# Who may include whom. Every folder sees the public headers and its own; what stands below is all it may see beyond.
# usage: check_layers.sh SOURCE_ROOT
set -eu
cd "$1"
sources="graph ops passes models formats backends scheduler tools bench"

# includes FOLDER...: a line "FILE:<header>" or 'FILE:"header"' for each include.
includes() {
    grep -rHoE --include='*.[ch]' '^[[:blank:]]*#[[:blank:]]*include[[:blank:]]*["<][^">]*[">]' "$@" |
        sed 's/:[^:"<]*\(["<]\)/:\1/'
}

# own FOLDER [ALLOWED]: "x.h" is of the file's own folder (or generated beside it), or matches ALLOWED.
own() {
    includes "$1" | grep -E ':".*/.*"$' | grep -vE ":\"(${2:-nothing more})\"\$" | sed 's/$/ is not of its own folder/'
}

# only_in FOLDERS PATTERN: <PATTERN> belongs to these folders (a|b) alone.
only_in() {
    # shellcheck disable=SC2086 # a list of folders
    includes $sources | grep -E ":<$2>\$" | grep -vE "^($1)/" | sed "s,\$, belongs to $1,"
}

violations=$(
    for folder in graph ops passes models formats tools; do
        own "$folder"
    done
    own bench
    own backends '\.\./backend\.h'
    # The scheduler sees the graph's insides, and registers what the lists of the other folders name.
    own scheduler '\.\./graph/[a-z_]+\.h|\.\./backends/backend\.h|\.\./[a-z]+/[a-z]+\.def'
    only_in scheduler 'uv\.h'
    # bench/ times our kernels beside OpenBLAS itself.
    only_in 'backends/cpu|bench' '(cblas|openblas[a-z_]*)\.h'
    includes include/strata | grep ':"' | sed 's/$/ is not there once installed/'
    includes tools | grep -E ':<strata/(ops|nn)\.h>$' | grep -vE '^tools/(gen_docs\.c|op_cases\.h)' |
        sed 's/$/ is for authors of ops and models; the command is an application/'
    true
)
if [ -n "$violations" ]; then
    printf '%s\n' "$violations" >&2
    exit 1
fi
echo "layers: fine"
