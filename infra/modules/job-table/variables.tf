variable "prefix" {
  description = "Precedes the names of the tables, so that several environments fit into an account."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,20}$", var.prefix))
    error_message = "A prefix has up to 20 letters, digits, hyphens and underscores."
  }
}

variable "jobs_name" {
  description = "The name of the table of the records, after the prefix."
  type        = string
  default     = "jobs"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,200}$", var.jobs_name))
    error_message = "A table has a name of 3 to 200 letters, digits, dots, hyphens and underscores."
  }
}

variable "schedules_name" {
  description = "The name of the table of the schedules, after the prefix."
  type        = string
  default     = "schedules"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,200}$", var.schedules_name))
    error_message = "A table has a name of 3 to 200 letters, digits, dots, hyphens and underscores."
  }
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

variable "warm_write_units" {
  description = "The writes a second that the table of the records takes at once, 4000 or more. A new table takes 4,000 and grows with its load, within half an hour up to double. Raising it costs once, and it is never lowered."
  type        = number
  default     = null

  validation {
    condition     = var.warm_write_units == null ? true : var.warm_write_units >= 4000
    error_message = "A table takes 4000 writes a second from the start; name more, or nothing."
  }
}

variable "kms_key_arn" {
  description = "The key that encrypts the tables. Without one, DynamoDB uses a key of its own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[^:]+:kms:.*:key/", var.kms_key_arn))
    error_message = "A key is named by its ARN, as arn:aws:kms:REGION:ACCOUNT:key/ID, and not by an alias: rights are given on the key."
  }
}

variable "tags" {
  description = "Tags of the tables."
  type        = map(string)
  default     = {}
}
