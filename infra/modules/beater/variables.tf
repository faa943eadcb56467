variable "name" {
  description = "The name of the function, its package and its rule."
  type        = string
  default     = "beater"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,60}$", var.name))
    error_message = "A name has 1 to 60 letters, digits, hyphens and underscores."
  }

  validation {
    condition     = length(var.prefix) + length(var.name) <= 64
    error_message = "A function has a name of 64 characters at most, the prefix included."
  }
}

variable "prefix" {
  description = "Precedes all names, so that several environments fit into an account."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,20}$", var.prefix))
    error_message = "A prefix has up to 20 letters, digits, hyphens and underscores."
  }
}

variable "package" {
  description = "The path of bootstrap.zip, as `cargo lambda build --output-format zip` leaves it."
  type        = string

  validation {
    condition     = fileexists(var.package)
    error_message = "There is no such file; `cargo lambda build --release --arm64 --output-format zip` makes it."
  }
}

variable "table_name" {
  description = "The name of the table of the records."
  type        = string
}

variable "table_arn" {
  description = "The ARN of the table of the records."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:dynamodb:.*:table/", var.table_arn))
    error_message = "A table is named by its ARN."
  }
}

variable "schedules_name" {
  description = "The name of the table of the schedules."
  type        = string
}

variable "schedules_arn" {
  description = "The ARN of the table of the schedules."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:dynamodb:.*:table/", var.schedules_arn))
    error_message = "A table is named by its ARN."
  }
}

variable "queue_arns" {
  description = "The ARNs of the queues to which it sends jobs."
  type        = list(string)

  validation {
    condition     = length(var.queue_arns) > 0
    error_message = "A beater needs a queue at least: add a function."
  }
}

variable "dlq_arns" {
  description = "The ARNs of the dead-letter queues that it looks through. It finds them by their items in the table of the records."
  type        = list(string)

  validation {
    condition     = length(var.dlq_arns) == length(var.queue_arns)
    error_message = "Each queue has a dead-letter queue."
  }

  # All inline policies of a role have up to 10,240 characters: "IAM and AWS STS quotas" in the IAM user guide.
  validation {
    condition     = var.prefix != "" || length(join("", concat(var.queue_arns, var.dlq_arns))) + 3 * length(concat(var.queue_arns, var.dlq_arns)) <= 8000
    error_message = "The policy of a beater has no room for the ARNs of so many queues, and without a prefix it cannot name them by one: set prefix, or split the functions between environments."
  }
}

variable "architecture" {
  description = "What the package was built for: arm64 or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "The architecture is arm64 or x86_64."
  }
}

variable "memory_mb" {
  description = "The function's memory in MB, by which its share of a processor is measured."
  type        = number
  default     = 256

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "A function has 128 to 10240 MB."
  }
}

variable "environment" {
  description = "More variables of the function's environment."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["SQJOBS_TABLE", "SQJOBS_SCHEDULES_TABLE", "SQJOBS_PREFIX"])) == 0
    error_message = "The module itself sets SQJOBS_TABLE, SQJOBS_SCHEDULES_TABLE and SQJOBS_PREFIX."
  }

  # All variables of a function have up to 4 KB: "Lambda quotas" in the Lambda developer guide. The rest is for those of the module.
  validation {
    condition     = length(join("", concat(keys(var.environment), values(var.environment)))) <= 3600
    error_message = "The names and values of these variables have 3600 bytes at most, in all: put large ones into SSM Parameter Store."
  }
}

variable "log_retention_days" {
  description = "For how many days the log is kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "CloudWatch Logs keeps a log for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827 or 3653 days."
  }
}

variable "kms_key_arn" {
  description = "The key that encrypts log and variables, and with which it reads tables and queues."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[^:]+:kms:.*:key/", var.kms_key_arn))
    error_message = "A key is named by its ARN, as arn:aws:kms:REGION:ACCOUNT:key/ID, and not by an alias: rights are given on the key."
  }
}

variable "alarm_actions" {
  description = "The ARNs of what is told of alarms, such as a topic of SNS."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for action in var.alarm_actions : can(regex("^arn:", action))])
    error_message = "What is told of alarms is named by its ARN."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
