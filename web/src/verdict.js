// The verdict: findings as sentences, best first; each leads to its evidence.
import { h } from "./dom.js";
import { basename, percent } from "./format.js";

const CONFIDENCE = ["low", "medium", "high"];

// Trimmed by the report already: kernel frames folded, start-up code left out.
function stackList(lines) {
  if (!lines.length) return h("p", { class: "note" }, "No stack was captured here.");
  return h("ol", { class: "stack" }, lines.map(([fn, where, folded]) =>
    h("li", { class: folded ? "kernel" : "" }, h("span", { class: "fn" }, fn), " ", h("span", { class: "where", title: where }, basename(where)))));
}

function gain(f) {
  if (!f.high) return null;
  const t = (v) => (v >= 10 ? v.toFixed(0) : v.toFixed(1));
  const text = t(f.low) === t(f.high) ? `${t(f.low)}×` : `${t(f.low)}–${t(f.high)}×`;
  return h("div", { class: "gain" }, h("b", {}, text), h("span", {}, "faster, predicted"));
}

function finding(m, state, f, rank) {
  const evidence = h("div", { class: "evidence" }, f.evidence.map((e) =>
    h("figure", {}, h("figcaption", {}, e.label, " ", h("span", { class: "who" }, e.group >= 0 ? m.groupLabel(e.group) : `pid ${e.pid}`)), stackList(e.lines))),
  h("p", { class: "actions" },
    f.groups.length ? h("button", { type: "button", onclick: () => state.isolate(f.groups) }, "Show on the map") : null,
    f.groups.length ? h("button", { type: "button", onclick: () => state.openStacks(f.groups, "wait") }, "Where it waits") : null,
    m.trace.length ? h("button", { type: "button", onclick: () => state.go("timeline") }, "See it in time") : null));
  return h("li", { class: "finding", id: "finding-" + f.id },
    h("div", { class: "finding-head" }, h("span", { class: "rank", "aria-hidden": "true" }, rank), h("div", { class: "finding-text" },
      h("h3", {}, f.title), h("p", { class: "tags" }, h("span", { class: "tag" }, f.kind.replace(/_/g, " ")),
        f.share > 0 ? h("span", { class: "tag quiet" }, percent(f.share) + " of the run") : null,
        h("span", { class: "tag quiet" }, CONFIDENCE[f.conf] + " confidence"), f.est ? h("span", { class: "tag quiet" }, "estimated") : null)), gain(f)),
    h("dl", {}, f.where ? [h("dt", {}, "Where"), h("dd", {}, f.where)] : null, f.advice ? [h("dt", {}, "Do"), h("dd", {}, f.advice)] : null),
    h("details", {}, h("summary", {}, "Evidence: stacks, map, time"), evidence));
}

export function verdictView(m, state) {
  return {
    render(el) {
      if (!m.findings.length) return el.append(h("p", { class: "healthy" }, m.summary));
      el.append(h("ol", { class: "findings" }, m.findings.map((f, i) => finding(m, state, f, i + 1))));
      const first = el.querySelector("details");
      if (first && m.findings.length <= 2 && innerWidth > 1100) first.open = true; // there is room beside the map
    },
  };
}
