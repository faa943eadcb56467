variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
}

variable "prefix" {
  description = "Precedes all names."
  type        = string
  default     = ""
}

variable "webhook_secret" {
  description = "The signing secrets of the function `webhook`."
  type        = string
  sensitive   = true
}
