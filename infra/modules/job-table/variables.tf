variable "prefix" {
  description = "Precedes the names of the tables, so that several environments fit into an account."
  type        = string
  default     = ""
}

variable "jobs_name" {
  description = "The name of the table of the records, after the prefix."
  type        = string
  default     = "jobs"
}

variable "schedules_name" {
  description = "The name of the table of the schedules, after the prefix."
  type        = string
  default     = "schedules"
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

variable "kms_key_arn" {
  description = "The key that encrypts the tables. Without one, DynamoDB uses a key of its own."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the tables."
  type        = map(string)
  default     = {}
}
