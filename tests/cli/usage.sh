#!/bin/sh
# Wrong usage: every mistake has its exit code and a sentence that helps.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
noise=--random-weights=1

# Commands.
code=0
"$STRATA" >out 2>err || code=$?
check "no command is a usage error" [ "$code" = 2 ]
silent_on out
says err "Usage: strata COMMAND"
expect 2 extrakt
says err "did you mean 'extract'?"
expect 2 --json models
says err "options come after it"
expect 2 complet

# Options: unknown, without a value, with a wrong one.
expect 2 info resnet18 --sizes 3
says err "did you mean --size?"
expect 2 info resnet18 -x
expect 2 info resnet18 --weights x
says err "info has no option '--weights'"
expect 2 info resnet18 --size
says err "--size: needs a value"
expect 2 info resnet18 --json=1
for size in 0 0x5 5x 5x5x5 -3 1e3 40000 99999999999999999999 '' ' 5'; do
    expect 2 info resnet18 --size "$size"
    says err "--size"
done
for threads in 0 -1 many 99999; do
    expect 2 bench resnet18 "$noise" --threads "$threads"
done
for seed in x -1 1: 1:x 1:0 1:-2 1:nan 1:inf 1e3 99999999999999999999; do
    expect 2 bench resnet18 --random-weights "$seed"
    says err "--random-weights: '$seed' is no seed"
done
expect 2 dump resnet18 --format pdf
says err "none of text|dot|json|svg|png"
expect 2 dump resnet18 --format tex
expect 2 extract resnet18 "$scene" "$noise" -o x.npz --dtype f64

# Arguments.
expect 2 info
expect 2 info resnet18 resnet34
expect 2 devices cpu
expect 2 extract resnet18 "$noise" -o x.npz
says err "usage: strata extract"
expect 2 weights

# Contradictions, and weights that nobody asked for.
expect 2 extract resnet18 "$scene" -o x.npz
says err "give --weights FILE, or --random-weights 1"
expect 2 extract resnet18 "$scene" -o x.npz "$noise" --weights x.ckpt
says err "exclude each other"
expect 2 extract resnet18 "$scene" -o x.npz "$noise" --auto-map
expect 2 extract resnet18 "$scene" -o x.npz "$noise" --ema
expect 2 extract resnet18 "$scene" -o x.npz --weights w --auto-map --map m
expect 2 bench resnet18
expect 2 dump resnet18 --plan
expect 2 dump resnet18 --plan "$noise" --after dce
expect 2 dump resnet18 --at 1 --out-indices 1
expect 2 dump resnet18 --out-indices layer1
expect 2 extract resnet18 "$scene" "$noise"
says err "give -o NAME.npz"
expect 2 extract resnet18 "$scene" "$noise" -o x.txt
expect 2 extract resnet18 "$scene" "$noise" -o x.npz --picture x.jpg
expect 2 extract resnet18 "$scene" "$noise" -o x.npz --dump-input x.npz
expect 2 extract resnet18 "$scene" "$noise" -o x.npz --at logits --picture x.png

# Options of two words; diff, report.
expect 2 extract resnet18 "$scene" "$noise" -o x.npz --dump-values
says err "--dump-values: needs a value"
expect 2 extract resnet18 "$scene" "$noise" -o x.npz --dump-values only
says err "--dump-values: needs two words after it: GLOB DIR"
with STRATA_DIFF=one expect 2 dump
says err "STRATA_DIFF: needs two words"
with "STRATA_DIFF=resnet18 resnet18" expect 0 dump
expect 2 dump
says err "takes one model, or --diff with two"
expect 2 dump resnet18 --diff built
expect 2 dump resnet18 --diff built fold_bm
says err "did you mean fold_bn?"
expect 2 dump resnet18 --pipeline dce --diff built fold_bn
says err "not part of this pipeline"
expect 7 dump --diff resnet18 resnte50
expect 2 dump resnet18 --diff built dce --plan "$noise"
expect 2 dump resnet18 --diff built dce --format json
expect 2 dump resnet18 --diff built dce --after dce
expect 2 dump --diff resnet18 resnet34 --after all
expect 2 dump resnet18 --exit-code
expect 2 dump resnet18 --after all --format svg
says err "-o DIR/"
expect 2 report resnet18
expect 7 extract resnet18 "$scene" "$noise" --size 32 -o x.npz --dump-values 'nothing*' values
says err "no value matches"
check "no folder" [ ! -e x.npz ]

# Passes.
expect 2 dump resnet18 --after fuse_at
says err "did you mean fuse_act?"
expect 2 dump resnet18 --no-pass nothing
expect 2 dump resnet18 --pipeline "dce fold_bm"
says err "did you mean fold_bn?"
expect 2 dump resnet18 --pipeline dce --after fold_bn
says err "not part of this pipeline"

# Models and selectors.
expect 7 info resnte50
says err "resnet50"
expect 7 models 'nothing*'
expect 7 models resnet500
expect 7 dump resnet18 --at stride:9
says err "2 layer2 (stride 8)"
for selector in 5 -6 layer9 C9 stride:x last:0 last:9 %nothing ',' 1,,2 1,1; do
    expect 7 dump resnet18 --at $selector
done
expect 7 extract resnet18 "$scene" "$noise" -o x.npz --out-indices 7

# Devices.
expect 5 extract resnet18 "$scene" "$noise" -o x.npz --device toaster
says err "'strata devices' lists"
expect 5 bench resnet18 "$noise" --device cpu:99

# The environment mirrors the options; the command line wins; what is empty is absent.
with STRATA_SIZE=64x32 expect 0 dump resnet18 --at 1
says out "%input : f32[1,3,64,32]"
with STRATA_SIZE=64x32 expect 0 dump resnet18 --at 1 --size 32x64
says out "%input : f32[1,3,32,64]"
with STRATA_SIZE= expect 0 dump resnet18 --at 1
says out "%input : f32[1,3,224,224]"
with STRATA_SIZE=big expect 2 dump resnet18
says err "STRATA_SIZE: 'big' is no size"
with STRATA_JSON=1 expect 0 info resnet18
says out '"family": "resnet"'
with STRATA_JSON=0 expect 0 info resnet18
says out "parameters  "
with STRATA_JSON=maybe expect 2 info resnet18
with STRATA_FORMAT=json expect 0 dump resnet18 --at 1
python 'json.load(open("out"))'
with STRATA_OUT_INDICES=0 expect 0 dump resnet18 --at 2
says out 'output "layer2"'
with STRATA_RANDOM_WEIGHTS=7 expect 4 extract resnet18 "$scene" -o x.npz --weights nothing.ckpt
with STRATA_NO_PASS=fuse_act expect 2 dump resnet18 --after fuse_act

# Nothing above has written anything; talk is quiet and plain when asked.
check "no output file" [ ! -e x.npz ]
expect 0 extract resnet18 "$scene" "$noise" --size 32 -q -o x.npz
silent_on err
silent_on out
expect 0 extract resnet18 "$scene" "$noise" --size 32 -o x.npz
silent_on out
check "no escape sequences" sh -c "! grep -q '$(printf '\033')' err"
check "no carriage returns" sh -c "! grep -q '$(printf '\r')' err"
finish
