# The table of records, which also contains lists and statistics, and the table of schedules.

resource "aws_dynamodb_table" "jobs" {
  name                        = "${var.prefix}${var.jobs_name}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "id"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "id"
    type = "S"
  }

  attribute {
    name = "due"
    type = "S"
  }

  attribute {
    name = "run_at"
    type = "S"
  }

  attribute {
    name = "listed"
    type = "S"
  }

  attribute {
    name = "listed_at"
    type = "S"
  }

  # Sparse: jobs that wait longer than a queue can delay.
  global_secondary_index {
    name            = "due"
    hash_key        = "due"
    range_key       = "run_at"
    projection_type = "KEYS_ONLY"
  }

  # Sparse: failed jobs, and jobs that can be found by name, tag, tree or object.
  global_secondary_index {
    name            = "listed"
    hash_key        = "listed"
    range_key       = "listed_at"
    projection_type = "KEYS_ONLY"
  }

  stream_enabled   = var.stream
  stream_view_type = var.stream ? "NEW_AND_OLD_IMAGES" : null

  # Source: "Understanding DynamoDB warm throughput" in the DynamoDB developer guide.
  dynamic "warm_throughput" {
    for_each = var.warm_write_units == null ? [] : [var.warm_write_units]

    content {
      read_units_per_second  = max(12000, warm_throughput.value)
      write_units_per_second = warm_throughput.value
    }
  }

  ttl {
    attribute_name = "purge_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }

  server_side_encryption {
    enabled     = var.kms_key_arn != null
    kms_key_arn = var.kms_key_arn
  }
}

resource "aws_dynamodb_table" "schedules" {
  name                        = "${var.prefix}${var.schedules_name}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "id"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "id"
    type = "S"
  }

  attribute {
    name = "due"
    type = "S"
  }

  attribute {
    name = "next_fire"
    type = "S"
  }

  global_secondary_index {
    name            = "due"
    hash_key        = "due"
    range_key       = "next_fire"
    projection_type = "ALL"
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }

  server_side_encryption {
    enabled     = var.kms_key_arn != null
    kms_key_arn = var.kms_key_arn
  }
}
