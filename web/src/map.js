// The process map. Nodes: processes (area: CPU time; ring: how their time passes). Arrows: who waits for whom (width: blocked time).
// Few nodes are laid out in ranks (dagre: a pipeline reads from left to right), many by forces (d3-force).
import dagre from "@dagrejs/dagre";
import { forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY } from "d3-force";
import { select as d3select } from "d3-selection";
import { arc } from "d3-shape";
import { zoom as d3zoom, zoomIdentity } from "d3-zoom";
import { clear, h, hideTip, s, showTip } from "./dom.js";
import { bytes, count, ns, percent, rate } from "./format.js";
import { FAMILIES } from "./model.js";

const RANKED_MAX = 40, SMALL_SHARE = 0.005, MANY_EDGES = 60;

export function mapView(m, state) {
  return new MapView(m, state);
}

class MapView {
  constructor(m, state) {
    this.m = m;
    this.state = state;
    this.byName = m.groups.length > RANKED_MAX;
    this.allEdges = false;
    this.term = "";
    this.isolated = null;
    state.isolate = (groups) => this.isolateGroups(groups);
  }

  render(el) {
    this.svg = s("svg", { class: "map", role: "group", "aria-label": "Process map: arrows go from a process that waits to the one that wakes it" });
    this.layer = s("g");
    this.svg.append(this.layer);
    this.panel = h("div", { class: "map-panel", "aria-live": "polite" });
    this.filter = h("input", { type: "search", placeholder: "Filter processes", "aria-label": "Filter processes", spellcheck: "false",
      oninput: () => { this.term = this.filter.value.trim().toLowerCase(); this.emphasize(); } });
    const check = (label, get, set) => h("label", { class: "check" }, h("input", { type: "checkbox", checked: get(), onchange: (e) => { set(e.target.checked); this.build(); } }), label);
    const button = (text, label, fn) => h("button", { type: "button", "aria-label": label, title: label, onclick: fn }, text);
    this.zoom = d3zoom().scaleExtent([0.15, 4]).filter((e) => (e.type === "wheel" ? e.ctrlKey : !e.button)).on("zoom", (e) => this.layer.setAttribute("transform", e.transform));
    el.append(
      h("div", { class: "controls map-controls" }, this.filter,
        check("Group by name", () => this.byName, (v) => (this.byName = v)),
        check("Small and idle edges too", () => this.allEdges, (v) => (this.allEdges = v)),
        h("span", { class: "spacer" }),
        button("−", "Zoom out", () => this.scale(0.8)), button("+", "Zoom in", () => this.scale(1.25)), button("Fit", "Fit into the frame", () => this.fit())),
      h("div", { class: "map-box" }, this.svg, this.panel), this.legend());
    d3select(this.svg).call(this.zoom).on("dblclick.zoom", null);
    this.svg.addEventListener("click", (e) => e.target === this.svg && this.isolate(null));
    new ResizeObserver(() => this.fit()).observe(this.svg);
    this.build();
  }

  legend() {
    const item = (f, text) => h("span", { class: "key" }, h("i", { class: "bg-" + f }), text);
    const used = new Set(["cpu"]);
    for (const g of this.m.groups) for (const [c, v] of Object.entries(g.blocked)) if (v > 0.005 * this.m.meta.wall) used.add(this.m.family(Number(c)));
    for (const g of this.m.groups) if (g.queue > 0.005 * this.m.meta.wall) used.add("queue");
    return h("p", { class: "legend" }, h("span", { class: "key" }, "Arrow: waits for. Width: time blocked. Disc: CPU. Ring:"),
      FAMILIES.filter(([f]) => used.has(f)).map(([f, t]) => item(f, t)));
  }

  /* ---- what is drawn ---- */

  build() {
    this.nodes = new Map();
    for (const g of this.m.groups) this.addGroup(g);
    this.buildEdges();
    for (const [key, n] of this.nodes) if (!n.tree && !n.degree) this.nodes.delete(key); // outside, and nothing to do with us
    this.layout();
    this.draw();
    this.fit();
  }

  keyOf(g) {
    return this.byName ? (g.tree ? "n:" : "o:") + g.comm : "g:" + g.i;
  }
  addGroup(g) {
    const key = this.keyOf(g);
    let n = this.nodes.get(key);
    if (!n) this.nodes.set(key, (n = { key, groups: [], n: 0, cpu: 0, queue: 0, idle: 0, lost: 0, blocked: {}, degree: 0, tree: g.tree, pids: [] }));
    n.groups.push(g.i);
    n.n += g.n;
    n.cpu += g.cpu; n.queue += g.queue; n.idle += g.idle; n.lost += g.lost;
    n.pids.push(...g.pids);
    for (const [c, v] of Object.entries(g.blocked)) n.blocked[c] = (n.blocked[c] || 0) + v;
    n.label = n.n > 1 ? `${g.comm} ×${n.n}` : g.name;
    n.sub = n.n > 1 ? "" : String(g.pid);
  }

  // Remote hosts, disks and timers wait-for targets too: nodes of their own when they matter.
  outsideNode(e) {
    const ch = this.m.channels.get(e.channel), family = this.m.family(e.cls);
    const label = ch?.remote ? e.name : family === "disk" ? "disk" : family === "sleep" ? "timer" : null;
    if (!label) return null;
    const key = "x:" + label;
    if (!this.nodes.has(key))
      this.nodes.set(key, { key, groups: [], n: 1, cpu: 0, queue: 0, idle: 0, lost: 0, blocked: {}, degree: 0, tree: true, pids: [], label, sub: "", outside: true });
    return key;
  }

  buildEdges() {
    const m = this.m, merged = new Map(), first = new Set(m.findings[0]?.groups || []);
    for (const e of m.edges) {
      const share = e.blocked / m.meta.wall;
      if (!e.blocked || (!this.allEdges && (e.idle || share < SMALL_SHARE))) continue;
      const from = this.keyOf(m.groups[e.waiter]);
      const to = e.waker >= 0 ? this.keyOf(m.groups[e.waker]) : share >= 0.02 ? this.outsideNode(e) : null;
      if (!to || from === to) continue;
      const key = from + ">" + to;
      let x = merged.get(key);
      if (!x) merged.set(key, (x = { key, from, to, blocked: 0, count: 0, parts: [], lock: false, unsure: true }));
      x.blocked += e.blocked;
      x.count += e.count;
      x.parts.push(e);
      x.unsure = x.unsure && e.conf < 2;
      x.lock = x.lock || m.lockstepPairs.has(e.waiter + ":" + e.waker);
      x.found = x.found || (first.has(e.waiter) && first.has(e.waker));
    }
    this.edges = [...merged.values()].sort((a, b) => b.blocked - a.blocked);
    if (!this.allEdges) this.edges = this.edges.slice(0, MANY_EDGES);
    for (const e of this.edges) {
      this.nodes.get(e.from).degree++;
      this.nodes.get(e.to).degree++;
      this.nodes.get(e.to).lock ||= e.lock;
      this.nodes.get(e.from).lock ||= e.lock;
    }
    for (const [key, n] of this.nodes) if (n.outside && !n.degree) this.nodes.delete(key);
  }

  radius(n) {
    if (n.outside) return 18;
    return 15 + 21 * Math.sqrt(Math.min(1, n.cpu / this.m.meta.wall));
  }
  edgeLabel(e) {
    const top = e.parts.reduce((a, b) => (b.blocked > a.blocked ? b : a));
    const each = Math.max(1, this.nodes.get(e.from).pids.length); // processes of one role: the mean
    const size = top.bytes50 >= 0 ? " · " + bytes(top.bytes50) : "";
    return [`${rate(e.count / (this.m.meta.wall / 1e9))}${size}`, `${top.est ? "~" : ""}${percent(e.blocked / this.m.meta.wall / each)} blocked${each > 1 ? " each" : ""}`];
  }

  /* ---- layout ---- */

  layout() {
    const linked = [...this.nodes.values()].filter((n) => n.degree);
    const lone = [...this.nodes.values()].filter((n) => !n.degree);
    const ring = linked.length <= 10 ? this.ringOf(linked) : null;
    if (ring) this.ringLayout(ring);
    else if (linked.length <= RANKED_MAX) this.rankedLayout(linked);
    else this.forceLayout(linked);
    this.placeLone(linked, lone);
  }
  // Ranks suit pipelines and hubs; a circle of waits has no first. The nodes in the order in which they wait for each other, or null.
  ringOf(linked) {
    const best = new Map();
    for (const e of this.edges) if (!best.has(e.from)) best.set(e.from, e.to); // edges stand by blocked time
    for (const start of linked) {
      const order = [start.key];
      while (order.length <= linked.length && best.get(order[order.length - 1]) !== start.key) {
        const next = best.get(order[order.length - 1]);
        if (!next || order.includes(next)) break;
        order.push(next);
      }
      if (order.length >= 3 && order.length === linked.length && best.get(order[order.length - 1]) === start.key) return order.map((k) => this.nodes.get(k));
    }
    return null;
  }
  ringLayout(ring) {
    const r = Math.max(120, ring.length * 42);
    ring.forEach((n, i) => {
      const a = (2 * Math.PI * i) / ring.length - Math.PI / 2;
      n.x = 1.5 * r * Math.cos(a);
      n.y = r * Math.sin(a);
    });
  }
  rankedLayout(linked) {
    const g = new dagre.graphlib.Graph();
    g.setGraph({ rankdir: "LR", nodesep: linked.length > 16 ? 26 : 84, ranksep: linked.length > 16 ? 90 : 170 });
    g.setDefaultEdgeLabel(() => ({}));
    for (const n of linked) g.setNode(n.key, { width: Math.max(2 * this.radius(n) + 16, 7 * Math.min(18, n.label.length)), height: 2 * this.radius(n) + 44 });
    for (const e of this.edges) g.setEdge(e.from, e.to, { weight: 1 + Math.round(10 * Math.min(1, e.blocked / this.m.meta.wall)) });
    dagre.layout(g);
    for (const n of linked) ({ x: n.x, y: n.y } = g.node(n.key));
  }
  forceLayout(linked) {
    const links = this.edges.map((e) => ({ source: e.from, target: e.to, w: e.blocked / this.m.meta.wall }));
    const sim = forceSimulation(linked).randomSource(() => 0.5)
      .force("link", forceLink(links).id((n) => n.key).distance(110).strength((l) => 0.15 + 0.5 * Math.min(1, l.w)))
      .force("charge", forceManyBody().strength(-260)).force("x", forceX().strength(0.04)).force("y", forceY().strength(0.07))
      .force("collide", forceCollide((n) => this.radius(n) + 22)).stop();
    sim.tick(Math.min(300, 60000 / linked.length));
  }
  // Processes that nobody waits for, in rows below.
  placeLone(linked, lone) {
    const right = linked.length ? Math.max(...linked.map((n) => n.x)) : 0, left = linked.length ? Math.min(...linked.map((n) => n.x)) : 0;
    const bottom = linked.length ? Math.max(...linked.map((n) => n.y + this.radius(n))) + 80 : 60;
    const cell = 104, perRow = Math.max(4, Math.floor(Math.max(right - left, 700) / cell)), centre = (left + right) / 2;
    lone.sort((a, b) => b.cpu + b.queue - (a.cpu + a.queue));
    lone.forEach((n, i) => {
      const row = Math.floor(i / perRow), inRow = Math.min(perRow, lone.length - row * perRow);
      n.x = centre + ((i % perRow) - (inRow - 1) / 2) * cell;
      n.y = bottom + 40 + row * 96;
    });
  }

  /* ---- drawing ---- */

  draw() {
    clear(this.layer);
    this.edgeEls = new Map();
    this.nodeEls = new Map();
    const many = this.nodes.size > 60;
    for (const e of [...this.edges].reverse()) this.drawEdge(e, many);
    for (const n of this.nodes.values()) this.drawNode(n, many);
    this.emphasize();
  }

  drawEdge(e, many) {
    const a = this.nodes.get(e.from), b = this.nodes.get(e.to), both = this.edges.some((x) => x.from === e.to && x.to === e.from);
    const dx = b.x - a.x, dy = b.y - a.y, len = Math.hypot(dx, dy) || 1, ux = dx / len, uy = dy / len, bend = both ? Math.min(46, len * 0.24) : len > 260 ? 18 : 0;
    const cx = (a.x + b.x) / 2 + uy * bend, cy = (a.y + b.y) / 2 - ux * bend;
    const rim = (n, gap) => {
      const vx = cx - n.x, vy = cy - n.y, l = Math.hypot(vx, vy) || 1, r = this.radius(n) + gap;
      return [n.x + (vx / l) * r, n.y + (vy / l) * r];
    };
    const width = 1.2 + 5 * Math.min(1, e.blocked / this.m.meta.wall / Math.max(1, a.n)), tip = 8 + 1.6 * width;
    const [x1, y1] = rim(a, a.lock ? 15 : 9), [x2, y2] = rim(b, (b.lock ? 15 : 9) + tip * 0.9);
    const path = s("path", { d: `M${x1} ${y1} Q${cx} ${cy} ${x2} ${y2}`, "stroke-width": width });
    const tl = Math.hypot(b.x - x2, b.y - y2) || 1, tx = (b.x - x2) / tl, ty = (b.y - y2) / tl, half = tip * 0.52;
    const head = s("path", { class: "head", d: `M${x2 + tx * tip} ${y2 + ty * tip} L${x2 - ty * half} ${y2 + tx * half} L${x2 + ty * half} ${y2 - tx * half} z` });
    const hit = s("path", { class: "edge-hit", d: `M${x1} ${y1} Q${cx} ${cy} ${x2} ${y2}` });
    // beside the curve, on the side to which it bends; a lone straight one has its label above
    const side = both || uy * uy > 0.1 || ux >= 0 ? 1 : -1, nx = uy * side, ny = -ux * side, away = nx > 0.35 ? "start" : nx < -0.35 ? "end" : "middle";
    const lx = (x1 + 2 * cx + x2) / 4 + nx * 12, ly = (y1 + 2 * cy + y2) / 4 + (ny < 0 ? ny * 16 - 7 : ny * 14 + 6), [l1, l2] = this.edgeLabel(e);
    const label = many && !e.lock && e.blocked < 0.25 * this.m.meta.wall ? null
      : s("text", { class: "edge-label", x: lx, y: ly, "text-anchor": away }, s("tspan", { x: lx }, l1), s("tspan", { x: lx, dy: "13" }, l2));
    const g = s("g", { class: "edge" + (e.lock || e.found ? " lock" : "") + (e.unsure ? " unsure" : ""), "data-from": a.label, "data-to": b.label }, path, head, hit, label);
    hit.addEventListener("mousemove", (ev) => showTip(ev.clientX, ev.clientY, `${a.label} ${a.sub} waits for ${b.label} ${b.sub}`, ...e.parts.slice(0, 4).map((p) =>
      `${p.name}: ${count(p.count)} waits, ${ns(p.blocked)}, p50 ${p.p50 >= 0 ? ns(p.p50) : "unknown"}`), e.lock ? "in lock-step" : null, e.unsure ? "the pair is inferred" : null));
    hit.addEventListener("mouseleave", hideTip);
    hit.addEventListener("click", () => this.state.showEdge(e.parts[0]));
    this.edgeEls.set(e.key, g);
    this.layer.append(g);
  }

  slices(n) {
    const m = this.m, active = n.cpu + n.queue + n.lost + Object.values(n.blocked).reduce((a, b) => a + b, 0);
    const sums = new Map([["cpu", n.cpu], ["queue", n.queue], ["lost", n.lost], ["idle", Math.max(0, Math.min(n.idle, m.meta.wall * n.n - active))]]);
    for (const [c, v] of Object.entries(n.blocked)) sums.set(m.family(Number(c)), (sums.get(m.family(Number(c))) || 0) + v);
    const total = [...sums.values()].reduce((a, b) => a + b, 0) || 1;
    return FAMILIES.filter(([f]) => sums.get(f) > 0).map(([f, text]) => ({ f, text, share: sums.get(f) / total }));
  }

  drawNode(n, many) {
    const r = this.radius(n), g = s("g", { class: "node" + (n.lock ? " lock" : "") + (n.tree ? "" : " outside"), transform: `translate(${n.x} ${n.y})`, tabindex: "0", role: "button",
      "aria-label": `${n.label} ${n.sub}${n.sub ? " · " : ""}CPU ${percent(n.cpu / this.m.meta.wall)}: show only what it talks with` });
    if (n.lock) g.append(s("circle", { class: "halo", r: r + 13 }));
    if (n.outside) g.append(s("rect", { class: "disc", x: -r, y: -r * 0.8, width: 2 * r, height: 1.6 * r, rx: 4 }));
    else {
      g.append(s("circle", { class: "plate", r: r + 7 }), s("circle", { class: "disc", r: Math.max(3, r * Math.sqrt(Math.min(1, n.cpu / this.m.meta.wall))) }));
      let at = 0;
      for (const x of this.slices(n)) {
        g.append(s("path", { class: "fill-" + x.f, d: arc()({ innerRadius: r, outerRadius: r + 7, startAngle: at * 2 * Math.PI, endAngle: (at + x.share) * 2 * Math.PI }) }));
        at += x.share;
      }
    }
    if (!many || n.lock || n.degree > 3 || n.cpu > 0.1 * this.m.meta.wall) {
      const name = n.label.length > 22 ? n.label.slice(0, 21) + "…" : n.label;
      g.append(s("text", { class: "node-name", y: r + (n.lock ? 30 : 22), "text-anchor": "middle" }, name));
      if (!n.outside) g.append(" ", s("text", { class: "node-sub", y: r + (n.lock ? 44 : 36), "text-anchor": "middle" }, `${n.sub}${n.sub ? " · " : ""}CPU ${percent(n.cpu / this.m.meta.wall)}`));
    }
    g.addEventListener("mousemove", (e) => showTip(e.clientX, e.clientY, `${n.label} ${n.sub}`, ...this.slices(n).map((x) => `${x.text} ${percent(x.share)}`)));
    g.addEventListener("mouseleave", hideTip);
    g.addEventListener("click", () => this.isolate(this.isolated === n.key ? null : n.key));
    g.addEventListener("keydown", (e) => {
      if (e.key === "Enter" || e.key === " ") this.isolate(this.isolated === n.key ? null : n.key);
      else if (e.key === "Escape") this.isolate(null);
      else return;
      e.preventDefault();
    });
    this.nodeEls.set(n.key, g);
    this.layer.append(g);
  }

  /* ---- filter, isolate, zoom ---- */

  isolateGroups(groups) {
    const key = groups.length && this.m.groups[groups[0]] ? this.keyOf(this.m.groups[groups[0]]) : null;
    if (this.nodes?.has(key)) this.isolate(key);
  }
  isolate(key) {
    this.isolated = key;
    this.emphasize();
    this.showPanel();
  }
  emphasize() {
    const near = new Set();
    if (this.isolated) {
      near.add(this.isolated);
      for (const e of this.edges) if (e.from === this.isolated || e.to === this.isolated) near.add(e.from).add(e.to);
    }
    const shown = (n) => (!this.isolated || near.has(n.key)) && (!this.term || (n.label + " " + n.pids.join(" ")).toLowerCase().includes(this.term));
    for (const [key, el] of this.nodeEls) {
      el.classList.toggle("dim", !shown(this.nodes.get(key)));
      el.classList.toggle("picked", key === this.isolated);
    }
    for (const e of this.edges) {
      const on = this.isolated ? e.from === this.isolated || e.to === this.isolated : !this.term || shown(this.nodes.get(e.from)) || shown(this.nodes.get(e.to));
      this.edgeEls.get(e.key).classList.toggle("dim", !on);
    }
  }
  showPanel() {
    const n = this.isolated && this.nodes.get(this.isolated), m = this.m;
    clear(this.panel);
    if (!n) return;
    const list = (title, edges, other) => edges.length ? [h("h4", {}, title), h("ul", {}, edges.slice(0, 6).map((e) => {
      const o = this.nodes.get(e[other]);
      return h("li", {}, `${o.label} ${o.sub}`, h("span", { class: "num" }, percent(e.blocked / m.meta.wall)));
    }))] : [];
    this.panel.append(h("h3", {}, `${n.label} ${n.sub}`),
      h("p", {}, this.slices(n).map((x) => h("span", { class: "key" }, h("i", { class: "bg-" + x.f }), `${x.text} ${percent(x.share)}`))),
      ...list("Waits for", this.edges.filter((e) => e.from === n.key), "to"), ...list("Keeps waiting", this.edges.filter((e) => e.to === n.key), "from"),
      n.groups.length ? h("p", {}, h("button", { type: "button", onclick: () => this.state.openStacks(n.groups, "wall") }, "Show its stacks"),
        h("button", { type: "button", onclick: () => this.isolate(null) }, "Show all")) : null);
  }

  scale(k) {
    this.zoom.scaleBy(d3select(this.svg), k);
  }
  fit() {
    const w = this.svg.clientWidth, hgt = this.svg.clientHeight, all = [...(this.nodes?.values() || [])];
    if (!w || !all.length) return;
    const pad = 64, x0 = Math.min(...all.map((n) => n.x)) - pad, x1 = Math.max(...all.map((n) => n.x)) + pad;
    const y0 = Math.min(...all.map((n) => n.y)) - pad, y1 = Math.max(...all.map((n) => n.y)) + pad + 14;
    const k = Math.min(1.35, w / (x1 - x0), hgt / (y1 - y0));
    this.zoom.transform(d3select(this.svg), zoomIdentity.translate(w / 2 - (k * (x0 + x1)) / 2, hgt / 2 - (k * (y0 + y1)) / 2).scale(k));
  }
}
