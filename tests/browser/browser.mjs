// One Chromium for a test file, and pages that fail the test when anything is wrong with them.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
let browser;

export function useBrowser() {
  before(async () => {
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ARGS });
  });
  after(() => browser?.close());
}

// Opens a fixture's page from its file. Every console error, script error and request that is not the file itself is collected.
export async function open(name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  const wrong = [], url = `file://${process.env.FIXTURES}/${name}.html`;
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && wrong.push(`console: ${m.text()}`));
  page.on("pageerror", (e) => wrong.push(`script: ${e.stack}`));
  page.on("request", (r) => r.url() !== url && !r.url().startsWith("data:") && wrong.push(`request: ${r.url()}`));
  page.on("dialog", (d) => {
    wrong.push(`dialog: ${d.message()}`);
    d.dismiss();
  });
  await page.goto(url);
  await page.waitForSelector("html[data-ready]");
  return { page, wrong, close: async () => { await context.close(); assert.deepEqual(wrong, []); } };
}

export async function section(page, id) {
  await page.locator("#" + id).scrollIntoViewIfNeeded();
  await page.locator(`#${id}.ready`).waitFor();
  return page.locator("#" + id);
}
