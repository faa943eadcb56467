# The beater: a function, the rule that invokes it each minute, its role, and its alarms.

data "aws_region" "current" {}

locals {
  name = "${var.prefix}${var.name}"

  # If there are too many ARNs for a policy, it allows all queues with the prefix.
  arns      = concat(var.queue_arns, var.dlq_arns)
  by_prefix = length(join("", local.arns)) + 3 * length(local.arns) > 8000
  ours      = "${one(regex("^(arn:[^:]+:sqs:[^:]+:[0-9]+:)", var.queue_arns[0]))}${var.prefix}"
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
  timeout          = 60 # the interval between two ticks
  memory_size      = var.memory_mb
  kms_key_arn      = var.kms_key_arn
  tags             = var.tags

  environment {
    variables = merge(var.environment, {
      SQJOBS_TABLE           = var.table_name
      SQJOBS_SCHEDULES_TABLE = var.schedules_name
      SQJOBS_PREFIX          = var.prefix
      SQJOBS_METRICS         = var.metrics ? "on" : "off"
    })
  }

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]
}

# Jobs can enqueue jobs through the beater, which Lambda would stop as a loop.
resource "aws_lambda_function_recursion_config" "this" {
  function_name  = aws_lambda_function.this.function_name
  recursive_loop = "Allow"
}

resource "aws_cloudwatch_event_rule" "minute" {
  name                = local.name
  description         = "Invokes ${local.name} each minute."
  schedule_expression = "rate(1 minute)"
  state               = "ENABLED"
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "this" {
  rule = aws_cloudwatch_event_rule.minute.name
  arn  = aws_lambda_function.this.arn
}

resource "aws_lambda_permission" "minute" {
  statement_id  = "sqjobs-beater"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.minute.arn
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
    sid = "Records"
    actions = [
      "dynamodb:BatchGetItem",
      "dynamodb:DescribeTable",
      "dynamodb:PartiQLInsert",
      "dynamodb:PartiQLUpdate",
      "dynamodb:PutItem",
      "dynamodb:Scan",
    ]
    resources = [var.table_arn]
  }

  statement {
    sid       = "Indexes"
    actions   = ["dynamodb:Query"]
    resources = ["${var.table_arn}/index/due", "${var.table_arn}/index/listed", "${var.schedules_arn}/index/due"]
  }

  statement {
    sid       = "Schedules"
    actions   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan"]
    resources = [var.schedules_arn]
  }

  statement {
    sid       = "Queues"
    actions   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
    resources = local.by_prefix ? ["${local.ours}*"] : var.queue_arns
  }

  statement {
    sid = "DeadLetters"
    actions = [
      "sqs:ChangeMessageVisibility",
      "sqs:DeleteMessage",
      "sqs:GetQueueUrl",
      "sqs:ReceiveMessage",
      "sqs:SendMessage",
    ]
    resources = local.by_prefix ? ["${local.ours}*-dlq", "${local.ours}*-dlq.fifo"] : var.dlq_arns
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

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
  name   = "beater"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.this.json
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${local.name}-errors"
  alarm_description   = "The beater ${local.name} fails, so schedules and long waits are late. Its log shows the reason."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
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

resource "aws_cloudwatch_metric_alarm" "asleep" {
  alarm_name          = "${local.name}-asleep"
  alarm_description   = "The beater ${local.name} is not invoked, so schedules and long waits do not fire. Check its rule."
  namespace           = "AWS/Lambda"
  metric_name         = "Invocations"
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

# A beater that is invoked may still fail in each tick, which the number of invocations does not show.
resource "aws_cloudwatch_metric_alarm" "ticks" {
  count = var.metrics ? 1 : 0

  alarm_name          = "${local.name}-ticks"
  alarm_description   = "The beater ${local.name} has completed no tick for five minutes, so schedules and long waits do not fire. Its log shows the reason."
  namespace           = "sqjobs"
  metric_name         = "Ticks"
  dimensions          = { beater = aws_lambda_function.this.function_name }
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "late" {
  count = var.metrics ? 1 : 0

  alarm_name          = "${local.name}-late"
  alarm_description   = "The beater ${local.name} fires schedules late. Check its errors and its duration, and the throttles of the tables."
  namespace           = "sqjobs"
  metric_name         = "ScheduleLateness"
  dimensions          = { beater = aws_lambda_function.this.function_name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_late_s * 1000
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
