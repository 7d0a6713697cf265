"""Clients over TLS on every listener, with the authority of AWS_CA_BUNDLE and without it. usage: tls_suite.py [WORD]"""

import asyncio
import json
import os
import ssl
import time
import urllib.error
import urllib.request

import aiokafka
import boto3
import botocore
import botocore.exceptions
import confluent_kafka
import kafka
from botocore.config import Config

import kafka_suite
import suite
from kafka_suite import BOOTSTRAP, MECHANISMS, REFUSAL_LIMIT, WAIT_LIMIT, Bounded, Placed, events, key, value
from suite import MIB

CA = os.environ["AWS_CA_BUNDLE"]


def client(**more):
    config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=REFUSAL_LIMIT)
    return boto3.client("s3", config=config, **more)


def check_s3_with_the_authority_and_not_without(bucket):
    assert suite.ENDPOINT.startswith("https://"), suite.ENDPOINT
    s3, data = client(verify=CA), suite.content(1, 12 * MIB)
    s3.put_object(Bucket=bucket, Key="a b", Body=data)
    assert s3.get_object(Bucket=bucket, Key="a b")["Body"].read() == data
    address = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"})
    with urllib.request.urlopen(address, timeout=WAIT_LIMIT, context=ssl.create_default_context(cafile=CA)) as answer:
        assert answer.read() == data
    del os.environ["AWS_CA_BUNDLE"]
    try:
        client().list_buckets()
        raise AssertionError("a certificate of nobody was believed")
    except botocore.exceptions.SSLError:
        pass
    finally:
        os.environ["AWS_CA_BUNDLE"] = CA
    with Bounded("a client without TLS"):
        try:
            client(endpoint_url=suite.ENDPOINT.replace("https://", "http://")).list_buckets()
            raise AssertionError("served without TLS")
        except (botocore.exceptions.HTTPClientError, botocore.exceptions.ClientError):
            pass


def check_uploads_that_nobody_signed_come_in_chunks_over_tls(bucket):
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"},
    ]}
    signed, data = client(verify=CA), suite.content(2, MIB)
    signed.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    config = Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    anonymous = boto3.client("s3", config=config, verify=CA)
    answer = anonymous.put_object(Bucket=bucket, Key="k", Body=data)
    assert answer.get("ChecksumCRC32"), answer
    assert signed.get_object(Bucket=bucket, Key="k")["Body"].read() == data


def check_a_policy_that_asks_for_tls_is_met_over_tls(bucket):
    s3 = client(verify=CA)
    s3.put_object(Bucket=bucket, Key="kept/apart", Body=b"x")
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/kept/*"},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
         "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert s3.get_object(Bucket=bucket, Key="kept/apart")["Body"].read() == b"x"
    address = f"{suite.ENDPOINT}/{bucket}/kept/apart"
    with urllib.request.urlopen(address, timeout=WAIT_LIMIT, context=ssl.create_default_context(cafile=CA)) as answer:
        assert answer.read() == b"x", "without a signature"
    s3.delete_bucket_policy(Bucket=bucket)


def check_events_over_https(bucket):
    topic, sent = kafka_suite.pipeline(bucket, token=True), events("https", 500)
    address = kafka_suite.api("GET", kafka_suite._pipelines(topic.name))["endpoint"]
    assert address.startswith("https://"), address
    headers = {"Authorization": f"Bearer {topic.token}", "Content-Type": "application/x-ndjson"}
    request = urllib.request.Request(address, b"\n".join(map(value, sent)), headers)
    with urllib.request.urlopen(request, timeout=WAIT_LIMIT, context=ssl.create_default_context(cafile=CA)) as answer:
        assert answer.status == 200
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        urllib.request.urlopen(request, timeout=REFUSAL_LIMIT, context=context)
        raise AssertionError("a certificate of nobody was believed")
    except urllib.error.URLError as error:
        assert isinstance(error.reason, ssl.SSLCertVerificationError), error
    kafka_suite.drained_as(topic, sent)


def send_by_confluent(topic, batch, **more):
    """Sends the events; answers the codes of what failed."""
    placed, failed = Placed(), []
    names = {name.replace("_", "."): text for name, text in more.items()}
    producer = confluent_kafka.Producer({
        "bootstrap.servers": BOOTSTRAP, "sasl.username": topic.name, "sasl.password": topic.token, "log_level": 0,
        "message.timeout.ms": 5000, "compression.type": "zstd", "enable.idempotence": True,
        "error_cb": lambda error: failed.append(error.code())} | names)

    def report(event):
        return lambda error, message: (failed.append(error.code()) if error else
                                       placed.add(message.partition(), message.offset(), event))

    for event in batch:
        producer.produce(topic.name, value(event), key(event), on_delivery=report(event))
    assert producer.flush(REFUSAL_LIMIT) == 0, "no report"
    assert failed or len(placed.at) == len(batch)
    return failed


def check_confluent_kafka(bucket):
    topic, sent = kafka_suite.pipeline(bucket, token=True), []
    for mechanism in MECHANISMS:
        batch = events(mechanism, 1000)
        failed = send_by_confluent(topic, batch, security_protocol="SASL_SSL", sasl_mechanism=mechanism, ssl_ca_location=CA)
        assert not failed, failed
        sent += batch
    for what, settings in {
        "no authority": {"security_protocol": "SASL_SSL"},
        "no TLS": {"security_protocol": "SASL_PLAINTEXT"},
        "wrong password": {"security_protocol": "SASL_SSL", "ssl_ca_location": CA, "sasl_password": "wrong"},
    }.items():
        with Bounded(what):
            failed = send_by_confluent(topic, events("no", 1), sasl_mechanism="PLAIN", **settings)
        assert failed, f"{what}: not refused"
    kafka_suite.drained_as(topic, sent)


def check_kafka_python_and_aiokafka(bucket):
    topic, sent = kafka_suite.pipeline(bucket, token=True), events("python", 500) + events("aio", 500)
    login = {"bootstrap_servers": BOOTSTRAP, "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
             "sasl_plain_username": topic.name, "sasl_plain_password": topic.token}
    sender = kafka.KafkaProducer(**login, ssl_cafile=CA)
    for report in [sender.send(topic.name, value(event), key(event)) for event in sent[:500]]:
        report.get(WAIT_LIMIT)
    sender.close(WAIT_LIMIT)

    async def by_aiokafka():
        async with aiokafka.AIOKafkaProducer(**login, ssl_context=ssl.create_default_context(cafile=CA)) as sender:
            for report in [await sender.send(topic.name, value(event), key(event)) for event in sent[500:]]:
                await report

    asyncio.run(asyncio.wait_for(by_aiokafka(), suite.PROGRAM_LIMIT_SECONDS))
    kafka_suite.drained_as(topic, sent)


def check_readers_over_tls(bucket):
    topic, sent = kafka_suite.pipeline(bucket, token=True), events("read", 500)
    assert not send_by_confluent(topic, sent, security_protocol="SASL_SSL", sasl_mechanism="PLAIN", ssl_ca_location=CA)
    reader = kafka.KafkaConsumer(bootstrap_servers=BOOTSTRAP, security_protocol="SASL_SSL", sasl_mechanism="PLAIN",
                                 sasl_plain_username=suite.KEY, sasl_plain_password=suite.SECRET, ssl_cafile=CA)
    partition = kafka.TopicPartition(topic.name, 0)
    reader.assign([partition])
    reader.seek(partition, 0)
    found, end = [], time.monotonic() + WAIT_LIMIT
    while len(found) < len(sent) and time.monotonic() < end:
        found += [message.value for messages in reader.poll(200).values() for message in messages]
    reader.close()
    assert found == [value(event) for event in sent], len(found)
    kafka_suite.drained_as(topic, sent)


if __name__ == "__main__":
    kafka_suite.main(globals())
