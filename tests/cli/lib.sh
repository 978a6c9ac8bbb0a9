# lib.sh: for the scripts of this folder, which meson runs with
#   STRATA  the command        SOURCE  the root of the sources      PYTHON  a python3 with numpy
# Sourced. Works in a folder of its own, which is removed.
# shellcheck shell=sh

unset STRATA_PLUGIN STRATA_AT STRATA_SIZE STRATA_DEVICE STRATA_FALLBACK STRATA_WEIGHTS STRATA_QUIET STRATA_JSON STRATA_THREADS
# shellcheck disable=SC2034 # for the scripts
scene=$SOURCE/examples/scene.png
# shellcheck disable=SC2034
here=$SOURCE/tests/cli
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
# Caches of ours go with the folder; what the driver has compiled stays with the build.
export XDG_CACHE_HOME="$work/cache" MESA_SHADER_CACHE_DIR="$BUILD/tests/mesa_shader_cache"
checks=0
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# expect CODE [ARGUMENT...]: runs strata, keeps stdout in out and stderr in err, and checks the exit code. Errors must
# have the form that scripts rely on.
expect() {
    wanted=$1
    shift
    checks=$((checks + 1))
    code=0
    "$STRATA" "$@" >out 2>err </dev/null || code=$?
    if [ "$code" != "$wanted" ]; then
        fail "strata $*: exit code $code, not $wanted"
        cat err
    fi
    case $wanted in
    0) ! grep -q '^strata: error:' err || fail "strata $*: succeeded with an error: $(cat err)" ;;
    *) grep -q '^strata: error: ' err || fail "strata $*: no 'strata: error: ' on stderr" ;;
    esac
}

# with VARIABLE=VALUE COMMAND...: the command with this in its environment. (A plain prefix is not portable before a
# function.)
with() {
    variable=${1%%=*}
    export "${1?}"
    shift
    "$@"
    unset "$variable"
}

# says FILE TEXT: FILE has TEXT in it.
says() {
    checks=$((checks + 1))
    grep -qF -- "$2" "$1" || {
        fail "no '$2' in $1:"
        head -n 20 "$1"
    }
}

silent_on() {
    checks=$((checks + 1))
    [ ! -s "$1" ] || fail "$1 is not empty: $(head -n 3 "$1")"
}

# same A B: the files are equal.
same() {
    checks=$((checks + 1))
    cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

# check DESCRIPTION COMMAND...: the command succeeds.
check() {
    what=$1
    shift
    checks=$((checks + 1))
    "$@" || fail "$what"
}

# python SCRIPT ARGUMENTS...: numpy as n (a fifth of a second: only where it is used), json and sys are there; the script
# raises where something is wrong.
python() {
    checks=$((checks + 1))
    script=$1
    shift
    case $script in
    n.* | *[!A-Za-z0-9_]n.*) modules="json, sys, numpy as n" ;;
    *) modules="json, sys" ;;
    esac
    "$PYTHON" -c "import $modules
$script" "$@" || fail "python: $script"
}

finish() {
    echo "$checks checks, $failures failed"
    [ "$checks" -gt 0 ] && [ "$failures" = 0 ]
}
