"""Producers and readers with confluent-kafka (librdkafka) on pipelines. usage: kafka_confluent.py [WORD]"""

import json
import time

from confluent_kafka import (OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Producer, TopicPartition)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

import kafka_suite
import suite
from kafka_suite import (BOOTSTRAP, CODECS, EVENT_BYTES_MAX, MECHANISMS, NO_EVENTS, REFUSAL_LIMIT, SHARDS, WAIT_LIMIT,
                         Bounded, Placed, events, key, value)


def login(user, password, mechanism="SCRAM-SHA-256"):
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": user,
            "sasl.password": password}


KEY_LOGIN = login(suite.KEY, suite.SECRET)


def settings(more):
    return {"bootstrap.servers": BOOTSTRAP, "topic.metadata.propagation.max.ms": 1000, "message.timeout.ms": 30000,
            "log_level": 0} | more


class Sender:
    """A producer that keeps what its delivery reports and its error callback say."""

    def __init__(self, **more):
        self.placed, self.errors, self.reports, self.said = Placed(), [], 0, []
        more = {name.replace("_", "."): value for name, value in more.items()} | more.pop("settings", {})
        more.pop("settings", None)
        self.offsets = more.get("acks") != "0"
        self.producer = Producer(settings(more | {"error_cb": lambda error: self.said.append(error.code())}))

    def send(self, topic, event, **more):
        def report(error, message):
            self.reports += 1
            if error:
                self.errors.append(error.code())
            elif self.offsets and event is not None:
                self.placed.add(message.partition(), message.offset(), event)

        more = {"value": value(event), "key": key(event)} | more if event else more
        while True:
            try:
                self.producer.produce(topic.name, on_delivery=report, **more)
                return
            except BufferError:
                self.producer.poll(0.1)

    def flush(self):
        left = self.producer.flush(WAIT_LIMIT)
        assert left == 0, f"{left} records have no report"

    def refused(self):
        """The code of the one record that was sent, or of the login that it waits for."""
        with Bounded("the refusal"):
            end = time.monotonic() + REFUSAL_LIMIT
            while not self.errors and KafkaError._AUTHENTICATION not in self.said and time.monotonic() < end:
                assert not self.placed.at, "it was taken"
                self.producer.poll(0.1)
        return self.errors[0] if self.errors else KafkaError._AUTHENTICATION


def make_reader(more=None):
    """A reader without a group; librdkafka wants a group's name all the same, and says once that there are no groups."""
    plain = {"bootstrap.servers": BOOTSTRAP, "group.id": "unused", "enable.auto.commit": False, "log_level": 0,
             "enable.partition.eof": True, "auto.offset.reset": "error"}
    return Consumer(plain | (KEY_LOGIN if more is None else more))


def heard(consumer, count=1):
    """The next messages and errors, but for the word that there are no groups."""
    found = consumer.consume(count, 0.2)
    return [message for message in found if not message.error() or message.error().code() != KafkaError.GROUP_AUTHORIZATION_FAILED]


def read(consumer, count):
    """So many events, as (partition, offset, text)."""
    found, end = [], time.monotonic() + WAIT_LIMIT
    while len(found) < count and time.monotonic() < end:
        for message in heard(consumer, 500):
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            else:
                found.append((message.partition(), message.offset(), message.value()))
    assert len(found) == count, f"{len(found)} events instead of {count}"
    return found


def check_every_codec_with_and_without_idempotence(bucket):
    topic = kafka_suite.pipeline(bucket)
    sent = []
    for codec in CODECS:
        for idempotent in (False, True):
            batch = events(f"{codec}-{idempotent}", 500)
            sender = Sender(compression_type=codec, enable_idempotence=idempotent, linger_ms=20)
            for event in batch:
                sender.send(topic, event)
            sender.flush()
            assert not sender.errors and len(sender.placed.at) == len(batch), sender.errors
            sent += batch
    kafka_suite.drained_as(topic, sent)


def check_acks_none_one_and_all(bucket):
    topic = kafka_suite.pipeline(bucket)
    sent = []
    for acks in ("0", "1", "all"):
        for codec in CODECS:
            sender = Sender(compression_type=codec, acks=acks, linger_ms=20)
            batch = events(f"{acks}-{codec}", 300)
            for event in batch:
                sender.send(topic, event)
            sender.flush()
            assert not sender.errors and sender.reports == len(batch), sender.errors
            assert len(sender.placed.at) == (0 if acks == "0" else len(batch))
            sent += batch
    # nothing says when what was not waited for has come
    kafka_suite.until("all are taken", lambda: kafka_suite.accepted(topic) >= len(sent))
    kafka_suite.drained_as(topic, sent)


def check_thousands_with_keys_keep_their_order_in_three_partitions(bucket):
    topic = kafka_suite.pipeline(bucket, shards=SHARDS, json_key=".site")
    sender = Sender(enable_idempotence=True, compression_type="zstd", linger_ms=5)
    sent = events("keyed", 6000)
    for event in sent:
        sender.send(topic, event)
    sender.flush()
    assert not sender.errors and len(sender.placed.at) == len(sent)
    assert len({partition for partition, _ in sender.placed.at}) == SHARDS
    sender.placed.check_keys()
    consumer = make_reader()
    consumer.assign([TopicPartition(topic.name, shard, OFFSET_BEGINNING) for shard in range(SHARDS)])
    sender.placed.check_read(read(consumer, len(sent)))
    consumer.close()
    kafka_suite.drained_as(topic, sent)


def check_a_record_that_is_no_event_costs_no_other(bucket):
    for codec in ("none", "zstd"):
        topic = kafka_suite.pipeline(bucket)
        sender = Sender(compression_type=codec, linger_ms=200)
        sent = events("fine", 40)
        for number, event in enumerate(sent):
            sender.send(topic, event)
            if number < len(NO_EVENTS):
                sender.send(topic, None, value=NO_EVENTS[number], key=b"k")
        sender.send(topic, None, value=None, key=b"k")
        sender.send(topic, None, value=None)
        sender.flush()
        assert not sender.errors and sender.reports == len(sent) + len(NO_EVENTS) + 2, sender.errors
        kafka_suite.drained_as(topic, sent, [*NO_EVENTS, b"", b""])


def check_keys_headers_and_times_of_records_do_no_harm(bucket):
    topic = kafka_suite.pipeline(bucket)
    sender = Sender(linger_ms=50)
    sent = events("odd", 20)
    for event in sent:
        sender.send(topic, event, key=b"\x00\xff" * 50, headers=[("h", b"\x00"), ("h", None), ("ü" * 100, b"x" * 1000)],
                    timestamp=event["n"] * 10**9)
    sender.flush()
    assert not sender.errors, sender.errors
    kafka_suite.drained_as(topic, sent)


def check_what_is_too_large_is_refused_and_the_rest_is_taken(bucket):
    topic = kafka_suite.pipeline(bucket)
    largest = kafka_suite.large(EVENT_BYTES_MAX)
    sender = Sender(message_max_bytes=20_000_000, linger_ms=0)
    sender.send(topic, largest, key=None)
    sender.flush()
    assert not sender.errors, sender.errors
    for length, codec in [(EVENT_BYTES_MAX + 1, "none"), (EVENT_BYTES_MAX + 1, "zstd"), (6_000_000, "none"), (6_000_000, "gzip")]:
        sender = Sender(message_max_bytes=20_000_000, compression_type=codec)
        sender.send(topic, None, value=value(kafka_suite.large(length)))
        assert sender.refused() == KafkaError.MSG_SIZE_TOO_LARGE, (length, codec, sender.errors)
    bomb = Sender(message_max_bytes=40_000_000, compression_type="zstd")
    bomb.send(topic, None, value=b" " * 30_000_000 + b'{"id": "bomb"}')
    assert bomb.refused() == KafkaError.MSG_SIZE_TOO_LARGE, bomb.errors
    sender = Sender()
    try:
        sender.send(topic, kafka_suite.large(1_100_000), key=None)
        raise AssertionError("the client has no limit")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, error
    after = events("after", 10)
    for event in after:
        sender.send(topic, event)
    sender.flush()
    kafka_suite.drained_as(topic, [largest, *after])


def check_logins_let_in_whom_they_should(bucket):
    topic, other = kafka_suite.pipeline(bucket, token=True), kafka_suite.pipeline(bucket, token=True)
    sent = []
    for mechanism in MECHANISMS:
        for user, password in ((topic.name, topic.token), (suite.KEY, suite.SECRET)):
            sender = Sender(settings=login(user, password, mechanism), enable_idempotence=True)
            batch = events(f"{mechanism}-{user}", 20)
            for event in batch:
                sender.send(topic, event)
            sender.flush()
            assert not sender.errors and len(sender.placed.at) == len(batch), (mechanism, user, sender.errors)
            sent += batch
        for user, password in ((topic.name, topic.token[:-1]), (topic.name, other.token), ("nobody", topic.token),
                               (suite.KEY, topic.token), (topic.name, " ")):
            sender = Sender(settings=login(user, password, mechanism))
            sender.send(topic, {"id": "no", "site": "no"})
            assert sender.refused() == KafkaError._AUTHENTICATION, (mechanism, user, sender.errors)
    for who in ({}, login(other.name, other.token)):
        sender = Sender(settings=who)
        sender.send(topic, {"id": "no", "site": "no"})
        assert sender.refused() == KafkaError.TOPIC_AUTHORIZATION_FAILED, sender.errors
    kafka_suite.drained_as(topic, sent)
    kafka_suite.drained_as(other, [])


def check_what_does_not_exist_is_refused_in_time(bucket):
    topic = kafka_suite.pipeline(bucket, shards=SHARDS)
    for name in ("no-such-topic", "not_a.name of pipelines"):
        sender = Sender()
        sender.producer.produce(name, b"{}", on_delivery=lambda error, _: sender.errors.append(error.code()))
        code = sender.refused()
        assert code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC), code
    sender = Sender()
    try:
        sender.producer.produce(topic.name, b"{}", partition=SHARDS, on_delivery=lambda error, _: sender.errors.append(error.code()))
        code = sender.refused()
    except KafkaException as error:
        code = error.args[0].code()
    assert code == KafkaError._UNKNOWN_PARTITION, code
    kafka_suite.drained_as(topic, [])


def check_metadata_lists_what_one_may_see(bucket):
    open_topic, closed = kafka_suite.pipeline(bucket, shards=SHARDS), kafka_suite.pipeline(bucket, token=True)
    for who, seen in (({}, {open_topic.name}), (KEY_LOGIN, {open_topic.name, closed.name}),
                      (login(closed.name, closed.token), {open_topic.name, closed.name})):
        found = Producer(settings(who)).list_topics(timeout=REFUSAL_LIMIT)
        assert set(found.topics) & {open_topic.name, closed.name} == seen, found.topics
        assert {str(broker).split("/")[0] for broker in found.brokers.values()} == {BOOTSTRAP}, found.brokers
        assert len(found.topics[open_topic.name].partitions) == SHARDS and found.cluster_id
    admin = AdminClient(settings(KEY_LOGIN))
    cluster = admin.describe_cluster(request_timeout=REFUSAL_LIMIT).result(REFUSAL_LIMIT)
    assert [f"{node.host}:{node.port}" for node in cluster.nodes] == [BOOTSTRAP], cluster.nodes
    resource = ConfigResource(ConfigResource.Type.TOPIC, open_topic.name)
    found = admin.describe_configs([resource], request_timeout=REFUSAL_LIMIT)[resource].result(REFUSAL_LIMIT)
    assert int(found["max.message.bytes"].value) >= EVENT_BYTES_MAX, found
    try:
        admin.create_topics([NewTopic("made", 1, 1)], request_timeout=REFUSAL_LIMIT)["made"].result(REFUSAL_LIMIT)
        raise AssertionError("a topic was made")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.POLICY_VIOLATION and "pipelines create" in error.args[0].str(), error
    for topic in (open_topic, closed):
        kafka_suite.drain(topic)


def check_readers_begin_where_they_ask(bucket):
    topic = kafka_suite.pipeline(bucket, token=True)
    sender = Sender(settings=login(topic.name, topic.token))
    sent = events("read", 3000)
    for event in sent[:1000]:
        sender.send(topic, event)
    sender.flush()
    consumer = make_reader()
    partition = TopicPartition(topic.name, 0, OFFSET_BEGINNING)
    consumer.assign([partition])
    assert [json.loads(text) for *_, text in read(consumer, 1000)] == sent[:1000]
    consumer.assign([TopicPartition(topic.name, 0, 990)])
    assert [offset for _, offset, _ in read(consumer, 10)] == list(range(990, 1000))
    assert consumer.get_watermark_offsets(partition, timeout=REFUSAL_LIMIT) == (0, 1000)
    following = make_reader()
    following.assign([TopicPartition(topic.name, 0, OFFSET_END)])
    kafka_suite.until("the end is found", lambda: [
        message for message in heard(following)
        if message.error() and message.error().code() == KafkaError._PARTITION_EOF], REFUSAL_LIMIT)
    # the log's clock has millisecond steps: what comes now must have a later time
    before = int(time.time() * 1000)
    kafka_suite.until("a millisecond has passed", lambda: int(time.time() * 1000) > before + 1)
    for event in sent[1000:]:
        sender.send(topic, event)
    sender.flush()
    assert [json.loads(text) for *_, text in read(following, 2000)] == sent[1000:]
    for at, expected in ((0, 0), (before + 1, 1000), (before + 3_600_000, -1)):
        found = consumer.offsets_for_times([TopicPartition(topic.name, 0, at)], timeout=REFUSAL_LIMIT)[0]
        assert found.error is None and found.offset == expected, (at, found)
    consumer.seek(TopicPartition(topic.name, 0, 1000))
    assert read(consumer, 2000)[0][1] == 1000
    consumer.assign([TopicPartition(topic.name, 0, 100_000)])
    said = kafka_suite.until("out of range", lambda: [
        message.error().code() for message in heard(consumer)
        if message.error() and message.error().code() != KafkaError._PARTITION_EOF], REFUSAL_LIMIT)
    assert said[0] in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET), said
    consumer.close()
    following.close()
    kafka_suite.drained_as(topic, sent)


def check_readers_come_to_the_end_of_every_partition(bucket):
    topic = kafka_suite.pipeline(bucket, shards=SHARDS)
    sender = Sender()
    for event in events("ended", 10):
        sender.send(topic, event, partition=event["n"] % 2)
    sender.send(topic, None, value=b"no json", partition=1)
    sender.flush()
    consumer = make_reader()
    consumer.assign([TopicPartition(topic.name, shard, OFFSET_BEGINNING) for shard in range(SHARDS)])
    found, ended = [], set()

    def all_ended():
        for message in heard(consumer, 100):
            if message.error():
                ended.add(message.partition())
            elif message.value() is not None:  # what was no event has none
                found.append(json.loads(message.value()))
        return len(ended) == SHARDS

    kafka_suite.until("all partitions end", all_ended, REFUSAL_LIMIT)
    kafka_suite.same_events(found, events("ended", 10))
    consumer.close()
    kafka_suite.drained_as(topic, events("ended", 10), [b"no json"])


def check_only_keys_may_read(bucket):
    topic, closed = kafka_suite.pipeline(bucket), kafka_suite.pipeline(bucket, token=True)
    sender = Sender()
    sender.send(topic, {"id": "secret", "site": "x"})
    sender.flush()
    for name, who in ((topic.name, {}), (closed.name, login(closed.name, closed.token))):
        consumer = make_reader(who)
        consumer.assign([TopicPartition(name, 0, 0)])
        with Bounded("the refusal"):
            said = kafka_suite.until("a refusal", lambda: heard(consumer), REFUSAL_LIMIT)
        assert said[0].error() and said[0].error().code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, said[0].error()
        consumer.close()
    kafka_suite.drained_as(topic, [{"id": "secret", "site": "x"}])
    kafka_suite.drain(closed)


def check_groups_and_transactions_are_refused_in_time(bucket):
    topic = kafka_suite.pipeline(bucket)
    consumer = make_reader()
    consumer.subscribe([topic.name])
    with Bounded("the refusal of a group"):
        said = kafka_suite.until("a refusal", lambda: consumer.consume(1, 0.5), REFUSAL_LIMIT)
    assert said[0].error() and said[0].error().code() == KafkaError.GROUP_AUTHORIZATION_FAILED, said[0].error()
    consumer.close()
    producer = Producer(settings({"transactional.id": "t"}))
    with Bounded("the refusal of transactions"):
        try:
            producer.init_transactions(REFUSAL_LIMIT)
            raise AssertionError("there are transactions")
        except KafkaException as error:
            assert error.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, error
    kafka_suite.drained_as(topic, [])


if __name__ == "__main__":
    kafka_suite.main(globals())
