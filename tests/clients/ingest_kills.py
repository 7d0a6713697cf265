"""Producers over several protocols that feed one pipeline while its server is killed and started again: as DuckDB counts the
Parquet objects, no event is lost and none doubled. usage: ingest_kills.py PROTOCOLS EVENTS SAYS_EVERY

PROTOCOLS are some of http, websocket and kafka, with commas between. Each sends the flights with a number of its own, at least
EVENTS in all, and goes on until stdin is closed; `acknowledged N` is said after every SAYS_EVERY. Ends with `1 passed, 0 failed`.
"""

import gzip
import itertools
import pathlib
import sys
import time

from confluent_kafka import KafkaError, Producer

import duckdb_over_s3
import http_sender
import kafka_suite
import kills
import suite
import websocket_sender

PROTOCOLS = sys.argv[1].split(",")
EVENTS_LEAST, SAYS_EVERY = -(-int(sys.argv[2]) // len(PROTOCOLS)), int(sys.argv[3])
EVENTS_MOST = 20 * EVENTS_LEAST
FLIGHTS = gzip.open(pathlib.Path(__file__).parent.parent / "data/flights-2013.ndjson.gz", "rt").read().splitlines()
BODY_EVENTS, MESSAGE_EVENTS = 200, 50

suite.s3.create_bucket(Bucket="kills")
topic = kafka_suite.pipeline("kills", token=True, shards=kafka_suite.SHARDS, batch_seconds=1)


def event(protocol, number):
    return f'{{"of":"{protocol}","n":{number},{FLIGHTS[number % len(FLIGHTS)][1:]}'


def events(protocol, numbers):
    return "\n".join(event(protocol, number) for number in numbers)


class Sent:
    """How many events a protocol has sent, or will have when it may end now."""

    def __init__(self, protocol):
        self.protocol, self.events = protocol, 0

    def goes_on(self):
        enough = kills.told_to_stop.is_set() and self.events >= EVENTS_LEAST
        return not enough and self.events < EVENTS_MOST


def http(sent):
    sender = http_sender.Sender(topic)
    broken = (*http_sender.BROKEN, http_sender.NotNow)
    for sequence in itertools.count():
        if not sent.goes_on():
            return
        body = events("http", range(sent.events, sent.events + BODY_EVENTS)).encode()
        headers = {"X-Producer-Id": "http", "X-Producer-Sequence": str(sequence)}
        result = kills.until_it_works(lambda: sender.stored(body, headers), broken)
        assert result["committed"] == BODY_EVENTS, result
        sent.events += BODY_EVENTS
        kills.acknowledged(SAYS_EVERY, BODY_EVENTS)


def websocket(sent):
    headers = {"Authorization": f"Bearer {topic.token}"}
    broken = (*websocket_sender.BROKEN, websocket_sender.Refused)
    acknowledged = 0

    def note(sender):
        nonlocal acknowledged
        kills.acknowledged(SAYS_EVERY, (sender.acked - acknowledged) * MESSAGE_EVENTS)
        acknowledged = sender.acked

    def connect():
        return websocket_sender.Sender(topic, "producer=websocket", additional_headers=headers).welcome()

    while True:
        sender = kills.until_it_works(connect, broken)
        try:
            note(sender)
            while sent.goes_on() or sender.next * MESSAGE_EVENTS < sent.events:
                first = sender.next * MESSAGE_EVENTS
                sent.events = max(sent.events, first + MESSAGE_EVENTS)
                sender.send(events("websocket", range(first, first + MESSAGE_EVENTS)))
                note(sender)
            sender.flush()
            note(sender)
            return sender.finish()
        except broken:
            sender.cut()


def kafka(sent):
    failed = []
    producer = Producer({
        "bootstrap.servers": kafka_suite.BOOTSTRAP, "enable.idempotence": True, "compression.type": "zstd", "linger.ms": 5,
        "message.timeout.ms": 300_000, "reconnect.backoff.max.ms": 200, "retry.backoff.max.ms": 200,
        "queue.buffering.max.messages": 20_000, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": topic.name, "sasl.password": topic.token, "log_level": 0,
        "error_cb": lambda error: failed.append(str(error)) if error.code() == KafkaError._FATAL else None,
    })

    def report(error, _):
        if error:
            failed.append(str(error))
        else:
            kills.acknowledged(SAYS_EVERY)

    while sent.goes_on():
        try:
            producer.produce(topic.name, event("kafka", sent.events), key=b"%d" % (sent.events % 100), on_delivery=report)
            sent.events += 1
            producer.poll(0)
        except BufferError:
            producer.poll(0.05)
    left = producer.flush(suite.PROGRAM_LIMIT_SECONDS)
    assert not failed and left == 0, f"{left} without a report, failed: {failed[:5]}"


def check(sent):
    """The objects hold the events that were sent, each once."""
    counted = duckdb_over_s3.connect().execute(
        "SELECT count(*), count(DISTINCT n), min(n), max(n), sum(distance) "
        f"FROM read_parquet('s3://kills/{topic.name}/**/*.parquet', union_by_name = true, hive_partitioning = false) "
        "WHERE \"of\" = ?", [sent.protocol],
    ).fetchone()
    distance = sum(DISTANCES[number % len(FLIGHTS)] for number in range(sent.events))
    expected = (sent.events, sent.events, 0, sent.events - 1, distance)
    assert counted == expected, f"{sent.protocol}: rows, numbers, least, most, miles are {counted} instead of {expected}"


DISTANCES = [int(flight.split('"distance":')[1].split(",")[0].rstrip("}")) for flight in FLIGHTS]
start = time.monotonic()
senders = [(Sent(protocol), {"http": http, "websocket": websocket, "kafka": kafka}[protocol]) for protocol in PROTOCOLS]
kills.run([lambda sent=sent, send=send: send(sent) for sent, send in senders])
took = time.monotonic() - start
kafka_suite.drain(topic)
assert not kafka_suite.dead_letters(topic)
for sent, _ in senders:
    check(sent)
print(f"{[(sent.protocol, sent.events) for sent, _ in senders]} events in {took:.0f} s\n1 passed, 0 failed")
