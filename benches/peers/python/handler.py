"""The adder as a Lambda function on Powertools for AWS Lambda (Python): partial batch responses and idempotency."""

import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="adder", level="INFO" if os.environ.get("BENCH_LOGS") == "1" else "CRITICAL")
store = DynamoDBPersistenceLayer(table_name=os.environ.get("IDEMPOTENCY_TABLE", "jobs"))
config = IdempotencyConfig(event_key_jmespath="id", raise_on_no_idempotency_key=True)
standard = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
fifo = SqsFifoPartialProcessor()
fifo.raise_on_entire_batch_failure = False  # its constructor does not accept this option


@idempotent_function(data_keyword_argument="job", config=config, persistence_store=store)
def add(job: dict) -> int:
    args = job["args"]
    if not isinstance(args, list) or not all(type(arg) is int for arg in args):
        raise ValueError("args is not a list of integers")
    total = sum(args)
    if total < 0:
        raise ValueError("the sum is negative")
    logger.info("added", job_id=job["id"], result=total)
    return total


def handle_record(record: SQSRecord) -> int:
    return add(job=record.json_body)


@logger.inject_lambda_context
def handle(event: dict, context: LambdaContext) -> PartialItemFailureResponse:
    config.register_lambda_context(context)
    processor = fifo if event["Records"][0]["eventSourceARN"].endswith(".fifo") else standard
    return process_partial_response(event=event, record_handler=handle_record, processor=processor, context=context)
