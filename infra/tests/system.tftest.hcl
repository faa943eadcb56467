# Plans of the whole system.

variables {
  prefix   = "test-"
  packages = "./tests/packages"

  functions = {
    adder   = { timeout_s = 40, batch_size = 100, batch_window_s = 20, max_concurrency = 5, environment = { COLOUR = "red" } }
    ordered = { fifo = true }
    urgent  = { package = "adder" }
  }
}

run "names_agree_and_each_job_has_a_queue_of_its_own" {
  command = plan

  assert {
    condition     = module.function["adder"].function_name == "test-adder" && module.function["urgent"].function_name == "test-urgent"
    error_message = "A function has the name of its entry, after the prefix."
  }

  assert {
    condition     = keys(module.function) == ["adder", "ordered", "urgent"] && length(output.queue_urls) == 3
    error_message = "Each entry is a function and a queue."
  }

  assert {
    condition     = module.table.jobs_name == "test-jobs" && module.table.schedules_name == "test-schedules"
    error_message = "The tables have the prefix."
  }

  assert {
    condition     = module.beater.function_name == "test-beater"
    error_message = "The beater has the prefix."
  }

  assert {
    condition     = output.environment == { SQJOBS_TABLE = "test-jobs", SQJOBS_SCHEDULES_TABLE = "test-schedules", SQJOBS_PREFIX = "test-" }
    error_message = "The outputs are what the command finds the system by."
  }

  assert {
    condition     = output.queue_arns["ordered"] == "arn:aws:sqs:eu-west-1:123456789012:test-ordered.fifo" && endswith(output.dlq_arns["adder"], ":test-adder-dlq")
    error_message = "A policy of a producer takes the ARNs of the queues."
  }
}

run "a_dashboard_shows_all_queues" {
  command = plan

  assert {
    condition     = [for dashboard in module.dashboard : dashboard.name] == ["test-sqjobs"]
    error_message = "There is one dashboard."
  }

  assert {
    condition     = alltrue([for queue in ["test-adder", "test-ordered.fifo", "test-urgent", "test-ordered-dlq.fifo", "test-beater"] : strcontains(module.dashboard[0].body, "\"${queue}\"")])
    error_message = "It shows the queues, the dead-letter queues and the beater."
  }
}

run "many_queues_have_several_dashboards" {
  command = plan

  variables {
    functions = { for number in range(101) : "job-${number}" => { package = "adder" } }
  }

  assert {
    condition     = [for dashboard in module.dashboard : dashboard.name] == ["test-sqjobs", "test-sqjobs-2"]
    error_message = "A dashboard has a hundred queues."
  }
}

run "without_metrics_there_is_no_dashboard" {
  command = plan

  variables {
    metrics = false
  }

  assert {
    condition     = length(module.dashboard) == 0
    error_message = "A dashboard without metrics shows nothing."
  }
}

run "a_system_has_a_function_at_least" {
  command = plan

  variables {
    functions = {}
  }

  expect_failures = [var.functions]
}

run "a_hundred_functions_need_a_prefix" {
  command = plan

  variables {
    prefix    = ""
    functions = { for number in range(100) : "job-${number}" => { package = "adder" } }
  }

  expect_failures = [var.functions]
}

run "the_beater_is_no_job" {
  command = plan

  variables {
    functions = { beater = {} }
  }

  expect_failures = [var.functions]
}

run "a_prefix_is_short" {
  command = plan

  variables {
    prefix = "an-environment-with-a-long-name-"
  }

  expect_failures = [var.prefix]
}
