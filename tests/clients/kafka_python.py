"""Producers and readers with kafka-python on pipelines. usage: kafka_python.py [WORD]"""

import json
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors as refusals
from kafka.admin import NewTopic

import kafka_suite
import suite
from kafka_suite import (BOOTSTRAP, CODECS, EVENT_BYTES_MAX, MECHANISMS, NO_EVENTS, REFUSAL_LIMIT, SHARDS, WAIT_LIMIT,
                         Bounded, Placed, events, key, value)

LIMITS = {"bootstrap_servers": BOOTSTRAP, "request_timeout_ms": 15_000, "bootstrap_timeout_ms": 10_000}


def login(user, password, mechanism="SCRAM-SHA-256"):
    return {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, "sasl_plain_username": user,
            "sasl_plain_password": password}


KEY_LOGIN = login(suite.KEY, suite.SECRET)


def producer(**more):
    return KafkaProducer(**LIMITS | {"max_block_ms": 10_000, "delivery_timeout_ms": 30_000} | more)


def consumer(**more):
    return KafkaConsumer(**LIMITS | {"group_id": None, "auto_offset_reset": "none"} | KEY_LOGIN | more)


def codec_name(codec):
    return None if codec == "none" else codec


def send_all(sender, topic, batch, placed=None):
    """Sends the events, waits for their reports and notes them."""
    reports = [(event, sender.send(topic.name, value(event), key(event))) for event in batch]
    sender.flush(WAIT_LIMIT)
    for event, report in reports:
        report = report.get(WAIT_LIMIT)
        if placed is not None:
            placed.add(report.partition, report.offset, event)


def read(reader, count):
    """So many events, as (partition, offset, text)."""
    found, end = [], time.monotonic() + WAIT_LIMIT
    while len(found) < count and time.monotonic() < end:
        for messages in reader.poll(timeout_ms=200).values():
            found += [(message.partition, message.offset, message.value) for message in messages]
    assert len(found) == count, f"{len(found)} events instead of {count}"
    return found


def refused(kind, what, do):
    """`do` must raise that error in time."""
    with Bounded(what):
        try:
            done = do()
        except kind as error:
            return error
        raise AssertionError(f"{what} was not refused: {done}")


def check_every_codec_acks_and_idempotence(bucket):
    topic = kafka_suite.pipeline(bucket)
    sent = []
    for codec in CODECS:
        for acks, idempotent in ((0, False), (1, False), ("all", False), ("all", True)):
            batch = events(f"{codec}-{acks}-{idempotent}", 300)
            sender = producer(compression_type=codec_name(codec), acks=acks, enable_idempotence=idempotent, linger_ms=20)
            placed = None if acks == 0 else Placed()
            send_all(sender, topic, batch, placed)
            sender.close(WAIT_LIMIT)
            sent += batch
    kafka_suite.until("all are taken", lambda: kafka_suite.accepted(topic) >= len(sent))
    kafka_suite.drained_as(topic, sent)


def check_thousands_with_keys_keep_their_order_in_three_partitions(bucket):
    topic = kafka_suite.pipeline(bucket, shards=SHARDS, json_key=".site")
    sent, placed = events("keyed", 5000), Placed()
    sender = producer(compression_type="zstd", linger_ms=5)
    assert sender.partitions_for(topic.name) == set(range(SHARDS))
    send_all(sender, topic, sent, placed)
    sender.close(WAIT_LIMIT)
    assert len(placed.at) == len(sent)
    placed.check_keys()
    reader = consumer()
    reader.assign([TopicPartition(topic.name, shard) for shard in range(SHARDS)])
    reader.seek_to_beginning()
    placed.check_read(read(reader, len(sent)))
    reader.close()
    kafka_suite.drained_as(topic, sent)


def check_a_record_that_is_no_event_costs_no_other(bucket):
    topic = kafka_suite.pipeline(bucket)
    sender = producer(linger_ms=200, compression_type="gzip")
    sent = events("fine", 40)
    reports = []
    for number, event in enumerate(sent):
        reports.append(sender.send(topic.name, value(event)))
        if number < len(NO_EVENTS):
            reports.append(sender.send(topic.name, NO_EVENTS[number], b"k"))
    reports.append(sender.send(topic.name, None, b"k"))
    sender.flush(WAIT_LIMIT)
    offsets = [report.get(WAIT_LIMIT).offset for report in reports]
    assert offsets == list(range(len(reports))), offsets
    sender.close(WAIT_LIMIT)
    kafka_suite.drained_as(topic, sent, [*NO_EVENTS, b""])


def check_what_is_too_large_is_refused_and_the_rest_is_taken(bucket):
    topic = kafka_suite.pipeline(bucket)
    sender = producer(max_request_size=20_000_000)
    largest = kafka_suite.large(EVENT_BYTES_MAX)
    send_all(sender, topic, [largest])
    for length in (EVENT_BYTES_MAX + 1, 6_000_000):
        body = value(kafka_suite.large(length))
        refused(refusals.MessageSizeTooLargeError, f"{length} bytes", lambda: sender.send(topic.name, body).get(WAIT_LIMIT))
    own = producer()
    refused(refusals.MessageSizeTooLargeError, "the client's own limit",
            lambda: own.send(topic.name, value(kafka_suite.large(1_100_000))).get(WAIT_LIMIT))
    # an idempotent producer of this client is at its end after a refusal
    after = events("after", 10)
    send_all(own, topic, after)
    sender.close(WAIT_LIMIT)
    own.close(WAIT_LIMIT)
    kafka_suite.drained_as(topic, [largest, *after])


def check_logins_let_in_whom_they_should(bucket):
    topic, other = kafka_suite.pipeline(bucket, token=True), kafka_suite.pipeline(bucket, token=True)
    sent = []
    for mechanism in MECHANISMS:
        for user, password in ((topic.name, topic.token), (suite.KEY, suite.SECRET)):
            batch = events(f"{mechanism}-{user}", 20)
            sender = producer(**login(user, password, mechanism))
            send_all(sender, topic, batch, Placed())
            sender.close(WAIT_LIMIT)
            sent += batch
        for user, password in ((topic.name, topic.token[:-1]), ("nobody", topic.token), (suite.KEY, "x")):
            refused((refusals.SaslAuthenticationFailedError, refusals.KafkaTimeoutError, refusals.NodeNotReadyError),
                    f"{user} by {mechanism}",
                    lambda: producer(**login(user, password, mechanism) | {"bootstrap_timeout_ms": 1500, "max_block_ms": 1500})
                    .send(topic.name, b"{}").get(REFUSAL_LIMIT))
    for who in ({}, login(other.name, other.token)):
        refused(refusals.TopicAuthorizationFailedError, "another login",
                lambda: producer(**who).send(topic.name, b"{}").get(REFUSAL_LIMIT))
    kafka_suite.drained_as(topic, sent)
    kafka_suite.drain(other)


def check_what_does_not_exist_is_refused_in_time(bucket):
    topic = kafka_suite.pipeline(bucket)
    # this client asks for the topic until max_block_ms is over
    sender = producer(max_block_ms=3000)
    refused(refusals.KafkaTimeoutError, "an unknown topic", lambda: sender.send("no-such-topic", b"{}").get(REFUSAL_LIMIT))
    sender.close(1)
    kafka_suite.drained_as(topic, [])


def check_metadata_lists_what_one_may_see(bucket):
    open_topic, closed = kafka_suite.pipeline(bucket, shards=SHARDS), kafka_suite.pipeline(bucket, token=True)
    anybody = KafkaConsumer(**LIMITS)
    assert open_topic.name in anybody.topics() and closed.name not in anybody.topics(), anybody.topics()
    owner = consumer()
    assert owner.topics() >= {open_topic.name, closed.name}, owner.topics()
    assert owner.partitions_for_topic(open_topic.name) == set(range(SHARDS))
    admin = KafkaAdminClient(**LIMITS | KEY_LOGIN)
    cluster = admin.describe_cluster()
    assert [f"{broker['host']}:{broker['port']}" for broker in cluster["brokers"]] == [BOOTSTRAP], cluster
    error = refused(refusals.KafkaError, "a topic", lambda: admin.create_topics([NewTopic("made", 1, 1)]))
    assert "POLICY_VIOLATION" in repr(error).upper() or "pipelines create" in repr(error), repr(error)
    for client in (anybody, owner, admin):
        client.close()
    for topic in (open_topic, closed):
        kafka_suite.drain(topic)


def check_readers_begin_where_they_ask(bucket):
    topic = kafka_suite.pipeline(bucket, token=True)
    sender = producer(**login(topic.name, topic.token))
    sent = events("read", 2000)
    send_all(sender, topic, sent[:500])
    partition = TopicPartition(topic.name, 0)
    reader, following = consumer(), consumer()
    for one in (reader, following):
        one.assign([partition])
    reader.seek_to_beginning(partition)
    assert [json.loads(text) for *_, text in read(reader, 500)] == sent[:500]
    assert (reader.beginning_offsets([partition]), reader.end_offsets([partition])) == ({partition: 0}, {partition: 500})
    reader.seek(partition, 490)
    assert [offset for _, offset, _ in read(reader, 10)] == list(range(490, 500))
    following.seek_to_end(partition)
    assert following.position(partition) == 500
    before = int(time.time() * 1000)
    kafka_suite.until("a millisecond has passed", lambda: int(time.time() * 1000) > before + 1)
    send_all(sender, topic, sent[500:])
    sender.close(WAIT_LIMIT)
    assert [json.loads(text) for *_, text in read(following, 1500)] == sent[500:]
    for at, expected in ((0, 0), (before + 1, 500), (before + 3_600_000, None)):
        found = reader.offsets_for_times({partition: at})[partition]
        assert (found.offset if found else None) in (expected, -1 if expected is None else expected), (at, found)
    reader.seek(partition, 100_000)
    refused(refusals.OffsetOutOfRangeError, "an offset beyond the end", lambda: [reader.poll(500) for _ in range(20)])
    reader.close()
    following.close()
    kafka_suite.drained_as(topic, sent)


def check_readers_come_to_the_end_of_every_partition(bucket):
    topic = kafka_suite.pipeline(bucket, shards=SHARDS)
    sender, sent = producer(), events("ended", 10)
    for event in sent:
        sender.send(topic.name, value(event), partition=event["n"] % 2).get(WAIT_LIMIT)
    sender.send(topic.name, b"no json", partition=1).get(WAIT_LIMIT)
    sender.close(WAIT_LIMIT)
    reader = consumer()
    partitions = [TopicPartition(topic.name, shard) for shard in range(SHARDS)]
    reader.assign(partitions)
    reader.seek_to_beginning()
    ends, found = reader.end_offsets(partitions), []

    # what programs do that read all there is
    def all_ended():
        heard = [message for messages in reader.poll(200).values() for message in messages]
        found.extend(json.loads(message.value) for message in heard if message.value is not None)
        return all(reader.position(partition) >= ends[partition] for partition in partitions)

    kafka_suite.until("all positions are at the end", all_ended, REFUSAL_LIMIT)
    kafka_suite.same_events(found, sent)
    reader.close()
    kafka_suite.drained_as(topic, sent, [b"no json"])


def check_only_keys_may_read(bucket):
    topic = kafka_suite.pipeline(bucket)
    sender = producer()
    send_all(sender, topic, events("secret", 1))
    reader = KafkaConsumer(**LIMITS)
    reader.assign([TopicPartition(topic.name, 0)])
    reader.seek(TopicPartition(topic.name, 0), 0)
    refused(refusals.TopicAuthorizationFailedError, "reading", lambda: [reader.poll(500) for _ in range(20)])
    reader.close()
    sender.close(WAIT_LIMIT)
    kafka_suite.drained_as(topic, events("secret", 1))


def check_groups_and_transactions_are_refused_in_time(bucket):
    topic = kafka_suite.pipeline(bucket)
    reader = consumer(group_id="g")
    reader.subscribe([topic.name])
    refused(refusals.GroupAuthorizationFailedError, "a group", lambda: [reader.poll(500) for _ in range(20)])
    reader.close(autocommit=False, timeout_ms=1000)
    sender = producer(transactional_id="t")
    refused(refusals.TransactionalIdAuthorizationFailedError, "transactions", sender.init_transactions)
    sender.close(1)
    kafka_suite.drained_as(topic, [])


if __name__ == "__main__":
    kafka_suite.main(globals())
