variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
}

variable "name" {
  description = "The name of the job, its queue and its service, without the prefix."
  type        = string
  default     = "adder"
}

variable "environment" {
  description = "The output `environment` of the module `sqjobs`."
  type        = object({ SQJOBS_TABLE = string, SQJOBS_SCHEDULES_TABLE = string, SQJOBS_PREFIX = string })
}

variable "table_arn" {
  description = "The ARN of the table of records."
  type        = string
}

variable "image" {
  description = "The image of the container, with its program as the entry point."
  type        = string
}

variable "architecture" {
  description = "The processor of the image: X86_64 or ARM64."
  type        = string
  default     = "X86_64"
}

variable "cluster_arn" {
  description = "The ARN of the ECS cluster."
  type        = string
}

variable "subnet_ids" {
  description = "The subnets of the tasks. They need a way to SQS, DynamoDB, ECR and CloudWatch Logs."
  type        = list(string)
}

variable "security_group_ids" {
  description = "The security groups of the tasks. The worker needs no inbound rule."
  type        = list(string)
}

variable "cpu" {
  description = "The processor of a task; 1024 is one vCPU."
  type        = number
  default     = 256
}

variable "memory_mb" {
  description = "The memory of a task in MB."
  type        = number
  default     = 512
}

variable "concurrency" {
  description = "The maximum number of jobs that run in a task at the same time."
  type        = number
  default     = 10
}

variable "grace_s" {
  description = "The time for running jobs to end when a task stops, in seconds; at most 105, because ECS waits for 120 at most."
  type        = number
  default     = 60

  validation {
    condition     = var.grace_s >= 0 && var.grace_s <= 105
    error_message = "ECS kills a task after 120 seconds, and open receives take 10 of them, so the grace is 0 to 105 seconds."
  }
}

variable "tasks" {
  description = "The minimum and maximum number of tasks, and the number of waiting jobs at which another task starts."
  type        = object({ minimum = number, maximum = number, backlog = number })
  default     = { minimum = 1, maximum = 10, backlog = 100 }
}

variable "kms_key_arn" {
  description = "The KMS key that encrypts the logs; null for the key of CloudWatch."
  type        = string
  default     = null
}
