"""Enqueues many jobs with boto3: ten a request, with several concurrent requests."""

import json
import os
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import boto3

AT_A_TIME = 8

jobs = int(sys.argv[1])
queue_url = os.environ["SQJOBS_QUEUE_URL"]
sqs = boto3.client("sqs")


def entry(number: int) -> dict:
    body = {"name": "adder", "id": f"adder-{uuid.uuid4().hex}", "args": [number, 2, 3]}
    return {"Id": str(number % 10), "MessageBody": json.dumps(body)}


def send(first: int) -> None:
    entries = [entry(number) for number in range(first, min(first + 10, jobs))]
    answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    if answer.get("Failed"):
        raise RuntimeError(answer["Failed"])


with ThreadPoolExecutor(AT_A_TIME) as pool:
    list(pool.map(send, range(0, jobs, 10)))
