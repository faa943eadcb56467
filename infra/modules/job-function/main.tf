# One job: its queue and dead-letter queue, its function and event source mapping, the function's role, and the alarms.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  name       = "${var.prefix}${var.name}"
  suffix     = var.fifo ? ".fifo" : ""
  kms        = var.kms_key_arn != null
  visibility = 6 * var.timeout_s + var.batch_window_s
  queues     = "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:"
  queue_arns = concat([aws_sqs_queue.this.arn], [for queue in aws_sqs_queue.priority : queue.arn])
  children   = [for queue in var.enqueues_to : startswith(queue, "arn:") ? queue : "${local.queues}${var.prefix}${queue}"]
}

locals {
  # The queues with alarms, by priority.
  alarmed = merge(
    { default = { name = local.name, queue = aws_sqs_queue.this.name, age_s = var.alarm_age_s } },
    { for priority, options in var.priorities : priority => {
      name  = "${local.name}-${priority}"
      queue = aws_sqs_queue.priority[priority].name
      age_s = coalesce(options.alarm_age_s, var.alarm_age_s)
    } },
  )
}

locals {
  # The queues with alarms on the metrics of the functions.
  metered = var.metrics ? local.alarmed : {}
}

# Earlier versions had one queue and no priorities.
moved {
  from = aws_cloudwatch_metric_alarm.age
  to   = aws_cloudwatch_metric_alarm.age["default"]
}

moved {
  from = aws_cloudwatch_metric_alarm.stuck
  to   = aws_cloudwatch_metric_alarm.stuck["default"]
}

moved {
  from = aws_cloudwatch_metric_alarm.in_flight
  to   = aws_cloudwatch_metric_alarm.in_flight["default"]
}

resource "aws_sqs_queue" "dlq" {
  name                      = "${local.name}-dlq${local.suffix}"
  fifo_queue                = var.fifo
  message_retention_seconds = 1209600 # the maximum of SQS, and longer than that of the queue
  max_message_size          = 1048576 # the default of AWS; the default of the provider is a quarter of it
  kms_master_key_id         = var.kms_key_arn
  sqs_managed_sse_enabled   = local.kms ? null : true
  tags                      = var.tags
}

resource "aws_sqs_queue" "this" {
  name                       = "${local.name}${local.suffix}"
  fifo_queue                 = var.fifo
  deduplication_scope        = var.fifo ? "messageGroup" : null
  fifo_throughput_limit      = var.fifo ? "perMessageGroupId" : null
  visibility_timeout_seconds = local.visibility
  message_retention_seconds  = var.retention_s
  max_message_size           = 1048576
  receive_wait_time_seconds  = 20
  kms_master_key_id          = var.kms_key_arn
  sqs_managed_sse_enabled    = local.kms ? null : true
  tags                       = var.tags

  # A safety limit only: the job's policy limits the attempts.
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dlq.arn
    maxReceiveCount     = 1000
  })
}

# A queue for each further priority, such as adder-high. The function reads all queues, and they share the dead-letter queue.
resource "aws_sqs_queue" "priority" {
  for_each = var.priorities

  name                       = "${local.name}-${each.key}${local.suffix}"
  fifo_queue                 = var.fifo
  deduplication_scope        = var.fifo ? "messageGroup" : null
  fifo_throughput_limit      = var.fifo ? "perMessageGroupId" : null
  visibility_timeout_seconds = local.visibility
  message_retention_seconds  = var.retention_s
  max_message_size           = 1048576
  receive_wait_time_seconds  = 20
  kms_master_key_id          = var.kms_key_arn
  sqs_managed_sse_enabled    = local.kms ? null : true
  tags                       = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dlq.arn
    maxReceiveCount     = 1000
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dlq" {
  queue_url = aws_sqs_queue.dlq.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = local.queue_arns
  })
}

# Beaters find the dead-letter queue by this item. `sqjobs queue create` writes the same item.
resource "aws_dynamodb_table_item" "dlq" {
  table_name = var.table_name
  hash_key   = "id"

  item = jsonencode({
    id        = { S = "dlqs\u001f${aws_sqs_queue.dlq.name}" }
    listed    = { S = "dlqs" }
    listed_at = { S = "1970-01-01T00:00:00.000Z" }
    purge_at  = { N = "253402300799" } # never
  })
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${local.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  function_name    = local.name
  role             = aws_iam_role.this.arn
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  timeout          = var.timeout_s
  memory_size      = var.memory_mb
  kms_key_arn      = var.kms_key_arn
  publish          = true # each change is a version, for rollbacks
  tags             = var.tags

  reserved_concurrent_executions = var.reserved_concurrency

  environment {
    variables = merge(var.environment, {
      SQJOBS_TABLE           = var.table_name
      SQJOBS_SCHEDULES_TABLE = var.schedules_name
      SQJOBS_PREFIX          = var.prefix
      SQJOBS_QUEUE_URL       = aws_sqs_queue.this.url
      SQJOBS_DLQ_URL         = aws_sqs_queue.dlq.url
      SQJOBS_METRICS         = var.metrics ? "on" : "off"
    })
  }

  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]
}

# The version that the queue invokes: the newest, or an earlier one after a rollback.
resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.this.function_name
  function_version = coalesce(var.live_version, aws_lambda_function.this.version)
}

# A job may enqueue jobs. The library ends a chain of jobs after a hundred.
resource "aws_lambda_function_recursion_config" "this" {
  function_name  = aws_lambda_function.this.function_name
  recursive_loop = "Allow"
}

resource "aws_lambda_event_source_mapping" "this" {
  event_source_arn                   = aws_sqs_queue.this.arn
  function_name                      = aws_lambda_alias.live.arn
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.fifo ? null : var.batch_window_s
  function_response_types            = ["ReportBatchItemFailures"]
  enabled                            = var.enabled
  tags                               = var.tags

  dynamic "scaling_config" {
    for_each = var.max_concurrency == null ? [] : [var.max_concurrency]

    content {
      maximum_concurrency = scaling_config.value
    }
  }

  dynamic "provisioned_poller_config" {
    for_each = var.pollers == null ? [] : [var.pollers]

    content {
      minimum_pollers = provisioned_poller_config.value.minimum
      maximum_pollers = provisioned_poller_config.value.maximum
    }
  }
}

resource "aws_lambda_event_source_mapping" "priority" {
  for_each = var.priorities

  event_source_arn                   = aws_sqs_queue.priority[each.key].arn
  function_name                      = aws_lambda_alias.live.arn
  batch_size                         = var.batch_size
  maximum_batching_window_in_seconds = var.fifo ? null : var.batch_window_s
  function_response_types            = ["ReportBatchItemFailures"]
  enabled                            = var.enabled
  tags                               = var.tags

  dynamic "scaling_config" {
    for_each = each.value.max_concurrency == null ? [] : [each.value.max_concurrency]

    content {
      maximum_concurrency = scaling_config.value
    }
  }

  dynamic "provisioned_poller_config" {
    for_each = each.value.pollers == null ? [] : [each.value.pollers]

    content {
      minimum_pollers = provisioned_poller_config.value.minimum
      maximum_pollers = provisioned_poller_config.value.maximum
    }
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = local.name
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags
}

data "aws_iam_policy_document" "this" {
  statement {
    sid       = "Records"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"]
    resources = [var.table_arn]
  }

  # The jobs that wait for a key.
  statement {
    sid       = "Waiting"
    actions   = ["dynamodb:Query"]
    resources = ["${var.table_arn}/index/listed"]
  }

  statement {
    sid = "Queue"
    actions = [
      "sqs:ChangeMessageVisibility",
      "sqs:DeleteMessage",
      "sqs:GetQueueAttributes",
      "sqs:ReceiveMessage",
      "sqs:SendMessage",
    ]
    resources = local.queue_arns
  }

  statement {
    sid       = "DeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dlq.arn]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  dynamic "statement" {
    for_each = length(local.children) > 0 ? [local.children] : []

    content {
      sid       = "Children"
      actions   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
      resources = statement.value
    }
  }

  # To enqueue children that can be found by name, tag, tree or object.
  dynamic "statement" {
    for_each = length(local.children) > 0 ? [var.table_arn] : []

    content {
      sid       = "Lists"
      actions   = ["dynamodb:BatchWriteItem"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.tracing ? [true] : []

    content {
      sid       = "Traces"
      actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = local.kms ? [var.kms_key_arn] : []

    content {
      sid       = "Key"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = [for service in ["dynamodb", "lambda", "sqs"] : "${service}.${data.aws_region.current.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "jobs"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.this.json
}

# Additional permissions of the job, for example for a bucket.
resource "aws_iam_role_policy" "own" {
  count = var.policy_json == null ? 0 : 1

  name   = "own"
  role   = aws_iam_role.this.id
  policy = var.policy_json
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${local.name}-dead-letters"
  alarm_description   = "Jobs of ${local.name} have failed permanently. `sqjobs dlq list ${var.name}${local.suffix}` shows the reasons."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dlq.name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "age" {
  for_each = local.alarmed

  alarm_name          = "${each.value.name}-age"
  alarm_description   = "Jobs of ${each.value.name} wait too long. See `sqjobs queue list` and `sqjobs stats ${trimprefix(each.value.queue, var.prefix)}`."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.age_s
  period              = 60
  evaluation_periods  = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

# The age does not include messages that were received three times or more, so jobs that are always retried do not raise it:
# "Available CloudWatch metrics for Amazon SQS", ApproximateAgeOfOldestMessage.
resource "aws_cloudwatch_metric_alarm" "stuck" {
  for_each = local.alarmed

  alarm_name          = "${each.value.name}-stuck"
  alarm_description   = "Messages of ${each.value.name} are received or grow old, but none was deleted for half an hour: jobs are retried and never end. `sqjobs list --state retrying` and the function's log show the reasons."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 6
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "stuck"
    label       = "received or old, and none deleted"
    expression  = "IF((FILL(received, 0) > 0 OR FILL(age, 0) > ${each.value.age_s}) AND FILL(deleted, 0) == 0, 1, 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = {
      received = ["NumberOfMessagesReceived", "Sum"]
      deleted  = ["NumberOfMessagesDeleted", "Sum"]
      age      = ["ApproximateAgeOfOldestMessage", "Maximum"]
    }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/SQS"
        metric_name = metric_query.value[0]
        stat        = metric_query.value[1]
        period      = 300
        dimensions  = { QueueName = each.value.queue }
      }
    }
  }
}

# SQS allows 120,000 messages in flight: "Amazon SQS message quotas".
resource "aws_cloudwatch_metric_alarm" "in_flight" {
  for_each = local.alarmed

  alarm_name          = "${each.value.name}-in-flight"
  alarm_description   = "The messages in flight of ${each.value.name} are near the limit of SQS, above which no message is received. Too many jobs wait for a retry in the queue. See `sqjobs stats ${trimprefix(each.value.queue, var.prefix)}`."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesNotVisible"
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 100000
  period              = 60
  evaluation_periods  = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each = toset(["Errors", "Throttles"])

  alarm_name          = "${local.name}-${lower(each.key)}"
  alarm_description   = "The function ${local.name} has ${lower(each.key)}. Its log shows the reasons. Failed jobs do not count as errors of the function."
  namespace           = "AWS/Lambda"
  metric_name         = each.key
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

# The metrics of the library count each delivery, so jobs that are always retried raise this alarm, but not that on the age.
resource "aws_cloudwatch_metric_alarm" "wait" {
  for_each = local.metered

  alarm_name          = "${each.value.name}-wait"
  alarm_description   = "Jobs of ${each.value.name} wait too long for their start, or come back again and again. See `sqjobs stats ${trimprefix(each.value.queue, var.prefix)}` and the log of the function."
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.age_s * 1000
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "oldest"
    label       = "the longest wait in milliseconds"
    expression  = "MAX([FILL(wait, 0), FILL(age, 0)])"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { wait = "Wait", age = "Age" }

    content {
      id = metric_query.key

      metric {
        namespace   = "sqjobs"
        metric_name = metric_query.value
        stat        = "Maximum"
        period      = 300
        dimensions  = { queue = each.value.queue }
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "failures" {
  for_each = local.metered

  alarm_name          = "${each.value.name}-failures"
  alarm_description   = "Too many attempts of ${each.value.name} fail. `sqjobs list --state retrying`, `sqjobs list --state failed` and the log of the function show the reasons."
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_failure_percent
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "failures"
    label       = "failed attempts in per cent"
    expression  = "IF(FILL(succeeded, 0) + FILL(failed, 0) + FILL(retries, 0) >= 20, 100 * (FILL(failed, 0) + FILL(retries, 0)) / (FILL(succeeded, 0) + FILL(failed, 0) + FILL(retries, 0)), 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { succeeded = "Succeeded", failed = "Failed", retries = "Retries" }

    content {
      id = metric_query.key

      metric {
        namespace   = "sqjobs"
        metric_name = metric_query.value
        stat        = "Sum"
        period      = 300
        dimensions  = { queue = each.value.queue }
      }
    }
  }
}

# The alarm on the dead-letter queue stays on until its messages are gone. This one goes off again for each new dead letter.
resource "aws_cloudwatch_metric_alarm" "new_dead_letters" {
  for_each = local.metered

  alarm_name          = "${each.value.name}-new-dead-letters"
  alarm_description   = "Further jobs of ${each.value.name} have failed permanently. `sqjobs dlq list ${var.name}${local.suffix}` shows the reasons."
  namespace           = "sqjobs"
  metric_name         = "DeadLetters"
  dimensions          = { queue = each.value.queue }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
