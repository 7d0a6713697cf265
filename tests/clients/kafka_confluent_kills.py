"""An idempotent producer of confluent-kafka that stays while its server is killed and started again: no event is lost, none
doubled. usage: kafka_confluent_kills.py

Sends without an end, and says `acknowledged N` on stdout after each thousand; its caller kills the server meanwhile. Sends no more
when its stdin is closed, waits for all reports, drains the pipeline and compares. Ends with `1 passed, 0 failed`.
"""

import sys
import threading

from confluent_kafka import KafkaError, Producer

import kafka_suite
import suite

SAYS_EVERY = 1000
EVENTS_MAX = 400_000

told_to_stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), told_to_stop.set()), daemon=True).start()
suite.s3.create_bucket(Bucket="kills")
topic = kafka_suite.pipeline("kills", token=True, shards=kafka_suite.SHARDS)
acknowledged, places, failed = [], set(), []


def report(error, message):
    if error:
        failed.append(str(error))
        return
    number = int(message.value().split(b":")[1].rstrip(b"}"))
    acknowledged.append(number)
    # the log's place is the event's: another event at it would mean that one of them is not there
    place = (message.partition(), message.offset())
    if message.offset() >= 0:
        assert place not in places, f"two events at {place}"
        places.add(place)
    if len(acknowledged) % SAYS_EVERY == 0:
        print(f"acknowledged {len(acknowledged)}", flush=True)


producer = Producer({
    "bootstrap.servers": kafka_suite.BOOTSTRAP, "enable.idempotence": True, "linger.ms": 2, "batch.num.messages": 200,
    "compression.type": "lz4", "message.timeout.ms": 120_000, "reconnect.backoff.max.ms": 200, "retry.backoff.max.ms": 200,
    "queue.buffering.max.messages": 2000, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": topic.name, "sasl.password": topic.token, "log_level": 0,
    "error_cb": lambda error: failed.append(str(error)) if error.code() == KafkaError._FATAL else None,
})
sent = 0
while not told_to_stop.is_set() and sent < EVENTS_MAX:
    try:
        producer.produce(topic.name, b'{"n":%d}' % sent, key=b"%d" % (sent % 100), on_delivery=report)
        sent += 1
        producer.poll(0)
    except BufferError:
        producer.poll(0.05)
left = producer.flush(suite.PROGRAM_LIMIT_SECONDS)
assert not failed and left == 0, f"{left} without a report, failed: {failed[:5]}"
assert sorted(acknowledged) == list(range(sent)), f"{len(acknowledged)} acknowledged of {sent}"
kafka_suite.drained_as(topic, [{"n": n} for n in range(sent)])
print(f"{sent} events\n1 passed, 0 failed")
