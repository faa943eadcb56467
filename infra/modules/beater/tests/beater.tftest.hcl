# Plans of the beater.

variables {
  prefix         = "test-"
  package        = "../../tests/packages/beater/bootstrap.zip"
  table_name     = "test-jobs"
  table_arn      = "arn:aws:dynamodb:eu-west-1:123456789012:table/test-jobs"
  schedules_name = "test-schedules"
  schedules_arn  = "arn:aws:dynamodb:eu-west-1:123456789012:table/test-schedules"
  queue_arns     = ["arn:aws:sqs:eu-west-1:123456789012:test-adder"]
  dlq_arns       = ["arn:aws:sqs:eu-west-1:123456789012:test-adder-dlq"]
}

run "it_is_woken_each_minute_and_done_before_the_next" {
  command = plan

  assert {
    condition = (
      aws_cloudwatch_event_rule.minute.schedule_expression == "rate(1 minute)" && aws_cloudwatch_event_rule.minute.state == "ENABLED" &&
      aws_cloudwatch_event_target.this.rule == "test-beater" && aws_lambda_permission.minute.principal == "events.amazonaws.com"
    )
    error_message = "A rule that is enabled wakes it each minute, and may do so."
  }

  assert {
    condition     = aws_lambda_function.this.timeout == 60
    error_message = "A tick takes no longer than a minute."
  }
}

run "a_few_queues_are_allowed_one_by_one" {
  command = plan

  assert {
    condition     = !local.by_prefix && local.ours == "arn:aws:sqs:eu-west-1:123456789012:test-"
    error_message = "The policy names the queues by their ARNs."
  }
}

run "thousands_of_queues_are_allowed_by_their_prefix" {
  command = plan

  variables {
    queue_arns = [for number in range(1000) : "arn:aws:sqs:eu-west-1:123456789012:test-job-${number}"]
    dlq_arns   = [for number in range(1000) : "arn:aws:sqs:eu-west-1:123456789012:test-job-${number}-dlq"]
  }

  assert {
    condition     = local.by_prefix && !strcontains(jsonencode(data.aws_iam_policy_document.this.statement), "test-job-")
    error_message = "The policy names the queues by their prefix."
  }
}

run "many_queues_without_a_prefix_are_refused" {
  command = plan

  variables {
    prefix     = ""
    queue_arns = [for number in range(100) : "arn:aws:sqs:eu-west-1:123456789012:job-${number}"]
    dlq_arns   = [for number in range(100) : "arn:aws:sqs:eu-west-1:123456789012:job-${number}-dlq"]
  }

  expect_failures = [var.dlq_arns]
}

run "each_queue_has_a_dead_letter_queue" {
  command = plan

  variables {
    dlq_arns = []
  }

  expect_failures = [var.dlq_arns]
}

run "variables_that_lambda_would_not_take_are_refused" {
  command = plan

  variables {
    environment = { LARGE = join("", [for number in range(360) : "0123456789"]) }
  }

  expect_failures = [var.environment]
}

run "who_does_not_tick_is_told" {
  command = plan

  variables {
    alarm_actions = ["arn:aws:sns:eu-west-1:123456789012:operators"]
  }

  assert {
    condition = alltrue([for alarm in [aws_cloudwatch_metric_alarm.errors, aws_cloudwatch_metric_alarm.asleep] : (
      alarm.alarm_actions == toset(var.alarm_actions) && alarm.dimensions == tomap({ FunctionName = "test-beater" })
    )])
    error_message = "Errors and silence are told."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.asleep.metric_name == "Invocations" && aws_cloudwatch_metric_alarm.asleep.treat_missing_data == "breaching"
    error_message = "Silence is an alarm."
  }
}

run "a_beater_without_ticks_or_with_late_schedules_is_an_alarm" {
  command = plan

  variables {
    alarm_actions = ["arn:aws:sns:eu-west-1:123456789012:operators"]
    alarm_late_s  = 120
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables.SQJOBS_METRICS == "on"
    error_message = "The beater writes metrics."
  }

  assert {
    condition = alltrue([for alarm in [aws_cloudwatch_metric_alarm.ticks[0], aws_cloudwatch_metric_alarm.late[0]] : (
      alarm.namespace == "sqjobs" && alarm.dimensions == tomap({ beater = "test-beater" }) &&
      alarm.alarm_actions == toset(var.alarm_actions) && alarm.ok_actions == toset(var.alarm_actions)
    )])
    error_message = "Each alarm is reported, and its end."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.ticks[0].metric_name == "Ticks" && aws_cloudwatch_metric_alarm.ticks[0].treat_missing_data == "breaching"
    error_message = "A beater without ticks is an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.late[0].metric_name == "ScheduleLateness" && aws_cloudwatch_metric_alarm.late[0].threshold == 120000 && aws_cloudwatch_metric_alarm.late[0].treat_missing_data == "notBreaching"
    error_message = "A schedule that is late by more than two minutes is an alarm."
  }
}

run "without_metrics_there_is_no_alarm_on_them" {
  command = plan

  variables {
    metrics = false
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables.SQJOBS_METRICS == "off" && length(aws_cloudwatch_metric_alarm.ticks) == 0 && length(aws_cloudwatch_metric_alarm.late) == 0
    error_message = "Nothing depends on metrics that are off."
  }
}

run "a_name_is_what_all_of_aws_takes" {
  command = plan

  variables {
    name = "beater.fifo"
  }

  expect_failures = [var.name]
}

run "a_name_has_64_characters_with_its_prefix" {
  command = plan

  variables {
    name   = "a-name-of-letters-and-hyphens-that-has-almost-sixty-letters"
    prefix = "europe-"
  }

  expect_failures = [var.name]
}

run "what_would_not_work_is_refused_by_name" {
  command = plan

  variables {
    prefix             = "production-europe/"
    package            = "nowhere/bootstrap.zip"
    table_arn          = "jobs"
    schedules_arn      = "schedules"
    queue_arns         = []
    architecture       = "mips"
    memory_mb          = 64
    environment        = { SQJOBS_METRICS = "off" }
    alarm_late_s       = 10
    log_retention_days = 2
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:alias/jobs"
    alarm_actions      = ["operators"]
  }

  expect_failures = [
    var.prefix,
    var.package,
    var.table_arn,
    var.schedules_arn,
    var.queue_arns,
    var.architecture,
    var.memory_mb,
    var.environment,
    var.log_retention_days,
    var.kms_key_arn,
    var.alarm_actions,
    var.alarm_late_s,
  ]
}
