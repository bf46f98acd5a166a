// How fast the HTML report answers with 200 processes and 50,000 distinct stacks, in headless Chromium. Prints one table.
//   node bench/page.mjs BUILD_DIR       (needs tests/browser/node_modules: tests/browser/run.sh installs them)
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "../tests/browser/node_modules/playwright-core/index.mjs";

const build = process.argv[2] || "build", dir = mkdtempSync(join(tmpdir(), "lockstep-page-"));
const median = (v) => [...v].sort((a, b) => a - b)[Math.floor(v.length / 2)];
const rows = [];
try {
  execFileSync(`${build}/tests/test_report_html`, { env: { ...process.env, LOCKSTEP_FIXTURES: dir }, stdio: "ignore" });
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, bypassCSP: true }); // the measuring code is none of the page's
  rows.push(["page with its data", (statSync(`${dir}/big.html`).size / 1e6).toFixed(1) + " MB"], ["page without data", (statSync(`${dir}/empty.html`).size / 1e3).toFixed(0) + " kB"]);
  const opened = Date.now();
  await page.goto(`file://${dir}/big.html`);
  await page.waitForSelector("html[data-ready]");
  await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
  rows.push(["open until drawn", Date.now() - opened + " ms"]);
  await page.locator("#flame").scrollIntoViewIfNeeded();
  await page.waitForSelector("#flame.ready");
  // The time that an event's handlers take, canvas drawing included; layout and raster come on top, as in any page.
  const time = async (what, fn, arg, n = 9) => {
    const ms = [];
    for (let i = 0; i < n; i++) ms.push(await page.evaluate(([f, a, k]) => { const t = performance.now(); eval(`(${f})`)(a, k); return performance.now() - t; }, [fn.toString(), arg, i]));
    rows.push([what, median(ms).toFixed(1) + " ms (most " + Math.max(...ms).toFixed(1) + ")"]);
  };
  const key = (k) => document.querySelector("#flame canvas").dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true }));
  await page.evaluate((f) => { window.key = eval(`(${f})`); }, key.toString());
  await time("flame: zoom in and out", (_, i) => { if (i % 2) key("Escape"); else { key("ArrowDown"); key("Enter"); } });
  await time("flame: search", (_, i) => { const s = document.querySelector("#flame input[type=search]"); s.value = "function_" + (100 + i); s.dispatchEvent(new Event("input")); });
  await time("flame: another kind of time", (_, i) => document.querySelectorAll("#flame .segmented button")[i % 3].click());
  await time("flame: invert", () => [...document.querySelectorAll("#flame button")].find((b) => b.textContent === "Inverted").click(), null, 6);
  await page.locator("#tables").scrollIntoViewIfNeeded();
  await page.waitForSelector("#tables.ready");
  await time("table: sort", (_, i) => document.querySelectorAll("#tables th button")[i % 5].click());
  await time("table: filter", (_, i) => { const s = document.querySelector("#tables input"); s.value = "service-" + i; s.dispatchEvent(new Event("input")); });
  await time("map: isolate", (_, i) => document.querySelectorAll("#map .node")[i].dispatchEvent(new MouseEvent("click", { bubbles: true })));
  await browser.close();
} finally {
  rmSync(dir, { recursive: true, force: true });
}
for (const [what, value] of rows) console.log(what.padEnd(32) + value);
