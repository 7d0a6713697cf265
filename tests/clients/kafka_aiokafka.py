"""Producers and readers with aiokafka on pipelines. usage: kafka_aiokafka.py [WORD]"""

import asyncio
import functools
import json
import logging
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors as refusals
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import kafka_suite
import suite
from kafka_suite import (BOOTSTRAP, CODECS, EVENT_BYTES_MAX, MECHANISMS, NO_EVENTS, REFUSAL_LIMIT, SHARDS, WAIT_LIMIT,
                         Bounded, Placed, events, key, value)

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def login(user, password, mechanism="SCRAM-SHA-256"):
    return {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, "sasl_plain_username": user,
            "sasl_plain_password": password}


KEY_LOGIN = login(suite.KEY, suite.SECRET)


def producer(**more):
    return AIOKafkaProducer(**{"bootstrap_servers": BOOTSTRAP, "request_timeout_ms": 10_000} | more)


def consumer(**more):
    return AIOKafkaConsumer(**{"bootstrap_servers": BOOTSTRAP, "request_timeout_ms": 10_000, "group_id": None,
                               "auto_offset_reset": "none"} | KEY_LOGIN | more)


def check(function):
    """A check as a coroutine, in the shape that the suite runs."""
    @functools.wraps(function)
    def run(bucket):
        asyncio.run(asyncio.wait_for(function(bucket), suite.PROGRAM_LIMIT_SECONDS))
    return run


async def send_all(sender, topic, batch, placed=None):
    """Sends the events, waits for their reports and notes them."""
    reports = [(event, await sender.send(topic.name, value(event), key(event))) for event in batch]
    await sender.flush()
    for event, report in reports:
        report = await report
        if placed is not None:
            placed.add(report.partition, report.offset, event)


async def read(reader, count):
    """So many events, as (partition, offset, text)."""
    found, end = [], time.monotonic() + WAIT_LIMIT
    while len(found) < count and time.monotonic() < end:
        for messages in (await reader.getmany(timeout_ms=200)).values():
            found += [(message.partition, message.offset, message.value) for message in messages]
    assert len(found) == count, f"{len(found)} events instead of {count}"
    return found


async def refused(kind, what, do):
    """The coroutine that `do` makes must raise that error in time."""
    with Bounded(what):
        try:
            done = await asyncio.wait_for(do(), REFUSAL_LIMIT)
        except kind as error:
            return error
        raise AssertionError(f"{what} was not refused: {done}")


async def send_one(topic_name, body=b"{}", **more):
    sender = producer(**more)
    try:
        await sender.start()
        return await sender.send_and_wait(topic_name, body)
    finally:
        await sender.stop()


@check
async def check_every_codec_acks_and_idempotence(bucket):
    topic = kafka_suite.pipeline(bucket)
    sent = []
    for codec in CODECS:
        for acks, idempotent in ((0, False), (1, False), ("all", False), ("all", True)):
            batch = events(f"{codec}-{acks}-{idempotent}", 300)
            async with producer(compression_type=None if codec == "none" else codec, acks=acks, enable_idempotence=idempotent,
                                linger_ms=20) as sender:
                await send_all(sender, topic, batch, None if acks == 0 else Placed())
            sent += batch
    kafka_suite.until("all are taken", lambda: kafka_suite.accepted(topic) >= len(sent))
    kafka_suite.drained_as(topic, sent)


@check
async def check_thousands_with_keys_keep_their_order_in_three_partitions(bucket):
    topic = kafka_suite.pipeline(bucket, shards=SHARDS, json_key=".site")
    sent, placed = events("keyed", 5000), Placed()
    async with producer(compression_type="lz4", linger_ms=5, enable_idempotence=True) as sender:
        assert await sender.partitions_for(topic.name) == set(range(SHARDS))
        await send_all(sender, topic, sent, placed)
    placed.check_keys()
    async with consumer() as reader:
        reader.assign([TopicPartition(topic.name, shard) for shard in range(SHARDS)])
        await reader.seek_to_beginning()
        placed.check_read(await read(reader, len(sent)))
    kafka_suite.drained_as(topic, sent)


@check
async def check_a_record_that_is_no_event_costs_no_other(bucket):
    topic = kafka_suite.pipeline(bucket)
    sent, reports = events("fine", 40), []
    async with producer(linger_ms=200, compression_type="snappy") as sender:
        for number, event in enumerate(sent):
            reports.append(await sender.send(topic.name, value(event)))
            if number < len(NO_EVENTS):
                reports.append(await sender.send(topic.name, NO_EVENTS[number], b"k"))
        reports.append(await sender.send(topic.name, None, b"k"))
        await sender.flush()
        offsets = [(await report).offset for report in reports]
    assert offsets == list(range(len(reports))), offsets
    kafka_suite.drained_as(topic, sent, [*NO_EVENTS, b""])


@check
async def check_what_is_too_large_is_refused_and_the_rest_is_taken(bucket):
    topic = kafka_suite.pipeline(bucket)
    largest, after = kafka_suite.large(EVENT_BYTES_MAX), events("after", 10)
    async with producer(max_request_size=20_000_000) as sender:
        await send_all(sender, topic, [largest])
        for length in (EVENT_BYTES_MAX + 1, 6_000_000):
            body = value(kafka_suite.large(length))
            await refused(refusals.MessageSizeTooLargeError, f"{length} bytes", lambda: sender.send_and_wait(topic.name, body))
        await send_all(sender, topic, after)
    body = value(kafka_suite.large(1_100_000))
    await refused(refusals.MessageSizeTooLargeError, "the client's own limit", lambda: send_one(topic.name, body))
    kafka_suite.drained_as(topic, [largest, *after])


@check
async def check_logins_let_in_whom_they_should(bucket):
    topic, other = kafka_suite.pipeline(bucket, token=True), kafka_suite.pipeline(bucket, token=True)
    sent = []
    for mechanism in MECHANISMS:
        for user, password in ((topic.name, topic.token), (suite.KEY, suite.SECRET)):
            batch = events(f"{mechanism}-{user}", 20)
            async with producer(**login(user, password, mechanism)) as sender:
                await send_all(sender, topic, batch, Placed())
            sent += batch
        for user, password in ((topic.name, topic.token[:-1]), ("nobody", topic.token), (suite.KEY, "x")):
            await refused((refusals.KafkaConnectionError, refusals.AuthenticationFailedError), f"{user} by {mechanism}",
                          lambda: send_one(topic.name, **login(user, password, mechanism)))
    for who in ({}, login(other.name, other.token)):
        await refused(refusals.TopicAuthorizationFailedError, "another login", lambda: send_one(topic.name, **who))
    kafka_suite.drained_as(topic, sent)
    kafka_suite.drain(other)


@check
async def check_what_does_not_exist_is_refused_in_time(bucket):
    topic = kafka_suite.pipeline(bucket)
    # this client asks for the topic until request_timeout_ms is over
    await refused((refusals.UnknownTopicOrPartitionError, refusals.KafkaTimeoutError), "an unknown topic",
                  lambda: send_one("no-such-topic", request_timeout_ms=2000))
    kafka_suite.drained_as(topic, [])


@check
async def check_metadata_lists_what_one_may_see(bucket):
    open_topic, closed = kafka_suite.pipeline(bucket, shards=SHARDS), kafka_suite.pipeline(bucket, token=True)
    async with AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP) as anybody:
        seen = await anybody.topics()
        assert open_topic.name in seen and closed.name not in seen, seen
    async with consumer() as owner:
        assert await owner.topics() >= {open_topic.name, closed.name}
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP, **KEY_LOGIN)
    await admin.start()
    cluster = await admin.describe_cluster()
    assert [f"{broker['host']}:{broker['port']}" for broker in cluster["brokers"]] == [BOOTSTRAP], cluster
    made = await admin.create_topics([NewTopic("made", 1, 1)])
    assert [error[1] for error in made.topic_errors] == [refusals.PolicyViolationError.errno], made
    await admin.close()
    for topic in (open_topic, closed):
        kafka_suite.drain(topic)


@check
async def check_readers_begin_where_they_ask(bucket):
    topic = kafka_suite.pipeline(bucket, token=True)
    sent, partition = events("read", 2000), TopicPartition(topic.name, 0)
    async with (producer(**login(topic.name, topic.token)) as sender, consumer() as reader, consumer() as following):
        await send_all(sender, topic, sent[:500])
        for one in (reader, following):
            one.assign([partition])
        await reader.seek_to_beginning(partition)
        assert [json.loads(text) for *_, text in await read(reader, 500)] == sent[:500]
        assert await reader.beginning_offsets([partition]) == {partition: 0}
        assert await reader.end_offsets([partition]) == {partition: 500}
        reader.seek(partition, 490)
        assert [offset for _, offset, _ in await read(reader, 10)] == list(range(490, 500))
        await following.seek_to_end(partition)
        assert await following.position(partition) == 500
        before = int(time.time() * 1000)
        kafka_suite.until("a millisecond has passed", lambda: int(time.time() * 1000) > before + 1)
        await send_all(sender, topic, sent[500:])
        assert [json.loads(text) for *_, text in await read(following, 1500)] == sent[500:]
        for at, expected in ((0, 0), (before + 1, 500), (before + 3_600_000, None)):
            found = (await reader.offsets_for_times({partition: at}))[partition]
            assert (found.offset if found else None) == expected, (at, found)
        reader.seek(partition, 100_000)
        await refused(refusals.OffsetOutOfRangeError, "an offset beyond the end", lambda: reader.getone(partition))
    kafka_suite.drained_as(topic, sent)


@check
async def check_readers_come_to_the_end_of_every_partition(bucket):
    topic, sent = kafka_suite.pipeline(bucket, shards=SHARDS), events("ended", 10)
    async with producer() as sender:
        for event in sent:
            await sender.send_and_wait(topic.name, value(event), partition=event["n"] % 2)
        await sender.send_and_wait(topic.name, b"no json", partition=1)
    async with consumer() as reader:
        partitions = [TopicPartition(topic.name, shard) for shard in range(SHARDS)]
        reader.assign(partitions)
        await reader.seek_to_beginning()
        ends, found, end = await reader.end_offsets(partitions), [], time.monotonic() + REFUSAL_LIMIT
        # what programs do that read all there is
        while any([await reader.position(partition) < ends[partition] for partition in partitions]):
            assert time.monotonic() < end, f"the positions do not come to the end {ends}"
            heard = [message for got in (await reader.getmany(timeout_ms=200)).values() for message in got]
            found += [json.loads(message.value) for message in heard if message.value is not None]
    kafka_suite.same_events(found, sent)
    kafka_suite.drained_as(topic, sent, [b"no json"])


@check
async def check_only_keys_may_read(bucket):
    topic = kafka_suite.pipeline(bucket)
    async with producer() as sender, AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP) as reader:
        await send_all(sender, topic, events("secret", 1))
        reader.assign([TopicPartition(topic.name, 0)])
        reader.seek(TopicPartition(topic.name, 0), 0)
        await refused(refusals.TopicAuthorizationFailedError, "reading", lambda: reader.getone())
    kafka_suite.drained_as(topic, events("secret", 1))


@check
async def check_groups_and_transactions_are_refused_in_time(bucket):
    topic = kafka_suite.pipeline(bucket)
    reader = AIOKafkaConsumer(topic.name, bootstrap_servers=BOOTSTRAP, group_id="g", **KEY_LOGIN)
    await refused(refusals.GroupAuthorizationFailedError, "a group", reader.start)
    await reader.stop()
    sender = producer(transactional_id="t")
    await refused(refusals.TransactionalIdAuthorizationFailed, "transactions", sender.start)
    await sender.stop()
    kafka_suite.drained_as(topic, [])


if __name__ == "__main__":
    kafka_suite.main(globals())
