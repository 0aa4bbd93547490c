"use strict";
// The page of `dstc inspect --html`. In: the index in #data, compressed IR in #b0, #b1 ... Out: the
// views; only what is looked at is unpacked and drawn.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const CHUNK = 200, SHOWN = 10, MOST = 400, OPENED = 2000;
const state = { stage: data.levels[0], view: "ir", selected: null, related: new Set(), query: "",
  piece: "", dialect: "" };

// Unpacking
const cache = new Map();
function blob(number) {
  if (!cache.has(number)) cache.set(number, unpack(number));
  return cache.get(number);
}
async function unpack(number) {
  const raw = atob($("b" + number).textContent.trim());
  const bytes = Uint8Array.from(raw, (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const content = JSON.parse(await new Response(stream).text());
  if (content && typeof content.l === "string") content.l = content.l.split("\n");
  return content;
}

// Lineage: ops by number
let lineage = null;
async function family() {
  if (!lineage) {
    const [parents, sources, homes] = await Promise.all([blob(data.parents), blob(data.sources), blob(data.homes)]);
    const up = parents.map((p) => (Array.isArray(p) ? p : [p])), down = new Map(), home = new Map();
    up.forEach((list, op) => list.forEach((p) => { if (!down.has(p)) down.set(p, []); down.get(p).push(op); }));
    for (const [name, ops] of Object.entries(homes)) for (const op of ops) if (!home.has(op)) home.set(op, name);
    lineage = { up, down, home, sources };
  }
  return lineage;
}
function closure(start, next) {
  const found = new Set(start), rest = [...start];
  while (rest.length) for (const op of next(rest.pop()) || []) if (!found.has(op)) { found.add(op); rest.push(op); }
  return found;
}
async function relatedTo(ops) {
  const f = await family();
  const above = closure(ops, (op) => f.up[op]), below = closure(ops, (op) => f.down.get(op));
  for (const launch of data.launches)
    if (below.has(launch.op) && launch.root !== null && !below.has(launch.root))
      for (const op of closure([launch.root, ...(f.up[launch.root] || [])], (o) => f.down.get(o)))
        if (f.home.get(op) === launch.kernel) below.add(op);
  return new Set([...above, ...below]);
}

// Text
const escaped = (s) => s.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const TOKENS = /("(?:[^"\\]|\\.)*")|(%[\w$.#-]+|\^\w+|@[\w$.-]+)|(![\w.]+|\b(?:tensor|vector)(?=<)|\b[if]\d+\b)|(\b(?:dstc_isa|dstc_tile|dstc|func|arith|scf|builtin|tensor)\.[a-z_0-9.]+)|(\b-?\d[\d.]*(?:e[+-]?\d+)?\b)/g;
function coloured(line) {
  let out = "", last = 0;
  for (const m of line.matchAll(TOKENS)) {
    out += escaped(line.slice(last, m.index));
    const kind = m[1] ? "st" : m[2] ? "ssa" : m[3] ? "ty" : m[4] ? "op" : "nu";
    out += `<span class="${kind}">${escaped(m[0])}</span>`;
    last = m.index + m[0].length;
  }
  return out + escaped(line.slice(last));
}
function marked(line, query) {
  const low = line.toLowerCase();
  let out = "", at = 0;
  for (let i; (i = low.indexOf(query, at)) >= 0; at = i + query.length)
    out += escaped(line.slice(at, i)) + `<mark>${escaped(line.slice(i, i + query.length))}</mark>`;
  return out + escaped(line.slice(at));
}
const dialectOf = (line) => (line.match(/(?:^|= |\s)"?(dstc_isa|dstc_tile|dstc|func|arith|scf|builtin)\./) || [])[1] || "";
function lineHtml(text, op, number, extra = "") {
  const hit = state.query && text.toLowerCase().includes(state.query);
  const off = state.dialect && dialectOf(text) !== state.dialect ? " off" : "";
  const rel = state.related.has(op) ? (state.selected && state.selected.includes(op) ? " sel" : " rel") : "";
  return `<div class="ln${rel}${off}${extra}" data-op="${op}" data-n="${number}" tabindex="-1"><span>${hit ? marked(text, state.query) : coloured(text)}</span></div>`;
}
function chunks(lines) {
  let out = "";
  for (let i = 0; i < lines.length; i += CHUNK) {
    const part = lines.slice(i, i + CHUNK);
    out += `<div class="chunk" style="contain-intrinsic-size:auto ${part.length * 18}px">${part.join("")}</div>`;
  }
  return out;
}

// The list of stages
const unfolded = new Set();
function passList() {
  const slowest = Math.max(...data.passes.map((p) => p.seconds), 1e-9);
  const items = [];
  for (let i = 0; i < data.passes.length; i++) {
    let end = i;
    while (end < data.passes.length && !data.passes[end].changed) end++;
    if (end > i && !unfolded.has(i) && !(state.stage >= i && state.stage < end)) {
      items.push(`<li class="fold" role="option" aria-selected="false" data-fold="${i}"><span class="n">▸</span><span>${end - i === 1 ? "1 pass" : end - i + " passes"} without effect</span></li>`);
      i = end - 1;
      continue;
    }
    const p = data.passes[i], delta = i ? p.ops - data.passes[i - 1].ops : 0;
    const sign = delta > 0 ? `<span class="up">+${delta}</span>` : delta < 0 ? `<span class="down">−${-delta}</span>` : `<span>${p.changed ? "±0" : "no effect"}</span>`;
    items.push(`<li role="option" id="stage-${i}" class="${p.changed ? "" : "quiet"}" aria-selected="${i === state.stage}" data-stage="${i}" title="${escaped(p.spec)}">
      <span class="n">${i}</span><span class="name">${escaped(p.name)}</span><span class="n">${i ? time(p.seconds) : ""}</span>
      <span class="what"><span>${p.ops} ops</span>${i ? sign : ""}${p.rewrites ? `<span>${p.rewrites} rewrites</span>` : ""}<span class="bar" style="width:${(44 * p.seconds / slowest).toFixed(1)}px"></span></span></li>`);
  }
  $("passes").innerHTML = items.join("");
  $("passes").setAttribute("aria-activedescendant", "stage-" + state.stage);
}
const time = (s) => (s >= 1 ? s.toFixed(2) + " s" : (s * 1000).toFixed(s < 0.01 ? 1 : 0) + " ms");

// IR
const pieces = (stage) => data.stages[stage].filter((p) => !state.piece || p.name === state.piece);
const open = new Set(["main"]);
let drawn = 0;
function drawIr() {
  const turn = ++drawn, shown = pieces(state.stage);
  $("ir").innerHTML = shown.map((p, i) => `<details class="piece" data-i="${i}" data-name="${escaped(p.name)}"${open.has(p.name) || shown.length === 1 ? " open" : ""}>
    <summary><b>@${escaped(p.name)}</b><span class="kind">${p.kind}</span><span class="count">${hitsIn.get(p.name) ? hitsIn.get(p.name) + " of " : ""}${p.lines} lines</span></summary><div class="code"></div></details>`).join("") || '<p class="empty">Not there at this stage.</p>';
  return Promise.all([...$("ir").querySelectorAll("details")].map((d) => {
    const piece = shown[+d.dataset.i];
    d.addEventListener("toggle", () => { if (d.open) open.add(piece.name); else open.delete(piece.name); fill(d, piece, turn); });
    return d.open ? fill(d, piece, turn) : null;
  }));
}
async function fill(details, piece, turn = drawn) {
  const code = details.querySelector(".code");
  if (!details.open || code.firstChild) return;
  const content = await blob(piece.blob);
  if (turn !== drawn || code.firstChild) return;
  code.innerHTML = chunks(content.l.map((text, i) => lineHtml(text, content.o[i], i + 1)));
}
async function show(stage, op) {
  const f = await family(), name = f.home.get(op);
  if (name) open.add(name);
  if (state.piece && state.piece !== name) { state.piece = ""; $("piece").value = ""; }
  state.stage = stage;
  setView("ir");
  await draw();
  const line = $("ir").querySelector(`.ln[data-op="${op}"]`);
  if (line) { line.scrollIntoView({ block: "center" }); line.focus({ preventScroll: true }); }
}

// Search
let searching = 0;
const hitsIn = new Map(); // function or kernel -> lines that have what is searched
async function search() {
  const turn = ++searching;
  state.query = $("search").value.trim().toLowerCase();
  $("hits").textContent = "";
  hitsIn.clear();
  if (state.view !== "ir") setView("ir");
  if (state.query) {
    let hits = 0, lines = 0;
    const contents = await Promise.all(pieces(state.stage).map((p) => blob(p.blob)));
    if (turn !== searching) return;
    pieces(state.stage).forEach((piece, i) => {
      const here = contents[i].l.filter((l) => l.toLowerCase().includes(state.query)).length;
      hitsIn.set(piece.name, here);
      hits += here;
      if (here && lines < OPENED) { open.add(piece.name); lines += piece.lines; }
      else if (piece.name !== "main") open.delete(piece.name);
    });
    $("hits").textContent = hits === 1 ? "1 line" : hits + " lines";
  }
  await drawIr();
  const mark = $("ir").querySelector(".ln mark");
  if (mark) mark.scrollIntoView({ block: "center" });
}

// Diff: lines of one op are the same line; the longest run of them in order is kept
function aligned(a, b) {
  const place = new Map(), seen = new Map();
  const key = (ops, i, count) => { const op = ops[i], n = (count.get(op) || 0) + 1; count.set(op, n); return op + ":" + n; };
  let count = new Map();
  b.o.forEach((_, i) => place.set(key(b.o, i, count), i));
  const pairs = [];
  count = new Map();
  a.o.forEach((_, i) => { const j = place.get(key(a.o, i, count)); if (j !== undefined) pairs.push([i, j]); });
  const tails = [], before = new Array(pairs.length);
  pairs.forEach(([, j], k) => {
    let low = 0, high = tails.length;
    while (low < high) { const mid = (low + high) >> 1; if (pairs[tails[mid]][1] < j) low = mid + 1; else high = mid; }
    before[k] = low ? tails[low - 1] : -1;
    tails[low] = k;
  });
  const kept = [];
  for (let k = tails.length ? tails[tails.length - 1] : -1; k >= 0; k = before[k]) kept.push(pairs[k]);
  kept.reverse();
  const rows = [];
  let i = 0, j = 0;
  const gap = (toI, toJ) => { while (i < toI || j < toJ) rows.push([i < toI ? i++ : -1, j < toJ ? j++ : -1, 2]); };
  for (const [p, q] of kept) { gap(p, q); rows.push([i, j, plain(a.l[i]) === plain(b.l[j]) ? 0 : 1]); i++; j++; }
  gap(a.l.length, b.l.length);
  return rows;
}
const plain = (line) => line.replace(/%\d+\b/g, "%").replace(/\^bb\d+/g, "^");
async function drawDiff() {
  const turn = ++drawn, from = +$("left").value, to = +$("right").value;
  const left = new Map(pieces(from).map((p) => [p.name, p])), right = new Map(pieces(to).map((p) => [p.name, p]));
  const names = [...new Set([...left.keys(), ...right.keys()])];
  const same = names.filter((n) => left.has(n) && right.has(n) && left.get(n).blob === right.get(n).blob);
  const rest = names.filter((n) => !same.includes(n));
  $("diffed").textContent = `${rest.length} of ${names.length} differ`;
  $("sides").innerHTML = rest.map((n) => `<details class="piece" data-name="${escaped(n)}"${rest.length < 4 || n === rest[0] ? " open" : ""}><summary><b>@${escaped(n)}</b><span class="kind">${!left.has(n) ? "new" : !right.has(n) ? "gone" : ""}</span><span class="count"></span></summary><div class="sides"></div></details>`).join("") || '<p class="empty">The same.</p>';
  const none = { l: [], o: [] };
  const one = async (d) => {
    const sides = d.querySelector(".sides"), name = d.dataset.name;
    if (!d.open || sides.firstChild) return;
    const [a, b] = await Promise.all([left, right].map((m) => (m.has(name) ? blob(m.get(name).blob) : none)));
    if (turn !== drawn || sides.firstChild) return;
    const rows = aligned(a, b), keep = rows.map(() => false);
    rows.forEach(([, , k], r) => { if (k) for (let x = Math.max(0, r - 3); x < Math.min(rows.length, r + 4); x++) keep[x] = true; });
    const changed = rows.filter((r) => r[2]).length;
    d.querySelector(".count").textContent = changed === 1 ? "1 line differs" : changed + " lines differ";
    const side = (content, which, kind) => {
      const html = [];
      for (let r = 0; r < rows.length; r++) {
        if (!keep[r]) {
          let n = 0;
          while (r + n < rows.length && !keep[r + n]) n++;
          html.push(`<div class="ln gap" data-n="⋯"><span>${n === 1 ? "1 equal line" : n + " equal lines"}</span></div>`);
          r += n - 1;
          continue;
        }
        const at = rows[r][which], k = rows[r][2];
        html.push(at < 0 ? '<div class="ln gap" data-n=""> </div>' : lineHtml(content.l[at], content.o[at], at + 1, k === 2 ? ` ${kind}` : k === 1 ? " chg" : ""));
      }
      return `<div class="code">${chunks(html)}</div>`;
    };
    sides.innerHTML = side(a, 0, "del") + side(b, 1, "add");
    const [x, y] = sides.children;
    x.addEventListener("scroll", () => { y.scrollLeft = x.scrollLeft; });
    y.addEventListener("scroll", () => { x.scrollLeft = y.scrollLeft; });
  };
  for (const d of $("sides").querySelectorAll("details")) { d.addEventListener("toggle", () => one(d)); await one(d); }
}

// Rewrites
async function drawRewrites() {
  const turn = ++drawn, pass = data.passes[state.stage];
  const list = pass.blob === null ? [] : await blob(pass.blob);
  if (turn !== drawn) return;
  const q = state.query, found = q ? list.filter((r) => JSON.stringify(r).toLowerCase().includes(q)) : list;
  $("rewrites").innerHTML = `<p class="empty">${escaped(pass.name)}: ${list.length ? list.length + " rewrites by patterns" : "no rewrites by patterns; what it did is in the diff"}</p>` +
    found.map((r, i) => `<article class="rewrite"><h3>${i + 1}. ${escaped(r.pattern)} <span>on ${escaped(r.op)}${r.source.length ? " of " + escaped(r.source.join(", ")) : ""}</span></h3><pre class="del">${coloured(r.before)}</pre>${r.after.length ? `<pre class="add">${r.after.map(coloured).join("\n")}</pre>` : '<pre class="add">(gone)</pre>'}</article>`).join("");
}

// The same thing at every level
const LEVELS = ["Model", "dstc", "Tile", "Instructions"];
async function select(ops) {
  state.selected = ops;
  state.related = ops.length ? await relatedTo(ops) : new Set();
  for (const line of document.querySelectorAll(".ln")) {
    const op = +line.dataset.op;
    line.classList.toggle("rel", state.related.has(op) && !ops.includes(op));
    line.classList.toggle("sel", ops.includes(op));
  }
  await trace();
}
let tracing = 0;
async function trace() {
  const turn = ++tracing, f = await family(), related = state.related;
  const names = new Set();
  for (const op of related) (f.sources[op] || []).forEach((n) => names.add(n));
  for (const g of document.querySelectorAll(".node")) g.classList.toggle("sel", data.nodes[g.dataset.node].some((n) => names.has(n)));
  for (const e of document.querySelectorAll(".edge")) e.classList.toggle("rel", [e.dataset.from, e.dataset.to].every((n) => data.nodes[n].some((x) => names.has(x))));
  if (!state.selected.length) { $("trace").innerHTML = '<p class="empty">Nothing is selected.</p>'; return; }
  const chips = [...names].map((n) => `<button data-source="${escaped(n)}">${escaped(n)}</button>`).join("") || '<span class="empty">none</span>';
  const work = await blob(data.work), waits = {};
  let levels = "", issued = 0, executed = 0;
  for (let level = 0; level < LEVELS.length; level++) {
    const stage = data.levels[level], lines = [];
    if (data.levels.indexOf(stage) !== level) continue;
    for (const piece of data.stages[stage]) {
      const content = await blob(piece.blob);
      let last = null;
      content.o.forEach((op, i) => {
        const text = content.l[i].trim();
        if (related.has(op) && op !== last && (state.selected.includes(op) || !WHOLE.test(text))) lines.push([op, text, i + 1, piece.name, stage]);
        last = op;
      });
    }
    for (const [op] of lines) if (level === 3 && work[op]) { executed++; issued += work[op][0]; for (const [c, n] of Object.entries(work[op][1])) waits[c] = (waits[c] || 0) + n; }
    const rest = lines.length - SHOWN;
    levels += `<h2><span>${LEVELS[level]}</span><span>${lines.length.toLocaleString("en")}</span></h2>${lines.slice(0, SHOWN).map(jumpTo).join("")}` +
      (rest > 0 ? `<details class="rest"><summary>${rest} more</summary>${lines.slice(SHOWN, MOST).map(jumpTo).join("")}${lines.length > MOST ? '<div class="more">and so on</div>' : ""}</details>` : "");
  }
  const launches = data.launches.filter((l) => related.has(l.op) || related.has(l.root));
  const cards = launches.slice(0, 12).map((l) => `<div class="card"><b>${escaped(l.name)}</b> <span class="dim">${escaped(l.engine)} · @${escaped(l.kernel)}</span>${l.cycles === undefined ? "" : `<br><span class="big">${l.cycles.toLocaleString("en")}</span> <span class="dim">cycles · ${l.time.toFixed(1)} µs · ${l.instructions.toLocaleString("en")} warp instructions</span>${bars(l.stalls)}`}</div>`).join("");
  const own = executed ? `<h2><span>These instructions</span><span>${executed.toLocaleString("en")}</span></h2><div class="card"><span class="big">${issued.toLocaleString("en")}</span> <span class="dim">issued by all warps; the cycles that waited for them:</span>${bars(waits)}</div>` : "";
  if (turn !== tracing) return;
  $("trace").innerHTML = `<h2>ONNX nodes</h2><div class="chips">${chips}</div><h2><span>Launches</span><span>${launches.length}</span></h2>${cards}${own}${levels}`;
}
const WHOLE = /^(builtin\.module|func\.func|func\.return|dstc_isa\.kernel|dstc_tile\.kernel|\^bb|\})/;
function jumpTo([op, text, n, piece, stage]) {
  return `<button class="jump" data-op="${op}" data-stage="${stage}" title="@${escaped(piece)}:${n}\n${escaped(text)}">${coloured(text)}</button>`;
}
function bars(stalls) {
  const total = Object.values(stalls).reduce((a, b) => a + b, 0);
  if (!total) return "";
  const known = Object.entries(stalls).filter(([, n]) => n).sort((a, b) => b[1] - a[1]);
  const look = (c) => data.causes[c] || [c, "#5f6b76"];
  return `<div class="stack" role="img" aria-label="sub-core cycles by cause">${known.map(([c, n]) => `<i style="width:${(100 * n / total).toFixed(2)}%;background:${look(c)[1]}" title="${look(c)[0]}: ${(100 * n / total).toFixed(1)} %"></i>`).join("")}</div><div class="why">${known.slice(0, 6).map(([c, n]) => `<span><i style="background:${look(c)[1]}"></i>${look(c)[0]} ${(100 * n / total).toFixed(0)} %</span>`).join("")}</div>`;
}
async function selectSource(names) {
  const f = await family(), found = [];
  const main = data.stages[0].find((p) => p.name === "main") || data.stages[0][0];
  for (const op of new Set((await blob(main.blob)).o)) if ((f.sources[op] || []).some((n) => names.includes(n))) found.push(op);
  await select(found);
  return found;
}

// Views and events
function setView(view) {
  state.view = view;
  for (const name of ["ir", "diff", "rewrites", "graph"]) {
    $(name).hidden = name !== view;
    $("tab-" + name).setAttribute("aria-selected", String(name === view));
    $("tab-" + name).tabIndex = name === view ? 0 : -1;
  }
}
async function draw() {
  hitsIn.clear();
  passList();
  $("right").value = state.stage;
  if (state.view === "ir") await drawIr();
  if (state.view === "diff") await drawDiff();
  if (state.view === "rewrites") await drawRewrites();
  const names = [...new Set(data.stages[state.stage].map((p) => p.name))];
  if (state.piece && !names.includes(state.piece)) names.push(state.piece);
  $("piece").innerHTML = `<option value="">all functions</option>` + names.map((n) => `<option${n === state.piece ? " selected" : ""}>${escaped(n)}</option>`).join("");
}
async function go(stage) {
  state.stage = Math.max(0, Math.min(data.passes.length - 1, stage));
  $("left").value = Math.max(0, state.stage - 1);
  if (state.view === "graph") setView("ir");
  await draw();
  const item = $("stage-" + state.stage);
  if (item) item.scrollIntoView({ block: "nearest" });
}
for (const name of ["ir", "diff", "rewrites", "graph"]) $("tab-" + name).addEventListener("click", () => { setView(name); draw(); });
$("passes").addEventListener("click", (e) => {
  const li = e.target.closest("li");
  if (!li) return;
  if (li.dataset.fold !== undefined) { unfolded.add(+li.dataset.fold); passList(); } else go(+li.dataset.stage);
});
document.addEventListener("click", (e) => {
  const line = e.target.closest(".ln"), jump = e.target.closest(".jump"), node = e.target.closest(".node"), chip = e.target.closest("[data-source]");
  if (line && line.dataset.op !== undefined && +line.dataset.op >= 0) select([+line.dataset.op]);
  else if (jump) { const op = +jump.dataset.op; show(+jump.dataset.stage, op); }
  else if (chip) selectSource([chip.dataset.source]);
  else if (node) selectSource(data.nodes[node.dataset.node]);
});
let pending = 0;
$("search").addEventListener("input", () => { clearTimeout(pending); pending = setTimeout(search, 120); });
$("piece").addEventListener("change", () => { state.piece = $("piece").value; draw(); });
$("dialect").addEventListener("change", () => { state.dialect = $("dialect").value; draw(); });
for (const id of ["left", "right"]) $(id).addEventListener("change", drawDiff);
$("theme").addEventListener("click", () => document.documentElement.classList.toggle("dark"));
document.addEventListener("keydown", (e) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName);
  if (e.key === "Escape") { if (typing) { e.target.value = e.target.id === "search" ? "" : e.target.value; e.target.blur(); search(); } else select([]); return; }
  if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
  const line = e.target.closest && e.target.closest(".ln");
  const views = { i: "ir", d: "diff", r: "rewrites", g: "graph" };
  if (e.key === "/") { e.preventDefault(); $("search").focus(); }
  else if (e.key === "j" || e.key === "k") go(state.stage + (e.key === "j" ? 1 : -1));
  else if (views[e.key]) { setView(views[e.key]); draw(); }
  else if (e.target === $("passes") && (e.key === "ArrowDown" || e.key === "ArrowUp")) { e.preventDefault(); go(state.stage + (e.key === "ArrowDown" ? 1 : -1)); }
  else if (line && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
    e.preventDefault();
    const all = [...document.querySelectorAll("main section:not([hidden]) .ln")], next = all[all.indexOf(line) + (e.key === "ArrowDown" ? 1 : -1)];
    if (next) next.focus();
  } else if (e.key === "Enter" || e.key === " ") {
    const node = e.target.closest && e.target.closest(".node");
    if (line) { e.preventDefault(); select([+line.dataset.op]); }
    else if (node) { e.preventDefault(); selectSource(data.nodes[node.dataset.node]); }
  } else if (/^(ArrowLeft|ArrowRight)$/.test(e.key) && e.target.getAttribute("role") === "tab") {
    const tabs = [...document.querySelectorAll("[role=tab]")], next = tabs[(tabs.indexOf(e.target) + (e.key === "ArrowRight" ? 1 : tabs.length - 1)) % tabs.length];
    next.focus();
    next.click();
  } else if (e.key === "ArrowDown" && state.view === "ir" && e.target === document.body) {
    const first = $("ir").querySelector(".ln");
    if (first) { e.preventDefault(); first.focus(); }
  }
});
if (window.matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.classList.add("dark");
const stageOptions = data.passes.map((p, i) => `<option value="${i}">${i} ${escaped(p.name)}</option>`).join("");
$("left").innerHTML = stageOptions;
$("right").innerHTML = stageOptions;
$("dialect").innerHTML = ["", "dstc", "dstc_tile", "dstc_isa", "arith", "scf", "func"].map((d) => `<option value="${d}">${d || "all dialects"}</option>`).join("");
setView("ir");
go(0).then(() => { document.documentElement.dataset.ready = "yes"; });
