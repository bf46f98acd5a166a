// Time by source line, with the source beside it where the page carries it. The same figures as `lockstep report --lines`.
import { clear, h, select } from "./dom.js";
import { ns, percent } from "./format.js";

const FILES = 6, MIN_SHARE = 0.005;

// own: the innermost source line of a stack outside the kernel and the C library; total: the line is anywhere in it, once.
export function lineTable(m, group, cls) {
  const rows = new Map(), hot = m.hot;
  let all = 0, unlined = 0;
  for (let i = 0; i < hot.n; i++) {
    if ((group !== null && hot.group[i] !== group) || (cls === "wait" ? !hot.cls[i] : hot.cls[i] !== cls)) continue;
    const v = hot.ns[i], seen = new Set();
    let own = true;
    all += v;
    for (let n = hot.node[i]; n; n = m.parent[n]) {
      const f = m.frame[n], file = m.frames.file[f], line = m.frames.line[f];
      if (!file || !line || m.frames.isKernel(f) || m.frames.libc[f]) continue;
      const key = file + ":" + line;
      let r = rows.get(key);
      if (!r) rows.set(key, (r = { file, line, fn: m.frames.fn[f], own: 0, total: 0 }));
      if (own) r.own += v;
      own = false;
      if (!seen.has(key)) r.total += v;
      seen.add(key);
    }
    if (own) unlined += v;
  }
  const files = new Map();
  for (const r of rows.values()) (files.get(r.file) || files.set(r.file, { file: r.file, own: 0, rows: [] }).get(r.file)).rows.push(r);
  for (const f of files.values()) f.own = f.rows.reduce((a, r) => a + r.own, 0);
  return { all, unlined, files: [...files.values()].sort((a, b) => b.own - a.own || a.file - b.file) };
}

export function linesView(m) {
  const sources = new Map(m.raw.sources.map(([file, newer, lines]) => {
    const text = new Map();
    for (let i = 0; i < lines.length; i += 2) text.set(lines[i], m.str(lines[i + 1]));
    return [file, { newer, text }];
  }));
  const tree = m.groups.filter((g) => g.tree);
  let group = String((tree.reduce((a, b) => (b.cpu > (a?.cpu ?? -1) ? b : a), null) || { i: "all" }).i), kind = "0";
  if (tree.length && tree[Number(group)] && m.groups[Number(group)].cpu < 0.25 * m.meta.wall && m.findings.length && m.findings[0].groups.length) {
    group = String(m.findings[0].groups[0]); // the time that matters is a wait
    kind = "wait";
  }
  const body = h("div");

  function row(r, t, src) {
    const text = src?.text.get(r.line);
    return h("tr", { class: r.total ? "" : "context" }, h("td", { class: "num" }, r.own ? percent(r.own / t.all) : ""), h("td", { class: "num" }, r.total ? percent(r.total / t.all) : ""),
      h("td", { class: "heat" }, r.total ? h("span", { class: "bar", style: { width: Math.max(2, (100 * r.total) / t.all) + "%" } }, h("i", { style: { width: (100 * r.own) / r.total + "%" } })) : null),
      h("td", { class: "num line" }, r.line), h("td", { class: "src" }, text ?? h("em", {}, r.fn === undefined ? "" : "in " + m.str(r.fn))));
  }
  function file(f, t) {
    const src = sources.get(f.file), hot = f.rows.filter((r) => r.total >= MIN_SHARE * t.all), near = new Map(hot.map((r) => [r.line, r]));
    if (!hot.length) return null;
    if (src) for (const r of hot) for (let l = r.line - 2; l <= r.line + 2; l++) if (src.text.has(l) && !near.has(l)) near.set(l, { line: l, own: 0, total: 0 });
    const rows = [...near.values()].sort((a, b) => a.line - b.line), out = [];
    rows.forEach((r, i) => {
      if (i && rows[i - 1].line + 1 < r.line) out.push(h("tr", { class: "gap" }, h("td", { colspan: 5 }, "⋯")));
      out.push(row(r, t, src));
    });
    return h("div", { class: "source" }, h("h3", {}, m.str(f.file)),
      src?.newer ? h("p", { class: "note" }, "Changed after the recording: the text may not be what ran.") : null, src ? null : h("p", { class: "note" }, "The source was not readable (or left out): function names stand in."),
      h("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": m.str(f.file) }, h("table", { class: "lines" },
        h("caption", { class: "offscreen" }, "Time by line of " + m.str(f.file)),
        h("thead", {}, h("tr", {}, ["own", "total"].map((x) => h("th", { scope: "col", class: "num" }, x)), h("th", { scope: "col" }, h("span", { class: "offscreen" }, "bar")), h("th", { scope: "col", class: "num" }, "line"), h("th", { scope: "col" }, "source"))),
        h("tbody", {}, out))));
  }
  function draw() {
    const t = lineTable(m, group === "all" ? null : Number(group), kind === "wait" ? "wait" : Number(kind));
    clear(body);
    if (!t.all) return body.append(h("p", { class: "note" }, "No such time was recorded here."));
    body.append(h("p", { class: "note" }, `${ns(t.all)} in all, ${percent(t.all / m.meta.wall)} of the run. Own: the innermost source line of a stack, outside the C library; total: the line is anywhere in it.`),
      ...t.files.slice(0, FILES).map((f) => file(f, t)).filter(Boolean));
    if (t.files.length > FILES) body.append(h("p", { class: "note" }, `… and ${t.files.length - FILES} more files with less time.`));
    if (t.unlined) body.append(h("p", { class: "note" }, `${percent(t.unlined / t.all)} of this time is in stacks without source lines (no debug information).`));
  }
  return {
    render(el) {
      const classes = [...new Set(m.hot.cls)].filter((c) => c).sort((a, b) => a - b);
      el.append(h("div", { class: "controls" },
        select("Process", [["all", "All processes"], ...tree.map((g) => [g.i, m.groupLabel(g.i)])], group, (v) => { group = v; draw(); }),
        select("Kind of time", [["0", "Computing (on-CPU)"], ["wait", "Waiting (all classes)"], ...classes.map((c) => [c, "Waiting: " + m.className(c)])], kind, (v) => { kind = v; draw(); })), body);
      draw();
    },
  };
}
