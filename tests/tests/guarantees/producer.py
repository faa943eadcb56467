"""A producer in another language: enqueues with one message and reads a result with one item."""

import base64
import json
import os
import random
import sys
import uuid
from datetime import datetime, timezone

import boto3


def enqueue():
    send = boto3.client("sqs").send_message
    native = {"name": "adder", "id": "from-python", "args": [20, 22]}
    old = {"id": "from-old-python#2024", "name": "adder", "args": [1, 2, 3], "kwargs": None}
    send(QueueUrl=os.environ["SQJOBS_QUEUE_URL"], MessageBody=json.dumps(native))
    send(QueueUrl=os.environ["SQJOBS_QUEUE_URL"], MessageBody=base64.encodebytes(json.dumps(old).encode()).decode())


def later(*instants):
    send = boto3.client("sqs").send_message
    for number, run_at in enumerate(instants):
        body = {"name": "adder", "id": f"later-{number}", "args": [20, 22], "run_at": run_at}
        send(QueueUrl=os.environ["SQJOBS_QUEUE_URL"], MessageBody=json.dumps(body))


def chain(effects):
    """Sends each job before the one that it waits for, and leaves the first to another producer."""
    send = boto3.client("sqs").send_message
    for job, dependency in [("third", "second"), ("second", "first")]:
        body = {"name": "probe", "id": job, "args": {"effects": effects}, "depends_on": [dependency], "needs": ["dependencies"]}
        send(QueueUrl=os.environ["SQJOBS_QUEUE_URL"], MessageBody=json.dumps(body))


def workflow(effects, count):
    """Sends a workflow: one message for all jobs, and a closing job."""
    jobs = [{"name": "probe", "queue": "probes", "id": f"clip-{number}", "args": {"effects": effects}} for number in range(int(count))]
    body = {"name": "probe", "id": "podcast", "args": {"effects": effects}, "jobs": jobs, "needs": ["workflow"]}
    boto3.client("sqs").send_message(QueueUrl=os.environ["SQJOBS_QUEUE_URL"], MessageBody=json.dumps(body))


def unique(args, count):
    """Sends jobs of which only one may be unfinished."""
    send = boto3.client("sqs").send_message
    for number in range(int(count)):
        body = {"name": "probe", "id": f"python-{number}", "args": json.loads(args), "unique_key": "report", "needs": ["keys"]}
        body |= {"limit_key": "gate", "limit": 1}
        send(QueueUrl=os.environ["SQJOBS_QUEUE_URL"], MessageBody=json.dumps(body))


def outbox(body):
    """Writes an order and enqueues a job in one transaction."""
    job = json.loads(body)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    record = {"id": job["id"], "name": job["name"], "queue": "probes", "state": "scheduled", "run_at": now, "enqueued_at": now}
    record |= {"due": f"due#{random.randrange(16)}", "owner": uuid.uuid4().hex, "envelope": body}
    numbers = {"attempts": {"N": "0"}, "max_attempts": {"N": "0"}}
    put = lambda item: {"TableName": os.environ["SQJOBS_TABLE"], "Item": item, "ConditionExpression": "attribute_not_exists(id)"}
    items = [{"id": {"S": "an order"}, "purge_at": {"N": "1"}}, {name: {"S": value} for name, value in record.items()} | numbers]
    boto3.client("dynamodb").transact_write_items(TransactItems=[{"Put": put(item)} for item in items])


def read():
    jobs = boto3.resource("dynamodb").Table(os.environ["SQJOBS_TABLE"])
    for job in ["from-python", "from-old-python"]:
        item = jobs.get_item(Key={"id": job})["Item"]
        print(item["state"], item["result"], item["attempts"])


{"enqueue": enqueue, "later": later, "chain": chain, "workflow": workflow, "unique": unique, "outbox": outbox, "read": read}[sys.argv[1]](*sys.argv[2:])
