variable "name" {
  description = "The name of the function and its rule."
  type        = string
  default     = "beater"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,60}$", var.name))
    error_message = "The name must have 1 to 60 letters, digits, hyphens and underscores."
  }

  validation {
    condition     = length(var.prefix) + length(var.name) <= 64
    error_message = "The prefix and the name must have at most 64 characters together."
  }
}

variable "prefix" {
  description = "The prefix of all names. It separates several environments in one account."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,20}$", var.prefix))
    error_message = "The prefix must have at most 20 letters, digits, hyphens and underscores."
  }
}

variable "package" {
  description = "The path of bootstrap.zip, built by `cargo lambda build --output-format zip`."
  type        = string

  validation {
    condition     = fileexists(var.package)
    error_message = "The file does not exist. Create it with `cargo lambda build --release --arm64 --output-format zip`."
  }
}

variable "table_name" {
  description = "The name of the table of records."
  type        = string
}

variable "table_arn" {
  description = "The ARN of the table of records."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:dynamodb:.*:table/", var.table_arn))
    error_message = "The value must be the ARN of a DynamoDB table."
  }
}

variable "schedules_name" {
  description = "The name of the table of schedules."
  type        = string
}

variable "schedules_arn" {
  description = "The ARN of the table of schedules."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:dynamodb:.*:table/", var.schedules_arn))
    error_message = "The value must be the ARN of a DynamoDB table."
  }
}

variable "queue_arns" {
  description = "The ARNs of the queues to which the beater sends jobs."
  type        = list(string)

  validation {
    condition     = length(var.queue_arns) > 0
    error_message = "A beater needs at least one queue; add a function."
  }
}

variable "dlq_arns" {
  description = "The ARNs of the dead-letter queues that the beater examines. It finds their names in the table of records."
  type        = list(string)

  validation {
    condition     = length(var.dlq_arns) == length(var.queue_arns)
    error_message = "The list must have one dead-letter queue for each queue."
  }

  # All inline policies of a role may have 10,240 characters in total: "IAM and AWS STS quotas" in the IAM user guide.
  validation {
    condition     = var.prefix != "" || length(join("", concat(var.queue_arns, var.dlq_arns))) + 3 * length(concat(var.queue_arns, var.dlq_arns)) <= 8000
    error_message = "The ARNs of these queues exceed the size of the beater's policy. Set prefix, so that the policy names all queues by it, or split the functions between environments."
  }
}

variable "architecture" {
  description = "The architecture of the package: arm64 or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "The architecture must be arm64 or x86_64."
  }
}

variable "memory_mb" {
  description = "The function's memory in MB, which also determines its share of a CPU."
  type        = number
  default     = 256

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "The memory must be 128 to 10240 MB."
  }
}

variable "environment" {
  description = "Additional environment variables of the function."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["SQJOBS_TABLE", "SQJOBS_SCHEDULES_TABLE", "SQJOBS_PREFIX", "SQJOBS_METRICS"])) == 0
    error_message = "Remove SQJOBS_TABLE, SQJOBS_SCHEDULES_TABLE, SQJOBS_PREFIX and SQJOBS_METRICS: the module sets them."
  }

  # All variables of a function may have 4 KB in total: "Lambda quotas" in the Lambda developer guide. The module needs the rest.
  validation {
    condition     = length(join("", concat(keys(var.environment), values(var.environment)))) <= 3600
    error_message = "The names and values of these variables must have at most 3600 bytes in total. Store large values in SSM Parameter Store."
  }
}

variable "metrics" {
  description = "Writes metrics to the log, from which CloudWatch takes them, and creates the alarms on them. CloudWatch bills each metric: see \"Costs\" in docs/metrics.md."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "The retention of the log in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "The retention must be 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827 or 3653 days."
  }
}

variable "kms_key_arn" {
  description = "The ARN of the key that encrypts the log and the variables, and that decrypts tables and queues."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[^:]+:kms:.*:key/", var.kms_key_arn))
    error_message = "The key must be an ARN, such as arn:aws:kms:REGION:ACCOUNT:key/ID, and not an alias: permissions refer to the key."
  }
}

variable "alarm_actions" {
  description = "The ARNs of the alarm actions, such as an SNS topic."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for action in var.alarm_actions : can(regex("^arn:", action))])
    error_message = "Each alarm action must be an ARN."
  }
}

variable "alarm_late_s" {
  description = "The lateness of a schedule, in seconds, above which the alarm goes off."
  type        = number
  default     = 300

  validation {
    condition     = var.alarm_late_s >= 60
    error_message = "The lateness must be at least 60 seconds: the beater fires schedules once a minute."
  }
}

variable "tags" {
  description = "The tags of all resources."
  type        = map(string)
  default     = {}
}
