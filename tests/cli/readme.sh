#!/bin/sh
# The README's commands do what it says: each "$ strata ..." line of a block marked <!-- tested --> is run, and the
# output shown under it must come out. "..." in what is shown stands for anything, a line of it for any lines; times, the
# name of the processor and what depends on it may differ.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"

cp "$scene" photo.png
mkdir -p bin
ln -s "$STRATA" bin/strata
PATH=$work/bin:$PATH "$PYTHON" - "$SOURCE/README.md" "$SOURCE"/docs/*.md <<'END' || fail "the documentation does not hold"
import re, subprocess, sys

def plain(text):
    text = re.sub(r"\d+\.\d+ s \([\d.]+ images/s\)", "T s", text)
    return re.sub(r"^(device +cpu:0|plan +batch \d+) .*$", r"\1", text, flags=re.M)


ran = bad = 0
for path in sys.argv[1:]:
    text = open(path).read()
    for block in re.findall(r"<!-- tested -->\n+```console\n(.*?)```", text, re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            run = subprocess.run(command, shell=True, capture_output=True, text=True)
            got = plain(run.stdout + run.stderr)
            pattern = re.escape(plain(shown.strip("\n"))).replace(re.escape("..."), ".*")
            ran += 1
            if run.returncode or not re.search("^" + pattern + "$", got, re.S | re.M):
                bad += 1
                print(f"{path}: $ {command}\nexit code {run.returncode}\n--- shown\n{shown}--- printed\n{got}")
print(f"{ran} commands")
sys.exit(bad or not ran)
END
checks=$((checks + 1))
finish
