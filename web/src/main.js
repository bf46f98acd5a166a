// The page: reads the profile that stands in it, and lays out the views. Views are built when they come near the screen (or the printer).
import { h } from "./dom.js";
import { flameView } from "./flame.js";
import { linesView } from "./lines.js";
import { mapView } from "./map.js";
import { loadModel } from "./model.js";
import { tablesView } from "./tables.js";
import { themeSwitch } from "./theme.js";
import { timelineView } from "./timeline.js";
import { verdictView } from "./verdict.js";

const started = performance.now();
const m = loadModel(JSON.parse(document.getElementById("profile").textContent));
const state = {};
const sections = [
  ["verdict", "Verdict", verdictView, true], ["map", "Process map", mapView, true], ["flame", "Flame graphs", flameView], ["timeline", "Timeline", timelineView],
  ["tables", "Tables", tablesView], ["lines", "Source lines", linesView],
].map(([id, title, make, now]) => ({ id, title, view: make(m, state), now, el: h("section", { id, "aria-labelledby": id + "-title" }, h("h2", { id: id + "-title", tabindex: "-1" }, title)) }));

function renderOnce(x) {
  if (x.done) return;
  x.done = true;
  x.view.render(x.el);
  x.el.classList.add("ready");
}
state.go = (id) => {
  const x = sections.find((y) => y.id === id);
  renderOnce(x);
  x.el.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  x.el.querySelector("h2").focus({ preventScroll: true });
};
const isolate = state.isolate;
state.isolate = (groups) => {
  isolate(groups);
  if (innerWidth <= 1100) state.go("map");
};
state.openStacks = (groups, what) => {
  state.showStacks(groups, what);
  state.go("flame");
};

const meta = m.meta;
document.body.append(
  h("a", { class: "skip", href: "#verdict" }, "Skip to the verdict"),
  h("header", { class: "top" },
    h("div", { class: "brand" }, h("b", {}, "lockstep"), h("span", { class: "target", title: meta.target }, meta.target)),
    h("nav", { "aria-label": "Sections" }, sections.map((x) => h("a", { href: "#" + x.id, onclick: (e) => { e.preventDefault(); state.go(x.id); } }, x.title))), themeSwitch()),
  h("main", {},
    h("h1", { class: "offscreen" }, "lockstep report: " + meta.target),
    h("p", { class: "facts" }, [meta.facts, meta.host, [meta.kernel, meta.arch].filter(Boolean).join(" "), meta.started, meta.version && "lockstep " + meta.version].filter(Boolean).map((t) => h("span", {}, t))),
    meta.losses ? h("p", { class: "warn", role: "note" }, meta.losses) : null,
    [meta.costs, meta.estimates, meta.windows, m.base && "Compared with: " + m.base.target + ", " + m.base.facts].filter(Boolean).map((t) => h("p", { class: "note" }, t)),
    h("div", { class: "first" }, sections[0].el, sections[1].el), sections.slice(2).map((x) => x.el)),
  h("footer", {}, "Made by lockstep; nothing on this page was loaded from a network. Shares are of the run's duration, summed over threads."));

sections.filter((x) => x.now).forEach(renderOnce);
const near = new IntersectionObserver((entries) => {
  for (const e of entries) if (e.isIntersecting) renderOnce(sections.find((x) => x.el === e.target));
}, { rootMargin: "400px" });
sections.filter((x) => !x.now).forEach((x) => near.observe(x.el));
addEventListener("beforeprint", () => sections.forEach(renderOnce));
addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName)) return;
  e.preventDefault();
  state.go("flame");
  document.querySelector("#flame input[type=search]").focus();
});
document.documentElement.setAttribute("data-ready", String(Math.round(performance.now() - started)));
