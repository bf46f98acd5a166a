// Tables that sort, filter and copy. A column is data: title, cell text, sort value.
import { clear, copyText, h, segmented } from "./dom.js";
import { bytes, count, ns, percent, rate } from "./format.js";

const PAGE = 200; // rows drawn at first; the rest on demand

function columnsOf(m) {
  const wall = m.meta.wall, per = (v) => rate(v / (wall / 1e9)).replace("/s", ""), share = (v) => percent(v / wall);
  const dash = (v, f) => (v < 0 ? "–" : f(v));
  return {
    processes: {
      rows: () => m.groups,
      columns: [
        ["pid", (g) => (g.n > 1 ? `${g.pid}…` : String(g.pid)), (g) => g.pid, "num"], ["name", (g) => g.name], ["runtime", (g) => (g.tree ? g.runtime : "outside")],
        ["threads", (g) => count(g.threads), (g) => g.threads, "num"], ["CPU", (g) => share(g.cpu), (g) => g.cpu, "num"],
        ["run-queue", (g) => share(g.queue), (g) => g.queue, "num"], ["blocked", (g) => (g.est ? "~" : "") + share(g.blockedSum), (g) => g.blockedSum, "num"],
        ["idle", (g) => share(g.idle), (g) => g.idle, "num"], ["time", (g) => bar(m, g), null, "bar-cell"], ["waits/s", (g) => per(g.waits), (g) => g.waits, "num"],
        ["mostly waiting for", (g) => g.wait], ["command", (g) => g.cmd.join(" ")],
      ],
      first: 4,
    },
    edges: {
      rows: () => m.edges,
      columns: [
        ["waiter", (e) => m.groupLabel(e.waiter)], ["waker", (e) => (e.waker < 0 ? "–" : m.groupLabel(e.waker))], ["class", (e) => m.className(e.cls)], ["channel", (e) => e.name],
        ["waits", (e) => count(e.count), (e) => e.count, "num"], ["waits/s", (e) => per(e.count), (e) => e.count, "num"],
        ["blocked", (e) => (e.est ? "~" : "") + share(e.blocked) + (e.idle ? " idle" : ""), (e) => (e.idle ? 0 : e.blocked), "num"], ["p50", (e) => dash(e.p50, ns), (e) => e.p50, "num"],
        ["p99", (e) => dash(e.p99, ns), (e) => e.p99, "num"], ["message p50", (e) => dash(e.bytes50, bytes), (e) => e.bytes50, "num"],
        ["sure", (e) => ["low", "medium", "high"][e.conf], (e) => e.conf],
      ],
      first: 6,
    },
    channels: {
      rows: () => [...m.channels.values()].map((c) => ({ ...c, blocked: m.waits.reduce((a, w) => a + (w.channel === c.id ? w.blocked : 0), 0) })),
      columns: [
        ["id", (c) => String(c.id), (c) => c.id, "num"], ["kind", (c) => c.kind], ["name", (c) => c.name], ["capacity", (c) => (c.capacity ? bytes(c.capacity) : "–"), (c) => c.capacity, "num"],
        ["blocked on it", (c) => share(c.blocked), (c) => c.blocked, "num"],
        ["ends", (c) => c.ends.map(([pid, role, fd]) => `${pid} ${["", "reads", "writes", "both"][role]}${fd >= 0 ? " fd " + fd : ""}`).join(", ") + (c.remote ? " (remote)" : "")],
      ],
      first: 4,
    },
    waits: {
      rows: () => m.waits,
      columns: [
        ["pid", (w) => String(w.pid), (w) => w.pid, "num"], ["process", (w) => m.groups[w.group].name], ["class", (w) => m.className(w.cls)],
        ["channel", (w) => m.channels.get(w.channel)?.name || "–"], ["waits", (w) => count(w.count), (w) => w.count, "num"],
        ["blocked", (w) => (w.est ? "~" : "") + share(w.blocked), (w) => w.blocked, "num"], ["idle", (w) => share(w.idle), (w) => w.idle, "num"],
        ["run-queue", (w) => share(w.queue), (w) => w.queue, "num"], ["p50", (w) => dash(w.p50, ns), (w) => w.p50, "num"], ["p99", (w) => dash(w.p99, ns), (w) => w.p99, "num"],
        ["still waiting", (w) => (w.left ? String(w.left) : "–"), (w) => w.left, "num"],
      ],
      first: 5,
    },
  };
}

// A process's time as one bar; the figures stand in its title and in the other columns.
export function bar(m, g) {
  const sums = new Map([["cpu", g.cpu], ["queue", g.queue]]);
  for (const [c, v] of Object.entries(g.blocked)) sums.set(m.family(Number(c)), (sums.get(m.family(Number(c))) || 0) + v);
  const active = [...sums.values()].reduce((a, b) => a + b, 0) + g.lost, idle = Math.max(0, Math.min(g.idle, m.meta.wall * g.pids.length - active));
  sums.set("lost", g.lost).set("idle", idle);
  const total = active + idle || 1, text = [...sums].filter(([, v]) => v / total > 0.005).map(([f, v]) => `${f} ${percent(v / total)}`).join(", ");
  return h("span", { class: "stacked", title: text, role: "img", "aria-label": text || "nothing" }, [...sums].map(([f, v]) => (v ? h("i", { class: "bg-" + f, style: { width: (100 * v) / total + "%" } }) : null)));
}

export function tablesView(m, state) {
  const defs = columnsOf(m);
  let which = "processes", term = "", sort = null, all = false;
  const body = h("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": "Table" }), info = h("output", { class: "found", "aria-live": "polite" });

  function current() {
    const d = defs[which];
    d.cache ||= d.rows();
    let rows = d.cache;
    if (term) rows = rows.filter((r) => d.columns.some(([, cell]) => { const c = cell(r); return typeof c === "string" && c.toLowerCase().includes(term); }));
    const by = sort || { i: d.first, dir: -1 }, [, cell, value] = d.columns[by.i], key = value || ((r) => String(cell(r)).toLowerCase());
    return { d, by, rows: [...rows].sort((a, b) => { const x = key(a), y = key(b); return (x < y ? -1 : x > y ? 1 : 0) * by.dir; }) };
  }
  function draw() {
    const { d, by, rows } = current(), shown = all ? rows : rows.slice(0, PAGE);
    const heads = d.columns.map(([title, cell, value, cls], i) => {
      if (cls === "bar-cell") return h("th", { scope: "col" }, title);
      const dir = by.i === i ? (by.dir < 0 ? "descending" : "ascending") : "none";
      return h("th", { scope: "col", class: cls, "aria-sort": dir },
        h("button", { type: "button", onclick: () => { sort = { i, dir: by.i === i ? -by.dir : value ? -1 : 1 }; draw(); body.querySelectorAll("th")[i].querySelector("button").focus(); } }, title, h("span", { "aria-hidden": "true", class: "arrow" }, dir === "none" ? "" : by.dir < 0 ? " ↓" : " ↑")));
    });
    clear(body).append(h("table", {}, h("caption", { class: "offscreen" }, which), h("thead", {}, h("tr", {}, heads)),
      h("tbody", {}, shown.map((r) => h("tr", {}, d.columns.map(([, cell, , cls]) => h("td", { class: cls }, cell(r))))))));
    if (rows.length > shown.length) body.append(h("p", {}, h("button", { type: "button", onclick: () => { all = true; draw(); } }, `Show all ${rows.length} rows`)));
    info.textContent = `${rows.length} row${rows.length === 1 ? "" : "s"}`;
  }
  async function copy() {
    const { d, rows } = current(), cols = d.columns.filter(([, , , cls]) => cls !== "bar-cell");
    const tsv = [cols.map(([t]) => t).join("\t"), ...rows.map((r) => cols.map(([, cell]) => cell(r)).join("\t"))].join("\n");
    info.textContent = (await copyText(tsv)) ? `${rows.length} rows copied` : "could not copy";
  }
  const filter = h("input", { type: "search", placeholder: "Filter rows", "aria-label": "Filter rows", spellcheck: "false", oninput: () => { term = filter.value.trim().toLowerCase(); draw(); } });
  const tabs = segmented("Table", [["processes", "Processes"], ["edges", "Who waits on whom"], ["channels", "Channels"], ["waits", "Waits"]], which, (v) => { which = v; sort = null; all = false; draw(); });
  state.showEdge = (e) => {
    tabs.pick("edges");
    filter.value = m.groups[e.waiter].name;
    term = filter.value.toLowerCase();
    draw();
    state.go("tables");
  };
  return {
    render(el) {
      el.append(h("div", { class: "controls" }, tabs, filter, h("button", { type: "button", onclick: copy }, "Copy"), info), body);
      draw();
    },
  };
}
