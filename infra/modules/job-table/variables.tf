variable "prefix" {
  description = "The prefix of the table names. It separates several environments in one account."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,20}$", var.prefix))
    error_message = "The prefix must have at most 20 letters, digits, hyphens and underscores."
  }
}

variable "jobs_name" {
  description = "The name of the table of records, without the prefix."
  type        = string
  default     = "jobs"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,200}$", var.jobs_name))
    error_message = "The name must have 3 to 200 letters, digits, dots, hyphens and underscores."
  }
}

variable "schedules_name" {
  description = "The name of the table of schedules, without the prefix."
  type        = string
  default     = "schedules"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,200}$", var.schedules_name))
    error_message = "The name must have 3 to 200 letters, digits, dots, hyphens and underscores."
  }
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

variable "stream" {
  description = "Adds a stream of the changes of records, which the module events reads."
  type        = bool
  default     = false
}

variable "warm_write_units" {
  description = "The writes per second that the table of records accepts at once, at least 4000. A new table accepts 4,000. It grows with its load, and can double within half an hour. Each increase is billed once; the value can never be lowered."
  type        = number
  default     = null

  validation {
    condition     = var.warm_write_units == null ? true : var.warm_write_units >= 4000
    error_message = "The value must be at least 4000, which every table accepts from the start; or leave it out."
  }
}

variable "kms_key_arn" {
  description = "The ARN of the key that encrypts the tables. Default: a key of DynamoDB."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[^:]+:kms:.*:key/", var.kms_key_arn))
    error_message = "The key must be an ARN, such as arn:aws:kms:REGION:ACCOUNT:key/ID, and not an alias: permissions refer to the key."
  }
}

variable "tags" {
  description = "The tags of the tables."
  type        = map(string)
  default     = {}
}
