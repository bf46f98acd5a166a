// Bundles web/src into web/dist: page.js, page.css, page.hash (for the page's Content-Security-Policy) and THIRD_PARTY.txt.
// `node build.mjs --check` builds in memory and fails when dist differs: dist is committed, so that building lockstep needs no node.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync, mkdirSync, readdirSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const check = process.argv.includes("--check");

// The packages that ended up in the bundle, from esbuild's own account of it.
function packagesOf(metafile) {
  const names = new Set();
  for (const path of Object.keys(metafile.inputs)) {
    const m = path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
    if (m) names.add(m[1]);
  }
  return [...names].sort();
}

function licenseOf(name) {
  const dir = join(here, "node_modules", name);
  const pkg = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
  const file = readdirSync(dir).find((f) => /^licen[cs]e/i.test(f));
  return { name, version: pkg.version, license: pkg.license, text: file ? readFileSync(join(dir, file), "utf8").trim() : "" };
}

async function bundle() {
  const common = { bundle: true, minify: true, write: false, absWorkingDir: here, logLevel: "warning" };
  const js = await build({ ...common, entryPoints: ["src/main.js"], format: "iife", target: "es2020", legalComments: "none", metafile: true });
  const css = await build({ ...common, entryPoints: ["src/page.css"], target: ["chrome111", "firefox113", "safari16.2"] });
  const third = packagesOf(js.metafile).map(licenseOf);
  const banner = `/*! lockstep's page, Apache-2.0. Contains ${third.map((t) => `${t.name} ${t.version} (${t.license})`).join(", ")}; licences: web/dist/THIRD_PARTY.txt in lockstep's sources */\n`;
  const script = banner + js.outputFiles[0].text.trimEnd() + "\n";
  if (/<\/script|<!--/i.test(script)) throw new Error("the script would end its own element");
  return {
    "page.js": script,
    "page.css": css.outputFiles[0].text,
    "page.hash": "sha256-" + createHash("sha256").update(script).digest("base64"),
    "THIRD_PARTY.txt": third.map((t) => `${t.name} ${t.version}\n${"=".repeat(60)}\n${t.text}\n`).join("\n"),
  };
}

const files = await bundle();
mkdirSync(join(here, "dist"), { recursive: true });
let stale = 0;
for (const [name, text] of Object.entries(files)) {
  const path = join(here, "dist", name);
  if (!check) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error(`web/dist/${name} is not what web/src builds to; run: npm --prefix web ci && npm --prefix web run build`);
    stale++;
  }
}
if (!check) console.log(Object.entries(files).map(([n, t]) => `${n} ${t.length}`).join(", "));
process.exit(stale ? 1 : 0);
