// Flame trees, built as far as they are looked at. In: weighted paths; out: nodes whose children are worked out on demand.
//
// A tree over fifty thousand stacks has millions of nodes, of which a screen shows some hundreds. So a node is a range of rows that share
// their first `depth` keys; asking for its children partitions that range by the next key. Every view (callers, callees, waits with
// their waker's stack) is only another set of paths.

// Keys: symbols are >= 0; what stands beside the program's own frames is negative.
const KIND = 1 << 20;
export const groupKey = (g) => -1 - g; // a process
export const classKey = (cls) => -1 - KIND - cls; // how time passed
export const wakerKey = (g) => -1 - 2 * KIND - (g + 1); // who ended the wait
export const isGroupKey = (k) => k < 0 && k > -1 - KIND;
export const isClassKey = (k) => k <= -1 - KIND && k > -1 - 2 * KIND;
export const isWakerKey = (k) => k <= -1 - 2 * KIND;
export const groupOfKey = (k) => -1 - k;
export const classOfKey = (k) => -1 - KIND - k;
export const wakerOfKey = (k) => -2 - 2 * KIND - k;

class Paths {
  constructor(capacity) {
    this.keys = new Int32Array(Math.max(1024, capacity));
    this.n = 0;
    this.start = [0];
    this.value = [];
    this.base = [];
  }
  push(key) {
    if (this.n === this.keys.length) {
      const more = new Int32Array(this.n * 2);
      more.set(this.keys);
      this.keys = more;
    }
    this.keys[this.n++] = key;
  }
  end(value, base = 0) {
    this.start.push(this.n);
    this.value.push(value);
    this.base.push(base);
  }
}

// options: {groups: Set|null, classes: Set|null (0: on-CPU), byProcess, inverted, chain, base: hot rows of another profile}
export function flamePaths(m, options) {
  const p = new Paths(m.hot.n * 24);
  if (options.chain) chainPaths(m, options, p);
  else hotPaths(m, m.hot, (g) => g, options, p, false);
  return p;
}

function hotPaths(m, hot, groupOf, options, p, isBase) {
  const stack = [];
  for (let i = 0; i < hot.n; i++) {
    const g = groupOf(hot.group[i]), cls = hot.cls[i];
    if (!hot.ns[i] || (options.groups && !options.groups.has(g)) || (options.classes && !options.classes.has(cls))) continue;
    if (options.byProcess) p.push(groupKey(g));
    stack.length = 0;
    for (let n = hot.node[i]; n; n = m.parent[n]) stack.push(m.frames.sym[m.frame[n]]);
    if (options.inverted) {
      p.push(classKey(cls));
      for (let k = 0; k < stack.length; k++) p.push(stack[k]);
    } else {
      for (let k = stack.length - 1; k >= 0; k--) p.push(stack[k]);
      p.push(classKey(cls));
    }
    p.end(isBase ? 0 : hot.ns[i], isBase ? hot.ns[i] : 0);
  }
}

// Two profiles in one tree: each node has both sums.
export function diffPaths(m, baseHot, baseGroup, options) {
  const p = new Paths((m.hot.n + baseHot.n) * 24);
  hotPaths(m, m.hot, (g) => g, options, p, false);
  hotPaths(m, baseHot, baseGroup, options, p, true);
  return p;
}

// Waits with who ended them: the waiter's stack, the class, then the waker's stack upside down (its leaf first) and its name.
function chainPaths(m, options, p) {
  const stack = [];
  for (const [waiter, waker, cls, waiterNode, wakerNode, ns] of m.raw.sites) {
    if ((options.groups && !options.groups.has(waiter)) || (options.classes && !options.classes.has(cls))) continue;
    if (options.byProcess) p.push(groupKey(waiter));
    stack.length = 0;
    for (let n = waiterNode; n; n = m.parent[n]) stack.push(m.frames.sym[m.frame[n]]);
    for (let k = stack.length - 1; k >= 0; k--) p.push(stack[k]);
    p.push(classKey(cls));
    for (let n = wakerNode; n; n = m.parent[n]) p.push(m.frames.sym[m.frame[n]]);
    p.push(wakerKey(waker));
    p.end(ns);
  }
}

export class FlameTree {
  constructor(paths) {
    this.paths = paths;
    const n = paths.value.length;
    this.order = new Uint32Array(n);
    let value = 0, base = 0;
    for (let i = 0; i < n; i++) {
      this.order[i] = i;
      value += paths.value[i];
      base += paths.base[i];
    }
    this.root = { key: null, depth: 0, from: 0, to: n, value, base, parent: null, kids: null };
  }

  // Most time first. The rows of a node stay a contiguous range of `order`; sorting it by the next key splits it.
  children(node) {
    if (node.kids) return node.kids;
    const { keys, start, value, base } = this.paths, d = node.depth;
    const sums = new Map();
    for (let i = node.from; i < node.to; i++) {
      const r = this.order[i], at = start[r] + d;
      if (at >= start[r + 1]) continue; // the path ends here: this node's own time
      const k = keys[at];
      let kid = sums.get(k);
      if (!kid) sums.set(k, (kid = { key: k, depth: d + 1, from: 0, to: 0, n: 0, value: 0, base: 0, parent: node, kids: null }));
      kid.n++;
      kid.value += value[r];
      kid.base += base[r];
    }
    node.kids = [...sums.values()].sort((a, b) => Math.max(b.value, b.base) - Math.max(a.value, a.base) || a.key - b.key);
    this.partition(node, sums);
    return node.kids;
  }

  partition(node, sums) {
    const { keys, start } = this.paths, d = node.depth, rows = this.order.slice(node.from, node.to);
    let at = node.from;
    for (const kid of node.kids) {
      kid.from = kid.to = at;
      at += kid.n;
    }
    let own = at; // rows that end here stand last
    for (const r of rows) {
      const i = start[r] + d;
      if (i >= start[r + 1]) this.order[own++] = r;
      else this.order[sums.get(keys[i]).to++] = r;
    }
  }

  // Time of the rows that have a matching key anywhere; each counts once.
  search(matches) {
    const { keys, start, value } = this.paths;
    let sum = 0;
    for (let r = 0; r < value.length; r++)
      for (let i = start[r]; i < start[r + 1]; i++)
        if (matches(keys[i])) {
          sum += value[r];
          break;
        }
    return sum;
  }
}
