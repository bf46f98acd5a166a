// The profile as the views use it. In: the JSON of report/page*.c (arrays in the order that stands there); out: objects and typed arrays.
import { basename } from "./format.js";

const LANG_KERNEL = 1;

// Kinds of waits by family: what a colour stands for, in every view and in both themes (page.css: --w-*).
const FAMILY = {
  on_cpu: "cpu", run_queue: "queue", pipe_read: "pipe", pipe_write: "pipe", unix_read: "unix", unix_write: "unix", tcp_read: "tcp",
  tcp_write: "tcp", tcp_connect: "tcp", accept: "tcp", poll: "poll", futex: "futex", lock: "lock", gil: "lock", sleep: "sleep",
  child: "child", file_io: "disk", page_fault: "disk", ipc_queue: "ipc", signal: "other", stopped: "other", other: "other",
};
export const FAMILIES = [
  ["cpu", "on-CPU"], ["queue", "run-queue"], ["pipe", "pipe"], ["unix", "unix socket"], ["tcp", "tcp"], ["poll", "poll"], ["futex", "futex"],
  ["lock", "lock"], ["sleep", "sleep"], ["child", "child"], ["disk", "disk"], ["ipc", "ipc queue"], ["other", "other"], ["lost", "lost"], ["idle", "idle"],
];

export function loadModel(raw) {
  const m = { raw, meta: raw.meta, base: raw.base, summary: raw.summary, classes: raw.classes, languages: raw.languages };
  m.str = (i) => raw.strings[i];
  m.family = (cls) => (cls === 0 ? "cpu" : FAMILY[raw.classes[cls]] || "other");
  m.className = (cls) => (cls === 0 ? "on-CPU" : raw.classes[cls]);
  m.groups = raw.groups.map((g, i) => groupOf(g, i));
  m.channels = new Map(raw.channels.map(([id, kind, name, capacity, remote, ends]) =>
    [id, { id, kind: m.str(kind), name: m.str(name), capacity, remote: !!remote, ends }]));
  m.edges = raw.edges.map((e, i) => ({
    i, waiter: e[0], waker: e[1], cls: e[2], channel: e[3], channels: e[4], count: e[5], blocked: e[6], queue: e[7], irq: e[8], p50: e[9], p99: e[10],
    bytes50: e[11], bytes99: e[12], conf: e[13], est: !!e[14], name: m.str(e[15]), waiterNode: e[16], wakerNode: e[17], idle: !!e[18],
  }));
  m.waits = raw.waits.map((w) => ({
    group: w[0], pid: w[1], cls: w[2], channel: w[3], count: w[4], blocked: w[5], idle: w[6], queue: w[7], p50: w[8], p99: w[9], left: w[10], est: !!w[11],
  }));
  m.findings = raw.findings;
  m.parent = Uint32Array.from(raw.nodes.parent);
  m.frame = Int32Array.from(raw.nodes.frame);
  m.depth = new Uint32Array(m.parent.length);
  for (let i = 1; i < m.parent.length; i++) m.depth[i] = m.depth[m.parent[i]] + 1;
  m.frames = framesOf(raw);
  m.hot = hotOf(raw.hot);
  m.trace = raw.trace.map((t) => ({
    window: t[0], group: t[1], pid: t[2], tid: t[3], cls: t[4], end: t[5], waker: t[6], channel: t[7], node: t[8], bytes: t[9], out: t[10], wake: t[11], run: t[12],
  }));
  m.lockstepPairs = pairsOf(m);
  m.frameText = (f) => {
    const file = m.str(m.frames.file[f]), line = m.frames.line[f];
    return { fn: m.str(m.frames.fn[f]), where: file ? basename(file) + (line ? ":" + line : "") : basename(m.str(m.frames.module[f])), file, line };
  };
  // Leaf first.
  m.stackOf = (node) => {
    const out = [];
    for (let n = node; n; n = m.parent[n]) out.push(m.frame[n]);
    return out;
  };
  m.groupLabel = (g) => (g < 0 ? "(nobody known)" : m.groups[g].n > 1 ? m.groups[g].name : `${m.groups[g].name} (${m.groups[g].pid})`);
  return m;
}

function groupOf(g, i) {
  let blockedSum = 0;
  for (const v of Object.values(g.blocked)) blockedSum += v;
  return { ...g, i, pid: g.pids[0], tree: !!g.tree, est: !!g.est, blockedSum };
}

// One symbol per function of a module: frames differ by line, boxes of a flame graph do not.
function framesOf(raw) {
  const n = raw.frames.length / 5, f = { n, fn: [], file: [], line: [], module: [], lang: [], libc: [], sym: new Int32Array(n), symFrame: [] };
  const syms = new Map();
  for (let i = 0; i < n; i++) {
    const [fn, file, line, module, lang] = raw.frames.slice(i * 5, i * 5 + 5);
    f.fn.push(fn); f.file.push(file); f.line.push(line); f.module.push(module); f.lang.push(lang & 15); f.libc.push(lang >= 16);
    const key = fn + "," + module + "," + lang;
    let sym = syms.get(key);
    if (sym === undefined) {
      syms.set(key, (sym = f.symFrame.length));
      f.symFrame.push(i);
    }
    f.sym[i] = sym;
  }
  f.isKernel = (i) => f.lang[i] === LANG_KERNEL;
  return f;
}

function hotOf(rows) {
  const n = rows.length;
  const hot = { n, group: new Int32Array(n), cls: new Uint8Array(n), node: new Uint32Array(n), ns: new Float64Array(n), count: new Float64Array(n) };
  rows.forEach(([group, cls, node, ns, count], i) => {
    hot.group[i] = group; hot.cls[i] = cls; hot.node[i] = node; hot.ns[i] = ns; hot.count[i] = count;
  });
  return hot;
}
export { hotOf };

// Pairs of groups that a lockstep finding names: the map and the timeline set them apart.
function pairsOf(m) {
  const set = new Set();
  for (const f of m.findings) {
    if (f.kind !== "lockstep") continue;
    for (const a of f.groups) for (const b of f.groups) if (a !== b) set.add(a + ":" + b);
  }
  return set;
}
