# Plans of the events.

variables {
  prefix     = "test-"
  package    = "../../tests/packages/beater/bootstrap.zip"
  table_arn  = "arn:aws:dynamodb:eu-west-1:123456789012:table/test-jobs"
  stream_arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/test-jobs/stream/2026-05-04T12:00:00.000"
  bus_arn    = "arn:aws:events:eu-west-1:123456789012:event-bus/default"
}

run "lambda_invokes_the_function_for_failed_jobs_and_repeats_the_rest" {
  command = plan

  assert {
    condition     = aws_lambda_function.this.function_name == "test-events" && aws_lambda_event_source_mapping.this.starting_position == "TRIM_HORIZON"
    error_message = "The function misses no change of the stream."
  }

  assert {
    condition     = [for filter in one(aws_lambda_event_source_mapping.this.filter_criteria).filter : filter.pattern] == ["{\"dynamodb\":{\"NewImage\":{\"state\":{\"S\":[\"failed\"]}}}}"]
    error_message = "Only failed jobs are events."
  }

  assert {
    condition     = tolist(aws_lambda_event_source_mapping.this.function_response_types) == tolist(["ReportBatchItemFailures"])
    error_message = "Lambda repeats a batch from the first event that was not accepted."
  }

  assert {
    condition     = aws_lambda_function.this.environment[0].variables == tomap({ SQJOBS_EVENT_BUS = "arn:aws:events:eu-west-1:123456789012:event-bus/default", SQJOBS_EVENT_RESULTS = "off" })
    error_message = "The function gets the bus."
  }
}

run "jobs_are_selected_by_name_and_state" {
  command = plan

  variables {
    states    = ["succeeded", "failed"]
    job_names = ["adder", "webhook"]
    results   = true
  }

  assert {
    condition     = jsonencode(local.pattern) == "{\"dynamodb\":{\"NewImage\":{\"name\":{\"S\":[\"adder\",\"webhook\"]},\"state\":{\"S\":[\"succeeded\",\"failed\"]}}}}"
    error_message = "The filter has names and states."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    states     = ["done"]
    bus_arn    = "default"
    job_names  = [for number in range(1000) : "job-${number}"]
    prefix     = "much-too-long-a-prefix-"
    table_arn  = "jobs"
    stream_arn = "stream"
  }

  expect_failures = [var.states, var.bus_arn, var.job_names, var.prefix, var.table_arn, var.stream_arn]
}
