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

variable "import_urls" {
  description = "The URLs of the folders of `import-csv`: the one with the CSV files, and the one to which their rows are uploaded."
  type        = object({ source = string, target = string })
  sensitive   = true

  validation {
    condition     = alltrue([for url in values(var.import_urls) : can(regex("^https?://", url))])
    error_message = "Each URL must start with https:// or http://."
  }
}

variable "report_urls" {
  description = "The URLs of the workflow `report`: the folder with the files of sales, the folder of the reports, and a webhook for texts."
  type        = object({ source = string, target = string, notify = string })
  sensitive   = true

  validation {
    condition     = alltrue([for url in values(var.report_urls) : can(regex("^https?://", url))])
    error_message = "Each URL must start with https:// or http://."
  }
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
