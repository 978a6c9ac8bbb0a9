#!/bin/sh
# Help, manual page and completion: complete, and of one mind.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
commands="models info devices extract dump bench report compare export weights doctor"
manual=$SOURCE/tools/strata.1

expect 0 --version
check "a version" grep -Eq '^strata [0-9]+\.[0-9]+\.[0-9]+$' out
for word in --help -h help; do
    expect 0 $word
    silent_on err
    for command in $commands; do
        says out "  $command "
    done
done
check "no hidden command in the help" sh -c "! grep -q complete out"

for command in $commands; do
    expect 0 "$command" --help
    silent_on err
    says out "Usage: strata $command"
    says out "Examples"
    says out "  strata $command"
    check "$command --help fits 110 columns" sh -c "! grep -E '^.{111}' out"
    cp out help
    expect 0 help "$command"
    same out help
    # Completion knows the same options as the help, and the manual has them all.
    expect 0 complete "$command" --
    cut -f 1 out | sort -u >completed
    grep -oE '^ +(-[a-z], )?--[a-z-]+' help | grep -oE -- '--[a-z-]+' | sort -u >helped
    same completed helped
    while read -r option; do
        check "strata.1 has $option" grep -Eq "^\.It Fl (. , )?-${option#--}( |\$)" "$manual"
    done <helped
    says "$manual" ".It Cm $command"
done
expect 2 help nothing
expect 2 help complete
if command -v mandoc >/dev/null; then
    check "mandoc finds nothing" sh -c "[ -z \"\$(mandoc -Tlint -Wwarning '$manual' 2>&1)\" ]"
fi

# Completion.
expect 0 complete ext
check "extract" [ "$(cut -f 1 out)" = extract ]
expect 0 complete info resnet1
check "models" [ "$(cut -f 1 out | tr '\n' ' ')" = "resnet101 resnet152 resnet18 " ]
expect 0 complete extract --dtype ''
check "choices" [ "$(cut -f 1 out | tr '\n' ' ')" = "f32 f16 " ]
expect 0 complete bench resnet18 --device ''
says out cpu
expect 0 complete bench resnet18 --device a
check "auto" [ "$(cut -f 1 out)" = auto ]
expect 0 complete compare resnet18 --test d
check "definition" [ "$(cut -f 1 out)" = definition ]
expect 0 complete compare resnet18 --test-pipeline fold
says out fold_bn
expect 0 complete dump --after fold
says out fold_bn
expect 0 complete extract resnet18 ''
silent_on out
expect 0 complete extract --at 3 res
says out resnet50
expect 0 complete nothing ''
silent_on out
if command -v bash >/dev/null; then
    mkdir bin
    ln -s "$STRATA" bin/strata
    PATH=$work/bin:$PATH bash -c '
        . "$SOURCE/tools/completions/strata.bash"
        COMP_WORDS=(strata info hrnet_w3) COMP_CWORD=2
        _strata
        [ "${COMPREPLY[*]}" = hrnet_w32 ] || { echo "got: ${COMPREPLY[*]}"; exit 1; }
        touch photo1.jpg
        COMP_WORDS=(strata extract resnet18 phot) COMP_CWORD=3
        _strata
        [ "${COMPREPLY[*]}" = photo1.jpg ] || { echo "got: ${COMPREPLY[*]}"; exit 1; }' || fail "bash completion"
fi
finish
