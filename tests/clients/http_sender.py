"""A sender of events over HTTP that wants to know all of the answer. The address comes from INGEST_HOST."""

import dataclasses
import http.client
import json
import os

import kafka_suite

HOST = os.environ["INGEST_HOST"]
BROKEN = (http.client.HTTPException, OSError)


@dataclasses.dataclass
class Answer:
    """An answer: status, headers in small letters, and what the body says, if it has one."""

    status: int
    headers: dict
    said: dict

    @property
    def result(self):
        """What was stored; it must be an answer that something was."""
        assert self.status == 200 and self.said["success"], self
        return self.said["result"]

    @property
    def duplicate(self):
        return self.result.get("duplicate", False)


class NotNow(Exception):
    """The server cannot take it at the moment."""


class Sender:
    """A connection to a pipeline, which is made again when it has broken."""

    def __init__(self, topic):
        self.topic, self.http = topic, None

    def post(self, body, headers=None, query="", method="POST"):
        """Sends one request and waits for its answer."""
        self.begin(body, headers, query, method)
        try:
            answer = self.http.getresponse()
            text = answer.read()
        except BROKEN:
            self.cut()
            raise
        names = {name.lower(): value for name, value in answer.getheaders()}
        if names.get("connection") == "close":
            self.cut()
        return Answer(answer.status, names, json.loads(text) if text else {})

    def stored(self, body, headers):
        """Sends one request; what was stored, or `NotNow`."""
        answer = self.post(body, headers)
        if answer.status in (429, 503):
            raise NotNow(answer)
        return answer.result

    def begin(self, body, headers=None, query="", method="POST"):
        """Sends one request."""
        self.http = self.http or http.client.HTTPConnection(HOST, timeout=kafka_suite.WAIT_LIMIT)
        token = {"Authorization": f"Bearer {self.topic.token}"} if self.topic.token and not query else {}
        try:
            self.http.request(method, f"/{self.topic.name}{query and '?'}{query}", body, token | (headers or {}))
        except BROKEN:
            self.cut()
            raise

    def cut(self):
        """Ends the connection, answered or not."""
        if self.http:
            self.http.close()
        self.http = None
