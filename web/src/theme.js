// Light, dark, or as the system says. Colours live in page.css; canvases ask for them by name.
import { segmented } from "./dom.js";

const listeners = [];
let cache = new Map();

export function color(name) {
  let v = cache.get(name);
  if (v === undefined) cache.set(name, (v = getComputedStyle(document.documentElement).getPropertyValue(name).trim()));
  return v;
}
export function onTheme(fn) {
  listeners.push(fn);
}
function changed() {
  cache = new Map();
  listeners.forEach((fn) => fn());
}

let wanted = "auto";
const system = matchMedia("(prefers-color-scheme: dark)");

export function setTheme(theme) {
  wanted = theme;
  document.documentElement.setAttribute("data-theme", theme === "auto" ? (system.matches ? "dark" : "light") : theme);
  changed();
}

export function themeSwitch() {
  setTheme("auto");
  system.addEventListener("change", () => setTheme(wanted));
  addEventListener("beforeprint", () => { // paper is light; CSS does the rest
    document.documentElement.setAttribute("data-print", "");
    changed();
  });
  addEventListener("afterprint", () => {
    document.documentElement.removeAttribute("data-print");
    changed();
  });
  return segmented("Theme", [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]], "auto", setTheme);
}
