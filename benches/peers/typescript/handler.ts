// The adder as a Lambda function on Powertools for AWS Lambda (TypeScript): partial batch responses and idempotency.

import {
  BatchProcessor,
  EventType,
  processPartialResponse,
  SqsFifoPartialProcessorAsync,
} from '@aws-lambda-powertools/batch';
import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import { Logger } from '@aws-lambda-powertools/logger';
import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';

type Job = { name: string; id: string; args: unknown };

const logger = new Logger({ serviceName: 'adder', logLevel: process.env.BENCH_LOGS === '1' ? 'INFO' : 'SILENT' });
const persistenceStore = new DynamoDBPersistenceLayer({
  tableName: process.env.IDEMPOTENCY_TABLE ?? 'jobs',
  keyAttr: 'id',
});
const config = new IdempotencyConfig({ eventKeyJmesPath: 'id', throwOnNoIdempotencyKey: true });
const standard = new BatchProcessor(EventType.SQS);
const fifo = new SqsFifoPartialProcessorAsync();

const add = makeIdempotent(
  async ({ id, args }: Job): Promise<number> => {
    if (!Array.isArray(args) || !args.every(Number.isSafeInteger)) {
      throw new TypeError('args is not a list of integers');
    }
    const total = args.reduce((sum: number, arg: number) => sum + arg, 0);
    if (total < 0) {
      throw new RangeError('the sum is negative');
    }
    logger.info('added', { job_id: id, result: total });
    return total;
  },
  { persistenceStore, config },
);

const handleRecord = async (record: SQSRecord): Promise<number> => add(JSON.parse(record.body) as Job);

export const handle = async (event: SQSEvent, context: Context): Promise<SQSBatchResponse> => {
  config.registerLambdaContext(context);
  logger.addContext(context);
  const processor = event.Records[0]?.eventSourceARN.endsWith('.fifo') ? fifo : standard;
  return processPartialResponse(event, handleRecord, processor, { context, throwOnFullBatchFailure: false });
};
