// The flame graph: one canvas, drawn from a FlameTree. Only boxes wider than half a pixel are visited, so a redraw costs what is seen.
import { clear, h, hideTip, segmented, select, showTip } from "./dom.js";
import { basename, fine, ns, percent } from "./format.js";
import { FlameTree, classOfKey, diffPaths, flamePaths, groupOfKey, isClassKey, isGroupKey, isWakerKey, wakerOfKey } from "./flametree.js";
import { hotOf } from "./model.js";
import { color, onTheme } from "./theme.js";

const ROW = 19, MIN_WIDTH = 0.5;

export function flameView(m, state) {
  const view = new FlameView(m);
  state.showStacks = (groups, what) => view.show(groups, what);
  return view;
}

class FlameView {
  constructor(m) {
    this.m = m;
    this.trees = new Map();
    this.what = m.hot.n ? "wall" : "wall";
    this.group = "all";
    this.family = "all";
    this.inverted = false;
    this.up = false;
    this.colour = "kind";
    this.term = "";
    this.boxes = [];
  }

  render(el) {
    const m = this.m;
    const kinds = [
      ["wall", "Wall time", "on-CPU and waiting together"], ["cpu", "On-CPU", "where processes compute"], ["wait", "Off-CPU", "where processes wait"],
      ["chain", "Off-CPU + waker", "waits, with the stack of who ended them on top"],
    ];
    if (m.base) kinds.push(["diff", "Difference", "red: more time than in the base profile; blue: less"]);
    this.kindButtons = segmented("Kind of time", kinds, this.what, (v) => this.set("what", v));
    const groups = [["all", "All processes"], ...m.groups.filter((g) => g.tree).map((g) => [g.i, m.groupLabel(g.i)])];
    this.groupSelect = select("Process", groups, this.group, (v) => this.set("group", v));
    const families = [...new Set([...m.hot.cls].filter((c) => c).map((c) => c))].sort((a, b) => a - b);
    this.familySelect = select("Wait class", [["all", "All wait classes"], ...families.map((c) => [c, m.className(c)])], this.family, (v) => this.set("family", v));
    this.colourSelect = select("Colour by", [["kind", "Colour: kind of time"], ["language", "Colour: language"], ["module", "Colour: module"]], this.colour,
      (v) => this.set("colour", v));
    this.search = h("input", { type: "search", placeholder: "Search functions, files, modules  ( / )", "aria-label": "Search frames", spellcheck: "false",
      oninput: () => this.setTerm(this.search.value) });
    this.found = h("output", { class: "found", "aria-live": "polite" });
    this.invertButton = h("button", { type: "button", "aria-pressed": "false", title: "Callees first: start from where time is spent",
      onclick: () => this.toggle("inverted", this.invertButton) }, "Inverted");
    this.upButton = h("button", { type: "button", "aria-pressed": "false", title: "Root at the bottom, as classic flame graphs draw it",
      onclick: () => this.toggle("up", this.upButton) }, "Root at bottom");
    this.resetButton = h("button", { type: "button", onclick: () => this.zoomTo(this.tree.root) }, "Reset zoom");
    this.canvas = h("canvas", { class: "flame", tabindex: "0", role: "application", "aria-label": "Flame graph. Arrow keys move between frames, Enter zooms, Escape resets.",
      "aria-describedby": "flame-detail" });
    this.detail = h("p", { id: "flame-detail", class: "detail", "aria-live": "polite" }, "\u00a0");
    this.legend = h("p", { class: "legend" });
    this.listen();
    el.append(
      h("div", { class: "controls" }, this.kindButtons, this.groupSelect, this.familySelect, this.colourSelect),
      h("div", { class: "controls" }, this.search, this.found, this.invertButton, this.upButton, this.resetButton),
      h("div", { class: "flame-box" }, this.canvas), this.detail, this.legend);
    onTheme(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
    this.rebuild();
  }

  set(name, value) {
    this[name] = value;
    this.rebuild();
  }
  toggle(name, button) {
    this[name] = !this[name];
    button.setAttribute("aria-pressed", String(this[name]));
    this.rebuild();
  }

  // From elsewhere on the page: the stacks of these groups.
  show(groups, what) {
    this.group = groups.length === 1 ? String(groups[0]) : "all";
    this.what = what;
    if (this.groupSelect) {
      this.groupSelect.value = this.group;
      this.kindButtons.pick(what);
    }
  }

  get options() {
    const m = this.m, cls = this.family === "all" ? null : Number(this.family);
    const classes = this.what === "cpu" ? new Set([0])
      : cls !== null ? new Set(this.what === "wall" || this.what === "diff" ? [0, cls] : [cls])
      : this.what === "wait" || this.what === "chain" ? new Set(m.classes.keys()) : null;
    if (classes && this.what !== "cpu" && this.what !== "wall" && this.what !== "diff") classes.delete(0);
    return { groups: this.group === "all" ? null : new Set([Number(this.group)]), classes, byProcess: this.group === "all", inverted: this.inverted && this.what !== "chain",
      chain: this.what === "chain" };
  }

  rebuild() {
    const key = [this.what, this.group, this.family, this.inverted].join();
    if (!this.trees.has(key)) {
      if (this.trees.size > 8) this.trees.clear();
      this.trees.set(key, new FlameTree(this.what === "diff" ? this.diffPaths() : flamePaths(this.m, this.options)));
    }
    this.tree = this.trees.get(key);
    this.focus = this.tree.root;
    this.current = null;
    this.setTerm(this.term);
    this.draw();
  }

  diffPaths() {
    const m = this.m;
    this.baseHot ||= hotOf(m.raw.base_hot);
    const byComm = new Map(m.groups.map((g) => [g.comm, g.i]));
    return diffPaths(m, this.baseHot, (g) => byComm.get(m.str(m.raw.base_groups[g])) ?? -1, this.options);
  }

  /* ---- what a box says ---- */

  label(key) {
    const m = this.m;
    if (key === null) return this.group === "all" ? "all processes" : m.groupLabel(Number(this.group));
    if (isGroupKey(key)) return groupOfKey(key) < 0 ? "(only in base)" : m.groupLabel(groupOfKey(key));
    if (isClassKey(key)) return "[" + m.className(classOfKey(key)) + "]";
    if (isWakerKey(key)) return "woken by " + m.groupLabel(wakerOfKey(key));
    return m.str(m.frames.fn[m.frames.symFrame[key]]);
  }
  whereOf(key) {
    const m = this.m;
    if (key === null || key < 0) return "";
    const f = m.frames.symFrame[key], file = m.str(m.frames.file[f]), mod = m.str(m.frames.module[f]);
    return [file, basename(mod), m.languages[m.frames.lang[f]]].filter(Boolean).join(" · ");
  }
  shareText(node) {
    const total = this.tree.root.value || 1;
    const t = `${ns(node.value)} · ${fine(node.value / total)} of ${this.group === "all" ? "all" : "it"} · ${percent(node.value / this.m.meta.wall)} of the run`;
    if (this.what !== "diff") return t;
    const a = node.value / total, b = node.base / (this.tree.root.base || 1);
    return `${t} · base: ${ns(node.base)} (${fine(b)}), ${a >= b ? "+" : "−"}${fine(Math.abs(a - b))}`;
  }

  fillOf(node) {
    const m = this.m, key = node.key;
    if (this.what === "diff") return this.diffFill(node);
    if (key === null) return color("--flame-root");
    if (isGroupKey(key)) return color("--flame-group");
    if (isWakerKey(key)) return color("--flame-waker");
    if (isClassKey(key)) return color("--w-" + m.family(classOfKey(key)));
    const f = m.frames.symFrame[key];
    if (this.colour === "language") return color("--lang-" + m.languages[m.frames.lang[f]]);
    if (this.colour === "module") return color("--m" + (m.frames.module[f] % 8));
    return m.frames.isKernel(f) ? color("--flame-kernel") : this.kindFill(node);
  }
  // The kind of time that most of the box is: an on-CPU box is warm, a waiting one has its class's colour, thinned.
  kindFill(node) {
    if (node.fill !== undefined) return color(node.fill);
    const { keys, start, value } = this.tree.paths, sums = new Map();
    let best = 0, top = 0;
    const step = Math.max(1, Math.floor((node.to - node.from) / 400)); // a colour may rest on a part of the rows
    for (let i = node.from; i < node.to; i += step) {
      const r = this.tree.order[i];
      for (let k = start[r]; k < start[r + 1]; k++)
        if (isClassKey(keys[k])) {
          const c = classOfKey(keys[k]), sum = (sums.get(c) || 0) + value[r];
          sums.set(c, sum);
          if (sum > top) [top, best] = [sum, c];
          break;
        }
    }
    node.fill = "--f-" + this.m.family(best);
    return color(node.fill);
  }
  diffFill(node) {
    const a = node.value / (this.tree.root.value || 1), b = node.base / (this.tree.root.base || 1), d = a - b;
    const strength = Math.min(1, Math.abs(d) / Math.max(0.02, Math.max(a, b)) );
    if (node.key === null || strength < 0.03) return color("--diff-none");
    return `color-mix(in srgb, ${color(d > 0 ? "--diff-more" : "--diff-less")} ${Math.round(20 + 80 * strength)}%, ${color("--diff-none")})`;
  }

  /* ---- drawing ---- */

  draw() {
    const box = this.canvas?.parentElement;
    if (!box || !box.clientWidth) return;
    const width = box.clientWidth, scale = devicePixelRatio || 1;
    this.layout(width);
    const height = (this.levels + 1) * ROW;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.setProperty("height", height + "px");
      this.canvas.style.setProperty("width", width + "px");
    }
    const c = this.canvas.getContext("2d");
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, width, height);
    c.font = "12px " + color("--mono");
    c.textBaseline = "middle";
    for (const b of this.boxes) this.drawBox(c, b, height);
    this.drawLegend();
    this.resetButton.disabled = this.focus === this.tree.root;
  }

  // Boxes of the focus, its ancestors (full width), and what lies under it.
  layout(width) {
    this.boxes = [];
    this.levels = 0;
    const chain = [];
    for (let n = this.focus; n; n = n.parent) chain.unshift(n);
    chain.forEach((n, level) => this.boxes.push({ node: n, x: 0, w: width, level, faded: n !== this.focus }));
    if (!this.valueOf(this.focus)) return;
    const stack = [{ node: this.focus, x: 0, w: width, level: chain.length - 1 }];
    while (stack.length) {
      const p = stack.pop(), perNs = p.w / this.valueOf(p.node);
      let x = p.x;
      for (const kid of this.tree.children(p.node)) {
        const w = this.valueOf(kid) * perNs;
        if (w < MIN_WIDTH) break; // the rest is narrower
        const b = { node: kid, x, w, level: p.level + 1, faded: false };
        this.boxes.push(b);
        if (b.level > this.levels) this.levels = b.level;
        stack.push(b);
        x += w;
      }
    }
    this.levels = Math.max(this.levels, chain.length - 1);
  }
  valueOf(node) {
    return this.what === "diff" ? Math.max(node.value, node.base) : node.value;
  }
  top(b, height) {
    return this.up ? height - (b.level + 1) * ROW : b.level * ROW;
  }

  drawBox(c, b, height) {
    const y = this.top(b, height), hit = this.matches && b.node.key !== null && this.matches(b.node.key);
    c.globalAlpha = b.faded ? 0.55 : 1;
    c.fillStyle = hit ? color("--hit") : this.fillOf(b.node);
    c.fillRect(b.x, y, Math.max(0.4, b.w - (b.w > 3 ? 0.7 : 0)), ROW - 1);
    c.globalAlpha = 1;
    if (b.node === this.current) {
      c.strokeStyle = color("--focus");
      c.lineWidth = 2;
      c.strokeRect(b.x + 1, y + 1, Math.max(1, b.w - 2), ROW - 3);
    }
    if (b.w < 26) return;
    const dark = hit || this.lightInk(b.node);
    c.fillStyle = hit ? color("--hit-ink") : color(dark ? "--ink-strong" : "--ink-flame");
    const room = b.w - 8, text = this.label(b.node.key), per = 7.25;
    const cut = text.length * per <= room ? text : text.slice(0, Math.max(1, Math.floor(room / per) - 1)) + "…";
    c.fillText(cut, b.x + 4, y + ROW / 2);
  }
  lightInk(node) {
    return node.key !== null && isClassKey(node.key) && this.what !== "diff";
  }

  drawLegend() {
    const m = this.m, item = (fill, text) => h("span", { class: "key" }, h("i", { style: { background: fill } }), text);
    clear(this.legend);
    if (this.what === "diff") this.legend.append(item(color("--diff-more"), "more than in the base"), item(color("--diff-less"), "less"), item(color("--diff-none"), "the same"));
    else if (this.colour === "language") this.legend.append(...m.languages.map((l) => item(color("--lang-" + l), l)));
    else if (this.colour === "kind") {
      const seen = new Map();
      for (const b of this.boxes) if (b.node.key !== null && isClassKey(b.node.key)) seen.set(m.family(classOfKey(b.node.key)), m.className(classOfKey(b.node.key)));
      this.legend.append(...[...seen].map(([f]) => item(color("--w-" + f), f === "cpu" ? "on-CPU" : f)), item(color("--flame-kernel"), "kernel code"));
    }
    if (!this.tree.root.value) this.legend.append("No such time was recorded here.");
  }

  /* ---- search ---- */

  setTerm(term) {
    this.term = term;
    const t = term.trim().toLowerCase();
    if (!t) {
      this.matches = null;
      this.found.textContent = "";
      this.draw();
      return;
    }
    const m = this.m, memo = new Map();
    this.matches = (key) => {
      let v = memo.get(key);
      if (v === undefined) memo.set(key, (v = this.matchesKey(key, t)));
      return v;
    };
    const sum = this.tree.search(this.matches), total = this.tree.root.value || 1;
    this.found.textContent = sum ? `found in ${ns(sum)} = ${fine(sum / total)}` : "not found";
    this.draw();
    return m;
  }
  matchesKey(key, t) {
    const m = this.m;
    if (this.label(key).toLowerCase().includes(t)) return true;
    if (key < 0) return false;
    const f = m.frames.symFrame[key];
    return m.str(m.frames.file[f]).toLowerCase().includes(t) || m.str(m.frames.module[f]).toLowerCase().includes(t);
  }

  /* ---- pointer and keys ---- */

  at(event) {
    const r = this.canvas.getBoundingClientRect(), x = event.clientX - r.left, y = event.clientY - r.top;
    const level = this.up ? Math.floor((r.height - y) / ROW) : Math.floor(y / ROW);
    return this.boxes.find((b) => b.level === level && x >= b.x && x < b.x + Math.max(b.w, 1));
  }
  select(node) {
    this.current = node;
    this.detail.textContent = node ? `${this.label(node.key)} — ${this.shareText(node)}` : "\u00a0";
    this.draw();
  }
  zoomTo(node) {
    this.focus = node;
    this.select(node);
  }

  listen() {
    const c = this.canvas;
    c.addEventListener("mousemove", (e) => {
      const b = this.at(e);
      c.style.setProperty("cursor", b ? "pointer" : "default");
      if (b) showTip(e.clientX, e.clientY, this.label(b.node.key), this.whereOf(b.node.key), this.shareText(b.node));
      else hideTip();
    });
    c.addEventListener("mouseleave", hideTip);
    c.addEventListener("click", (e) => {
      const b = this.at(e);
      if (b) this.zoomTo(b.node);
    });
    c.addEventListener("focus", () => this.current || this.select(this.focus));
    c.addEventListener("keydown", (e) => this.key(e));
  }
  key(e) {
    const n = this.current || this.focus, kids = () => this.tree.children(n).filter((k) => this.boxes.some((b) => b.node === k));
    const down = this.up ? "ArrowUp" : "ArrowDown", up = this.up ? "ArrowDown" : "ArrowUp";
    if (e.key === down && kids().length) this.select(kids()[0]);
    else if (e.key === up && n.parent) this.select(n.parent);
    else if ((e.key === "ArrowLeft" || e.key === "ArrowRight") && n.parent) {
      const row = this.tree.children(n.parent), to = row[row.indexOf(n) + (e.key === "ArrowRight" ? 1 : -1)];
      if (to && this.boxes.some((b) => b.node === to)) this.select(to);
    } else if (e.key === "Enter" || e.key === " ") this.zoomTo(n);
    else if (e.key === "Escape") this.zoomTo(this.tree.root);
    else return;
    e.preventDefault();
  }
}
