// Elements without markup: text always goes in as text, so nothing that a profile says can become an element or an attribute's code.
const SVG = "http://www.w3.org/2000/svg";

function fill(el, attrs, children) {
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) el.style.setProperty(k, v);
    else el.setAttribute(name, value === true ? "" : value);
  }
  for (const c of children.flat(Infinity)) if (c !== null && c !== undefined && c !== false) el.append(c);
  return el;
}

export const h = (tag, attrs, ...children) => fill(document.createElement(tag), attrs, children);
export const s = (tag, attrs, ...children) => fill(document.createElementNS(SVG, tag), attrs, children);

export function clear(el) {
  while (el.firstChild) el.firstChild.remove();
  return el;
}

// A row of buttons of which exactly one is pressed. items: [value, label, title]
export function segmented(label, items, value, onchange) {
  const buttons = items.map(([v, text, title]) =>
    h("button", { type: "button", title, "aria-pressed": String(v === value), onclick: () => pick(v) }, text));
  function pick(v) {
    items.forEach(([w], i) => buttons[i].setAttribute("aria-pressed", String(w === v)));
    onchange(v);
  }
  const el = h("div", { class: "segmented", role: "group", "aria-label": label }, buttons);
  el.pick = pick;
  return el;
}

export function select(label, items, value, onchange) {
  const el = h("select", { "aria-label": label, onchange: () => onchange(el.value) },
    items.map(([v, text]) => h("option", { value: v, selected: String(v) === String(value) }, text)));
  return el;
}

let tip;
export function showTip(x, y, ...lines) {
  tip ||= document.body.appendChild(h("div", { class: "tip", "aria-hidden": "true" }));
  clear(tip).append(...lines.filter(Boolean).map((l, i) => h("div", { class: i ? "" : "tip-head" }, l)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(x + 14, innerWidth - box.width - 8), below = y + 16 + box.height < innerHeight;
  tip.style.setProperty("left", Math.max(4, left) + "px");
  tip.style.setProperty("top", (below ? y + 16 : Math.max(4, y - box.height - 10)) + "px");
}
export function hideTip() {
  if (tip) tip.hidden = true;
}

// navigator.clipboard is not there in every page opened from a file.
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "offscreen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const ok = document.execCommand("copy");
    area.remove();
    return ok;
  }
}
