"use strict";
const $ = (id) => document.getElementById(id);
const causes = JSON.parse($("causes").textContent);

// Light or dark: the reader's choice, else the system's
const wanted = matchMedia("(prefers-color-scheme: dark)");
const paint = (dark) => document.documentElement.classList.toggle("dark", dark);
paint(wanted.matches);
wanted.addEventListener("change", (e) => paint(e.matches));
$("theme").addEventListener("click", () => paint(!document.documentElement.classList.contains("dark")));

// Tables that sort by a column
for (const table of document.querySelectorAll("table.sortable"))
  table.tHead.querySelectorAll("th").forEach((th, i) => th.addEventListener("click", () => {
    const up = th.getAttribute("aria-sort") === "descending" || (i === 0 && !th.ariaSort);
    for (const other of th.parentNode.children) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[i].dataset.v ?? row.cells[i].textContent.trim();
    const body = table.tBodies[0], number = body.rows[0]?.cells[i].dataset.v !== undefined;
    body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) *
      (number ? key(a) - key(b) : key(a).localeCompare(key(b)))));
  }));

// A link to a kernel opens it
function reveal() {
  const target = location.hash.startsWith("#k") && $(location.hash.slice(1));
  if (target) { target.open = true; target.scrollIntoView(); }
}
addEventListener("hashchange", reveal);
for (const link of document.querySelectorAll("a[href^='#k']"))
  link.addEventListener("click", () => setTimeout(reveal));

// Whole listings, unpacked when they are asked for
async function unpack(number) {
  const bytes = Uint8Array.from(atob($("b" + number).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
const cell = (row, text, kind) => {
  const td = row.insertCell();
  td.textContent = text;
  if (kind) td.className = kind;
  return td;
};
async function listing(button) {
  const [code, counts] = await Promise.all([unpack(button.dataset.text), unpack(button.dataset.counts)]);
  const lines = code.text.map((text, i) => ({ text, issued: counts.issued[i], stalls: [], stalled: 0 }));
  for (const [cause, pairs] of Object.entries(counts.stalled))
    for (const [at, cycles] of pairs) {
      lines[at].stalls.push([cause, cycles]);
      lines[at].stalled += cycles;
    }
  const most = Math.max(1, ...lines.map((l) => l.issued + l.stalled));
  const box = document.createElement("div");
  box.className = "listing";
  box.innerHTML = "<table class='code'><thead><tr><th class='n'>line</th><th class='n'>issued</th>" +
    "<th class='n'>stalled</th><th>waits for</th><th>instruction</th></tr></thead></table>";
  const body = box.firstChild.createTBody();
  let from = null;
  lines.forEach((line, i) => {
    const source = code.sources[i] ?? "";
    if (source !== from) {
      from = source;
      const head = body.insertRow();
      head.className = "from";
      cell(head, source || "(no tile operation)").colSpan = 5;
    }
    const row = body.insertRow();
    cell(row, i, "n dim");
    cell(row, line.issued ? line.issued.toLocaleString("en") : "", "n");
    const heat = cell(row, line.stalled ? line.stalled.toLocaleString("en") : "", "n heat");
    heat.style.setProperty("--v", (line.issued + line.stalled) / most);
    line.stalls.sort((a, b) => b[1] - a[1]);
    const why = cell(row, "");
    if (line.stalls.length) {
      const [label, colour] = causes[line.stalls[0][0]] ?? [line.stalls[0][0], "#888"];
      const dot = document.createElement("i");
      dot.className = "dot";
      dot.style.background = colour;
      why.append(dot, label);
      why.title = line.stalls.map(([c, n]) => `${(causes[c] ?? [c])[0]}: ${n.toLocaleString("en")}`).join("\n");
    }
    cell(row, line.text, "text");
  });
  button.replaceWith(box);
}
for (const button of document.querySelectorAll("button.show"))
  button.addEventListener("click", () => listing(button));

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
reveal();
document.documentElement.dataset.ready = "yes";
