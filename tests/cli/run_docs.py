"""Does what the documentation shows: run_docs.py MARK SOURCE PAGE...

In each page, a comment line before a fenced block says what the block is:

    <!-- MARK -->          a console: each "$ " line is run, and the output shown under it must come out. MARK is
                           "tested" for what works in the build tree, "installed" for what needs Strata installed,
                           "source" for what changes a copy of the sources
    <!-- file: NAME -->    the block is written to NAME in the current folder, for the commands that follow
    <!-- from: PATH -->    a quotation: it stands so in SOURCE/PATH

"..." in what is shown stands for anything, a line of it for any lines; times, the name of the processor and what depends
on it may differ. A command that ends with "# exit CODE" must end with that code.
"""
import os
import re
import subprocess
import sys


def plain(text):
    text = re.sub(r"\d+\.\d+ s \([\d.]+ images/s\)", "T s", text)
    return re.sub(r"^(device +cpu:0|plan +batch \d+) .*$", r"\1", text, flags=re.M)


def pattern_of(shown):
    return re.escape(shown.strip("\n")).replace(re.escape("..."), ".*")


def console(page, block):
    """The number of commands, and of those that failed."""
    ran = bad = 0
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, shown = part.partition("\n")
        while command.endswith("\\"):
            more, _, shown = shown.partition("\n")
            command = command[:-1] + more
        code = re.search(r"# exit (\d+)$", command)
        run = subprocess.run(command, shell=True, capture_output=True, text=True)
        got = plain(run.stdout + run.stderr)
        ran += 1
        if run.returncode != (int(code[1]) if code else 0) or not re.search("^" + pattern_of(plain(shown)) + "$", got,
                                                                             re.S | re.M):
            bad += 1
            print(f"{page}: $ {command}\nexit code {run.returncode}\n--- shown\n{shown}--- printed\n{got}")
    return ran, bad


def quotes(page, source, path, block):
    if re.search(pattern_of(block), open(f"{source}/{path}").read(), re.S):
        return 1, 0
    print(f"{page}: this does not stand in {path}:\n{block}")
    return 1, 1


def main(mark, source, pages):
    done = bad = 0
    for page in pages:
        text = open(page).read()
        for what, block in re.findall(r"^<!-- ([^\n]*) -->\n+```[^\n]*\n(.*?)^```", text, re.S | re.M):
            kind, _, name = what.partition(": ")
            some, wrong = 0, 0
            if what == mark:
                some, wrong = console(page, block)
            elif kind == "file":
                os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
                open(name, "w").write(block)
            elif kind == "from":
                some, wrong = quotes(page, source, name, block)
            elif what not in ("tested", "installed", "source"):
                some, wrong = 1, 1
                print(f"{page}: nobody knows what to do with a block marked '{what}'")
            done += some
            bad += wrong
    print(f"{done} commands and quotations, {bad} failed")
    return 1 if bad or not done else 0


sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
