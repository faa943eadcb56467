variable "name" {
  description = "The job's name, which is that of its folder, its package, its function and its queue."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,60}$", var.name))
    error_message = "A name has 1 to 60 letters, digits, hyphens and underscores; .fifo is added where fifo is set."
  }
}

variable "prefix" {
  description = "Precedes all names, so that several environments fit into an account."
  type        = string
  default     = ""
}

variable "package" {
  description = "The path of bootstrap.zip, as `cargo lambda build --output-format zip` leaves it."
  type        = string
}

variable "table_name" {
  description = "The name of the table of the records."
  type        = string
}

variable "table_arn" {
  description = "The ARN of the table of the records."
  type        = string
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

variable "reserved_concurrency" {
  description = "What of the account's concurrency is kept for this function; -1: nothing."
  type        = number
  default     = -1
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
}

variable "enqueues_to" {
  description = "The ARNs of the queues to which the job enqueues jobs."
  type        = list(string)
  default     = []
}

variable "policy_json" {
  description = "An IAM policy of what the job itself needs."
  type        = string
  default     = null
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
}

variable "alarm_actions" {
  description = "The ARNs of what is told of alarms, such as a topic of SNS."
  type        = list(string)
  default     = []
}

variable "alarm_age_s" {
  description = "The age in seconds of the oldest message from which on there is an alarm."
  type        = number
  default     = 3600
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
