// Numbers for people, the same way as report/units.c.
const fixed = (v, d) => (Math.floor(v * 10 ** d + 0.5) / 10 ** d).toFixed(d);

function scaled(v, step, units, suffix = "") {
  let u = 0;
  if (!Number.isFinite(v)) v = 0;
  while (u + 1 < units.length && Math.abs(v) >= step * 0.9995) {
    v /= step;
    u++;
  }
  return fixed(v, u === 0 || Math.abs(v) >= 99.95 ? 0 : 1) + (units[u] ? " " + units[u] : "") + suffix;
}

export function ns(v) {
  if (v >= 3600e9) return fixed(v / 3600e9, 1) + " h";
  if (v >= 600e9) return fixed(v / 60e9, 1) + " min";
  if (v >= 1e9) return fixed(v / 1e9, v >= 99.95e9 ? 0 : v >= 9.995e9 ? 1 : 2) + " s";
  return scaled(v, 1000, ["ns", "µs", "ms", "s"]);
}
export const count = (v) => scaled(v, 1000, ["", "k", "M", "G", "T"]);
export function rate(v) {
  if (v <= 0 || v >= 9.95) return scaled(v, 1000, ["", "k", "M", "G", "T"], "/s");
  return v < 0.05 ? "<0.1/s" : fixed(v, 1) + "/s";
}
export const bytes = (v) => scaled(v, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export function percent(share) {
  const pc = Number.isFinite(share) ? share * 100 : 0;
  return pc > 0 && pc < 0.5 ? "<1 %" : fixed(pc, 0) + " %";
}
// Two decimals where a share of a flame graph is asked for.
export const fine = (share) => (share >= 0.1 ? (share * 100).toFixed(1) : (share * 100).toFixed(2)) + " %";
export const basename = (path) => path.replace(/^.*\/(?=.)/, "");
