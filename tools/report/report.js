/* The report draws itself from the one block of data in the page, which holds the graph as 'strata dump --format json'
 * prints it, as built and as it runs; docs/json.md says what is in it. No library, no network.
 *
 *     helpers    elements, numbers
 *     Graph      one of the two graphs: nodes by name, users, modules, lanes
 *     sections   overview, features, passes, explorer (tree, rows, detail), time
 *
 * Texts come from files of strangers: they only ever become text nodes. */
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);

/* ---- Helpers ------------------------------------------------------------------------------------------------- */

const fill = (e, attrs, children) => {
  for (const [key, value] of Object.entries(attrs || {}))
    if (key === "on") for (const [name, fn] of Object.entries(value)) e.addEventListener(name, fn);
    else if (value !== null && value !== undefined && value !== false) e.setAttribute(key, value === true ? "" : value);
  for (const c of children.flat(Infinity))
    if (c !== null && c !== undefined && c !== false) e.append(c);
  return e;
};
const h = (tag, attrs, ...children) => fill(document.createElement(tag), attrs, children);
const s = (tag, attrs, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attrs, children);

const exact = n => n.toLocaleString("en-US");
const scaled = (n, step, units) => {
  let i = 0;
  while (n >= step && i < units.length - 1) n /= step, i++;
  return [i ? n.toFixed(n < 10 ? 2 : 1) : String(n), units[i]];
};
const count = n => scaled(n, 1000, ["", "k", "M", "G", "T"]);
const bytes = n => scaled(n, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
const short = pair => pair[0] + (pair[1] ? " " + pair[1] : "");
const ms = t => t < 0.1 ? (t * 1000).toFixed(1) + " µs" : t.toFixed(t < 10 ? 2 : 1) + " ms";
const shape = dims => dims.join("×");
const two = pair => pair[0] === pair[1] ? String(pair[0]) : pair.join(" × ");
const color = kind => `var(--${kind})`;
const dot = kind => h("i", { class: "dot", style: `background:${color(kind)}` });
const title = (id, name, lead) => $(id).append(h("h2", null, name), h("p", { class: "lead" }, lead));

/* ---- Graph --------------------------------------------------------------------------------------------------- */

const isConstant = n => n.kind === "constant";
const elements = n => n.shape.reduce((a, b) => a * b, 1);

class Graph {
  constructor(dump, steps) {
    this.dump = dump;
    this.byName = new Map(dump.nodes.map(n => [n.name, n]));
    this.rows = dump.nodes.filter(n => !isConstant(n));
    this.users = new Map();
    for (const n of dump.nodes)
      for (const o of new Set(n.operands))
        if (o !== null) this.users.has(o) ? this.users.get(o).push(n) : this.users.set(o, [n]);
    this.step = new Map((steps || []).map(t => [t.node, t]));
    this.slowest = Math.max(0, ...(steps || []).map(t => t.ms));
    this.marks = new Map();
    for (const f of dump.features) this.mark(f.value, "C" + Math.round(Math.log2(f.reduction)) + " " + f.name);
    for (const o of dump.outputs) if (!dump.features.some(f => f.value === o.value)) this.mark(o.value, o.name);
    this.rows.forEach((n, i) => { n.row = i; });
    this.lay();
  }

  mark(name, text) { this.marks.set(name, (this.marks.has(name) ? this.marks.get(name) + ", " : "") + text); }

  /* Lanes, as in the history of a repository: a value keeps its lane from the row that computes it to its last use,
   * and who uses it last takes over the lane. */
  lay() {
    const last = this.rows.map((n, i) => i), free = [];
    this.rows.forEach((n, i) => n.operands.forEach(o => {
      const v = o !== null && this.byName.get(o);
      if (v && v.row !== undefined) last[v.row] = i;
    }));
    let alive = [];
    this.lanes = 1;
    this.paths = this.rows.map((n, i) => {
      const mine = new Set(n.operands.map(o => o === null ? undefined : this.byName.get(o).row).filter(r => r !== undefined));
      const passing = alive.map(r => ({ lane: this.rows[r].lane, into: mine.has(r), on: last[r] > i }));
      for (const r of alive) if (last[r] <= i) free.push(this.rows[r].lane);
      alive = alive.filter(r => last[r] > i);
      free.sort((a, b) => a - b);
      n.lane = free.length ? free.shift() : this.lanes > alive.length ? this.firstFree(alive) : this.lanes;
      this.lanes = Math.max(this.lanes, n.lane + 1);
      if (last[i] > i) alive.push(i); else free.push(n.lane);
      return { passing, below: last[i] > i };
    });
  }

  firstFree(alive) {
    const taken = new Set(alive.map(r => this.rows[r].lane));
    let lane = 0;
    while (taken.has(lane)) lane++;
    return lane;
  }

  /* Parameters belong to the value that uses them first: a layer and its weights are one leaf. */
  ownerOf(n) { return isConstant(n) ? (this.users.get(n.name) || [n]).find(u => !isConstant(u)) || n : n; }

  /* Modules by scope, each with the sums of what lies in it. */
  modules() {
    const root = { name: "", path: "", modules: new Map(), nodes: [], params: 0, macs: 0, ms: 0, values: 0 };
    this.params = new Map();
    for (const n of this.dump.nodes) {
      const trail = [root], owner = this.ownerOf(n);
      let m = root, path = "";
      if (isConstant(n)) this.params.set(owner.name, (this.params.get(owner.name) || 0) + elements(n));
      for (const part of owner.scope ? owner.scope.split(".") : []) {
        path = path ? path + "." + part : part;
        if (!m.modules.has(part))
          m.modules.set(part, { name: part, path, modules: new Map(), nodes: [], params: 0, macs: 0, ms: 0, values: 0, first: owner });
        trail.push(m = m.modules.get(part));
      }
      if (!isConstant(n)) m.nodes.push(n);
      const step = this.step.get(n.name);
      for (const t of trail) {
        t.params += isConstant(n) ? elements(n) : 0;
        t.macs += n.macs;
        t.values += isConstant(n) ? 0 : 1;
        t.ms += step ? step.ms : 0;
      }
    }
    return root;
  }
}

/* ---- Overview ------------------------------------------------------------------------------------------------ */

const built = new Graph(data.built, data.steps);
const final = new Graph(data.final, data.steps);
const live = g => g.rows.filter(n => n.live).length;

function overview() {
  document.title = data.model + " · Strata";
  const chip = (name, value) => h("span", { class: "chip" }, name + " ", h("b", null, value));
  const input = data.built.nodes.find(n => n.op === "input");
  $("top").append(h("h1", null, data.model, h("small", null, data.family + (data.doc ? " · " + data.doc : ""))),
    h("div", { class: "chips" }, input && chip("input", shape(input.shape)), chip("weights", data.weights),
      data.program && chip("device", data.program.device), data.program && chip("threads", data.program.threads),
      chip("preprocess", data.preprocess)));
  $("nav").append(h("div", null, [["overview", "Overview"], ["features", "Features"], ["passes", "Passes"],
    ["explore", "Graph"], ["time", "Time"]].filter(([id]) => id !== "time" || data.steps)
    .map(([id, name]) => h("a", { href: "#" + id }, name))));
  const fact = (name, value, note) => h("div", { class: "fact", title: note }, h("span", null, name),
    h("b", null, value[0], value[1] && h("i", null, value[1])), h("small", null, note));
  const p = data.program, total = (data.steps || []).reduce((a, t) => a + t.ms, 0);
  $("overview").append(h("div", { class: "facts" },
    fact("Parameters", count(data.built.params), exact(data.built.params)),
    fact("Multiply-accumulates", count(data.built.macs), exact(data.built.macs)),
    fact("Values", [`${live(built)} → ${live(final)}`, ""], "needed: as built → as it runs"),
    data.steps && fact("Inference", [p.ms_median.toFixed(1), "ms"], `median of ${p.runs}; steps add up to ${ms(total)}`),
    data.steps && fact("Speed", [(2 * data.built.macs / p.ms_median / 1e6).toFixed(1), "GFLOP/s"],
      (1000 * (input ? input.shape[0] : 1) / p.ms_median).toFixed(1) + " images/s"),
    p && fact("Activations", bytes(p.arena_bytes), "of one session, planned"),
    p && fact("Weights", bytes(p.weight_bytes), "packed, shared by all sessions")));
}

/* ---- Features ------------------------------------------------------------------------------------------------ */

/* Squares to scale: the receptive field of each feature around the image. */
function pyramid(features, size) {
  const fields = features.map(f => f.place ? Math.max(...f.place.receptive_field) : 0);
  const largest = Math.max(size[0], size[1], ...fields.map(v => Math.min(v, 2.2 * Math.max(...size))));
  const side = 230, k = side / largest, mid = side / 2;
  const hues = ["#56b165", "#36a2a2", "#5b9bea", "#8b7be8", "#d367c1", "#ee7f8b"];
  const box = (w, hgt, attrs) => s("rect", { x: mid - w * k / 2, y: mid - hgt * k / 2, width: w * k, height: hgt * k, ...attrs });
  return s("svg", { width: side + 130, height: Math.max(side, 20 * features.length + 30), role: "img" },
    s("title", null, "receptive fields against the image"),
    box(size[1], size[0], { fill: "var(--hover)", stroke: "var(--faint)", "stroke-dasharray": "3 3" }),
    features.map((f, i) => f.place && fields[i] <= largest && box(f.place.receptive_field[1], f.place.receptive_field[0],
      { fill: hues[i % hues.length], "fill-opacity": .1, stroke: hues[i % hues.length], "stroke-width": 1.5, rx: 2 })).reverse(),
    features.map((f, i) => s("g", { transform: `translate(${side + 16},${14 + 20 * i})` },
      s("rect", { width: 10, height: 10, y: -9, rx: 3, fill: hues[i % hues.length] }),
      s("text", { x: 16, "font-size": 12, fill: "var(--soft)" }, `${f.name}: ${f.place ? two(f.place.receptive_field) : "all"}` +
        (fields[i] > largest ? " (larger)" : "")))),
    s("text", { x: side + 16, y: 24 + 20 * features.length, "font-size": 12, fill: "var(--faint)" }, "dashed: the image"));
}

function features() {
  const list = data.built.features, cells = ["", "feature", "level", "stride", "channels", "shape", "receptive field", "offset", "value"];
  title("features", "Feature pyramid", "What the model offers at each scale. Element (i, j) of a feature sees a window of " +
    "the size of its receptive field, centred at offset + stride · (i, j) pixels of the input.");
  const input = data.built.nodes.find(n => n.op === "input");
  const row = f => h("tr", { "data-feature": f.name },
    h("td", { class: "r soft" }, f.index), h("td", null, h("b", null, f.name)),
    h("td", null, "C" + Math.round(Math.log2(f.reduction))), h("td", { class: "r" }, f.reduction),
    h("td", { class: "r" }, f.channels), h("td", { class: "mono" }, shape(f.shape)),
    h("td", { class: "r" }, f.place ? two(f.place.receptive_field) : "everything"),
    h("td", { class: "r" }, f.place ? two(f.place.offset) : ""),
    h("td", null, h("button", { class: "link mono", on: { click: () => explorer.show("built", f.value) } }, "%" + f.value)));
  const table = h("table", null, h("thead", null, h("tr", null, cells.map((c, i) =>
    h("th", { class: [0, 3, 4, 6, 7].includes(i) ? "r" : "" }, c)))), h("tbody", null, list.map(row)));
  const card = h("div", { class: "card" }, list.length
    ? h("div", { class: "pyramid" }, h("div", { class: "scroll" }, table), input && input.shape.length === 4 && pyramid(list, input.shape.slice(2)))
    : h("p", { class: "empty" }, "This graph registers no features."));
  if (data.image) card.append(maps());
  $("features").append(card);
}

function maps() {
  const side = 104;
  const fit = (w, hgt) => w > hgt ? [side, Math.max(1, Math.round(side * hgt / w))] : [Math.max(1, Math.round(side * w / hgt)), side];
  const figure = (uri, caption, size, photo) => { const [w, hgt] = fit(size[1], size[0]);
    return h("figure", null, h("img", { src: uri, width: w, height: hgt, alt: caption, class: photo && "photo" }), h("figcaption", null, caption)); };
  return h("div", { class: "maps" }, h("div", { class: "strip" }, h("div", { class: "name" }, h("b", null, "image"),
    h("div", { class: "soft" }, "as the model sees it")), figure(data.image.picture, data.image.file.split("/").pop(), data.image.size, true)),
    data.image.maps.map(m => h("div", { class: "strip", "data-map": m.name },
      h("div", { class: "name" }, h("b", null, m.name), h("div", { class: "soft" }, shape(m.shape.slice(1)))),
      figure(m.mean, "mean of all", m.shape.slice(2)), m.channels.map(c => figure(c.picture, "channel " + c.index, m.shape.slice(2))))));
}

/* ---- Passes -------------------------------------------------------------------------------------------------- */

function passes() {
  title("passes", "Passes", "The compiler's steps, in order, and what each left of the graph. Values are what is " +
    "computed; fold_constants turns those that depend on weights alone into constants. Open a pass to see its lines.");
  const most = Math.max(...data.passes.map(p => p.values)), cells = ["pass", "", "values", "", "constants", "MACs", "time", "added", "removed", "changed"];
  const body = h("tbody");
  data.passes.forEach((p, i) => {
    const before = data.passes[i - 1], delta = before ? p.values - before.values : 0;
    const open = p.diff ? h("button", { class: "link", "aria-expanded": "false", on: { click: e => toggle(e.currentTarget) } }, p.name) : p.name;
    const row = h("tr", { class: i && !p.changed ? "quiet" : "", "data-pass": p.name }, h("td", null, open),
      h("td", null, h("span", { class: "track" }, h("i", { style: `width:${100 * p.values / most}%` }))),
      h("td", { class: "r" }, exact(p.values)), h("td", { class: "soft" }, delta ? (delta > 0 ? "+" : "−") + Math.abs(delta) : ""),
      h("td", { class: "r" }, exact(p.constants)), h("td", { class: "r", title: exact(p.macs) }, short(count(p.macs))),
      h("td", { class: "r" }, i ? ms(p.ms) : ""),
      [p.added, p.removed, p.changed_nodes].map(n => h("td", { class: "r" }, n || "")));
    const toggle = button => {
      const opened = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!opened));
      opened ? row.nextSibling.remove() : row.after(h("tr", null, h("td", { colspan: cells.length }, lines(p.diff))));
    };
    body.append(row);
  });
  $("passes").append(h("div", { class: "card scroll" }, h("table", null, h("thead", null, h("tr", null,
    cells.map((c, i) => h("th", { class: i > 1 && i !== 3 ? "r" : "" }, c)))), body)));
}

function lines(text) {
  const all = text.replace(/\n$/, "").split("\n"), most = 2000, kind = { "+": "plus", "-": "minus", "~": "change" };
  return h("pre", { class: "lines" }, all.slice(0, most).map(l => h("span", { class: kind[l[0]] }, l + "\n")),
    all.length > most && `... and ${exact(all.length - most)} lines more`);
}

/* ---- Explorer ------------------------------------------------------------------------------------------------ */

const explorer = (() => {
  const ROW = 28, LANE = 13;
  let graph = final, shown = [], found = null, chosen = null, openBranches = new Map();
  const tree = h("div", { class: "body", role: "tree", id: "tree" }), list = h("div", { class: "body", id: "rows" });
  const inner = h("div"), detail = h("div", { class: "body", id: "detail" }), hits = h("span", { class: "end", id: "hits" });
  const search = h("input", { type: "search", id: "search", placeholder: "search names, ops, shapes, kernels", "aria-label": "search" });
  const tab = (name, text) => h("button", { "data-graph": name, on: { click: () => use(name) } }, text);
  const tabs = h("div", { class: "tabs" }, tab("built", "as built"), tab("final", data.program ? "as it runs" : "after passes"));
  list.append(inner);

  function build() {
    title("explore", "Graph", "Every value, in the order of execution; lines run from where a value is computed to where it " +
      "is used. Choose a module or a value to see what it is, where it came from and what it costs.");
    $("explore").append(h("div", { class: "explorer" },
      h("div", { class: "pane" }, h("div", { class: "bar" }, h("b", null, "Modules"), h("span", { class: "end" }, "parameters")), tree),
      h("div", { class: "pane" }, h("div", { class: "bar" }, tabs, search, hits), list),
      h("div", { class: "pane detail" }, h("div", { class: "bar" }, h("b", null, "Value")), detail)));
    search.addEventListener("input", () => { find(search.value); });
    search.addEventListener("keydown", e => { if (e.key === "Enter" && shown.length) choose(shown[0]); });
    list.addEventListener("scroll", () => requestAnimationFrame(draw));
    addEventListener("resize", () => requestAnimationFrame(draw));
    use("built");
  }

  function use(name) {
    graph = name === "built" ? built : final;
    for (const b of tabs.children) b.setAttribute("aria-pressed", String(b.dataset.graph === name));
    openBranches = new Map();
    tree.replaceChildren(...branchesOf(graph.modules(), 0));
    find(search.value);
    const same = chosen && graph.byName.get(chosen.name);
    choose(same || graph.rows.find(n => n.live) || graph.rows[0]);
  }

  /* ---- the tree ---- */

  function branchesOf(m, depth) {
    const inside = [...m.modules.values()].map(x => ({ at: x.first, el: () => moduleBranch(x, depth) }))
      .concat(m.nodes.map(n => ({ at: n, el: () => leaf(n, depth) })));
    inside.sort((a, b) => place(a.at) - place(b.at));
    return inside.map(x => x.el());
  }
  const order = new Map();
  for (const g of [built, final]) g.dump.nodes.forEach((n, i) => order.set(n, i));
  const place = n => order.get(n);

  function moduleBranch(m, depth) {
    const kids = h("div", { role: "group" });
    const open = on => {
      item.setAttribute("aria-expanded", String(on));
      on ? kids.replaceChildren(...branchesOf(m, depth + 1)) : kids.replaceChildren();
    };
    const sums = `${exact(m.params)} parameters, ${exact(m.macs)} MACs, ${exact(m.values)} values` + (m.ms ? ", " + ms(m.ms) : "");
    const line = h("button", { class: "branch", style: `padding-left:${8 + 15 * depth}px`, title: m.path + ": " + sums,
      on: { click: () => { open(item.getAttribute("aria-expanded") !== "true"); scrollTo(m.first); } } },
      h("span", { class: "arrow" }, "▶"), h("span", { class: "what" }, m.name),
      h("span", { class: "sum" }, m.params ? short(count(m.params)) : m.ms ? ms(m.ms) : ""));
    const item = h("div", { class: "module", role: "treeitem", "aria-expanded": "false", "data-path": m.path }, line, kids);
    openBranches.set(m.path, open);
    return item;
  }

  function leaf(n, depth) {
    const params = graph.params.get(n.name);
    return h("button", { class: "branch", role: "treeitem", "data-leaf": n.name, title: n.op + (params ? `: ${exact(params)} parameters` : ""), style: `padding-left:${27 + 15 * depth}px`,
      on: { click: () => { choose(n); scrollTo(n); } } }, dot(n.kind),
      h("span", { class: "what" }, n.scope ? n.name.slice(n.scope.length + 1) : n.name), h("span", { class: "sum" }, params ? short(count(params)) : n.op));
  }

  /* ---- the rows: only those in sight exist ---- */

  function find(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    found = words.length ? words : null;
    const says = n => [n.name, n.op, n.kind, shape(n.shape), n.shape.join(","), n.kernel || "", graph.marks.get(n.name) || ""].join(" ").toLowerCase();
    shown = found ? graph.rows.filter(n => { const t = says(n); return words.every(w => t.includes(w.replace(/^%/, ""))); }) : graph.rows;
    hits.textContent = found ? `${shown.length} of ${graph.rows.length}` : `${graph.rows.length} values`;
    inner.style.height = shown.length * ROW + "px";
    list.scrollTop = 0;
    draw();
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 8), last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 16);
    inner.replaceChildren(...(shown.length ? shown.slice(first, last).map((n, i) => rowOf(n, first + i)) :
      [h("div", { class: "empty" }, "Nothing matches; try a part of a name, an op or a shape such as 56×56.")]));
  }

  function rowOf(n, i) {
    const step = graph.step.get(n.name), mark = graph.marks.get(n.name);
    return h("button", { class: "row" + (n.live ? "" : " dead") + (n === chosen ? " selected" : ""), "data-name": n.name,
      style: `top:${i * ROW}px`, on: { click: () => choose(n) } },
      found ? s("svg", { width: 26, height: ROW }, s("circle", { cx: 15, cy: ROW / 2, r: 4.5, fill: color(n.kind) })) : lanes(n),
      h("span", { class: "op" }, n.op),
      h("span", { class: "name", title: n.name }, n.scope && h("span", null, n.scope + "."), n.scope ? n.name.slice(n.scope.length + 1) : n.name),
      mark && h("span", { class: "flag" }, mark), h("span", { class: "shape mono" }, shape(n.shape)),
      h("span", { class: "cost" }, n.macs ? short(count(n.macs)) : ""),
      data.steps && h("span", { class: "heat", title: step ? ms(step.ms) : "" },
        step && h("i", { style: `width:${100 * step.ms / graph.slowest}%` })));
  }

  function lanes(n) {
    const most = 9, x = lane => 11 + Math.min(lane, most) * LANE, mid = ROW / 2, p = graph.paths[n.row];
    const line = d => s("path", { d, fill: "none", stroke: "var(--faint)", "stroke-width": 1.4 });
    return s("svg", { width: 11 + Math.min(graph.lanes, most + 1) * LANE, height: ROW },
      p.passing.map(q => [q.on && line(`M${x(q.lane)} 0V${ROW}`),
        q.into && line(q.lane === n.lane ? `M${x(q.lane)} 0V${mid}` : `M${x(q.lane)} 0C${x(q.lane)} ${mid} ${x(n.lane)} 0 ${x(n.lane)} ${mid}`)]),
      p.below && line(`M${x(n.lane)} ${mid}V${ROW}`), s("circle", { cx: x(n.lane), cy: mid, r: 4.5, fill: color(n.kind) }));
  }

  function scrollTo(n) {
    let i = shown.indexOf(n);
    for (let k = place(n); i < 0 && k < graph.dump.nodes.length; k++) i = shown.indexOf(graph.dump.nodes[k]);
    if (i < 0) return;
    list.scrollTop = Math.max(0, i * ROW - list.clientHeight / 3);
    draw();
  }

  /* ---- the detail ---- */

  function choose(n) {
    chosen = n || null;
    for (const e of tree.querySelectorAll(".selected")) e.classList.remove("selected");
    draw();
    if (!n) { detail.replaceChildren(h("p", { class: "empty" }, "no value")); return; }
    const mine = tree.querySelector(`[data-leaf=${CSS.escape(n.name)}]`);
    if (mine) mine.classList.add("selected");
    detail.replaceChildren(...describe(n));
  }

  function reveal(n) {
    let path = "";
    for (const part of n.scope ? n.scope.split(".") : []) {
      path = path ? path + "." + part : part;
      const item = tree.querySelector(`[data-path=${CSS.escape(path)}]`);
      if (item && item.getAttribute("aria-expanded") !== "true") openBranches.get(path)(true);
    }
    choose(n);
    const mine = tree.querySelector(`[data-leaf=${CSS.escape(n.name)}]`);
    if (mine) mine.scrollIntoView({ block: "nearest" });
    scrollTo(n);
  }

  /* Where a value went that no longer exists: into the first of its users that does. */
  function mergedInto(n) {
    const seen = new Set([n]), queue = [n];
    while (queue.length)
      for (const u of built.users.get(queue.shift().name) || []) {
        if (final.byName.has(u.name)) return u.name;
        if (!seen.has(u)) seen.add(u), queue.push(u);
      }
    return null;
  }

  function fate(n) {
    if (!n.live) return "No output needs this value: it is not computed.";
    if (graph === final) return built.byName.has(n.name) ? null : "Not in the model as built: a pass or the placement made it.";
    if (final.byName.has(n.name)) return null;
    const into = mergedInto(n);
    return into ? ["Merged by the passes into ", link("final", into), "."] : "No longer there after the passes.";
  }
  const link = (name, value) => h("button", { class: "link mono", on: { click: () => show(name, value) } }, "%" + value);

  function describe(n) {
    const step = graph.step.get(n.name), gone = fate(n), other = graph === final ? built : final;
    const item = (key, value) => value === null || value === undefined || value === "" ? [] : [h("dt", null, key), h("dd", { "data-key": key }, value)];
    const user = u => h("li", null, h("button", { class: "link mono", on: { click: () => reveal(u) } }, "%" + u.name), h("span", { class: "soft" }, "  " + u.op));
    const operand = o => {
      const v = o === null ? null : graph.byName.get(o);
      if (!v) return h("li", { class: "soft" }, "left out");
      return isConstant(v) ? h("li", { class: "mono" }, "@" + o, h("span", { class: "soft" }, "  " + shape(v.shape))) : user(v);
    };
    const users = graph.users.get(n.name) || [], attrs = Object.entries(n.attrs);
    return [h("h3", { class: "mono" }, "%" + n.name), h("p", { class: "sub" }, dot(n.kind), " " + n.op + " · " + n.kind), gone && h("p", { class: "note" }, gone),
      h("dl", null, item("shape", shape(n.shape)), item("type", n.dtype + (n.shape.length === 4 ? " " + n.layout : "")),
        item("bytes", exact(n.bytes)), item("MACs", n.macs ? exact(n.macs) : null), item("uses", n.uses),
        n.place && [item("receptive field", two(n.place.receptive_field)), item("stride", two(n.place.stride)), item("offset", two(n.place.offset))],
        item("kernel", n.kernel), item("device", step ? step.device : n.device === null ? null : "device " + n.device),
        step && [item("time", ms(step.ms)), item("speed", n.macs ? (2 * n.macs / step.ms / 1e6).toFixed(1) + " GFLOP/s" : null),
          item("traffic", short(bytes(step.bytes)))]),
      attrs.length && [h("h4", null, "attributes"), h("dl", null, attrs.map(([k, v]) => item(k, Array.isArray(v) ? v.join(", ") : String(v))))],
      n.operands.length && [h("h4", null, "operands"), h("ul", null, n.operands.map(operand))],
      users.length && [h("h4", null, "used by"), h("ul", null, users.map(user))],
      other.byName.has(n.name) && h("p", null, h("button", { class: "link", on: { click: () => show(graph === final ? "built" : "final", n.name) } },
        graph === final ? "the same value as built" : "the same value as it runs"))].flat(Infinity).filter(Boolean);
  }

  function show(name, value) {
    search.value = "";
    use(name);
    const n = graph.byName.get(value);
    if (n) reveal(n);
    $("explore").scrollIntoView();
  }

  return { build, show };
})();

/* ---- Time ---------------------------------------------------------------------------------------------------- */

function time() {
  if (!data.steps) return;
  title("time", "Time", "Where one inference spends it: the least of several runs for each step.");
  const total = data.steps.reduce((a, t) => a + t.ms, 0), sums = new Map();
  for (const t of data.steps) {
    const n = final.byName.get(t.node), kind = n ? n.kind : "other", at = sums.get(t.op) || { op: t.op, kind, ms: 0, steps: 0 };
    at.ms += t.ms;
    at.steps++;
    sums.set(t.op, at);
  }
  const ops = [...sums.values()].sort((a, b) => b.ms - a.ms), slow = [...data.steps].sort((a, b) => b.ms - a.ms).slice(0, 15);
  const cells = ["step", "op", "kernel", "device", "", "time", "share", "MACs", "GFLOP/s"];
  $("time").append(h("div", { class: "card scroll" },
    h("div", { class: "stack" }, ops.map(o => h("i", { style: `background:${color(o.kind)};flex:${o.ms / total}`, title: `${o.op}: ${ms(o.ms)}` }))),
    h("div", { class: "legend" }, ops.map(o => h("span", null, dot(o.kind), `${o.op}  ${(100 * o.ms / total).toFixed(1)} %  (${ms(o.ms)}, ${o.steps} steps)`))),
    h("table", null, h("thead", null, h("tr", null, cells.map((c, i) => h("th", { class: i > 4 ? "r" : "" }, c)))),
      h("tbody", null, slow.map(t => h("tr", { "data-step": t.node }, h("td", null, h("button", { class: "link mono", on: { click: () => explorer.show("final", t.node) } }, "%" + t.node)),
        h("td", null, t.op), h("td", { class: "mono" }, t.kernel), h("td", null, t.device),
        h("td", null, h("span", { class: "track" }, h("i", { style: `width:${100 * t.ms / slow[0].ms}%` }))),
        h("td", { class: "r" }, ms(t.ms)), h("td", { class: "r" }, (100 * t.ms / total).toFixed(1) + " %"),
        h("td", { class: "r", title: exact(t.macs) }, t.macs ? short(count(t.macs)) : ""),
        h("td", { class: "r" }, t.macs ? (2 * t.macs / t.ms / 1e6).toFixed(1) : "")))))));
}

overview();
features();
passes();
explorer.build();
time();
$("foot").append(`Made by strata ${data.strata}. The numbers of this page are one block of JSON inside it, as 'strata dump --format json' prints them.`);
})();
