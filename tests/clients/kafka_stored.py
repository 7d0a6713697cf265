"""Drains a pipeline and prints what came of its events, as {"events": [...], "letters": [base64 of the record, ...]}.

usage: kafka_stored.py BUCKET PIPELINE
"""

import base64
import json
import sys

import kafka_suite

topic = kafka_suite.Topic(name=sys.argv[2], bucket=sys.argv[1], token=None)
kafka_suite.drain(topic)
letters = [base64.b64encode(kafka_suite.letter_value(letter)).decode() for letter in kafka_suite.dead_letters(topic)]
print(json.dumps({"events": kafka_suite.stored(topic), "letters": letters}))
