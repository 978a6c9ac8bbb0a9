/* explorer.js: the tree of modules, the rows of values with their lines, and what there is to know about one of them. */
const explorer = (() => {
  const ROW = 28, LANE = 13;
  let graph = final, shown = [], found = null, chosen = null, openBranches = new Map();
  const tree = h("div", { class: "body", role: "tree", id: "tree" }), list = h("div", { class: "body", id: "rows" });
  const inner = h("div"), detail = h("div", { class: "body", id: "detail" }), hits = h("span", { class: "end", id: "hits" });
  const search = h("input", { type: "search", id: "search", placeholder: "search names, ops, shapes, kernels",
    "aria-label": "search" });
  const tab = (name, text) => h("button", { "data-graph": name, on: { click: () => use(name) } }, text);
  const tabs = h("div", { class: "tabs" }, tab("built", "as built"), tab("final", data.program ? "as it runs" : "after passes"));
  list.append(inner);

  function build() {
    title("explore", "Graph", "Every value, in the order of execution; lines run from where a value is computed to where it " +
      "is used. Choose a module or a value to see what it is, where it came from and what it costs.");
    $("explore").append(h("div", { class: "explorer" },
      h("div", { class: "pane" }, h("div", { class: "bar" }, h("b", null, "Modules"),
        h("span", { class: "end" }, "parameters")), tree),
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
    return h("button", { class: "branch", role: "treeitem", "data-leaf": n.name,
      title: n.op + (params ? `: ${exact(params)} parameters` : ""), style: `padding-left:${27 + 15 * depth}px`,
      on: { click: () => { choose(n); scrollTo(n); } } },
      dot(n.kind), h("span", { class: "what" }, leafName(n)),
      h("span", { class: "sum" }, params ? short(count(params)) : n.op));
  }

  /* ---- the rows: only those in sight exist ---- */

  function find(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    found = words.length ? words : null;
    const says = n => [n.name, n.op, n.kind, shape(n.shape), n.shape.join(","), n.kernel, graph.marks.get(n.name)]
      .join(" ").toLowerCase();
    const fits = text => words.every(w => text.includes(w.replace(/^%/, "")));
    shown = found ? graph.rows.filter(n => fits(says(n))) : graph.rows;
    hits.textContent = found ? `${shown.length} of ${graph.rows.length}` : `${graph.rows.length} values`;
    inner.style.height = shown.length * ROW + "px";
    list.scrollTop = 0;
    draw();
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 8);
    const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 16);
    inner.replaceChildren(...(shown.length ? shown.slice(first, last).map((n, i) => rowOf(n, first + i)) :
      [h("div", { class: "empty" }, "Nothing matches; try a part of a name, an op or a shape such as 56×56.")]));
  }

  function rowOf(n, i) {
    const step = graph.step.get(n.name), mark = graph.marks.get(n.name);
    return h("button", { class: "row" + (n.live ? "" : " dead") + (n === chosen ? " selected" : ""), "data-name": n.name,
      style: `top:${i * ROW}px`, on: { click: () => choose(n) } },
      found ? s("svg", { width: 26, height: ROW }, s("circle", { cx: 15, cy: ROW / 2, r: 4.5, fill: color(n.kind) })) : lanes(n),
      h("span", { class: "op" }, n.op),
      h("span", { class: "name", title: n.name }, n.scope && h("span", null, n.scope + "."), leafName(n)),
      mark && h("span", { class: "flag" }, mark), h("span", { class: "shape mono" }, shape(n.shape)),
      h("span", { class: "cost" }, n.macs ? short(count(n.macs)) : ""),
      data.steps && h("span", { class: "heat", title: step ? ms(step.ms) : "" },
        step && h("i", { style: `width:${100 * step.ms / graph.slowest}%` })));
  }

  function lanes(n) {
    const most = 9, x = lane => 11 + Math.min(lane, most) * LANE, mid = ROW / 2, p = graph.paths[n.row];
    const line = d => s("path", { d, fill: "none", stroke: "var(--faint)", "stroke-width": 1.4 });
    const here = x(n.lane);
    const into = from => from === here ? `M${from} 0V${mid}` : `M${from} 0C${from} ${mid} ${here} 0 ${here} ${mid}`;
    return s("svg", { width: 11 + Math.min(graph.lanes, most + 1) * LANE, height: ROW },
      p.passing.map(q => [q.on && line(`M${x(q.lane)} 0V${ROW}`), q.into && line(into(x(q.lane)))]),
      p.below && line(`M${here} ${mid}V${ROW}`), s("circle", { cx: here, cy: mid, r: 4.5, fill: color(n.kind) }));
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
    return into ? ["Merged by the passes into ", link("%" + into, () => show("final", into)), "."] : "No longer there after the passes.";
  }

  /* A line of a list of facts; nothing where there is no value. */
  const item = (key, value) => value === null || value === undefined || value === "" ? []
    : [h("dt", null, key), h("dd", { "data-key": key }, value)];
  const user = n => h("li", null, link("%" + n.name, () => reveal(n)), h("span", { class: "soft" }, "  " + n.op));

  function operand(name) {
    const n = name === null ? null : graph.byName.get(name);
    if (!n) return h("li", { class: "soft" }, "left out");
    return isConstant(n) ? h("li", { class: "mono" }, "@" + name, h("span", { class: "soft" }, "  " + shape(n.shape))) : user(n);
  }

  function facts(n) {
    const step = graph.step.get(n.name), place = n.place;
    return h("dl", null, item("shape", shape(n.shape)), item("type", n.dtype + (n.shape.length === 4 ? " " + n.layout : "")),
      item("bytes", exact(n.bytes)), item("MACs", n.macs ? exact(n.macs) : null), item("uses", n.uses),
      place && [item("receptive field", two(place.receptive_field)), item("stride", two(place.stride)),
        item("offset", two(place.offset))],
      item("kernel", n.kernel), item("device", step ? step.device : n.device === null ? null : "device " + n.device),
      step && [item("time", ms(step.ms)), item("speed", step.macs ? speed(step) + " GFLOP/s" : null),
        item("traffic", short(bytes(step.bytes)))]);
  }

  function describe(n) {
    const gone = fate(n), other = graph === final ? built : final, users = graph.users.get(n.name) || [];
    const attrs = Object.entries(n.attrs).map(([key, v]) => item(key, Array.isArray(v) ? v.join(", ") : String(v)));
    const part = (name, content) => [h("h4", null, name), content];
    return [h("h3", { class: "mono" }, "%" + n.name), h("p", { class: "sub" }, dot(n.kind), ` ${n.op} · ${n.kind}`),
      gone && h("p", { class: "note" }, gone), facts(n), attrs.length && part("attributes", h("dl", null, attrs)),
      n.operands.length && part("operands", h("ul", null, n.operands.map(operand))),
      users.length && part("used by", h("ul", null, users.map(user))),
      other.byName.has(n.name) && h("p", null, link(graph === final ? "the same value as built" : "the same value as it runs",
        () => show(graph === final ? "built" : "final", n.name)))].flat(Infinity).filter(Boolean);
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
