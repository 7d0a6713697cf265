// Pages of browsers that send to pipelines: over WebSocket with ws, of which only what browsers have too is used (but for the origin,
// which a browser says by itself), and with fetch, as navigator.sendBeacon posts.
//
// usage: node websocket.mjs [WORD]     (only the checks whose name has WORD)
//
// Prints one line a check and `N passed, N failed`. The address comes from INGEST_HOST, the account from the AWS_ and
// CISTERN_API_ variables, the packages from .node (`cargo xtask setup`). Parquet is read by Python (kafka_stored.py).

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { connect } from "node:http2";
import { createRequire } from "node:module";
import { drainedAs } from "./stored.mjs";

const require = createRequire(new URL("../../../.node/", import.meta.url));
const sdk = require("@aws-sdk/client-s3");
const WebSocket = require("ws");

const HOST = process.env.INGEST_HOST;
const API = `${process.env.CISTERN_API_URL.replace(/\/$/, "")}/client/v4/accounts`;
const PAGE = "https://app.example";
const EVENT_BYTES_MAX = 1_000_000; // the largest event there may be
const WAIT_LIMIT_MS = 60_000; // the longest wait for something that is on its way
const s3 = new sdk.S3Client({ endpoint: process.env.AWS_ENDPOINT_URL_S3, region: "auto", forcePathStyle: true, maxAttempts: 1 });

async function api(method, path = "", body) {
  const headers = { authorization: `Bearer ${process.env.CISTERN_API_TOKEN}`, "content-type": "application/json" };
  const answer = await fetch(API + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return (await answer.json()).result;
}

async function pipelines(name = "") {
  return `/${(await api("GET"))[0].id}/pipelines${name && "/"}${name}`;
}

/** A new pipeline into the bucket for pages of PAGE, which keeps its events in the log until it is drained. */
async function pipeline(bucket, { token = true, origins = [PAGE] } = {}) {
  const name = `topic-${randomUUID().slice(0, 13)}`;
  const made = await api("POST", await pipelines(), {
    name, source: [{ type: "http", format: "json", authentication: token, cors: { origins } }],
    destination: { type: "r2", batch: { max_duration_s: 3600 }, path: { bucket } },
  });
  return { name, bucket, token: token ? made.send_token : undefined };
}

function events(word, count) {
  return Array.from({ length: count }, (_, n) => ({ id: `${word}-${n}`, n, half: n + 0.5, text: `ünï 日本 😀 "${n}" \\ \n`, deep: { list: [n] } }));
}

/** What comes of a promise, in time. */
async function inTime(what, promise) {
  let timer;
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`waited in vain: ${what}`)), WAIT_LIMIT_MS); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A page's connection: what the server says in order, and how it ended. */
class Page {
  constructor(topic, { query = `token=${topic.token}`, origin = PAGE } = {}) {
    this.socket = new WebSocket(`ws://${HOST}/${topic.name}?${query}`, { origin });
    this.socket.binaryType = "arraybuffer";
    [this.said, this.asking, this.waiting] = [[], [], []];
    this.socket.onmessage = ({ data }) => {
      const said = JSON.parse(data);
      const ask = this.asking.shift();
      if (ask) ask(said);
      else this.said.push(said);
    };
    this.refusal = new Promise((tell) => { this.socket.onerror = ({ message }) => tell(message); });
    this.opened = new Promise((tell) => { this.socket.onopen = tell; });
    this.closed = new Promise((tell) => { this.socket.onclose = ({ code }) => { tell(code); this.asking.forEach((ask) => ask({ type: "closed", code })); }; });
  }

  hear() {
    const said = this.said.shift();
    return said ? Promise.resolve(said) : inTime("the server says something", new Promise((ask) => this.asking.push(ask)));
  }

  async welcome() {
    const said = await this.hear();
    assert.equal(said.type, "welcome", JSON.stringify(said));
    this.next = this.acked = said.next;
    this.credit = said.credit;
    return this;
  }

  /** Sends as soon as the credit has room. */
  async send(data) {
    while (this.next - this.acked >= this.credit.messages) await this.takeAck();
    this.socket.send(data);
    this.next += 1;
  }

  async takeAck() {
    const ack = await this.hear();
    assert.equal(ack.type, "ack", JSON.stringify(ack));
    assert.equal(ack.through, this.acked + ack.messages - 1);
    assert.ok(ack.through < this.next);
    this.acked = ack.through + 1;
    return ack;
  }

  async flush() {
    while (this.acked < this.next) await this.takeAck();
  }

  async finish() {
    await this.flush();
    this.socket.close(1000, "done");
    assert.equal(await inTime("the close", this.closed), 1000);
  }

  /** The server must say why and close. */
  async endsWith(code, close) {
    let said = await this.hear();
    while (said.type === "ack") said = await this.hear();
    assert.deepEqual([said.type, said.code], ["error", code], JSON.stringify(said));
    assert.equal(await inTime("the close", this.closed), close);
  }
}

const checks = {
  async a_page_sends_text_and_bytes(bucket) {
    const topic = await pipeline(bucket);
    const page = await new Page(topic).welcome();
    const sent = events("page", 400);
    const ways = [
      (some) => JSON.stringify(some),
      (some) => some.map((event) => JSON.stringify(event)).join("\n"),
      (some) => new TextEncoder().encode(JSON.stringify(some)),
      (some) => new TextEncoder().encode(JSON.stringify(some)).buffer,
    ];
    for (let at = 0; at < sent.length; at += 4) await page.send(ways[(at / 4) % ways.length](sent.slice(at, at + 4)));
    await page.finish();
    drainedAs(topic, sent);
  },

  async thousands_of_messages(bucket) {
    const topic = await pipeline(bucket);
    const page = await new Page(topic).welcome();
    const sent = events("many", 5000);
    for (const event of sent) await page.send(JSON.stringify(event));
    await page.finish();
    assert.equal(page.acked, sent.length);
    drainedAs(topic, sent);
  },

  async a_page_says_its_token_first(bucket) {
    const topic = await pipeline(bucket);
    const page = new Page(topic, { query: "producer=page" });
    await inTime("the connection", page.opened);
    page.socket.send(JSON.stringify({ token: topic.token }));
    await page.welcome();
    await page.send('{"a":1}');
    await page.finish();
    for (const token of ["x", `${topic.token}x`]) {
      const wrong = new Page(topic, { query: "" });
      await inTime("the connection", wrong.opened);
      wrong.socket.send(JSON.stringify({ token }));
      await wrong.endsWith(10000, 1008);
    }
    drainedAs(topic, [{ a: 1 }]);
  },

  async other_pages_are_refused(bucket) {
    const [topic, nobody] = [await pipeline(bucket, { token: false }), await pipeline(bucket, { token: false, origins: [] })];
    for (const [to, origin] of [[topic, "https://evil.example"], [topic, `${PAGE}.evil`], [topic, "null"], [nobody, PAGE]]) {
      assert.match(await inTime("a refusal", new Page(to, { origin }).refusal), /403/);
    }
    const wrong = new Page(await pipeline(bucket), { query: "token=x" });
    assert.match(await inTime("a refusal", wrong.refusal), /401/);
    drainedAs(topic, []);
    drainedAs(nobody, []);
  },

  async what_is_too_large_ends_the_connection(bucket) {
    const topic = await pipeline(bucket);
    for (const length of [EVENT_BYTES_MAX + 1, 3_000_000]) {
      const page = await new Page(topic).welcome();
      await page.send(`{"length":${length}}`);
      page.socket.send(JSON.stringify({ text: "x".repeat(length - 11) }));
      await page.endsWith(1018, 1009);
    }
    drainedAs(topic, [{ length: EVENT_BYTES_MAX + 1 }, { length: 3_000_000 }]);
  },

  async a_page_that_is_loaded_again_goes_on(bucket) {
    const topic = await pipeline(bucket);
    const query = `token=${topic.token}&producer=tab`;
    const sent = events("again", 500);
    let acked = 0;
    for (let round = 0; round < 10; round += 1) {
      const page = await new Page(topic, { query }).welcome();
      assert.ok(page.next >= acked, `next is ${page.next} after ${acked}`);
      for (const event of sent.slice(page.next, page.next + 25 + round)) await page.send(JSON.stringify(event));
      acked = page.acked;
      page.socket.onclose = null;
      page.socket.terminate(); // as when a tab is closed
    }
    const page = await new Page(topic, { query }).welcome();
    for (const event of sent.slice(page.next)) await page.send(JSON.stringify(event));
    const after = await new Page(topic, { query }).welcome();
    // the last word is the newer one's
    for (const event of sent.slice(after.next)) await after.send(JSON.stringify(event));
    await after.finish();
    drainedAs(topic, sent);
  },

  async a_beacon_is_stored(bucket) {
    const topic = await pipeline(bucket);
    const beacon = (token, origin, body) => fetch(`http://${HOST}/${topic.name}?token=${token}`, {
      method: "POST", body, keepalive: true, headers: { origin, "content-type": "text/plain;charset=UTF-8" },
    });
    const answer = await beacon(topic.token, PAGE, '{"beacon":1}\n{"beacon":2}\n');
    assert.equal(answer.headers.get("access-control-allow-origin"), PAGE);
    assert.deepEqual((await answer.json()).result, { committed: 2 });
    const wrong = await beacon("x", PAGE, '{"beacon":3}');
    assert.equal(wrong.status, 401);
    await wrong.body.cancel();
    drainedAs(topic, [{ beacon: 1 }, { beacon: 2 }]);
  },

  /** One HTTP/2 connection with prior knowledge, many requests at the same time on it. */
  async http2_streams_share_a_connection(bucket) {
    const topic = await pipeline(bucket);
    const session = connect(`http://${HOST}`);
    const post = (token, body) => new Promise((done, fail) => {
      const stream = session.request({ ":method": "POST", ":path": `/${topic.name}`, authorization: `Bearer ${token}` });
      let text = "";
      let status;
      stream.on("response", (headers) => { status = headers[":status"]; });
      stream.setEncoding("utf8");
      stream.on("data", (piece) => { text += piece; });
      stream.on("end", () => done({ status, text }));
      stream.on("error", fail);
      stream.end(body);
    });
    const sent = Array.from({ length: 50 }, (_, n) => events(`h2-${n}`, 20));
    const answers = await Promise.all(sent.map((part) => post(topic.token, JSON.stringify(part))));
    for (const { status, text } of answers) {
      assert.equal(status, 200, text);
      assert.deepEqual(JSON.parse(text).result, { committed: 20 });
    }
    assert.equal((await post("x", "[{}]")).status, 401, "a refusal leaves the connection");
    assert.equal((await post(topic.token, "[1]")).status, 400);
    const large = events("large", 20_000);
    assert.equal((await post(topic.token, large.map((event) => JSON.stringify(event)).join("\n"))).status, 200);
    session.close();
    drainedAs(topic, [...sent.flat(), ...large]);
  },
};

const word = process.argv[2] ?? "";
const chosen = Object.entries(checks).filter(([name]) => name.includes(word));
let failed = 0;
for (const [name, check] of chosen) {
  const bucket = `js-${randomUUID().slice(0, 13)}`;
  const start = Date.now();
  try {
    await s3.send(new sdk.CreateBucketCommand({ Bucket: bucket }));
    await check(bucket);
    console.log(`passed ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
}
s3.destroy();
console.log(`${chosen.length - failed} passed, ${failed} failed`);
process.exit(failed > 0 || chosen.length === 0 ? 1 : 0); // a client that a check gave up on may still try again
