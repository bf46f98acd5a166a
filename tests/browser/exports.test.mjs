// Exports in the tools that read them: speedscope's own page and schema, `go tool pprof`, protoc. A tool that is missing is a visible skip.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { chromium } from "playwright-core";

const dir = process.env.FIXTURES, lockstep = process.env.LOCKSTEP;
const speedscope = join(dirname(createRequire(import.meta.url).resolve("speedscope/package.json")), "dist/release");
const has = (tool, ...args) => spawnSync(tool, args).status === 0;

function exported(fixture, format) {
  const out = `${dir}/${fixture}.${format}`;
  execFileSync(lockstep, ["export", `${dir}/${fixture}.db`, "--format", format, "-o", out]);
  return out;
}

// The part of JSON Schema that speedscope's schema uses.
function check(schema, value, root, path = "$") {
  if (schema.$ref) return check(root.definitions[schema.$ref.replace("#/definitions/", "")], value, root, path);
  if (schema.anyOf) {
    const errors = schema.anyOf.map((s) => check(s, value, root, path));
    return errors.some((e) => !e.length) ? [] : errors[0];
  }
  if (schema.enum && !schema.enum.includes(value)) return [`${path}: ${value} is none of ${schema.enum}`];
  const type = Array.isArray(value) ? "array" : value === null ? "null" : typeof value;
  if (schema.type && ![schema.type].flat().some((t) => t === type || (t === "integer" && Number.isInteger(value)))) return [`${path}: ${type} instead of ${schema.type}`];
  const errors = [];
  if (type === "array" && schema.items && !Array.isArray(schema.items)) value.forEach((v, i) => errors.push(...check(schema.items, v, root, `${path}[${i}]`)));
  if (type === "object" && schema.properties) {
    for (const k of schema.required || []) if (!(k in value)) errors.push(`${path}.${k} is missing`);
    for (const [k, v] of Object.entries(value)) if (schema.properties[k]) errors.push(...check(schema.properties[k], v, root, `${path}.${k}`));
      else if (schema.additionalProperties === false) errors.push(`${path}.${k} is not in the schema`);
  }
  return errors;
}

test("speedscope's schema accepts the export", () => {
  const schema = JSON.parse(readFileSync(join(speedscope, "file-format-schema.json"), "utf8"));
  const file = schema.$ref || schema.definitions ? schema : null;
  assert.ok(file, "the schema has another form than expected");
  for (const f of ["lockstep", "hostile", "siblings", "sampled", "empty"]) {
    const profile = JSON.parse(readFileSync(exported(f, "speedscope"), "utf8"));
    assert.deepEqual(check(schema, profile, schema), [], f);
  }
  const broken = JSON.parse(readFileSync(exported("lockstep", "speedscope"), "utf8"));
  broken.profiles[0].unit = "parsecs";
  delete broken.shared;
  assert.ok(check(schema, broken, schema).length > 0, "the check would accept anything");
});

test("speedscope opens the export", async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-background-networking"] });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(60000);
    await page.goto(`file://${speedscope}/index.html`);
    const name = `${dir}/opened.speedscope.json`;
    writeFileSync(name, readFileSync(exported("lockstep", "speedscope")));
    await page.setInputFiles("input[type=file]", name);
    await page.waitForFunction(() => /pong|ping|lockstep_pipe/.test(document.title + document.body.textContent));
    assert.match(await page.evaluate(() => document.title + document.body.textContent), /waiting|lockstep_pipe/);
  } finally {
    await browser.close();
  }
});

test("go tool pprof reads sums, labels and lines", { skip: !has("go", "tool", "pprof", "-h") && !has("go", "version") && "go is not installed" }, () => {
  const file = exported("lockstep", "pprof");
  const run = (...args) => execFileSync("go", ["tool", "pprof", ...args, file], { encoding: "utf8", env: { ...process.env, PPROF_TMPDIR: dir } });
  const top = run("-sample_index=blocked", "-top", "-unit=s");
  assert.match(top, /Showing nodes accounting for 16\.75s, 100% of 16\.75s total/);
  assert.match(run("-sample_index=cpu", "-top", "-unit=s"), /2\.45s total/);
  assert.match(run("-sample_index=blocked", "-tags", "-unit=s"), /peer[\s\S]*pong-4102/);
  assert.match(run("-sample_index=blocked", "-tagfocus=peer=pong-4102", "-top", "-unit=s"), /8\.40s/);
  assert.match(run("-sample_index=blocked", "-lines", "-top", "-unit=s"), /lockstep_pipe\.c:41/);
});

const PERFETTO = `syntax = "proto2";
message Trace { repeated TracePacket packet = 1; }
message TracePacket { optional uint64 timestamp = 8; optional uint32 trusted_packet_sequence_id = 10; optional TrackEvent track_event = 11; optional TrackDescriptor track_descriptor = 60; }
message TrackEvent { enum Type { UNSPECIFIED = 0; SLICE_BEGIN = 1; SLICE_END = 2; INSTANT = 3; COUNTER = 4; }
  repeated DebugAnnotation debug_annotations = 4; optional Type type = 9; optional uint64 track_uuid = 11; repeated string categories = 22; optional string name = 23;
  optional double double_counter_value = 44; repeated fixed64 flow_ids = 47; repeated fixed64 terminating_flow_ids = 48; }
message DebugAnnotation { optional uint64 uint_value = 3; optional string string_value = 6; optional string name = 10; }
message TrackDescriptor { optional uint64 uuid = 1; optional string name = 2; optional ProcessDescriptor process = 3; optional ThreadDescriptor thread = 4; optional uint64 parent_uuid = 5; optional CounterDescriptor counter = 8; }
message ProcessDescriptor { optional int32 pid = 1; repeated string cmdline = 2; optional string process_name = 6; }
message ThreadDescriptor { optional int32 pid = 1; optional int64 tid = 2; optional string thread_name = 5; }
message CounterDescriptor { optional string unit_name = 6; }
`;

test("protoc decodes the Perfetto trace by the public field numbers, with nothing unknown", { skip: !has("protoc", "--version") && "protoc is not installed" }, () => {
  writeFileSync(`${dir}/perfetto.proto`, PERFETTO);
  for (const f of ["lockstep", "hostile", "siblings"]) {
    const text = execFileSync("protoc", [`--proto_path=${dir}`, "--decode=Trace", "perfetto.proto"], { input: readFileSync(exported(f, "perfetto")), encoding: "utf8", maxBuffer: 1 << 28 });
    assert.doesNotMatch(text, /^ *\d+(:| \{)/m); // an unknown field is shown by its number
    assert.match(text, /process_name/);
    if (f === "lockstep") {
      assert.match(text, /name: "pipe_read"/);
      assert.equal((text.match(/terminating_flow_ids/g) || []).length, (text.match(/^ *flow_ids/gm) || []).length);
    }
  }
});
