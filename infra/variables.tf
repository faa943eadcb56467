variable "functions" {
  description = "The jobs by name. Each has a folder, a package, a function and a queue, and a queue for each further priority."

  type = map(object({
    package         = optional(string)
    fifo            = optional(bool, false)
    timeout_s       = optional(number, 30)
    memory_mb       = optional(number, 128)
    batch_size      = optional(number, 10)
    batch_window_s  = optional(number, 0)
    max_concurrency = optional(number)
    priorities = optional(map(object({
      max_concurrency = optional(number)
      pollers         = optional(object({ minimum = optional(number, 2), maximum = optional(number, 200) }))
      alarm_age_s     = optional(number)
    })), {})
    pollers               = optional(object({ minimum = optional(number, 2), maximum = optional(number, 200) }))
    reserved_concurrency  = optional(number, -1)
    retention_s           = optional(number, 864000)
    enabled               = optional(bool, true)
    environment           = optional(map(string), {})
    enqueues_to           = optional(list(string), [])
    live_version          = optional(string)
    policy_json           = optional(string)
    tracing               = optional(bool, false)
    alarm_age_s           = optional(number, 3600)
    alarm_failure_percent = optional(number, 50)
  }))

  validation {
    condition     = length(var.functions) > 0
    error_message = "The map is empty; add at least one function."
  }

  # The ARN of a queue has up to 45 characters before its name. The module beater explains the limit.
  validation {
    condition     = var.prefix != "" || sum(concat([0], [for name, function in var.functions : (2 + length(function.priorities)) * (45 + 3 + length(name) + (function.fifo ? 5 : 0)) + 4 + 5 * length(function.priorities)])) <= 8000
    error_message = "The ARNs of these queues exceed the size of the beater's policy. Set prefix, so that the policy names all queues by it, or split the functions between environments."
  }

  validation {
    condition     = !contains(keys(var.functions), "beater")
    error_message = "The beater is not a job; it has its own module. Choose another name."
  }

  validation {
    condition     = !contains(keys(var.functions), "events") || var.events == null
    error_message = "The function that publishes events has the name events. Choose another name."
  }
}

variable "packages" {
  description = "The output folder of `cargo lambda build --release --arm64 --output-format zip`."
  type        = string
  default     = "../target/lambda"
}

variable "prefix" {
  description = "The prefix of all names, such as prod-. It separates several environments in one account."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,20}$", var.prefix))
    error_message = "The prefix must have at most 20 letters, digits, hyphens and underscores."
  }
}

variable "architecture" {
  description = "The architecture of the packages: arm64 or x86_64."
  type        = string
  default     = "arm64"
}

variable "deletion_protection" {
  description = "Protects the tables from deletion until this is set to false."
  type        = bool
  default     = true
}

variable "point_in_time_recovery" {
  description = "Allows a restore of the tables to any second of the last 35 days."
  type        = bool
  default     = true
}

variable "metrics" {
  description = "Writes metrics to the log, from which CloudWatch takes them, and creates the alarms on them. CloudWatch bills each metric: see \"Costs\" in docs/metrics.md."
  type        = bool
  default     = true
}

variable "dashboard" {
  description = "Creates a dashboard for each hundred queues, if metrics is true. CloudWatch bills a dashboard by the month, after three that are free."
  type        = bool
  default     = true
}

variable "events" {
  description = "Publishes an event each time a job enters one of these states, on the event bus with this ARN. job_names selects jobs by name; results adds the results of jobs. Default: no events. See docs/events.md."
  type = object({
    bus_arn   = string
    states    = optional(list(string), ["failed"])
    job_names = optional(list(string), [])
    results   = optional(bool, false)
  })
  default = null
}

variable "log_retention_days" {
  description = "The retention of logs in days."
  type        = number
  default     = 30
}

variable "warm_write_units" {
  description = "The writes per second that the table of records accepts at once, at least 4000. A new table accepts 4,000. It grows with its load, and can double within half an hour. Each increase is billed once; the value can never be lowered."
  type        = number
  default     = null
}

variable "kms_key_arn" {
  description = "The ARN of the key that encrypts tables, queues, logs and variables. Default: keys of AWS."
  type        = string
  default     = null
}

variable "alarm_actions" {
  description = "The ARNs of the alarm actions, such as an SNS topic."
  type        = list(string)
  default     = []
}

variable "alarm_late_s" {
  description = "The lateness of a schedule, in seconds, above which the alarm of the beater goes off."
  type        = number
  default     = 300
}

variable "tags" {
  description = "The tags of all resources."
  type        = map(string)
  default     = {}
}
