// Producers and readers with kafkajs and @platformatic/kafka on pipelines: the same checks with each.
//
// usage: node kafka.mjs [WORD]     (only the checks whose name has WORD, such as kafkajs)
//
// Prints one line a check and `N passed, N failed`. The address comes from KAFKA_BOOTSTRAP, the account from the AWS_ and
// CISTERN_API_ variables, the packages from .node (`cargo xtask setup`). Parquet is read by Python (kafka_stored.py).

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { drainedAs } from "./stored.mjs";

const require = createRequire(new URL("../../../.node/", import.meta.url));
const sdk = require("@aws-sdk/client-s3");
const kafkajs = require("kafkajs");
let platformatic; // loaded when it is asked for: it needs a newer Node.js than the rest

const BROKER = process.env.KAFKA_BOOTSTRAP;
const API = `${process.env.CISTERN_API_URL.replace(/\/$/, "")}/client/v4/accounts`;
const KEY = { username: process.env.AWS_ACCESS_KEY_ID, password: process.env.AWS_SECRET_ACCESS_KEY };
const SHARDS = 3;
const EVENT_BYTES_MAX = 1_000_000; // the largest event there may be
const REFUSAL_LIMIT_MS = 20_000; // the longest a client may take to be told no
const WAIT_LIMIT_MS = 60_000; // the longest wait for something that is on its way
const NO_EVENTS = ["no json", '{"cut": ', "[1, 2]", "7", '{"a": 1} {"a": 2}'];
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

/** A new pipeline into the bucket, which keeps its events in the log until it is drained. */
async function pipeline(bucket, { token = false, shards = 1, jsonKey } = {}) {
  const name = `topic-${randomUUID().slice(0, 13)}`;
  const batch = { max_duration_s: 3600, ...(jsonKey ? { on_json_key: jsonKey } : {}) };
  const made = await api("POST", await pipelines(), {
    name, metadata: { shards },
    source: [{ type: "http", format: "json", authentication: token }],
    destination: { type: "r2", batch, path: { bucket } },
  });
  return { name, bucket, token: token ? made.send_token : undefined };
}

/** Asks again and again until the condition holds. */
async function until(what, condition) {
  const start = Date.now();
  while (!(await condition())) {
    assert.ok(Date.now() - start < WAIT_LIMIT_MS, `waited in vain: ${what}`);
    await new Promise((go) => setTimeout(go, 20));
  }
}

async function accepted(topic) {
  return (await api("GET", await pipelines(topic.name))).status.events_accepted;
}

/** Events that differ from all those of another word, of ten sites. */
function events(word, count) {
  return Array.from({ length: count }, (_, n) => ({
    id: `${word}-${n}`, n, site: `site ${n % 10}`, half: n + 0.5, odd: n % 2 === 1, text: `ünï 日本 😀 "${n}" \\ \n`,
    deep: { list: [n, n + 1], far: n - Number.MAX_SAFE_INTEGER },
  }));
}

function record(event) {
  return { key: event.site, value: JSON.stringify(event) };
}

/** An event of exactly so many bytes that hardly shrinks. */
function large(length) {
  const event = { id: "large", text: "" };
  let text = "";
  for (let n = 0; text.length < length; n += 1) text += createHash("sha512").update(`${n}`).digest("hex");
  event.text = text.slice(0, length - JSON.stringify(event).length);
  assert.equal(JSON.stringify(event).length, length);
  return event;
}

/** What `act` throws, in time; its text and those of its causes must have one of the words. */
async function refused(words, act) {
  const start = Date.now();
  let done;
  try {
    done = await act();
  } catch (error) {
    const took = Date.now() - start;
    assert.ok(took < REFUSAL_LIMIT_MS, `the refusal took ${took} ms`);
    const said = everything(error);
    assert.ok(words.test(said), `${words} is not in ${said}`);
    return;
  }
  assert.fail(`${words}: not refused, ${JSON.stringify(done)}`);
}

function everything(error, depth = 0) {
  if (!error || depth > 8) return "";
  const inner = [error.cause, error.originalError, ...(error.errors ?? [])].map((one) => everything(one, depth + 1));
  return [error.name, error.type, error.code, error.apiId, error.message, ...inner].filter(Boolean).join(" ");
}

/** Offsets of sent batches as [partition, base offset]; none is given twice. */
function checkPlaces(places) {
  assert.ok(places.every(([, offset]) => offset >= 0n), `no offset: ${places}`);
  assert.equal(new Set(places.map(String)).size, places.length, `an offset twice: ${places}`);
}

const withKafkajs = {
  codecs: ["none", "gzip"], // the others are plug-ins

  client(login) {
    return new kafkajs.Kafka({
      brokers: [BROKER], clientId: "suite", logLevel: kafkajs.logLevel.NOTHING, requestTimeout: 10_000,
      retry: { retries: 2, initialRetryTime: 50 }, ...(login ? { sasl: { ...login, mechanism: login.mechanism.toLowerCase() } } : {}),
    });
  },

  async producer({ login, idempotent = false } = {}) {
    const sender = this.client(login).producer({ idempotent, allowAutoTopicCreation: false });
    await sender.connect();
    return {
      async send(topic, messages, { codec = "none", acks = -1, partition } = {}) {
        const compression = { none: kafkajs.CompressionTypes.None, gzip: kafkajs.CompressionTypes.GZIP }[codec];
        const sent = messages.map((message) => ({ ...message, ...(partition === undefined ? {} : { partition }) }));
        const said = await sender.send({ topic: topic.name ?? topic, messages: sent, acks, compression });
        return (said ?? []).map(({ partition, baseOffset }) => [partition, BigInt(baseOffset)]);
      },
      close: () => sender.disconnect(),
    };
  },

  async metadata(login) {
    const admin = this.client(login).admin();
    await admin.connect();
    try {
      const { topics } = await admin.fetchTopicMetadata();
      const { brokers } = await admin.describeCluster();
      return {
        topics: new Map(topics.map(({ name, partitions }) => [name, partitions.length])),
        brokers: brokers.map(({ host, port }) => `${host}:${port}`),
      };
    } finally {
      await admin.disconnect();
    }
  },

  async offsets(topic, login) {
    const admin = this.client(login).admin();
    await admin.connect();
    try {
      const [{ low, high }] = await admin.fetchTopicOffsets(topic.name);
      return [BigInt(low), BigInt(high)];
    } finally {
      await admin.disconnect();
    }
  },

  async group(topic, login) {
    const reader = this.client(login).consumer({ groupId: "g", retry: { retries: 1 } });
    await reader.connect();
    try {
      await reader.subscribe({ topics: [topic.name] });
      // it goes on by itself and says so only here
      const crashed = new Promise((_, fail) => reader.on(reader.events.CRASH, ({ payload }) => fail(payload.error)));
      await Promise.race([crashed, reader.run({ eachMessage: async () => {} }).then(() => crashed)]);
    } finally {
      await reader.disconnect();
    }
  },

  async transaction() {
    const sender = this.client().producer({ transactionalId: "t", idempotent: true, maxInFlightRequests: 1 });
    try {
      await sender.connect();
      await (await sender.transaction()).commit();
    } finally {
      await sender.disconnect();
    }
  },
};

const withPlatformatic = {
  get codecs() {
    const { zstd } = platformatic.compressionsAlgorithms; // Node.js has it since 22.15
    return ["none", "gzip", "snappy", "lz4", ...(zstd.available ? ["zstd"] : [])];
  },

  options(login) {
    return { clientId: "suite", bootstrapBrokers: [BROKER], retries: 2, retryDelay: 50, timeout: 10_000, connectTimeout: 5000, sasl: login };
  },

  async producer({ login, idempotent = false } = {}) {
    const sender = new platformatic.Producer({ ...this.options(login), idempotent, serializers: platformatic.stringSerializers });
    return {
      async send(topic, messages, { codec = "none", acks = -1, partition } = {}) {
        const sent = messages.map(({ key, value }) => ({ topic: topic.name ?? topic, key, value: value ?? undefined, partition }));
        const said = await sender.send({ messages: sent, acks, compression: codec });
        return (said.offsets ?? []).map(({ partition, offset }) => [partition, offset]);
      },
      close: () => sender.close(),
    };
  },

  async metadata(login) {
    const admin = new platformatic.Admin(this.options(login));
    try {
      const names = await admin.listTopics();
      const found = await admin.metadata({ topics: names });
      return {
        topics: new Map([...found.topics].map(([name, topic]) => [name, topic.partitionsCount])),
        brokers: [...found.brokers.values()].map(({ host, port }) => `${host}:${port}`),
      };
    } finally {
      await admin.close();
    }
  },

  async offsets(topic, login) {
    const reader = new platformatic.Consumer({ ...this.options(login), groupId: "unused" });
    try {
      const at = async (timestamp) => (await reader.listOffsets({ topics: [topic.name], timestamp })).get(topic.name)[0];
      return [await at(-2n), await at(-1n)];
    } finally {
      await reader.close(true);
    }
  },

  async group(topic, login) {
    const reader = new platformatic.Consumer({ ...this.options(login), groupId: "g" });
    try {
      await reader.consume({ topics: [topic.name], mode: "earliest" });
    } finally {
      await reader.close(true);
    }
  },

  async transaction() {
    const sender = new platformatic.Producer({ ...this.options(), transactionalId: "t", idempotent: true });
    try {
      await sender.beginTransaction();
    } finally {
      await sender.close(true);
    }
  },
};

const checks = {
  async codecs_acks_and_idempotence(client, bucket) {
    const topic = await pipeline(bucket);
    const sent = [];
    for (const codec of client.codecs) {
      for (const [acks, idempotent] of [[0, false], [1, false], [-1, false], [-1, true]]) {
        const sender = await client.producer({ idempotent });
        const places = [];
        for (let part = 0; part < 5; part += 1) {
          const batch = events(`${codec}-${acks}-${idempotent}-${part}`, 60);
          places.push(...(await sender.send(topic, batch.map(record), { codec, acks })));
          sent.push(...batch);
        }
        if (acks !== 0) {
          checkPlaces(places);
          assert.equal(places.length, 5);
        } else {
          // nothing says when what is not waited for has come, and closing may overtake it
          await until("all are taken", async () => (await accepted(topic)) >= sent.length);
        }
        await sender.close();
      }
    }
    drainedAs(topic, sent);
  },

  async thousands_with_keys_in_three_partitions(client, bucket) {
    const topic = await pipeline(bucket, { shards: SHARDS, jsonKey: ".site" });
    const sender = await client.producer({ idempotent: true });
    const sent = events("keyed", 5000);
    const places = [];
    for (let at = 0; at < sent.length; at += 250) {
      places.push(...(await sender.send(topic, sent.slice(at, at + 250).map(record), { codec: "gzip" })));
    }
    await sender.close();
    checkPlaces(places);
    assert.equal(new Set(places.map(([partition]) => partition)).size, SHARDS);
    drainedAs(topic, sent);
  },

  async a_record_that_is_no_event_costs_no_other(client, bucket) {
    const topic = await pipeline(bucket);
    const sender = await client.producer();
    const sent = events("fine", 20);
    const odd = NO_EVENTS.map((value) => ({ key: "k", value }));
    await sender.send(topic, [...sent.slice(0, 10).map(record), ...odd, { key: "k", value: null }, ...sent.slice(10).map(record)]);
    await sender.close();
    drainedAs(topic, sent, [...NO_EVENTS, ""]);
  },

  async what_is_too_large_is_refused_and_the_rest_is_taken(client, bucket) {
    const topic = await pipeline(bucket);
    const sender = await client.producer();
    const [largest, after] = [large(EVENT_BYTES_MAX), events("after", 10)];
    await sender.send(topic, [{ value: JSON.stringify(largest) }]);
    for (const length of [EVENT_BYTES_MAX + 1, 6_000_000]) {
      await refused(/MESSAGE_TOO_LARGE|larger than the max/, () => sender.send(topic, [{ value: JSON.stringify(large(length)) }]));
    }
    await sender.send(topic, after.map(record));
    await sender.close();
    drainedAs(topic, [largest, ...after]);
  },

  async logins_let_in_whom_they_should(client, bucket) {
    const topic = await pipeline(bucket, { token: true });
    const other = await pipeline(bucket, { token: true });
    const sent = [];
    const attempt = async (login, messages) => {
      const sender = await client.producer({ login });
      try {
        return await sender.send(topic, messages);
      } finally {
        await sender.close();
      }
    };
    for (const mechanism of ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]) {
      for (const login of [{ username: topic.name, password: topic.token }, KEY]) {
        const batch = events(`${mechanism}-${login.username}`, 20);
        checkPlaces(await attempt({ mechanism, ...login }, batch.map(record)));
        sent.push(...batch);
      }
      for (const [username, password] of [[topic.name, topic.token.slice(1)], ["nobody", topic.token], [KEY.username, "x"]]) {
        await refused(/SASL|AUTHENTICATION/i, () => attempt({ mechanism, username, password }, [{ value: "{}" }]));
      }
    }
    const foreign = { mechanism: "PLAIN", username: other.name, password: other.token };
    for (const login of [undefined, foreign]) {
      await refused(/TOPIC_AUTHORIZATION_FAILED|not authorized/i, () => attempt(login, [{ value: "{}" }]));
    }
    drainedAs(topic, sent);
    drainedAs(other, []);
  },

  async what_does_not_exist_is_refused(client, bucket) {
    const topic = await pipeline(bucket);
    const sender = await client.producer();
    await refused(/UNKNOWN_TOPIC_OR_PARTITION|does not host this topic|Unknown topic/i, () => sender.send("no-such-topic", [{ value: "{}" }]));
    await sender.close();
    drainedAs(topic, []);
  },

  async metadata_lists_what_one_may_see(client, bucket) {
    const [open, closed] = [await pipeline(bucket, { shards: SHARDS }), await pipeline(bucket, { token: true })];
    const nobody = await client.metadata();
    const owner = await client.metadata({ mechanism: "SCRAM-SHA-256", ...KEY });
    assert.deepEqual([nobody.topics.get(open.name), nobody.topics.get(closed.name)], [SHARDS, undefined]);
    assert.deepEqual([owner.topics.get(open.name), owner.topics.get(closed.name)], [SHARDS, 1]);
    assert.deepEqual([nobody.brokers, owner.brokers], [[BROKER], [BROKER]]);
    for (const topic of [open, closed]) drainedAs(topic, []);
  },

  async offsets_are_told_to_keys_only(client, bucket) {
    const topic = await pipeline(bucket);
    const sender = await client.producer();
    await sender.send(topic, events("some", 7).map(record));
    await sender.close();
    assert.deepEqual(await client.offsets(topic, { mechanism: "SCRAM-SHA-256", ...KEY }), [0n, 7n]);
    await refused(/TOPIC_AUTHORIZATION_FAILED|not authorized/i, () => client.offsets(topic));
    drainedAs(topic, events("some", 7));
  },

  async groups_and_transactions_are_refused(client, bucket) {
    const topic = await pipeline(bucket);
    await refused(/GROUP_AUTHORIZATION_FAILED|not authorized to access group|Failed to find group coordinator/i, () => client.group(topic, { mechanism: "PLAIN", ...KEY }));
    await refused(/TRANSACTIONAL_ID_AUTHORIZATION_FAILED|transactional id authorization|Failed to find group coordinator/i, () => client.transaction());
    drainedAs(topic, []);
  },
};

const word = process.argv[2] ?? "";
const clients = { kafkajs: withKafkajs, platformatic: withPlatformatic };
const all = Object.entries(clients).flatMap(([name, client]) =>
  Object.entries(checks).map(([check, act]) => [`${name}_${check}`, (bucket) => act(client, bucket)]));
const chosen = all.filter(([name]) => name.includes(word));
if (chosen.some(([name]) => name.startsWith("platformatic"))) {
  platformatic = await import(new URL("../../../.node/node_modules/@platformatic/kafka/dist/index.js", import.meta.url));
}
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
