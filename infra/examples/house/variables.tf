variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
}

variable "prefix" {
  description = "The prefix of all names."
  type        = string
  default     = ""
}

variable "alarm_actions" {
  description = "The ARNs of the alarm actions, such as [\"arn:aws:sns:eu-west-1:123456789012:operators\"]; [] for none."
  type        = list(string)
}

variable "webhook_secret" {
  description = "The signing secrets of the function `webhook`."
  type        = string
  sensitive   = true

  validation {
    condition     = startswith(var.webhook_secret, "whsec_")
    error_message = "The signing secret must start with whsec_, as Standard Webhooks require."
  }
}
