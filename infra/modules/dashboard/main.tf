# A dashboard with one graph for each question of an operator.

data "aws_region" "current" {}

locals {
  # The job names of these queues, as a search, which has at most 1,024 characters: "Metric math search expression syntax". A longer one
  # would be refused, so the graph then shows all queues of the account.
  names = "queue=(${join(" OR ", [for queue in var.queues : "\"${queue}\""])})"
  kept  = length(local.names) <= 900 ? local.names : ""

  # The graphs: the title, and the rows of metrics in the format of CloudWatch.
  graphs = [
    {
      title   = "Is work waiting? (visible messages)"
      stat    = "Maximum"
      metrics = [for queue in var.queues : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue]]
    },
    {
      title = "How long does the oldest job wait? (ms)"
      stat  = "Maximum"
      metrics = concat(
        [for queue in var.queues : ["sqjobs", "Wait", "queue", queue, { label = "${queue}: start" }]],
        [for queue in var.queues : ["sqjobs", "Age", "queue", queue, { label = "${queue}: delivery" }]],
      )
    },
    {
      title   = "Does work get done? (jobs that succeeded)"
      stat    = "Sum"
      metrics = [for queue in var.queues : ["sqjobs", "Succeeded", "queue", queue]]
    },
    {
      title = "Is anything failing? (failed attempts in per cent)"
      stat  = "Sum"
      metrics = concat([for number, queue in var.queues : concat(
        [[{ expression = "100 * (FILL(f${number}, 0) + FILL(r${number}, 0)) / (FILL(s${number}, 0) + FILL(f${number}, 0) + FILL(r${number}, 0))", label = queue, id = "p${number}" }]],
        [for id, metric in { s = "Succeeded", f = "Failed", r = "Retries" } : ["sqjobs", metric, "queue", queue, { id = "${id}${number}", visible = false }]],
      )]...)
    },
    {
      title   = "What fails? (failed jobs and retries by name)"
      stat    = "Sum"
      metrics = [for metric in ["Failed", "Retries", "Killed"] : [{ expression = "SEARCH('{sqjobs,name,queue} MetricName=\"${metric}\" ${local.kept}', 'Sum', 300)", id = lower(metric) }]]
    },
    {
      title = "Are there dead letters?"
      stat  = "Maximum"
      metrics = concat(
        [for dlq in var.dlqs : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", dlq]],
        [for queue in var.queues : ["sqjobs", "DeadLetters", "queue", queue, { label = "${queue}: new", stat = "Sum" }]],
      )
    },
    {
      title = "Does the beater work? (ticks in five minutes, and what they could not do)"
      stat  = "Sum"
      metrics = [for metric in ["Ticks", "FailedActions", "Wrong", "Overdue", "Repaired"] : [
        "sqjobs", metric, "beater", var.beater_name, { stat = metric == "Overdue" ? "Maximum" : "Sum" },
      ]]
    },
    {
      title   = "Are schedules late? (ms)"
      stat    = "Maximum"
      metrics = [["sqjobs", "ScheduleLateness", "beater", var.beater_name]]
    },
    {
      title   = "How long do attempts run? (ms, 99th percentile)"
      stat    = "p99"
      metrics = [for queue in var.queues : ["sqjobs", "Run", "queue", queue]]
    },
    {
      title = "What is requested, and billed?"
      stat  = "Sum"
      metrics = concat(
        [for queue in var.queues : ["sqjobs", "StoreRequests", "queue", queue, { label = "${queue}: table" }]],
        [for queue in var.queues : ["sqjobs", "QueueRequests", "queue", queue, { label = "${queue}: queues" }]],
        [["sqjobs", "StoreRequests", "beater", var.beater_name, { label = "beater: table" }]],
        [["sqjobs", "QueueRequests", "beater", var.beater_name, { label = "beater: queues" }]],
      )
    },
    {
      title = "Do the tables and queues answer? (errors)"
      stat  = "Sum"
      metrics = concat(
        [for queue in var.queues : ["sqjobs", "StoreErrors", "queue", queue, { label = "${queue}: table" }]],
        [for queue in var.queues : ["sqjobs", "QueueErrors", "queue", queue, { label = "${queue}: queues" }]],
        [["sqjobs", "StoreErrors", "beater", var.beater_name, { label = "beater: table" }]],
        [["sqjobs", "QueueErrors", "beater", var.beater_name, { label = "beater: queues" }]],
      )
    },
    {
      title   = "How full are batches? (messages)"
      stat    = "Average"
      metrics = [for queue in var.queues : ["sqjobs", "BatchSize", "queue", queue]]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [for number, graph in local.graphs : {
      type   = "metric"
      x      = 12 * (number % 2)
      y      = 6 * floor(number / 2)
      width  = 12
      height = 6
      properties = {
        title   = graph.title
        view    = "timeSeries"
        region  = data.aws_region.current.region
        stat    = graph.stat
        period  = 300
        metrics = graph.metrics
        yAxis   = { left = { min = 0 } }
      }
    }]
  })
}
