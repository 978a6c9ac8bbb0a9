/* Appended to a report by report.sh: does what a reader would, and leaves what the page then shows in an element for the
 * script to compare. An exception leaves its text. */
"use strict";
(() => {
const out = {}, box = document.createElement("pre");
box.id = "seen";
const all = (selector, from) => [...(from || document).querySelectorAll(selector)];
const one = selector => document.querySelector(selector);
const details = () => Object.fromEntries(all("#detail dd").map(e => [e.dataset.key, e.textContent]));
const find = text => { const s = one("#search"); s.value = text; s.dispatchEvent(new Event("input")); };
try {
  out.title = document.title;
  out.features = all("[data-feature]").map(r => all("td", r).map(c => c.textContent));
  out.passes = all("[data-pass]").map(r => all("td", r).map(c => c.textContent));
  out.macs = all("[data-pass] td:nth-child(6)").map(c => c.title);
  out.facts = all(".fact small").map(e => e.textContent);

  /* the tree: closed modules have no children, open ones theirs */
  const module = one('[data-path="layer1"]');
  out.before = all('[data-path^="layer1."]').length;
  module.querySelector("button").click();
  out.expanded = module.getAttribute("aria-expanded");
  out.inside = all('[data-path^="layer1."]').map(e => e.dataset.path);
  one('[data-path="layer1.0"] > button').click();
  out.leaves = all('[data-path="layer1.0"] [data-leaf]').map(e => e.dataset.leaf);
  out.sums = module.querySelector("button").title;
  module.querySelector("button").click();
  out.closed = all('[data-path^="layer1."]').length;

  /* search */
  find("layer2.0.conv1");
  out.found = all("#rows .row").map(r => r.dataset.name);
  out.hits = one("#hits").textContent;
  one("#rows .row").click();
  out.chosen = details();
  find("no such thing at all");
  out.nothing = one("#rows").textContent;
  find("");
  out.rows = one("#hits").textContent;
  out.drawn = all("#rows .row").length;

  /* the graph as it runs */
  one('[data-graph="final"]').click();
  find("layer1.0.relu.1");
  one("#rows .row").click();
  out.runs = details();
  find("");
  const link = one("[data-pass=fuse_act] button");
  if (link) link.click();
  out.lines = all(".lines span").map(e => e.textContent.trimEnd());
  out.maps = all("[data-map]").map(m => [m.dataset.map, ...all("img", m).map(i => i.naturalWidth + "x" + i.naturalHeight)]);
  out.network = all("[src],[href]").map(e => e.getAttribute("src") || e.getAttribute("href")).filter(u => !/^(data:|#)/.test(u));
} catch (e) {
  out.exception = e.stack;
}
box.textContent = JSON.stringify(out);
document.body.append(box);
})();
