# Plans of one job.

variables {
  name           = "adder"
  prefix         = "test-"
  package        = "../../tests/packages/adder/bootstrap.zip"
  table_name     = "test-jobs"
  table_arn      = "arn:aws:dynamodb:eu-west-1:123456789012:table/test-jobs"
  schedules_name = "test-schedules"
}

run "a_queue_outlasts_its_function_and_its_messages_outlast_the_queue" {
  command = plan

  variables {
    timeout_s      = 40
    batch_size     = 100
    batch_window_s = 20
  }

  assert {
    condition     = aws_sqs_queue.this.max_message_size == 1048576 && aws_sqs_queue.dlq.max_message_size == 1048576
    error_message = "The queues take messages of 1 MiB, as the library expects."
  }

  assert {
    condition     = aws_sqs_queue.this.visibility_timeout_seconds == 6 * 40 + 20
    error_message = "A message is hidden for six timeouts and the window."
  }

  assert {
    condition     = aws_sqs_queue.dlq.message_retention_seconds > aws_sqs_queue.this.message_retention_seconds
    error_message = "The dead-letter queue keeps messages longer."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "Without partial batch failures, messages vanish."
  }

  assert {
    condition     = aws_lambda_function_recursion_config.this.recursive_loop == "Allow"
    error_message = "Lambda would end a chain of jobs after 16."
  }

  assert {
    condition     = aws_lambda_function.this.runtime == "provided.al2023" && aws_lambda_function.this.architectures == tolist(["arm64"])
    error_message = "A function is a bootstrap for arm64, unless told otherwise."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/lambda/test-adder" && aws_cloudwatch_log_group.this.retention_in_days == 30
    error_message = "The log is kept for a month."
  }

  assert {
    condition     = length(aws_lambda_event_source_mapping.this.scaling_config) == 0
    error_message = "Without a maximum concurrency, Lambda decides."
  }
}

run "beaters_find_the_dead_letter_queue_in_the_table" {
  command = plan

  assert {
    condition = jsondecode(aws_dynamodb_table_item.dlq.item) == {
      id        = { S = "dlqs\u001ftest-adder-dlq" }
      listed    = { S = "dlqs" }
      listed_at = { S = "1970-01-01T00:00:00.000Z" }
      purge_at  = { N = "253402300799" }
    } && aws_dynamodb_table_item.dlq.table_name == "test-jobs" && aws_dynamodb_table_item.dlq.hash_key == "id"
    error_message = "The item of the dead-letter queue is the one that the command writes."
  }
}

run "variables_that_lambda_would_not_take_are_refused" {
  command = plan

  variables {
    environment = { LARGE = join("", [for number in range(360) : "0123456789"]) }
  }

  expect_failures = [var.environment]
}

run "a_queue_feeds_the_version_that_is_live" {
  command = plan

  variables {
    live_version = "7"
  }

  assert {
    condition     = aws_lambda_function.this.publish
    error_message = "Each change of code or settings is a version."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.function_name == "arn:aws:lambda:eu-west-1:123456789012:function:test-adder:live"
    error_message = "The queue feeds the alias."
  }

  assert {
    condition     = aws_lambda_alias.live.function_version == "7" && output.live_version == "7"
    error_message = "After a roll back, the alias stays at the version that was named."
  }
}

run "queues_are_named_by_names_and_by_arns" {
  command = plan

  variables {
    enqueues_to = ["others", "ordered.fifo", "arn:aws:sqs:eu-west-1:210987654321:theirs"]
  }

  assert {
    condition = local.children == [
      "arn:aws:sqs:eu-west-1:123456789012:test-others",
      "arn:aws:sqs:eu-west-1:123456789012:test-ordered.fifo",
      "arn:aws:sqs:eu-west-1:210987654321:theirs",
    ]
    error_message = "A name is that of a queue of this account, after the prefix."
  }
}

run "a_fifo_job_is_fifo_throughout" {
  command = plan

  variables {
    fifo            = true
    max_concurrency = 3
  }

  assert {
    condition     = aws_sqs_queue.this.name == "test-adder.fifo" && aws_sqs_queue.dlq.name == "test-adder-dlq.fifo" && aws_sqs_queue.dlq.fifo_queue
    error_message = "A FIFO queue and its dead-letter queue end in .fifo."
  }

  assert {
    condition     = aws_sqs_queue.this.fifo_throughput_limit == "perMessageGroupId"
    error_message = "A FIFO queue has high throughput."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.scaling_config[0].maximum_concurrency == 3
    error_message = "The maximum concurrency is the mapping's."
  }
}

run "what_goes_wrong_is_told" {
  command = plan

  variables {
    alarm_actions = ["arn:aws:sns:eu-west-1:123456789012:operators"]
    alarm_age_s   = 600
  }

  assert {
    condition = alltrue([for alarm in [
      aws_cloudwatch_metric_alarm.dead_letters,
      aws_cloudwatch_metric_alarm.age["default"],
      aws_cloudwatch_metric_alarm.stuck["default"],
      aws_cloudwatch_metric_alarm.in_flight["default"],
      aws_cloudwatch_metric_alarm.function["Errors"],
      aws_cloudwatch_metric_alarm.function["Throttles"],
    ] : alarm.alarm_actions == toset(var.alarm_actions) && alarm.ok_actions == toset(var.alarm_actions)])
    error_message = "Each alarm is told, and its end."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.dead_letters.metric_name == "ApproximateNumberOfMessagesVisible" &&
      aws_cloudwatch_metric_alarm.dead_letters.dimensions == tomap({ QueueName = "test-adder-dlq" }) &&
      aws_cloudwatch_metric_alarm.dead_letters.threshold == 0
    )
    error_message = "One dead letter is an alarm."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.age["default"].metric_name == "ApproximateAgeOfOldestMessage" &&
      aws_cloudwatch_metric_alarm.age["default"].dimensions == tomap({ QueueName = "test-adder" }) &&
      aws_cloudwatch_metric_alarm.age["default"].threshold == 600
    )
    error_message = "Jobs that wait for too long are an alarm."
  }

  assert {
    condition = (
      one([for query in aws_cloudwatch_metric_alarm.stuck["default"].metric_query : query.expression if query.id == "stuck"]) ==
      "IF((FILL(received, 0) > 0 OR FILL(age, 0) > 600) AND FILL(deleted, 0) == 0, 1, 0)"
    )
    error_message = "Jobs that come back and never end are an alarm."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.in_flight["default"].metric_name == "ApproximateNumberOfMessagesNotVisible" &&
      aws_cloudwatch_metric_alarm.in_flight["default"].threshold < 120000
    )
    error_message = "An alarm comes before SQS's limit of messages in flight."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.function["Throttles"].dimensions == tomap({ FunctionName = "test-adder" })
    error_message = "Errors and throttles are the function's."
  }
}

run "long_waits_failures_and_new_dead_letters_are_alarms_on_metrics" {
  command = plan

  variables {
    alarm_actions         = ["arn:aws:sns:eu-west-1:123456789012:operators"]
    alarm_age_s           = 600
    alarm_failure_percent = 25
    priorities            = { high = { alarm_age_s = 60 } }
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables.SQJOBS_METRICS == "on"
    error_message = "The function writes metrics."
  }

  assert {
    condition = alltrue([for alarm in concat(
      values(aws_cloudwatch_metric_alarm.wait),
      values(aws_cloudwatch_metric_alarm.failures),
      values(aws_cloudwatch_metric_alarm.new_dead_letters),
    ) : alarm.alarm_actions == toset(var.alarm_actions) && alarm.ok_actions == toset(var.alarm_actions) && alarm.treat_missing_data == "notBreaching"])
    error_message = "Each alarm is reported, and its end. A queue without jobs raises none."
  }

  assert {
    condition = distinct([
      for metric in flatten([for alarm in concat(values(aws_cloudwatch_metric_alarm.wait), values(aws_cloudwatch_metric_alarm.failures)) : [
        for query in alarm.metric_query : query.metric
      ]]) : "${metric.namespace} ${metric.dimensions.queue}"
    ]) == tolist(["sqjobs test-adder", "sqjobs test-adder-high"])
    error_message = "The metrics are those of the library, by queue."
  }

  assert {
    condition = (
      one([for query in aws_cloudwatch_metric_alarm.wait["default"].metric_query : query.expression if query.id == "oldest"]) == "MAX([FILL(wait, 0), FILL(age, 0)])" &&
      one([for query in aws_cloudwatch_metric_alarm.wait["default"].metric_query : query.metric[0].stat if query.id == "age"]) == "Maximum" &&
      aws_cloudwatch_metric_alarm.wait["default"].threshold == 600000 && aws_cloudwatch_metric_alarm.wait["high"].threshold == 60000
    )
    error_message = "A wait that is too long is an alarm, in the milliseconds of the metrics."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.failures["default"].threshold == 25
    error_message = "The percentage of failures is that of the variable."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.new_dead_letters["high"].metric_name == "DeadLetters" && aws_cloudwatch_metric_alarm.new_dead_letters["high"].threshold == 0 &&
      aws_cloudwatch_metric_alarm.new_dead_letters["high"].dimensions == tomap({ queue = "test-adder-high" })
    )
    error_message = "Each new dead letter is an alarm."
  }
}

run "without_metrics_there_is_no_alarm_on_them" {
  command = plan

  variables {
    metrics = false
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables.SQJOBS_METRICS == "off"
    error_message = "The function writes no metrics."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.wait) + length(aws_cloudwatch_metric_alarm.failures) + length(aws_cloudwatch_metric_alarm.new_dead_letters) == 0
    error_message = "Nothing depends on metrics that are off."
  }
}

run "a_key_encrypts_everything_that_is_kept" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/check"
  }

  assert {
    condition = alltrue([for key in [
      aws_sqs_queue.this.kms_master_key_id,
      aws_sqs_queue.dlq.kms_master_key_id,
      aws_cloudwatch_log_group.this.kms_key_id,
      aws_lambda_function.this.kms_key_arn,
    ] : key == var.kms_key_arn])
    error_message = "Queues, log and variables are encrypted with the key."
  }
}

run "without_a_key_queues_are_encrypted_all_the_same" {
  command = plan

  assert {
    condition     = aws_sqs_queue.this.sqs_managed_sse_enabled == true && aws_sqs_queue.dlq.sqs_managed_sse_enabled == true
    error_message = "SQS encrypts with a key of its own."
  }

  assert {
    condition     = aws_lambda_function.this.tracing_config[0].mode == "PassThrough"
    error_message = "X-Ray is not asked for."
  }
}

run "x_ray_is_had_for_the_asking" {
  command = plan

  variables {
    tracing = true
  }

  assert {
    condition     = aws_lambda_function.this.tracing_config[0].mode == "Active"
    error_message = "X-Ray traces the function."
  }
}

run "names_are_what_all_of_aws_takes" {
  command = plan

  variables {
    name = "adder.fifo"
  }

  expect_failures = [var.name]
}

run "an_architecture_is_one_of_two" {
  command = plan

  variables {
    architecture = "mips"
  }

  expect_failures = [var.architecture]
}

run "a_timeout_is_what_lambda_takes" {
  command = plan

  variables {
    timeout_s = 901
  }

  expect_failures = [var.timeout_s]
}

run "memory_is_what_lambda_takes" {
  command = plan

  variables {
    memory_mb = 64
  }

  expect_failures = [var.memory_mb]
}

run "a_large_batch_needs_a_window" {
  command = plan

  variables {
    batch_size = 11
  }

  expect_failures = [var.batch_size]
}

run "a_window_fits_into_the_timeout" {
  command = plan

  variables {
    batch_window_s = 30
  }

  expect_failures = [var.batch_window_s]
}

run "a_fifo_queue_has_no_window" {
  command = plan

  variables {
    fifo           = true
    batch_window_s = 5
  }

  expect_failures = [var.batch_window_s]
}

run "a_maximum_concurrency_is_two_at_least" {
  command = plan

  variables {
    max_concurrency = 1
  }

  expect_failures = [var.max_concurrency]
}

run "messages_are_kept_for_four_days_at_least" {
  command = plan

  variables {
    retention_s = 86400
  }

  expect_failures = [var.retention_s]
}

run "messages_are_kept_for_less_than_dead_letters" {
  command = plan

  variables {
    retention_s = 1209600
  }

  expect_failures = [var.retention_s]
}

run "a_log_is_kept_for_a_time_that_there_is" {
  command = plan

  variables {
    log_retention_days = 2
  }

  expect_failures = [var.log_retention_days]
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
    prefix                = "production-europe/"
    package               = "nowhere/bootstrap.zip"
    table_arn             = "jobs"
    environment           = { SQJOBS_METRICS = "off" }
    kms_key_arn           = "arn:aws:kms:eu-west-1:123456789012:alias/jobs"
    alarm_actions         = ["operators"]
    reserved_concurrency  = -2
    enqueues_to           = ["https://sqs.eu-west-1.amazonaws.com/123456789012/adder"]
    live_version          = "live"
    policy_json           = "s3:*"
    alarm_age_s           = 1
    alarm_failure_percent = 0
  }

  expect_failures = [
    var.prefix,
    var.package,
    var.table_arn,
    var.environment,
    var.kms_key_arn,
    var.alarm_actions,
    var.reserved_concurrency,
    var.enqueues_to,
    var.live_version,
    var.policy_json,
    var.alarm_age_s,
    var.alarm_failure_percent,
  ]
}

run "provisioned_pollers_take_the_place_of_a_maximum_concurrency" {
  command = plan

  variables {
    pollers = { minimum = 4 }
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this.provisioned_poller_config[0].minimum_pollers == 4 && aws_lambda_event_source_mapping.this.provisioned_poller_config[0].maximum_pollers == 200
    error_message = "The queue has the pollers that are asked for."
  }
}

run "provisioned_pollers_and_a_maximum_concurrency_are_refused" {
  command = plan

  variables {
    pollers         = { minimum = 4 }
    max_concurrency = 5
  }

  expect_failures = [var.pollers]
}

run "a_queue_has_two_pollers_at_least" {
  command = plan

  variables {
    pollers = { minimum = 1 }
  }

  expect_failures = [var.pollers]
}

run "each_further_priority_has_a_queue_that_the_same_function_reads" {
  command = plan

  variables {
    fifo       = true
    priorities = { high = {}, low = { max_concurrency = 2, alarm_age_s = 86400 } }
  }

  assert {
    condition     = [for queue in aws_sqs_queue.priority : queue.name] == ["test-adder-high.fifo", "test-adder-low.fifo"]
    error_message = "The names are those of the library."
  }

  assert {
    condition = alltrue([
      for queue in aws_sqs_queue.priority : queue.fifo_queue && queue.visibility_timeout_seconds == aws_sqs_queue.this.visibility_timeout_seconds
    ])
    error_message = "The queues have the settings of the first one."
  }

  assert {
    condition     = length(aws_lambda_event_source_mapping.priority["high"].scaling_config) == 0
    error_message = "The maximum concurrency of another queue does not count."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.priority["low"].scaling_config[0].maximum_concurrency == 2
    error_message = "Each queue has a maximum concurrency of its own."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.age["low"].threshold == 86400 && aws_cloudwatch_metric_alarm.age["high"].threshold == 3600
    error_message = "Each queue has an alarm, with an age of its own."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.stuck["low"].alarm_name == "test-adder-low-stuck"
    error_message = "The alarms of the queues differ in their names."
  }
}

run "a_priority_is_high_or_low" {
  command = plan

  variables {
    priorities = { urgent = {} }
  }

  expect_failures = [var.priorities]
}
