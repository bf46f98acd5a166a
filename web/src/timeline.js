// The timeline. Above: the whole run, a lane per process, each column split into running, runnable, blocked (by class) and idle.
// Below: the excerpts, in which every single wait was kept: a lane per thread, arrows from waker to woken, and the critical path,
// so that taking turns is visible as such.
import { h, hideTip, segmented, showTip } from "./dom.js";
import { ns, percent } from "./format.js";
import { color, onTheme } from "./theme.js";

const LANE = 26, GAP = 6, LABEL = 170, LANES_SHOWN = 24;

export function timelineView(m, state) {
  const run = new RunLanes(m), excerpt = m.trace.length ? new Excerpt(m, state) : null;
  return {
    render(el) {
      el.append(h("h3", {}, "The whole run"));
      run.render(el);
      if (excerpt) excerpt.render(el);
      else el.append(h("p", { class: "note" }, "This profile keeps no excerpt of single waits: only the exact (kernel) backend records them."));
      criticalTable(m, el);
    },
    excerpt, run,
  };
}

// A canvas of labelled lanes with a horizontal axis that zooms: wheel with Ctrl or the buttons, drag to move, arrow keys.
class Lanes {
  constructor(label) {
    this.label = label;
    this.from = 0;
    this.to = 1;
  }
  mount(el, extra) {
    this.canvas = h("canvas", { class: "lanes", tabindex: "0", role: "application", "aria-label": this.label + ". Plus and minus zoom, arrow keys move, 0 resets." });
    const button = (text, label, fn) => h("button", { type: "button", "aria-label": label, title: label, onclick: fn }, text);
    this.range = h("output", { class: "found" });
    el.append(h("div", { class: "controls" }, extra, button("−", "Zoom out", () => this.zoom(1.6)), button("+", "Zoom in", () => this.zoom(0.6)),
      button("Reset", "Reset the zoom", () => this.show(this.least, this.most)), this.range), h("div", { class: "lanes-box" }, this.canvas));
    onTheme(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
    this.listen();
  }
  listen() {
    const c = this.canvas;
    let drag = null;
    c.addEventListener("wheel", (e) => {
      if (!e.ctrlKey && !e.shiftKey) return;
      e.preventDefault();
      this.zoom(e.deltaY > 0 ? 1.25 : 0.8, this.timeAt(e));
    }, { passive: false });
    c.addEventListener("pointerdown", (e) => {
      drag = { x: e.clientX, from: this.from, to: this.to };
      c.setPointerCapture(e.pointerId);
    });
    c.addEventListener("pointerup", () => (drag = null));
    c.addEventListener("pointermove", (e) => {
      if (drag) {
        const d = ((drag.x - e.clientX) / (this.width - LABEL)) * (drag.to - drag.from);
        this.show(drag.from + d, drag.to + d);
      } else this.hover(e);
    });
    c.addEventListener("pointerleave", hideTip);
    c.addEventListener("keydown", (e) => {
      const span = this.to - this.from;
      if (e.key === "+" || e.key === "=") this.zoom(0.6);
      else if (e.key === "-") this.zoom(1.6);
      else if (e.key === "ArrowLeft") this.show(this.from - span / 5, this.to - span / 5);
      else if (e.key === "ArrowRight") this.show(this.from + span / 5, this.to + span / 5);
      else if (e.key === "0" || e.key === "Escape") this.show(this.least, this.most);
      else return;
      e.preventDefault();
    });
  }
  timeAt(e) {
    const r = this.canvas.getBoundingClientRect();
    return this.from + (Math.max(0, e.clientX - r.left - LABEL) / (this.width - LABEL)) * (this.to - this.from);
  }
  laneAt(e) {
    return Math.floor((e.clientY - this.canvas.getBoundingClientRect().top) / (LANE + GAP));
  }
  zoom(k, at = (this.from + this.to) / 2) {
    this.show(at - (at - this.from) * k, at + (this.to - at) * k);
  }
  show(from, to) {
    const all = this.most - this.least, span = Math.min(all, Math.max(to - from, all / 1e5));
    this.from = Math.max(this.least, Math.min(from, this.most - span));
    this.to = this.from + span;
    this.draw();
  }
  x(t) {
    return LABEL + ((t - this.from) / (this.to - this.from)) * (this.width - LABEL);
  }
  begin(lanes) {
    const box = this.canvas?.parentElement;
    this.width = box ? box.clientWidth : 0;
    if (!this.width) return null;
    const scale = devicePixelRatio || 1, height = lanes * (LANE + GAP) + 22;
    this.canvas.width = Math.round(this.width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.style.setProperty("height", height + "px");
    const c = this.canvas.getContext("2d");
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.font = "12px " + color("--sans");
    c.textBaseline = "middle";
    this.range.textContent = `${ns(this.from - this.least)} – ${ns(this.to - this.least)}`;
    return c;
  }
  name(c, lane, text) {
    const cut = text.length > 25 ? text.slice(0, 24) + "…" : text;
    c.fillStyle = color("--ink");
    c.fillText(cut, 2, lane * (LANE + GAP) + LANE / 2);
  }
  axis(c, lanes) {
    const span = this.to - this.from, raw = span / Math.max(2, (this.width - LABEL) / 110), p = 10 ** Math.floor(Math.log10(raw));
    const step = p * (raw / p > 5 ? 10 : raw / p > 2 ? 5 : raw / p > 1 ? 2 : 1), y = lanes * (LANE + GAP);
    c.fillStyle = color("--ink-soft");
    c.strokeStyle = color("--line");
    for (let t = Math.ceil((this.from - this.least) / step) * step; t <= this.to - this.least; t += step) {
      const x = this.x(t + this.least);
      c.beginPath();
      c.moveTo(x, 0);
      c.lineTo(x, y);
      c.stroke();
      c.fillText(ns(t), Math.min(x + 2, this.width - 44), y + 10);
    }
  }
}

class RunLanes extends Lanes {
  constructor(m) {
    super("Timeline of the whole run");
    this.m = m;
    this.least = 0;
    this.most = Math.max(1, m.raw.timeline.n * m.raw.timeline.step);
    this.to = this.most;
    this.all = false;
  }
  render(el) {
    const n = this.m.raw.timeline.lanes.length;
    if (!n) return el.append(h("p", { class: "note" }, "This profile has no timeline."));
    const more = n > LANES_SHOWN && h("button", { type: "button", onclick: () => { this.all = !this.all; more.textContent = this.all ? "Fewer lanes" : `All ${n} lanes`; this.draw(); } }, `All ${n} lanes`);
    this.mount(el, more || null);
    this.draw();
  }
  lanes() {
    return this.all ? this.m.raw.timeline.lanes : this.m.raw.timeline.lanes.slice(0, LANES_SHOWN);
  }
  // Shares of a cell, at most 1 in all: a process of many threads is scaled to its fullest column.
  cell(lane, i) {
    const [cpu, queue, blocked, cls] = lane[1].slice(i * 4, i * 4 + 4);
    return { cpu: cpu / 1000, queue: queue / 1000, blocked: blocked / 1000, cls };
  }
  most1(lane) {
    lane.most ??= Math.max(1, ...Array.from({ length: this.m.raw.timeline.n }, (_, i) => { const x = this.cell(lane, i); return x.cpu + x.queue + x.blocked; }));
    return lane.most;
  }
  draw() {
    const lanes = this.lanes(), c = this.begin(lanes.length), step = this.m.raw.timeline.step;
    if (!c) return;
    this.axis(c, lanes.length);
    lanes.forEach((lane, k) => {
      const y = k * (LANE + GAP), most = this.most1(lane);
      c.fillStyle = color("--w-idle");
      c.fillRect(LABEL, y, this.width - LABEL, LANE);
      const i0 = Math.floor(this.from / step), i1 = Math.min(this.m.raw.timeline.n, Math.ceil(this.to / step));
      for (let i = i0; i < i1; i++) {
        const q = this.cell(lane, i), x0 = Math.max(LABEL, this.x(i * step)), x1 = Math.min(this.width, this.x((i + 1) * step));
        let top = y + LANE;
        for (const [f, v] of [["cpu", q.cpu], ["queue", q.queue], [this.m.family(q.cls), q.blocked]]) {
          const hgt = (v / most) * LANE;
          if (hgt < 0.2) continue;
          top -= hgt;
          c.fillStyle = color("--w-" + f);
          c.fillRect(x0, top, Math.max(0.6, x1 - x0 + 0.3), hgt);
        }
      }
      this.name(c, k, this.m.groupLabel(lane[0]));
    });
  }
  hover(e) {
    const lane = this.lanes()[this.laneAt(e)], i = Math.floor(this.timeAt(e) / this.m.raw.timeline.step);
    if (!lane || i < 0 || i >= this.m.raw.timeline.n) return hideTip();
    const q = this.cell(lane, i);
    showTip(e.clientX, e.clientY, `${this.m.groupLabel(lane[0])} at ${ns(i * this.m.raw.timeline.step)}`, `on-CPU ${percent(q.cpu)}, runnable ${percent(q.queue)}`,
      `blocked ${percent(q.blocked)}${q.blocked ? ", mostly " + this.m.className(q.cls) : ""}`);
  }
}

const RUNNING = "cpu", RUNNABLE = "queue";

class Excerpt extends Lanes {
  constructor(m, state) {
    super("Excerpt of single waits");
    this.m = m;
    this.state = state;
    this.windows = [...new Set(m.trace.map((t) => t.window))].sort((a, b) => a - b);
    this.pick(this.windows[0]);
  }
  pick(window) {
    const rows = this.m.trace.filter((t) => t.window === window), byTid = new Map();
    for (const t of rows) (byTid.get(t.tid) || byTid.set(t.tid, []).get(t.tid)).push(t);
    this.threads = [...byTid].map(([tid, waits]) => ({ tid, group: waits[0].group, pid: waits[0].pid, waits: waits.sort((a, b) => a.out - b.out) }));
    this.threads.sort((a, b) => b.waits.length - a.waits.length || a.tid - b.tid);
    this.threads.splice(LANES_SHOWN);
    this.lane = new Map(this.threads.map((t, i) => [t.tid, i]));
    this.least = Math.min(...rows.map((t) => t.out));
    this.most = Math.max(...rows.map((t) => t.run)) + 1;
    this.path = criticalPath(this.threads, this.least, this.most);
    // a first look at some dozens of waits: all of them would be a blur
    const busiest = this.threads[0].waits, mid = busiest.length >> 1, many = busiest.length > 40;
    this.from = many ? busiest[mid - 12].out : this.least;
    this.to = many ? busiest[mid + 12].run : this.most;
  }
  render(el) {
    el.append(h("h3", {}, "Excerpt: every wait of a moment"),
      h("p", { class: "note" }, "Green: runs. Amber: runnable. Other colours: waits. Thin arrows: who woke whom. The line below the lanes' middle: the critical path, what the elapsed time was spent on."));
    const pickers = this.windows.length > 1
      ? segmented("Excerpt", this.windows.map((w, i) => [w, "Excerpt " + (i + 1)]), this.windows[0], (w) => { this.pick(w); this.draw(); }) : null;
    this.mount(el, pickers);
    this.draw();
  }
  // The segments of a thread that are in sight.
  *segments(t) {
    let from = this.least, last = null;
    for (const w of t.waits) {
      if (w.out > from && last) yield { f: RUNNING, from, to: w.out, after: last };
      if (w.wake > w.out) yield { f: this.m.family(w.cls), from: w.out, to: w.wake, wait: w };
      if (w.run > w.wake) yield { f: RUNNABLE, from: w.wake, to: w.run, wait: w, runnable: true };
      from = w.run;
      last = w;
    }
  }
  draw() {
    const c = this.begin(this.threads.length);
    if (!c) return;
    this.axis(c, this.threads.length);
    c.save();
    this.threads.forEach((t, k) => this.name(c, k, `${this.m.groups[t.group].comm} ${t.tid}`));
    c.beginPath();
    c.rect(LABEL, 0, this.width - LABEL, this.threads.length * (LANE + GAP));
    c.clip();
    this.threads.forEach((t, k) => {
      const y = k * (LANE + GAP);
      for (const q of this.segments(t)) {
        if (q.to < this.from || q.from > this.to) continue;
        const x0 = this.x(q.from), x1 = this.x(q.to), thin = q.f !== RUNNING;
        c.fillStyle = color("--w-" + q.f);
        c.fillRect(x0, y + (thin ? 6 : 0), Math.max(0.5, x1 - x0), LANE - (thin ? 12 : 0));
      }
    });
    if (this.visible() < 1500) this.arrows(c);
    this.drawPath(c);
    c.restore();
  }
  visible() {
    let n = 0;
    for (const t of this.threads) for (const w of t.waits) n += w.run >= this.from && w.out <= this.to ? 1 : 0;
    return n;
  }
  arrows(c) {
    c.strokeStyle = color("--arrow");
    c.fillStyle = color("--arrow");
    c.lineWidth = 1;
    for (const [k, t] of this.threads.entries())
      for (const w of t.waits) {
        const from = this.lane.get(w.waker);
        if (from === undefined || from === k || w.wake < this.from || w.wake > this.to) continue;
        const x = this.x(w.wake), y0 = from * (LANE + GAP) + (from < k ? LANE : 0), y1 = k * (LANE + GAP) + (from < k ? 0 : LANE), d = from < k ? -5 : 5;
        c.beginPath();
        c.moveTo(x, y0);
        c.lineTo(x, y1);
        c.stroke();
        c.beginPath();
        c.moveTo(x, y1);
        c.lineTo(x - 3, y1 + d);
        c.lineTo(x + 3, y1 + d);
        c.fill();
      }
  }
  drawPath(c) {
    c.strokeStyle = color("--critical");
    c.lineWidth = 3;
    c.lineJoin = "round";
    c.beginPath();
    let last = null;
    for (const p of this.path) {
      if (p.to < this.from || p.from > this.to) continue;
      const y = p.lane * (LANE + GAP) + LANE - 4, x0 = this.x(p.from), x1 = this.x(p.to);
      if (last !== null && last !== p.lane) c.lineTo(x0, y);
      else c.moveTo(x0, y);
      c.lineTo(x1, y);
      last = p.lane;
    }
    c.stroke();
  }
  hover(e) {
    const t = this.threads[this.laneAt(e)], at = this.timeAt(e);
    if (!t) return hideTip();
    for (const q of this.segments(t)) {
      if (at < q.from || at >= q.to) continue;
      const w = q.wait, m = this.m;
      const what = q.f === RUNNING ? "runs" : q.runnable ? "runnable, waits for a CPU" : m.className(w.cls);
      const waker = w && w.waker ? this.threads.find((x) => x.tid === w.waker) : null;
      return showTip(e.clientX, e.clientY, `${m.groups[t.group].comm} ${t.tid}: ${what}, ${ns(q.to - q.from)}`,
        w && m.channels.get(w.channel)?.name, waker ? `woken by ${m.groups[waker.group].comm} ${waker.tid}` : w && !q.runnable ? `ended by: ${m.raw.blame_kinds[w.end]}` : null,
        w?.bytes ? w.bytes + " bytes" : null, w && w.node ? topFrame(m, w.node) : null);
    }
    hideTip();
  }
}

function topFrame(m, node) {
  for (const f of m.stackOf(node)) if (m.frames.line[f] && !m.frames.isKernel(f) && !m.frames.libc[f]) return `at ${m.frameText(f).fn} (${m.frameText(f).where})`;
  return null;
}

// From the end backwards (Giraldeau & Dagenais): running and runnable time is the thread's own; a wait that somebody ended leads to that thread.
// Each step ends before it began, so it terminates.
export function criticalPath(threads, least, most) {
  const byTid = new Map(threads.map((t, i) => [t.tid, { ...t, lane: i }])), path = [];
  let cur = null, at = -1;
  for (const t of byTid.values()) {
    const end = t.waits[t.waits.length - 1].run;
    if (end > at) [cur, at] = [t, end];
  }
  for (let guard = 0; cur && at > least && guard < 100000; guard++) {
    const w = lastBefore(cur.waits, at);
    if (!w) break; // what it did before its first known wait is not told
    if (w.run < at) path.push({ lane: cur.lane, from: w.run, to: at });
    const to = Math.min(at, w.run);
    if (w.wake < to) path.push({ lane: cur.lane, from: w.wake, to, queue: true });
    const waker = byTid.get(w.waker);
    if (waker && waker !== cur && w.wake > w.out) {
      cur = waker;
      at = Math.min(to, w.wake);
      const next = lastBefore(cur.waits, at);
      if (next && next.run > at && next.out < at && next.wake > at) at = next.out; // a waker that was itself off the CPU: clipped
    } else {
      if (w.out < Math.min(to, w.wake)) path.push({ lane: cur.lane, from: w.out, to: Math.min(to, w.wake), wait: true });
      at = w.out;
    }
  }
  return path.filter((p) => p.to > p.from && p.to <= most + 1).reverse();
}

// The last wait that began before t.
function lastBefore(waits, t) {
  let lo = 0, hi = waits.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (waits[mid].out < t) lo = mid + 1;
    else hi = mid;
  }
  return lo ? waits[lo - 1] : null;
}

// The critical path of the analysed windows, summed.
function criticalTable(m, el) {
  if (!m.raw.critical.length) return;
  const rows = new Map();
  let total = 0;
  for (const [g, kind, cls, channel, , , v] of m.raw.critical) {
    const what = m.raw.blame_kinds[kind], key = [g, what, what === "run" || what === "run_queue" ? 0 : cls].join();
    const r = rows.get(key) || rows.set(key, { g, what, cls, channel, ns: 0 }).get(key);
    r.ns += v;
    total += v;
  }
  const list = [...rows.values()].sort((a, b) => b.ns - a.ns).slice(0, 12), most = list[0].ns;
  const text = (r) => (r.what === "run" ? "runs" : r.what === "run_queue" ? "waits for a CPU" : r.cls ? `waits (${m.className(r.cls)}): ${r.what}` : r.what);
  el.append(h("h3", {}, "The critical path of the analysed part"), h("p", { class: "note" }, "What the elapsed time was spent on: shorten these, and the run gets shorter."),
    h("table", { class: "bars" }, h("caption", { class: "offscreen" }, "Critical path by process and kind"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "process"), h("th", { scope: "col" }, "what"), h("th", { scope: "col", class: "num" }, "share"), h("th", { scope: "col" }, h("span", { class: "offscreen" }, "bar")))),
      h("tbody", {}, list.map((r) => h("tr", {}, h("td", {}, r.g < 0 ? "(another)" : m.groupLabel(r.g)), h("td", {}, text(r)), h("td", { class: "num" }, percent(r.ns / (total || 1))),
        h("td", { class: "bar-cell" }, h("span", { class: "bar bg-" + (r.what === "run" ? "cpu" : r.what === "run_queue" ? "queue" : m.family(r.cls)), style: { width: (100 * r.ns) / most + "%" } })))))));
}
