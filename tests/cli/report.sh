#!/bin/sh
# report: the page holds what the dump says, needs nothing from elsewhere, and works in a browser: the tree opens, search
# finds, and the numbers that a reader sees are those of the JSON dump. Without Chromium only the page itself is checked.
set -eu
# shellcheck source=tests/cli/lib.sh
. "$SOURCE/tests/cli/lib.sh"
noise=--random-weights=1

expect 0 report resnet18 "$noise" --size 64x96 --image "$scene" --runs 2 -o page.html
silent_on out
expect 0 dump resnet18 "$noise" --size 64x96 --format json -o built.json
expect 0 dump resnet18 "$noise" --size 64x96 --format json --plan -o final.json
expect 0 dump resnet18 "$noise" --size 64x96 --diff fold_constants fuse_act
sed 1,2d out >lines

# The data in the page is the dump; nothing in the page points elsewhere.
cat >page.py <<'END'
page = open("page.html").read()
data = json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])
built, final = json.load(open("built.json")), json.load(open("final.json"))
END
python "$(cat page.py)
assert data['built'] == built and data['final'] == final
assert {s['node'] for s in data['steps']} <= {n['name'] for n in final['nodes']} and all(s['ms'] >= 0 for s in data['steps'])
assert [p['name'] for p in data['passes']][:2] == ['built', 'dce'] and data['passes'][-1]['values'] < data['passes'][0]['values']
assert [m['name'] for m in data['image']['maps']] == ['relu', 'layer1', 'layer2', 'layer3', 'layer4']
import re
assert not re.search(r'https?://(?!www.w3.org/2000/svg)', page), re.findall(r'https?://[^\s]*', page)"

# Without weights there is structure; names of a hostile graph stay text.
expect 0 report resnet18 -o plain.html
says err "no weights"
expect 2 report resnet18
says err "give -o NAME.html"
expect 2 report resnet18 --image "$scene" -o x.html
expect 6 report resnet18 "$noise" --image nothing.png -o x.html
check "nothing is left behind" [ -z "$(find . -name 'x.html*')" ]
cat >hostile.graph <<'END'
graph "</script><script>document.title='taken'</script>" {
  input %input : f32[1,3,8,8]
  %"<img src=x onerror=alert(1)>" = relu(%input) : f32[1,3,8,8]
  output "<b>" = %"<img src=x onerror=alert(1)>"
}
END
expect 0 report ./hostile.graph -o hostile.html
check "one data element" [ "$(grep -c '</script>' hostile.html)" = 2 ]

# In a browser.
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    finish
    echo "no Chromium: the page was not opened"
    exit 77
fi
# open PAGE SEEN: what report_check.js saw in it.
open() {
    { cat "$1"; echo "<script>"; cat "$here/report_check.js"; echo "</script>"; } >checked.html
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync --user-data-dir="$work/browser" \
        --virtual-time-budget=5000 \
        --window-size=1400,1000 --dump-dom "file://$work/checked.html" >dom.html 2>browser.log || {
        fail "the browser: $(tail -n 5 browser.log)"
    }
    python 'import html
dom = open("dom.html").read()
json.dump(json.loads(html.unescape(dom.split("<pre id=\"seen\">")[1].split("</pre>")[0])), open(sys.argv[1], "w"))' "$2"
}
open page.html seen.json
python "$(cat page.py)"'
seen = json.load(open("seen.json"))
assert "exception" not in seen, seen["exception"]
number = lambda text: int(text.replace(",", ""))
nodes = {n["name"]: n for n in built["nodes"]}
computed = [n for n in built["nodes"] if n["kind"] != "constant"]
shape = lambda n: "×".join(str(d) for d in n["shape"])
assert seen["title"].startswith("resnet18") and seen["network"] == [], seen["network"]

# features, as the dump has them
two = lambda p: "%g" % p[0] if p[0] == p[1] else "%g × %g" % tuple(p)
for f, row in zip(built["features"], seen["features"], strict=True):
    want = [str(f["index"]), f["name"], None, str(f["reduction"]), str(f["channels"]), "×".join(map(str, f["shape"])),
            two(f["place"]["receptive_field"]), two(f["place"]["offset"]), "%" + f["value"]]
    assert all(w is None or w == r for w, r in zip(want, row, strict=True)), (want, row)
assert f"{built['"'macs'"']:,}" in seen["facts"] and f"{built['"'params'"']:,}" in seen["facts"], seen["facts"]

# passes
assert [r[0] for r in seen["passes"]] == [p["name"] for p in data["passes"]]
assert [number(r[2]) for r in seen["passes"]] == [p["values"] for p in data["passes"]]
assert [number(m) for m in seen["macs"]] == [p["macs"] for p in data["passes"]]
assert seen["lines"] == [l.rstrip("\n") for l in open("lines")], seen["lines"][:3]

# the tree opens and closes; its sums are those of the nodes
assert seen["before"] == 0 and seen["expanded"] == "true" and seen["closed"] == 0
assert seen["inside"] == ["layer1.0", "layer1.1"], seen["inside"]
assert seen["leaves"] == [n["name"] for n in computed if n["scope"] == "layer1.0"], seen["leaves"]
mine = [n for n in built["nodes"] if n["scope"].split(".")[0] == "layer1"]
params = sum(int(n.prod(x["shape"])) for x in mine if x["kind"] == "constant")
assert seen["sums"].startswith(f"layer1: {params:,} parameters, {sum(x['"'macs'"'] for x in mine):,} MACs"), seen["sums"]

# search finds a node, and its numbers are those of the dump
assert seen["found"] == ["layer2.0.conv1"] and seen["hits"] == f"1 of {len(computed)}", (seen["found"], seen["hits"])
x = nodes["layer2.0.conv1"]
c = seen["chosen"]
assert (c["shape"], number(c["bytes"]), number(c["MACs"]), number(c["uses"])) == (shape(x), x["bytes"], x["macs"], x["uses"]), c
assert c["receptive field"] == two(x["place"]["receptive_field"]) and c["offset"] == two(x["place"]["offset"]), c
assert "Nothing matches" in seen["nothing"] and seen["rows"] == f"{len(computed)} values" and 0 < seen["drawn"] < len(computed)

# the graph as it runs: kernel, device, time
x = {n["name"]: n for n in final["nodes"]}["layer1.0.relu.1"]
assert seen["runs"]["kernel"] == x["kernel"] and seen["runs"]["device"] == "cpu" and "s" in seen["runs"]["time"], seen["runs"]
assert number(seen["runs"]["MACs"]) == x["macs"] and number(seen["runs"]["bytes"]) == x["bytes"]

# pictures decode: the maps at their own size
assert seen["maps"][0][:2] == ["relu", "48x32"] and len(seen["maps"]) == 5 and all(len(m) == 10 for m in seen["maps"]), seen["maps"]'

open plain.html seen.json
python 's = json.load(open("seen.json")); assert "exception" not in s and s["maps"] == [] and s["lines"], s'
open hostile.html seen.json
python 's = json.load(open("seen.json")); assert s["title"].startswith("./hostile.graph"), s["title"]'
check "the name is text, not an element" sh -c "! grep -q '<img src=\"x\"' dom.html"
finish
