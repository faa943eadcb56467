# A worker outside Lambda: a service on ECS with Fargate that polls a queue. The tables and the beater are those of the module `sqjobs`.

provider "aws" {
  region = var.region
}

locals {
  name = "${var.environment.SQJOBS_PREFIX}${var.name}"
}

resource "aws_sqs_queue" "dlq" {
  name                      = "${local.name}-dlq"
  message_retention_seconds = 1209600
  max_message_size          = 1048576
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "this" {
  name                      = local.name
  message_retention_seconds = 1209600
  max_message_size          = 1048576
  sqs_managed_sse_enabled   = true

  # A safety limit only: the job's policy limits the attempts.
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dlq.arn
    maxReceiveCount     = 1000
  })
}

# Beaters find the dead-letter queue by this item.
resource "aws_dynamodb_table_item" "dlq" {
  table_name = var.environment.SQJOBS_TABLE
  hash_key   = "id"

  item = jsonencode({
    id        = { S = "dlqs\u001f${aws_sqs_queue.dlq.name}" }
    listed    = { S = "dlqs" }
    listed_at = { S = "1970-01-01T00:00:00.000Z" }
    purge_at  = { N = "253402300799" } # never
  })
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${local.name}"
  retention_in_days = 30
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = local.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mb
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn

  runtime_platform {
    cpu_architecture        = var.architecture
    operating_system_family = "LINUX"
  }

  container_definitions = jsonencode([{
    name                   = var.name
    image                  = var.image
    command                = ["--poll", "--concurrency", tostring(var.concurrency), "--grace", "${var.grace_s}s"]
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = var.grace_s + 15 # open receives end within 10 seconds

    environment = [for name, value in merge(var.environment, {
      SQJOBS_QUEUE_URL = aws_sqs_queue.this.url
      SQJOBS_DLQ_URL   = aws_sqs_queue.dlq.url
      SQJOBS_METRICS   = "on"
    }) : { name = name, value = value }]

    logConfiguration = {
      logDriver = "awslogs"

      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = var.region
        awslogs-stream-prefix = var.name
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  name            = local.name
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = "FARGATE"
  desired_count   = var.tasks.minimum

  network_configuration {
    subnets         = var.subnet_ids
    security_groups = var.security_group_ids
  }

  lifecycle {
    ignore_changes = [desired_count] # the scaling sets it
  }
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  resource_id        = "service/${element(split("/", var.cluster_arn), 1)}/${aws_ecs_service.this.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.tasks.minimum
  max_capacity       = var.tasks.maximum
}

# Adds tasks while more jobs wait than this, and removes tasks while fewer wait. A job that runs in a removed task is interrupted, and goes
# on in another one.
resource "aws_appautoscaling_policy" "backlog" {
  name               = "${local.name}-backlog"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  resource_id        = aws_appautoscaling_target.this.resource_id
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value = var.tasks.backlog

    customized_metric_specification {
      metric_name = "ApproximateNumberOfMessagesVisible"
      namespace   = "AWS/SQS"
      statistic   = "Average"

      dimensions {
        name  = "QueueName"
        value = aws_sqs_queue.this.name
      }
    }
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# Starts the container: reads the image and writes the logs.
resource "aws_iam_role" "execution" {
  name               = "${local.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

# The worker itself, with the permissions of a function.
resource "aws_iam_role" "task" {
  name               = local.name
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "task" {
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
    resources = [aws_sqs_queue.this.arn]
  }

  statement {
    sid       = "DeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dlq.arn]
  }
}

resource "aws_iam_role_policy" "task" {
  name   = "jobs"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}
