variable "name" {
  description = "The name of the dashboard."
  type        = string
  default     = "sqjobs"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.name))
    error_message = "The name must have 1 to 255 letters, digits, hyphens and underscores."
  }
}

variable "queues" {
  description = "The names of the queues, with prefix and .fifo."
  type        = list(string)

  # A dashboard has at most 2,500 metrics, and a graph 500: "CloudWatch service quotas" in the CloudWatch user guide.
  validation {
    condition     = length(var.queues) > 0 && length(var.queues) <= 100
    error_message = "The dashboard needs 1 to 100 queues. Create several dashboards for more."
  }
}

variable "dlqs" {
  description = "The names of the dead-letter queues."
  type        = list(string)

  validation {
    condition     = length(var.dlqs) > 0 && length(var.dlqs) <= 100
    error_message = "The dashboard needs 1 to 100 dead-letter queues."
  }
}

variable "beater_name" {
  description = "The name of the function of the beater."
  type        = string
}
