# Plans of the dashboard.

variables {
  queues      = ["test-adder", "test-ordered.fifo"]
  dlqs        = ["test-adder-dlq", "test-ordered-dlq.fifo"]
  beater_name = "test-beater"
}

run "each_question_of_an_operator_has_a_graph" {
  command = plan

  assert {
    condition = [for widget in jsondecode(output.body).widgets : widget.properties.title] == [
      "Is work waiting? (visible messages)",
      "How long does the oldest job wait? (ms)",
      "Does work get done? (jobs that succeeded)",
      "Is anything failing? (failed attempts in per cent)",
      "What fails? (failed jobs and retries by name)",
      "Are there dead letters?",
      "Does the beater work? (ticks in five minutes, and what they could not do)",
      "Are schedules late? (ms)",
      "How long do attempts run? (ms, 99th percentile)",
      "What is requested, and billed?",
      "Do the tables and queues answer? (errors)",
      "How full are batches? (messages)",
    ]
    error_message = "A graph for each question."
  }

  assert {
    condition     = length(distinct([for widget in jsondecode(output.body).widgets : "${widget.x},${widget.y}"])) == 12
    error_message = "No graph covers another."
  }

  assert {
    condition     = alltrue([for widget in jsondecode(output.body).widgets : widget.properties.region == "eu-west-1" && widget.type == "metric"])
    error_message = "Each graph is of this region."
  }

  assert {
    condition = jsondecode(output.body).widgets[0].properties.metrics == [
      ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "test-adder"],
      ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "test-ordered.fifo"],
    ]
    error_message = "The graphs name the queues."
  }

  assert {
    condition     = jsondecode(output.body).widgets[3].properties.metrics[0][0].label == "test-adder" && length(jsondecode(output.body).widgets[3].properties.metrics) == 8
    error_message = "A queue has a line for its failures, and three metrics that are not drawn."
  }

  assert {
    condition     = strcontains(jsondecode(output.body).widgets[4].properties.metrics[0][0].expression, "queue=(\"test-adder\" OR \"test-ordered.fifo\")")
    error_message = "Names are searched in these queues."
  }
}

run "a_hundred_queues_fit_into_a_dashboard" {
  command = plan

  variables {
    queues = [for number in range(100) : "test-job-${number}"]
    dlqs   = [for number in range(100) : "test-job-${number}-dlq"]
  }

  assert {
    condition     = alltrue([for widget in jsondecode(output.body).widgets : length(widget.properties.metrics) <= 500]) && sum([for widget in jsondecode(output.body).widgets : length(widget.properties.metrics)]) <= 2500
    error_message = "CloudWatch draws 500 metrics in a graph, and 2,500 in a dashboard."
  }

  assert {
    condition     = alltrue([for row in jsondecode(output.body).widgets[4].properties.metrics : length(row[0].expression) <= 1024])
    error_message = "CloudWatch takes a search of 1,024 characters."
  }
}

run "more_queues_or_none_are_refused" {
  command = plan

  variables {
    queues = []
    dlqs   = [for number in range(101) : "test-job-${number}-dlq"]
    name   = "sqjobs/test"
  }

  expect_failures = [var.queues, var.dlqs, var.name]
}
