variable "name" {
  description = "The name of the function."
  type        = string
  default     = "events"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,44}$", var.name))
    error_message = "The name must have 1 to 44 letters, digits, hyphens and underscores."
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
  description = "The path of the beater's bootstrap.zip, built with the feature `events` of sqjobs."
  type        = string

  validation {
    condition     = fileexists(var.package)
    error_message = "The file does not exist. Create it with `cargo lambda build --release --arm64 --output-format zip`."
  }
}

variable "table_arn" {
  description = "The ARN of the table of records."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:dynamodb:.*:table/", var.table_arn))
    error_message = "The value must be the ARN of a DynamoDB table."
  }
}

variable "stream_arn" {
  description = "The ARN of the stream of the table of records, with new and old images."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:dynamodb:.*:table/.*/stream/", var.stream_arn))
    error_message = "The value must be the ARN of a stream of a DynamoDB table."
  }
}

variable "bus_arn" {
  description = "The ARN of the event bus."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:events:.*:event-bus/", var.bus_arn))
    error_message = "The value must be the ARN of an event bus, such as arn:aws:events:REGION:ACCOUNT:event-bus/default."
  }
}

variable "states" {
  description = "An event is published each time a job enters one of these states."
  type        = list(string)
  default     = ["failed"]

  validation {
    condition = length(var.states) > 0 && length(setsubtract(var.states, [
      "scheduled", "blocked", "queued", "running", "retrying", "succeeded", "failed", "cancelled", "expired",
    ])) == 0
    error_message = "The states must be among scheduled, blocked, queued, running, retrying, succeeded, failed, cancelled and expired."
  }
}

variable "job_names" {
  description = "The names of the jobs with events. Default: all jobs."
  type        = list(string)
  default     = []

  # A filter has at most 4,096 characters: "Lambda event filtering" in the Lambda developer guide.
  validation {
    condition     = length(join("", var.job_names)) + 3 * length(var.job_names) <= 3800
    error_message = "The names must have at most 3800 characters in total. Leave the list empty, and filter in the rules of the bus."
  }
}

variable "results" {
  description = "Adds the results of jobs to events. Everyone who may read the events of the bus can then read the results."
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

variable "log_retention_days" {
  description = "The retention of the log in days."
  type        = number
  default     = 30
}

variable "kms_key_arn" {
  description = "The ARN of the key that encrypts the log and the variables, and that decrypts the table."
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

variable "tags" {
  description = "The tags of all resources."
  type        = map(string)
  default     = {}
}
