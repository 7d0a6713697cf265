// What a pipeline has stored, held against what was sent.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

function canonical(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(canonical);
  return Object.fromEntries(Object.keys(value).sort().map((name) => [name, canonical(value[name])]));
}

/** Two lists must be equal but for their order. */
function sameEvents(found, expected) {
  const texts = (events) => events.map((event) => JSON.stringify(canonical(event))).sort();
  const [have, want] = [texts(found), texts(expected)];
  assert.equal(have.length, want.length, "another number of events");
  const at = have.findIndex((text, index) => text !== want[index]);
  assert.ok(at < 0, `${have[at]} instead of ${want[at]}`);
}

/** Drains the pipeline; the expected events and dead letters must be in the bucket, and nothing else. */
export function drainedAs(topic, expected, letters = []) {
  const python = fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));
  const script = fileURLToPath(new URL("../kafka_stored.py", import.meta.url));
  const said = JSON.parse(execFileSync(python, [script, topic.bucket, topic.name], { maxBuffer: 1 << 30 }));
  sameEvents(said.events, expected);
  assert.deepEqual(said.letters.map((text) => Buffer.from(text, "base64").toString()).sort(), [...letters].sort());
}
