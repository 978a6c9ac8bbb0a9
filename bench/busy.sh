#!/bin/sh
# What two threads are worth while another program keeps one of two processors busy: bench/busy.sh [MODEL]
# Prints the least times of one thread, of two, and of two beside a busy loop; the last should not exceed the first by
# much. Runs on processors 0 and 1 only (taskset, of util-linux).
set -eu
strata=$(cd "$(dirname "$0")/.." && pwd)/build/tools/strata
model=${1:-resnet50}

least() {
    taskset -c 0,1 "$strata" bench "$model" --random-weights 1 --at logits --runs 15 --threads "$1" --quiet --json |
        sed -n 's/.*"ms_min": \([0-9.]*\).*/\1/p; s/.*"ms_median": \([0-9.]*\).*/(median \1)/p' | tr '\n' ' '
}

for _ in 1 2 3; do
    one=$(least 1)
    two=$(least 2)
    taskset -c 1 sh -c 'while :; do :; done' &
    loop=$!
    busy=$(least 2)
    kill $loop
    wait $loop 2>/dev/null || true
    echo "$model, ms: one thread $one two threads $two two beside a busy loop $busy"
done
