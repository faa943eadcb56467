variable "functions" {
  description = "The jobs, by name: a folder, a package, a function and a queue each. A priority is one more entry with the same package."

  type = map(object({
    package              = optional(string)
    fifo                 = optional(bool, false)
    timeout_s            = optional(number, 30)
    memory_mb            = optional(number, 128)
    batch_size           = optional(number, 10)
    batch_window_s       = optional(number, 0)
    max_concurrency      = optional(number)
    pollers              = optional(object({ minimum = optional(number, 2), maximum = optional(number, 200) }))
    reserved_concurrency = optional(number, -1)
    retention_s          = optional(number, 864000)
    enabled              = optional(bool, true)
    environment          = optional(map(string), {})
    enqueues_to          = optional(list(string), [])
    live_version         = optional(string)
    policy_json          = optional(string)
    tracing              = optional(bool, false)
    alarm_age_s          = optional(number, 3600)
  }))

  validation {
    condition     = length(var.functions) > 0
    error_message = "A system has a function at least."
  }

  # The ARN of a queue has up to 45 characters before its name; the modules say what the limit is.
  validation {
    condition     = var.prefix != "" || sum(concat([0], [for name, function in var.functions : 2 * (45 + 3 + length(name) + (function.fifo ? 5 : 0)) + 4])) <= 8000
    error_message = "The policy of the beater has no room for the ARNs of so many queues, and without a prefix it cannot name them by one: set prefix, or split the functions between environments."
  }

  validation {
    condition     = !contains(keys(var.functions), "beater")
    error_message = "The beater is no job: it has a module of its own."
  }
}

variable "packages" {
  description = "The folder where `cargo lambda build --release --arm64 --output-format zip` leaves the packages."
  type        = string
  default     = "../target/lambda"
}

variable "prefix" {
  description = "Precedes all names, so that several environments fit into an account, such as prod-."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,20}$", var.prefix))
    error_message = "A prefix has up to 20 letters, digits, hyphens and underscores."
  }
}

variable "architecture" {
  description = "What the packages were built for: arm64 or x86_64."
  type        = string
  default     = "arm64"
}

variable "deletion_protection" {
  description = "Whether the tables cannot be deleted until this is switched off."
  type        = bool
  default     = true
}

variable "point_in_time_recovery" {
  description = "Whether the tables can be restored to any second of the last 35 days."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "For how many days logs are kept."
  type        = number
  default     = 30
}

variable "warm_write_units" {
  description = "The writes a second that the table of the records takes at once, 4000 or more. A new table takes 4,000 and grows with its load, within half an hour up to double. Raising it costs once, and it is never lowered."
  type        = number
  default     = null
}

variable "kms_key_arn" {
  description = "The key that encrypts tables, queues, logs and variables. Without one, AWS uses keys of its own."
  type        = string
  default     = null
}

variable "alarm_actions" {
  description = "The ARNs of what is told of alarms, such as a topic of SNS."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
