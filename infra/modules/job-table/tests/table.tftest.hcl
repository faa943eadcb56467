# Plans of the tables.

variables {
  prefix = "test-"
}

run "tables_are_what_the_library_expects_and_cannot_be_lost" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.jobs.name == "test-jobs" && aws_dynamodb_table.schedules.name == "test-schedules"
    error_message = "The tables have the prefix."
  }

  assert {
    condition     = alltrue([for table in [aws_dynamodb_table.jobs, aws_dynamodb_table.schedules] : table.hash_key == "id" && table.range_key == null])
    error_message = "The key is the id."
  }

  assert {
    condition = { for index in aws_dynamodb_table.jobs.global_secondary_index : index.name => [index.hash_key, index.range_key, index.projection_type] } == {
      due    = ["due", "run_at", "KEYS_ONLY"]
      listed = ["listed", "listed_at", "KEYS_ONLY"]
    }
    error_message = "What is due, and what is listed, is found by an index that holds nothing else."
  }

  assert {
    condition = [for index in aws_dynamodb_table.schedules.global_secondary_index : [index.name, index.hash_key, index.range_key, index.projection_type]] == [
      ["due", "due", "next_fire", "ALL"]
    ]
    error_message = "A tick reads schedules whole from the index."
  }

  assert {
    condition     = aws_dynamodb_table.jobs.ttl[0].enabled && aws_dynamodb_table.jobs.ttl[0].attribute_name == "purge_at"
    error_message = "Records are forgotten in time."
  }

  assert {
    condition = alltrue([for table in [aws_dynamodb_table.jobs, aws_dynamodb_table.schedules] : (
      table.billing_mode == "PAY_PER_REQUEST" && table.deletion_protection_enabled && table.point_in_time_recovery[0].enabled
    )])
    error_message = "Tables are paid by request, cannot be deleted by mistake, and can be restored."
  }
}

run "a_key_encrypts_both" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/check"
  }

  assert {
    condition = alltrue([for table in [aws_dynamodb_table.jobs, aws_dynamodb_table.schedules] : (
      table.server_side_encryption[0].enabled && table.server_side_encryption[0].kms_key_arn == var.kms_key_arn
    )])
    error_message = "Both tables are encrypted with the key."
  }
}

run "what_would_not_work_is_refused_by_name" {
  command = plan

  variables {
    prefix         = "production-europe/"
    jobs_name      = "j"
    schedules_name = "s"
    kms_key_arn    = "arn:aws:kms:eu-west-1:123456789012:alias/jobs"
  }

  expect_failures = [var.prefix, var.jobs_name, var.schedules_name, var.kms_key_arn]
}

run "a_table_that_expects_a_load_is_warm" {
  command = plan

  variables {
    warm_write_units = 20000
  }

  assert {
    condition     = aws_dynamodb_table.jobs.warm_throughput[0].write_units_per_second == 20000 && length(aws_dynamodb_table.schedules.warm_throughput) == 0
    error_message = "The table of the records takes so many writes at once."
  }
}

run "a_table_is_not_made_colder_than_a_new_one" {
  command = plan

  variables {
    warm_write_units = 1000
  }

  expect_failures = [var.warm_write_units]
}
