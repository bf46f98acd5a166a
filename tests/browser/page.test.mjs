// The page as its reader has it: every view renders, answers, stays readable, and loads nothing.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { open, section, useBrowser } from "./browser.mjs";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SECTIONS = ["verdict", "map", "flame", "timeline", "tables", "lines"];
const PAGES = ["lockstep", "ring", "healthy", "siblings", "hostile", "empty", "sampled", "lossy", "diff"];
const shot = (page, name) => page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png` });
// A canvas that shows more than its background.
const painted = (page, selector) => page.$eval(selector, (c) => new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size);

useBrowser();

for (const name of PAGES)
  test(`every view of ${name} renders without an error and without a request`, async () => {
    const { page, close } = await open(name);
    for (const id of SECTIONS) await section(page, id);
    for (const id of SECTIONS) assert.ok(await page.locator(`#${id} h2`).isVisible());
    await close();
  });

test("on the lock-step example the pair and its channel stand on the first screen", async () => {
  const { page, close } = await open("lockstep");
  const title = page.locator(".finding h3").first();
  assert.match(await title.textContent(), /ping.*pong.*turns/);
  for (const el of [title, page.locator(".edge.lock .edge-label").first(), page.locator(".node .node-name").first()]) {
    const box = await el.boundingBox();
    assert.ok(box && box.y + box.height <= 800, "not on the first screen");
  }
  assert.equal(await page.locator(".node.lock").count(), 2);
  assert.match(await page.locator(".edge.lock").first().textContent(), /112 k\/s · 200 B/);
  await shot(page, "lockstep-first-screen");
  await close();
});

test("the figures are those of the text report", async () => {
  const { page, close } = await open("lockstep");
  await section(page, "tables");
  const row = await page.locator("#tables tbody tr").filter({ has: page.locator("td:first-child", { hasText: "4101" }) }).locator("td").allTextContents();
  const golden = readFileSync(new URL("../golden/lockstep.txt", import.meta.url), "utf8").split("\n").find((l) => /^ +4101/.test(l)).trim().split(/ +/);
  assert.deepEqual([row[0], row[4], row[5], row[6], row[9]].map((t) => t.replace(/ /g, "")), [golden[0], golden[3], golden[4], golden[5], golden[7]]);
  await close();
});

test("the flame graph zooms, resets, searches and inverts, by pointer and by keys", async () => {
  const { page, close } = await open("lockstep");
  const flame = await section(page, "flame"), canvas = flame.locator("canvas"), detail = flame.locator(".detail");
  assert.ok((await painted(page, "#flame canvas")) > 4);
  const box = await canvas.boundingBox();
  await canvas.click({ position: { x: box.width * 0.75, y: 19 * 3 + 8 } });
  assert.match(await detail.textContent(), /main|libc/);
  assert.ok(await flame.getByRole("button", { name: "Reset zoom" }).isEnabled());
  await flame.getByRole("button", { name: "Reset zoom" }).click();
  assert.match(await detail.textContent(), /^all processes/);
  await canvas.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  assert.match(await detail.textContent(), /^_start/);
  await page.keyboard.press("Enter");
  assert.ok(await flame.getByRole("button", { name: "Reset zoom" }).isEnabled());
  await page.keyboard.press("Escape");
  assert.ok(await flame.getByRole("button", { name: "Reset zoom" }).isDisabled());
  await page.locator("body").click({ position: { x: 2, y: 2 } });
  await page.keyboard.press("/");
  await page.keyboard.type("ping_loop");
  assert.match(await flame.locator(".found").textContent(), /found in 9\.60 s = 50\.0 %/); // 8.40 s waiting + 1.20 s computing, of 19.2 s
  await flame.getByRole("searchbox").fill("no such function");
  assert.match(await flame.locator(".found").textContent(), /not found/);
  await flame.getByRole("searchbox").fill("");
  await flame.getByRole("button", { name: "Inverted" }).click();
  await canvas.focus();
  await page.keyboard.press("Escape");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  assert.match(await detail.textContent(), /^\[(pipe_read|on-CPU)\]/);
  await close();
});

test("kinds, processes and colours of the flame graph change what is drawn", async () => {
  const { page, close } = await open("lockstep");
  const flame = await section(page, "flame"), canvas = flame.locator("canvas"), seen = new Set();
  const image = () => page.$eval("#flame canvas", (c) => c.toDataURL());
  seen.add(await image());
  for (const kind of ["On-CPU", "Off-CPU", "Off-CPU + waker"]) {
    await flame.getByRole("button", { name: kind, exact: true }).click();
    seen.add(await image());
  }
  assert.equal(seen.size, 4);
  await canvas.focus();
  for (let i = 0; i < 12; i++) await page.keyboard.press("ArrowDown");
  await flame.getByRole("button", { name: "Wall time" }).click();
  await flame.getByLabel("Process").selectOption({ label: "pong (4102)" });
  await flame.getByLabel("Colour by").selectOption("language");
  seen.add(await image());
  assert.equal(seen.size, 5);
  await shot(page, "flame");
  await close();
});

test("the waker chain ends with who woke", async () => {
  const { page, close } = await open("lockstep");
  const flame = await section(page, "flame");
  await flame.getByRole("button", { name: "Off-CPU + waker" }).click();
  await flame.getByRole("searchbox").fill("woken by pong");
  assert.match(await flame.locator(".found").textContent(), /found in 8\.40 s/);
  await close();
});

test("two profiles: the difference is drawn and told", async () => {
  const { page, close } = await open("diff");
  const flame = await section(page, "flame");
  await flame.getByRole("button", { name: "Difference" }).click();
  await flame.locator("canvas").focus();
  await page.keyboard.press("ArrowDown");
  assert.match(await flame.locator(".detail").textContent(), /base: /);
  await shot(page, "difference");
  await close();
});

test("the map isolates, filters, zooms and opens stacks", async () => {
  const { page, close } = await open("siblings");
  const nodes = page.locator("#map .node");
  assert.equal(await nodes.count(), 4);
  await page.locator("#map .node", { hasText: "manager" }).click();
  assert.equal(await page.locator("#map .node.dim").count(), 2);
  assert.match(await page.locator(".map-panel").textContent(), /Keeps waiting.*worker/);
  await shot(page, "map-isolated");
  await page.getByRole("button", { name: "Show its stacks" }).click();
  await page.locator("#flame.ready").waitFor();
  assert.equal(await page.locator("#flame select").first().inputValue(), String(await page.$$eval("#flame select:first-of-type option", (o) => o.find((x) => x.textContent.startsWith("manager")).value)));
  await page.locator("#map").scrollIntoViewIfNeeded();
  await page.locator("#map .node", { hasText: "manager" }).focus();
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#map .node.dim").count(), 0);
  await page.getByLabel("Filter processes").fill("true");
  assert.equal(await page.locator("#map .node.dim").count(), 3);
  await page.getByLabel("Filter processes").fill("");
  const before = await page.$eval("#map svg g", (g) => g.getAttribute("transform"));
  await page.locator("#map").getByRole("button", { name: "Zoom in" }).click();
  assert.notEqual(await page.$eval("#map svg g", (g) => g.getAttribute("transform")), before);
  await close();
});

test("the timeline shows the run and the excerpt, and zooms", async () => {
  const { page, close } = await open("lockstep");
  const timeline = await section(page, "timeline"), range = timeline.locator(".found").last();
  assert.equal(await timeline.locator("canvas").count(), 2);
  for (const i of [0, 1]) assert.ok((await timeline.locator("canvas").nth(i).evaluate((c) => new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size)) > 3);
  const before = await range.textContent();
  await timeline.locator("canvas").last().focus();
  await page.keyboard.press("+");
  assert.notEqual(await range.textContent(), before);
  await page.keyboard.press("0");
  assert.match(await range.textContent(), /^0 ns – 32\d µs$/); // 40 turns of 8 µs
  await page.keyboard.press("+");
  await page.keyboard.press("+");
  await page.keyboard.press("+");
  await shot(page, "timeline");
  await close();
});

test("tables sort, filter and copy", async () => {
  const { page, close } = await open("siblings", { permissions: ["clipboard-read", "clipboard-write"] });
  const tables = await section(page, "tables"), names = () => tables.locator("tbody tr td:nth-child(2)").allTextContents();
  assert.deepEqual(await names(), ["worker x30", "manager", "sh", "true x5000"]); // most CPU first
  await tables.getByRole("button", { name: "name" }).click();
  assert.deepEqual(await names(), ["manager", "sh", "true x5000", "worker x30"]);
  assert.equal(await tables.locator("th[aria-sort=ascending]").count(), 1);
  await tables.getByRole("button", { name: "name" }).click();
  assert.equal((await names())[0], "worker x30");
  await tables.getByLabel("Filter rows").fill("python");
  assert.deepEqual((await names()).sort(), ["manager", "worker x30"]);
  await tables.getByRole("button", { name: "Copy" }).click();
  await page.waitForFunction(() => /copied/.test(document.querySelector("#tables .found").textContent));
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(copied.split("\n")[0], /^pid\tname\truntime/);
  assert.equal(copied.split("\n").length, 3);
  await tables.getByLabel("Filter rows").fill("");
  for (const tab of ["Who waits on whom", "Channels", "Waits"]) {
    await tables.getByRole("button", { name: tab, exact: true }).click();
    assert.ok((await tables.locator("tbody tr").count()) > 0, tab);
  }
  await shot(page, "tables");
  await close();
});

test("source lines carry own and total shares", async () => {
  const { page, close } = await open("lockstep");
  const lines = await section(page, "lines");
  await lines.getByLabel("Kind of time").selectOption({ label: "Waiting (all classes)" });
  await lines.getByLabel("Process").selectOption({ label: "ping (4101)" });
  const own = lines.locator("tr", { has: page.locator("td.line", { hasText: /^22$/ }) });
  assert.deepEqual((await own.locator("td.num").allTextContents()).slice(0, 2), ["100 %", "100 %"]);
  await close();
});

test("light, dark and print: readable, and the switch works", async () => {
  const { page, close } = await open("lockstep", { colorScheme: "light" });
  const background = () => page.$eval("body", (b) => getComputedStyle(b).backgroundColor);
  const light = await background();
  await page.getByRole("button", { name: "Dark" }).click();
  assert.notEqual(await background(), light);
  await shot(page, "dark");
  await page.getByRole("button", { name: "Light" }).click();
  assert.equal(await background(), light);
  await page.getByRole("button", { name: "Auto" }).click();
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForSelector("html[data-theme=dark]");
  assert.notEqual(await background(), light);
  await page.emulateMedia({ media: "print" });
  const pdf = await page.pdf();
  assert.ok(pdf.length > 20000);
  for (const id of SECTIONS) assert.ok(await page.locator(`#${id}.ready`).count(), `${id} is not printed`);
  await close();
});

test("no horizontal scroll at 800 and at 1280 px", async () => {
  for (const width of [800, 1280])
    for (const name of ["lockstep", "hostile", "siblings"]) {
      const { page, close } = await open(name, { viewport: { width, height: 900 } });
      for (const id of SECTIONS) await section(page, id);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${name} at ${width}: ${over} px too wide`);
      await close();
    }
});

test("hostile names are shown as text", async () => {
  const { page, close } = await open("hostile");
  for (const id of SECTIONS) await section(page, id);
  assert.equal(await page.locator("img, iframe, object, embed").count(), 0);
  assert.equal(await page.locator("script").count(), 2);
  assert.match(await page.locator("#verdict").textContent(), /<\/script><script>alert\(1\)<\/script>/);
  assert.match(await page.locator("#tables").textContent(), /\\u202egnp\.exe/);
  await close();
});

for (const theme of ["light", "dark"])
  test(`axe finds no serious violation (${theme})`, async () => {
    for (const name of ["lockstep", "siblings", "healthy"]) {
      const { page, close } = await open(name, { colorScheme: theme, bypassCSP: true }); // axe itself is a script that the page would refuse
      for (const id of SECTIONS) await section(page, id);
      await page.evaluate(axeSource);
      const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
      const serious = violations.filter((v) => ["serious", "critical"].includes(v.impact));
      assert.deepEqual(serious.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + n.failureSummary.split("\n")[1]).join(" | ")}`), [], name);
      await close();
    }
  });

test("everything can be reached and worked by keys alone", async () => {
  const { page, close } = await open("lockstep");
  for (const id of SECTIONS) await section(page, id);
  await page.evaluate(() => scrollTo(0, 0));
  const reached = new Set();
  for (let i = 0; i < 90; i++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.closest("section")?.id || document.activeElement.closest("header")?.className || document.activeElement.className));
  }
  for (const id of SECTIONS) assert.ok(reached.has(id), `${id} is not reached`);
  await close();
});

test("the policy of the page refuses scripts and requests", async () => {
  const { page, wrong } = await open("lockstep");
  const ran = await page.evaluate(() => {
    const s = document.createElement("script");
    s.textContent = "window.injected = 1";
    document.body.append(s);
    return window.injected;
  });
  assert.equal(ran, undefined);
  assert.equal(await page.evaluate(() => fetch("http://127.0.0.1:9/").then(() => "sent", () => "refused")), "refused");
  assert.ok(wrong.some((w) => /Content Security Policy/.test(w)));
  await page.context().close();
});
