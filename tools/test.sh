#!/bin/sh
# All tests, as continuous integration runs them: the whole suite on a release build, then all but the long tests
# under AddressSanitizer and UndefinedBehaviorSanitizer, then those with threads under ThreadSanitizer.
# The last line is "N passed, N failed"; the exit code is 0 when none failed.
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh

jobs=$(nproc)
# The sanitizers take long to compile: twice as long at -O2, which finds no more. A debugger's notes are left out but for the
# lines of a trace, and, since they check what the processor runs, so is AVX-512 where it has none.
sanitized="-Dtests=enabled -Doptimization=1 -Dc_args=-g1 -Dvulkan=disabled"
grep -q avx512dq /proc/cpuinfo 2>/dev/null || sanitized="$sanitized -Davx512=disabled"
passed=0
failed=0

# run_suite DIR MESON_OPTIONS TARGET TEST_OPTIONS...: builds TARGET in DIR and adds the results of its tests to the sums.
run_suite() {
    dir=$1
    options=$2
    target=$3
    shift 3
    # shellcheck disable=SC2086 # a list of options
    if { [ ! -f "$dir/build.ninja" ] && ! meson setup "$dir" $options; } || ! ninja -C "$dir" -j "$jobs" "$target"; then
        echo "test: $dir does not build" >&2
        failed=$((failed + 1))
        return
    fi
    wait # for npm
    log=$dir/test-output.log
    # A pipe would hide meson's exit code, which is not needed: a crash of meson itself leaves no summary.
    meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes "$jobs" "$@" 2>&1 </dev/null | tee "$log"
    ok=$(sed -n 's/^Ok: *\([0-9]*\).*/\1/p' "$log" | tail -n 1)
    bad=$(sed -n -e 's/^Fail: *\([0-9]*\).*/\1/p' -e 's/^Timeout: *\([0-9]*\).*/\1/p' \
        -e 's/^Unexpected Pass: *\([0-9]*\).*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
    if [ -z "$ok" ]; then
        echo "test: no summary from meson test in $dir" >&2
        ok=0
        bad=$((bad + 1))
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
}

# ONNX Runtime, beside which exported models run, comes from npm, while we build; without npm or a network that test is
# skipped.
if command -v npm >/dev/null 2>&1 && [ ! -d build-npm/node_modules/onnxruntime-node ]; then
    mkdir -p build-npm
    { timeout 120 npm install --ignore-scripts --no-audit --no-fund --prefix build-npm onnxruntime-node@1 \
        >build-npm/log 2>&1 </dev/null || echo "test: no ONNX Runtime, see build-npm/log; its test will be skipped" >&2; } &
fi

echo "== release: everything"
run_suite build-test "-Dtests=enabled -Dbuildtype=release -Dwerror=true" all

! command -v ld.gold >/dev/null 2>&1 || export CC_LD=gold # links what is sanitized in two thirds of the time

echo "== address and undefined-behaviour sanitizers: all but the long tests, and those of drivers"
# Leaks are errors; an allocation that is too large fails as it does without the sanitizer, for tests ask for such.
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
run_suite build-asan "$sanitized -Db_sanitize=address,undefined -Db_lundef=false" all \
    --no-suite long --timeout-multiplier 4

echo "== thread sanitizer: the tests with threads"
export TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1
run_suite build-tsan "$sanitized -Db_sanitize=thread -Db_lundef=false" tests-with-threads \
    --suite threads --timeout-multiplier 4

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
