"""Senders over HTTP that send until they are answered, while their server is killed and started again: no event is lost, none
doubled. usage: http_kills.py

Some name each request with a key, some count their requests; some are sent twice although they were answered, of some the
answer is not waited for. The caller kills or stops the server meanwhile. They end when stdin is closed; then the pipelines are drained and compared.
Ends with `1 passed, 0 failed`.
"""

import json
import uuid

import http_sender
import kafka_suite
import kills
import suite

SAYS_EVERY = 50
REQUESTS_MAX = 20_000
# One in which the events stay in the log, one in which they become objects while the server is killed.
BATCH_SECONDS = [3600, 1]

suite.s3.create_bucket(Bucket="kills")
topics = [kafka_suite.pipeline("kills", token=True, batch_seconds=seconds) for seconds in BATCH_SECONDS]
again = []  # requests that were stored before the answer that came


class Sending:
    """A sender of numbered requests; `sent` of them are answered."""

    def __init__(self, topic, name, counts):
        self.topic, self.name, self.counts, self.sent = topic, name, counts, 0
        self.http = http_sender.Sender(topic)

    def events(self, number):
        return [{"of": self.name, "n": number, "event": event} for event in range(1 + number % 4)]

    def once(self, number):
        events = self.events(number)
        body = json.dumps(events).encode()
        name = {"X-Producer-Id": self.name, "X-Producer-Sequence": str(number)}
        headers = name if self.counts else {"Idempotency-Key": uuid.uuid4().hex}

        def send():
            if number % 10 == 3:
                self.http.begin(body, headers)
                self.http.cut()
            return self.http.stored(body, headers)

        broken = (*http_sender.BROKEN, http_sender.NotNow)
        result = kills.until_it_works(send, broken)
        assert result["committed"] == len(events), result
        if result.get("duplicate"):
            again.append(number)
        if number % 5 == 1:
            result = kills.until_it_works(lambda: self.http.stored(body, headers), broken)
            assert result == {"committed": len(events), "duplicate": True}, f"{number} is sent again: {result}"

    def run(self):
        while not (kills.told_to_stop.is_set() and again) and self.sent < REQUESTS_MAX:
            self.once(self.sent)
            self.sent += 1
            kills.acknowledged(SAYS_EVERY)


senders = [Sending(topic, f"{counts}-{number}", counts) for topic in topics for counts in (False, True) for number in range(2)]
kills.run([sender.run for sender in senders])
assert again, "no request was stored before its answer was lost"
for topic in topics:
    of_topic = [sender for sender in senders if sender.topic is topic]
    kafka_suite.drained_as(topic, [event for sender in of_topic for n in range(sender.sent) for event in sender.events(n)])
print(f"{[sender.sent for sender in senders]} requests, {len(again)} stored before their answer was lost\n1 passed, 0 failed")
