"""What the suites of Kafka clients share: pipelines as topics, the events they send, and what came of them in the bucket.

Events are dictionaries. What was stored is compared as a multiset: none lost, none doubled, none changed. The address comes
from KAFKA_BOOTSTRAP, the account of the management API from the CISTERN_API_ variables.
"""

import base64
import collections
import dataclasses
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

import pyarrow
import pyarrow.parquet

import suite

BOOTSTRAP = os.environ["KAFKA_BOOTSTRAP"]
API = os.environ["CISTERN_API_URL"].rstrip("/") + "/client/v4/accounts"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
SHARDS = 3
EVENT_BYTES_MAX = 1_000_000  # the largest event there may be
# The longest a client may take to be told no, in seconds: each says so within a second or two on a machine that does
# nothing else.
REFUSAL_LIMIT = 20
# The longest wait for something that is on its way, in seconds.
WAIT_LIMIT = 60
# Records that are no events, and what the reason has in it.
NO_EVENTS = [b"no json", b'{"cut": ', b"[1, 2]", b"7", b'{"bytes": "\xff\xfe"}', b"", b'{"a": 1} {"a": 2}']


@dataclasses.dataclass
class Topic:
    """A pipeline: its name, where its events go, the token that lets one send (`None`: everyone may)."""

    name: str
    bucket: str
    token: str | None


def api(method, path="", body=None):
    """A call of the management API; answers its result, `None` when there is nothing of that name."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {os.environ['CISTERN_API_TOKEN']}", "Content-Type": "application/json"}
    request = urllib.request.Request(API + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=suite.PROGRAM_LIMIT_SECONDS) as answer:
            return json.load(answer)["result"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error


def _pipelines(name=""):
    return f"/{api('GET')[0]['id']}/pipelines/{name}".rstrip("/")


def pipeline(bucket, token=False, shards=1, json_key=None, origins=(), batch_seconds=3600):
    """A new pipeline into the bucket, which keeps its events in the log until it is drained, or for `batch_seconds`."""
    batch = {"max_duration_s": batch_seconds} | ({"on_json_key": json_key} if json_key else {})
    name = f"topic-{uuid.uuid4().hex[:12]}"
    made = api("POST", _pipelines(), {
        "name": name, "metadata": {"shards": shards},
        "source": [{"type": "http", "format": "json", "authentication": token, "cors": {"origins": list(origins)}}],
        "destination": {"type": "r2", "batch": batch, "path": {"bucket": bucket}},
    })
    return Topic(name, bucket, made["send_token"] if token else None)


def until(what, condition, limit=WAIT_LIMIT, state=lambda: "no more is known"):
    """Asks again and again until the condition holds; answers its value. In vain, it fails with the state."""
    start = time.monotonic()
    while not (value := condition()):
        assert time.monotonic() - start < limit, f"waited {limit} s in vain: {what}: {state()}"
        time.sleep(0.02)
    return value


def accepted(topic):
    """How many events the pipeline has taken."""
    return api("GET", _pipelines(topic.name))["status"]["events_accepted"]


def drain(topic):
    """Ends the pipeline: everything it has taken is in objects afterwards."""
    api("DELETE", _pipelines(topic.name) + "?mode=drain")

    def left():
        return api("GET", _pipelines(topic.name))

    until(f"{topic.name} is drained", lambda: left() is None, state=left)


def stored(topic):
    """All events in Parquet objects of the pipeline, read with PyArrow, without the fields that are null."""
    rows = []
    for key in suite.keys(topic.bucket, f"{topic.name}/"):
        if key.endswith(".parquet"):
            # on this thread alone: a process that ends while PyArrow's threads still start is aborted now and then
            file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(suite.body(topic.bucket, key)), pre_buffer=False)
            rows += file.read(use_threads=False).to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def dead_letters(topic):
    """All dead letters of the pipeline."""
    keys = suite.keys(topic.bucket, f"{topic.name}/dead-letters/")
    return [json.loads(line) for key in keys for line in suite.body(topic.bucket, key).splitlines()]


def _multiset(events):
    return collections.Counter(json.dumps(event, sort_keys=True) for event in events)


def same_events(found, expected):
    """Two lists of events must be equal but for their order."""
    found, expected = _multiset(found), _multiset(expected)
    lost, more = expected - found, found - expected
    assert not lost and not more, (f"{lost.total()} lost, {more.total()} too many or changed of {expected.total()}: "
                                   f"lost {list(lost)[:3]}, too many {list(more)[:3]}")


def drained_as(topic, expected, letters=()):
    """Drains the pipeline; the expected events and dead letters must be in the bucket, and nothing else."""
    drain(topic)
    same_events(stored(topic), expected)
    found = collections.Counter(letter_value(letter) for letter in dead_letters(topic))
    assert found == collections.Counter(letters), f"dead letters {found} instead of {letters}"


def letter_value(letter):
    """The bytes of the record that became a dead letter."""
    event = letter["event"]
    assert letter["reason"] and isinstance(letter["offset"], int), letter
    if isinstance(event, dict) and list(event) == ["base64"]:
        return base64.b64decode(event["base64"])
    return (event if isinstance(event, str) else json.dumps(event)).encode()


def events(word, count):
    """Events that differ from all those of another word, of all kinds of values and of ten sites."""
    return [{"id": f"{word}-{n}", "n": n, "site": f"site {n % 10}", "half": n / 2, "odd": n % 2 == 1,
             "text": f"ünï 日本 😀 \"{n}\" \\ \n", "deep": {"list": [n, n + 1], "far": -(2**53) + n}} for n in range(count)]


def value(event):
    """An event as a record's value."""
    return json.dumps(event, ensure_ascii=False).encode()


def key(event):
    """The record's key of an event: its site."""
    return event["site"].encode()


def large(length):
    """An event of exactly so many bytes that hardly shrinks, so that a client sends it as large as it is."""
    event = {"id": "large", "site": "one", "text": ""}
    event["text"] = suite.content(length, length // 2 + 1).hex()[:length - len(value(event))]
    assert len(value(event)) == length
    return event


class Placed:
    """What delivery reports said: which event is where."""

    def __init__(self):
        self.at = {}

    def add(self, partition, offset, event):
        assert offset >= 0, f"no offset for {event['id']}: {offset}"
        assert (partition, offset) not in self.at, f"offset {offset} of partition {partition} is given twice"
        self.at[partition, offset] = event

    def check_keys(self):
        """All events of a key are in one partition, in the order they were sent in."""
        partitions, last = {}, {}
        for (partition, _), event in sorted(self.at.items()):
            site = event["site"]
            assert partitions.setdefault(site, partition) == partition, f"{site} is in two partitions"
            assert last.get(site, -1) < event["n"], f"{event['id']} is before one that was sent earlier"
            last[site] = event["n"]

    def check_read(self, read):
        """What a reader got, as (partition, offset, value): each partition in order, each event where its report said."""
        same_events([json.loads(text) for _, _, text in read], self.at.values())
        last = {}
        for partition, offset, text in read:
            assert last.get(partition, -1) < offset, f"offset {offset} of partition {partition} out of order"
            last[partition] = offset
            assert json.loads(text) == self.at.get((partition, offset)), f"another event at {partition}/{offset}"


class Bounded:
    """A block that must be done within the limit for refusals."""

    def __init__(self, what, limit=REFUSAL_LIMIT):
        self.what, self.limit = what, limit

    def __enter__(self):
        self.start = time.monotonic()

    def __exit__(self, kind, *_):
        took = time.monotonic() - self.start
        assert kind or took < self.limit, f"{self.what} took {took:.1f} s"


def main(names):
    """Runs the checks and ends at once: a client that a check gave up on may still be at work."""
    code = 1
    try:
        suite.main(names)
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    os._exit(code)
