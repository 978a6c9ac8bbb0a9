#!/bin/sh
# extract: which files it reads, in which order, what it does with bad ones, and what it leaves behind.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
run="--random-weights 1 --size 32 --at last:1"

names() { # NPZ NAME...: the rows are these
    file=$1
    shift
    python 'z = n.load(sys.argv[1]); assert list(z["names"]) == sys.argv[2:], z["names"]; assert z["layer4"].shape[0] == len(sys.argv[2:])' "$file" "$@"
}

mkdir -p pics/sub/.hidden pics/b "with space"
for name in z.png a.PNG sub/2.png sub/10.png b/x.jpeg .hidden.png; do
    cp "$scene" "pics/$name"
done
cp "$scene" "pics/sub/.hidden/x.png"
cp "$scene" "with space/ü.png"
echo text >pics/readme.md
ln -s .. pics/sub/loop
ln -s z.png pics/link.png

# shellcheck disable=SC2086 # $run is a list of words
{
    expect 0 extract resnet18 pics $run -o x.npz
    names x.npz pics/a.PNG pics/b/x.jpeg pics/link.png pics/sub/10.png pics/sub/2.png pics/z.png
    says err "left out"
    expect 0 extract resnet18 pics/z.png pics/sub/ "with space/ü.png" $run --batch 4 -o x.npz
    names x.npz pics/z.png pics/sub/10.png pics/sub/2.png "with space/ü.png"

    # Lists: lines, Windows lines, no last newline, NUL-ended, on stdin, with folders of files that are not there.
    printf 'pics/z.png\r\n\nwith space/ü.png' >list.txt
    expect 0 extract resnet18 list.txt pics/a.PNG $run -o x.npz
    names x.npz pics/z.png "with space/ü.png" pics/a.PNG
    printf 'pics/a.PNG\0with space/ü.png\0' >list
    "$STRATA" extract resnet18 - $run -q -o x.npz <list || fail "NUL-ended list on stdin"
    names x.npz pics/a.PNG "with space/ü.png"
    printf 'pics/a.PNG\nmissing.png\n' >list.txt
    expect 3 extract resnet18 list.txt $run -o x.npz
    says err "rejected: missing.png"
    names x.npz pics/a.PNG

    # Names are bytes.
    odd=$(printf 'odd\377.png')
    cp "$scene" "$odd"
    expect 0 extract resnet18 "$odd" $run -o x.npz
    python 'assert n.load("x.npz")["names"].shape == (1,)'
    expect 0 extract resnet18 "$odd" $run -o x.safetensors

    # Bad images are rejected one by one, with the reason; the rest keeps its order.
    head -c 50000 "$scene" >truncated.png
    echo "not an image" >text.jpg
    : >empty.webp
    expect 3 extract resnet18 truncated.png pics/z.png text.jpg empty.webp pics/a.PNG $run --batch 2 -o x.npz
    names x.npz pics/z.png pics/a.PNG
    for bad in truncated.png text.jpg empty.webp; do
        says err "strata: error: rejected: $bad: "
    done
    says err "3 of 5 inputs"
    # When nothing remains there is no output, and the old one stays.
    cp x.npz old.npz
    expect 3 extract resnet18 text.jpg $run -o x.npz
    says err "no input could be used"
    same x.npz old.npz
    rm x.npz
    expect 3 extract resnet18 text.jpg $run -o x.npz
    check "no output" [ ! -e x.npz ]

    # What a person names must be there; places to write are checked before anything is computed.
    expect 6 extract resnet18 nothing.jpg $run -o x.npz
    says err "nothing.jpg"
    expect 6 extract resnet18 nothing.txt $run -o x.npz
    mkdir none
    expect 6 extract resnet18 none $run -o x.npz
    says err "holds no images"
    : >empty.txt
    expect 6 extract resnet18 empty.txt $run -o x.npz
    expect 6 extract resnet18 - $run -o x.npz
    expect 6 extract resnet18 "$scene" $run -o nowhere/x.npz
    says err "make it first"
    expect 6 extract resnet18 "$scene" $run -o none
    says err "is a folder"
    expect 6 extract resnet18 "$scene" $run -o text.jpg/x.npz
    expect 6 extract resnet18 "$scene" $run -o /proc/x.npz
    expect 6 extract resnet18 "$scene" $run -o x.npz --picture nowhere/x.png
    expect 6 extract resnet18 "$scene" $run -o x.npz --dump-input nowhere/x.npy
    check "nothing was written" [ ! -e x.npz ]
    check "no file but ours" [ -z "$(find . -newer old.npz -name '*.npz*')" ]

    # Killed at any moment: the old file, or the new one whole; a polite signal leaves no temporary file either.
    i=0
    while [ $i -lt 15 ]; do
        cat list.txt
        i=$((i + 1))
    done | sed 's/missing.png/pics\/z.png/' >long.txt
    for signal in TERM HUP KILL; do
        mkdir "$signal"
        cp old.npz "$signal/x.npz"
        for pause in 0.1 0.4; do
            "$STRATA" extract resnet18 long.txt --random-weights 1 --threads 1 -q -o "$signal/x.npz" 2>err &
            child=$!
            sleep $pause
            kill -s $signal $child 2>/dev/null || true
            code=0
            wait $child || code=$?
            if [ $code != 0 ]; then
                same "$signal/x.npz" old.npz
                [ $signal = KILL ] || check "after $signal only the old file" [ "$(ls "$signal")" = x.npz ]
            else
                python 'n.load(sys.argv[1])["names"]' "$signal/x.npz"
                cp old.npz "$signal/x.npz"
            fi
        done
    done
}
finish
