"""Checks of events over plain HTTP that are sent again, and of what pages of browsers do: read back whole.

usage: http_suite.py [WORD]
"""

import concurrent.futures
import gzip
import json
import uuid

import zstandard

import kafka_suite
from http_sender import Sender
from kafka_suite import drained_as, events, pipeline, value

PAGE = "https://app.example"


def array(some):
    return json.dumps(some, ensure_ascii=False).encode()


def key():
    return {"Idempotency-Key": uuid.uuid4().hex}


def numbered(name, sequence):
    return {"X-Producer-Id": name, "X-Producer-Sequence": str(sequence)}


def refused(answer, status, code):
    assert (answer.status, answer.said["errors"][0]["code"]) == (status, code), answer
    assert not answer.said["success"] and answer.said["errors"][0]["message"], answer
    return answer


def check_a_key_is_stored_once(bucket):
    topic = pipeline(bucket, token=True)
    sender, some = Sender(topic), events("key", 60)
    for at in range(0, 60, 3):
        headers, body = key(), array(some[at:at + 3])
        assert sender.post(body, headers).result == {"committed": 3}
        for _ in range(2):
            assert Sender(topic).post(body, headers).result == {"committed": 3, "duplicate": True}
        refused(sender.post(array(some[at:at + 2]), headers), 409, 1021)
        refused(sender.post(body + b" ", headers), 409, 1021)
    drained_as(topic, some)


def check_keys_of_two_pipelines_are_apart(bucket):
    one, two = pipeline(bucket), pipeline(bucket)
    headers = key()
    assert not Sender(one).post(b'{"a":1}', headers).duplicate
    assert not Sender(two).post(b'{"a":2}', headers).duplicate
    drained_as(one, [{"a": 1}])
    drained_as(two, [{"a": 2}])


def check_a_key_that_many_send_at_once_is_stored_once(bucket):
    topic = pipeline(bucket)
    some = events("at-once", 20)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for event in some:
            headers = key()
            answers = list(pool.map(lambda _: Sender(topic).post(value(event), headers), range(8)))
            assert [answer.duplicate for answer in answers].count(False) == 1, answers
    drained_as(topic, some)


def check_a_producer_counts(bucket):
    topic = pipeline(bucket, token=True)
    sender, some = Sender(topic), events("numbered", 30)
    for number, event in enumerate(some):
        assert sender.post(value(event), numbered("counts", number)).result == {"committed": 1}
        assert sender.post(value(event), numbered("counts", number)).result == {"committed": 1, "duplicate": True}
        refused(sender.post(value(event), numbered("counts", number + 2)), 409, 1021)
        refused(sender.post(b'{"another":1}', numbered("counts", number)), 409, 1021)
    for number in range(25, 30):
        assert sender.post(value(some[number]), numbered("counts", number)).duplicate
    refused(sender.post(value(some[0]), numbered("counts", 0)), 409, 1021)
    assert not sender.post(b'{"of":"another"}', numbered("another", 0)).duplicate
    drained_as(topic, [*some, {"of": "another"}])


def check_headers_that_do_not_fit_are_refused(bucket):
    topic = pipeline(bucket)
    sender = Sender(topic)
    for headers in [{"X-Producer-Id": "a"}, {"X-Producer-Sequence": "0"}, numbered("a", -1), numbered("a", "x"),
                    numbered("a", 2**31), numbered("", 0), {"Idempotency-Key": ""}, {"Idempotency-Key": "x" * 256},
                    key() | numbered("a", 0)]:
        refused(Sender(topic).post(b'{"a":1}', headers), 400, 1004)
    drained_as(topic, [])


def check_whole_or_lenient(bucket):
    topic = pipeline(bucket)
    sender = Sender(topic)
    body = b'[{"a":1},7,{"a":2},"x"]'
    answer = refused(sender.post(body), 400, 1003)
    assert [verdict["event"] for verdict in answer.said["verdicts"]] == [1, 3], answer
    headers = {"Prefer": "handling=lenient"} | key()
    for seen in [False, True]:
        result = sender.post(body, headers).result
        assert result.get("duplicate", False) == seen, result
        assert (result["committed"], result["dead_letters"]) == (2, 2), result
        assert [verdict["event"] for verdict in result["verdicts"]] == [1, 3], result
    assert sender.post(b'{"a":3}\nno json\n{"a":4}\n', {"Prefer": "respond-async, handling=lenient"}).result["committed"] == 2
    refused(sender.post(b'{"a":5}\nno json\n', {"Prefer": "handling=strict"}), 400, 1003)
    drained_as(topic, [{"a": n} for n in range(1, 5)], [b"7", b'"x"', b"no json"])


def check_packed_bodies_are_sent_again(bucket):
    topic = pipeline(bucket)
    sender, some = Sender(topic), events("packed", 400)
    packs = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}
    for (name, pack), part in zip(packs.items(), [some[:200], some[200:]]):
        headers = {"Content-Encoding": name} | key()
        body = pack(array(part))
        assert sender.post(body, headers).result == {"committed": 200}
        assert sender.post(body, headers).duplicate
    drained_as(topic, some)


def check_answers_that_are_not_waited_for(bucket):
    topic = pipeline(bucket, token=True)
    some = events("cut", 200)
    sender = Sender(topic)
    for number, event in enumerate(some):
        sender.begin(value(event), numbered("cut", number))
        sender.cut()
        assert sender.post(value(event), numbered("cut", number)).result["committed"] == 1
    drained_as(topic, some)


def check_what_is_refused_before_its_body_is_read(bucket):
    topic = pipeline(bucket, token=True)
    for length in [10, 100_000, 900_000, 4_000_000] * 5:
        sender = Sender(topic)
        body = b'{"text": "%s"}' % (b"x" * length)
        refused(sender.post(body, query="token=x"), 401, 10000)
        # as before on the same connection, unless the answer says that it ends
        refused(sender.post(body, {"X-Producer-Id": "a"}), 400, 1004)
    drained_as(topic, [])


def check_beacons_of_named_origins(bucket):
    topic = pipeline(bucket, token=True, origins=[PAGE])
    beacon = {"Content-Type": "text/plain;charset=UTF-8", "Origin": PAGE}
    query = f"token={topic.token}"
    answer = Sender(topic).post(b'{"beacon":1}', beacon, query)
    assert answer.result == {"committed": 1} and answer.headers["access-control-allow-origin"] == PAGE, answer
    refused(Sender(topic).post(b'{"beacon":2}', beacon, f"token={topic.token}x"), 401, 10000)
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, idempotency-key"}
    allowed = Sender(topic).post(None, ask | {"Origin": PAGE}, "preflight", "OPTIONS")
    assert allowed.status == 204 and allowed.headers["access-control-allow-origin"] == PAGE, allowed
    assert "idempotency-key" in allowed.headers["access-control-allow-headers"], allowed
    other = Sender(topic).post(None, ask | {"Origin": "https://evil.example"}, "preflight", "OPTIONS")
    assert other.status == 403 and "access-control-allow-origin" not in other.headers, other
    drained_as(topic, [{"beacon": 1}])


kafka_suite.main(globals())
