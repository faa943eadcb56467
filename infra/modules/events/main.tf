# Events on a bus: a function that reads the stream of the table of records, its role, and its alarms. Its package is that of the beater.

data "aws_region" "current" {}

locals {
  name = "${var.prefix}${var.name}"

  # Lambda invokes the function for the changes of these records only.
  pattern = {
    dynamodb = {
      NewImage = merge(
        { state = { S = var.states } },
        length(var.job_names) == 0 ? {} : { name = { S = var.job_names } },
      )
    }
  }
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
  timeout          = 60
  memory_size      = 256
  kms_key_arn      = var.kms_key_arn
  tags             = var.tags

  environment {
    variables = {
      SQJOBS_EVENT_BUS     = var.bus_arn
      SQJOBS_EVENT_RESULTS = var.results ? "on" : "off"
    }
  }

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]
}

# By default, Lambda repeats a batch until its changes leave the stream after 24 hours.
resource "aws_lambda_event_source_mapping" "this" {
  event_source_arn        = var.stream_arn
  function_name           = aws_lambda_function.this.arn
  starting_position       = "TRIM_HORIZON" # LATEST misses changes while Lambda creates or updates the mapping
  batch_size              = 100
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  filter_criteria {
    filter {
      pattern = jsonencode(local.pattern)
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
    sid       = "Stream"
    actions   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
    resources = ["${var.table_arn}/stream/*"]
  }

  statement {
    sid       = "Events"
    actions   = ["events:PutEvents"]
    resources = [var.bus_arn]
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
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = [for service in ["dynamodb", "lambda"] : "${service}.${data.aws_region.current.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "events"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.this.json
}

# Lambda repeats a batch that fails, so the age of its changes grows.
resource "aws_cloudwatch_metric_alarm" "late" {
  alarm_name          = "${local.name}-late"
  alarm_description   = "The function ${local.name} publishes events late, and loses them after 24 hours. Its log shows the reason."
  namespace           = "AWS/Lambda"
  metric_name         = "IteratorAge"
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 300000
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
