/* graph.js: elements and numbers, and one of the two graphs of the page: nodes by name, users, modules, lanes.
 *
 * The page draws itself from the one block of data in it, which holds the graph as 'strata dump --format json' prints it, as
 * built and as it runs; docs/json.md says what is in it. The scripts share one scope: graph.js, explorer.js, report.js.
 * No library, no network. Texts come from files of strangers: they only ever become text nodes. */
"use strict";
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
const speed = step => (2 * step.macs / step.ms / 1e6).toFixed(1); /* GFLOP/s */
const ms = t => t < 0.1 ? (t * 1000).toFixed(1) + " µs" : t.toFixed(t < 10 ? 2 : 1) + " ms";
const shape = dims => dims.join("×");
const two = pair => pair[0] === pair[1] ? String(pair[0]) : pair.join(" × ");
const color = kind => `var(--${kind})`;
const dot = kind => h("i", { class: "dot", style: `background:${color(kind)}` });
const link = (text, go) => h("button", { class: "link mono", on: { click: go } }, text);
const leafName = n => n.scope ? n.name.slice(n.scope.length + 1) : n.name;
/* Columns whose title starts with ">" stand to the right. */
const table = (titles, body) => h("table", null, h("thead", null, h("tr", null, titles.map(t =>
  t[0] === ">" ? h("th", { class: "r" }, t.slice(1)) : h("th", null, t)))), body);
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

const built = new Graph(data.built, data.steps);
const final = new Graph(data.final, data.steps);
