variable "name" {
  description = "The name of the job, its package, its function and its queue."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,60}$", var.name))
    error_message = "The name must have 1 to 60 letters, digits, hyphens and underscores. With fifo, .fifo is added to the names of the queues."
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

variable "fifo" {
  description = "Makes the queue a FIFO queue: jobs of one message group run one after another."
  type        = bool
  default     = false
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

variable "timeout_s" {
  description = "The timeout of the function in seconds. The visibility timeout of the queue is six times as long."
  type        = number
  default     = 30

  validation {
    condition     = var.timeout_s >= 5 && var.timeout_s <= 900
    error_message = "The timeout must be 5 to 900 seconds."
  }
}

variable "memory_mb" {
  description = "The function's memory in MB, which also determines its share of a CPU."
  type        = number
  default     = 128

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "The memory must be 128 to 10240 MB."
  }
}

variable "batch_size" {
  description = "The maximum number of messages in a batch."
  type        = number
  default     = 10

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= (var.fifo || var.batch_window_s == 0 ? 10 : 10000)
    error_message = "The batch size must be 1 to 10, or up to 10000 on a standard queue with batch_window_s of 1 or more."
  }
}

variable "batch_window_s" {
  description = "The seconds for which Lambda collects messages for a batch; 0 on a FIFO queue."
  type        = number
  default     = 0

  validation {
    condition     = var.batch_window_s >= 0 && var.batch_window_s <= 300 && !(var.fifo && var.batch_window_s > 0)
    error_message = "The batch window must be 0 to 300 seconds, and 0 on a FIFO queue."
  }

  validation {
    condition     = var.batch_window_s < var.timeout_s
    error_message = "The batch window must be shorter than the function's timeout."
  }
}

variable "max_concurrency" {
  description = "The maximum number of concurrent batches, 2 to 1000. Default: scaled by Lambda."
  type        = number
  default     = null

  validation {
    condition     = var.max_concurrency == null ? true : var.max_concurrency >= 2 && var.max_concurrency <= 1000
    error_message = "The maximum concurrency must be 2 to 1000."
  }
}

variable "pollers" {
  description = "The provisioned pollers of the queue, which start at once and are billed by the hour. Default: polled by Lambda. Source: \"ProvisionedPollerConfig\" in the Lambda API reference."
  type = object({
    minimum = optional(number, 2)
    maximum = optional(number, 200)
  })
  default = null

  validation {
    condition     = var.pollers == null ? true : var.pollers.minimum >= 2 && var.pollers.minimum <= 200 && var.pollers.maximum >= var.pollers.minimum && var.pollers.maximum <= 10000
    error_message = "The minimum of pollers must be 2 to 200, and the maximum from the minimum to 10000."
  }

  validation {
    condition     = var.pollers == null || var.max_concurrency == null
    error_message = "Lambda accepts either provisioned pollers or a maximum concurrency. Remove pollers or max_concurrency."
  }
}

variable "priorities" {
  description = "The further priorities, high and low, each with a queue of its own such as adder-high, and with the maximum concurrency, the pollers and the age of the alarm of that queue."
  type = map(object({
    max_concurrency = optional(number)
    pollers         = optional(object({ minimum = optional(number, 2), maximum = optional(number, 200) }))
    alarm_age_s     = optional(number)
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.priorities), ["high", "low"])) == 0
    error_message = "The priorities must be high or low. The queue of the default priority always exists."
  }

  validation {
    condition     = alltrue([for options in values(var.priorities) : options.max_concurrency == null ? true : options.max_concurrency >= 2 && options.max_concurrency <= 1000])
    error_message = "The maximum concurrency of a priority must be 2 to 1000."
  }

  validation {
    condition     = alltrue([for options in values(var.priorities) : options.pollers == null || options.max_concurrency == null])
    error_message = "Lambda accepts either provisioned pollers or a maximum concurrency for a queue."
  }
}

variable "reserved_concurrency" {
  description = "The part of the account's concurrency that is reserved for this function; -1 reserves none."
  type        = number
  default     = -1

  validation {
    condition     = var.reserved_concurrency >= -1
    error_message = "The reserved concurrency must be -1 (none) or more; 0 stops the function."
  }
}

variable "retention_s" {
  description = "The message retention of the queue in seconds."
  type        = number
  default     = 864000

  validation {
    condition     = var.retention_s >= 345600 && var.retention_s < 1209600
    error_message = "The retention must be at least 4 days, and less than the 14 days of the dead-letter queue."
  }
}

variable "enabled" {
  description = "Enables the event source mapping from the queue to the function."
  type        = bool
  default     = true
}

variable "environment" {
  description = "Additional environment variables of the function."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["SQJOBS_TABLE", "SQJOBS_SCHEDULES_TABLE", "SQJOBS_PREFIX", "SQJOBS_QUEUE_URL", "SQJOBS_DLQ_URL", "SQJOBS_METRICS"])) == 0
    error_message = "Remove SQJOBS_TABLE, SQJOBS_SCHEDULES_TABLE, SQJOBS_PREFIX, SQJOBS_QUEUE_URL, SQJOBS_DLQ_URL and SQJOBS_METRICS: the module sets them."
  }

  # All variables of a function may have 4 KB in total: "Lambda quotas" in the Lambda developer guide. The module needs the rest.
  validation {
    condition     = length(join("", concat(keys(var.environment), values(var.environment)))) <= 3600
    error_message = "The names and values of these variables must have at most 3600 bytes in total. Store large values in SSM Parameter Store."
  }
}

variable "enqueues_to" {
  description = "The queues to which the job enqueues jobs: names without the prefix, such as adder or ordered.fifo, or ARNs."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for queue in var.enqueues_to : can(regex("^(arn:[^:]+:sqs:[^:]+:[0-9]{12}:)?[A-Za-z0-9_-]{1,80}([.]fifo)?$", queue))])
    error_message = "Each queue must be a name or an ARN, and not a URL."
  }
}

variable "live_version" {
  description = "The version that runs, such as 7 after a rollback. Default: the newest."
  type        = string
  default     = null

  validation {
    condition     = var.live_version == null ? true : can(regex("^[1-9][0-9]*$", var.live_version))
    error_message = "The version must be a number from `sqjobs function versions`."
  }
}

variable "policy_json" {
  description = "An IAM policy with additional permissions of the job."
  type        = string
  default     = null

  validation {
    condition     = var.policy_json == null ? true : can(jsondecode(var.policy_json).Statement)
    error_message = "The policy must be JSON with statements, such as the json of an aws_iam_policy_document."
  }
}

variable "tracing" {
  description = "Enables X-Ray tracing of the function."
  type        = bool
  default     = false
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
  description = "The ARN of the key that encrypts queues, log and variables. Default: keys of AWS."
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

variable "alarm_age_s" {
  description = "The wait of a job and the age of its message, in seconds, above which the alarms go off."
  type        = number
  default     = 3600

  validation {
    condition     = var.alarm_age_s >= 60
    error_message = "The age must be at least 60 seconds: the alarm is evaluated once a minute."
  }
}

variable "alarm_failure_percent" {
  description = "The percentage of failed attempts above which the alarm goes off, if there were 20 attempts in five minutes."
  type        = number
  default     = 50

  validation {
    condition     = var.alarm_failure_percent > 0 && var.alarm_failure_percent <= 100
    error_message = "The percentage must be more than 0, and at most 100."
  }
}

variable "tags" {
  description = "The tags of all resources."
  type        = map(string)
  default     = {}
}
