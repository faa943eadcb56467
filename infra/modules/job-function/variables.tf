variable "name" {
  description = "The job's name, which is that of its folder, its package, its function and its queue."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,60}$", var.name))
    error_message = "A name has 1 to 60 letters, digits, hyphens and underscores; .fifo is added where fifo is set."
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

variable "fifo" {
  description = "Whether jobs of one message group run one after another."
  type        = bool
  default     = false
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

variable "timeout_s" {
  description = "How long a batch may take, in seconds. The queue hides its messages for six times as long."
  type        = number
  default     = 30

  validation {
    condition     = var.timeout_s >= 5 && var.timeout_s <= 900
    error_message = "A function runs for 5 to 900 seconds."
  }
}

variable "memory_mb" {
  description = "The function's memory in MB, by which its share of a processor is measured."
  type        = number
  default     = 128

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "A function has 128 to 10240 MB."
  }
}

variable "batch_size" {
  description = "The most messages of a batch."
  type        = number
  default     = 10

  validation {
    condition     = var.batch_size >= 1 && var.batch_size <= (var.fifo || var.batch_window_s == 0 ? 10 : 10000)
    error_message = "A batch has 1 to 10 messages, or up to 10000 on a standard queue with a window of a second or more."
  }
}

variable "batch_window_s" {
  description = "For how many seconds messages are gathered for a batch; none on a FIFO queue."
  type        = number
  default     = 0

  validation {
    condition     = var.batch_window_s >= 0 && var.batch_window_s <= 300 && !(var.fifo && var.batch_window_s > 0)
    error_message = "A window has 0 to 300 seconds, and none on a FIFO queue."
  }

  validation {
    condition     = var.batch_window_s < var.timeout_s
    error_message = "A window is shorter than the function's timeout."
  }
}

variable "max_concurrency" {
  description = "The most batches at a time, 2 to 1000. Without one, Lambda decides."
  type        = number
  default     = null

  validation {
    condition     = var.max_concurrency == null ? true : var.max_concurrency >= 2 && var.max_concurrency <= 1000
    error_message = "The maximum concurrency of a queue is 2 to 1000."
  }
}

variable "pollers" {
  description = "The provisioned pollers of the queue, which start at once and are paid by the hour. Without them, Lambda polls by itself. Source: \"ProvisionedPollerConfig\" in the Lambda API reference."
  type = object({
    minimum = optional(number, 2)
    maximum = optional(number, 200)
  })
  default = null

  validation {
    condition     = var.pollers == null ? true : var.pollers.minimum >= 2 && var.pollers.minimum <= 200 && var.pollers.maximum >= var.pollers.minimum && var.pollers.maximum <= 10000
    error_message = "A queue has a minimum of 2 to 200 pollers, and a maximum from there to 10000."
  }

  validation {
    condition     = var.pollers == null || var.max_concurrency == null
    error_message = "Lambda takes provisioned pollers or a maximum concurrency, not both: leave out pollers or max_concurrency."
  }
}

variable "reserved_concurrency" {
  description = "What of the account's concurrency is kept for this function; -1: nothing."
  type        = number
  default     = -1

  validation {
    condition     = var.reserved_concurrency >= -1
    error_message = "A reserved concurrency is 0, which stops the function, or more; -1 reserves none."
  }
}

variable "retention_s" {
  description = "How long the queue keeps messages, in seconds."
  type        = number
  default     = 864000

  validation {
    condition     = var.retention_s >= 345600 && var.retention_s < 1209600
    error_message = "A queue keeps messages for 4 days at least, and less than the 14 days of its dead-letter queue."
  }
}

variable "enabled" {
  description = "Whether the queue feeds the function."
  type        = bool
  default     = true
}

variable "environment" {
  description = "More variables of the function's environment."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["SQJOBS_TABLE", "SQJOBS_SCHEDULES_TABLE", "SQJOBS_PREFIX", "SQJOBS_QUEUE_URL", "SQJOBS_DLQ_URL"])) == 0
    error_message = "The module itself sets SQJOBS_TABLE, SQJOBS_SCHEDULES_TABLE, SQJOBS_PREFIX, SQJOBS_QUEUE_URL and SQJOBS_DLQ_URL."
  }

  # All variables of a function have up to 4 KB: "Lambda quotas" in the Lambda developer guide. The rest is for those of the module.
  validation {
    condition     = length(join("", concat(keys(var.environment), values(var.environment)))) <= 3600
    error_message = "The names and values of these variables have 3600 bytes at most, in all: put large ones into SSM Parameter Store."
  }
}

variable "enqueues_to" {
  description = "The queues to which the job enqueues jobs, by their names without the prefix, such as adder or ordered.fifo, or by their ARNs."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for queue in var.enqueues_to : can(regex("^(arn:[^:]+:sqs:[^:]+:[0-9]{12}:)?[A-Za-z0-9_-]{1,80}([.]fifo)?$", queue))])
    error_message = "A queue to which jobs are enqueued is named by its name or by its ARN, and not by its URL."
  }
}

variable "live_version" {
  description = "The version that runs, after a roll back, such as 7. Without one, it is the newest."
  type        = string
  default     = null

  validation {
    condition     = var.live_version == null ? true : can(regex("^[1-9][0-9]*$", var.live_version))
    error_message = "A version is a number, as `sqjobs function versions` shows it."
  }
}

variable "policy_json" {
  description = "An IAM policy of what the job itself needs."
  type        = string
  default     = null

  validation {
    condition     = var.policy_json == null ? true : can(jsondecode(var.policy_json).Statement)
    error_message = "A policy is JSON with statements, such as the json of an aws_iam_policy_document."
  }
}

variable "tracing" {
  description = "Whether X-Ray traces the function."
  type        = bool
  default     = false
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
  description = "The key that encrypts queues, log and variables. Without one, AWS uses keys of its own."
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

variable "alarm_age_s" {
  description = "The age in seconds of the oldest message from which on there is an alarm."
  type        = number
  default     = 3600

  validation {
    condition     = var.alarm_age_s >= 60
    error_message = "An age is a minute at least: alarms look once a minute."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
