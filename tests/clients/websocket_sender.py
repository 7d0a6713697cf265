"""A sender of events over WebSocket, with the package websockets: it counts what it has on its way and holds the server to its
word. The address comes from INGEST_HOST.
"""

import collections
import json
import logging
import os

import websockets.exceptions
from websockets.sync.client import connect

import kafka_suite

HOST = os.environ["INGEST_HOST"]
BROKEN = (websockets.exceptions.WebSocketException, OSError, TimeoutError, EOFError)
# That a connection breaks is what the checks look at; the package would say so on stderr too, which nobody may read for long.
logging.getLogger("websockets").setLevel(logging.CRITICAL + 1)


class Refused(Exception):
    """The server has said why it closes: the code of its message, and the code of its close."""

    def __init__(self, said, close):
        super().__init__(f"{said}, closed with {close}")
        self.code, self.close, self.message = said["code"], close, said["message"]


def length_of(body):
    return len(body.encode() if isinstance(body, str) else body)


class Sender:
    """A connection to a pipeline. `next` is the number of the next message, `acked` the one after the last durable one."""

    def __init__(self, topic, query="", **how):
        url = f"ws://{HOST}/{topic.name}{query and '?'}{query}"
        limit = kafka_suite.REFUSAL_LIMIT
        self.socket = connect(url, proxy=None, open_timeout=limit, close_timeout=limit, ping_interval=None, legacy=True, **how)
        self.next = self.acked = self.messages = self.bytes = None
        self.on_way, self.bytes_on_way = collections.deque(), 0
        self.committed = self.dead_letters = 0
        self.verdicts, self.acks = [], []

    def welcome(self):
        """Waits for the server's first words; answers the sender."""
        said = self.hear()
        assert said["type"] == "welcome", said
        self.next = self.acked = said["next"]
        self.messages, self.bytes = said["credit"]["messages"], said["credit"]["bytes"]
        return self

    def hear(self):
        """The next thing the server says; when that is why it closes, waits until it has."""
        said = json.loads(self.socket.recv(timeout=kafka_suite.WAIT_LIMIT))
        if said["type"] != "error":
            return said
        try:
            self.socket.recv(timeout=kafka_suite.WAIT_LIMIT)
        except websockets.exceptions.ConnectionClosed as closed:
            raise Refused(said, closed.rcvd and closed.rcvd.code) from None
        raise AssertionError(f"the server goes on after {said}")

    def send(self, body, **how):
        """Sends a message as soon as the credit has room for it."""
        while len(self.on_way) >= self.messages or (self.on_way and self.bytes_on_way + length_of(body) > self.bytes):
            self.take_ack()
        self.send_anyway(body, **how)

    def send_anyway(self, body, **how):
        """The same without a look at the credit."""
        self.count(length_of(body))
        self.socket.send(body, **how)

    def count(self, length):
        """Counts a message that is sent."""
        self.on_way.append(length)
        self.bytes_on_way += length
        self.next += 1

    def take_ack(self):
        """Waits for an acknowledgement, which must go on where the last one ended."""
        ack = self.hear()
        assert ack["type"] == "ack", ack
        assert ack["messages"] >= 1 and ack["through"] == self.acked + ack["messages"] - 1, f"{ack} after {self.acked}"
        assert ack["through"] < self.next, f"{ack} before message {self.next} is sent"
        for _ in range(ack["messages"]):
            self.bytes_on_way -= self.on_way.popleft()
        self.acked = ack["through"] + 1
        self.committed += ack["committed"]
        self.dead_letters += ack["dead_letters"]
        self.verdicts += ack["verdicts"]
        self.acks.append(ack)

    def flush(self):
        """Waits until everything is acknowledged; answers the sender."""
        while self.on_way:
            self.take_ack()
        return self

    def last_words(self):
        """Why the server has ended the connection; `None` when that is not to be read."""
        try:
            while True:
                self.take_ack()
        except Refused as refused:
            return refused
        except BROKEN:
            return None

    def finish(self):
        """Waits until everything is acknowledged, and closes."""
        self.flush()
        self.socket.close()
        closed = self.socket.protocol.close_code
        assert closed == 1000, f"closed with {closed}"

    def cut(self):
        """Ends the connection without a word."""
        try:
            self.socket.close_socket()
        except OSError:
            pass
