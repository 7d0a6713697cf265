"""Producers over WebSocket that come back while their server is killed and started again: no event is lost, none doubled.
usage: websocket_kills.py

Each sends numbered messages without an end, as many as the credit allows; the caller of the script kills or stops the server meanwhile.
After a break, it drops what lies before `next` and sends the rest again. Sends no more when its stdin is closed, waits for all
acknowledgements, drains the pipelines and compares. Ends with `1 passed, 0 failed`.
"""

import json

import kafka_suite
import kills
import suite
from websocket_sender import BROKEN, Refused, Sender

SAYS_EVERY = 500
MESSAGES_MAX = 60_000
# One in which the events stay in the log, one in which they become objects while the server is killed.
BATCH_SECONDS = [3600, 1]
PRODUCERS = 2

suite.s3.create_bucket(Bucket="kills")
topics = [kafka_suite.pipeline("kills", token=True, batch_seconds=seconds) for seconds in BATCH_SECONDS]
breaks = []


def message(name, number):
    """The events of a message; those of some are more than one, or none."""
    some = [{"of": name, "n": number, "event": event} for event in range(1 + number % 4)]
    return some + [f"{name} {number}"] if number % 50 == 7 else some


class Producer:
    """`sent` messages so far, those before `acked` are known to be stored."""

    def __init__(self, topic, name):
        self.topic, self.name = topic, name
        self.sent = self.acked = 0

    def connect(self):
        headers = {"Authorization": f"Bearer {self.topic.token}"}
        sender = Sender(self.topic, f"producer={self.name}", additional_headers=headers).welcome()
        assert self.acked <= sender.next <= self.sent, f"{self.name}: next {sender.next} after {self.acked}, {self.sent}"
        return sender

    def note(self, sender):
        kills.acknowledged(SAYS_EVERY, sender.acked - self.acked)
        self.acked = sender.acked

    def send_on(self):
        """One connection, until it breaks or everything is stored."""
        sender = self.connect()
        self.note(sender)
        while not (kills.told_to_stop.is_set() or sender.next >= MESSAGES_MAX) or sender.next < self.sent:
            body = json.dumps(message(self.name, sender.next))
            self.sent = max(self.sent, sender.next + 1)
            sender.send(body)
            self.note(sender)
        sender.flush()
        self.note(sender)
        sender.finish()

    def run(self):
        while True:
            try:
                return self.send_on()
            except Refused as refused:
                assert refused.close in (1001, 1013), refused
                breaks.append(repr(refused))
            except BROKEN as error:
                breaks.append(repr(error))
            # the last one may be there still: a connection that comes back takes the name over
            kills.until_it_works(lambda: self.connect().cut(), (*BROKEN, Refused))


producers = [Producer(topic, f"p{number}") for topic in topics for number in range(PRODUCERS)]
kills.run([producer.run for producer in producers])
assert breaks, "no connection has broken"
for topic in topics:
    of_topic = [producer for producer in producers if producer.topic is topic]
    whole = [event for producer in of_topic for number in range(producer.sent) for event in message(producer.name, number)]
    letters = [json.dumps(event).encode() for event in whole if isinstance(event, str)]
    kafka_suite.drained_as(topic, [event for event in whole if isinstance(event, dict)], letters)
print(f"{[producer.sent for producer in producers]} messages, {len(breaks)} breaks\n1 passed, 0 failed")
