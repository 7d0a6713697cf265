"""Checks with the package websockets: events over WebSocket into pipelines, read back whole.

usage: websocket_suite.py [WORD]
"""

import json
import threading

from websockets.exceptions import InvalidStatus

import kafka_suite
import suite
from kafka_suite import EVENT_BYTES_MAX, Bounded, drained_as, events, large, pipeline, value
from websocket_sender import BROKEN, Refused, Sender

LOAD_EVENTS = 20_000
LOAD_LIMIT_SECONDS = 20
PAGE = "https://app.example"


def lines(some):
    return b"\n".join(value(event) for event in some)


def array(some):
    return json.dumps(some, ensure_ascii=False)


def ends_with(sender, code, close):
    """The server must say `code` and close with `close`, in time."""
    with Bounded(f"refusal {code}"):
        try:
            sender.flush()
            sender.hear()
        except Refused as refused:
            assert (refused.code, refused.close) == (code, close), refused
            return refused
    raise AssertionError(f"not refused with {code}")


def not_let_in(status, *where, **how):
    with Bounded(f"refusal {status}"):
        try:
            Sender(*where, **how)
        except InvalidStatus as refused:
            assert refused.response.status_code == status, refused
            return
    raise AssertionError(f"{where} {how} is let in")


def check_sends_events_of_every_shape(bucket):
    topic = pipeline(bucket)
    sender = Sender(topic).welcome()
    some = events("shape", 90)
    sender.send(value(some[0]).decode())
    sender.send(value(some[1]))
    sender.send(array(some[2:20]))
    sender.send(array(some[20:30]).encode())
    sender.send(json.dumps(some[30:40], indent=2))
    sender.send(lines(some[40:60]).decode())
    sender.send(lines(some[60:80]) + b"\r\n\n")
    in_parts = lines(some[80:])
    sender.count(len(in_parts))
    sender.socket.send(in_parts[at:at + 100] for at in range(0, len(in_parts), 100))
    largest = large(EVENT_BYTES_MAX)
    sender.send(value(largest))
    sender.finish()
    assert (sender.acked, sender.committed, sender.dead_letters, sender.verdicts) == (9, 91, 0, [])
    drained_as(topic, some + [largest])


def check_sends_thousands_up_to_the_credit_and_beyond(bucket):
    topic = pipeline(bucket)
    sender = Sender(topic).welcome()
    some = events("many", 16_000)
    for at in range(0, 4000, 2):
        sender.send(array(some[at:at + 2]))
    sender.flush()
    # what is more than the credit waits in the socket
    assert sender.messages < 12_000
    for event in some[4000:]:
        sender.send_anyway(value(event))
    sender.finish()
    assert (sender.acked, sender.committed) == (14_000, 16_000)
    drained_as(topic, some)


def check_sends_no_events_and_is_told_which(bucket):
    topic = pipeline(bucket)
    sender = Sender(topic).welcome()
    good = events("good", 50)
    told = {}
    for number in range(10):
        some = good[number * 5:number * 5 + 5]
        if number % 3 == 1:
            sender.send(array([*some[:2], 7, *some[2:], "text"]))
            told |= {(number, 2): b"7", (number, 6): b'"text"'}
        elif number % 3 == 2:
            sender.send(b"\n".join([value(some[0]), b"no json", lines(some[1:])]))
            told[number, 1] = b"no json"
        else:
            sender.send(array(some))
    for whole in [b"no json", b"[1, ", b"", b"   ", b"\x00\x01\xff"]:
        told[sender.next, 0] = whole
        sender.send(whole)
    sender.finish()
    verdicts = [(verdict["message"], verdict["event"]) for verdict in sender.verdicts]
    assert verdicts == sorted(told), f"{verdicts} instead of {sorted(told)}"
    assert all(verdict["reason"] for verdict in sender.verdicts)
    assert (sender.committed, sender.dead_letters) == (50, len(told))
    drained_as(topic, good, told.values())


def check_sends_while_pinged(bucket):
    topic = pipeline(bucket)
    sender = Sender(topic).welcome()
    some = events("ping", 300)
    for at, event in enumerate(some):
        sender.send(value(event))
        if at % 50 == 0:
            answered = sender.socket.ping(b"%d" % at)
            # the package reads in a thread of its own, so that acknowledgements do not stand before the pong for ever
            while not answered.wait(0.01):
                sender.take_ack()
    sender.finish()
    drained_as(topic, some)


def check_refuses_wrong_tokens(bucket):
    topic, other = pipeline(bucket, token=True), pipeline(bucket, token=True)
    some = events("token", 4)

    def bearer(token):
        return {"additional_headers": {"Authorization": f"Bearer {token}"}}

    def first(token):
        sender = Sender(topic)
        sender.socket.send(token)
        return sender

    for event, sender in zip(some, [Sender(topic, **bearer(topic.token)), Sender(topic, f"token={topic.token}"),
                                    Sender(topic, f"producer=p&token={topic.token}"),
                                    first(json.dumps({"token": topic.token}))]):
        sender.welcome().send(value(event))
        sender.finish()
    for wrong in [other.token, topic.token[:-1], topic.token + "x", "x"]:
        not_let_in(401, topic, **bearer(wrong))
        not_let_in(401, topic, f"token={wrong}")
        with Bounded("a wrong token"):
            for message in [json.dumps({"token": wrong}), json.dumps({"token": wrong}).encode()]:
                try:
                    first(message).welcome()
                except Refused as refused:
                    assert (refused.code, refused.close) == (10000, 1008), refused
                else:
                    raise AssertionError(f"{message} is let in")
    for message in [value(some[0]), "", "[]", "null", topic.token, '{"token": 7}', b"\xff"]:
        try:
            first(message).welcome()
        except Refused as refused:
            assert (refused.code, refused.close) == (10000, 1008), refused
        else:
            raise AssertionError(f"{message} is let in")
    not_let_in(404, kafka_suite.Topic("no-such-pipeline", bucket, None))
    drained_as(topic, some)
    drained_as(other, [])


def check_refuses_other_origins(bucket):
    named, nobody = pipeline(bucket, origins=[PAGE]), pipeline(bucket)
    sender = Sender(named, origin=PAGE).welcome()
    sender.send(b'{"page": 1}')
    sender.finish()
    for origin in ["https://app.example.evil", "http://app.example", "https://app.example:8443", "https://evil.example", "null"]:
        not_let_in(403, named, origin=origin)
        not_let_in(403, nobody, origin=origin)
    drained_as(named, [{"page": 1}])
    drained_as(nobody, [])


def check_refuses_what_is_too_large(bucket):
    topic = pipeline(bucket)
    before = events("before", 4)
    too_large = value(large(EVENT_BYTES_MAX + 1))
    for event, body in zip(before, [too_large, b"[%s]" % too_large, b'{"a":1}\n' + too_large]):
        sender = Sender(topic).welcome()
        sender.send(value(event))
        sender.send_anyway(body)
        ends_with(sender, 1018, 1009)
        assert sender.acked == 1
    sender = Sender(topic).welcome()
    sender.send(value(before[3]))
    sender.finish()
    drained_as(topic, before)


def check_refuses_what_is_larger_than_a_message(bucket):
    topic = pipeline(bucket)
    for n, length in enumerate([1_100_000, 2_000_000, 9_000_000] * 3):
        sender = Sender(topic).welcome()
        sender.send(b'{"n":%d}' % n)
        try:
            sender.send_anyway(b"x" * length)
        except BROKEN:
            pass  # the server may have ended it before all was sent
        told = sender.last_words()
        assert told and (told.code, told.close) == (1018, 1009), f"{length} bytes: {told}"
    drained_as(topic, [{"n": n} for n in range(9)])


def check_refuses_text_that_is_none(bucket):
    topic = pipeline(bucket)
    sender = Sender(topic).welcome()
    sender.send(b'{"a": 1}')
    sender.send_anyway(b'{"a": "\xff\xfe"}', text=True)
    ends_with(sender, 1003, 1007)
    drained_as(topic, [{"a": 1}])


def check_resumes_after_connections_break(bucket):
    topic = pipeline(bucket)
    some = events("resume", 1000)
    acked = at = 0
    for round_ in range(20):
        sender = Sender(topic, "producer=resumes").welcome()
        assert acked <= sender.next <= at, f"next is {sender.next}, {acked} are acknowledged, {at} sent"
        at = sender.next
        for event in some[at:at + 30 + round_]:
            sender.send(value(event))
        at, acked = max(at, sender.next), sender.acked
        sender.cut()
    sender = Sender(topic, "producer=resumes").welcome()
    assert sender.next >= acked
    for event in some[sender.next:]:
        sender.send(value(event))
    sender.finish()
    assert sender.acked == len(some)
    with Bounded("the welcome"):
        assert Sender(topic, "producer=resumes").welcome().next == len(some)
        assert Sender(topic, "producer=another").welcome().next == 0
        assert Sender(topic).welcome().next == 0
    drained_as(topic, some)


def check_resumes_elsewhere_and_the_older_connection_is_told(bucket):
    topic = pipeline(bucket)
    older = Sender(topic, "producer=same").welcome()
    older.send(b'{"of": "older", "n": 0}')
    older.flush()
    newer = Sender(topic, "producer=same").welcome()
    assert newer.next == 1, newer.next
    older.send(b'{"of": "older", "n": 1}')
    ends_with(older, 1021, 1008)
    assert older.acked == 1
    newer.send(b'{"of": "newer", "n": 1}')
    newer.finish()
    assert Sender(topic, "producer=same").welcome().next == 2
    drained_as(topic, [{"of": "older", "n": 0}, {"of": "newer", "n": 1}])


def check_resumes_elsewhere_while_the_older_connection_sends(bucket):
    topic = pipeline(bucket)
    stored = []
    for round_ in range(5):
        query = f"producer=race-{round_}"
        older, told = Sender(topic, query).welcome(), []
        older.messages = 100  # fewer than it may: acknowledgements are heard sooner
        going = threading.Event()

        def send_on():
            try:
                while True:
                    older.send(b'{"round": %d, "of": "older", "n": %d}' % (round_, older.next))
                    if older.acked > 20:
                        going.set()
            except Refused as refused:
                told.append(refused)
            except BROKEN:
                told.append(older.last_words())

        sending = threading.Thread(target=send_on)
        sending.start()
        assert going.wait(kafka_suite.WAIT_LIMIT)
        newer = Sender(topic, query).welcome()
        first = newer.next
        for n in range(first, first + 100):
            newer.send(b'{"round": %d, "of": "newer", "n": %d}' % (round_, n))
        newer.finish()
        sending.join(kafka_suite.WAIT_LIMIT)
        assert len(told) == 1, "the older connection is still there"
        assert told[0] and (told[0].code, told[0].close) == (1021, 1008), told
        assert older.acked <= first, f"{older.acked} acknowledged to the older, the newer begins at {first}"
        stored += [{"round": round_, "of": "older", "n": n} for n in range(first)]
        stored += [{"round": round_, "of": "newer", "n": n} for n in range(first, first + 100)]
    drained_as(topic, stored)


def check_load_of_twenty_thousand(bucket):
    topic = pipeline(bucket)
    sender = Sender(topic).welcome()
    with Bounded(f"{LOAD_EVENTS} events", LOAD_LIMIT_SECONDS):
        for n in range(LOAD_EVENTS):
            sender.send(b'{"n":%d}' % n)
        sender.flush()
    sender.finish()
    assert sender.committed == LOAD_EVENTS
    drained_as(topic, [{"n": n} for n in range(LOAD_EVENTS)])


kafka_suite.main(globals())
