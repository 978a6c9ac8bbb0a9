/* report.js: the sections of the page, from top to bottom; then all of it is put together. */
/* ---- Overview ------------------------------------------------------------------------------------------------ */

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
  const list = data.built.features;
  title("features", "Feature pyramid", "What the model offers at each scale. Element (i, j) of a feature sees a window of " +
    "the size of its receptive field, centred at offset + stride · (i, j) pixels of the input.");
  const input = data.built.nodes.find(n => n.op === "input");
  const row = f => h("tr", { "data-feature": f.name },
    h("td", { class: "r soft" }, f.index), h("td", null, h("b", null, f.name)),
    h("td", null, "C" + Math.round(Math.log2(f.reduction))), h("td", { class: "r" }, f.reduction),
    h("td", { class: "r" }, f.channels), h("td", { class: "mono" }, shape(f.shape)),
    h("td", { class: "r" }, f.place ? two(f.place.receptive_field) : "everything"),
    h("td", { class: "r" }, f.place ? two(f.place.offset) : ""),
    h("td", null, link("%" + f.value, () => explorer.show("built", f.value))));
  const rows = table([">", "feature", "level", ">stride", ">channels", "shape", ">receptive field", ">offset", "value"],
    h("tbody", null, list.map(row)));
  const drawing = input && input.shape.length === 4 && pyramid(list, input.shape.slice(2));
  const card = h("div", { class: "card" }, list.length
    ? h("div", { class: "pyramid" }, h("div", { class: "scroll" }, rows), drawing)
    : h("p", { class: "empty" }, "This graph registers no features."));
  if (data.image) card.append(maps());
  $("features").append(card);
}

function maps() {
  const side = 104;
  const figure = (uri, caption, [height, width], photo) => {
    const k = side / Math.max(height, width), img = { src: uri, alt: caption, class: photo && "photo" };
    img.width = Math.max(1, Math.round(k * width));
    img.height = Math.max(1, Math.round(k * height));
    return h("figure", null, h("img", img), h("figcaption", null, caption));
  };
  const strip = (name, note, ...figures) => h("div", { class: "strip", "data-map": note ? name : null },
    h("div", { class: "name" }, h("b", null, name), h("div", { class: "soft" }, note || "as the model sees it")), figures);
  const image = data.image, file = image.file.split("/").pop();
  return h("div", { class: "maps" }, strip("image", null, figure(image.picture, file, image.size, true)),
    image.maps.map(m => strip(m.name, shape(m.shape.slice(1)), figure(m.mean, "mean of all", m.shape.slice(2)),
      m.channels.map(c => figure(c.picture, "channel " + c.index, m.shape.slice(2))))));
}

/* ---- Passes -------------------------------------------------------------------------------------------------- */

function passes() {
  title("passes", "Passes", "The compiler's steps, in order, and what each left of the graph. Values are what is " +
    "computed; fold_constants turns those that depend on weights alone into constants. Open a pass to see its lines.");
  const most = Math.max(...data.passes.map(p => p.values));
  const cells = ["pass", "", ">values", "", ">constants", ">MACs", ">time", ">added", ">removed", ">changed"];
  const body = h("tbody");
  data.passes.forEach((p, i) => {
    const before = data.passes[i - 1], delta = before ? p.values - before.values : 0;
    const click = e => toggle(e.currentTarget);
    const open = p.diff ? h("button", { class: "link", "aria-expanded": "false", on: { click } }, p.name) : p.name;
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
  $("passes").append(h("div", { class: "card scroll" }, table(cells, body)));
}

function lines(text) {
  const all = text.replace(/\n$/, "").split("\n"), most = 2000, kind = { "+": "plus", "-": "minus", "~": "change" };
  return h("pre", { class: "lines" }, all.slice(0, most).map(l => h("span", { class: kind[l[0]] }, l + "\n")),
    all.length > most && `... and ${exact(all.length - most)} lines more`);
}

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
  const ops = [...sums.values()].sort((a, b) => b.ms - a.ms), share = t => (100 * t / total).toFixed(1) + " %";
  const slow = [...data.steps].sort((a, b) => b.ms - a.ms).slice(0, 15);
  const row = t => h("tr", { "data-step": t.node }, h("td", null, link("%" + t.node, () => explorer.show("final", t.node))),
    h("td", null, t.op), h("td", { class: "mono" }, t.kernel), h("td", null, t.device),
    h("td", null, h("span", { class: "track" }, h("i", { style: `width:${100 * t.ms / slow[0].ms}%` }))),
    h("td", { class: "r" }, ms(t.ms)), h("td", { class: "r" }, share(t.ms)),
    h("td", { class: "r", title: exact(t.macs) }, t.macs ? short(count(t.macs)) : ""),
    h("td", { class: "r" }, t.macs ? speed(t) : ""));
  $("time").append(h("div", { class: "card scroll" },
    h("div", { class: "stack" }, ops.map(o =>
      h("i", { style: `background:${color(o.kind)};flex:${o.ms / total}`, title: `${o.op}: ${ms(o.ms)}` }))),
    h("div", { class: "legend" }, ops.map(o => h("span", null, dot(o.kind),
      `${o.op}  ${share(o.ms)}  (${ms(o.ms)}, ${o.steps} steps)`))),
    table(["step", "op", "kernel", "device", "", ">time", ">share", ">MACs", ">GFLOP/s"], h("tbody", null, slow.map(row)))));
}

overview();
features();
passes();
explorer.build();
time();
$("foot").append(`Made by strata ${data.strata}. The numbers of this page are one block of JSON inside it, ` +
  "as 'strata dump --format json' prints them.");
