"""Sends events, one JSON object a line of standard input, the way producers do.

send_events.py websocket ADDRESS PRODUCER [LINES]      ws://HOST:PORT/PIPELINE?token=…: 1,000 lines a message, acknowledged
send_events.py kafka BOOTSTRAP PIPELINE TOKEN [CODEC]  librdkafka, idempotent, SCRAM-SHA-256, zstd: a record a line

Prints how many events were acknowledged.
"""

import json
import sys


def websocket(address, producer, lines_per_message=1000):
    from websockets.sync.client import connect

    lines = sys.stdin.read().splitlines()
    step = int(lines_per_message)
    messages = ["\n".join(lines[at : at + step]) for at in range(0, len(lines), step)]
    committed = acknowledged = sent = 0
    with connect(f"{address}&producer={producer}", max_size=None) as socket:
        credit = json.loads(socket.recv())["credit"]["messages"]
        while acknowledged < len(messages):
            while sent < len(messages) and sent - acknowledged < credit:
                socket.send(messages[sent])
                sent += 1
            said = json.loads(socket.recv(timeout=60))
            assert said["type"] == "ack" and not said["dead_letters"], said
            committed += said["committed"]
            acknowledged = said["through"] + 1
    return committed


def kafka(bootstrap, pipeline, token, codec="zstd"):
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": pipeline,
            "sasl.password": token,
            "enable.idempotence": True,
            "compression.type": codec,
        }
    )
    acknowledged = []

    def delivered(error, message):
        assert error is None, error
        acknowledged.append(message.offset())

    for line in sys.stdin:
        while True:
            try:
                producer.produce(pipeline, line.rstrip("\n"), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(1)
        producer.poll(0)
    assert producer.flush(60) == 0, "not all was acknowledged in a minute"
    return len(set(acknowledged))


print({"websocket": websocket, "kafka": kafka}[sys.argv[1]](*sys.argv[2:]))
